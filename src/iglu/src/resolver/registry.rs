//! One place that has schemas, and the order in which places are asked (iglu-client, sections 4, 7 and 8).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::io::AsyncReadExt;

use super::http::HttpRegistry;
use super::{ResolverError, ResolverOptions, builtin, http};
use crate::{Connection, RegistryError, ResolverConfig, SchemaKey, SchemaVer};

/// Most versions of one model that are read.
pub(super) const MAX_VERSIONS: usize = 1_000;

/// A registry.
pub(super) struct Registry {
    pub(super) name: String,
    priority: i64,
    vendor_prefixes: Vec<String>,
    source: Source,
    max_body_bytes: usize,
}

enum Source {
    BuiltIn,
    Directory(PathBuf),
    Http(HttpRegistry),
}

/// A document and, if it is one in place of the requested, its version.
pub(super) type Found = (Value, Option<SchemaVer>);

/// All registries of a configuration and the built-in one.
pub(super) fn registries(config: &ResolverConfig, options: &ResolverOptions) -> Result<Vec<Registry>, ResolverError> {
    let client = http::client(options)?;
    let builtin = Registry {
        name: builtin::NAME.to_owned(),
        priority: 0,
        vendor_prefixes: Vec::new(),
        source: Source::BuiltIn,
        max_body_bytes: options.max_body_bytes,
    };
    let mut all = vec![builtin];
    for repository in &config.repositories {
        let source = match &repository.connection {
            Connection::Embedded { path } => Source::Directory(match &options.embedded_root {
                Some(root) => root.join(path.trim_start_matches('/')),
                None => PathBuf::from(path),
            }),
            Connection::Http { uri, apikey } => {
                let registry = HttpRegistry::new(&repository.name, uri, apikey.as_deref(), client.clone(), options)?;
                Source::Http(registry)
            }
        };
        all.push(Registry {
            name: repository.name.clone(),
            priority: repository.priority,
            vendor_prefixes: repository.vendor_prefixes.clone(),
            source,
            max_body_bytes: options.max_body_bytes,
        });
    }
    Ok(all)
}

/// The registries in the order in which they are asked for a vendor's schemas.
pub(super) fn search_order<'r>(registries: &'r [Registry], vendor: &str) -> Vec<&'r Registry> {
    let mut order: Vec<&Registry> = registries.iter().collect();
    order.sort_by_key(|registry| {
        let preferred = registry.vendor_prefixes.iter().any(|prefix| vendor.starts_with(prefix.as_str()));
        // A stable sort: ties keep the order of the configuration.
        (!preferred, registry.is_remote(), registry.priority)
    });
    order
}

impl Registry {
    /// Reached over the network, so that a failure may pass.
    pub(super) fn is_remote(&self) -> bool {
        matches!(self.source, Source::Http(_))
    }

    /// The document of a key, as it is.
    pub(super) async fn document(&self, key: &SchemaKey) -> Result<Value, RegistryError> {
        match &self.source {
            Source::BuiltIn => parse(builtin::document(key.path()).ok_or(RegistryError::NotFound)?.as_bytes()),
            Source::Directory(root) => self.read(&root.join("schemas").join(key.path())).await,
            Source::Http(registry) => registry.get(key.path()).await,
        }
    }

    /// The document to validate a key's data with: of the version that supersedes it, if there is one.
    pub(super) async fn superseding_document(&self, key: &SchemaKey) -> Result<Found, RegistryError> {
        let document = self.document(key).await?;
        let newer = match document.get("$supersededBy") {
            None | Some(Value::Null) => return Ok((document, None)),
            Some(version) => version,
        };
        let version: SchemaVer = newer.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
            RegistryError::client(format!("Error while trying to decode superseding version: {newer}"))
        })?;
        if version <= key.version() {
            return Err(RegistryError::client(format!(
                "Superseding version {version} isn't greater than the version of schema {}",
                key.path()
            )));
        }
        // One step only: a server has flattened longer chains.
        let document = self.document(&key.with_version(version)).await?;
        Ok((document, Some(version)))
    }

    async fn read(&self, path: &Path) -> Result<Value, RegistryError> {
        let failure = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory => RegistryError::NotFound,
            _ => RegistryError::repo(format!("{}: {error}", path.display())),
        };
        let file = tokio::fs::File::open(path).await.map_err(failure)?;
        let limit = self.max_body_bytes;
        let mut text = Vec::new();
        file.take(limit as u64 + 1).read_to_end(&mut text).await.map_err(failure)?;
        if text.len() > limit {
            return Err(RegistryError::repo(format!("{} is larger than {limit} bytes", path.display())));
        }
        parse(&text)
    }

    /// Versions of a model in order, first `M-0-0`.
    pub(super) async fn list(&self, vendor: &str, name: &str, model: u32) -> Result<Vec<SchemaVer>, RegistryError> {
        let first = SchemaKey::new(vendor, name, "jsonschema", SchemaVer::new(model.max(1), 0, 0));
        if first.is_err() {
            return Err(RegistryError::NotFound);
        }
        let folder = format!("{vendor}/{name}/jsonschema");
        let versions = match &self.source {
            Source::BuiltIn => builtin::versions(&folder).filter_map(|text| text.parse().ok()).collect(),
            Source::Directory(root) => read_versions(&root.join("schemas").join(&folder)).await?,
            Source::Http(registry) => {
                let answer = registry.get(&format!("{folder}/{model}")).await?;
                return listed(&answer, vendor, name, model).ok_or_else(|| {
                    RegistryError::client("Could not decode server response. not a list of one model's schemas")
                });
            }
        };
        let mut versions: Vec<SchemaVer> = versions;
        versions.retain(|version| version.model == model);
        versions.sort_unstable();
        match versions.first() {
            None => Err(RegistryError::NotFound),
            Some(first) if *first == SchemaVer::new(model, 0, 0) => Ok(versions),
            Some(_) => Err(RegistryError::repo(format!("{folder} has no {model}-0-0"))),
        }
    }

    /// Keys of the model up to and with `last`: from the registry's list, or found one by one where it has none.
    pub(super) async fn versions_up_to(&self, last: &SchemaKey) -> Result<Vec<SchemaVer>, RegistryError> {
        let version = last.version();
        match self.list(last.vendor(), last.name(), version.model).await {
            Ok(mut versions) if versions.contains(&version) => {
                versions.retain(|v| *v <= version);
                Ok(versions)
            }
            // A list without the key may be an old one, but then the registry has no such schema either.
            Ok(_) => Err(RegistryError::NotFound),
            Err(_) if self.is_remote() => self.probe(last).await,
            Err(error) => Err(error),
        }
    }

    /// Static sites have no lists: additions are tried until one is missing, then the next revision.
    async fn probe(&self, last: &SchemaKey) -> Result<Vec<SchemaVer>, RegistryError> {
        let end = last.version();
        let mut versions = Vec::new();
        let mut next = SchemaVer::new(end.model, 0, 0);
        while versions.len() < MAX_VERSIONS {
            match self.document(&last.with_version(next)).await {
                Ok(_) => {
                    versions.push(next);
                    if next == end {
                        return Ok(versions);
                    }
                    next.addition += 1;
                }
                Err(error @ RegistryError::RepoFailure(_)) => return Err(error),
                // A gap before the key itself, or a revision without its first schema.
                Err(_) if next.addition == 0 || next.revision >= end.revision => return Err(RegistryError::NotFound),
                Err(_) => next = SchemaVer::new(end.model, next.revision + 1, 0),
            }
        }
        Err(RegistryError::client(format!("more than {MAX_VERSIONS} versions of {}", last.path())))
    }
}

fn parse(text: &[u8]) -> Result<Value, RegistryError> {
    serde_json::from_slice(text).map_err(|error| RegistryError::repo(error.to_string()))
}

async fn read_versions(folder: &Path) -> Result<Vec<SchemaVer>, RegistryError> {
    let failure = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => RegistryError::NotFound,
        _ => RegistryError::repo(format!("{}: {error}", folder.display())),
    };
    let mut entries = tokio::fs::read_dir(folder).await.map_err(failure)?;
    let mut versions = Vec::new();
    while let Some(entry) = entries.next_entry().await.map_err(failure)? {
        versions.extend(entry.file_name().to_str().and_then(|name| name.parse::<SchemaVer>().ok()));
        if versions.len() > MAX_VERSIONS {
            return Err(RegistryError::repo(format!("{} holds more than {MAX_VERSIONS} schemas", folder.display())));
        }
    }
    Ok(versions)
}

/// A registry's list: URIs of one model without repetition, first `M-0-0`.
fn listed(answer: &Value, vendor: &str, name: &str, model: u32) -> Option<Vec<SchemaVer>> {
    let uris = answer.as_array().filter(|uris| uris.len() <= MAX_VERSIONS)?;
    let mut versions = Vec::with_capacity(uris.len());
    for uri in uris {
        let key: SchemaKey = uri.as_str()?.parse().ok()?;
        let version = key.version();
        if key.vendor() != vendor || key.name() != name || version.model != model || versions.contains(&version) {
            return None;
        }
        versions.push(version);
    }
    (*versions.first()? == SchemaVer::new(model, 0, 0)).then_some(versions)
}
