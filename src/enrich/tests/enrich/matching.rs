//! The expectations of the vectors, as their `about` explains them.

use serde_json::Value;
use snowmelt_protocol::event::{Column, EnrichedEvent};

type Matched = Result<(), String>;

/// Matches a value against an expectation: objects member by member, matchers by their name.
pub fn value(expected: &Value, actual: &Value) -> Matched {
    let mismatch = || Err(format!("expected {expected}, found {actual}"));
    let text = actual.as_str();
    match expected {
        Value::Object(members) => {
            if let Some((name, argument)) = members.iter().next().filter(|(name, _)| name.starts_with('$')) {
                let found = match name.as_str() {
                    "$any" => true,
                    "$prefix" => text.zip(argument.as_str()).is_some_and(|(text, prefix)| text.starts_with(prefix)),
                    "$regex" => {
                        let regex = regex::Regex::new(argument.as_str().unwrap()).unwrap();
                        text.is_some_and(|text| regex.is_match(text))
                    }
                    "$json" => {
                        let parsed = text.and_then(|text| serde_json::from_str(text).ok());
                        return match parsed {
                            Some(parsed) => value(argument, &parsed),
                            None => mismatch(),
                        };
                    }
                    "$text" => argument == actual,
                    "$length" => {
                        text.is_some_and(|text| text.encode_utf16().count() as u64 == argument.as_u64().unwrap())
                    }
                    "$set" => return set(argument.as_array().unwrap(), actual),
                    _ => panic!("unknown matcher {name}"),
                };
                return if found { Ok(()) } else { mismatch() };
            }
            for (name, expected) in members {
                let member = actual.get(name).ok_or_else(|| format!("{name} is missing in {actual}"))?;
                // Lists of these two are sets everywhere.
                match (name.as_str(), expected) {
                    ("dataReports" | "errors" | "parameters", Value::Array(items)) => set(items, member),
                    _ => value(expected, member),
                }
                .map_err(|reason| format!("{name}: {reason}"))?;
            }
            Ok(())
        }
        Value::Array(items) => {
            let Some(found) = actual.as_array().filter(|found| found.len() == items.len()) else { return mismatch() };
            items.iter().zip(found).try_for_each(|(expected, actual)| value(expected, actual))
        }
        Value::Number(number) => {
            let same = number.as_f64() == actual.as_f64() && actual.is_number();
            if same { Ok(()) } else { mismatch() }
        }
        _ if expected == actual => Ok(()),
        _ => mismatch(),
    }
}

/// Matches lists in any order.
pub fn set(expected: &[Value], actual: &Value) -> Matched {
    let actual: Vec<&Value> = actual.as_array().ok_or_else(|| format!("{actual} is no list"))?.iter().collect();
    unordered(expected, &actual, |expected, actual| value(expected, actual))
}

/// Pairs each expectation with another thing that matches it.
pub fn unordered<T: std::fmt::Debug>(
    expected: &[Value],
    actual: &[T],
    matches: impl Fn(&Value, &T) -> Matched,
) -> Matched {
    if expected.len() != actual.len() {
        return Err(format!("expected {} of {expected:?}, found {} of {actual:?}", expected.len(), actual.len()));
    }
    let mut left: Vec<&T> = actual.iter().collect();
    for expectation in expected {
        let outcomes: Vec<Matched> = left.iter().map(|candidate| matches(expectation, candidate)).collect();
        match outcomes.iter().position(Result::is_ok) {
            Some(place) => drop(left.remove(place)),
            None => return Err(outcomes.into_iter().filter_map(Result::err).collect::<Vec<_>>().join(" | ")),
        }
    }
    Ok(())
}

/// Matches an enriched line against columns.
pub fn event(expected: &Value, line: &str) -> Matched {
    let event = EnrichedEvent::parse_tsv(line).map_err(|error| error.to_string())?;
    for (name, expected) in expected.as_object().unwrap() {
        if name == "$tsv" {
            if expected.as_str() != Some(line) {
                return Err(format!("expected line {expected:?}, found {line:?}"));
            }
            continue;
        }
        let column = Column::from_name(name).unwrap();
        let text = event.get(column);
        let matcher =
            expected.as_object().and_then(|members| members.keys().next()).is_some_and(|key| key.starts_with('$'));
        let actual = match (expected, text) {
            (Value::Object(_), Some(text)) if !matcher => {
                serde_json::from_str(text).map_err(|error| format!("{name}: {error}"))?
            }
            (_, Some(text)) => Value::from(text),
            (_, None) => Value::Null,
        };
        value(expected, &actual).map_err(|reason| format!("{name}: {reason}"))?;
    }
    Ok(())
}

/// Matches a bad row.
pub fn bad(expected: &Value, line: &str) -> Matched {
    let row: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let ordered = expected.get("ordered").is_some();
    for (name, expected) in expected.as_object().unwrap() {
        let failure = &row["data"]["failure"];
        match name.as_str() {
            "schema" => value(expected, &row["schema"]),
            "messages" if ordered => value(expected, &failure["messages"]),
            "messages" => set(expected.as_array().unwrap(), &failure["messages"]),
            "message" | "loader" | "vendor" | "version" => value(expected, &failure[name]),
            "failure" => value(expected, failure),
            "payload" => value(expected, &row["data"]["payload"]),
            "$full" => value(expected, &row),
            "ordered" => Ok(()),
            _ => panic!("unknown expectation {name}"),
        }
        .map_err(|reason| format!("{name}: {reason}"))?;
    }
    Ok(())
}
