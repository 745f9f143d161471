//! From a request to Thrift records (section 3) with their partition key (4.1).

use std::borrow::Cow;

use bytes::Bytes;
use snowmelt_protocol::{
    badrow::Processor,
    payload::{CollectorPayload, PayloadWriter, SCHEMA, StringsWriter},
};
use uuid::Uuid;

use super::{
    Decision, Flavour, Head, Tracking, address,
    content_type::{self, Charset},
    cookie::push_payload_cookies,
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
    /// Header with the client's address, before `X-Forwarded-For`.
    address_header: Option<String>,
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
            address_header: config.client_address_header.clone(),
            anonymous_without: config
                .anonymous
                .drop_headers
                .iter()
                .chain(&config.client_address_header)
                .cloned()
                .collect(),
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
        tracking: &Tracking<'_>,
        body: &[u8],
        network_user_id: &str,
        anonymous: bool,
        now_ms: i64,
        new_id: &mut dyn FnMut() -> Uuid,
        decision: &mut Decision,
    ) {
        let chosen = match &self.address_header {
            Some(header) if !anonymous => address::chosen_address(head, header),
            _ => None,
        };
        let ip_address = match &chosen {
            _ if anonymous => Cow::Borrowed(address::UNKNOWN),
            Some(address) => Cow::Borrowed(address.as_ref()),
            None => address::client_address(head),
        };
        let content_type = match tracking.flavour {
            Flavour::Post => head.first("Content-Type").and_then(content_type::parse),
            Flavour::Pixel => None,
        };
        let query = tracking.query.as_deref().unwrap_or("");
        // Written straight into the record: a `CollectorPayload` is only made of what is too large (check_size).
        let mut data = Vec::with_capacity(self.room_for(head, &tracking.path, query, body));
        let mut writer = PayloadWriter::new(&mut data);
        writer.string(100, ip_address.as_bytes());
        writer.number(200, now_ms);
        writer.string(210, b"UTF-8");
        writer.string(220, self.collector.as_bytes());
        for (id, name) in [(300, "User-Agent"), (310, "Referer")] {
            if let Some(value) = head.first(name) {
                writer.string_with(id, |out| push_latin1(value, out));
            }
        }
        writer.string(320, tracking.path.as_bytes());
        writer.string(330, query.as_bytes());
        if tracking.flavour == Flavour::Post {
            let charset = content_type.as_ref().map_or(Charset::Utf8, |(_, charset)| *charset);
            writer.string(340, &charset.decode(body));
        }
        writer.strings(350, |list| {
            if let Some(address) = &chosen {
                // Enrich takes the first of these lines before the payload's address.
                list.push_with(|out| {
                    out.extend_from_slice(b"X-Forwarded-For: ");
                    out.extend_from_slice(address.as_bytes());
                    true
                });
            }
            self.header_lines(head, anonymous, list);
            if let Some((text, _)) = &content_type {
                list.push(text);
            }
        });
        if let Some((text, _)) = &content_type {
            writer.string(360, text.as_bytes());
        }
        if let Some(host) = hostname(head, tracking) {
            writer.string(400, host.as_bytes());
        }
        writer.string(410, network_user_id.as_bytes());
        writer.string(31337, SCHEMA.as_bytes());
        writer.end();

        let partition_key = if self.address_as_key && ip_address != address::UNKNOWN {
            ip_address.into_owned()
        } else {
            new_id().to_string()
        };
        if data.len() < self.limits.max_bytes {
            decision.good.push(Outgoing::new(partition_key, data));
            return;
        }
        let payload = CollectorPayload::decode(&data).expect("it was written just above");
        let checked = check_size(&payload, self.limits, &self.processor, now_ms.saturating_mul(1000));
        let outgoing = |data: Bytes| Outgoing::new(partition_key.clone(), data);
        decision.good = checked.good.into_iter().map(|record| outgoing(record.into())).collect();
        decision.bad = checked.bad.into_iter().map(|line| outgoing(line.into())).collect();
    }

    /// What a record takes, or a little more; header bytes above 0x7f may make it less than that.
    fn room_for(&self, head: &Head<'_>, path: &str, query: &str, body: &[u8]) -> usize {
        let headers: usize = head.headers.iter().map(|header| header.name.len() + header.value.len() + 6).sum();
        let again = ["User-Agent", "Referer", "Host"].iter().filter_map(|name| head.first(name)).map(<[u8]>::len);
        // Field headers and what is short: address, time, encoding, schema, content type twice, network user id.
        headers + again.sum::<usize>() + self.collector.len() + path.len() + query.len() + body.len() + 384
    }

    fn header_lines(&self, head: &Head<'_>, anonymous: bool, list: &mut StringsWriter<'_, '_>) {
        for header in head.headers {
            if anonymous && self.anonymous_without.iter().any(|name| name.eq_ignore_ascii_case(header.name)) {
                continue;
            }
            let cookie = header.name.eq_ignore_ascii_case("Cookie");
            list.push_with(|out| {
                out.extend_from_slice(if cookie { b"Cookie" } else { header.name.as_bytes() });
                out.extend_from_slice(b": ");
                if cookie {
                    return push_payload_cookies(header.value, out);
                }
                push_latin1(header.value, out);
                true
            });
        }
    }
}

/// The request's host without its port: of an absolute-form target, else of `Host` (3.1, advice).
fn hostname<'a>(head: &Head<'a>, tracking: &'a Tracking<'_>) -> Option<Cow<'a, str>> {
    if let Some(host) = &tracking.authority_host {
        return Some(Cow::Borrowed(host));
    }
    let host = match latin1(head.first("Host")?) {
        Cow::Borrowed(host) => Cow::Borrowed(host_of(host)),
        Cow::Owned(host) => Cow::Owned(host_of(&host).to_owned()),
    };
    (!host.is_empty()).then_some(host)
}
