//! Bodies: read with a limit while they come, and decompressed with the same limit (1.11).

use std::io::Read;

use actix_http::Payload;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

/// Compressed bodies of more than this are decompressed off the event loop.
const INLINE_COMPRESSED: usize = 4096;

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyError {
    /// It has `limit` bytes or more.
    TooLarge,
    /// The connection broke, or the chunks did.
    Broken,
}

/// Reads a body of less than `limit` bytes. `declared` is the `Content-Length`: what announces too much is refused unread.
pub(super) async fn read(mut payload: Payload, declared: Option<u64>, limit: usize) -> Result<Bytes, BodyError> {
    if declared.is_some_and(|length| length >= limit as u64) {
        return Err(BodyError::TooLarge);
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| BodyError::Broken)?;
        if first.len() + rest.len() + chunk.len() >= limit {
            return Err(BodyError::TooLarge);
        }
        // Most bodies come in one piece, which is not copied.
        if first.is_empty() && rest.is_empty() {
            first = chunk;
        } else {
            if rest.is_empty() {
                rest.reserve(declared.map_or(first.len() + chunk.len(), |length| length as usize));
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&chunk);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

/// Decompresses a gzip body of less than `limit` bytes. What is no valid gzip stays as it is, for enrich to complain about.
pub(super) async fn decompress(body: Bytes, limit: usize) -> Result<Bytes, BodyError> {
    if body.len() <= INLINE_COMPRESSED {
        return gunzip(&body, limit).map(|inflated| inflated.unwrap_or(body));
    }
    let compressed = body.clone();
    match tokio::task::spawn_blocking(move || gunzip(&compressed, limit)).await {
        Ok(inflated) => inflated.map(|inflated| inflated.unwrap_or(body)),
        Err(_) => Err(BodyError::Broken),
    }
}

fn gunzip(body: &[u8], limit: usize) -> Result<Option<Bytes>, BodyError> {
    let mut inflated = Vec::with_capacity(body.len().saturating_mul(4).min(limit));
    let mut reader = flate2::bufread::MultiGzDecoder::new(body).take(limit as u64);
    match reader.read_to_end(&mut inflated) {
        Ok(length) if length >= limit => Err(BodyError::TooLarge),
        Ok(_) => Ok(Some(inflated.into())),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn decompression_stops_at_the_limit() {
        let bomb = gzip(&vec![0; 1000]);
        assert_eq!(gunzip(&bomb, 1000), Err(BodyError::TooLarge));
        assert_eq!(gunzip(&bomb, 1001).unwrap().unwrap().len(), 1000);
    }

    #[test]
    fn what_is_no_gzip_stays_as_it_is() {
        assert_eq!(gunzip(b"{}", 100), Ok(None));
        let whole = gzip(b"hello");
        assert_eq!(gunzip(&whole[..whole.len() - 3], 100), Ok(None));
    }
}
