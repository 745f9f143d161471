//! The date patterns of `java.time.format.DateTimeFormatter` that object keys of line 2.x may contain, in UTC and
//! English (spec s3-loader 3.1).

use jiff::civil::DateTime;
use std::fmt::Write as _;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const QUARTERS: [&str; 4] = ["1st quarter", "2nd quarter", "3rd quarter", "4th quarter"];

/// A checked pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DatePattern(Vec<Token>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Text(String),
    /// A pattern letter and how often it stands.
    Field(char, usize),
}

impl DatePattern {
    /// Reads a pattern; `None` where Java refuses it, or where it asks for a week or a zone name, which nobody wants in
    /// a key.
    pub(super) fn parse(pattern: &str) -> Option<Self> {
        let mut tokens = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(letter) = chars.next() {
            match letter {
                '\'' => tokens.push(Token::Text(quoted(&mut chars)?)),
                // Optional sections: when printing they make no difference.
                '[' | ']' => {}
                '{' | '}' | '#' => return None,
                letter if letter.is_ascii_alphabetic() => {
                    let mut count = 1;
                    while chars.next_if_eq(&letter).is_some() {
                        count += 1;
                    }
                    if count > longest(letter) {
                        return None;
                    }
                    tokens.push(Token::Field(letter, count));
                }
                other => tokens.push(Token::Text(other.to_string())),
            }
        }
        Some(DatePattern(tokens))
    }

    /// The finest unit it prints in milliseconds, at most a day.
    pub(super) fn unit_ms(&self) -> i64 {
        let units = self.0.iter().map(|token| match token {
            Token::Field('S' | 'n' | 'N' | 'A', _) => 1,
            Token::Field('s', _) => 1000,
            Token::Field('m', _) => 60_000,
            Token::Field('H' | 'k' | 'K' | 'h' | 'a', _) => 3_600_000,
            _ => 86_400_000,
        });
        units.min().unwrap_or(86_400_000)
    }

    /// Appends the text for a moment.
    pub(super) fn write(&self, time: DateTime, out: &mut String) {
        for token in &self.0 {
            match token {
                Token::Text(text) => out.push_str(text),
                Token::Field(letter, count) => write_field(*letter, *count, time, out),
            }
        }
    }
}

/// The text after an opening quote up to its closing one; two quotes stand for one.
fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    let mut text = String::new();
    loop {
        match chars.next()? {
            '\'' if chars.next_if_eq(&'\'').is_some() => text.push('\''),
            '\'' if text.is_empty() => return Some("'".to_owned()),
            '\'' => return Some(text),
            other => text.push(other),
        }
    }
}

/// How often a letter may be repeated; 0 for letters we do not take.
fn longest(letter: char) -> usize {
    match letter {
        'y' | 'u' | 'A' | 'n' | 'N' => 19,
        'M' | 'L' | 'E' | 'Q' | 'q' | 'X' | 'x' | 'Z' => 5,
        'd' | 'H' | 'k' | 'K' | 'h' | 'm' | 's' => 2,
        'D' => 3,
        'S' => 9,
        'a' => 1,
        _ => 0,
    }
}

fn write_field(letter: char, count: usize, time: DateTime, out: &mut String) {
    let hour = i64::from(time.hour());
    let month = usize::from(time.month().unsigned_abs());
    let nanos = i64::from(time.subsec_nanosecond());
    let nanos_of_day = ((hour * 60 + i64::from(time.minute())) * 60 + i64::from(time.second())) * 1_000_000_000 + nanos;
    let number = match letter {
        'y' | 'u' if count == 2 => i64::from(time.year()).rem_euclid(100),
        'y' | 'u' => i64::from(time.year()),
        'M' | 'L' if count > 2 => return write_name(MONTHS[month - 1], count, out),
        'M' | 'L' => month as i64,
        'Q' | 'q' => {
            let quarter = (month - 1) / 3;
            return match count {
                3 => push(out, format_args!("Q{}", quarter + 1)),
                4 => out.push_str(QUARTERS[quarter]),
                _ => push(out, format_args!("{:0width$}", quarter + 1, width = if count == 2 { 2 } else { 1 })),
            };
        }
        'E' => {
            let day = DAYS[usize::from(time.weekday().to_monday_zero_offset().unsigned_abs())];
            return write_name(day, count.max(3), out);
        }
        'd' => i64::from(time.day()),
        'D' => i64::from(time.day_of_year()),
        'H' => hour,
        'k' => {
            if hour == 0 {
                24
            } else {
                hour
            }
        }
        'K' => hour % 12,
        'h' => {
            if hour % 12 == 0 {
                12
            } else {
                hour % 12
            }
        }
        'm' => i64::from(time.minute()),
        's' => i64::from(time.second()),
        'n' => nanos,
        'N' => nanos_of_day,
        'A' => nanos_of_day / 1_000_000,
        'S' => {
            let digits = format!("{nanos:09}");
            return out.push_str(&digits[..count]);
        }
        'a' => return out.push_str(if hour < 12 { "AM" } else { "PM" }),
        'X' => return out.push('Z'),
        'x' => return out.push_str(["+00", "+0000", "+00:00", "+0000", "+00:00"][count - 1]),
        _ => return out.push_str(["+0000", "+0000", "+0000", "GMT", "Z"][count - 1]),
    };
    push(out, format_args!("{number:0count$}"));
}

/// A month or day: three letters, in full, or (five letters in the pattern) its first one.
fn write_name(name: &str, count: usize, out: &mut String) {
    out.push_str(match count {
        3 => &name[..3],
        4 => name,
        _ => &name[..1],
    });
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::DatePattern;
    use jiff::civil::date;

    #[test]
    fn patterns_print_as_java_does() {
        let time = date(2024, 3, 5).at(9, 8, 7, 250_000_000);
        for (pattern, text) in [
            ("yyyy-MM-dd'T'HH:mm:ss.SSS", "2024-03-05T09:08:07.250"),
            ("y/M/d", "2024/3/5"),
            ("yy", "24"),
            ("MMM EEEE", "Mar Tuesday"),
            ("E DDD D", "Tue 065 65"),
            ("h a K k", "9 AM 9 9"),
            ("QQQ q QQ", "Q1 1 01"),
            ("'o''clock'", "o'clock"),
            ("''", "'"),
            ("XXX x Z", "Z +00 +0000"),
            ("", ""),
        ] {
            let mut out = String::new();
            DatePattern::parse(pattern).unwrap().write(time, &mut out);
            assert_eq!(out, text, "{pattern}");
        }
        for pattern in ["foo", "ddd", "HHH", "'open", "r", "a{b", "hhh", "JJ"] {
            assert_eq!(DatePattern::parse(pattern), None, "{pattern}");
        }
    }
}
