//! The vectors of schema-ddl-postgres.json through the loader on a real server: what its tables are then, says the catalogue.
//! Statements and names as texts are compared where the DDL is, in snowmelt-iglu.

use std::sync::Arc;

use serde_json::{Value, json};
use snowmelt_warehouse::Warehouse;

use crate::support::*;

/// Vectors that are answered differently, and why. Their tables are made all the same.
const DIFFERENCES: &[(&str, &str)] = &[
    ("additional-properties-schema", "a schema under additionalProperties is no column"),
    ("duplicate-names", "two properties with one name share one column instead of failing CREATE TABLE"),
    ("nested-nullable-parent", "a child of a parent that may be null is nullable, as the specification advises"),
    (
        "versions-made-optional",
        "NOT NULL is dropped when a version makes the property optional, as the specification advises",
    ),
    ("versions-widened", "a text is lengthened when a version does, as the specification advises"),
];

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Name and type of each column of a table, with whether it is NOT NULL, as the vectors write them.
async fn catalogue(warehouse: &Warehouse, table: &str) -> Vec<(String, String)> {
    let sql = "SELECT attname::text, format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' NOT NULL' ELSE ' NULL' END \
               FROM pg_attribute WHERE attrelid = ('atomic.\"' || $1 || '\"')::regclass AND attnum > 0 AND NOT attisdropped \
               ORDER BY attnum";
    let rows: Vec<(String, String)> = sqlx::query_as(sql).bind(table).fetch_all(warehouse.pool()).await.unwrap();
    let word = |written: String| {
        written
            .replace("character varying", "VARCHAR")
            .replace("character", "CHAR")
            .replace(" without time zone", "")
            .to_uppercase()
    };
    rows.into_iter().map(|(name, written)| (name, word(written))).collect()
}

/// The columns of a CREATE TABLE of the vectors, a line each.
fn columns_of(create: &str) -> Vec<(String, String)> {
    let column = |line: &str| {
        let (name, rest) = line.trim_end_matches(',').strip_prefix('"')?.split_once("\" ")?;
        Some((name.to_owned(), rest.to_owned()))
    };
    create.lines().filter_map(column).collect()
}

/// Loads an event with an entity of this version, whatever becomes of the event: its table is ready then.
async fn load_one(warehouse: &Warehouse, schemas: &Arc<Schemas>, uri: &str, sequence: u64, shard: &str) {
    let loader = event_loader(warehouse, schemas).await;
    let line = event(&[("contexts", &contexts(&[(uri, json!({}))]))]);
    load_events(&loader, &Lines::new(sequence, [line]), shard).await.unwrap();
}

#[tokio::test]
async fn tables_on_the_server_are_those_of_the_vectors() {
    let Some(shared) = shared_folder() else { return };
    let file = std::fs::read_to_string(shared.join("vectors/schema-ddl-postgres.json")).unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    let database = Database::create("ddl_vectors").await;
    let warehouse = database.warehouse("atomic").await;
    let (mut failed, mut created, mut migrated) = (Vec::new(), 0, 0);
    for case in file["cases"].as_array().unwrap() {
        let (id, kind, expect) = (text(&case["id"]), text(&case["kind"]), &case["expect"]);
        if !matches!(kind, "create" | "migrate") {
            continue;
        }
        let uri = |version: &Value| {
            format!("iglu:{}/{}/jsonschema/{}", text(&case["vendor"]), text(&case["name"]), text(version))
        };
        let schemas = Arc::new(Schemas::default());
        let mut versions = case["versions"].as_array().unwrap().iter().zip(case["schemas"].as_array().unwrap());
        let last = |version: &Value| snowmelt_iglu::SchemaKey::clone(&uri(version).parse().unwrap());
        if kind == "create" {
            versions.by_ref().for_each(|(version, schema)| schemas.add(&uri(version), schema.clone()));
            let newest = case["versions"].as_array().unwrap().last().unwrap();
            load_one(&warehouse, &schemas, &uri(newest), 1, id).await;
            let key = last(newest);
            let table = snowmelt_iglu::ddl::table_name(key.vendor(), key.name(), key.version().model);
            let found = catalogue(&warehouse, &table[..table.len().min(63)]).await;
            let differs = DIFFERENCES.iter().any(|(different, _)| *different == id);
            let wanted = columns_of(text(&expect["create"]));
            if found != wanted && !differs {
                failed.push(format!("{id}\n  given  {found:?}\n  wanted {wanted:?}"));
            }
            created += 1;
            execute(&warehouse, &format!("DROP TABLE atomic.\"{}\"", &table[..table.len().min(63)])).await;
        } else {
            for (version, schema) in versions.by_ref() {
                schemas.add(&uri(version), schema.clone());
                if *version == case["from"] {
                    break;
                }
            }
            load_one(&warehouse, &schemas, &uri(&case["from"]), 1, id).await;
            versions.by_ref().for_each(|(version, schema)| schemas.add(&uri(version), schema.clone()));
            load_one(&warehouse, &schemas, &uri(&case["to"]), 2, id).await;
            let key = last(&case["to"]);
            let table = snowmelt_iglu::ddl::table_name(key.vendor(), key.name(), key.version().model);
            let found = catalogue(&warehouse, &table).await;
            let added = expect["added"].as_array().unwrap();
            let wanted: Vec<(String, String)> = added
                .iter()
                .map(|column| (text(&column["name"]).to_owned(), format!("{} NULL", text(&column["type"]))))
                .collect();
            let last = &found[found.len() - wanted.len()..];
            let comment = comment(&warehouse, &table).await;
            if last != wanted || comment.as_deref() != Some(uri(&case["to"]).as_str()) {
                failed.push(format!("{id}\n  given  {last:?} {comment:?}\n  wanted {wanted:?}"));
            }
            migrated += 1;
            execute(&warehouse, &format!("DROP TABLE atomic.\"{table}\"")).await;
        }
    }
    println!("{created} tables created and {migrated} migrated, {} differ by choice", DIFFERENCES.len());
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}
