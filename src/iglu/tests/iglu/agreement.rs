//! The fast answer, the reports and the `jsonschema` crate agree on what is valid, over random schemas and values.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use snowmelt_iglu::Schema;

/// Small values out of a small vocabulary, so that schemas and values meet.
fn value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        (-3i64..12).prop_map(|n| json!(n)),
        prop::sample::select(vec!["1.0", "0.5", "2.50", "1e1", "-0", "12345678901234567890123", "1e400"])
            .prop_map(|text| serde_json::from_str(text).expect("a number")),
    ];
    let text = prop::sample::select(vec![
        "",
        "a",
        "abc",
        "x_1",
        "ä",
        "a\n",
        "2024-02-03T04:05:06Z",
        "2023-02-29",
        "123e4567-e89b-12d3-a456-426614174000",
        "1.2.3.4",
        "::1",
        "a@b.co",
        "http://example.com/",
    ]);
    let scalar =
        prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), number, text.prop_map(Value::from)];
    scalar.prop_recursive(3, 16, 4, |inner| {
        let member = prop::sample::select(vec!["a", "b", "c", "x_1", "#c"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((member, inner), 0..4).prop_map(|members| members
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect::<Map<_, _>>()
                .into()),
        ]
    })
}

/// Draft-04 schemas; with `shared` only keywords on which the `jsonschema` crate means the same as the reference.
fn schema(shared: bool) -> impl Strategy<Value = Value> {
    let types = vec!["string", "integer", "number", "boolean", "null", "array", "object"];
    let common = prop_oneof![
        prop::sample::select(types.clone()).prop_map(|t| json!({"type": t})),
        prop::sample::subsequence(types, 1..4).prop_map(|t| json!({"type": t})),
        (0u64..4).prop_map(|n| json!({"minLength": n})),
        (0u64..4).prop_map(|n| json!({"maxLength": n})),
        ((-2i64..9), any::<bool>()).prop_map(|(n, e)| json!({"minimum": n, "exclusiveMinimum": e})),
        ((-2i64..9), any::<bool>()).prop_map(|(n, e)| json!({"maximum": n, "exclusiveMaximum": e})),
        (1i64..4).prop_map(|n| json!({"multipleOf": n})),
        (0u64..3).prop_map(|n| json!({"minItems": n})),
        (0u64..3).prop_map(|n| json!({"maxItems": n})),
        (0u64..3).prop_map(|n| json!({"minProperties": n, "maxProperties": n + 1})),
        prop::sample::subsequence(vec!["a", "b", "c"], 1..3).prop_map(|r| json!({"required": r})),
        Just(json!({"enum": ["a", "abc", 1, null]})),
        Just(json!({"dependencies": {"a": ["b"]}})),
    ];
    let own = prop_oneof![
        prop::sample::select(vec!["^a$", "^[a-z]+$", "b", "^x_", r"^\d+$", "^(?!a)"])
            .prop_map(|p| json!({"pattern": p})),
        prop::sample::select(vec!["date-time", "date", "uuid", "email", "ipv4", "ipv6", "uri", "hostname", "other"])
            .prop_map(|f| json!({"format": f})),
        Just(json!({"uniqueItems": true})),
        Just(json!({"multipleOf": 0.5})),
        Just(json!({"nullable": true, "type": "string"})),
        Just(json!({"$ref": "#/definitions/short", "type": "string"})),
        Just(
            json!({"additionalProperties": false, "properties": {"a": {}}, "patternProperties": {"^x_": {"type": "integer"}}})
        ),
    ];
    let leaf = if shared { common.boxed() } else { prop_oneof![2 => common, 1 => own].boxed() };
    leaf.prop_recursive(3, 24, 3, |inner| {
        let list = prop::collection::vec(inner.clone(), 1..3);
        let member = prop::sample::select(vec!["a", "b", "c"]);
        let members = prop::collection::vec((member, inner.clone()), 1..4);
        prop_oneof![
            list.clone().prop_map(|l| json!({"allOf": l})),
            list.clone().prop_map(|l| json!({"anyOf": l})),
            list.clone().prop_map(|l| json!({"oneOf": l})),
            inner.clone().prop_map(|s| json!({"not": s})),
            inner.clone().prop_map(|s| json!({"items": s})),
            (list, any::<bool>()).prop_map(|(l, more)| json!({"items": l, "additionalItems": more})),
            (members, prop::option::of(inner.clone())).prop_map(|(members, additional)| {
                let properties: Map<String, Value> = members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
                match additional {
                    Some(schema) => json!({"properties": properties, "additionalProperties": schema}),
                    None => json!({"properties": properties}),
                }
            }),
            (inner.clone(), inner).prop_map(merged),
        ]
    })
}

/// Both schemas' keywords in one.
fn merged((a, b): (Value, Value)) -> Value {
    match (a, b) {
        (Value::Object(mut a), Value::Object(b)) => {
            a.extend(b);
            // A limit may have lost its partner to the other's.
            Value::Object(a)
        }
        (a, _) => a,
    }
}

fn with_definitions(mut schema: Value) -> Value {
    schema["definitions"] = json!({"short": {"maxLength": 2}});
    schema
}

fn compiled(document: &Value) -> Schema {
    Schema::new("iglu:com.acme/x/jsonschema/1-0-0".parse().expect("a key"), document.clone(), 100)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_answer_and_the_reports_agree(document in schema(false).prop_map(with_definitions), data in value()) {
        let schema = compiled(&document);
        prop_assert_eq!(schema.issues(), &[]);
        let reports = schema.validate(&data);
        prop_assert_eq!(schema.is_valid(&data), reports.is_ok(), "{:?}", reports);
        if let Err(reports) = reports {
            prop_assert!(!reports.is_empty());
            let distinct: std::collections::HashSet<_> = reports.iter().collect();
            prop_assert_eq!(distinct.len(), reports.len());
        }
    }

    #[test]
    fn a_document_is_judged_like_the_tree_it_stands_for(document in schema(false).prop_map(with_definitions), data in value()) {
        let schema = compiled(&document);
        let text = data.to_string();
        let mut parsed = snowmelt_protocol::document::Document::new();
        let root = parsed.parse(&text, 100).expect("serde_json wrote it");
        prop_assert_eq!(schema.check_document(Some(root)), schema.check(&data, 100));
    }

    #[test]
    fn the_jsonschema_crate_agrees_where_it_means_the_same(document in schema(true), data in value()) {
        let reference = jsonschema::options().with_draft(jsonschema::Draft::Draft4).build(&document);
        let reference = reference.expect("the schema compiles");
        prop_assert_eq!(compiled(&document).is_valid(&data), reference.is_valid(&data));
    }
}

#[test]
fn published_schemas_have_no_issues() {
    let Some(shared) = crate::common::shared() else { return };
    let mut folders = vec![shared.join("data/iglu-central/schemas")];
    let mut count = 0;
    let mut faulty = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.parent().is_some_and(|p| p.ends_with("jsonschema")) {
                let text = std::fs::read_to_string(&path).expect("a file");
                let document: Value = serde_json::from_str(&text).expect("JSON");
                count += 1;
                let issues = compiled(&document).issues().to_vec();
                if !issues.is_empty() {
                    faulty.push(format!("{}: {issues:?}", path.display()));
                }
            }
        }
    }
    println!("{count} schemas of Iglu Central compiled, {} with issues", faulty.len());
    assert!(count > 500);
    assert!(faulty.len() <= 3, "{}", faulty.join("\n"));
}

#[test]
fn exponential_and_endless_schemas_end_in_bounded_time() {
    let mut definitions = Map::new();
    for n in 0..40 {
        let next = json!({"$ref": format!("#/definitions/d{}", n + 1)});
        definitions.insert(format!("d{n}"), json!({"anyOf": [{"allOf": [next, {"type": "string"}]}, next]}));
    }
    definitions.insert("d40".into(), json!({"type": "null"}));
    let exponential = compiled(&json!({"$ref": "#/definitions/d0", "definitions": definitions}));
    let start = std::time::Instant::now();
    assert!(!exponential.is_valid(&json!(1)));
    let reports = exponential.validate(&json!(1)).unwrap_err();
    assert!(reports.len() <= 1_000);
    let endless = compiled(&json!({"properties": {"a": {"$ref": "#/definitions/l"}},
        "definitions": {"l": {"allOf": [{"$ref": "#/definitions/m"}]}, "m": {"$ref": "#/definitions/l"}}}));
    assert!(endless.is_valid(&json!({})));
    assert_eq!(endless.validate(&json!({"a": 1})).unwrap_err()[0].path, "$");
    // In-place nesting times the data's depth: refused before the stack ends.
    for list in ["allOf", "anyOf", "oneOf"] {
        let body = (0..40).fold(json!({"properties": {"c": {"$ref": "#"}}}), |inner, _| json!({list: [inner]}));
        let data = (0..90).fold(json!(1), |inner, _| json!({"c": inner}));
        assert_eq!(compiled(&body).validate(&data).unwrap_err()[0].keyword, None);
    }
    let deep = (0..120).fold(json!(1), |inner, _| json!({"c": inner}));
    let recursive = compiled(&json!({"properties": {"c": {"$ref": "#"}}}));
    assert!(recursive.is_valid(&deep));
    assert!(start.elapsed().as_secs() < 60);
}
