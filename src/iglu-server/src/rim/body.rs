//! Bodies of requests, within limits of size and time.

use std::time::Duration;

use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt;

use crate::core::reply::Reply;

/// What is read of a body that is too large, so that its sender gets to see the answer.
const MOST_DISCARDED: usize = 32 << 20;

/// Reads a body of fewer than `limit` bytes.
///
/// # Errors
/// The answer to one that is larger, or did not come whole in time.
pub(super) async fn read(mut payload: Payload, limit: usize, within: Duration) -> Result<Bytes, Reply> {
    let reading = async {
        let mut body = BytesMut::new();
        let mut length = 0;
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| Reply::malformed_body())?;
            length += chunk.len();
            if length < limit {
                body.extend_from_slice(&chunk);
            } else if length > MOST_DISCARDED {
                break;
            }
        }
        if length < limit { Ok(body.freeze()) } else { Err(Reply::too_large()) }
    };
    tokio::time::timeout(within, reading).await.unwrap_or_else(|_| Err(Reply::too_slow()))
}
