//! The validation part of the shared vectors: verdicts and reports of the reference validator.

use serde_json::Value;
use snowmelt_iglu::{ClientError, Schema, SchemaKey};

/// Cases where we choose to differ, with the reason.
const DIFFERENCES: &[(&str, &str)] = &[];

#[test]
fn every_validation_vector_has_the_reference_outcome() {
    let Some(vectors) = crate::common::vectors("schema-validation.json") else { return };
    let cases = vectors["validation"].as_array().expect("the vectors have a list of validations");
    let mut failures = Vec::new();
    for case in cases {
        let id = case["id"].as_str().expect("a case has an id");
        if let Err(reason) = run(case) {
            match DIFFERENCES.iter().find(|(differing, _)| *differing == id) {
                Some((_, why)) => println!("{id} differs by choice: {why}"),
                None => failures.push(format!("{id}: {reason}")),
            }
        }
    }
    println!("{} of {} validation vectors pass", cases.len() - failures.len(), cases.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn run(case: &Value) -> Result<(), String> {
    let key: SchemaKey = "iglu:com.acme/x/jsonschema/1-0-0".parse().expect("a valid key");
    let depth = case["maxJsonDepth"].as_u64().map_or(usize::MAX, |n| n as usize);
    let schema = Schema::new(key, case["schema"].clone(), depth);
    let outcome = schema.check(&case["instance"], depth);
    let expect = &case["expect"];
    if expect["valid"] == true {
        return outcome.map(|_| ()).map_err(|error| format!("should be valid, got {error}"));
    }
    let Err(error) = outcome else { return Err("should be invalid".into()) };
    if expect.get("exception").is_some() {
        return match error {
            ClientError::Schema { ref issues, .. } if issues.iter().all(|issue| issue.path == "$") => Ok(()),
            other => Err(format!("should be an issue of the schema at $, got {other}")),
        };
    }
    let actual = serde_json::to_value(&error).map_err(|e| e.to_string())?;
    crate::common::compare_unordered(&actual, &expect["error"])
}
