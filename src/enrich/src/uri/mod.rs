//! URIs as `java.net.URI` reads them, with the lenient second try of enrich-core 3.5.

mod lenient;
mod strict;

use std::borrow::Cow;
use std::ops::Range;

pub(crate) use strict::check_query;

/// A parsed URI: its text and where its components lie in it. Components are raw: nothing is decoded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Uri {
    text: String,
    parts: Parts,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Parts {
    scheme: Option<Range<usize>>,
    host: Option<Range<usize>>,
    port: Option<i32>,
    path: Option<Range<usize>>,
    query: Option<Range<usize>>,
    fragment: Option<Range<usize>>,
}

/// Why a text is no URI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Provided URI [{text}] could not be parsed, neither by Java parsing (error: [{strict}]) nor by Scala parsing \
     (error: [{lenient}])."
)]
pub struct UriError {
    /// The text as given.
    pub text: String,
    /// What the strict parser says.
    pub strict: String,
    /// What the lenient parser says.
    pub lenient: String,
}

impl Uri {
    /// Reads a URI: spaces count as `%20`; what the strict grammar refuses is split and encoded again.
    pub fn parse(text: &str) -> Result<Uri, UriError> {
        let spaced: Cow<'_, str> =
            if text.contains(' ') { Cow::Owned(text.replace(' ', "%20")) } else { Cow::Borrowed(text) };
        match strict::parse(&spaced) {
            Ok(parts) => Ok(Uri { text: spaced.into_owned(), parts }),
            Err(strict) => {
                let lenient = lenient::reencode(text);
                match strict::parse(&lenient) {
                    Ok(parts) => Ok(Uri { text: lenient, parts }),
                    Err(error) => Err(UriError { text: text.to_owned(), strict, lenient: error }),
                }
            }
        }
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn part(&self, range: &Option<Range<usize>>) -> Option<&str> {
        Some(&self.text[range.clone()?])
    }

    /// As written; `None` for a relative reference.
    pub fn scheme(&self) -> Option<&str> {
        self.part(&self.parts.scheme)
    }

    /// Host of a server-based authority, IPv6 in its brackets.
    pub fn host(&self) -> Option<&str> {
        self.part(&self.parts.host)
    }

    /// The explicit port, else 443 for `https`, else 80 whatever the scheme is.
    pub fn port(&self) -> i32 {
        self.parts.port.unwrap_or(if self.scheme() == Some("https") { 443 } else { 80 })
    }

    /// Raw path; `None` for an opaque URI.
    pub fn path(&self) -> Option<&str> {
        self.part(&self.parts.path)
    }

    /// Raw query.
    pub fn query(&self) -> Option<&str> {
        self.part(&self.parts.query)
    }

    /// Raw fragment.
    pub fn fragment(&self) -> Option<&str> {
        self.part(&self.parts.fragment)
    }
}

#[cfg(test)]
mod tests;
