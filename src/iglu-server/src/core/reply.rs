//! Answers as values, and the ones that many endpoints give (iglu-server spec, section 3).

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

/// Type of JSON answers.
pub const JSON: &str = "application/json";
/// Type of the answers of the health endpoints.
pub const TEXT: &str = "text/plain; charset=UTF-8";

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
    /// `ETag`, with its quotes, of answers that may be asked for again.
    pub etag: Option<String>,
}

impl Reply {
    /// An answer with a JSON body.
    #[must_use]
    pub fn json(status: u16, value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).expect("answers have text keys only");
        Self::json_text(status, body)
    }

    /// An answer whose body is JSON already.
    #[must_use]
    pub fn json_text(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, content_type: JSON, body: body.into(), etag: None }
    }

    /// An answer that is a text.
    #[must_use]
    pub fn text(status: u16, text: &'static str) -> Self {
        Self { status, content_type: TEXT, body: Bytes::from_static(text.as_bytes()), etag: None }
    }

    /// An answer that is one message.
    #[must_use]
    pub fn message(status: u16, message: &str) -> Self {
        Self::json(status, &json!({ "message": message }))
    }

    /// 400 with a message.
    #[must_use]
    pub fn bad_request(message: &str) -> Self {
        Self::message(400, message)
    }

    /// No path like this in a service that exists.
    #[must_use]
    pub fn unknown_path() -> Self {
        Self::message(404, "")
    }

    /// No service has this path.
    #[must_use]
    pub fn no_endpoint() -> Self {
        Self::message(404, "The endpoint does not exist")
    }

    /// The path has other methods.
    #[must_use]
    pub fn not_allowed(method: &str, defined: &str) -> Self {
        Self::message(405, &format!("{method} not allowed. Defined methods: {defined}\n"))
    }

    /// Missing and forbidden look the same.
    #[must_use]
    pub fn schema_not_found() -> Self {
        Self::message(404, "The schema is not found")
    }

    /// Nothing in a list.
    #[must_use]
    pub fn no_schemas() -> Self {
        Self::message(404, "No schemas available")
    }

    /// Publishing without the right to.
    #[must_use]
    pub fn not_authorized() -> Self {
        Self::message(403, "Authentication error: not authorized")
    }

    /// Not JSON.
    #[must_use]
    pub fn malformed_body() -> Self {
        Self::bad_request("The request body was malformed.")
    }

    /// JSON of another shape, or too deep.
    #[must_use]
    pub fn invalid_body() -> Self {
        Self::message(422, "The request body was invalid.")
    }

    /// More bytes than are allowed.
    #[must_use]
    pub fn too_large() -> Self {
        Self::message(413, "The payload is too large")
    }

    /// The body did not come in time.
    #[must_use]
    pub fn too_slow() -> Self {
        Self::message(408, "The request body did not arrive in time")
    }

    /// The database failed; what happened stands in the log.
    #[must_use]
    pub fn storage_failed() -> Self {
        Self::message(500, "The registry's database failed")
    }

    /// The same with an `ETag`.
    #[must_use]
    pub fn with_etag(self, etag: String) -> Self {
        Self { etag: Some(etag), ..self }
    }
}
