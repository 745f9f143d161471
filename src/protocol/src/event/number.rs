//! Printing of 32-bit floats as Java does (enrich-core 4.2).

use std::fmt::Write;

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
