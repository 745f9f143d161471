//! Printing of numbers: 32-bit floats as Java does (enrich-core 4.2), and integers without the machinery of `fmt`.

use std::fmt::Write;

/// Appends decimal digits, after a minus sign if need be.
pub(crate) fn write_int(value: i64, out: &mut String) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push('-');
    }
    out.push_str(std::str::from_utf8(&digits[start..]).unwrap_or_default());
}

/// Appends the shortest decimal text that identifies `value`: `37.751`, `-97.0`, with an exponent (`1.0E-4`) below
/// 0.001 and from 10^7 up. `NaN` and `Infinity` print as these words.
pub fn write_float(value: f32, out: &mut String) {
    if value.is_nan() {
        out.push_str("NaN");
        return;
    }
    if value.is_sign_negative() {
        out.push('-');
    }
    let magnitude = value.abs();
    if magnitude.is_infinite() {
        out.push_str("Infinity");
    } else if magnitude == 0.0 {
        out.push_str("0.0");
    } else if (1e-3..1e7).contains(&magnitude) {
        push(out, format_args!("{magnitude:?}"));
    } else {
        let start = out.len();
        push(out, format_args!("{magnitude:E}"));
        // Rust writes `1E-4`, Java always shows one fraction digit.
        let exponent = start + out[start..].find('E').unwrap_or(out.len() - start);
        if !out[start..exponent].contains('.') {
            out.insert_str(exponent, ".0");
        }
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a String can not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_print_as_ever() {
        for value in [0, 7, -7, 10, 1080, i64::MAX, i64::MIN] {
            let mut out = String::new();
            write_int(value, &mut out);
            assert_eq!(out, value.to_string());
        }
    }

    #[test]
    fn floats_print_as_java_prints_them() {
        let cases: [(f32, &str); 12] = [
            (37.751, "37.751"),
            (-97.0, "-97.0"),
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (0.0001, "1.0E-4"),
            (0.001, "0.001"),
            (0.000_999, "9.99E-4"),
            (1e7, "1.0E7"),
            (9_999_999.0, "9999999.0"),
            (1.5e10, "1.5E10"),
            (f32::NAN, "NaN"),
            (f32::NEG_INFINITY, "-Infinity"),
        ];
        for (value, expected) in cases {
            let mut out = String::new();
            write_float(value, &mut out);
            assert_eq!(out, expected);
        }
    }
}
