//! Regular expressions of the reference's flavour (Java), searched in a text at a bounded cost (iglu-client 11.1).
//!
//! A pattern is rewritten into the flavour of the `regex` crate, whose time is linear in the text; only what that
//! cannot express (look-around, back-references, possessive and atomic groups) runs on a backtracking engine with a
//! limit on its steps.

use std::fmt::Write;

use super::shape::Shape;

/// Steps of the backtracking engine; beyond them a text counts as not matching.
const BACKTRACK_LIMIT: usize = 100_000;
/// Largest compiled program, in bytes: counted repetitions can ask for gigabytes.
const SIZE_LIMIT: usize = 4 << 20;
/// Longest pattern that is compiled, in bytes.
const MAX_PATTERN_LENGTH: usize = 16 << 10;

const LINE_END: &str = r"(?:\r\n|[\n\r\x{85}\x{2028}\x{2029}])?\z";
const DOT: &str = r"[^\n\r\x{85}\x{2028}\x{2029}]";
const WORD: &str = "a-zA-Z0-9_";
/// A word boundary over ASCII words, for the linear engine.
const ASCII_BOUNDARY: &str = r"(?-u:\b)";
/// The same for the backtracking engine, which knows no such mode.
const LOOKING_BOUNDARY: &str = "(?:(?<=[a-zA-Z0-9_])(?![a-zA-Z0-9_])|(?<![a-zA-Z0-9_])(?=[a-zA-Z0-9_]))";
const NO_BOUNDARY: &str = "(?:(?<=[a-zA-Z0-9_])(?=[a-zA-Z0-9_])|(?<![a-zA-Z0-9_])(?![a-zA-Z0-9_]))";
const SPACE: &str = r" \t\n\x0B\f\r";

/// A compiled pattern.
#[derive(Debug)]
pub(crate) struct Pattern {
    engine: Engine,
    /// Spares the engine most texts, where the pattern has one.
    shape: Option<Shape>,
}

#[derive(Debug)]
enum Engine {
    Linear(regex::Regex),
    Backtracking(fancy_regex::Regex),
}

impl Pattern {
    /// Compiles; the error is a text for people.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        if pattern.len() > MAX_PATTERN_LENGTH {
            return Err(format!("pattern is longer than {MAX_PATTERN_LENGTH} bytes"));
        }
        let translated = Translator::run(pattern)?;
        let linear = || regex::RegexBuilder::new(&translated.text).size_limit(SIZE_LIMIT).build();
        let backtracking = || {
            // Literals are escaped, so that this text can only be the boundary.
            fancy_regex::RegexBuilder::new(&translated.text.replace(ASCII_BOUNDARY, LOOKING_BOUNDARY))
                .backtrack_limit(BACKTRACK_LIMIT)
                .delegate_size_limit(SIZE_LIMIT)
                .build()
        };
        let engine = if translated.needs_backtracking {
            Engine::Backtracking(backtracking().map_err(|e| format!("pattern {pattern}: {e}"))?)
        } else {
            Engine::Linear(linear().map_err(|e| format!("pattern {pattern}: {e}"))?)
        };
        Ok(Self { engine, shape: Shape::of(pattern) })
    }

    /// Whether it is found anywhere in the text.
    #[inline]
    pub(crate) fn is_match(&self, text: &str) -> bool {
        if self.shape.as_ref().is_some_and(|shape| shape.fits(text)) {
            return true;
        }
        match &self.engine {
            Engine::Linear(regex) => regex.is_match(text),
            // An exhausted limit: the text is as good as not matching, and the bad row will say so.
            Engine::Backtracking(regex) => regex.is_match(text).unwrap_or(false),
        }
    }
}

struct Translator<'p> {
    chars: std::iter::Peekable<std::str::Chars<'p>>,
    text: String,
    needs_backtracking: bool,
    dot_all: bool,
    multi_line: bool,
    /// A quantifier was just written: a `+` after it makes it possessive, a `?` reluctant.
    after_quantifier: bool,
}

impl<'p> Translator<'p> {
    fn run(pattern: &'p str) -> Result<Self, String> {
        let mut this = Self {
            chars: pattern.chars().peekable(),
            text: String::with_capacity(pattern.len() + 16),
            needs_backtracking: false,
            dot_all: false,
            multi_line: false,
            after_quantifier: false,
        };
        this.translate().map_err(|reason| format!("pattern {pattern}: {reason}"))?;
        Ok(this)
    }

    fn translate(&mut self) -> Result<(), String> {
        while let Some(c) = self.chars.next() {
            let quantifier = matches!(c, '*' | '+' | '?' | '{');
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '.' => self.text.push_str(if self.dot_all { "(?s:.)" } else { DOT }),
                '^' => self.text.push_str(if self.multi_line { "(?m:^)" } else { "^" }),
                '$' => self.end(),
                '+' if self.after_quantifier => {
                    self.needs_backtracking = true;
                    self.text.push('+');
                }
                '?' if self.after_quantifier => self.text.push('?'),
                '*' | '+' | '?' => self.text.push(c),
                '{' => self.repetition()?,
                ')' | '|' => self.text.push(c),
                _ => push_literal(&mut self.text, c),
            }
            // `a+?` and `a++` are complete: what follows starts anew.
            self.after_quantifier = quantifier && !self.after_quantifier;
        }
        Ok(())
    }

    /// `$` also matches before a final line break. At the end of a branch the line break may as well be consumed.
    fn end(&mut self) {
        if self.multi_line {
            self.text.push_str("(?m:$)");
        } else if matches!(self.chars.peek(), None | Some(')' | '|')) {
            self.text.push_str(LINE_END);
        } else {
            self.needs_backtracking = true;
            let _infallible = write!(self.text, "(?={LINE_END})");
        }
    }

    fn repetition(&mut self) -> Result<(), String> {
        self.text.push('{');
        loop {
            match self.chars.next() {
                Some(c @ ('0'..='9' | ',')) => self.text.push(c),
                Some('}') => break self.text.push('}'),
                _ => return Err("unclosed counted closure".into()),
            }
        }
        Ok(())
    }

    fn group(&mut self) -> Result<(), String> {
        self.text.push('(');
        if self.chars.peek() != Some(&'?') {
            return Ok(());
        }
        self.chars.next();
        let rest: String = self.chars.clone().take(2).collect();
        match rest.as_bytes() {
            [b':', ..] => self.copy("?:", 1),
            [b'=' | b'!' | b'>', ..] => self.look(1),
            [b'<', b'=' | b'!'] => self.look(2),
            [b'<', ..] => self.copy("?<", 1),
            _ => return self.flags(),
        }
        Ok(())
    }

    fn copy(&mut self, text: &str, taken: usize) {
        self.text.push_str(text);
        self.skip(taken);
    }

    fn look(&mut self, taken: usize) {
        self.needs_backtracking = true;
        let introducer: String = self.chars.clone().take(taken).collect();
        self.copy(&format!("?{introducer}"), taken);
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.chars.next();
        }
    }

    /// `(?i)`, `(?i:...)`; `s` and `m` only in front of the whole pattern, where they hold everywhere.
    fn flags(&mut self) -> Result<(), String> {
        let leading = self.text == "(";
        let mut kept = String::new();
        loop {
            match self.chars.next() {
                Some(c @ ('i' | '-')) => kept.push(c),
                Some('u' | 'd') if leading => {}
                Some('s') if leading && !kept.contains('-') => self.dot_all = true,
                Some('m') if leading && !kept.contains('-') => self.multi_line = true,
                Some(')') if kept.is_empty() || kept == "-" => break self.text.push_str("?:)"),
                Some(')') => break self.text.push_str(&format!("?{kept})")),
                Some(':') if leading && (self.dot_all || self.multi_line) => {
                    return Err("flags of a group other than i are not supported".into());
                }
                Some(':') => break self.text.push_str(&format!("?{kept}:")),
                _ => return Err("unknown or unsupported inline modifier".into()),
            }
        }
        Ok(())
    }

    fn escape(&mut self) -> Result<(), String> {
        let c = *self.chars.peek().ok_or("unexpected end of pattern after a backslash")?;
        match c {
            'A' | 'z' => self.simple(&format!("\\{c}"), false),
            'Z' => {
                self.chars.next();
                self.end();
            }
            'b' => self.simple(ASCII_BOUNDARY, false),
            'B' => self.simple(NO_BOUNDARY, true),
            '1'..='9' => self.simple(&format!("\\{c}"), true),
            'k' => self.simple("\\k", true),
            'R' => self.simple(r"(?:\r\n|[\n\x0B\f\r\x{85}\x{2028}\x{2029}])", false),
            'Q' => {
                self.chars.next();
                self.quoted();
            }
            _ => {
                let item = self.class_escape()?;
                item.write_outside(&mut self.text);
            }
        }
        Ok(())
    }

    fn simple(&mut self, text: &str, needs_backtracking: bool) {
        self.needs_backtracking |= needs_backtracking;
        self.copy(text, 1);
    }

    fn quoted(&mut self) {
        while let Some(c) = self.chars.next() {
            if c == '\\' && self.chars.peek() == Some(&'E') {
                self.chars.next();
                return;
            }
            push_literal(&mut self.text, c);
        }
    }

    /// What follows a backslash, where it means a character or a set of characters.
    fn class_escape(&mut self) -> Result<Item, String> {
        let c = self.chars.next().ok_or("unexpected end of pattern after a backslash")?;
        let set = |negated: bool, members: &str| Ok(Item::Set { negated, members: members.into() });
        match c {
            'd' | 'D' => set(c == 'D', "0-9"),
            'w' | 'W' => set(c == 'W', WORD),
            's' | 'S' => set(c == 'S', SPACE),
            'h' | 'H' => set(c == 'H', r" \t\x{A0}\x{1680}\x{180E}\x{2000}-\x{200A}\x{202F}\x{205F}\x{3000}"),
            'v' | 'V' => set(c == 'V', r"\n\x0B\f\r\x{85}\x{2028}\x{2029}"),
            'p' | 'P' => self.property(c == 'P'),
            't' => Ok(Item::Char('\t')),
            'n' => Ok(Item::Char('\n')),
            'r' => Ok(Item::Char('\r')),
            'f' => Ok(Item::Char('\x0C')),
            'a' => Ok(Item::Char('\x07')),
            'e' => Ok(Item::Char('\x1B')),
            'c' => {
                let letter = self.chars.next().filter(char::is_ascii).ok_or("illegal control escape sequence")?;
                Ok(Item::Char(char::from(letter as u8 ^ 64)))
            }
            '0' => self.octal(),
            'x' if self.chars.peek() == Some(&'{') => {
                self.chars.next();
                let mut digits = String::new();
                loop {
                    match self.chars.next() {
                        Some('}') => break,
                        Some(c) if digits.len() < 8 => digits.push(c),
                        _ => return Err("unclosed hexadecimal escape sequence".into()),
                    }
                }
                code_point(&digits)
            }
            'x' => {
                let digits = self.hex(2)?;
                code_point(&digits)
            }
            'u' => self.utf16(),
            c if c.is_ascii_alphabetic() => Err(format!("illegal or unsupported escape sequence \\{c}")),
            c => Ok(Item::Char(c)),
        }
    }

    fn hex(&mut self, count: usize) -> Result<String, String> {
        let digits: String = self.chars.clone().take(count).take_while(char::is_ascii_hexdigit).collect();
        if digits.len() < count {
            return Err("illegal hexadecimal escape sequence".into());
        }
        self.skip(count);
        Ok(digits)
    }

    /// `\uXXXX`, and two of them for a character beyond the basic plane.
    fn utf16(&mut self) -> Result<Item, String> {
        let unit = |digits: &str| u32::from_str_radix(digits, 16).map_err(|e| e.to_string());
        let high = unit(&self.hex(4)?)?;
        if !(0xD800..0xDC00).contains(&high) {
            return char::from_u32(high).map(Item::Char).ok_or_else(|| "a lone surrogate cannot match".into());
        }
        if self.chars.next() != Some('\\') || self.chars.next() != Some('u') {
            return Err("a lone surrogate cannot match".into());
        }
        let low = unit(&self.hex(4)?)?;
        let pair = (0xDC00..0xE000).contains(&low).then(|| 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00));
        pair.and_then(char::from_u32).map(Item::Char).ok_or_else(|| "a lone surrogate cannot match".into())
    }

    fn octal(&mut self) -> Result<Item, String> {
        let mut value = 0u32;
        let mut count = 0;
        while let Some(digit) = self.chars.peek().and_then(|c| c.to_digit(8)) {
            if count == 3 || value * 8 + digit > 0o377 {
                break;
            }
            value = value * 8 + digit;
            count += 1;
            self.chars.next();
        }
        let c = char::from_u32(value).filter(|_| count > 0);
        c.map(Item::Char).ok_or_else(|| "illegal octal escape sequence".into())
    }

    fn property(&mut self, negated: bool) -> Result<Item, String> {
        let mut name = String::new();
        match self.chars.next() {
            Some('{') => loop {
                match self.chars.next() {
                    Some('}') => break,
                    Some(c) if name.len() < 64 => name.push(c),
                    _ => return Err("unclosed character family".into()),
                }
            },
            Some(c) => name.push(c),
            None => return Err("unknown character property".into()),
        }
        let members = match name.as_str() {
            "Lower" => "a-z".into(),
            "Upper" => "A-Z".into(),
            "ASCII" => r"\x00-\x7F".into(),
            "Alpha" => "a-zA-Z".into(),
            "Digit" => "0-9".into(),
            "Alnum" => "a-zA-Z0-9".into(),
            "Punct" => r"!-/:-@\[-`\{-\~".into(),
            "Graph" => r"!-\~".into(),
            "Print" => r"\x20-\~".into(),
            "Blank" => r" \t".into(),
            "Cntrl" => r"\x00-\x1F\x7F".into(),
            "XDigit" => "0-9a-fA-F".into(),
            "Space" => SPACE.into(),
            other if !other.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '=')) => {
                return Err("unknown character property".into());
            }
            other => format!("\\p{{{}}}", other.strip_prefix("Is").unwrap_or(other)),
        };
        Ok(Item::Set { negated, members })
    }

    /// A class, after its `[`. Literals are escaped, so that operators the target flavour has and Java has not
    /// (`--`, `~~`) do not arise; nested classes and `&&` mean the same in both.
    fn class(&mut self) -> Result<(), String> {
        self.text.push('[');
        if self.chars.peek() == Some(&'^') {
            self.chars.next();
            self.text.push('^');
        }
        let mut first = true;
        loop {
            let c = self.chars.next().ok_or("unclosed character class")?;
            let low = match c {
                ']' if !first => break self.text.push(']'),
                '[' => {
                    self.class()?;
                    first = false;
                    continue;
                }
                '&' if self.chars.peek() == Some(&'&') => {
                    self.chars.next();
                    self.text.push_str("&&");
                    continue;
                }
                '\\' if self.chars.peek() == Some(&'Q') => return Err("quotes in a class are not supported".into()),
                '\\' => self.class_escape()?,
                c => Item::Char(c),
            };
            first = false;
            self.range(low)?;
        }
        Ok(())
    }

    fn range(&mut self, low: Item) -> Result<(), String> {
        let next: String = self.chars.clone().take(2).collect();
        let Item::Char(from) = low else {
            low.write_inside(&mut self.text);
            return Ok(());
        };
        push_class_literal(&mut self.text, from);
        let mut next = next.chars();
        if next.next() != Some('-') || matches!(next.next(), None | Some('[' | ']')) {
            return Ok(());
        }
        self.chars.next();
        let high = match self.chars.next() {
            Some('\\') => self.class_escape()?,
            Some(c) => Item::Char(c),
            None => return Err("unclosed character class".into()),
        };
        match high {
            Item::Char(to) if from <= to => {
                self.text.push('-');
                push_class_literal(&mut self.text, to);
                Ok(())
            }
            Item::Char(_) => Err("illegal character range".into()),
            set @ Item::Set { .. } => {
                push_class_literal(&mut self.text, '-');
                set.write_inside(&mut self.text);
                Ok(())
            }
        }
    }
}

/// One character or a set of them.
enum Item {
    Char(char),
    Set { negated: bool, members: String },
}

impl Item {
    fn write_outside(&self, out: &mut String) {
        match self {
            Self::Char(c) => push_literal(out, *c),
            Self::Set { .. } => self.write_inside(out),
        }
    }

    fn write_inside(&self, out: &mut String) {
        match self {
            Self::Char(c) => push_class_literal(out, *c),
            Self::Set { negated, members } => {
                out.push_str(if *negated { "[^" } else { "[" });
                out.push_str(members);
                out.push(']');
            }
        }
    }
}

fn code_point(hex: &str) -> Result<Item, String> {
    let c = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32);
    c.map(Item::Char).ok_or_else(|| "illegal hexadecimal escape sequence".into())
}

fn push_literal(out: &mut String, c: char) {
    if matches!(c, '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$') {
        out.push('\\');
    }
    out.push(c);
}

fn push_class_literal(out: &mut String, c: char) {
    if matches!(c, '\\' | '[' | ']' | '^' | '-' | '&' | '~') {
        out.push('\\');
    }
    out.push(c);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).unwrap_or_else(|e| panic!("{e}")).is_match(text)
    }

    #[test]
    fn patterns_mean_what_java_means() {
        for (pattern, text) in [
            ("b", "abc"),
            ("^a$", "a\n"),
            ("^a$|^b$", "b\r\n"),
            ("a$\n", "a\n"),
            ("^(?!foo).*$", "barfoo"),
            (r"^(\d)\1$", "77"),
            (r"^[a-zA-Z0-9-_.]+$", "a-b_c.9"),
            (r"^[\w-]+$", "a-b"),
            (r"[]a]", "]"),
            (r"^[a-c[x-z]]+$", "az"),
            (r"^[a-z&&[^b]]+$", "acd"),
            (r"^\u0041\x42\Q.*\E$", "AB.*"),
            (r"^\p{Alpha}\p{L}$", "aé"),
            ("(?i)^abc$", "ABC"),
            ("(?s)^a.b$", "a\nb"),
            (r"^a++b$", "aab"),
            (r"\bfoo\b", "a foo b"),
            (r"^(?=f)foo\b", "foo!"),
            (r"^fo\Bo\b", "foo é"),
            (r"^(?<!x)a$", "a\n"),
            (r"^\S+@\S+\.[^\s]+$", "a@b.c"),
            (r"^(a|b|)$", ""),
            (r"^.{3}$", "äöü"),
            (r"^[^]]$", "a"),
            (r"^}]$", "}]"),
            (r"^\/\-\@$", "/-@"),
            (r"^(?<year>[0-9]{4})$", "2024"),
            (r"^\$[A-Z0-9-_]+", "$A"),
            ("^[~,--]$", "-"),
            ("^ä$", "ä"),
        ] {
            assert!(found(pattern, text), "{pattern} should be found in {text:?}");
        }
        for (pattern, text) in [
            (r"^\d+$", "٣"),
            (r"^\w+$", "é"),
            ("^(?!foo).*$", "foobar"),
            ("^.$", "\n"),
            ("^a.b$", "a\nb"),
            (r"^a++ab$", "aab"),
            ("^a$", "a\nb"),
            (r"^[a-z&&[^b]]+$", "b"),
            (r"^\s$", "\u{a0}"),
        ] {
            assert!(!found(pattern, text), "{pattern} should not be found in {text:?}");
        }
    }

    #[test]
    fn broken_patterns_are_refused_with_a_reason() {
        for pattern in ["[", "(", r"\", r"\y", "a{2", "[z-a]", "(?s:.)", r"\p{javaX}"] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_pattern_and_no_text_is_too_strange(
            pattern in r"[a-z0-9\\\[\]\(\)\{\}\^$.|?*+&<>=!:,\-äuxQEpPcbB]{0,24}",
            text in ".{0,16}",
        ) {
            if let Ok(pattern) = Pattern::new(&pattern) {
                pattern.is_match(&text);
            }
        }
    }

    #[test]
    fn catastrophic_patterns_and_huge_programs_are_bounded() {
        let text = "a".repeat(5_000) + "!";
        let start = std::time::Instant::now();
        assert!(!found("^(a+)+$", &text));
        assert!(!found(r"^(?=a)(a+)+\1$", &text));
        assert!(Pattern::new("((a{1000}){1000}){1000}").is_err());
        assert!(start.elapsed().as_secs() < 20);
    }
}
