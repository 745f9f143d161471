//! The Iglu webhook: any JSON or form as an event of a given schema (enrich-core 2.6).

use std::borrow::Cow;

use snowmelt_iglu::{ParseError, SchemaKey};
use snowmelt_protocol::badrow::FailureMessage;
use snowmelt_protocol::document::{Document, Kind, Node};
use snowmelt_protocol::json::{write_optional_string, write_string};

use super::{Refusal, check_expansion, input, not_json, unstruct_envelope};
use crate::parameters::{Pair, Parameters};
use crate::querystring::{self, Charset};
use crate::request::Request;

const JSON: [&str; 2] = ["application/json", "application/json; charset=utf-8"];
const FORM: &str = "application/x-www-form-urlencoded";
const ALL: &str =
    "expected one of application/json, application/json; charset=utf-8, application/x-www-form-urlencoded";
const JSON_ONLY: &str = "expected one of application/json, application/json; charset=utf-8";

/// Query parameters that become parameters of the event.
const TAKEN: [&str; 6] = ["nuid", "aid", "cv", "eid", "ttm", "url"];
/// Query parameters that do not become data of the event.
const NOT_DATA: [&str; 5] = ["schema", "nuid", "aid", "cv", "p"];

pub(super) fn iglu<'a>(
    request: &Request<'a>,
    document: &mut Document,
    max_depth: usize,
) -> Result<Vec<Parameters<'a>>, Refusal> {
    let query = Parameters::from_pairs(&request.querystring);
    let content_type = request.content_type.as_deref();
    match (query.get("schema"), request.body.as_deref(), content_type) {
        (_, Some(_), None) => Err(input("contentType", None, ALL).into()),
        (None, Some(body), Some(content_type)) => self_describing(body, content_type, &query, document, max_depth),
        (Some(schema), body, content_type) => {
            let key: SchemaKey = schema
                .parse()
                .map_err(|code: ParseError| Refusal::from(input("schema", Some(schema.to_owned()), code.code())))?;
            described_by_query(&key, body.zip(content_type), request, &query, document, max_depth)
        }
        (None, None, _) => {
            Err(Refusal::Failed(vec![input("schema", None, "empty `schema` field"), input("body", None, "empty body")]))
        }
    }
}

fn self_describing<'a>(
    body: &str,
    content_type: &str,
    query: &Parameters<'a>,
    document: &mut Document,
    max_depth: usize,
) -> Result<Vec<Parameters<'a>>, Refusal> {
    if !JSON.contains(&content_type) {
        return Err(input("contentType", Some(content_type.to_owned()), JSON_ONLY).into());
    }
    let root = document.parse(body, max_depth).map_err(|error| not_json("body", body, error))?;
    let not_iglu = |code: ParseError| FailureMessage::NotIglu { json: root.to_compact(), error: code.code() };
    let data = root.get("data").ok_or_else(|| not_iglu(ParseError::DataPayload))?;
    let schema = root.get("schema").and_then(|schema| schema.as_str());
    let schema = schema.ok_or_else(|| not_iglu(ParseError::DataPayload))?;
    let key: SchemaKey = schema.parse().map_err(not_iglu)?;
    Ok(vec![event(query, "app", unstruct_envelope(key.uri(), |out| data.write_compact(out)))])
}

fn described_by_query<'a>(
    key: &SchemaKey,
    body: Option<(&str, &str)>,
    request: &Request<'a>,
    query: &Parameters<'a>,
    document: &mut Document,
    max_depth: usize,
) -> Result<Vec<Parameters<'a>>, Refusal> {
    match body {
        None => {
            let members = query.iter().filter(|(name, _)| !NOT_DATA.contains(name));
            let nulled = members.map(|(name, value)| (name, value.filter(|value| !value.is_empty())));
            Ok(vec![event(query, "app", unstruct_envelope(key.uri(), |out| write_members(nulled, out)))])
        }
        Some((body, content_type)) if JSON.contains(&content_type) => {
            let root = document.parse(body, max_depth).map_err(|error| not_json("body", body, error))?;
            let refuse = |expectation: &'static str| Err(input("body", Some(body.to_owned()), expectation).into());
            match root.kind() {
                Kind::Array if root.is_empty() => refuse("empty array of events"),
                Kind::Array => {
                    check_expansion(root.len(), request)?;
                    let event = |element: Node<'_>| {
                        event(query, "app", unstruct_envelope(key.uri(), |out| element.write_compact(out)))
                    };
                    Ok(root.elements().map(event).collect())
                }
                Kind::Object if !root.is_empty() => {
                    Ok(vec![event(query, "app", unstruct_envelope(key.uri(), |out| root.write_compact(out)))])
                }
                _ => refuse("has no key-value pairs"),
            }
        }
        Some((body, FORM)) => {
            let pairs: Vec<Pair<'_>> = querystring::parse(body, Charset::Utf8)
                .map_err(|reason| Refusal::from(input("body", Some(body.to_owned()), Cow::Owned(reason))))?;
            let form = Parameters::from_pairs(&pairs);
            Ok(vec![event(query, "srv", unstruct_envelope(key.uri(), |out| write_members(form.iter(), out)))])
        }
        Some((_, content_type)) => Err(input("contentType", Some(content_type.to_owned()), ALL).into()),
    }
}

fn write_members<'m>(members: impl Iterator<Item = (&'m str, Option<&'m str>)>, out: &mut String) {
    out.push('{');
    for (nth, (name, value)) in members.enumerate() {
        if nth > 0 {
            out.push(',');
        }
        write_string(name, out);
        out.push(':');
        write_optional_string(value, out);
    }
    out.push('}');
}

/// The parameters of an event that a webhook made.
fn event<'a>(query: &Parameters<'a>, platform: &'static str, unstruct: String) -> Parameters<'a> {
    let mut parameters = Parameters::with_capacity(10);
    parameters.set("tv", Some("com.snowplowanalytics.iglu-v1".into()));
    parameters.set("e", Some("ue".into()));
    let platform = query.get("p").map_or(Cow::Borrowed(platform), |platform| Cow::Owned(platform.to_owned()));
    parameters.set("p", Some(platform));
    parameters.set("ue_pr", Some(unstruct.into()));
    for name in TAKEN {
        if query.contains(name) {
            parameters.set(name, query.get(name).map(|value| Cow::Owned(value.to_owned())));
        }
    }
    parameters
}
