//! What the vector tests share.

use std::path::PathBuf;

use serde_json::Value;

/// The shared folder beside the workspace; `None` (and a printed line) where it is absent.
pub fn shared() -> Option<PathBuf> {
    let beside = || {
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        here.ancestors().nth(3).map(|above| above.join("shared"))
    };
    let folder = std::env::var_os("SNOWMELT_SHARED").map(PathBuf::from).or_else(beside);
    let found = folder.filter(|folder| folder.is_dir());
    if found.is_none() {
        println!("skipped: ../shared is missing");
    }
    found
}

/// One file of vectors.
pub fn vectors(name: &str) -> Option<Value> {
    let path = shared()?.join("vectors").join(name);
    let text = std::fs::read_to_string(&path).expect("the vectors are readable");
    Some(serde_json::from_str(&text).expect("the vectors are JSON"))
}

/// Whether two error documents are the same up to the order of reports, issues and errors. `{"$any": ...}` matches
/// everything, `{"$prefix": text}` every text that starts so.
pub fn compare_unordered(actual: &Value, expected: &Value) -> Result<(), String> {
    matches(actual, expected, "").then_some(()).ok_or_else(|| format!("\n  got      {actual}\n  expected {expected}"))
}

fn matches(actual: &Value, expected: &Value, member: &str) -> bool {
    match (actual, expected) {
        (_, Value::Object(rule)) if rule.contains_key("$any") => actual.is_string(),
        (Value::String(text), Value::Object(rule)) if rule.contains_key("$prefix") => {
            rule["$prefix"].as_str().is_some_and(|prefix| text.starts_with(prefix))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| matches(a, b, name)))
        }
        (Value::Array(a), Value::Array(b)) if matches!(member, "dataReports" | "schemaIssues" | "errors") => {
            let mut open: Vec<&Value> = b.iter().collect();
            a.len() == b.len()
                && a.iter().all(|item| {
                    let found = open.iter().position(|candidate| matches(item, candidate, ""));
                    found.map(|index| open.swap_remove(index)).is_some()
                })
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| matches(a, b, "")),
        _ => actual == expected,
    }
}
