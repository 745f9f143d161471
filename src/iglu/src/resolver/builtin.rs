//! The registry inside the program: schemas that the pipeline itself cannot do without (iglu-client, section 4).

/// Name it has in look-up histories.
pub(super) const NAME: &str = "Iglu Client Embedded";

macro_rules! schemas {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../schemas/", $path)))),*]
    };
}

/// Path of a key and its document, sorted by path.
const SCHEMAS: &[(&str, &str)] = schemas![
    "com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-0",
    "com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-1",
    "com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-2",
    "com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-3",
    "com.snowplowanalytics.iglu/validation_info/jsonschema/1-0-0",
    "com.snowplowanalytics.self-desc/instance-iglu-only/jsonschema/1-0-0",
    "com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-0",
    "com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-1",
    "com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-0",
    "com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-1",
    "com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-2",
    "com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-3",
    "com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4",
    "com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0",
];

/// The document of `VENDOR/NAME/FORMAT/VERSION`.
pub(super) fn document(path: &str) -> Option<&'static str> {
    let index = SCHEMAS.binary_search_by_key(&path, |(path, _)| path).ok()?;
    Some(SCHEMAS[index].1)
}

/// Versions that stand under `VENDOR/NAME/jsonschema`.
pub(super) fn versions<'a>(folder: &'a str) -> impl Iterator<Item = &'static str> + 'a {
    SCHEMAS.iter().filter_map(move |(path, _)| path.strip_prefix(folder)?.strip_prefix('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Schema, schema_key_of};

    #[test]
    fn built_in_schemas_are_sorted_sound_and_know_their_own_names() {
        assert!(SCHEMAS.is_sorted_by_key(|(path, _)| path));
        for (path, text) in SCHEMAS {
            let document = serde_json::from_str(text).unwrap();
            let key = schema_key_of(&document).unwrap();
            assert_eq!(key.path(), *path);
            assert_eq!(Schema::new(key, document, 50).issues(), []);
        }
    }

    #[test]
    fn a_post_body_is_judged_by_payload_data() {
        let load = |version: &str| {
            let path = format!("com.snowplowanalytics.snowplow/payload_data/jsonschema/{version}");
            let document = serde_json::from_str(document(&path).unwrap()).unwrap();
            Schema::new(format!("iglu:{path}").parse().unwrap(), document, 50)
        };
        let body = serde_json::json!([{"e": "pv", "tv": "js-3", "p": "web", "ttm": "1"}]);
        assert!(load("1-0-4").is_valid(&body));
        assert!(!load("1-0-3").is_valid(&body));
        assert!(!load("1-0-4").is_valid(&serde_json::json!([])));
        assert_eq!(
            versions("com.snowplowanalytics.snowplow/contexts/jsonschema").collect::<Vec<_>>(),
            ["1-0-0", "1-0-1"]
        );
    }
}
