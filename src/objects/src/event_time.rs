//! The two times of an enriched event that the loader looks at.

use snowmelt_protocol::event::Column;

/// The time in the given column of an enriched TSV line, in milliseconds since the epoch; `None` where the line is too
/// short or the field is no `yyyy-MM-dd HH:mm:ss[.fraction]`.
pub(crate) fn of_line(line: &[u8], column: Column) -> Option<i64> {
    parse(line.split(|byte| *byte == b'\t').nth(column as usize)?)
}

/// Reads `yyyy-MM-dd HH:mm:ss` with up to nine fraction digits; what is finer than a millisecond is cut off.
fn parse(text: &[u8]) -> Option<i64> {
    let (seconds, fraction) = match text.len() {
        19 => (text, &[][..]),
        21..=29 if text[19] == b'.' => (&text[..19], &text[20..]),
        _ => return None,
    };
    let separators = [(4, b'-'), (7, b'-'), (10, b' '), (13, b':'), (16, b':')];
    if separators.iter().any(|(at, separator)| seconds[*at] != *separator) {
        return None;
    }
    let number = |from: usize, to: usize| digits(&seconds[from..to]);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let date = jiff::civil::Date::new(year as i16, month as i8, day as i8).ok()?;
    let mut millis = digits(fraction)?;
    for _ in fraction.len()..3 {
        millis *= 10;
    }
    for _ in 3..fraction.len() {
        millis /= 10;
    }
    let days = i64::from(EPOCH.until(date).ok()?.get_days());
    Some(((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + millis)
}

const EPOCH: jiff::civil::Date = jiff::civil::date(1970, 1, 1);

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_millisecond() {
        for (text, millis) in [
            ("1970-01-01 00:00:00.000", 0),
            ("2024-03-05 09:08:07.250", 1_709_629_687_250),
            ("2024-03-05 09:08:07", 1_709_629_687_000),
            ("2024-03-05 09:08:07.2", 1_709_629_687_200),
            ("2024-03-05 09:08:07.250999", 1_709_629_687_250),
            ("1969-12-31 23:59:59.999", -1),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(millis), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_gives_none() {
        for text in [
            "",
            "not a time",
            "2024-13-05 09:08:07.250",
            "2023-02-29 00:00:00",
            "2024-03-05T09:08:07.250",
            "2024-03-05 24:00:00",
            "2024-03-05 09:08:07.",
            "2024-03-05 09:08:07.2x0",
            "2024-03-05 09:08:07.1234567890",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_column_is_counted_from_the_start_of_the_line() {
        let line = b"app\tweb\t2024-03-05 10:00:00.000\t2024-03-05 09:08:07.250\tx";
        assert_eq!(of_line(line, Column::CollectorTstamp), Some(1_709_629_687_250));
        assert_eq!(of_line(b"a\tb", Column::CollectorTstamp), None);
    }
}
