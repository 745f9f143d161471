//! `snowmelt iglu push`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde_json::Value;

use super::args::PushArgs;
use super::client::Registry;
use super::files::{self, Found};
use crate::trouble::{Outcome, Trouble};

/// Names that are published at the same time; versions of one name come one after the other.
const AT_ONCE: usize = 8;

/// What became of the schemas.
#[derive(Debug, Default)]
struct Tally {
    created: usize,
    updated: usize,
    unchanged: usize,
    failures: Vec<String>,
}

/// Publishes what is new. What is there already and is equal stays, so that the command can be repeated.
pub(super) async fn push(args: &PushArgs) -> Outcome {
    let folder = files::read(std::slice::from_ref(&args.folder))?;
    let registry = Registry::find(&args.registry)?;
    let vendors: BTreeSet<&str> = folder.schemas.keys().map(|key| key.vendor()).collect();
    let mut published: HashMap<String, Value> = HashMap::new();
    for vendor in vendors {
        for document in registry.schemas(&format!("schemas/{vendor}")).await? {
            if let Ok(key) = snowmelt_iglu::schema_key_of(&document) {
                published.insert(key.uri().to_owned(), document);
            }
        }
    }
    let mut names: BTreeMap<(&str, &str), Vec<&Found>> = BTreeMap::new();
    for (key, found) in &folder.schemas {
        names.entry((key.vendor(), key.name())).or_default().push(found);
    }
    let bar = progress(folder.schemas.len());
    let (registry, published, bar) = (&registry, &published, &bar);
    let work = names.into_values().map(|versions| async move {
        let mut tally = Tally::default();
        for found in versions {
            one(registry, published.get(found.key.uri()), found, args.public, &mut tally).await?;
            bar.inc(1);
        }
        Ok::<Tally, Trouble>(tally)
    });
    let mut total = Tally { failures: folder.mistakes, ..Tally::default() };
    let mut working = futures_util::stream::iter(work).buffer_unordered(AT_ONCE);
    while let Some(tally) = working.next().await {
        let tally = tally?;
        total.created += tally.created;
        total.updated += tally.updated;
        total.unchanged += tally.unchanged;
        total.failures.extend(tally.failures);
    }
    bar.finish_and_clear();
    println!(
        "{}: {} published, {} updated, {} there already, {} failed",
        registry.base(),
        total.created,
        total.updated,
        total.unchanged,
        total.failures.len()
    );
    if folder.other_formats > 0 {
        println!("{} files of other formats than jsonschema are left out", folder.other_formats);
    }
    total.failures.sort();
    if total.failures.is_empty() { Ok(()) } else { Err(Trouble::User(total.failures)) }
}

async fn one(
    registry: &Registry,
    published: Option<&Value>,
    found: &Found,
    public: bool,
    tally: &mut Tally,
) -> Outcome {
    if published.is_some_and(|published| same(published, &found.document)) {
        tally.unchanged += 1;
        return Ok(());
    }
    let path = format!("schemas/{}?isPublic={public}", found.key.path());
    let answer = registry.ask(Method::PUT, &path, Some(&found.document)).await?;
    match answer.status {
        201 => tally.created += 1,
        200 => tally.updated += 1,
        401 | 403 | 500.. => return Err(registry.refused(&answer)),
        409 if published.is_some() => tally.failures.push(format!(
            "{}: {} is published with other contents, and this registry takes no patches; publish it as a new version",
            found.file.display(),
            found.key
        )),
        _ => {
            let mut failure = format!("{}: {}", found.file.display(), answer.message());
            let issues = answer.body.get("report").and_then(Value::as_array);
            for issue in issues.into_iter().flatten().filter(|issue| issue["level"] == "ERROR") {
                let text = |name: &str| issue[name].as_str().unwrap_or_default().to_owned();
                failure.push_str(&format!("\n    {} {}", text("pointer"), text("message")));
            }
            tally.failures.push(failure);
        }
    }
    Ok(())
}

/// Whether two documents say the same. What the registry adds by itself does not count.
pub(super) fn same(published: &Value, own: &Value) -> bool {
    let stripped = |document: &Value| {
        let mut document = document.clone();
        if let Some(members) = document.as_object_mut() {
            members.shift_remove("$supersededBy");
        }
        document
    };
    stripped(published) == stripped(own)
}

/// A bar where people look; nothing where a file does.
pub(super) fn progress(schemas: usize) -> ProgressBar {
    let bar = ProgressBar::new(schemas as u64);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} schemas  {per_sec}  {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_registrys_own_member_makes_no_difference() {
        assert!(same(&json!({"a": 1, "$supersededBy": "1-0-1", "b": 2}), &json!({"b": 2, "a": 1})));
        assert!(!same(&json!({"a": 1}), &json!({"a": 1.5})));
    }
}
