//! The validation endpoints (iglu-server spec, sections 7.3 and 7.4).

use serde_json::{Value, json};
use snowmelt_iglu::lint::lint;
use snowmelt_iglu::{Schema, SelfDescribing, schema_key_of};

use super::publish::report;
use super::read::text_of;
use super::{Outcome, Service, aside};
use crate::core::document::DEEPEST;
use crate::core::permission::Permission;
use crate::core::reply::Reply;
use crate::core::representation::{Representation, write};

impl Service {
    /// Lints a schema. Bad ones are told with 200 too.
    pub(super) async fn validate_schema(&self, body: Value, caller: &Permission) -> Reply {
        if !caller.may_validate() {
            return Reply::message(403, "");
        }
        let max_depth = self.config.json_depth();
        let linted = aside(move || (lint(&body, max_depth), schema_key_of(&body))).await;
        match linted {
            Err(reply) => reply,
            Ok((issues, Ok(key))) if issues.is_empty() => {
                Reply::message(200, &format!("The schema provided is a valid self-describing {key} schema"))
            }
            Ok((issues, _)) => report(200, &issues),
        }
    }

    /// Validates self-describing data against a schema of the registry, which is taken as it is: supersession is not
    /// followed, and neither are references to other documents.
    pub(super) async fn validate_instance(&self, body: Value, caller: &Permission) -> Outcome {
        if !caller.may_validate() {
            return Ok(Reply::schema_not_found());
        }
        let key = match SelfDescribing::parse(&body) {
            Ok(instance) => instance.schema,
            Err(code) => {
                let message = format!("JSON payload is not self-describing, {code}");
                return Ok(Reply::bad_request(&message));
            }
        };
        let entry = self.registry.catalog().get(key.uri()).cloned();
        let Some(entry) = entry.filter(|entry| entry.is_visible_to(caller)) else {
            return Ok(Reply::schema_not_found());
        };
        let Some(members) = self.registry.body(&entry).await? else { return Ok(Reply::schema_not_found()) };
        let mut document = String::with_capacity(members.len());
        write(&mut document, &entry, text_of(&members), Representation::Canonical);
        let judged = aside(move || judge(key.uri(), &document, &body)).await;
        Ok(judged.unwrap_or_else(|reply| reply))
    }
}

/// A stored schema counts as it is, however deep.
fn judge(uri: &str, document: &str, body: &Value) -> Reply {
    let unusable = || Reply::message(500, &format!("Schema {uri} fetched from DB is invalid"));
    let (Ok(document), Ok(instance)) = (serde_json::from_str(document), SelfDescribing::parse(body)) else {
        return unusable();
    };
    let schema = Schema::new(instance.schema, document, DEEPEST);
    if !schema.issues().is_empty() {
        return unusable();
    }
    match schema.validate(instance.data) {
        Ok(()) => Reply::message(200, &format!("Instance is valid {uri}")),
        Err(reports) => {
            let message = "The data for a field instance is invalid against its schema";
            Reply::json(200, &json!({"message": message, "report": reports}))
        }
    }
}
