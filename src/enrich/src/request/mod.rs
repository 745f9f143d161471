//! One tracked request, checked: what the collector's Thrift struct becomes before an adapter reads it (enrich-core
//! 1.4, 1.5).

mod address;
mod checks;

use std::borrow::Cow;

use snowmelt_iglu::SchemaCriterion;
use snowmelt_protocol::badrow::{CollectorPayloadObject, FormatMessage, RawEventObject};
use snowmelt_protocol::payload::{CollectorPayload, decode_text};

use crate::parameters::{Pair, Parameters};
use crate::querystring::{self, Charset};

/// A request that passed the checks. Borrowed from its record.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Vendor of the path: with `version` it selects the adapter.
    pub vendor: Cow<'a, str>,
    /// Version of the path.
    pub version: Cow<'a, str>,
    /// Decoded query string in order.
    pub querystring: Vec<Pair<'a>>,
    /// Content type of the body.
    pub content_type: Option<Cow<'a, str>>,
    /// The body as text.
    pub body: Option<Cow<'a, str>>,
    /// Where it came from.
    pub source: Source<'a>,
}

/// Who sent a request, when, and through which collector.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    /// Name and version of the collector.
    pub collector: Option<Cow<'a, str>>,
    /// Charset as the collector named it.
    pub encoding: Cow<'a, str>,
    /// Host of the request.
    pub hostname: Option<Cow<'a, str>>,
    /// Collector time, milliseconds since the epoch.
    pub timestamp_millis: i64,
    /// The client's address, from headers or from the connection.
    pub ip_address: Option<Cow<'a, str>>,
    /// The `User-Agent` header.
    pub user_agent: Option<Cow<'a, str>>,
    /// The `Referer` header.
    pub referer_uri: Option<Cow<'a, str>>,
    /// Header lines, verbatim.
    pub headers: Vec<Cow<'a, str>>,
    /// The network user id as a canonical UUID.
    pub network_userid: Option<String>,
}

const PAYLOAD_SCHEMA: &str = "iglu:com.snowplowanalytics.snowplow/CollectorPayload/thrift/1-0-*";

impl<'a> Request<'a> {
    /// Reads one Thrift record. Every failed check gives a message of its own.
    pub(crate) fn read(record: &'a [u8], payload_schema: &SchemaCriterion) -> Result<Self, Vec<FormatMessage>> {
        let unreadable =
            |reason: String| vec![FormatMessage::Error(format!("error deserializing raw event: {reason}"))];
        let payload = CollectorPayload::decode(record).map_err(|error| unreadable(error.to_string()))?;
        let encoding = payload.encoding.ok_or_else(|| unreadable("Null charset name".to_owned()))?;
        let charset = Charset::from_name(&encoding).ok_or_else(|| unreadable(encoding.clone().into_owned()))?;

        let mut failed = Vec::new();
        let mut note = |outcome: Result<(), FormatMessage>| failed.extend(outcome.err());
        let raw_query = payload.querystring.unwrap_or_default();
        let mut querystring = Vec::new();
        note(read_query(raw_query, charset).map(|pairs| querystring = pairs));
        let mut api = Default::default();
        note(checks::api(payload.path).map(|found| api = found));
        let mut network_userid = None;
        note(checks::network_userid(payload.network_userid.as_deref()).map(|found| network_userid = found));
        note(check_schema(payload.schema.as_deref(), payload_schema));
        if !failed.is_empty() {
            return Err(failed);
        }
        let headers = payload.headers.unwrap_or_default();
        let (vendor, version) = api;
        Ok(Request {
            vendor,
            version,
            querystring,
            content_type: payload.content_type,
            body: payload.body.map(body_text),
            source: Source {
                collector: payload.collector,
                encoding,
                hostname: payload.hostname,
                timestamp_millis: payload.timestamp,
                ip_address: address::forwarded(&headers).map(Cow::Owned).or(payload.ip_address),
                user_agent: payload.user_agent,
                referer_uri: payload.referer_uri,
                headers,
                network_userid,
            },
        })
    }

    /// The request as bad rows of adapters show it.
    pub(crate) fn to_payload_object(&self) -> CollectorPayloadObject<'_> {
        CollectorPayloadObject {
            vendor: &self.vendor,
            version: &self.version,
            querystring: &self.querystring,
            content_type: self.content_type.as_deref(),
            body: self.body.as_deref(),
            collector: self.source.collector.as_deref().unwrap_or_default(),
            encoding: &self.source.encoding,
            hostname: self.source.hostname.as_deref(),
            timestamp_millis: Some(self.source.timestamp_millis),
            ip_address: self.source.ip_address.as_deref(),
            useragent: self.source.user_agent.as_deref(),
            referer_uri: self.source.referer_uri.as_deref(),
            headers: &self.source.headers,
            network_userid: self.source.network_userid.as_deref(),
        }
    }

    /// One event of the request as bad rows of events show it; `parameters` are [`pairs_of`] the event.
    pub(crate) fn to_raw_event_object<'o>(&'o self, parameters: &'o [Pair<'o>]) -> RawEventObject<'o> {
        RawEventObject {
            vendor: &self.vendor,
            version: &self.version,
            parameters,
            content_type: self.content_type.as_deref(),
            loader_name: self.source.collector.as_deref().unwrap_or_default(),
            encoding: &self.source.encoding,
            hostname: self.source.hostname.as_deref(),
            timestamp_millis: Some(self.source.timestamp_millis),
            ip_address: self.source.ip_address.as_deref(),
            useragent: self.source.user_agent.as_deref(),
            referer_uri: self.source.referer_uri.as_deref(),
            headers: &self.source.headers,
            user_id: self.source.network_userid.as_deref(),
        }
    }
}

/// Parameters as bad rows list them.
pub(crate) fn pairs_of<'a>(parameters: &'a Parameters<'_>) -> Vec<Pair<'a>> {
    parameters.iter().map(|(name, value)| (Cow::Borrowed(name), value.map(Cow::Borrowed))).collect()
}

fn body_text(body: Cow<'_, [u8]>) -> Cow<'_, str> {
    match body {
        Cow::Borrowed(bytes) => decode_text(bytes),
        Cow::Owned(bytes) => Cow::Owned(decode_text(&bytes).into_owned()),
    }
}

fn read_query<'a>(raw: Cow<'a, str>, charset: Charset) -> Result<Vec<Pair<'a>>, FormatMessage> {
    let refusal = |raw: &str, reason: String| FormatMessage::Field {
        payload_field: "querystring".into(),
        value: Some(raw.to_owned()),
        expectation: format!(
            "could not extract name-value pairs from querystring with encoding {}: {reason}",
            charset.name()
        )
        .into(),
    };
    match raw {
        Cow::Borrowed(raw) => querystring::parse(raw, charset).map_err(|reason| refusal(raw, reason)),
        Cow::Owned(raw) => {
            let pairs = querystring::parse(&raw, charset).map_err(|reason| refusal(&raw, reason))?;
            let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
            Ok(pairs.into_iter().map(|(name, value)| (own(name), value.map(own))).collect())
        }
    }
}

fn check_schema(schema: Option<&str>, wanted: &SchemaCriterion) -> Result<(), FormatMessage> {
    // Every collector writes this one.
    if schema == Some(snowmelt_protocol::payload::SCHEMA) {
        return Ok(());
    }
    let matches = schema.and_then(|uri| uri.parse().ok()).is_some_and(|key| wanted.matches(&key));
    if matches {
        return Ok(());
    }
    let found = schema.unwrap_or("null");
    Err(FormatMessage::Error(format!("verifying record as {PAYLOAD_SCHEMA} failed: found {found}")))
}

/// The schema that every record must name.
pub(crate) fn payload_schema() -> SchemaCriterion {
    PAYLOAD_SCHEMA.parse().expect("the constant is a criterion")
}
