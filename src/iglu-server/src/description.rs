//! The interface described: Swagger 2.0 for each service, as the original has it, and OpenAPI 3 for all of them. Both
//! are made of one table.

use serde_json::{Map, Value, json};

use crate::core::route::Service;
use crate::service::COMPATIBLE_VERSION;

/// A parameter in the path.
struct Part {
    name: &'static str,
    pattern: Option<&'static str>,
    help: &'static str,
}

/// One operation.
struct Operation {
    service: Service,
    method: &'static str,
    /// Below the service's path.
    path: &'static str,
    summary: &'static str,
    /// A parameter in the query with what it may be, and whether it must be there.
    query: Option<(&'static str, &'static [&'static str], bool)>,
    /// Name of the body's form.
    body: Option<&'static str>,
    /// Statuses that are answered, with what they mean.
    answers: &'static [(u16, &'static str)],
}

const VERSION: &str = "^[1-9][0-9]*-(0|[1-9][0-9]*)-(0|[1-9][0-9]*)$";

const PARTS: &[Part] = &[
    Part { name: "vendor", pattern: None, help: "Vendor: letters, digits, `-`, `_`, `.`" },
    Part { name: "name", pattern: None, help: "Name: letters, digits, `-`, `_`" },
    Part { name: "format", pattern: None, help: "Format, in practice `jsonschema`" },
    Part { name: "version", pattern: Some(VERSION), help: "MODEL-REVISION-ADDITION" },
    Part { name: "model", pattern: Some("^[1-9][0-9]*$"), help: "First part of versions" },
    Part { name: "number", pattern: Some("^[0-9]+$"), help: "Number of a draft" },
];

const REPR: Option<(&str, &[&str], bool)> = Some(("repr", &["canonical", "uri", "meta"], false));
const PUBLIC: Option<(&str, &[&str], bool)> = Some(("isPublic", &["true", "false"], false));

const BAD_REQUEST: (u16, &str) = (400, "A part of the request cannot be read");
const BAD_BODY: (u16, &str) = (422, "The body is JSON of another shape, or too deep");
const TOO_LARGE: (u16, &str) = (413, "The body is too large");
const FORBIDDEN: (u16, &str) = (403, "The key does not allow it");
const ABSENT: (u16, &str) = (404, "Nothing there that the key may see");

const LIST: &[(u16, &str)] = &[(200, "The schemas that the key may see"), BAD_REQUEST, ABSENT];
const PUBLISH: &[(u16, &str)] = &[
    (200, "An earlier version was replaced"),
    (201, "Published"),
    BAD_REQUEST,
    FORBIDDEN,
    ABSENT,
    (409, "It does not fit to what is published"),
    TOO_LARGE,
    BAD_BODY,
];
const VALIDATE: &[(u16, &str)] = &[(200, "The verdict"), BAD_REQUEST, FORBIDDEN, ABSENT, TOO_LARGE, BAD_BODY];

use Service::{Auth, Drafts, Meta, Schemas, Validation};

const fn get(
    service: Service,
    path: &'static str,
    summary: &'static str,
    query: Option<(&'static str, &'static [&'static str], bool)>,
    answers: &'static [(u16, &'static str)],
) -> Operation {
    Operation { service, method: "get", path, summary, query, body: None, answers }
}

const OPERATIONS: &[Operation] = &[
    get(Schemas, "", "All schemas", REPR, LIST),
    Operation {
        service: Schemas,
        method: "post",
        path: "",
        summary: "Publish a self-describing schema",
        query: PUBLIC,
        body: Some("Schema"),
        answers: PUBLISH,
    },
    get(Schemas, "/{vendor}", "Schemas of a vendor", REPR, LIST),
    get(Schemas, "/{vendor}/{name}", "Schemas of a name", REPR, LIST),
    get(Schemas, "/{vendor}/{name}/jsonschema/{model}", "Schemas of a model", REPR, LIST),
    get(
        Schemas,
        "/{vendor}/{name}/{format}/{version}",
        "One schema",
        REPR,
        &[(200, "The schema"), (304, "It did not change"), BAD_REQUEST, ABSENT],
    ),
    Operation {
        service: Schemas,
        method: "put",
        path: "/{vendor}/{name}/{format}/{version}",
        summary: "Publish a schema, self-describing or not",
        query: PUBLIC,
        body: Some("Schema"),
        answers: PUBLISH,
    },
    Operation {
        service: Schemas,
        method: "delete",
        path: "/{vendor}/{name}/{format}/{version}",
        summary: "Delete a schema where versions may change",
        query: None,
        body: None,
        answers: &[
            (200, "It is not there any more"),
            BAD_REQUEST,
            (401, "Only a super key may"),
            ABSENT,
            (405, "Versions do not change here"),
        ],
    },
    Operation {
        service: Schemas,
        method: "post",
        path: "/validate/{vendor}/{name}/jsonschema/{version}",
        summary: "Lint a schema (the path does not count)",
        query: None,
        body: Some("Schema"),
        answers: VALIDATE,
    },
    Operation {
        service: Validation,
        method: "post",
        path: "/validate/schema/{format}",
        summary: "Lint a schema",
        query: None,
        body: Some("Schema"),
        answers: VALIDATE,
    },
    Operation {
        service: Validation,
        method: "post",
        path: "/validate/instance",
        summary: "Validate self-describing data",
        query: None,
        body: Some("Instance"),
        answers: VALIDATE,
    },
    Operation {
        service: Auth,
        method: "post",
        path: "/keygen",
        summary: "Make a read key and a write key for a vendor prefix",
        query: None,
        body: Some("VendorPrefix"),
        answers: &[(200, "The keys"), BAD_REQUEST, FORBIDDEN, TOO_LARGE, BAD_BODY],
    },
    Operation {
        service: Auth,
        method: "delete",
        path: "/keygen",
        summary: "Delete a key",
        query: Some(("key", &[], true)),
        body: None,
        answers: &[(200, "It does not work any more"), BAD_REQUEST, FORBIDDEN],
    },
    get(Meta, "/health", "Whether the server runs", None, &[(200, "It does"), BAD_REQUEST, (503, "It stops")]),
    get(
        Meta,
        "/health/db",
        "Whether the database answers",
        None,
        &[(200, "It does"), BAD_REQUEST, (500, "It does not")],
    ),
    get(Meta, "/server", "What the server is and what the key may do", None, &[(200, "That"), BAD_REQUEST]),
    get(Drafts, "", "All drafts", None, &[(200, "The drafts that the key may see"), BAD_REQUEST]),
    get(Drafts, "/{vendor}/{name}/{format}/{number}", "One draft", None, &[(200, "The draft"), BAD_REQUEST, ABSENT]),
    Operation {
        service: Drafts,
        method: "put",
        path: "/{vendor}/{name}/{format}/{number}",
        summary: "Store a draft",
        query: PUBLIC,
        body: Some("Draft"),
        answers: &[
            (200, "An earlier draft was replaced"),
            (201, "Stored"),
            BAD_REQUEST,
            FORBIDDEN,
            ABSENT,
            TOO_LARGE,
            BAD_BODY,
        ],
    },
];

/// The description of one service in Swagger 2.0, or of all in OpenAPI 3.
pub(crate) fn describe(service: Option<Service>, base_url: &str) -> Value {
    let base_url = base_url.trim_end_matches('/');
    let info = json!({"title": "Iglu Server API", "version": COMPATIBLE_VERSION});
    match service {
        Some(service) => json!({
            "swagger": "2.0",
            "info": info,
            "basePath": format!("{base_url}/api/{}", service.name()),
            "consumes": ["application/json"],
            "produces": ["application/json"],
            "paths": paths(Some(service)),
            "definitions": forms(),
            "securityDefinitions": {"Iglu API key": key_scheme()},
            "security": [{"Iglu API key": []}],
        }),
        None => json!({
            "openapi": "3.0.3",
            "info": info,
            "servers": [{"url": if base_url.is_empty() { "/" } else { base_url }}],
            "paths": paths(None),
            "components": {"schemas": forms(), "securitySchemes": {"IgluApiKey": key_scheme()}},
            "security": [{"IgluApiKey": []}, {}],
        }),
    }
}

fn key_scheme() -> Value {
    json!({"type": "apiKey", "name": "apikey", "in": "header"})
}

/// Forms of bodies.
fn forms() -> Value {
    json!({
        "Schema": {"type": "object"},
        "Draft": {"type": "object"},
        "Instance": {
            "type": "object",
            "required": ["schema", "data"],
            "properties": {"schema": {"type": "string"}, "data": {}}
        },
        "VendorPrefix": {
            "type": "object",
            "required": ["vendorPrefix"],
            "properties": {"vendorPrefix": {"type": "string", "maxLength": 128}}
        }
    })
}

fn paths(only: Option<Service>) -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS.iter().filter(|operation| only.is_none_or(|only| only == operation.service)) {
        let path = match only {
            Some(_) if operation.path.is_empty() => "/".to_owned(),
            Some(_) => operation.path.to_owned(),
            None => format!("/api/{}{}", operation.service.name(), operation.path),
        };
        let described = operation.describe(only.is_some());
        if let Some(methods) = paths.entry(path).or_insert_with(|| json!({})).as_object_mut() {
            methods.insert(operation.method.to_owned(), described);
        }
    }
    Value::Object(paths)
}

impl Operation {
    fn describe(&self, swagger: bool) -> Value {
        let typed = |mut parameter: Value, schema: Value| {
            if let (true, Value::Object(members)) = (swagger, &schema) {
                for (name, value) in members {
                    parameter[name] = value.clone();
                }
            } else {
                parameter["schema"] = schema;
            }
            parameter
        };
        let mut parameters: Vec<Value> = Vec::new();
        for part in PARTS.iter().filter(|part| self.path.contains(&format!("{{{}}}", part.name))) {
            let parameter = json!({"name": part.name, "in": "path", "required": true, "description": part.help});
            let schema = match part.pattern {
                Some(pattern) => json!({"type": "string", "pattern": pattern}),
                None => json!({"type": "string", "minLength": 1}),
            };
            parameters.push(typed(parameter, schema));
        }
        if let Some((name, values, required)) = self.query {
            let schema = match values {
                [] => json!({"type": "string", "format": "uuid"}),
                values => json!({"type": "string", "enum": values}),
            };
            parameters.push(typed(json!({"name": name, "in": "query", "required": required}), schema));
        }
        let mut answers = Map::new();
        for (status, meaning) in self.answers {
            answers.insert(status.to_string(), json!({"description": meaning}));
        }
        let mut described = json!({"summary": self.summary, "operationId": self.id(), "responses": answers});
        match self.body {
            Some(form) if swagger => {
                let schema = json!({"$ref": format!("#/definitions/{form}")});
                parameters.push(json!({"name": "body", "in": "body", "required": true, "schema": schema}));
            }
            Some(form) => {
                let schema = json!({"$ref": format!("#/components/schemas/{form}")});
                described["requestBody"] =
                    json!({"required": true, "content": {"application/json": {"schema": schema}}});
            }
            None => {}
        }
        described["parameters"] = Value::Array(parameters);
        described
    }

    fn id(&self) -> String {
        let words = self.path.split(['/', '{', '}']).filter(|word| !word.is_empty());
        let words: Vec<&str> = [self.method, self.service.name()].into_iter().chain(words).collect();
        words.join("_")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_stands_in_both_descriptions() {
        let all = describe(None, "https://x/");
        let count = |document: &Value| -> usize {
            let paths = document["paths"].as_object().unwrap();
            paths.values().map(|methods| methods.as_object().unwrap().len()).sum()
        };
        assert_eq!(count(&all), OPERATIONS.len());
        assert_eq!(Service::ALL.iter().map(|&one| count(&describe(Some(one), ""))).sum::<usize>(), OPERATIONS.len());
        assert_eq!(describe(Some(Service::Meta), "/iglu/")["basePath"], json!("/iglu/api/meta"));
        let mut ids: Vec<String> = OPERATIONS.iter().map(Operation::id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), OPERATIONS.len());
    }

    #[test]
    fn every_described_operation_is_routed() {
        for operation in OPERATIONS {
            let path = operation.path.replace("{version}", "1-0-0").replace("{model}", "1").replace("{number}", "1");
            let path = path.replace("{format}", "jsonschema").replace(['{', '}'], "");
            let path = format!("/api/{}{path}", operation.service.name());
            let query = "key=5fb4713d-73ad-4163-93a9-2b82f0177c5b";
            let segments = crate::core::request::segments(&path);
            let segments: Vec<&str> = segments.iter().map(|segment| &**segment).collect();
            let found = crate::core::route::find(&operation.method.to_uppercase(), &segments, query, false);
            assert!(found.is_ok(), "{} {path}: {found:?}", operation.method);
        }
    }
}
