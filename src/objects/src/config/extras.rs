//! What only we offer: the block `snowmelt` of either generation's file.

use super::{ConfigError, Naming, PartitionBy, Purpose, lenient};
use crate::framing::Framing;
use crate::keys::KeyPattern;
use serde::Deserialize;

/// Options beyond the original's. All have defaults that keep its behaviour.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Extras {
    /// `original` or `sequence`.
    pub naming: Naming,
    /// `load_time`, `collector_time` or `derived_time`.
    pub partition_by: PartitionBy,
    /// gzip: 1 to 12, default 6; zstd: 1 to 19, default 3.
    #[serde(deserialize_with = "level")]
    pub compression_level: Option<u8>,
    /// Most plain bytes a batch holds in memory (generation 3.x, whose own limit is on compressed bytes).
    #[serde(deserialize_with = "lenient::number")]
    pub max_plain_bytes: u64,
    /// How long a failing put is tried again (generation 3.x; 2.x has `maxTimeout`), milliseconds or with a unit; without end
    /// when absent.
    #[serde(rename = "putRetryFor", deserialize_with = "retry_for")]
    pub put_retry_for_ms: Option<u64>,
}

impl Default for Extras {
    fn default() -> Self {
        Extras {
            naming: Naming::Original,
            partition_by: PartitionBy::LoadTime,
            compression_level: None,
            max_plain_bytes: 256 << 20,
            put_retry_for_ms: None,
        }
    }
}

impl Extras {
    /// The framing for a compression's name, without regard to case; `None` for names nobody knows.
    pub(super) fn framing(&self, compression: &str) -> Result<Option<Framing>, ConfigError> {
        let framing = match compression.to_ascii_lowercase().as_str() {
            "gzip" => Framing::Gzip { level: self.compression_level.unwrap_or(6) },
            "zstd" => Framing::Zstd { level: self.compression_level.unwrap_or(3) },
            "lzo" => Framing::Lzo,
            _ => return Ok(None),
        };
        if framing.has_known_level() {
            return Ok(Some(framing));
        }
        let level = self.compression_level.unwrap_or_default().to_string();
        Err(ConfigError::refused("compressionLevel", &level, "gzip has levels 1 to 12, zstd 1 to 19"))
    }

    /// Checks that partitions by event time make sense.
    pub(super) fn check_partition(&self, purpose: Purpose, keys: &KeyPattern) -> Result<(), ConfigError> {
        let refused = |reason| Err(ConfigError::refused("partitionBy", &format!("{:?}", self.partition_by), reason));
        if self.partition_by == PartitionBy::LoadTime {
            return Ok(());
        }
        if purpose != Purpose::EnrichedEvents {
            return refused("only enriched events have event times");
        }
        if keys.time_unit_ms().is_none() {
            return refused("partitionFormat has no placeholder for a time");
        }
        Ok(())
    }
}

fn retry_for<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    lenient::duration_ms(deserializer).map(Some)
}

fn level<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
    lenient::number(deserializer).map(Some)
}
