//! One line of input as the records that a collector would write for it.

use std::net::{IpAddr, Ipv4Addr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use snowmelt_collector::decision::{Core, Flavour, Head, Header, Route};
use uuid::Uuid;

/// A request to a collector. Other members are ignored.
#[derive(Debug, Deserialize)]
struct Request {
    method: String,
    /// With the query string.
    path: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: Option<String>,
}

/// What a collector writes for one line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Records to be enriched.
    pub good: Vec<Bytes>,
    /// Bad rows of the collector itself.
    pub bad: Vec<Bytes>,
}

/// Reads a line: JSON when it begins with `{`, else base64. A request comes from 127.0.0.1 unless its headers say
/// otherwise; what a collector would not record gives nothing.
///
/// # Errors
/// Why the line is neither, without a line break.
pub fn read(line: &[u8], core: &Core, now_ms: i64, new_id: &mut dyn FnMut() -> Uuid) -> Result<Collected, String> {
    if line.first() != Some(&b'{') {
        let record = STANDARD.decode(line).map_err(|error| {
            let reason = error.to_string().to_lowercase();
            format!("neither a payload in base64 nor a request as JSON: {}", reason.trim_end_matches('.'))
        })?;
        return Ok(Collected { good: vec![record.into()], bad: Vec::new() });
    }
    let request: Request = serde_json::from_slice(line).map_err(|error| format!("not a request as JSON: {error}"))?;
    let headers = request.headers.iter().map(|(name, value)| Header { name, value: value.as_bytes() });
    let headers: Vec<Header<'_>> = headers.collect();
    let head = Head {
        method: &request.method,
        target: request.path.as_bytes(),
        headers: &headers,
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let Route::Track(tracking) = core.route(&head) else { return Ok(Collected::default()) };
    let body = match tracking.flavour {
        Flavour::Post => request.body.as_deref().unwrap_or_default().as_bytes(),
        Flavour::Pixel => &[],
    };
    let decision = core.track(&head, &tracking, body, now_ms, new_id);
    let data = |records: Vec<snowmelt_collector::Outgoing>| records.into_iter().map(|record| record.data).collect();
    Ok(Collected { good: data(decision.good), bad: data(decision.bad) })
}
