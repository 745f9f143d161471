//! Requests from pages of other origins (iglu-server spec, section 13). Unlike the original, refusals too carry the
//! headers, so that a page can read why.

use actix_web::HttpResponseBuilder;
use actix_web::http::header::{self, HeaderMap, HeaderValue};

/// Headers that a page may send.
const ALLOWED: [&str; 2] = ["content-type", "apikey"];

/// Whether the request asks if another may be sent.
pub(super) fn is_preflight(method: &str, headers: &HeaderMap) -> bool {
    method == "OPTIONS"
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Adds what a preflight asks for, unless it asks for headers that nobody may send.
pub(super) fn answer_preflight(response: &mut HttpResponseBuilder, headers: &HeaderMap) {
    let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).map_or(Ok(""), HeaderValue::to_str);
    let may = |name: &str| name.is_empty() || ALLOWED.iter().any(|allowed| name.eq_ignore_ascii_case(allowed));
    if asked.is_ok_and(|asked| asked.split(',').all(|name| may(name.trim()))) && allow_origin(response, headers) {
        response
            .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, OPTIONS, DELETE"))
            .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type, apikey"))
            .insert_header((header::ACCESS_CONTROL_MAX_AGE, "86400"));
    }
}

/// Allows the request's origin, unless it has none; whether it does.
pub(super) fn allow_origin(response: &mut HttpResponseBuilder, headers: &HeaderMap) -> bool {
    let origin = headers.get(header::ORIGIN).filter(|origin| origin.as_bytes() != b"null");
    if let Some(origin) = origin {
        response.insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()));
    }
    origin.is_some()
}
