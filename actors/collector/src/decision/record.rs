//! From a request to Thrift records (section 3) with their partition key (4.1).

use std::borrow::Cow;

use bytes::Bytes;
use snowmelt_protocol::{
    badrow::Processor,
    payload::{CollectorPayload, SCHEMA},
};
use uuid::Uuid;

use super::{
    Decision, Flavour, Head, Tracking, address,
    content_type::{self, Charset},
    cookie::payload_cookie_header,
    head::{latin1, push_latin1},
    route::host_of,
    size::{Limits, check_size},
};
use crate::{CollectorConfig, Outgoing};

/// What records are made with.
#[derive(Debug)]
pub(super) struct Recorder {
    collector: String,
    processor: Processor,
    limits: Limits,
    address_as_key: bool,
    /// Headers an anonymous payload leaves out.
    anonymous_without: Vec<String>,
}

impl Recorder {
    pub(super) fn new(config: &CollectorConfig) -> Self {
        Self {
            collector: config.collector_name.clone(),
            processor: Processor::new("snowmelt-collector", env!("CARGO_PKG_VERSION")),
            limits: Limits {
                max_bytes: config.streams.good.max_bytes,
                max_payload_size: config.networking.max_payload_size,
            },
            address_as_key: config.streams.use_ip_address_as_partition_key,
            anonymous_without: config.anonymous.drop_headers.clone(),
        }
    }

    /// Adds the request's records to `decision`: one, or several when it is too large.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is one thing known of the request; a struct would only be unpacked again"
    )]
    pub(super) fn record(
        &self,
        head: &Head<'_>,
        tracking: &Tracking,
        body: &[u8],
        network_user_id: &str,
        anonymous: bool,
        now_ms: i64,
        new_id: &mut dyn FnMut() -> Uuid,
        decision: &mut Decision,
    ) {
        let ip_address = if anonymous { address::UNKNOWN.to_owned() } else { address::client_address(head) };
        let content_type = match tracking.flavour {
            Flavour::Post => head.first("Content-Type").and_then(content_type::parse),
            Flavour::Pixel => None,
        };
        let charset = content_type.as_ref().map_or(Charset::Utf8, |(_, charset)| *charset);
        let lines = self.header_lines(head, anonymous);
        let mut headers = lines.as_list();
        if let Some((text, _)) = &content_type {
            headers.push(Cow::Borrowed(text));
        }
        let payload = CollectorPayload {
            schema: Some(SCHEMA.into()),
            ip_address: Some(ip_address.as_str().into()),
            timestamp: now_ms,
            encoding: Some("UTF-8".into()),
            collector: Some(self.collector.as_str().into()),
            user_agent: head.first("User-Agent").map(latin1),
            referer_uri: head.first("Referer").map(latin1),
            path: Some(tracking.path.as_str().into()),
            querystring: Some(tracking.query.as_deref().unwrap_or("").into()),
            body: (tracking.flavour == Flavour::Post).then(|| charset.decode(body)),
            headers: Some(headers),
            content_type: content_type.as_ref().map(|(text, _)| text.as_str().into()),
            hostname: hostname(head, tracking),
            network_userid: Some(network_user_id.into()),
        };
        let partition_key = if self.address_as_key && ip_address != address::UNKNOWN {
            ip_address.clone()
        } else {
            new_id().to_string()
        };
        let checked = check_size(&payload, self.limits, &self.processor, now_ms.saturating_mul(1000));
        let outgoing = |data: Bytes| Outgoing::new(partition_key.clone(), data);
        decision.good = checked.good.into_iter().map(|record| outgoing(record.into())).collect();
        decision.bad = checked.bad.into_iter().map(|line| outgoing(line.into())).collect();
    }

    fn header_lines(&self, head: &Head<'_>, anonymous: bool) -> HeaderLines {
        let length = head.headers.iter().map(|header| header.name.len() + header.value.len() + 2).sum();
        let mut lines =
            HeaderLines { text: String::with_capacity(length), ends: Vec::with_capacity(head.headers.len()) };
        for header in head.headers {
            if anonymous && self.anonymous_without.iter().any(|name| name.eq_ignore_ascii_case(header.name)) {
                continue;
            }
            if header.name.eq_ignore_ascii_case("Cookie") {
                if let Some(cookies) = payload_cookie_header(header.value) {
                    lines.push("Cookie", cookies.as_bytes());
                }
                continue;
            }
            lines.push(header.name, header.value);
        }
        lines
    }
}

/// `Name: value` a header, all in one text: one allocation for the lines of a request.
struct HeaderLines {
    text: String,
    ends: Vec<usize>,
}

impl HeaderLines {
    fn push(&mut self, name: &str, value: &[u8]) {
        self.text.push_str(name);
        self.text.push_str(": ");
        push_latin1(value, &mut self.text);
        self.ends.push(self.text.len());
    }

    fn as_list(&self) -> Vec<Cow<'_, str>> {
        // Room for the bare content type.
        let mut list = Vec::with_capacity(self.ends.len() + 1);
        let mut start = 0;
        for &end in &self.ends {
            list.push(Cow::Borrowed(&self.text[start..end]));
            start = end;
        }
        list
    }
}

/// The request's host without its port: of an absolute-form target, else of `Host` (3.1, advice).
fn hostname<'a>(head: &Head<'a>, tracking: &'a Tracking) -> Option<Cow<'a, str>> {
    if let Some(host) = &tracking.authority_host {
        return Some(Cow::Borrowed(host));
    }
    let host = match latin1(head.first("Host")?) {
        Cow::Borrowed(host) => Cow::Borrowed(host_of(host)),
        Cow::Owned(host) => Cow::Owned(host_of(&host).to_owned()),
    };
    (!host.is_empty()).then_some(host)
}
