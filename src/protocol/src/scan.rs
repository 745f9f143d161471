//! Looking through bytes sixteen at a time: what parsing and cleaning do to every byte of every event.

use wide::u8x16;

/// Bytes looked at together.
const LANES: usize = 16;

/// `"`, `\` and controls as one bit a lane, the first byte lowest.
#[inline(always)]
fn stops(bytes: u8x16) -> u32 {
    (at_most(bytes, 0x1F) | equal(bytes, b'"') | equal(bytes, b'\\')).to_bitmask()
}

/// U+007F and what is not ASCII (0xFF is not in texts).
#[inline(always)]
fn odd(bytes: u8x16) -> u32 {
    (bytes + u8x16::splat(1)).to_bitmask()
}

#[inline(always)]
fn controls(bytes: u8x16) -> u32 {
    (at_most(bytes, 0x1F) | equal(bytes, 0x7F)).to_bitmask()
}

#[inline(always)]
fn no_digits(bytes: u8x16) -> u32 {
    !at_most(bytes - u8x16::splat(b'0'), 9).to_bitmask() & 0xFFFF
}

#[inline(always)]
fn equal(bytes: u8x16, byte: u8) -> u8x16 {
    bytes.simd_eq(u8x16::splat(byte))
}

#[inline(always)]
fn at_most(bytes: u8x16, byte: u8) -> u8x16 {
    bytes.min(u8x16::splat(byte)).simd_eq(bytes)
}

/// The last bytes, filled up.
#[inline(always)]
fn padded(rest: &[u8], padding: u8) -> u8x16 {
    let mut chunk = [padding; LANES];
    chunk[..rest.len()].copy_from_slice(rest);
    u8x16::new(chunk)
}

/// Where the plain characters of a JSON string end that begin at `start`: at the first `"`, `\` or control below U+0020, or
/// with the bytes. And whether one of them is U+007F or not ASCII.
#[inline(always)]
pub(crate) fn plain_run(bytes: &[u8], start: usize) -> (usize, bool) {
    let mut rest = bytes.get(start..).unwrap_or_default();
    let mut odd = 0;
    loop {
        let (chunk, last) = match rest.first_chunk::<LANES>() {
            Some(chunk) => (u8x16::new(*chunk), false),
            None => (padded(rest, b'"'), true),
        };
        let stops = self::stops(chunk);
        if stops != 0 || last {
            let length = stops.trailing_zeros();
            odd |= self::odd(chunk) & ((1 << length) - 1);
            return (bytes.len() - rest.len() + length as usize, odd != 0);
        }
        odd |= self::odd(chunk);
        rest = &rest[LANES..];
    }
}

/// Where the decimal digits end that begin at `start`.
#[inline(always)]
pub(crate) fn digit_run(bytes: &[u8], start: usize) -> usize {
    let mut rest = bytes.get(start..).unwrap_or_default();
    loop {
        let chunk = match rest.first_chunk::<LANES>() {
            Some(chunk) => u8x16::new(*chunk),
            None => padded(rest, b' '),
        };
        let others = no_digits(chunk);
        if others != 0 {
            return bytes.len() - rest.len() + others.trailing_zeros() as usize;
        }
        rest = &rest[LANES..];
    }
}

/// Whether there is an ASCII control among the bytes.
#[inline]
pub fn has_control(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<LANES>();
    chunks.iter().any(|chunk| controls(u8x16::new(*chunk)) != 0) || controls(padded(rest, b' ')) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn runs_end_where_a_byte_by_byte_search_ends(text in "[ -~]{0,20}[\"\\\\a-z0-9\u{1}\u{7f}é]{0,40}", start in 0usize..30) {
            let bytes = text.as_bytes();
            let rest = bytes.get(start..).unwrap_or_default();
            let find = |stop: fn(u8) -> bool| start.min(bytes.len()) + rest.iter().position(|&b| stop(b)).unwrap_or(rest.len());
            let plain = find(|byte| byte < 0x20 || byte == b'"' || byte == b'\\');
            let odd = bytes[start.min(bytes.len())..plain].iter().any(|&byte| byte >= 0x7F);
            proptest::prop_assert_eq!(plain_run(bytes, start), (plain, odd));
            proptest::prop_assert_eq!(digit_run(bytes, start), find(|byte| !byte.is_ascii_digit()));
            proptest::prop_assert_eq!(has_control(bytes), bytes.iter().any(u8::is_ascii_control));
        }
    }
}
