//! Printing of times without a library and without allocation: the TSV form and ISO instants.
//!
//! Times are milliseconds or microseconds since 1970-01-01T00:00:00Z, in the proleptic Gregorian calendar.

const MILLIS_PER_DAY: i64 = 86_400_000;
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Appends `yyyy-MM-dd HH:mm:ss.SSS`, UTC, always three fraction digits. Years beyond 9999 print with all their
/// digits, years before 0 with a minus sign (enrich-core 3.2 **tstamp** shows such texts in its error).
pub fn write_tsv(millis: i64, out: &mut String) {
    let time = Civil::from_millis(millis);
    if let Ok(year @ 0..=9_999) = u32::try_from(time.year) {
        let mut text = *b"0000-00-00 00:00:00.000";
        let mut put = |at: usize, value: u32| text[at..at + 2].copy_from_slice(&TWO_DIGITS[value as usize % 100]);
        let second = time.second_of_day;
        put(0, year / 100);
        put(2, year);
        put(5, time.month.into());
        put(8, time.day.into());
        put(11, second / 3_600);
        put(14, second / 60 % 60);
        put(17, second % 60);
        put(20, time.micros / 10_000);
        text[22] = b'0' + (time.micros / 1_000 % 10) as u8;
        out.push_str(std::str::from_utf8(&text).unwrap_or_default());
        return;
    }
    time.write_date(out, false);
    out.push(' ');
    time.write_clock(out);
    out.push('.');
    push_padded(out, i64::from(time.micros / 1_000), 3);
}

/// `00` to `99`.
static TWO_DIGITS: [[u8; 2]; 100] = {
    let mut table = [[0; 2]; 100];
    let mut value = 0;
    while value < 100 {
        table[value] = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
        value += 1;
    }
    table
};

/// Whether [`write_tsv`] prints a year of four digits: 0 to 9999.
pub fn is_four_digit_year(millis: i64) -> bool {
    // 0000-01-01T00:00:00.000 and 9999-12-31T23:59:59.999.
    (-62_167_219_200_000..=253_402_300_799_999).contains(&millis)
}

/// Appends an ISO instant with `Z` and always three fraction digits: `2023-11-14T22:13:20.120Z`.
pub fn write_instant_fixed(millis: i64, out: &mut String) {
    let time = Civil::from_millis(millis);
    time.write_date(out, true);
    out.push('T');
    time.write_clock(out);
    out.push('.');
    push_padded(out, i64::from(time.micros / 1_000), 3);
    out.push('Z');
}

/// Appends an ISO instant whose fraction is printed as far as needed, in groups of three digits:
/// `2023-11-14T22:15:00Z`, `…00.456Z`, `…00.456789Z` (enrich-core 6.1).
pub fn write_instant_micros(micros: i64, out: &mut String) {
    let time = Civil::from_micros(micros);
    time.write_date(out, true);
    out.push('T');
    time.write_clock(out);
    if time.micros != 0 {
        out.push('.');
        if time.micros.is_multiple_of(1_000) {
            push_padded(out, i64::from(time.micros / 1_000), 3);
        } else {
            push_padded(out, i64::from(time.micros), 6);
        }
    }
    out.push('Z');
}

/// [`write_instant_micros`] for milliseconds.
pub fn write_instant_millis(millis: i64, out: &mut String) {
    match millis.checked_mul(1_000) {
        Some(micros) => write_instant_micros(micros, out),
        // Beyond the year 294,246 only the fixed form is left.
        None => write_instant_fixed(millis, out),
    }
}

/// The year of a time.
pub fn year(millis: i64) -> i64 {
    Civil::from_millis(millis).year
}

/// Reads exactly the form of [`write_tsv`] with a year of 0 to 9999; `None` for anything else.
pub fn parse_tsv(text: &str) -> Option<i64> {
    let bytes: &[u8; 23] = text.as_bytes().try_into().ok()?;
    for (index, expected) in [(4, b'-'), (7, b'-'), (10, b' '), (13, b':'), (16, b':'), (19, b'.')] {
        if bytes[index] != expected {
            return None;
        }
    }
    let digits = |from: usize, to: usize| {
        bytes[from..to]
            .iter()
            .try_fold(0i64, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
    };
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second, milli) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?, digits(20, 23)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = hour * 3_600 + minute * 60 + second;
    Some(days_from_civil(year, month, day) * MILLIS_PER_DAY + seconds * 1_000 + milli)
}

struct Civil {
    year: i64,
    month: u8,
    day: u8,
    second_of_day: u32,
    micros: u32,
}

impl Civil {
    fn from_millis(millis: i64) -> Self {
        let (days, rest) = (millis.div_euclid(MILLIS_PER_DAY), millis.rem_euclid(MILLIS_PER_DAY));
        Self::from_day(days, rest / 1_000, rest % 1_000 * 1_000)
    }

    fn from_micros(micros: i64) -> Self {
        let (days, rest) = (micros.div_euclid(MICROS_PER_DAY), micros.rem_euclid(MICROS_PER_DAY));
        Self::from_day(days, rest / 1_000_000, rest % 1_000_000)
    }

    fn from_day(days: i64, second_of_day: i64, micros: i64) -> Self {
        let (year, month, day) = civil_from_days(days);
        Civil { year, month, day, second_of_day: second_of_day as u32, micros: micros as u32 }
    }

    /// ISO instants mark years beyond four digits with a sign.
    fn write_date(&self, out: &mut String, iso: bool) {
        if self.year < 0 {
            out.push('-');
        } else if iso && self.year > 9_999 {
            out.push('+');
        }
        push_padded(out, self.year.abs(), 4);
        out.push('-');
        push_padded(out, i64::from(self.month), 2);
        out.push('-');
        push_padded(out, i64::from(self.day), 2);
    }

    fn write_clock(&self, out: &mut String) {
        push_padded(out, i64::from(self.second_of_day / 3_600), 2);
        out.push(':');
        push_padded(out, i64::from(self.second_of_day / 60 % 60), 2);
        out.push(':');
        push_padded(out, i64::from(self.second_of_day % 60), 2);
    }
}

/// Year, month and day of a day number since the epoch. Counted in eras of 400 years that begin on a 1 March, so that
/// the leap day is the last of its year.
fn civil_from_days(days: i64) -> (i64, u8, u8) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u8, day as u8)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Appends a value that is not negative with at least `width` digits.
fn push_padded(out: &mut String, value: i64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut rest = value.unsigned_abs();
    let mut start = digits.len();
    while rest > 0 || digits.len() - start < width {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    for digit in &digits[start..] {
        out.push(char::from(*digit));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn print(write: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn tsv_times_print_as_in_the_specification() {
        assert_eq!(print(|out| write_tsv(1_700_000_000_123, out)), "2023-11-14 22:13:20.123");
        assert_eq!(print(|out| write_tsv(-1, out)), "1969-12-31 23:59:59.999");
        assert_eq!(print(|out| write_tsv(1_111_111_111_111_111, out)), "37179-09-17 07:18:31.111");
        assert_eq!(print(|out| write_tsv(951_782_400_000, out)), "2000-02-29 00:00:00.000");
        assert_eq!(year(1_111_111_111_111_111), 37_179);
        for (millis, is) in [
            (-62_167_219_200_001, false),
            (-62_167_219_200_000, true),
            (253_402_300_799_999, true),
            (253_402_300_800_000, false),
        ] {
            assert_eq!((is_four_digit_year(millis), (0..=9_999).contains(&year(millis))), (is, is), "{millis}");
        }
        assert!(print(|out| write_tsv(i64::MIN, out)).starts_with('-'));
    }

    #[test]
    fn instants_print_their_fraction_in_groups_of_three() {
        assert_eq!(print(|out| write_instant_micros(1_700_000_100_000_000, out)), "2023-11-14T22:15:00Z");
        assert_eq!(print(|out| write_instant_micros(1_700_000_100_456_000, out)), "2023-11-14T22:15:00.456Z");
        assert_eq!(print(|out| write_instant_micros(1_700_000_100_456_789, out)), "2023-11-14T22:15:00.456789Z");
        assert_eq!(print(|out| write_instant_micros(1_700_000_100_000_009, out)), "2023-11-14T22:15:00.000009Z");
        assert_eq!(print(|out| write_instant_millis(1_700_000_100_450, out)), "2023-11-14T22:15:00.450Z");
        assert_eq!(print(|out| write_instant_fixed(1_700_000_100_000, out)), "2023-11-14T22:15:00.000Z");
        assert!(print(|out| write_instant_millis(i64::MAX, out)).starts_with("+292278994-08-17T"));
    }

    #[test]
    fn only_the_exact_tsv_form_is_read() {
        assert_eq!(parse_tsv("2023-11-14 22:13:20.123"), Some(1_700_000_000_123));
        let refused = [
            "",
            "2023-02-29 00:00:00.000",
            "2023-11-14T22:13:20.123",
            "2023-11-14 24:00:00.000",
            "2023-1-14 22:13:20.1234",
        ];
        for text in refused {
            assert_eq!(parse_tsv(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_printed_time_reads_back(millis in -62_167_219_200_000i64..253_402_300_800_000) {
            prop_assert_eq!(parse_tsv(&print(|out| write_tsv(millis, out))), Some(millis));
        }

        #[test]
        fn instants_equal_jiffs(micros in -62_135_596_800_000_000i64..253_402_207_200_000_000) {
            let jiff = jiff::Timestamp::from_microsecond(micros).expect("in range");
            let ours = print(|out| write_instant_micros(micros, out));
            prop_assert_eq!(ours.parse::<jiff::Timestamp>().expect("an instant"), jiff);
        }
    }
}
