//! Patterns that spell texts place by place, such as those for identifiers: `^[0-9a-f]{8}-[0-9a-f]{4}$`, `^iglu:[a-z.]+/[0-9]+$`.
//!
//! A text that fits is known to match without running the engine. One that does not fit may match all the same (`$` is
//! generous about line ends, and a repetition may have taken too much): then the engine decides.

/// Most places of one alternative.
const MAX_PLACES: usize = 64;
/// Deepest groups within groups.
const MAX_NESTING: u32 = 8;

/// The characters of one place, and whether there may be more of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Place {
    /// A bit for each byte; only ASCII is in any.
    bytes: [u64; 4],
    repeats: bool,
}

impl Place {
    fn add(&mut self, byte: u8) {
        self.bytes[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    #[inline]
    fn has(&self, byte: u8) -> bool {
        self.bytes[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }
}

/// What a pattern spells: one list of places for each of its alternatives.
#[derive(Debug)]
pub(crate) struct Shape(Vec<Vec<Place>>);

impl Shape {
    /// `None` for a pattern that says anything else: alternatives from `^` to `$`, of letters, digits, a few signs, simple
    /// classes and groups; each perhaps with a count, single places perhaps with `+`.
    pub(crate) fn of(pattern: &str) -> Option<Self> {
        let alternative = |text: &str| {
            let text = text.strip_prefix('^')?.strip_suffix('$')?;
            let mut places = Vec::new();
            let rest = items(text.as_bytes(), &mut places, MAX_NESTING)?;
            rest.is_empty().then_some(places)
        };
        pattern.split('|').map(alternative).collect::<Option<_>>().map(Shape)
    }

    /// Whether the text is spelt by one of the alternatives, each repetition taking as much as it can.
    #[inline]
    pub(crate) fn fits(&self, text: &str) -> bool {
        self.0.iter().any(|places| fits(places, text.as_bytes()))
    }
}

#[inline]
fn fits(places: &[Place], mut rest: &[u8]) -> bool {
    for place in places {
        match rest {
            [first, more @ ..] if place.has(*first) => rest = more,
            _ => return false,
        }
        while place.repeats
            && let [first, more @ ..] = rest
            && place.has(*first)
        {
            rest = more;
        }
    }
    rest.is_empty()
}

/// Reads items up to the end or a closing parenthesis; gives what is left.
fn items<'p>(mut rest: &'p [u8], places: &mut Vec<Place>, nesting: u32) -> Option<&'p [u8]> {
    while let [first, more @ ..] = rest {
        let start = places.len();
        rest = match first {
            b')' => return Some(rest),
            b'(' => items(more, places, nesting.checked_sub(1)?)?.strip_prefix(b")")?,
            b'[' => class(more, places)?,
            byte if is_literal(*byte) => {
                let mut place = Place::default();
                place.add(*byte);
                places.push(place);
                more
            }
            _ => return None,
        };
        match rest {
            [b'{', more @ ..] => {
                let end = more.iter().position(|byte| *byte == b'}')?;
                let count: usize = std::str::from_utf8(&more[..end]).ok()?.parse().ok()?;
                let item = places.split_off(start);
                if item.len().checked_mul(count)? > MAX_PLACES {
                    return None;
                }
                places.extend(std::iter::repeat_n(item, count).flatten());
                rest = &more[end + 1..];
            }
            [b'+', more @ ..] => {
                let [place] = &mut places[start..] else { return None };
                place.repeats = true;
                rest = more;
            }
            _ => {}
        }
        // A second quantifier would be possessive or reluctant.
        if places.len() > MAX_PLACES || matches!(rest, [b'+' | b'?' | b'*' | b'{', ..]) {
            return None;
        }
    }
    Some(rest)
}

/// Reads a class of letters, digits, `_`, `.`, ranges of letters and digits, and `-` where it can mean nothing else.
fn class<'p>(mut rest: &'p [u8], places: &mut Vec<Place>) -> Option<&'p [u8]> {
    let mut place = Place::default();
    let mut after_range = true;
    loop {
        match rest {
            [b']', more @ ..] if place != Place::default() => {
                places.push(place);
                return Some(more);
            }
            [from, b'-', to, more @ ..] if from.is_ascii_alphanumeric() && to.is_ascii_alphanumeric() && from <= to => {
                (*from..=*to).for_each(|byte| place.add(byte));
                (rest, after_range) = (more, true);
            }
            [b'-', more @ ..] if after_range || more.first() == Some(&b']') => {
                place.add(b'-');
                (rest, after_range) = (more, false);
            }
            [byte, more @ ..] if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.') => {
                place.add(*byte);
                (rest, after_range) = (more, false);
            }
            _ => return None,
        }
    }
}

fn is_literal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_spelt_place_by_place() {
        let shape = Shape::of("^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$|^[0-9a-f]{16}$").unwrap();
        for text in ["123e4567-e89b-12d3-a456-426614174000", "0123456789abcdef"] {
            assert!(shape.fits(text), "{text}");
        }
        for text in
            ["", "123E4567-e89b-12d3-a456-426614174000", "0123456789abcde", "0123456789abcdeé", "0123456789abcdef\n"]
        {
            assert!(!shape.fits(text), "{text}");
        }
        assert!(Shape::of("^O-[0-9]{3}$").unwrap().fits("O-123"));
        let uri = "^iglu:[a-zA-Z0-9-_.]+/[a-zA-Z0-9-_]+/[a-zA-Z0-9-_]+/[0-9]+-[0-9]+-[0-9]+$";
        let shape = Shape::of(uri).unwrap();
        assert!(shape.fits("iglu:com.acme-x/a_b/jsonschema/1-0-12"));
        for text in ["iglu:com.acme/a.b/jsonschema/1-0-0", "iglu:com.acme/a/jsonschema/1-0", "iglu:/a/b/1-0-0"] {
            assert!(!shape.fits(text), "{text}");
        }
    }

    #[test]
    fn whatever_says_more_is_no_shape() {
        for pattern in [
            "",
            "a",
            "^a",
            "a$",
            "^a*$",
            "^a++$",
            "^a+?$",
            "^a{2}?$",
            "^(ab)+$",
            "^[_-z]$",
            "^[+-.]$",
            "^[^a]$",
            "^a.b$",
            "^(a|b)$",
            "^\\d$",
            "^a{1,2}$",
            "^a{65}$",
            "^a{}$",
            "^[]$",
            "^[b-a]$",
            "^(a$",
            "^a)$",
            "^[a$",
            "^a?$",
            "^é$",
            "^(?i)a$",
            "^a{99999999999999999999}$",
            "^(a{60}){60}$",
        ] {
            assert!(Shape::of(pattern).is_none(), "{pattern}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_text_that_fits_is_matched_by_the_engine(
            pattern in r"\^([a-c-]|\[a-c0-9-\]|\[ab0-9-_\]\+|a\+|\(ab\)|[a-c]\{[0-3]\}|\[a-b\]\{2\}){0,5}\$(\|\^[a-c]{1,3}\$)?",
            text in "[a-c0-9_-]{0,6}",
        ) {
            if let Some(shape) = Shape::of(&pattern) && shape.fits(&text) {
                proptest::prop_assert!(regex::Regex::new(&pattern).unwrap().is_match(&text), "{} {}", pattern, text);
            }
        }
    }
}
