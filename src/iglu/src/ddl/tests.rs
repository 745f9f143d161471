//! The vectors of schema-ddl-postgres.json and of the group `ddl` of postgres-loader.json, and a few tables of our own.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;

/// Vectors which we answer differently, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        "additional-properties-schema",
        "a schema under additionalProperties is no column (PostgreSQL refuses the original's empty name)",
    ),
    ("duplicate-names", "two properties with one name share one column instead of failing CREATE TABLE"),
    ("D14", "a property that vanished and returned keeps its one column instead of failing CREATE TABLE"),
    ("D15", "two properties with one name share one column instead of failing CREATE TABLE"),
    ("D16", "a schema under additionalProperties is no column: the map stays JSONB, declared properties get theirs"),
    ("D18", "of two names equal in 63 bytes the second ends in a hash instead of failing CREATE TABLE"),
];

fn vectors(file: &str) -> Option<Value> {
    let shared = std::env::var_os("SNOWMELT_SHARED").map(PathBuf::from).or_else(|| {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        Some(root.ancestors().nth(3)?.join("shared"))
    })?;
    let Ok(text) = std::fs::read_to_string(shared.join("vectors").join(file)) else {
        println!("skipped: ../shared is missing");
        return None;
    };
    Some(serde_json::from_str(&text).expect("vectors are JSON"))
}

fn squeeze(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn table(name: String, uri: String, meta: bool, schema: &str, documents: &[&Value]) -> Table {
    Table {
        schema: schema.to_owned(),
        name,
        uri,
        meta,
        columns: columns_of(documents).expect("vectors hold readable schemas"),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn report(failed: &[String], passed: usize) {
    println!("{passed} vectors passed, {} differ by choice", DIFFERENCES.len());
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

/// What a case gives, as text to compare, and what it should give.
fn run_schema_ddl(case: &Value) -> (String, String) {
    let expect = &case["expect"];
    let full_name = || {
        let model = match case.get("model") {
            Some(model) => model.as_u64().expect("a number"),
            None => text(&case["versions"][0])[..1].parse().expect("a model"),
        };
        table_name(text(&case["vendor"]), text(&case["name"]), u32::try_from(model).expect("small"))
    };
    let kind = text(&case["kind"]);
    if kind == "table_name" {
        return (full_name(), text(&expect["table"]).to_owned());
    }
    if kind == "column_name" {
        return (column_name(&[text(&case["property"])]), text(&expect["column"]).to_owned());
    }
    let documents: Vec<&Value> = case["schemas"].as_array().expect("a list").iter().collect();
    let versions = case["versions"].as_array().expect("a list");
    let uri = |version: &Value| {
        format!("iglu:{}/{}/jsonschema/{}", text(&case["vendor"]), text(&case["name"]), text(version))
    };
    let meta = case.get("meta_columns").and_then(Value::as_bool).unwrap_or(true);
    let last = versions.last().expect("a version");
    let table = table(full_name(), uri(last), meta, "atomic", &documents);
    if kind == "create" {
        let given = format!("{} {}", create_table(&table), comment_on_table(&table));
        let wanted = format!("{} {}", text(&expect["create"]), text(&expect["comment"]));
        return (squeeze(&given), squeeze(&wanted));
    }
    let from = versions.iter().position(|version| version == &case["from"]).expect("from is listed");
    let existing: Vec<ExistingColumn> = table
        .meta_columns()
        .iter()
        .map(|(name, column_type)| existing(name, *column_type, true))
        .chain(
            columns_of(&documents[..=from])
                .expect("readable")
                .into_iter()
                .map(|column| existing(&column.stored, column.column_type, column.nullable)),
        )
        .collect();
    // The vectors have no IF NOT EXISTS, the loader's specification recommends it.
    let given = alter_table(&table, &existing, true).join(";").replace(" IF NOT EXISTS", "");
    let wanted: Vec<&str> = expect["statements"].as_array().expect("a list").iter().map(text).collect();
    (format!("{given};{}", comment_on_table(&table)), format!("{};{}", wanted.join(";"), text(&expect["comment"])))
}

fn existing(name: &str, column_type: ColumnType, nullable: bool) -> ExistingColumn {
    ExistingColumn { name: name.to_owned(), column_type: Some(column_type), nullable }
}

#[test]
fn schema_ddl_vectors() {
    let Some(file) = vectors("schema-ddl-postgres.json") else {
        return;
    };
    let mut failed = Vec::new();
    let mut passed = 0;
    for case in file["cases"].as_array().expect("a list") {
        let id = text(&case["id"]);
        let (given, wanted) = run_schema_ddl(case);
        let chosen = DIFFERENCES.iter().any(|(case, _)| *case == id);
        match (given == wanted, chosen) {
            (true, false) => passed += 1,
            (false, false) => failed.push(format!("{id}\n  given  {given}\n  wanted {wanted}")),
            (true, true) => failed.push(format!("{id} is listed as a difference but agrees")),
            (false, true) => println!("{id} differs by choice: {given}"),
        }
    }
    report(&failed, passed);
}

#[test]
fn postgres_loader_ddl_vectors() {
    let Some(file) = vectors("postgres-loader.json") else {
        return;
    };
    let mut failed = Vec::new();
    let mut passed = 0;
    for case in file["vectors"].as_array().expect("a list") {
        let (id, given, expect) = (text(&case["id"]), &case["given"], &case["expect"]);
        let name_of = |uri: &str| {
            let parts: Vec<&str> = uri.trim_start_matches("iglu:").split('/').collect();
            let model = parts[3].split('-').next().expect("a model").parse().expect("a number");
            table_name(parts[0], parts[1], model)
        };
        let (result, wanted) = match text(&case["group"]) {
            "table-name" => {
                let name = name_of(text(&given["schema_uri"]));
                let stored = expect.get("stored_as").unwrap_or(&expect["table"]);
                (
                    format!("{name} {}", stored_name(&name, |_| false)),
                    format!("{} {}", text(&expect["table"]), text(stored)),
                )
            }
            "ddl" => {
                let list = given["schema_list"].as_array().expect("a list");
                let uri = text(&list.last().expect("a schema")["uri"]);
                let documents: Vec<&Value> = list.iter().map(|entry| &entry["schema"]).collect();
                let meta = given["purpose"] == "ENRICHED_EVENTS";
                let schema = text(&given["db_schema"]);
                let table = table(name_of(uri), uri.to_owned(), meta, schema, &documents);
                (
                    squeeze(&format!("{} {}", create_table(&table), comment_on_table(&table))),
                    squeeze(&format!("{} {}", text(&expect["create_table"]), text(&expect["comment_sql"]))),
                )
            }
            _ => continue,
        };
        let chosen = DIFFERENCES.iter().any(|(case, _)| *case == id);
        match (result == wanted, chosen) {
            (true, false) => passed += 1,
            (false, false) => failed.push(format!("{id}\n  given  {result}\n  wanted {wanted}")),
            (true, true) => failed.push(format!("{id} is listed as a difference but agrees")),
            (false, true) => println!("{id} differs by choice: {result}"),
        }
    }
    report(&failed, passed);
}

#[test]
fn later_versions_lengthen_relax_and_add_but_never_refuse() {
    let first = json!({"type": "object", "required": ["a", "n", "gone"], "properties": {
        "a": {"type": "string", "maxLength": 10},
        "n": {"type": "integer", "maximum": 9},
        "gone": {"type": "boolean"},
    }});
    let second = json!({"type": "object", "required": ["n", "late"], "properties": {
        "a": {"type": "string", "maxLength": 200},
        "n": {"type": "integer"},
        "late": {"type": "string"},
    }});
    let before = table("t_1".into(), "iglu:v/t/jsonschema/1-0-0".into(), false, "s", &[&first]);
    let after = table("t_1".into(), "iglu:v/t/jsonschema/1-0-1".into(), false, "s", &[&first, &second]);
    let there: Vec<ExistingColumn> =
        before.columns.iter().map(|column| existing(&column.stored, column.column_type, column.nullable)).collect();
    assert!(alter_table(&before, &there, true).is_empty());
    assert_eq!(
        alter_table(&after, &there, true),
        [
            "ALTER TABLE s.t_1 ALTER COLUMN \"a\" DROP NOT NULL",
            "ALTER TABLE s.t_1 ALTER COLUMN \"a\" TYPE VARCHAR(200)",
            "ALTER TABLE s.t_1 ALTER COLUMN \"gone\" DROP NOT NULL",
            "ALTER TABLE s.t_1 ADD COLUMN IF NOT EXISTS \"late\" VARCHAR(4096) NULL",
        ]
    );
    let empty = alter_table(&after, &there, false);
    assert!(empty.contains(&"ALTER TABLE s.t_1 ALTER COLUMN \"n\" TYPE BIGINT".to_owned()), "{empty:?}");
}

#[test]
fn children_of_a_parent_that_may_be_null_need_null() {
    let schema = json!({"type": "object", "required": ["p"], "properties": {
        "p": {"type": ["object", "null"], "required": ["x"], "properties": {"x": {"type": "string"}}}}});
    let columns = columns_of(&[&schema]).expect("readable");
    assert_eq!(columns[0].name, "p.x");
    assert!(!columns[0].nullable && columns[0].needs_null);
}

#[test]
fn properties_that_share_a_name_share_a_column() {
    let schema = json!({"type": "object", "properties": {"userId": {"type": "string"}, "user_id": {"type": "string"}}});
    let columns = columns_of(&[&schema]).expect("readable");
    assert_eq!(columns.len(), 1);
    assert_eq!(columns[0].paths.len(), 2);
}

#[test]
fn a_keyword_of_the_wrong_kind_makes_a_schema_unusable() {
    for (schema, keyword) in [
        (json!({"type": "strin"}), "type"),
        (json!({"properties": {"a": {"maxLength": "10"}}}), "maxLength"),
        (json!({"properties": []}), "properties"),
        (json!({"required": [1]}), "required"),
        (json!({"enum": "a"}), "enum"),
    ] {
        match columns_of(&[&schema]) {
            Err(DdlError::WrongKind { keyword: named, .. }) => assert_eq!(named, keyword),
            other => panic!("{schema}: {other:?}"),
        }
    }
    assert!(matches!(columns_of(&[&json!([])]), Err(DdlError::NoSchema { .. })));
}

#[test]
fn a_table_is_printed_from_a_list_of_versions() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "boolean"}}});
    let key: crate::SchemaKey = "iglu:com.acme/ad-click/jsonschema/2-0-1".parse().expect("a key");
    let table = Table::of("order", &[(key, &schema)], false).expect("readable");
    assert_eq!(create_table(&table), "CREATE TABLE \"order\".com_acme_ad_click_2 (\n\"a\" BOOLEAN NULL\n)");
    assert_eq!(
        comment_on_table(&table),
        "COMMENT ON TABLE \"order\".com_acme_ad_click_2 IS 'iglu:com.acme/ad-click/jsonschema/2-0-1'"
    );
    assert_eq!(Table::of("atomic", &[], true), Err(DdlError::NoVersions));
}
