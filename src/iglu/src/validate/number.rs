//! Exact comparison and division of JSON numbers by their text, of any length and exponent, without big integers.

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// Written without fraction and exponent: what draft 4 calls an integer.
pub(crate) fn is_integer(number: &Number) -> bool {
    !number.as_str().bytes().any(|b| matches!(b, b'.' | b'e' | b'E'))
}

/// A limit of a schema, prepared for comparing.
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    /// As the schema spells it.
    pub(crate) text: Box<str>,
    small: Option<i64>,
    double: f64,
}

impl Limit {
    pub(crate) fn new(number: &Number) -> Self {
        let text = number.as_str();
        // A literal that is no number cannot stand in a parsed document; as NaN it decides nothing.
        Self { text: text.into(), small: small_integer(text), double: text.parse().unwrap_or(f64::NAN) }
    }

    /// How a literal, whose [`small_integer`] is given, compares with the limit.
    #[inline]
    pub(crate) fn compare(&self, text: &str, small: Option<i64>) -> Ordering {
        match (small, self.small) {
            (Some(n), Some(limit)) => n.cmp(&limit),
            _ => self.compare_decimal(text),
        }
    }

    fn compare_decimal(&self, text: &str) -> Ordering {
        // Rounding keeps order, so doubles that differ decide; equal ones do not.
        match text.parse::<f64>().ok().and_then(|n| n.partial_cmp(&self.double)) {
            Some(order @ (Ordering::Less | Ordering::Greater)) => order,
            _ => compare(text, &self.text),
        }
    }
}

/// An integer literal within 64 bits: the common case, decided without parsing a decimal.
#[inline]
pub(crate) fn small_integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        all => (false, all),
    };
    if digits.is_empty() || digits.len() > 18 {
        // Of 19 digits some fit.
        return text.parse().ok();
    }
    let mut padded = [b'0'; 24];
    padded[24 - digits.len()..].copy_from_slice(digits);
    let mut n = 0;
    for eight in padded.as_chunks::<8>().0 {
        n = n * 100_000_000 + eight_digits(*eight)?;
    }
    Some(if negative { -n } else { n })
}

/// The number that eight digits write: neighbours are joined three times.
#[inline]
fn eight_digits(bytes: [u8; 8]) -> Option<i64> {
    const ALL: u64 = 0x0101_0101_0101_0101;
    let text = u64::from_le_bytes(bytes);
    // The high halves are those of digits, and stay so six further on.
    if (text & (text.wrapping_add(ALL * 6)) & (ALL * 0xF0)) != ALL * 0x30 || text & (ALL * 0xF0) != ALL * 0x30 {
        return None;
    }
    let digits = text - ALL * u64::from(b'0');
    let pairs = (digits * 10 + (digits >> 8)) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_FFFF_0000_FFFF;
    let eight = (fours * 10_000 + (fours >> 32)) & 0xFFFF_FFFF;
    Some(eight as i64)
}

/// `±0.DIGITS × 10^point`, digits without leading and trailing zeros; none for zero.
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    point: i64,
}

impl Decimal {
    fn parse(text: &str) -> Self {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, saturating_exponent(exponent)),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let leading = all.iter().take_while(|&&b| b == b'0').count();
        let trailing = all[leading..].iter().rev().take_while(|&&b| b == b'0').count();
        let digits = all[leading..all.len() - trailing].to_vec();
        if digits.is_empty() {
            return Self { negative: false, digits, point: 0 };
        }
        Self { negative, point: exponent.saturating_add(whole.len() as i64 - leading as i64), digits }
    }

    /// Exponent of the last digit.
    fn last_exponent(&self) -> i64 {
        self.point.saturating_sub(self.digits.len() as i64)
    }
}

fn saturating_exponent(text: &str) -> i64 {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    // Far beyond anything a text's length could outweigh, far from overflow.
    let size = digits.parse::<i64>().unwrap_or(i64::MAX).min(1 << 60);
    if negative { -size } else { size }
}

/// Compares two number literals by value.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (Decimal::parse(a), Decimal::parse(b));
    match (a.digits.is_empty(), b.digits.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return if b.negative { Ordering::Greater } else { Ordering::Less },
        (false, true) => return if a.negative { Ordering::Less } else { Ordering::Greater },
        (false, false) => {}
    }
    let magnitude = || a.point.cmp(&b.point).then_with(|| a.digits.cmp(&b.digits));
    match (a.negative, b.negative) {
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, false) => magnitude(),
        (true, true) => magnitude().reverse(),
    }
}

/// A positive divisor, `mantissa × 10^exponent` with a mantissa that does not end in 0.
#[derive(Debug, Clone)]
pub(crate) struct Divisor {
    mantissa: u64,
    exponent: i64,
    /// As the reference prints it: as a double.
    pub(crate) text: Box<str>,
}

impl Divisor {
    /// `None` when it is not positive or has more digits than a double can tell apart.
    pub(crate) fn new(number: &Number) -> Option<Self> {
        let decimal = Decimal::parse(number.as_str());
        if decimal.negative || decimal.digits.is_empty() || decimal.digits.len() > 19 {
            return None;
        }
        let mantissa = std::str::from_utf8(&decimal.digits).ok()?.parse().ok()?;
        let text = java_double(number.as_f64()?).into();
        Some(Self { mantissa, exponent: decimal.last_exponent(), text })
    }

    /// Whether a number, as it is written, is a multiple.
    pub(crate) fn divides(&self, number: &str) -> bool {
        let value = Decimal::parse(number);
        let Some(shift) = value.last_exponent().checked_sub(self.exponent) else { return false };
        if value.digits.is_empty() {
            return true;
        }
        // The value's digits do not end in 0, so a value with finer digits than the divisor cannot be a multiple.
        if shift < 0 {
            return false;
        }
        let modulus = u128::from(self.mantissa);
        let rest = value.digits.iter().fold(0u128, |rest, b| (rest * 10 + u128::from(b - b'0')) % modulus);
        (rest * power_of_ten(shift, modulus)).is_multiple_of(modulus)
    }
}

/// `10^exponent mod modulus`, modulus within 64 bits.
fn power_of_ten(mut exponent: i64, modulus: u128) -> u128 {
    let (mut base, mut result) = (10 % modulus, 1 % modulus);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = result * base % modulus;
        }
        base = base * base % modulus;
        exponent >>= 1;
    }
    result
}

/// A double as the reference's platform prints it: `3.0`, `0.1`, `1.0E-4`, `1.2345678E7`.
fn java_double(n: f64) -> String {
    let scientific = format!("{n:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    if (1e-3..1e7).contains(&n.abs()) {
        return format!("{n:?}");
    }
    let point = if mantissa.contains('.') { "" } else { ".0" };
    format!("{mantissa}{point}E{exponent}")
}

/// Equality of an enumeration: numbers by value at any depth.
pub(crate) fn equal_by_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a.as_str() == b.as_str() || compare(a.as_str(), b.as_str()) == Ordering::Equal
        }
        _ => equal_deep(a, b, equal_by_value),
    }
}

/// Equality of `uniqueItems`: an integer is never equal to a number with fraction or exponent.
#[cfg(test)]
pub(crate) fn equal_by_kind(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            is_integer(a) == is_integer(b) && compare(a.as_str(), b.as_str()) == Ordering::Equal
        }
        _ => equal_deep(a, b, equal_by_kind),
    }
}

fn equal_deep(a: &Value, b: &Value, equal: fn(&Value, &Value) -> bool) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| equal(a, b)))
        }
        _ => a == b,
    }
}

/// A text that is equal for values which are [`equal_by_kind`], so that uniqueness is found by sorting or hashing.
pub(crate) fn identity(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push('n'),
        Value::Bool(b) => out.push(if *b { 't' } else { 'f' }),
        Value::Number(number) => {
            let decimal = Decimal::parse(number.as_str());
            out.push(if is_integer(number) { 'i' } else { 'd' });
            out.push(if decimal.negative { '-' } else { '+' });
            out.extend(decimal.digits.iter().map(|&b| char::from(b)));
            out.push_str(&format!("^{};", decimal.point));
        }
        Value::String(text) => {
            out.push_str(&format!("s{}:", text.len()));
            out.push_str(text);
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                identity(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| *name);
            out.push('{');
            for (name, member) in sorted {
                out.push_str(&format!("{}:{name}", name.len()));
                identity(member, out);
            }
            out.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn numbers_of_any_size_compare_by_value() {
        use Ordering::{Equal, Greater, Less};
        let cases = [
            ("1", "1.0", Equal),
            ("-0", "0.0", Equal),
            ("100", "1e2", Equal),
            ("0.1", "0.10", Equal),
            ("-1", "1", Less),
            ("-2", "-1", Less),
            ("0", "-1e-400", Greater),
            ("9223372036854775808", "9223372036854775807", Greater),
            ("1e999999999999999999999", "1e5", Greater),
            ("1e-999999999999999999999", "0", Greater),
            ("-1e999999999999999999999", "0.5", Less),
            ("0.25", "0.5", Less),
            ("12", "9", Greater),
        ];
        for (a, b, expected) in cases {
            assert_eq!(compare(a, b), expected, "{a} {b}");
            assert_eq!(compare(b, a), expected.reverse(), "{b} {a}");
            assert_eq!(Limit::new(&number(b)).compare(a, small_integer(a)), expected, "limit {b}, {a}");
        }
    }

    #[test]
    fn small_integers_are_read_digit_for_digit() {
        for text in
            ["0", "-0", "7", "-12345678", "123456789", "1700000000123", "999999999999999999", "-1234567890123456"]
        {
            assert_eq!(small_integer(text), text.parse().ok(), "{text}");
        }
        assert_eq!(small_integer("9223372036854775807"), Some(i64::MAX));
        for text in ["9223372036854775808", "1.5", "1e5", "12345678.", "1234567/", "1234567:", "1234567e1", "", "-"] {
            assert_eq!(small_integer(text), None, "{text}");
        }
    }

    #[test]
    fn multiples_are_exact() {
        let divides = |divisor: &str, n: &str| Divisor::new(&number(divisor)).unwrap().divides(n);
        for (divisor, n) in
            [("0.1", "0.3"), ("0.01", "1.23"), ("3", "9"), ("3", "0"), ("5", "1e30"), ("0.5", "-2.5"), ("3", "3.0")]
        {
            assert!(divides(divisor, n), "{divisor} {n}");
        }
        for (divisor, n) in [("0.1", "1.25"), ("3", "10"), ("10", "5"), ("3", "1e1000000000"), ("2", "0.5")] {
            assert!(!divides(divisor, n), "{divisor} {n}");
        }
        assert!(Divisor::new(&number("0")).is_none());
    }

    #[test]
    fn doubles_print_as_the_reference_does() {
        for (n, text) in
            [(3.0, "3.0"), (0.1, "0.1"), (0.0001, "1.0E-4"), (12_345_678.0, "1.2345678E7"), (1e21, "1.0E21")]
        {
            assert_eq!(java_double(n), text);
        }
    }

    #[test]
    fn uniqueness_tells_one_from_one_point_zero() {
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let same = |a: &str, b: &str| {
            let (a, b) = (value(a), value(b));
            let text = |v: &Value| {
                let mut out = String::new();
                identity(v, &mut out);
                out
            };
            assert_eq!(text(&a) == text(&b), equal_by_kind(&a, &b));
            equal_by_kind(&a, &b)
        };
        assert!(!same("1", "1.0"));
        assert!(same("1.0", "1.00"));
        assert!(same(r#"{"a":1,"b":[]}"#, r#"{"b":[],"a":1}"#));
        assert!(!same(r#"["a","b"]"#, r#"["ab",""]"#));
        assert!(equal_by_value(&value("[1]"), &value("[1.0]")));
    }
}
