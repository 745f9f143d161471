//! Frames of AWS's event streams, as SubscribeToShard answers with them.

use aws_smithy_eventstream::error::Error;
use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::Bytes;
use serde_json::Value;

/// What comes first, as soon as a call is accepted: the SDKs wait for it before they give the stream to the caller.
pub(crate) fn accepted() -> Result<Bytes, Error> {
    frame("event", ":event-type", "initial-response", &Value::Object(serde_json::Map::new()))
}

/// An event.
pub(crate) fn event(payload: &Value) -> Result<Bytes, Error> {
    frame("event", ":event-type", "SubscribeToShardEvent", payload)
}

/// An error, after which the stream ends.
pub(crate) fn exception(name: &str, payload: &Value) -> Result<Bytes, Error> {
    frame("exception", ":exception-type", name, payload)
}

fn frame(kind: &str, type_header: &'static str, name: &str, payload: &Value) -> Result<Bytes, Error> {
    let text = |value: &str| HeaderValue::String(value.to_owned().into());
    let message = Message::new(payload.to_string())
        .add_header(Header::new(":message-type", text(kind)))
        .add_header(Header::new(type_header, text(name)))
        .add_header(Header::new(":content-type", text("application/json")));
    let mut frame = Vec::new();
    write_message_to(&message, &mut frame)?;
    Ok(frame.into())
}
