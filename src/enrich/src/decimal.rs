//! Exact decimals as `java.math.BigDecimal` reads and prints them (enrich-core 3.2 **decimal**, 3.3).

/// Exponents beyond this are refused: written out they would be that many digits long.
const MAX_EXPONENT: i64 = 1_000;

/// Appends the printed form of a decimal. The error is the detail that follows `Error : `.
pub(crate) fn write(text: &str, out: &mut String) -> Result<(), &'static str> {
    let (negative, rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let mut parts = mantissa.splitn(3, '.');
    let (whole, fraction) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if parts.next().is_some() {
        return Err("Character array contains more than one decimal point.");
    }
    if !is_digits(whole) || !is_digits(fraction) {
        return Err(
            "Character array is neither a decimal digit number, decimal point, nor \"e\" notation exponential mark.",
        );
    }
    if whole.is_empty() && fraction.is_empty() {
        return Err(if text.is_empty() { "null" } else { "No digits found." });
    }
    let exponent = match exponent {
        Some(text) => read_exponent(text)?,
        None => 0,
    };
    let scale = fraction.len() as i64 - exponent;
    let digits = whole.bytes().chain(fraction.bytes()).skip_while(|&digit| digit == b'0');
    print(negative, digits.map(char::from), scale, out);
    Ok(())
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn read_exponent(text: &str) -> Result<i64, &'static str> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() {
        return Err("null");
    }
    if !is_digits(digits) {
        return Err("Not a digit.");
    }
    if digits.len() > 10 {
        return Err("Too many nonzero exponent digits.");
    }
    match text.parse::<i64>() {
        Ok(exponent) if exponent.abs() <= MAX_EXPONENT => Ok(exponent),
        _ => Err("Exponent is out of range."),
    }
}

/// `significant` are the digits without leading zeros: none for zero.
fn print(negative: bool, significant: impl Iterator<Item = char>, scale: i64, out: &mut String) {
    use std::fmt::Write;
    let start = out.len();
    out.extend(significant);
    let zero = out.len() == start;
    if zero {
        out.push('0');
    }
    let count = (out.len() - start) as i64;
    if scale <= 0 {
        if !zero {
            out.extend(std::iter::repeat_n('0', scale.unsigned_abs() as usize));
        }
    } else {
        let adjusted = count - 1 - scale;
        if adjusted >= -6 {
            if scale >= count {
                let zeros: String = std::iter::repeat_n('0', (scale - count) as usize + 1).collect();
                out.insert_str(start, &zeros);
            }
            let point = out.len() - scale as usize;
            out.insert(point, '.');
        } else {
            if count > 1 {
                out.insert(start + 1, '.');
            }
            // Writing to a String cannot fail; the exponent is negative and carries its sign.
            if write!(out, "E{adjusted}").is_err() {
                out.truncate(start);
            }
        }
    }
    if negative && !zero {
        out.insert(start, '-');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(text: &str) -> Result<String, &'static str> {
        let mut out = String::new();
        write(text, &mut out).map(|()| out)
    }

    #[test]
    fn the_scale_is_kept_and_positive_exponents_are_written_out() {
        let cases = [
            ("1.50", "1.50"),
            (".5", "0.5"),
            ("1.", "1"),
            ("00012", "12"),
            ("-0", "0"),
            ("-0.0", "0.0"),
            ("+5", "5"),
            ("-.05", "-0.05"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1E-7"),
            ("0.00000012", "1.2E-7"),
            ("1.5E-10", "1.5E-10"),
            ("0E-10", "0E-10"),
            ("1E7", "10000000"),
            ("1.5e3", "1500"),
            ("1.5e+1", "15"),
            ("1.555e1", "15.55"),
            ("0e5", "0"),
            ("123456789012345678901234567890.10", "123456789012345678901234567890.10"),
        ];
        for (text, expected) in cases {
            assert_eq!(printed(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_decimal_is_refused() {
        for text in
            ["", "a", ".", "-", "1.2.3", "1e", "1E+", "1ex", "1E1000000000", "1E-99999999999", " 1", "1,5", "--1", "١"]
        {
            assert!(printed(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_and_what_is_printed_reads_back(text in "[-+]?[0-9]{0,5}[.]?[0-9]{0,9}(e[-+]?[0-9]{1,3})?") {
            if let Ok(first) = printed(&text) {
                let second = printed(&first);
                proptest::prop_assert_eq!(second.as_deref(), Ok(first.as_str()));
            }
        }
    }
}
