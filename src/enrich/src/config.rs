//! Configuration, and reading the documents of the enrichments directory: the only I/O of this crate.

use std::path::{Path, PathBuf};

use snowmelt_protocol::badrow::Processor;
use snowmelt_protocol::event::Column;

use crate::enrichments::{ConfigDocument, ConfigError};
use crate::lengths::Limits;

/// Settings of enrichment, with the original's defaults (enrich-core 7.4).
#[derive(Debug, Clone)]
pub struct EnrichConfig {
    /// Who we are in bad rows and in v_etl.
    pub processor: Processor,
    /// `validation.acceptInvalid`: events with too long fields are good.
    pub accept_invalid: bool,
    /// `validation.atomicFieldsLimits` over the defaults.
    pub limits: Limits,
    /// `validation.maxJsonDepth`: 50. Values above [`MAX_JSON_DEPTH`] count as that.
    pub max_json_depth: usize,
    /// `decompression.maxBytesSinglePayload`: 10,000,000 bytes.
    pub max_payload_bytes: usize,
    /// `output.good.maxRecordSize`: 1,000,000 bytes, for all outputs.
    pub max_record_bytes: usize,
    /// Whether events with errors are also given as [`Outputs::failed`](crate::Outputs).
    pub failed_output: bool,
    /// `output.good.partitionKey`; random keys without.
    pub partition_key: Option<Column>,
}

/// The deepest JSON that can be allowed: readers of bad rows refuse deeper ones, `serde_json` among them.
pub const MAX_JSON_DEPTH: usize = 120;

impl EnrichConfig {
    /// The defaults, for a processor.
    pub fn new(processor: Processor) -> Self {
        EnrichConfig {
            processor,
            accept_invalid: false,
            limits: Limits::default(),
            max_json_depth: 50,
            max_payload_bytes: 10_000_000,
            max_record_bytes: 1_000_000,
            failed_output: false,
            partition_key: None,
        }
    }
}

/// Why the enrichments directory cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The directory or one of its files.
    #[error("enrichments: cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is no HOCON or JSON.
    #[error("enrichments: {path} is not HOCON: {reason}")]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A document is not a configuration.
    #[error("enrichments: {path}: {source}")]
    Document {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: ConfigError,
    },
}

/// Reads every `.json` file of a directory (not of those below it), in the order of their names.
pub fn read_enrichments(directory: &Path) -> Result<Vec<ConfigDocument>, DirectoryError> {
    let unreadable = |path: &Path| {
        let path = path.to_path_buf();
        move |source| DirectoryError::Read { path, source }
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable(directory))? {
        let path = entry.map_err(unreadable(directory))?.path();
        if path.extension().is_some_and(|extension| extension == "json") && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).map_err(unreadable(&path))?;
            let json = parse(&text).map_err(|reason| DirectoryError::Syntax { path: path.clone(), reason })?;
            ConfigDocument::from_json(&json).map_err(|source| DirectoryError::Document { path, source })
        })
        .collect()
}

/// Plain JSON keeps its numbers' text; anything else is HOCON with substitutions from the environment.
fn parse(text: &str) -> Result<serde_json::Value, String> {
    match serde_json::from_str(text) {
        Ok(json) => Ok(json),
        Err(_) => {
            let config = hocon::parse(text).map_err(|error| error.to_string())?;
            config.deserialize().map_err(|error| error.to_string())
        }
    }
}
