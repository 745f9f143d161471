//! Paths and queries of requests, taken apart (iglu-server spec, section 1).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::reply::Reply;

/// The segments of a path, decoded. Empty ones are dropped, but for the last.
#[must_use]
pub fn segments(path: &str) -> Vec<Cow<'_, str>> {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let last = parts.len() - 1;
    let kept = parts.iter().enumerate().filter(|(at, part)| *at == last || !part.is_empty());
    kept.map(|(_, part)| percent_decode_str(part).decode_utf8_lossy()).collect()
}

/// The first value of a query parameter, decoded.
#[must_use]
pub fn parameter(query: &str, name: &str) -> Option<String> {
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key) == name).then(|| decoded(value))
    })
}

/// `isPublic`, which is false when it is absent.
///
/// # Errors
/// The answer to anything but `true` and `false`.
pub fn is_public(query: &str) -> Result<bool, Reply> {
    match parameter(query, "isPublic").as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(Reply::bad_request(&format!("Invalid boolean format: '{other}'"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_segments_count_only_at_the_end() {
        assert_eq!(segments("//api//schemas/com.acme/"), ["api", "schemas", "com.acme", ""]);
        assert_eq!(segments("/a%20b/%2e%2e/c%2Fd"), ["a b", "..", "c/d"]);
        assert_eq!(segments("/"), [""]);
    }

    #[test]
    fn parameters_are_decoded() {
        assert_eq!(parameter("a=1&repr=me%74a&repr=uri", "repr").as_deref(), Some("meta"));
        assert_eq!(parameter("isPublic", "isPublic").as_deref(), Some(""));
        assert_eq!(parameter("", "x"), None);
        assert_eq!(is_public("isPublic=True").unwrap_err().status, 400);
    }
}
