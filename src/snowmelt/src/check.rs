//! `snowmelt check`: what definitions are, without running them.

use std::fmt::Write;
use std::path::Path;

use snowmelt_collector::CollectorConfig;
use snowmelt_runtime::Clock;

use crate::cli::CheckArgs;
use crate::definition::keys::{self, Kind};
use crate::definition::model::{
    Definition, Enrich, Limits, Load, LoadSink, ObjectPlace, Objects, Postgres, Purpose, Tables, Target, Work,
};
use crate::definition::units::show_bytes;
use crate::definition::{Originals, Overrides, Plan, load};
use crate::inventory::Inventory;
use crate::run::{enriching, settings};
use crate::trouble::Outcome;

/// Runs the command.
pub fn check(args: &CheckArgs) -> Outcome {
    if args.keys {
        print!("{}", all_keys());
    }
    let originals = Originals::read(&args.originals)?;
    if args.files.is_empty() && originals.is_empty() {
        return Ok(());
    }
    let overrides = Overrides::new(std::env::vars(), &args.sets)?;
    let plan = load(&args.files, &originals, &overrides)?;
    for note in originals.notes() {
        eprintln!("note: {note}");
    }
    for definition in &plan.definitions {
        match &definition.work {
            Work::Collect(collect) => drop(settings::collector(collect)?),
            Work::Enrich(work) => check_enrich(work)?,
            Work::Registry(registry) => registry.notes.iter().for_each(|note| eprintln!("note: {note}")),
            Work::Load(work) => check_load(work, &definition.file)?,
        }
    }
    if args.iam {
        let policy = Inventory::of(&plan).policy(true);
        println!("{policy:#}");
        return Ok(());
    }
    print!("{}", describe(&plan));
    Ok(())
}

/// Mistakes in the files that an enrich definition names; what these name in turn is not fetched.
fn check_enrich(work: &Enrich) -> Outcome {
    let config = settings::enrich_config(work)?;
    settings::resolver_with(&work.resolver, None, &Clock::system(), config.resolver)?;
    work.enrichments.as_deref().map_or(Ok(()), enriching::check)
}

/// Mistakes in what a loader is told of its objects.
fn check_load(work: &Load, file: &Path) -> Outcome {
    let mut objects = work.sinks.iter().filter(|sink| matches!(sink.target, Target::S3(_)));
    objects.try_for_each(|sink| settings::s3_loader(sink, file).map(drop))
}

/// The reference of all keys.
fn all_keys() -> String {
    let mut out = String::new();
    for section in keys::sections() {
        match section {
            "" => writeln!(out, "top level"),
            list if keys::is_list(list) => writeln!(out, "\n[[{list}]]"),
            table => writeln!(out, "\n[{table}]"),
        }
        .unwrap_or_default();
        for key in keys::keys_of(section) {
            let required = if key.required { " (required)" } else { "" };
            writeln!(out, "  {:<18} {:<26} {}{required}", key.name, kind(key.kind), key.help).unwrap_or_default();
        }
    }
    out
}

fn kind(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Int(low, high) => format!("{low} to {high}"),
        Kind::Bool => "true, false".to_owned(),
        Kind::Choice(choices) => choices.join(", "),
        Kind::Duration => "duration, \"30s\"".to_owned(),
        Kind::Bytes => "size, \"8 MiB\"".to_owned(),
        Kind::Path => "path".to_owned(),
        Kind::Paths => "paths".to_owned(),
        Kind::Address => "host:port".to_owned(),
        Kind::Start => "trim_horizon, latest, an instant".to_owned(),
        Kind::Free => "table".to_owned(),
    }
}

/// The plan for people.
pub fn describe(plan: &Plan) -> String {
    let mut out = String::new();
    let mut total = 0;
    for definition in &plan.definitions {
        let shards = definition.source().map_or(1, |source| shards_of(plan, &source.stream));
        let bound = memory(definition) * shards as usize;
        total += bound;
        line(&mut out, &format!("{} ({})", definition.name, definition.file.display()));
        for drawing in draw(definition, shards) {
            line(&mut out, &format!("  {drawing}"));
        }
        line(&mut out, &format!("  memory     at most {} in mailboxes and batches", show_bytes(bound)));
        out.push('\n');
    }
    line(&mut out, &format!("all together at most {} in mailboxes and batches", show_bytes(total)));
    let embedded = if plan.backend.aws.is_none() { plan.streams.as_slice() } else { &[] };
    let resident = show_bytes(resident(total, embedded));
    line(&mut out, &format!("under load the process takes at most {resident} more than idle, whatever a sink does"));
    line(&mut out, "needs");
    for need in needs(plan) {
        line(&mut out, &format!("  {need}"));
    }
    out
}

fn line(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}

fn shards_of(plan: &Plan, stream: &str) -> u32 {
    plan.streams.iter().find(|(name, _)| name == stream).map_or(1, |(_, shards)| *shards)
}

/// The actors of a definition, a line a chain.
fn draw(definition: &Definition, shards: u32) -> Vec<String> {
    match &definition.work {
        Work::Collect(collect) => vec![format!(
            "http {} ─► collector ─► stream {}   (too large ─► {})",
            collect.listen, collect.good, collect.bad
        )],
        Work::Enrich(enrich) => draw_enrich(enrich, shards),
        Work::Load(load) => draw_load(load, shards),
        Work::Registry(registry) => vec![format!("http {} ─► schema registry ─► postgres", registry.listen)],
    }
}

fn draw_enrich(enrich: &Enrich, shards: u32) -> Vec<String> {
    let mut lines = vec![
        format!("stream {} × {} a group for each:", enrich.source.stream, count(shards)),
        format!("shard-reader ─► enricher ─┬► batcher ─► stream-writer {}", enrich.good),
    ];
    let indent = "                          ";
    for stream in [&enrich.failed, &enrich.pii].into_iter().flatten() {
        lines.push(format!("{indent}├► batcher ─► stream-writer {stream}"));
    }
    lines.push(format!("{indent}└► batcher ─► stream-writer {}", enrich.bad));
    lines.push("checkpointer ◄─ acknowledgements of all".to_owned());
    lines
}

fn draw_load(load: &Load, shards: u32) -> Vec<String> {
    let mut lines = vec![format!("stream {} × {} a group for each:", load.source.stream, count(shards))];
    let last = load.sinks.len().saturating_sub(1);
    for (index, sink) in load.sinks.iter().enumerate() {
        let lead = match (index, last) {
            (0, 0) => "shard-reader ─► ",
            (0, _) => "shard-reader ─┬► ",
            (index, last) if index == last => "              └► ",
            _ => "              ├► ",
        };
        lines.push(format!("{lead}batcher ─► {}   (bad ─► stream-writer {})", target(sink), load.bad));
    }
    lines.push("checkpointer ◄─ acknowledgements of all".to_owned());
    lines
}

fn count(shards: u32) -> String {
    if shards == 1 { "1 shard,".to_owned() } else { format!("{shards} shards,") }
}

fn target(sink: &LoadSink) -> String {
    let purpose = match sink.purpose {
        Purpose::Raw => "raw",
        Purpose::Enriched => "enriched",
        Purpose::Bad => "bad",
    };
    match &sink.target {
        Target::S3(objects) => format!("s3-packer ─► s3-writer {} ({purpose})", place(objects)),
        Target::Postgres(_) => format!("postgres-writer ({purpose})"),
    }
}

/// Where objects go.
fn place(objects: &Objects) -> String {
    match &objects.place {
        ObjectPlace::Directory => objects.path().to_owned(),
        ObjectPlace::S3(_) => format!("s3://{}", objects.path()),
    }
}

/// Most bytes of payload that one shard's group can hold: each mailbox's bound counts what its actor handles too; a batcher
/// holds one batch of its own, and a page can come on top; writers hold what they render.
pub fn memory(definition: &Definition) -> usize {
    let Limits { mailbox_bytes, .. } = definition.limits;
    match &definition.work {
        // The collector's own buffer; its bound is the collector's configuration.
        Work::Collect(_) => 64 << 20,
        Work::Registry(registry) => registry.server.cache_bytes,
        Work::Enrich(enrich) => {
            let outputs = 2 + usize::from(enrich.failed.is_some()) + usize::from(enrich.pii.is_some());
            // A page, the enricher's mailbox and what it makes of one batch; then two mailboxes and a batch an output.
            let outputs = outputs * (2 * mailbox_bytes + enrich.batch.max_bytes);
            enrich.source.max_bytes + mailbox_bytes + 4 * enrich.source.max_bytes + outputs
        }
        Work::Load(load) => {
            let sinks: usize = load
                .sinks
                .iter()
                .map(|sink| match &sink.target {
                    // Gathered, being packed, and as the lines that are packed; packed twice. Each may exceed its rules by a
                    // page.
                    Target::S3(_) => mailbox_bytes + 5 * (sink.batch.max_bytes + load.source.max_bytes),
                    Target::Postgres { .. } => {
                        2 * mailbox_bytes.max(sink.batch.max_bytes) + 2 * sink.batch.max_bytes + mailbox_bytes
                    }
                })
                .sum();
            load.source.max_bytes + sinks
        }
    }
}

/// Most resident bytes that load adds to an idle process: twice the payload in mailboxes and batches, since records and the
/// allocator add to it (measured: half as much again), and the newest records of every shard, which the embedded streams
/// keep for readers at the tip.
pub fn resident(payload: usize, streams: &[(String, u32)]) -> usize {
    let shards: usize = streams.iter().map(|(_, shards)| *shards as usize).sum();
    2 * payload + shards * snowmelt_streams::Options::default().tail_cache_bytes
}

/// Outside systems and permissions.
fn needs(plan: &Plan) -> Vec<String> {
    let data = plan.backend.data_dir.display();
    let mut needs = Vec::new();
    for definition in &plan.definitions {
        if let Work::Collect(collect) = &definition.work {
            needs.push(format!("to listen on {} (collector {})", collect.listen, definition.name));
            // A configuration that cannot be used was told before.
            if let Ok(config) = settings::collector(collect) {
                needs.extend(collector_needs(&config));
            }
        }
        needs.extend(database_needs(definition));
        if let Work::Registry(registry) = &definition.work {
            needs.push(format!("to listen on {} (schema registry {})", registry.listen, definition.name));
            if let Some(url) = &registry.database {
                needs.push(format!("PostgreSQL at {}: CREATE on schema {}", without_password(url), registry.schema));
            }
        }
    }
    needs.push(format!("to listen on {} (operator API)", plan.backend.operator));
    let streams: Vec<String> = plan.streams.iter().map(|(name, shards)| format!("{name} ({shards})")).collect();
    if plan.backend.aws.is_none() {
        if !streams.is_empty() {
            needs.push(format!("streams {}: a log on disk in {data}/streams", streams.join(", ")));
        }
        needs.push(format!("leases and checkpoints in {data}/leases"));
    }
    let inventory = Inventory::of(plan);
    if !inventory.is_empty() {
        needs.push(
            "credentials of AWS by the SDK's default chain; `check --iam` prints a policy with these:".to_owned(),
        );
        needs.extend(
            inventory.permissions().map(|(resource, actions)| format!("  {}: {}", resource.arn(), actions.join(", "))),
        );
    }
    let objects: Vec<&Objects> = plan.definitions.iter().flat_map(objects_of).collect();
    if objects.iter().any(|objects| matches!(objects.place, ObjectPlace::Directory)) {
        needs.push(format!("objects in {data}/objects"));
    }
    for objects in objects {
        if let ObjectPlace::S3(options) = &objects.place {
            let at = options.endpoint.as_ref().map_or_else(String::new, |endpoint| format!(" at {endpoint}"));
            needs.push(format!("to write to {}{at}", place(objects)));
        }
    }
    if plan.definitions.iter().any(Definition::needs_postgres) {
        needs.push(match &plan.backend.postgres {
            Postgres::Private(_) => {
                format!("PostgreSQL's server programs (Debian: postgresql-15), for a private server in {data}/postgres")
            }
            Postgres::Url(url) => format!(
                "PostgreSQL at {}: CREATE on the database, for the schemas {} and snowmelt",
                without_password(url),
                plan.backend.schema
            ),
        });
    }
    needs
}

/// Databases of sinks of their own.
fn database_needs(definition: &Definition) -> Vec<String> {
    let need = |tables: &Tables| {
        let url = without_password(tables.database.as_deref()?);
        let schema = tables.schema.as_deref().unwrap_or_default();
        Some(format!("PostgreSQL at {url}: CREATE on the database, for the schemas {schema} and snowmelt"))
    };
    definition.tables().filter_map(need).collect()
}

fn collector_needs(config: &CollectorConfig) -> Vec<String> {
    let mut needs = Vec::new();
    if config.ssl.enable && config.ssl.redirect {
        needs.push(format!("to listen on {}:{} (plain HTTP, sent on to HTTPS)", config.interface, config.port));
    }
    let statsd = &config.monitoring.metrics.statsd;
    if statsd.enabled {
        needs.push(format!("to send metrics to StatsD at {}:{} (UDP)", statsd.hostname, statsd.port));
    }
    for queue in config.good_queue().into_iter().chain(config.bad_queue()) {
        needs.push(format!("to send to the queue {queue} of SQS"));
    }
    needs
}

/// What a definition keeps as objects.
fn objects_of(definition: &Definition) -> Vec<&Objects> {
    let Work::Load(load) = &definition.work else { return Vec::new() };
    load.sinks
        .iter()
        .filter_map(|sink| match &sink.target {
            Target::S3(objects) => Some(objects),
            Target::Postgres { .. } => None,
        })
        .collect()
}

/// A URL that can be shown.
pub fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme + 3 => format!("{}…{}", &url[..scheme + 3], &url[at..]),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_user_and_password() {
        assert_eq!(without_password("postgres://me:secret@db:5432/x"), "postgres://…@db:5432/x");
        assert_eq!(without_password("postgres://db/x"), "postgres://db/x");
    }
}
