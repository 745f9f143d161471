//! From requests to events: which adapter reads a request, chosen by vendor and version of its path (enrich-core 2).

mod iglu;
mod redirect;
mod tracker;

use std::borrow::Cow;

use snowmelt_protocol::badrow::FailureMessage;
use snowmelt_protocol::document::Document;

use crate::enrich::MAX_OUTPUT_BYTES;
use crate::parameters::Parameters;
use crate::request::Request;
use crate::validation::Checker;

/// Why a request gives no events.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Schemas have to be fetched first; they were noted.
    Pending,
    /// The bad row's messages; never empty.
    Failed(Vec<FailureMessage>),
    /// The request's events would take about so many bytes, more than a record may.
    TooLarge(usize),
}

impl From<FailureMessage> for Refusal {
    fn from(message: FailureMessage) -> Self {
        Refusal::Failed(vec![message])
    }
}

/// Which bad row tells of an adapter's refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowKind {
    AdapterFailures,
    TrackerProtocolViolations,
}

/// How requests of one vendor and version are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Adapter {
    Tp1,
    Tp2,
    Redirect,
    Iglu,
    /// A webhook of a third party that is not read yet.
    Webhook,
}

static ADAPTERS: [(&str, &str, Adapter); 20] = [
    ("com.snowplowanalytics.snowplow", "tp2", Adapter::Tp2),
    ("com.snowplowanalytics.snowplow", "tp1", Adapter::Tp1),
    ("r", "tp2", Adapter::Redirect),
    ("com.snowplowanalytics.iglu", "v1", Adapter::Iglu),
    ("com.callrail", "v1", Adapter::Webhook),
    ("com.amazon.aws.cloudfront", "wd_access_log", Adapter::Webhook),
    ("com.google.analytics", "v1", Adapter::Webhook),
    ("com.mailchimp", "v1", Adapter::Webhook),
    ("com.mailgun", "v1", Adapter::Webhook),
    ("com.mandrill", "v1", Adapter::Webhook),
    ("com.olark", "v1", Adapter::Webhook),
    ("com.pagerduty", "v1", Adapter::Webhook),
    ("com.pingdom", "v1", Adapter::Webhook),
    ("com.sendgrid", "v3", Adapter::Webhook),
    ("com.statusgator", "v1", Adapter::Webhook),
    ("com.unbounce", "v1", Adapter::Webhook),
    ("com.urbanairship.connect", "v1", Adapter::Webhook),
    ("com.marketo", "v1", Adapter::Webhook),
    ("com.getvero", "v1", Adapter::Webhook),
    ("com.hubspot", "v1", Adapter::Webhook),
];

/// The parameters of each event in a request: at least one, or why there is none.
pub(crate) fn adapt<'a>(
    request: &'a Request<'a>,
    body: &'a mut Document,
    checker: &mut Checker<'_>,
) -> Result<Vec<Parameters<'a>>, (RowKind, Refusal)> {
    let (vendor, version) = (request.vendor.as_ref(), request.version.as_ref());
    let found = ADAPTERS.iter().find(|(v, n, _)| *v == vendor && *n == version);
    let adapter = found.map_or(Adapter::Webhook, |(_, _, adapter)| *adapter);
    let (events, kind) = match adapter {
        Adapter::Tp1 => (tracker::tp1(request), RowKind::AdapterFailures),
        Adapter::Tp2 => (tracker::tp2(request, body, checker), RowKind::TrackerProtocolViolations),
        Adapter::Redirect => (redirect::redirect(request, body, checker.max_depth), RowKind::TrackerProtocolViolations),
        Adapter::Iglu => (iglu::iglu(request, body, checker.max_depth), RowKind::AdapterFailures),
        Adapter::Webhook => {
            let combination = format!("{vendor}/{version}");
            let expectation = "vendor/version combination is not supported";
            (Err(input("vendor/version", Some(combination), expectation).into()), RowKind::AdapterFailures)
        }
    };
    events.map_err(|refusal| (kind, refusal))
}

/// Refuses so many events that each carry what stands in the query string: a short request could take any memory.
fn check_expansion(events: usize, request: &Request<'_>) -> Result<(), Refusal> {
    let bytes = events.saturating_mul(Parameters::bytes_with(&request.querystring));
    if bytes > MAX_OUTPUT_BYTES { Err(Refusal::TooLarge(bytes)) } else { Ok(()) }
}

fn input(
    field: impl Into<Cow<'static, str>>,
    value: Option<String>,
    expectation: impl Into<Cow<'static, str>>,
) -> FailureMessage {
    FailureMessage::InputData { field: field.into(), value, expectation: expectation.into() }
}

fn not_json(field: &'static str, value: &str, error: impl std::fmt::Display) -> FailureMessage {
    FailureMessage::NotJson {
        field: field.into(),
        value: Some(value.to_owned()),
        error: format!("invalid json: {error}"),
    }
}

/// Appends the unstruct envelope around self-describing data: the value of `ue_pr`.
fn unstruct_envelope(schema: &str, write_data: impl FnOnce(&mut String)) -> String {
    let mut out = String::from(
        r#"{"schema":"iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0","data":{"schema":"#,
    );
    snowmelt_protocol::json::write_string(schema, &mut out);
    out.push_str(",\"data\":");
    write_data(&mut out);
    out.push_str("}}");
    out
}
