//! The tracker protocol, versions 1 and 2 (enrich-core 2.3, 2.4).

use std::borrow::Cow;

use snowmelt_protocol::badrow::FailureMessage;
use snowmelt_protocol::document::{Document, Kind, Node};

use super::{Refusal, check_expansion, input, not_json};
use crate::parameters::Parameters;
use crate::request::Request;
use crate::validation::{Checker, PAYLOAD_DATA_CRITERION, Rejection};

const EMPTY_QUERY: &str = "empty querystring: not a valid URI redirect";

pub(super) fn tp1<'a>(request: &Request<'a>) -> Result<Vec<Parameters<'a>>, Refusal> {
    if request.querystring.is_empty() {
        return Err(input("querystring", None, EMPTY_QUERY).into());
    }
    Ok(vec![Parameters::from_pairs(&request.querystring)])
}

const CONTENT_TYPES: [&str; 3] =
    ["application/json", "application/json; charset=utf-8", "application/json; charset=UTF-8"];
const ONE_OF: &str =
    "expected one of application/json, application/json; charset=utf-8, application/json; charset=UTF-8";

pub(super) fn tp2<'a>(
    request: &'a Request<'a>,
    document: &'a mut Document,
    checker: &mut Checker<'_>,
) -> Result<Vec<Parameters<'a>>, Refusal> {
    let content_type = request.content_type.as_deref();
    let accepted = content_type.map(|content_type| CONTENT_TYPES.contains(&content_type));
    let refuse_type = || Err(input("contentType", content_type.map(str::to_owned), ONE_OF).into());
    match (request.body.as_deref(), accepted) {
        (None, _) if request.querystring.is_empty() => Err(Refusal::Failed(vec![
            input("body", None, "empty body: not a valid tracker protocol event"),
            input("querystring", None, "empty querystring: not a valid tracker protocol event"),
        ])),
        (_, Some(false)) | (Some(_), None) => refuse_type(),
        (None, Some(true)) => Err(input("body", None, "empty body: not a valid track protocol event").into()),
        (None, None) => Ok(vec![Parameters::from_pairs(&request.querystring)]),
        (Some(body), Some(true)) => events_in(body, request, document, checker),
    }
}

fn events_in<'a>(
    body: &'a str,
    request: &'a Request<'a>,
    document: &'a mut Document,
    checker: &mut Checker<'_>,
) -> Result<Vec<Parameters<'a>>, Refusal> {
    let root = document.parse(body, checker.max_depth).map_err(|error| not_json("body", body, error))?;
    let (key, data) = checker
        .keys
        .read(root)
        .map_err(|code| FailureMessage::NotIglu { json: root.to_compact(), error: code.code() })?;
    checker.check_envelope(&key, data).map_err(|rejection| match rejection {
        Rejection::Pending => Refusal::Pending,
        Rejection::Invalid(error) => FailureMessage::Iglu { schema_key: key.uri().to_owned(), error }.into(),
    })?;
    if !checker.envelopes.payload_data.matches(&key) {
        let criterion = PAYLOAD_DATA_CRITERION.into();
        return Err(FailureMessage::CriterionMismatch { schema_key: key.uri().to_owned(), criterion }.into());
    }
    // The schema ensures all of what follows; a registry of the user's own may hold another one.
    if data.kind() != Kind::Array {
        return Err(input("body", Some(data.to_compact()), "json is not an array").into());
    }
    if data.is_empty() {
        return Err(input("body", Some(data.to_compact()), "empty list of events").into());
    }
    check_expansion(data.len(), request)?;
    let mut events = Vec::with_capacity(data.len());
    let mut failed = Vec::new();
    for element in data.elements() {
        match parameters_of(element, request) {
            Ok(parameters) => events.push(parameters),
            Err(messages) => failed.extend(messages),
        }
    }
    if failed.is_empty() { Ok(events) } else { Err(Refusal::Failed(failed)) }
}

/// The members of one event of the body, overridden by the query string.
fn parameters_of<'a>(element: Node<'a>, request: &Request<'a>) -> Result<Parameters<'a>, Vec<FailureMessage>> {
    if element.kind() != Kind::Object {
        return Err(vec![input("body", Some(element.to_compact()), "json is not an object")]);
    }
    let mut parameters = Parameters::with_capacity(element.len() + request.querystring.len());
    let mut failed = Vec::new();
    for (name, value) in element.members() {
        match value.as_str() {
            Some(text) => parameters.set(name, Some(text)),
            None if value.kind() == Kind::Null => {
                failed.push(input(Cow::Owned(name.into_owned()), None, "value cannot be null"));
            }
            None => {
                failed.push(input(Cow::Owned(name.into_owned()), Some(value.to_compact()), "value is not a string"));
            }
        }
    }
    if !failed.is_empty() {
        return Err(failed);
    }
    parameters.extend(&request.querystring);
    Ok(parameters)
}
