//! From checked documents to the plan: defaults filled in, and what only the whole can tell.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::aws;
use super::model::{
    Backend, BatchLimits, Collect, Definition, Enrich, Gather, Limits, Load, LoadSink, Plan, Postgres, Purpose, Source,
    Start, Tables, Target, Work,
};
use super::objects::objects;
use super::problem::Problem;
use super::registry::registry;
use super::units;
use super::verify::{beside, read_bytes};

/// Shards of a stream that no `[[stream]]` names.
const DEFAULT_SHARDS: u32 = 1;

/// One table of a checked document; getters give what is written or nothing.
pub(super) struct Table<'a> {
    file: &'a Path,
    path: String,
    values: Option<&'a Map<String, Value>>,
}

impl<'a> Table<'a> {
    fn of(file: &'a Path, document: &'a Map<String, Value>, section: &str) -> Self {
        Self { file, path: section.to_owned(), values: document.get(section).and_then(Value::as_object) }
    }

    fn list(file: &'a Path, document: &'a Map<String, Value>, section: &str) -> Vec<Self> {
        let tables = document.get(section).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let table = |(index, value): (usize, &'a Value)| Self {
            file,
            path: format!("{section}[{index}]"),
            values: value.as_object(),
        };
        tables.iter().enumerate().map(table).collect()
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.values?.get(name)
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.as_str().map(str::to_owned)
    }

    /// A text that the check has seen to be there.
    pub(super) fn given(&self, name: &str) -> String {
        self.text(name).unwrap_or_default()
    }

    pub(super) fn int(&self, name: &str, default: usize) -> usize {
        self.get(name).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok()).unwrap_or(default)
    }

    pub(super) fn bool(&self, name: &str, default: bool) -> bool {
        self.get(name).and_then(Value::as_bool).unwrap_or(default)
    }

    pub(super) fn bytes(&self, name: &str, default: usize) -> usize {
        self.get(name).and_then(read_bytes).unwrap_or(default)
    }

    pub(super) fn duration(&self, name: &str, default: Duration) -> Duration {
        self.get(name).and_then(Value::as_str).and_then(units::duration).unwrap_or(default)
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(|path| beside(self.file, &path))
    }

    pub(super) fn address(&self, name: &str) -> Option<SocketAddr> {
        self.text(name)?.to_socket_addrs().ok()?.next()
    }

    /// A problem whose value is not shown.
    pub(super) fn hidden_problem(&self, name: &str, message: impl Into<String>) -> Problem {
        Problem::key(self.file, format!("{}.{name}", self.path), message)
    }

    pub(super) fn problem(&self, name: &str, message: impl Into<String>) -> Problem {
        let problem = Problem::key(self.file, format!("{}.{name}", self.path), message);
        match self.get(name) {
            Some(value) => problem.with_value(value),
            None => problem,
        }
    }
}

/// The plan that the documents make together; the first files are those of the command line.
pub fn plan(documents: &[(PathBuf, Map<String, Value>)]) -> Result<Plan, Vec<Problem>> {
    let mut problems = Vec::new();
    let empty = Map::new();
    let (backend_file, backend_document) = documents
        .iter()
        .find(|(_, document)| document.contains_key("backend"))
        .map_or((Path::new("."), &empty), |(file, document)| (file.as_path(), document));
    let backend = backend(backend_file, backend_document, &mut problems);
    let mut definitions: Vec<Definition> = Vec::new();
    for (file, document) in documents {
        let Some(definition) = definition(file, document, &backend, &mut problems) else { continue };
        if let Some(twin) = definitions.iter().find(|other| other.name == definition.name) {
            let message = format!("{} has the same name; each application needs its own", twin.file.display());
            problems.push(Problem::key(file, "name", message).with_value(json!(definition.name)));
        }
        definitions.push(definition);
    }
    if definitions.is_empty() && problems.is_empty() {
        let file = documents.first().map_or_else(PathBuf::new, |(file, _)| file.clone());
        problems.push(Problem::file(
            file,
            "defines no pipeline; write [collector], or [source] with [enrich] or [[sink]], or include = [...]",
        ));
    }
    let streams = streams(documents, &definitions);
    if problems.is_empty() { Ok(Plan { backend, streams, definitions }) } else { Err(problems) }
}

fn backend(file: &Path, document: &Map<String, Value>, problems: &mut Vec<Problem>) -> Backend {
    let table = &Table::of(file, document, "backend");
    let aws =
        (table.text("kind").as_deref() == Some("aws")).then(|| aws::aws(&Table::of(file, document, "aws"), problems));
    if aws.is_none() && document.contains_key("aws") {
        problems.push(Problem::key(file, "aws", "needs kind = \"aws\" in [backend]"));
    }
    let port = u16::try_from(table.int("postgres_port", 0)).ok().filter(|port| *port != 0);
    let postgres = match table.text("postgres").as_deref() {
        None | Some("private") => Postgres::Private(port),
        Some(url) if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
            Postgres::Url(url.to_owned())
        }
        Some(_) => {
            // The value may hold a password: it is not shown.
            problems.push(Problem::key(table.file, "backend.postgres", "has to be `private` or a postgres:// URL"));
            Postgres::Private(None)
        }
    };
    Backend {
        aws,
        data_dir: PathBuf::from(table.text("data_dir").unwrap_or_else(|| ".data".to_owned())),
        fsync: table.bool("fsync", true),
        retention: table.duration("retention", Duration::from_secs(24 * 3600)),
        postgres,
        schema: table.text("schema").unwrap_or_else(|| "atomic".to_owned()),
        operator: table.address("operator").unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8090))),
        operator_token_file: table.path("operator_token_file"),
    }
}

/// Streams with their shards: those of `[[stream]]`, then those that definitions name.
fn streams(documents: &[(PathBuf, Map<String, Value>)], definitions: &[Definition]) -> Vec<(String, u32)> {
    let mut streams: Vec<(String, u32)> = documents
        .iter()
        .flat_map(|(file, document)| Table::list(file, document, "stream"))
        .map(|table| (table.given("name"), u32::try_from(table.int("shards", 1)).unwrap_or(DEFAULT_SHARDS)))
        .collect();
    for definition in definitions {
        let read = definition.source().map(|source| source.stream.as_str());
        for name in definition.writes().into_iter().chain(read) {
            if !streams.iter().any(|(known, _)| known == name) {
                streams.push((name.to_owned(), DEFAULT_SHARDS));
            }
        }
    }
    streams
}

/// The application of a file; none for a file that only includes others or chooses backends.
fn definition(
    file: &Path,
    document: &Map<String, Value>,
    backend: &Backend,
    problems: &mut Vec<Problem>,
) -> Option<Definition> {
    let has = |section: &str| document.contains_key(section);
    if !["collector", "iglu", "source", "enrich", "sink", "bad"].into_iter().any(has) {
        return None;
    }
    let before = problems.len();
    let mut complain = |key: &str, message: &str| problems.push(Problem::key(file, key, message));
    let name = document.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if name.is_empty() {
        complain("name", "is missing: the application's name, which names its lease table and its progress");
    } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        complain("name", "may have letters, digits, `-`, `_` and `.` only");
    }
    if has("collector") || has("iglu") {
        let other = has("collector").then_some("iglu");
        let read = ["source", "enrich", "sink", "bad"];
        for section in other.into_iter().chain(read).filter(|section| has(section)) {
            complain(section, "a collector or registry reads no stream; put this into a definition of its own");
        }
    } else {
        if !has("source") {
            complain("source", "is missing: [source] with the stream that is read");
        }
        if !has("sink") {
            complain("sink", "is missing: [[sink]] with what is written to");
        }
        if !has("bad") {
            complain("bad", "is missing: [bad] with the stream for what can't be processed");
        }
    }
    if problems.len() > before {
        return None;
    }
    let bad = Table::of(file, document, "bad").given("stream");
    let work = if has("collector") {
        Work::Collect(collector(&Table::of(file, document, "collector")))
    } else if has("iglu") {
        Work::Registry(registry(&Table::of(file, document, "iglu"), problems))
    } else if has("enrich") {
        Work::Enrich(enrich(file, document, bad, problems)?)
    } else {
        Work::Load(loader(file, document, bad, backend, problems)?)
    };
    Some(Definition { name, file: file.to_owned(), work, limits: limits(file, document, backend) })
}

fn collector(table: &Table<'_>) -> Collect {
    Collect {
        listen: table.address("listen").unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))),
        good: table.given("good"),
        bad: table.given("bad"),
        config: table.path("config"),
        settings: table.get("settings").cloned().unwrap_or_else(|| json!({})),
    }
}

fn source(file: &Path, document: &Map<String, Value>) -> Source {
    let table = Table::of(file, document, "source");
    Source {
        stream: table.given("stream"),
        start: table.text("start").as_deref().and_then(units::start).unwrap_or(Start::TrimHorizon),
        max_records: table.int("max_records", 1000),
        max_bytes: table.bytes("max_bytes", 2 << 20),
    }
}

fn enrich(file: &Path, document: &Map<String, Value>, bad: String, problems: &mut Vec<Problem>) -> Option<Enrich> {
    let table = Table::of(file, document, "enrich");
    let sinks = Table::list(file, document, "sink");
    let [sink] = sinks.as_slice() else {
        problems.push(Problem::key(file, "sink", "an enrich pipeline has exactly one [[sink]], of kind \"stream\""));
        return None;
    };
    if sink.given("kind") != "stream" {
        let message = "an enrich pipeline writes to a stream; load that stream by a definition of its own";
        problems.push(sink.problem("kind", message));
        return None;
    }
    let Some(good) = sink.text("stream") else {
        problems.push(sink.problem("stream", "is missing: the stream of good events"));
        return None;
    };
    let source = source(file, document);
    let bad_table = Table::of(file, document, "bad");
    let outputs = [
        (sink, "stream", "of good events"),
        (sink, "failed", "of failed events"),
        (sink, "pii", "of events about what was pseudonymised"),
        (&bad_table, "stream", "of bad rows"),
    ];
    if !own_streams(&source, &outputs, problems) {
        return None;
    }
    Some(Enrich {
        source,
        resolver: table.path("resolver").unwrap_or_default(),
        enrichments: table.path("enrichments"),
        config: table.path("config"),
        max_record_size: table.get("max_record_size").and_then(read_bytes),
        max_json_depth: table.get("max_json_depth").map(|_| table.int("max_json_depth", 50)),
        accept_invalid: table.get("accept_invalid").and_then(Value::as_bool),
        good,
        failed: sink.text("failed"),
        pii: sink.text("pii"),
        bad,
        batch: batch(sink, 4 << 20, 500, Duration::from_millis(20)),
    })
}

/// Whether the source and every output have streams of their own. A stream takes from one producer what comes from one
/// record in its order, so that nothing is stored twice: two outputs of a group in one stream would hide each other's.
fn own_streams(source: &Source, outputs: &[(&Table<'_>, &str, &'static str)], problems: &mut Vec<Problem>) -> bool {
    let mut taken = vec![(source.stream.clone(), "that is read")];
    let before = problems.len();
    for (table, key, what) in outputs {
        let Some(stream) = table.text(key) else { continue };
        match taken.iter().find(|(name, _)| *name == stream) {
            Some((_, whose)) => {
                let message = format!("is the stream {whose} already; each output needs a stream of its own");
                problems.push(table.problem(key, message));
            }
            None => taken.push((stream, what)),
        }
    }
    problems.len() == before
}

fn loader(
    file: &Path,
    document: &Map<String, Value>,
    bad: String,
    backend: &Backend,
    problems: &mut Vec<Problem>,
) -> Option<Load> {
    let before = problems.len();
    let sinks = Table::list(file, document, "sink");
    if sinks.is_empty() {
        problems.push(Problem::key(file, "sink", "is empty: write at least one [[sink]]"));
    }
    let sinks: Vec<_> = sinks.iter().filter_map(|sink| load_sink(sink, backend, problems)).collect();
    let source = source(file, document);
    (problems.len() == before).then_some(Load { source, sinks, bad })
}

fn load_sink(sink: &Table<'_>, backend: &Backend, problems: &mut Vec<Problem>) -> Option<LoadSink> {
    let kind = sink.given("kind");
    if kind == "s3" {
        let defaults = BatchLimits { max_bytes: 8 << 20, max_records: 20_000, max_age: Duration::from_secs(1) };
        let (purpose, batch, gather, objects) = objects(sink, defaults, backend.aws.as_ref(), problems)?;
        return Some(LoadSink { purpose, batch, gather, target: Target::S3(objects) });
    }
    let mut need = |name: &str, why: &str| {
        let text = sink.text(name);
        if text.is_none() {
            problems.push(sink.problem(name, format!("is missing: {why}")));
        }
        text
    };
    let purpose = need("purpose", "what the source holds: raw, enriched or bad");
    let purpose = Purpose::parse(&purpose?);
    let target = match kind.as_str() {
        "postgres" if purpose == Purpose::Raw => {
            problems.push(sink.problem("purpose", "raw payloads have no table; load enriched events or bad rows"));
            return None;
        }
        "postgres" => {
            need("resolver", "resolver.json, for the tables' columns")?;
            Target::Postgres(tables(sink, purpose, &backend.schema, problems)?)
        }
        _ => {
            problems
                .push(sink.problem("kind", "a loader writes to s3 or postgres; kind \"stream\" belongs to [enrich]"));
            return None;
        }
    };
    let batch = batch(sink, 8 << 20, 20_000, Duration::from_secs(1));
    Some(LoadSink { purpose, batch, gather: Gather::Limits(batch), target })
}

fn tables(sink: &Table<'_>, purpose: Purpose, schema: &str, problems: &mut Vec<Problem>) -> Option<Tables> {
    let database = match sink.text("database").as_deref() {
        None | Some("backend") => None,
        Some(url) if url.starts_with("postgres://") || url.starts_with("postgresql://") => Some(url.to_owned()),
        Some(_) => {
            // The value may hold a password: it is not shown.
            problems.push(sink.hidden_problem("database", "has to be `backend` or a postgres:// URL"));
            return None;
        }
    };
    let deduplicate = sink.get("deduplicate").map(|_| sink.duration("deduplicate", Duration::ZERO));
    if deduplicate.is_some() && purpose != Purpose::Enriched {
        problems.push(sink.problem("deduplicate", "is for events, which have ids"));
        return None;
    }
    if deduplicate == Some(Duration::ZERO) {
        problems.push(sink.problem("deduplicate", "has to be more than nothing; leave it out to keep all events"));
        return None;
    }
    let connections = sink.get("connections").map(|_| sink.int("connections", 1));
    Some(Tables {
        resolver: sink.path("resolver").unwrap_or_default(),
        schema: sink.text("schema").or_else(|| database.is_some().then(|| schema.to_owned())),
        database,
        connections: connections.and_then(|connections| u32::try_from(connections).ok()),
        deduplicate,
    })
}

pub(super) fn batch(table: &Table<'_>, max_bytes: usize, max_records: usize, max_age: Duration) -> BatchLimits {
    BatchLimits {
        max_bytes: table.bytes("max_bytes", max_bytes),
        max_records: table.int("max_records", max_records),
        max_age: table.duration("max_age", max_age),
    }
}

fn limits(file: &Path, document: &Map<String, Value>, backend: &Backend) -> Limits {
    // A write to DynamoDB costs money, one to a file of ours does not.
    let checkpoint_every = Duration::from_secs(if backend.aws.is_some() { 10 } else { 1 });
    let mailbox = Table::of(file, document, "mailbox");
    let supervision = Table::of(file, document, "supervision");
    Limits {
        mailbox_bytes: mailbox.bytes("bytes", 8 << 20),
        mailbox_batches: mailbox.int("batches", 4),
        max_restarts: supervision.int("max_restarts", 10),
        max_given_up: supervision.int("max_given_up", 3),
        window: supervision.duration("window", Duration::from_secs(600)),
        heartbeat: supervision.duration("heartbeat", Duration::from_secs(30)),
        drain: supervision.duration("drain", Duration::from_secs(30)),
        checkpoint_every: supervision.duration("checkpoint_every", checkpoint_every),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enrich_with(sink: &str, bad: &str) -> Result<Plan, Vec<Problem>> {
        let text = format!(
            "name = \"e\"\n[source]\nstream = \"raw\"\n[enrich]\nresolver = \"r.json\"\n[[sink]]\nkind = \"stream\"\n{sink}\n\
             [bad]\nstream = \"{bad}\"\n"
        );
        let document: Value = toml::from_str(&text).unwrap();
        plan(&[(PathBuf::from("e.toml"), document.as_object().unwrap().clone())])
    }

    #[test]
    fn an_enrich_pipeline_may_write_failed_events_and_pii_to_streams_of_their_own() {
        let plan = enrich_with("stream = \"good\"\nfailed = \"f\"\npii = \"p\"", "bad").unwrap();
        assert_eq!(plan.definitions[0].writes(), ["good", "bad", "f", "p"]);
        let names: Vec<&str> = plan.streams.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["good", "bad", "f", "p", "raw"]);
    }

    #[test]
    fn two_outputs_in_one_stream_are_refused_as_they_would_hide_each_others_records() {
        for (sink, bad, key) in [
            ("stream = \"raw\"", "bad", "sink[0].stream"),
            ("stream = \"good\"\nfailed = \"good\"", "bad", "sink[0].failed"),
            ("stream = \"good\"\nfailed = \"f\"\npii = \"f\"", "bad", "sink[0].pii"),
            ("stream = \"good\"", "good", "bad.stream"),
            ("stream = \"good\"\npii = \"bad\"", "bad", "bad.stream"),
        ] {
            let problems = enrich_with(sink, bad).unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
            let text = problems[0].to_string();
            assert!(text.starts_with(&format!("e.toml: {key} = ")) && text.contains("a stream of its own"), "{text}");
        }
    }
}
