//! A small web shop that speaks the tracker protocol: the traffic of `snowmelt send` and of the tests.
//!
//! [`Shop`] plays visitors with sessions, carts and orders, and yields the HTTP requests which their trackers would send:
//! page views, pings, structured and self-describing events with entities, transactions and their items; by GET and by POST;
//! JSON in base64 or not. It is pure: the same [`ShopConfig`] gives the same requests, event ids and times included.
//!
//! Each request says what has to come of its events ([`ShopEvent::expect`]): a good event becomes one enriched row, a bad one
//! exactly one bad row of a known type. So whoever sends them can account for every one.
//!
//! The schemas it uses are shipped in `pipelines/iglu`.

mod catalogue;
mod json;
mod page_views;
mod request;
mod shop;
mod spoil;
mod visitor;

pub use page_views::PageViews;
pub use shop::Shop;

/// What kind of traffic to play, and how much.
#[derive(Clone, Debug)]
pub struct ShopConfig {
    /// Everything random derives from it.
    pub seed: u64,
    /// How many events to play; the last request is cut to meet it exactly.
    pub events: u64,
    /// How many of a hundred events are bad, 0 to 100, in steps of a ten-thousandth. They are spread evenly: among the
    /// first `n` events are exactly `n * bad_percent / 100` bad ones, rounded down.
    pub bad_percent: f64,
    /// The shop's clock at the first event, in milliseconds since the epoch.
    pub start_ms: i64,
    /// How much time passes between two page visits, in milliseconds (a mean).
    pub pause_ms: u32,
    /// The events' `app_id`.
    pub app_id: String,
}

impl Default for ShopConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            events: u64::MAX,
            bad_percent: 0.0,
            start_ms: 1_700_000_000_000,
            pause_ms: 40,
            app_id: "shop".to_owned(),
        }
    }
}

/// An HTTP method which trackers use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// One event, in the query string.
    Get,
    /// One to ten events, in a JSON body.
    Post,
}

impl Method {
    /// The method as it stands in a request line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// One HTTP request to a collector.
#[derive(Clone, Debug)]
pub struct ShopRequest {
    /// GET or POST.
    pub method: Method,
    /// The request target, percent-encoded, beginning with `/`.
    pub path_and_query: String,
    /// The `Content-Type` header; none for a GET.
    pub content_type: Option<&'static str>,
    /// The other headers (`User-Agent`, `X-Forwarded-For`, `Cookie` ...); neither `Host` nor `Content-Length`.
    pub headers: Vec<(&'static str, String)>,
    /// The body; none for a GET.
    pub body: Option<String>,
    /// What it carries, in order; never empty.
    pub events: Vec<ShopEvent>,
}

/// One event of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShopEvent {
    /// The `eid` it was sent with: a lower-case version-4 UUID, different for each event of a shop.
    pub event_id: String,
    /// What kind of event it is, or would be if it were not bad.
    pub kind: EventKind,
    /// What has to come of it.
    pub expect: Expect,
}

/// The kinds of events of the tracker protocol that the shop plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    /// `e=pv`
    PageView,
    /// `e=pp`
    PagePing,
    /// `e=se`
    Structured,
    /// `e=ue`
    SelfDescribing,
    /// `e=tr`
    Transaction,
    /// `e=ti`
    TransactionItem,
}

impl EventKind {
    /// The value of the parameter `e`.
    pub fn code(self) -> &'static str {
        match self {
            Self::PageView => "pv",
            Self::PagePing => "pp",
            Self::Structured => "se",
            Self::SelfDescribing => "ue",
            Self::Transaction => "tr",
            Self::TransactionItem => "ti",
        }
    }

    /// The value of the column `event` of a good row.
    pub fn event_column(self) -> &'static str {
        match self {
            Self::PageView => "page_view",
            Self::PagePing => "page_ping",
            Self::Structured => "struct",
            Self::SelfDescribing => "unstruct",
            Self::Transaction => "transaction",
            Self::TransactionItem => "transaction_item",
        }
    }
}

/// What has to come of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// One enriched event.
    Good,
    /// One bad row.
    Bad(BadKind),
}

/// What is wrong with a bad event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BadKind {
    /// A self-describing event whose schema nobody has published.
    UnknownSchema,
    /// A self-describing event whose data breaks its schema.
    InvalidData,
    /// A structured event with an action longer than the column allows.
    OverlongField,
    /// A self-describing event that is cut off in the middle of its JSON.
    NotJson,
    /// An event type (`e`) that does not exist.
    UnknownEventType,
    /// A GET without an event type.
    NoEventType,
    /// A path with a vendor and version that nothing knows.
    UnknownPath,
    /// A POST whose body breaks the schema of tracker payloads (its event names no platform).
    BrokenPayload,
}

impl BadKind {
    /// All of them, in the order in which a shop plays them, again and again.
    pub const ALL: [Self; 8] = [
        Self::UnknownSchema,
        Self::InvalidData,
        Self::OverlongField,
        Self::NotJson,
        Self::UnknownEventType,
        Self::NoEventType,
        Self::UnknownPath,
        Self::BrokenPayload,
    ];

    /// The name of the bad row's schema (vendor `com.snowplowanalytics.snowplow.badrows`).
    pub fn bad_row(self) -> &'static str {
        match self {
            Self::UnknownSchema | Self::InvalidData | Self::OverlongField | Self::NotJson | Self::UnknownEventType => {
                "schema_violations"
            }
            Self::NoEventType => "enrichment_failures",
            Self::UnknownPath => "adapter_failures",
            Self::BrokenPayload => "tracker_protocol_violations",
        }
    }

    /// A text that the bad row's `failure` contains, and no other kind's.
    pub fn says(self) -> &'static str {
        match self {
            Self::UnknownSchema => "ResolutionError",
            Self::InvalidData => spoil::INVALID_DATA_SCHEMA,
            Self::OverlongField => "atomic_field_length_exceeded",
            Self::NotJson => "invalid json",
            Self::UnknownEventType => "Not a valid event type",
            Self::NoEventType => "trying to extract the schema",
            Self::UnknownPath => "vendor/version combination is not supported",
            Self::BrokenPayload => "payload_data",
        }
    }
}
