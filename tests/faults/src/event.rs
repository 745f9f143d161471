//! Events whose ids say who they are: the key they were sent with, and their number among those of the key.

use std::borrow::Cow;

use bytes::Bytes;
use snowmelt_protocol::payload::CollectorPayload;
use snowmelt_streams::PutEntry;

/// Partition keys of the raw stream.
pub const KEYS: u32 = 8;

/// Who an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Who {
    /// Its partition key.
    pub key: u32,
    /// 0, 1, 2 … of its key.
    pub number: u32,
}

impl Who {
    /// The n-th event of all: keys take turns.
    pub const fn nth(n: u32) -> Self {
        Self { key: n % KEYS, number: n / KEYS }
    }

    /// The event's id.
    pub fn id(self) -> String {
        format!("{:08}-0000-4000-8000-{:012}", self.key, self.number)
    }

    /// Who an id tells of.
    pub fn of(id: &str) -> Option<Self> {
        Some(Self { key: id.get(..8)?.parse().ok()?, number: id.get(24..)?.parse().ok()? })
    }

    /// Who a line of enriched TSV is about.
    pub fn of_line(line: &[u8]) -> Option<Self> {
        Self::of(std::str::from_utf8(line).ok()?.split('\t').nth(6)?)
    }

    /// The raw record, with `padding` bytes of ballast in its page title.
    pub fn entry(self, padding: usize) -> PutEntry {
        let title = "x".repeat(padding);
        let query = format!(
            "e=pv&p=web&tv=test-1&aid=faults&uid=key-{}&eid={}&url=http%3A%2F%2Fshop.example%2F&page={title}",
            self.key,
            self.id()
        );
        let text = |text: &'static str| Some(Cow::Borrowed(text));
        let payload = CollectorPayload {
            schema: text(snowmelt_protocol::payload::SCHEMA),
            ip_address: text("192.0.2.1"),
            timestamp: 1_700_000_000_000 + 100 * i64::from(self.number),
            encoding: text("UTF-8"),
            collector: text("snowmelt-faults"),
            user_agent: text("Mozilla/5.0"),
            path: text("/i"),
            querystring: Some(Cow::Owned(query)),
            hostname: text("shop.example"),
            network_userid: text("8712a379-4bcb-46ee-815d-85f26540577f"),
            ..CollectorPayload::default()
        };
        let mut record = Vec::with_capacity(payload.encoded_len());
        payload.encode(&mut record);
        PutEntry::new(format!("key-{}", self.key), Bytes::from(record))
    }
}
