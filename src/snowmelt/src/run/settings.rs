//! From what a definition names to the configured parts: resolvers, enrichments, patterns, the collector.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use snowmelt_collector::CollectorConfig;
use snowmelt_collector::config::ConfigProblem;
use snowmelt_enrich::{Enrich, EnrichConfig};
use snowmelt_iglu::{Connection, Repository, Resolver, ResolverConfig, ResolverOptions};
use snowmelt_objects::S3LoaderConfig;
use snowmelt_objects::config::LoaderFile;
use snowmelt_protocol::badrow::Processor;
use snowmelt_runtime::Clock;
use snowmelt_runtime::failure::explain;

use crate::definition::model::{Collect, Enrich as EnrichWork, Gather, LoadSink, Target};
use crate::run::enriching::{self, Enriching};
use crate::run::registries::OwnRegistry;
use crate::trouble::{Outcome, Trouble};

/// The version that bad rows and enriched events name.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Who makes bad rows.
pub fn processor(artifact: &'static str) -> Processor {
    Processor::new(artifact, VERSION)
}

/// The clock as the schema libraries want it.
pub fn iglu_clock(clock: &Clock) -> snowmelt_iglu::Clock {
    let clock = clock.clone();
    Arc::new(move || clock.now_ms())
}

/// The machine's name.
pub fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "snowmelt".to_owned() } else { name.to_owned() }
}

/// A resolver from its `resolver.json`; paths in it are taken from the file's folder.
pub fn resolver(file: &Path, clock: &Clock) -> Outcome<Arc<Resolver>> {
    resolver_with(file, None, clock, ResolverOptions::default())
}

/// The same with the registry that runs in this node after those of the file, unless the file names it itself, and with what
/// `config.hocon` says of resolving. Like every file of the original's, `resolver.json` may be HOCON, with values from the
/// environment.
pub fn resolver_with(
    file: &Path,
    own: Option<&OwnRegistry>,
    clock: &Clock,
    options: ResolverOptions,
) -> Outcome<Arc<Resolver>> {
    let document = snowmelt_enrich::config::read_hocon(file).map_err(|error| Trouble::user(explain(&error)))?;
    let wrong = |error: &dyn std::fmt::Display| Trouble::user(format!("{}: {error}", file.display()));
    let mut config = ResolverConfig::parse(&document).map_err(|error| wrong(&error))?;
    let known =
        |own: &Repository| config.repositories.iter().any(|one| one.name == own.name || uri_of(one) == uri_of(own));
    if let Some(own) = own.filter(|own| !known(&own.repository)) {
        config.repositories.push(own.repository.clone());
    }
    let embedded_root = file.parent().map(Path::to_path_buf);
    let options = ResolverOptions { embedded_root, ..options };
    let resolver = Arc::new(Resolver::new(&config, options, iglu_clock(clock)).map_err(|error| wrong(&error))?);
    if let Some(own) = own {
        own.tell(&resolver);
    }
    Ok(resolver)
}

fn uri_of(repository: &Repository) -> Option<&str> {
    match &repository.connection {
        Connection::Http { uri, .. } => Some(uri.trim_end_matches('/')),
        Connection::Embedded { .. } => None,
    }
}

/// A resolver without registries: it knows the schemas that are built in.
pub fn built_in_schemas(clock: &Clock) -> Outcome<Arc<Resolver>> {
    let document = json!({
        "schema": "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-3",
        "data": { "cacheSize": 1000, "repositories": [] },
    });
    let broken = |error: &dyn std::error::Error| Trouble::Machine(explain(error));
    let config = ResolverConfig::parse(&document).map_err(|error| broken(&error))?;
    let resolver =
        Resolver::new(&config, ResolverOptions::default(), iglu_clock(clock)).map_err(|error| broken(&error))?;
    Ok(Arc::new(resolver))
}

/// The settings of enrichment: what its `config.hocon` says, and the definition over it.
pub fn enrich_config(work: &EnrichWork) -> Outcome<EnrichConfig> {
    let mut config = enriching::config(work.config.as_deref())?;
    config.accept_invalid = work.accept_invalid.unwrap_or(config.accept_invalid);
    config.max_json_depth = work.max_json_depth.unwrap_or(config.max_json_depth);
    config.max_record_bytes = work.max_record_size.unwrap_or(config.max_record_bytes);
    config.resolver.max_json_depth = config.max_json_depth;
    config.failed_output = work.failed.is_some();
    Ok(config)
}

/// Enrichment with the enrichments of a folder, and what it is built from again when its files change.
pub async fn enriching(work: &EnrichWork) -> Outcome<(Enriching, Enrich)> {
    Enriching::open(enrich_config(work)?, work.enrichments.as_deref()).await
}

/// The rules of a sink's objects. A definition's own keys are those of the original's generation 2.x.
pub fn s3_loader(sink: &LoadSink, file: &Path) -> Outcome<S3LoaderConfig> {
    let Target::S3(objects) = &sink.target else {
        return Err(Trouble::user(format!("{}: the sink writes no objects", file.display())));
    };
    let config = LoaderFile::from_value(&objects.loader)
        .and_then(|loader| loader.resolve(VERSION))
        .map_err(|error| Trouble::user(format!("{}: sink: {}", file.display(), explain(&error))))?;
    Ok(match sink.gather {
        Gather::Limits(_) => S3LoaderConfig { put_retry_for_ms: objects.retry_for_ms, ..config },
        Gather::AsOriginal => config,
    })
}

/// A collector's configuration: its file, then the keys of the definition over it. Where it listens and writes is the definition's.
pub fn collector(collect: &Collect) -> Outcome<CollectorConfig> {
    let mut document = match &collect.config {
        Some(file) => read_settings(file)?,
        None => json!({}),
    };
    merge(&mut document, &collect.settings);
    let name =
        collect.config.as_ref().map_or_else(|| "collector.settings".to_owned(), |file| file.display().to_string());
    let told = |problem: &ConfigProblem| format!("{name}: {problem}");
    let mut config =
        CollectorConfig::from_value(document).map_err(|problems| Trouble::User(problems.iter().map(told).collect()))?;
    config.interface = collect.listen.ip().to_string();
    let port = if config.ssl.enable { &mut config.ssl.port } else { &mut config.port };
    *port = collect.listen.port();
    config.streams.good.name = Some(collect.good.clone());
    config.streams.bad.name = Some(collect.bad.clone());
    config.check().map_err(|error| Trouble::user(format!("{name}: {}", explain(&error))))?;
    Ok(config)
}

/// `over`'s members over `base`'s, tables merged.
fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

/// A file of settings: TOML or JSON by its name, else the original's HOCON.
fn read_settings(file: &Path) -> Outcome<Value> {
    let text = read(file)?;
    let wrong =
        |error: &dyn std::fmt::Display| Trouble::user(format!("{}: {}", file.display(), error.to_string().trim()));
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => toml::from_str(&text).map_err(|error| wrong(&error)),
        Some("json") => serde_json::from_str(&text).map_err(|error| wrong(&error)),
        _ => {
            let environment = std::env::vars().collect();
            let folder = file.parent().unwrap_or(Path::new(""));
            let parsed =
                snowmelt_collector::config::hocon::parse(&text, folder, &environment).map_err(|error| wrong(&error))?;
            for note in parsed.notes {
                tracing::warn!("{}: {note}", file.display());
            }
            Ok(parsed.written)
        }
    }
}

fn read(file: &Path) -> Outcome<String> {
    std::fs::read_to_string(file).map_err(|error| Trouble::user(format!("{} can't be read: {error}", file.display())))
}
