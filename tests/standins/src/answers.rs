//! Answers that the proxy gives by itself: errors in the shape of each service.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::json;

/// An error as Kinesis and DynamoDB give it (JSON with its name), or S3 (XML).
pub(crate) fn error(is_s3: bool, status: u16, code: &str, message: &str) -> HttpResponse {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = HttpResponse::build(status);
    answer.insert_header(("x-amzn-RequestId", "00000000-0000-0000-0000-000000000000"));
    if is_s3 {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        );
        return answer.content_type("application/xml").body(body);
    }
    let body = json!({ "__type": code, "message": message });
    answer.content_type("application/x-amz-json-1.1").insert_header(("x-amzn-ErrorType", code)).body(body.to_string())
}

/// The refusal of what is too much.
pub(crate) fn throttled(is_s3: bool, code: Option<&str>) -> HttpResponse {
    if is_s3 {
        return error(true, 503, code.unwrap_or("SlowDown"), "Please reduce your request rate.");
    }
    let message = "Rate exceeded for shard shardId-000000000000 in stream stand-in under account 000000000000.";
    error(false, 400, code.unwrap_or("ProvisionedThroughputExceededException"), message)
}

/// The failure of the service itself.
pub(crate) fn failed(is_s3: bool, status: Option<u16>, code: Option<&str>) -> HttpResponse {
    let usual = if is_s3 { "InternalError" } else { "InternalFailure" };
    error(is_s3, status.unwrap_or(500), code.unwrap_or(usual), "planned by the stand-in")
}
