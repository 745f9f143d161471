//! The vectors of postgres-loader.json on a real server. Groups `ddl` and `table-name` are run where the DDL is, in
//! snowmelt-iglu; group `config` belongs to whoever reads configurations.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use snowmelt_warehouse::{BadRow, CollectBad, Warehouse};

use crate::support::*;

/// Vectors that are answered differently, and why. Each is still run: what we do instead is checked in its place.
const DIFFERENCES: &[(&str, &str)] = &[
    ("B11", "a DATE is stored, as the vector recommends"),
    ("B16", "an illegal UUID is a bad row, as the vector recommends; the original dies"),
    ("C23", "an illegal UUID is a mismatch, as the vector recommends; the original dies"),
    ("C28", "a DATE is stored, as the vector recommends"),
    ("C40", "a time with an offset is converted to UTC, as the vector recommends"),
    ("J10", "the parser's own words behind \"ParsingFailure: \", as the vector allows"),
    ("J14", "a text too long for the table of a bad row is cut, as the vector recommends"),
    ("J15", "a DATE is stored, as B11 recommends, so that the record is no bad row"),
    ("M01", "tables are looked at when their first entity arrives; one without comment is taken over, not ignored"),
    ("M02", "the migration which the vector recommends; the original's is void"),
    ("M03", "the migration which the vector recommends; the original's is broken"),
];

const RUN_ELSEWHERE: [&str; 3] = ["ddl", "table-name", "config"];

struct Run {
    database: Database,
    file: Value,
    shared: PathBuf,
    failed: Vec<String>,
    passed: usize,
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn table_of(uri: &str) -> String {
    let key: snowmelt_iglu::SchemaKey = uri.parse().unwrap();
    snowmelt_iglu::ddl::table_name(key.vendor(), key.name(), key.version().model)
}

impl Run {
    async fn start(database: &str) -> Option<Self> {
        let shared = shared_folder()?;
        let file = std::fs::read_to_string(shared.join("vectors/postgres-loader.json")).unwrap();
        let file = serde_json::from_str(&file).unwrap();
        Some(Self { database: Database::create(database).await, file, shared, failed: Vec::new(), passed: 0 })
    }

    fn group(&self, names: &[&str]) -> Vec<Value> {
        let vectors = list(&self.file["vectors"]).iter();
        vectors.filter(|vector| names.contains(&text(&vector["group"]))).cloned().collect()
    }

    fn document(&self, uri: &str) -> Value {
        if let Some(document) = self.file["registry"].get(uri) {
            return document.clone();
        }
        let path = self.shared.join("data/iglu-central/schemas").join(uri.trim_start_matches("iglu:"));
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn schemas(&self, list: &[Value]) -> Arc<Schemas> {
        let schemas = Schemas::default();
        for entry in list {
            match entry {
                Value::String(uri) => schemas.add(uri, self.document(uri)),
                entry => schemas.add(text(&entry["uri"]), entry["schema"].clone()),
            }
        }
        Arc::new(schemas)
    }

    async fn warehouse(&self, id: &str) -> Warehouse {
        self.database.warehouse(&id.to_lowercase()).await
    }

    fn check(&mut self, id: &str, what: &str, given: &Value, wanted: &Value) {
        if given == wanted {
            self.passed += 1;
        } else {
            self.failed.push(format!("{id} {what}\n  given  {given}\n  wanted {wanted}"));
        }
    }

    fn report(self, cases: usize) {
        let Self { failed, passed, .. } = self;
        println!("{cases} vectors, {passed} checks passed, {} failed", failed.len());
        assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
    }
}

/// Loads records one by one; gives the bad rows.
async fn load_all(warehouse: &Warehouse, schemas: &Arc<Schemas>, lines: &[&str]) -> Vec<BadRow> {
    let loader = event_loader(warehouse, schemas).await;
    let lines = Lines::new(1, lines.iter().map(|line| (*line).to_owned()));
    load_events(&loader, &lines, warehouse.schema()).await.unwrap().1
}

async fn load_json(warehouse: &Warehouse, schemas: &Arc<Schemas>, record: &str) -> Vec<BadRow> {
    let loader = bad_row_loader(warehouse, schemas);
    let lines = Lines::new(1, [record.to_owned()]);
    let bad = CollectBad::default();
    loader.load(&lines.records(), &progress_key(warehouse.schema()), lines.last(), &bad).await.unwrap();
    bad.take()
}

fn only_line(bad: &[BadRow]) -> String {
    match bad {
        [one] => one.line.clone(),
        other => format!("{} bad rows", other.len()),
    }
}

fn without_meta(row: &Value) -> Value {
    let mut row = row.as_object().cloned().unwrap_or_default();
    row.retain(|name, _| !name.starts_with("schema_") && !name.starts_with("root_"));
    Value::Object(row)
}

#[tokio::test]
async fn atomic_and_entity_vectors() {
    let Some(mut run) = Run::start("vectors_rows").await else { return };
    let vectors = run.group(&["atomic", "entities"]);
    for vector in &vectors {
        let (id, given, expect) = (text(&vector["id"]), &vector["given"], &vector["expect"]);
        let warehouse = run.warehouse(id).await;
        let schemas = run.schemas(list(&given["registry"]));
        let lines: Vec<&str> = list(&given["tsv_lines"]).iter().map(text).collect();
        let bad = load_all(&warehouse, &schemas, &lines).await;
        run.check(id, "bad rows", &json!(bad.iter().map(|row| &row.line).collect::<Vec<_>>()), &json!([]));
        for (table, wanted) in expect["rows"].as_object().unwrap() {
            run.check(id, table, &Value::Array(rows(&warehouse, table).await), wanted);
        }
        if let Some(wanted) = expect.get("events_rows") {
            run.check(id, "rows of events", &json!(rows(&warehouse, "events").await.len()), wanted);
        }
        if let Some(created) = expect.get("tables_created") {
            let mut created: Vec<&str> = list(created).iter().map(text).chain(["events"]).collect();
            created.sort_unstable();
            run.check(id, "tables", &json!(tables(&warehouse).await), &json!(created));
        }
        for (table, wanted) in expect.get("comments").and_then(Value::as_object).into_iter().flatten() {
            run.check(id, "comment", &json!(comment(&warehouse, table).await), wanted);
        }
    }
    run.report(vectors.len());
}

#[tokio::test]
async fn bad_row_vectors() {
    let Some(mut run) = Run::start("vectors_bad").await else { return };
    let vectors = run.group(&["bad-rows"]);
    for vector in &vectors {
        let (id, given, expect) = (text(&vector["id"]), &vector["given"], &vector["expect"]);
        let warehouse = run.warehouse(id).await;
        // Where a vector names no registry, its entity is known to none.
        let mut registered: Vec<Value> = list(&given["registry"]).to_vec();
        if id == "B16" {
            registered.push(json!("iglu:com.corner/visit/jsonschema/1-0-0"));
        }
        let schemas = run.schemas(&registered);
        let bad = load_all(&warehouse, &schemas, &[text(&given["line"])]).await;
        let line = only_line(&bad);
        let parsed: Value = serde_json::from_str(&line).unwrap_or_default();
        let recommended = expect.get("recommended");
        if let Some(stored) = recommended.and_then(|recommended| recommended.get("rows")) {
            for (table, wanted) in stored.as_object().unwrap() {
                let given: Vec<Value> = rows(&warehouse, table).await.iter().map(without_meta).collect();
                run.check(id, table, &Value::Array(given), wanted);
            }
            continue;
        }
        if let Some(wanted) = recommended.and_then(|recommended| recommended.get("bad_row")) {
            run.check(id, "bad row", &parsed, wanted);
        }
        if let Some(wanted) = expect.get("bad_row") {
            run.check(id, "bad row", &parsed, wanted);
        }
        if let Some(wanted) = expect.get("bad_row_text") {
            run.check(id, "text of the bad row", &json!(line), wanted);
        }
        if let Some(wanted) = expect.get("bad_row_schema") {
            run.check(id, "schema of the bad row", &parsed["schema"], wanted);
            let starts = text(&parsed["data"]["failure"]).starts_with(text(&expect["failure_starts_with"]));
            run.check(id, "start of the failure", &json!(starts), &json!(true));
        }
        run.check(id, "rows written", &json!(count(&warehouse, "events").await), &json!(0));
    }
    run.report(vectors.len());
}

#[tokio::test]
async fn json_purpose_vectors() {
    let Some(mut run) = Run::start("vectors_json").await else { return };
    let vectors = run.group(&["json-purpose", "json-purpose-bad"]);
    for vector in &vectors {
        let (id, given, expect) = (text(&vector["id"]), &vector["given"], &vector["expect"]);
        let warehouse = run.warehouse(id).await;
        let mut registered: Vec<Value> = list(&given["schema_list"]).to_vec();
        if registered.is_empty() {
            registered.push(json!("iglu:com.corner/day/jsonschema/1-0-0"));
            registered.push(json!("iglu:com.snowplowanalytics.snowplow.badrows/generic_error/jsonschema/1-0-0"));
        }
        let schemas = run.schemas(&registered);
        let bad = load_json(&warehouse, &schemas, text(&given["record"])).await;
        if id == "J15" {
            run.check(id, "row", &json!(rows(&warehouse, "com_corner_day_1").await), &json!([{"day": "2024-03-05"}]));
            continue;
        }
        if id == "J14" {
            let table = "com_snowplowanalytics_snowplow_badrows_generic_error_1";
            let payload = rows(&warehouse, table).await[0]["payload"].clone();
            run.check(id, "payload", &payload, &json!("x".repeat(4096)));
            continue;
        }
        if let Some(wanted) = expect.get("bad_row_text") {
            let (mut line, mut wanted) = (only_line(&bad), text(wanted).to_owned());
            if id == "J10" {
                for text in [&mut line, &mut wanted] {
                    let (start, rest) = text.split_once("ParsingFailure: ").unwrap();
                    *text = format!("{start}{}", rest.split_once("\"]").unwrap().1);
                }
            }
            run.check(id, "text of the bad row", &json!(line), &json!(wanted));
            continue;
        }
        run.check(id, "bad rows", &json!(bad.len()), &json!(0));
        let table = text(&expect["table"]);
        let stored = &table[..table.len().min(63)];
        run.check(id, "comment", &json!(comment(&warehouse, stored).await), &expect["comment"]);
        run.check(id, "columns", &json!(columns(&warehouse, stored).await.len()), &expect["column_count"]);
        for (table, wanted) in expect["rows"].as_object().unwrap() {
            let table = &table[..table.len().min(63)];
            run.check(id, table, &Value::Array(rows(&warehouse, table).await), wanted);
        }
    }
    run.report(vectors.len());
}

/// A schema whose property `f` gets this column type.
fn schema_for(column_type: &str) -> Value {
    let length = || column_type.split(['(', ')']).nth(1).unwrap().parse::<u32>().unwrap();
    let property = match column_type.split('(').next().unwrap() {
        "VARCHAR" => json!({"type": "string", "maxLength": length()}),
        "CHAR" => json!({"type": "string", "minLength": length(), "maxLength": length()}),
        "INTEGER" => json!({"type": "integer", "maximum": 9}),
        "BIGINT" => json!({"type": "integer"}),
        "DOUBLE PRECISION" => json!({"type": "number"}),
        "BOOLEAN" => json!({"type": "boolean"}),
        "UUID" => json!({"type": "string", "format": "uuid"}),
        "TIMESTAMP" => json!({"type": "string", "format": "date-time"}),
        "DATE" => json!({"type": "string", "format": "date"}),
        _ => json!({"type": ["string", "array"]}),
    };
    json!({"type": "object", "properties": {"f": property}})
}

#[tokio::test]
async fn cast_vectors() {
    let Some(mut run) = Run::start("vectors_cast").await else { return };
    let vectors = run.group(&["cast"]);
    let warehouse = run.warehouse("casts").await;
    for vector in &vectors {
        let (id, given, expect) = (text(&vector["id"]), &vector["given"], &vector["expect"]);
        let uri = format!("iglu:com.corner/cast_{}/jsonschema/1-0-0", id.to_lowercase());
        let schemas = Schemas::of(&[(&uri, schema_for(text(&given["type"])))]);
        let loader = event_loader(&warehouse, &schemas).await;
        let line = event(&[("contexts", &contexts(&[(&uri, json!({"f": given["json"]}))]))]);
        let (_, bad) = load_events(&loader, &Lines::new(1, [line]), id).await.unwrap();
        let line: Value = bad.first().map(|row| serde_json::from_str(&row.line).unwrap()).unwrap_or_default();
        let said = &line["data"]["failure"];
        let stored = rows(&warehouse, &table_of(&uri)).await.first().map(|row| row["f"].clone()).unwrap_or_default();
        match id {
            "C23" => {
                let wanted = json!("Invalid type UUID for value Some(\"nope\")");
                run.check(id, "mismatch", &said[0]["expected"], &wanted);
            }
            "C28" => run.check(id, "stored", &stored, &given["json"]),
            "C40" => run.check(id, "stored", &stored, &json!("2024-03-05T09:15:30")),
            _ => {
                if let Some(wanted) = expect.get("error") {
                    run.check(id, "mismatch", &said[0]["expected"], wanted);
                } else if let Some(wanted) = expect.get("postgres_error") {
                    run.check(id, "refusal", said, &json!(format!("ERROR: {}", text(wanted))));
                } else {
                    run.check(id, "stored", &stored, &expect["stored"]);
                }
            }
        }
    }
    run.report(vectors.len());
}

fn entity_line(uri: &str) -> String {
    let data = json!({"targetUrl": "/", "a": "x", "b": "y"});
    event(&[("contexts", &contexts(&[(uri, data)]))])
}

#[tokio::test]
async fn state_vectors() {
    let Some(mut run) = Run::start("vectors_state").await else { return };
    let vectors = run.group(&["state"]);
    for vector in &vectors {
        let (id, given, expect) = (text(&vector["id"]), &vector["given"], &vector["expect"]);
        let warehouse = run.warehouse(id).await;
        match id {
            "M01" => run_m01(&mut run, &warehouse, given).await,
            "M05" => {
                let schemas = run.schemas(list(&given["registry_list"]));
                let bad = load_all(&warehouse, &schemas, &[&entity_line(text(&given["incoming"]))]).await;
                run.check(id, "bad rows", &json!(bad.len()), &json!(0));
                let row = &rows(&warehouse, "com_corner_link_click_1").await[0];
                run.check(id, "version", &row["schema_version"], &json!("1-0-1"));
            }
            _ => {
                let listed = given.get("schema_list").or_else(|| given.get("registry_list")).map(list).unwrap();
                // The table as the first version made it.
                let first = run.schemas(&listed[..1]);
                load_all(&warehouse, &first, &[&entity_line(text(&given["comment"]))]).await;
                let table = text(&given["table"]);
                run.check(id, "comment before", &json!(comment(&warehouse, table).await), &given["comment"]);
                let loader = event_loader(&warehouse, &run.schemas(listed)).await;
                let lines = Lines::new(1, [entity_line(text(&given["incoming"]))]);
                let (_, bad) = load_events(&loader, &lines, &format!("{id} migrated")).await.unwrap();
                run.check(id, "bad rows", &json!(bad.len()), &json!(0));
                let recommended = &expect["recommended"];
                let wanted = match recommended.get("columns_after") {
                    Some(columns) => list(columns).iter().map(|name| text(name).to_owned()).collect(),
                    None => added_columns(recommended),
                };
                let all = columns(&warehouse, table).await;
                let last = &all[all.len() - wanted.len()..];
                run.check(id, "last columns", &json!(last), &json!(wanted));
                let newest = listed.last().map(|last| last.get("uri").unwrap_or(last)).unwrap();
                run.check(id, "comment after", &json!(comment(&warehouse, table).await), newest);
            }
        }
    }
    run.report(vectors.len());
}

fn added_columns(recommended: &Value) -> Vec<String> {
    let statements = list(&recommended["statements"]).iter().map(text);
    statements.filter(|sql| sql.contains("ADD COLUMN")).map(|sql| sql.split('"').nth(1).unwrap().to_owned()).collect()
}

async fn run_m01(run: &mut Run, warehouse: &Warehouse, given: &Value) {
    execute(
        warehouse,
        "CREATE TABLE m01.com_corner_link_click_1 (\"target_url\" VARCHAR(1024) NOT NULL); \
         COMMENT ON TABLE m01.com_corner_link_click_1 IS 'iglu:com.corner/link_click/jsonschema/1-0-0'; \
         CREATE TABLE m01.com_corner_page_flags_1 (\"a\" BOOLEAN NULL); \
         CREATE TABLE m01.my_notes (note TEXT); COMMENT ON TABLE m01.my_notes IS 'hello'",
    )
    .await;
    let mut registered = list(&given["registry_list"]["com.corner/link_click/1"]).to_vec();
    registered.push(json!("iglu:com.corner/page_flags/jsonschema/1-0-0"));
    let schemas = run.schemas(&registered);
    let lines =
        ["link_click/jsonschema/1-0-0", "link_click/jsonschema/1-0-1", "page_flags/jsonschema/1-0-0"].map(|rest| {
            match rest {
                "page_flags/jsonschema/1-0-0" => event(&[(
                    "contexts",
                    &contexts(&[("iglu:com.corner/page_flags/jsonschema/1-0-0", json!({"a": true, "b": "x"}))]),
                )]),
                rest => entity_line(&format!("iglu:com.corner/{rest}")),
            }
        });
    let bad = load_all(warehouse, &schemas, &lines.each_ref().map(String::as_str)).await;
    run.check("M01", "bad rows", &json!(bad.iter().map(|row| &row.line).collect::<Vec<_>>()), &json!([]));
    run.check("M01", "match and outdated", &json!(count(warehouse, "com_corner_link_click_1").await), &json!(2));
    run.check("M01", "without comment", &json!(count(warehouse, "com_corner_page_flags_1").await), &json!(1));
    run.check("M01", "foreign comment", &json!(comment(warehouse, "my_notes").await), &json!("hello"));
}

#[test]
fn every_vector_belongs_to_a_test() {
    let Some(shared) = shared_folder() else { return };
    let file = std::fs::read_to_string(Path::new(&shared).join("vectors/postgres-loader.json")).unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    let here =
        ["atomic", "entities", "bad-rows", "json-purpose", "json-purpose-bad", "cast", "state"].map(str::to_owned);
    let vectors = list(&file["vectors"]);
    for vector in vectors {
        let group = text(&vector["group"]);
        assert!(here.iter().any(|name| name == group) || RUN_ELSEWHERE.contains(&group), "{group}");
    }
    let squeeze =
        |sql: &str| sql.split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(").replace(" )", ")");
    let ours = snowmelt_warehouse::create_events("atomic").replace(" IF NOT EXISTS", "");
    assert_eq!(squeeze(&ours), squeeze(text(&file["events_table_ddl"])));
    for (id, reason) in DIFFERENCES {
        assert!(vectors.iter().any(|vector| vector["id"] == *id), "{id}");
        println!("{id} differs by choice: {reason}");
    }
}
