//! Checks one definition's keys and values against the table of keys, and reports every mistake at once.

use std::net::ToSocketAddrs;
use std::path::Path;

use serde_json::{Map, Value};

use super::keys::{self, Key, Kind};
use super::problem::{Problem, nearest};
use super::units;

/// All mistakes in a file's keys and values. `root` tells whether the file was named on the command line.
pub fn verify(file: &Path, document: &Map<String, Value>, root: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, value) in document {
        if let Some(key) = keys::keys_of("").find(|key| key.name == name) {
            check_value(file, key, name, value, &mut problems);
        } else if keys::sections().any(|section| section == name) {
            check_section(file, name, value, root, &mut problems);
        } else {
            let mut known = names_of("");
            known.extend(keys::sections().filter(|section| !section.is_empty()));
            problems.push(unknown(file, name.clone(), name, value, &known));
        }
    }
    problems
}

fn check_section(file: &Path, section: &str, value: &Value, root: bool, problems: &mut Vec<Problem>) {
    if keys::is_global(section) && !root {
        let message = "holds for the whole process; write it in the file that is named on the command line";
        problems.push(Problem::key(file, section, message));
        return;
    }
    match value {
        Value::Array(tables) if keys::is_list(section) => {
            for (index, table) in tables.iter().enumerate() {
                check_table(file, section, &format!("{section}[{index}]"), table, problems);
            }
        }
        Value::Object(_) if !keys::is_list(section) => check_table(file, section, section, value, problems),
        _ if keys::is_list(section) => {
            problems.push(Problem::key(file, section, format!("has to be a list of tables; write [[{section}]]")));
        }
        _ => problems
            .push(Problem::key(file, section, format!("has to be a table; write [{section}]")).with_value(value)),
    }
}

fn check_table(file: &Path, section: &str, path: &str, table: &Value, problems: &mut Vec<Problem>) {
    let Value::Object(table) = table else {
        problems.push(Problem::key(file, path, "has to be a table").with_value(table));
        return;
    };
    for (name, value) in table {
        let dotted = format!("{path}.{name}");
        match keys::keys_of(section).find(|key| key.name == name) {
            Some(key) => check_value(file, key, &dotted, value, problems),
            None => problems.push(unknown(file, dotted, name, value, &names_of(section))),
        }
    }
    // A required key that is there under a wrong spelling is told once, by the suggestion.
    let meant: Vec<&str> = table.keys().filter_map(|name| nearest(name, names_of(section))).collect();
    let missing = |key: &&keys::Key| key.required && !table.contains_key(key.name) && !meant.contains(&key.name);
    for key in keys::keys_of(section).filter(missing) {
        problems.push(Problem::key(file, format!("{path}.{}", key.name), format!("is missing: {}", key.help)));
    }
}

fn names_of(section: &str) -> Vec<&'static str> {
    keys::keys_of(section).map(|key| key.name).collect()
}

fn unknown(file: &Path, dotted: String, name: &str, value: &Value, known: &[&str]) -> Problem {
    let hint = match nearest(name, known.iter().copied()) {
        Some(near) => format!("unknown key; did you mean `{near}`?"),
        None => format!("unknown key; known here are {}", known.join(", ")),
    };
    let problem = Problem::key(file, dotted, hint);
    if value.is_object() || value.is_array() { problem } else { problem.with_value(value) }
}

fn check_value(file: &Path, key: &Key, dotted: &str, value: &Value, problems: &mut Vec<Problem>) {
    let wrong = match key.kind {
        Kind::Text => (!value.is_string() || value == "").then(|| "has to be a text".to_owned()),
        Kind::Bool => (!value.is_boolean()).then(|| "has to be true or false".to_owned()),
        Kind::Int(low, high) => value
            .as_i64()
            .is_none_or(|number| number < low || number > high)
            .then(|| format!("has to be a whole number from {low} to {high}")),
        Kind::Choice(choices) => wrong_choice(value, choices),
        Kind::Start if value.as_str().and_then(units::start).is_some() => None,
        Kind::Start => wrong_choice(value, &["trim_horizon", "latest"]),
        Kind::Duration => value
            .as_str()
            .and_then(units::duration)
            .is_none()
            .then(|| "has to be a duration with its unit, such as \"500ms\", \"30s\", \"10m\", \"24h\"".to_owned()),
        Kind::Bytes => {
            (read_bytes(value).is_none()).then(|| "has to be a size, such as 65536, \"64 KiB\", \"8 MiB\"".to_owned())
        }
        Kind::Path => match value.as_str() {
            Some(path) => missing_path(file, path),
            None => Some("has to be a path".to_owned()),
        },
        Kind::Paths => match value.as_array() {
            Some(paths) => paths.iter().find_map(|path| match path.as_str() {
                Some(path) => missing_path(file, path),
                None => Some("has to be a list of paths".to_owned()),
            }),
            None => Some("has to be a list of paths".to_owned()),
        },
        Kind::Address => value
            .as_str()
            .and_then(|text| text.to_socket_addrs().ok()?.next())
            .is_none()
            .then(|| "has to be an address to listen on, such as \"127.0.0.1:8080\"".to_owned()),
        Kind::Free => (!value.is_object()).then(|| "has to be a table".to_owned()),
    };
    if let Some(message) = wrong {
        problems.push(Problem::key(file, dotted, message).with_value(value));
    }
}

fn wrong_choice(value: &Value, choices: &[&str]) -> Option<String> {
    let text = value.as_str().unwrap_or_default();
    if choices.contains(&text) {
        return None;
    }
    let all = choices.join(", ");
    Some(match nearest(text, choices.iter().copied()) {
        Some(near) => format!("is not one of {all}; did you mean `{near}`?"),
        None => format!("is not one of {all}"),
    })
}

fn missing_path(file: &Path, path: &str) -> Option<String> {
    let whole = beside(file, path);
    match whole.try_exists() {
        Ok(true) => None,
        Ok(false) => Some(format!("there is no {}", whole.display())),
        Err(error) => Some(format!("{} can't be read: {error}", whole.display())),
    }
}

/// A path as written in `file`, from the file's folder.
pub fn beside(file: &Path, path: &str) -> std::path::PathBuf {
    file.parent().unwrap_or_else(|| Path::new(".")).join(path)
}

/// A size as a number or a text with its unit.
pub fn read_bytes(value: &Value) -> Option<usize> {
    match value {
        Value::Number(number) => usize::try_from(number.as_u64()?).ok(),
        Value::String(text) => units::bytes(text),
        _ => None,
    }
    .filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problems(document: Value) -> Vec<String> {
        let Value::Object(document) = document else { panic!("an object") };
        verify(Path::new("a.toml"), &document, true).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_mistake_is_reported_with_the_nearest_right_name() {
        let found = problems(json!({
            "nam": "x",
            "source": { "strem": "raw", "start": "trim_horizn", "max_records": "many" },
            "sink": [{ "kind": "s3", "max_age": "5" }],
            "backend": { "fsync": 1 }
        }));
        let expected = [
            "a.toml: nam = \"x\": unknown key; did you mean `name`?",
            "a.toml: source.strem = \"raw\": unknown key; did you mean `stream`?",
            "a.toml: source.start = \"trim_horizn\": is not one of trim_horizon, latest; did you mean `trim_horizon`?",
            "a.toml: source.max_records = \"many\": has to be a whole number from 1 to 10000",
            "a.toml: sink[0].max_age = \"5\": has to be a duration with its unit, such as \"500ms\", \"30s\", \"10m\", \"24h\"",
            "a.toml: backend.fsync = 1: has to be true or false",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_global_section_in_an_included_file_is_refused() {
        let Value::Object(document) = json!({ "backend": { "fsync": true } }) else { panic!("an object") };
        let found = verify(Path::new("b.toml"), &document, false);
        assert!(found[0].message.contains("named on the command line"));
    }
}
