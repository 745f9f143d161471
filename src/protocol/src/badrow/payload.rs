//! The payload objects of bad rows (enrich-core 6.2).

use std::borrow::Cow;

use crate::json::{ObjectWriter, write_string};
use crate::time;

/// One parameter of a query string or of a raw event: name and value, which may be absent.
pub type Parameter<'a> = (Cow<'a, str>, Option<Cow<'a, str>>);

/// The collector payload as `adapter_failures` and `tracker_protocol_violations` show it.
#[derive(Debug, Clone, Copy)]
pub struct CollectorPayloadObject<'a> {
    /// Vendor of the path.
    pub vendor: &'a str,
    /// Version of the path.
    pub version: &'a str,
    /// Decoded parameters in order.
    pub querystring: &'a [Parameter<'a>],
    /// Content type of the body.
    pub content_type: Option<&'a str>,
    /// The body as text.
    pub body: Option<&'a str>,
    /// Name of the collector.
    pub collector: &'a str,
    /// Charset name.
    pub encoding: &'a str,
    /// Host of the request.
    pub hostname: Option<&'a str>,
    /// Collector time, milliseconds since the epoch.
    pub timestamp_millis: Option<i64>,
    /// The address found by enrich.
    pub ip_address: Option<&'a str>,
    /// The `User-Agent` header.
    pub useragent: Option<&'a str>,
    /// The `Referer` header.
    pub referer_uri: Option<&'a str>,
    /// Header lines.
    pub headers: &'a [Cow<'a, str>],
    /// The network user id.
    pub network_userid: Option<&'a str>,
}

/// The raw event as `schema_violations` and `enrichment_failures` show it.
#[derive(Debug, Clone, Copy)]
pub struct RawEventObject<'a> {
    /// Vendor of the path.
    pub vendor: &'a str,
    /// Version of the path.
    pub version: &'a str,
    /// Parameters of the event.
    pub parameters: &'a [Parameter<'a>],
    /// Content type of the body.
    pub content_type: Option<&'a str>,
    /// Name of the collector.
    pub loader_name: &'a str,
    /// Charset name.
    pub encoding: &'a str,
    /// Host of the request.
    pub hostname: Option<&'a str>,
    /// Collector time, milliseconds since the epoch.
    pub timestamp_millis: Option<i64>,
    /// The address found by enrich.
    pub ip_address: Option<&'a str>,
    /// The `User-Agent` header.
    pub useragent: Option<&'a str>,
    /// The `Referer` header.
    pub referer_uri: Option<&'a str>,
    /// Header lines.
    pub headers: &'a [Cow<'a, str>],
    /// The network user id.
    pub user_id: Option<&'a str>,
}

impl CollectorPayloadObject<'_> {
    /// Appends the object.
    pub fn write(&self, out: &mut String) {
        ObjectWriter::begin(out)
            .text("vendor", self.vendor)
            .text("version", self.version)
            .array("querystring", self.querystring, write_parameter)
            .optional("contentType", self.content_type)
            .optional("body", self.body)
            .text("collector", self.collector)
            .text("encoding", self.encoding)
            .optional("hostname", self.hostname)
            .with("timestamp", |out| write_timestamp(self.timestamp_millis, out))
            .optional("ipAddress", self.ip_address)
            .optional("useragent", self.useragent)
            .optional("refererUri", self.referer_uri)
            .array("headers", self.headers, |line, out| write_string(line, out))
            .optional("networkUserId", self.network_userid)
            .end();
    }
}

impl RawEventObject<'_> {
    /// Appends the object.
    pub fn write(&self, out: &mut String) {
        ObjectWriter::begin(out)
            .text("vendor", self.vendor)
            .text("version", self.version)
            .array("parameters", self.parameters, write_parameter)
            .optional("contentType", self.content_type)
            .text("loaderName", self.loader_name)
            .text("encoding", self.encoding)
            .optional("hostname", self.hostname)
            .with("timestamp", |out| write_timestamp(self.timestamp_millis, out))
            .optional("ipAddress", self.ip_address)
            .optional("useragent", self.useragent)
            .optional("refererUri", self.referer_uri)
            .array("headers", self.headers, |line, out| write_string(line, out))
            .optional("userId", self.user_id)
            .end();
    }
}

fn write_parameter((name, value): &Parameter<'_>, out: &mut String) {
    ObjectWriter::begin(out).text("name", name).optional("value", value.as_deref()).end();
}

fn write_timestamp(millis: Option<i64>, out: &mut String) {
    match millis {
        None => out.push_str("null"),
        Some(millis) => {
            out.push('"');
            time::write_instant_fixed(millis, out);
            out.push('"');
        }
    }
}
