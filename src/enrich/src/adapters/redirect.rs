//! Clicks that were redirected: the target becomes an event or an entity (enrich-core 2.5).

use std::borrow::Cow;

use snowmelt_protocol::document::{Document, Kind, Node};
use snowmelt_protocol::json::write_string;

use super::{Refusal, input, not_json, unstruct_envelope};
use crate::base64;
use crate::parameters::Parameters;
use crate::request::Request;

const REDIRECT: &str = "iglu:com.snowplowanalytics.snowplow/uri_redirect/jsonschema/1-0-0";

pub(super) fn redirect<'a>(
    request: &Request<'a>,
    document: &mut Document,
    max_depth: usize,
) -> Result<Vec<Parameters<'a>>, Refusal> {
    let query = Parameters::from_pairs(&request.querystring);
    if query.is_empty() {
        return Err(input("querystring", None, "empty querystring: not a valid URI redirect").into());
    }
    let Some(target) = query.get("u") else {
        let pairs: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", value.unwrap_or("null"))).collect();
        let expectation = "missing `u` parameter: not a valid URI redirect";
        return Err(input("querystring", Some(pairs.join("&")), expectation).into());
    };
    let mut data = String::from("{\"uri\":");
    write_string(target, &mut data);
    data.push('}');
    let entity = format!("{{\"schema\":\"{REDIRECT}\",\"data\":{data}}}");
    let mut parameters = Parameters::with_capacity(query.len() + 3);
    for (name, value) in request.querystring.iter().filter(|(name, _)| name != "u") {
        parameters.set(name.clone(), value.clone());
    }

    // Context parameters without a value count as absent.
    if !parameters.contains("e") {
        parameters.set("e", Some("ue".into()));
        parameters.set("ue_pr", Some(unstruct_envelope(REDIRECT, |out| out.push_str(&data)).into()));
    } else if let Some(encoded) = parameters.get("cx") {
        let mut decoded = Vec::new();
        let text = base64::decode(encoded, &mut decoded);
        let contexts = with_entity(&text, &entity, document, max_depth)?;
        parameters.set("cx", Some(base64::encode_mime(&contexts).into()));
    } else if let Some(text) = parameters.get("co").filter(|text| !text.is_empty()) {
        let contexts = with_entity(text, &entity, document, max_depth)?;
        parameters.set("co", Some(contexts.into()));
    } else {
        let contexts = format!(
            r#"{{"schema":"iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-1","data":[{entity}]}}"#
        );
        parameters.set("co", Some(contexts.into()));
    }
    parameters.set("tv", Some("r-tp2".into()));
    if parameters.get("p").is_none() {
        parameters.set("p", Some(Cow::Borrowed("web")));
    }
    Ok(vec![parameters])
}

/// Contexts with the entity in front; as they are when they hold no list.
fn with_entity(text: &str, entity: &str, document: &mut Document, max_depth: usize) -> Result<String, Refusal> {
    let root = document.parse(text, max_depth).map_err(|error| not_json("co|cx", text, error))?;
    let list = root.get("data").filter(|data| data.kind() == Kind::Array);
    let mut out = String::with_capacity(text.len() + entity.len() + 1);
    match list {
        None => root.write_compact(&mut out),
        Some(list) => write_with_entity(root, list, entity, &mut out),
    }
    Ok(out)
}

fn write_with_entity(root: Node<'_>, list: Node<'_>, entity: &str, out: &mut String) {
    out.push('{');
    for (nth, (name, value)) in root.members().enumerate() {
        if nth > 0 {
            out.push(',');
        }
        write_string(&name, out);
        out.push(':');
        if value.position() == list.position() {
            out.push('[');
            out.push_str(entity);
            for element in list.elements() {
                out.push(',');
                element.write_compact(out);
            }
            out.push(']');
        } else {
            value.write_compact(out);
        }
    }
    out.push('}');
}
