//! Object keys of both lines (spec s3-loader 3).
//!
//! A pattern is read and checked once, when the configuration is; afterwards every key is made without failing.

mod java_time;
mod template;

use crate::config::{ConfigError, Line, Purpose};
use crate::schema::Schema;
use crate::store::check_key;
use jiff::civil::DateTime;
use std::borrow::Cow;
use std::fmt::Write as _;
use template::{Template, TemplateError};
use uuid::Uuid;

/// Bucket, folders and file name prefix of the loader's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPattern {
    line: Line,
    bucket: String,
    directory: Template,
    partition: Template,
    prefix: Template,
}

/// The configured texts a [`KeyPattern`] is made from.
#[derive(Debug, Clone, Copy)]
pub struct KeyOptions<'a> {
    /// Whose rules hold.
    pub line: Line,
    /// Decides which placeholders make sense and what the default partition is.
    pub purpose: Purpose,
    /// `s3://bucket/directory`; line 2.x may leave the scheme out.
    pub path: &'a str,
    /// `partitionFormat`; by default `{vendor}.{schema}` for self-describing data, else none.
    pub partition_format: Option<&'a str>,
    /// `filenamePrefix`: joined with a dash in line 2.x, put in front as it is in 3.x.
    pub filename_prefix: Option<&'a str>,
}

/// What tells one object from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileName<'a> {
    /// Line 2.x: load time, first and last sequence number.
    Range {
        /// Of the whole batch, decimal.
        first: &'a str,
        /// Of the whole batch, decimal.
        last: &'a str,
    },
    /// Line 3.x: load time and a UUID.
    Unique(Uuid),
    /// Ours: shard, first and last sequence number, and no time, so that a repeat overwrites.
    ///
    /// Both ends are needed: were it the first alone, a late upload of a worker that has lost its lease could replace
    /// the new owner's longer object by a shorter one.
    Shard {
        /// Id of the shard.
        shard: &'a str,
        /// Of the whole batch, decimal.
        first: &'a str,
        /// Of the whole batch, decimal.
        last: &'a str,
    },
}

/// The two moments that appear in a key, milliseconds since the epoch; outside the years 1 to 9999 the nearest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyTimes {
    /// Fills the placeholders.
    pub partition_ms: i64,
    /// Stands in the file name.
    pub file_ms: i64,
}

impl KeyPattern {
    /// Reads and checks the configured texts.
    ///
    /// Line 2.x takes anything in braces as the original does: what is neither a placeholder nor a Java date pattern
    /// loses its braces. Line 3.x refuses it here, where the original would fail at each upload. Refused too is what
    /// could give keys that no store takes, or longer than 1024 bytes.
    pub fn new(options: &KeyOptions<'_>) -> Result<Self, ConfigError> {
        let KeyOptions { line, purpose, path, .. } = *options;
        let without_scheme = match (path.strip_prefix("s3://"), line) {
            (Some(rest), _) => rest,
            (None, Line::V2) => path,
            (None, Line::V3) => return Err(ConfigError::refused("path", path, "it must start with s3://")),
        };
        let (bucket, directory) = without_scheme.split_once('/').unwrap_or((without_scheme, ""));
        if bucket.is_empty() {
            return Err(ConfigError::refused("path", path, "it names no bucket"));
        }
        let default_partition = if purpose == Purpose::SelfDescribing { "{vendor}.{schema}" } else { "" };
        let partition = options.partition_format.unwrap_or(default_partition);
        let prefix = options.filename_prefix.unwrap_or("");
        let pattern = KeyPattern {
            line,
            bucket: bucket.to_owned(),
            directory: outer(line, "path", directory)?,
            partition: match line {
                Line::V2 => Template::v2_partition(partition),
                Line::V3 => Template::v3(partition).map_err(|error| refuse("partitionFormat", partition, error))?,
            },
            prefix: outer(line, "filenamePrefix", prefix)?,
        };
        if line == Line::V3 && purpose == Purpose::EnrichedEvents && pattern.partition.needs_schema() {
            let reason = "Enriched events can only get partitioned by date and time";
            return Err(ConfigError::refused("partitionFormat", partition, reason));
        }
        let longest = pattern.longest_key();
        check_key(&longest)
            .map_err(|error| ConfigError::refused("path", path, &format!("its keys may fail: {error}")))?;
        Ok(pattern)
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// How long a moment keeps the same text in the placeholders, in milliseconds (a day for coarser ones); `None` when
    /// there is no date placeholder.
    pub fn time_unit_ms(&self) -> Option<i64> {
        [&self.directory, &self.partition, &self.prefix].into_iter().filter_map(Template::time_unit_ms).min()
    }

    /// The key of an object, without a leading slash (where the original keeps one, [K2-17]).
    ///
    /// `schema` is that of all its records; without one `unknown` stands for its parts and -1 for the model.
    pub fn key(&self, schema: Option<&Schema>, times: KeyTimes, name: FileName<'_>, extension: &str) -> String {
        let moment = civil(times.partition_ms);
        let mut raw = String::with_capacity(192);
        self.directory.write(schema, moment, &mut raw);
        raw.push('/');
        self.partition.write(schema, moment, &mut raw);
        raw.push('/');
        self.prefix.write(schema, moment, &mut raw);
        if self.line == Line::V2 && !self.prefix.is_empty() {
            raw.push('-');
        }
        write_name(name, times.file_ms, &mut raw);
        raw.push('.');
        raw.push_str(extension);
        normalised(&raw)
    }

    /// A key as long as any this pattern makes.
    fn longest_key(&self) -> String {
        let schema = Schema {
            vendor: "v".repeat(128),
            name: "n".repeat(128),
            format: "f".repeat(128),
            model: i32::MAX as u32,
            revision: 0,
            addition: 0,
        };
        let sequence = "9".repeat(58);
        let name = FileName::Shard { shard: "shardId-000000000000000000", first: &sequence, last: &sequence };
        // A Wednesday in September, the longest names. Date and time of the file name are added to be on the safe side.
        let times = KeyTimes { partition_ms: 1_726_660_799_999, file_ms: 0 };
        self.key(Some(&schema), times, name, "1970-01-01-000000.lzo.index")
    }
}

/// Path and prefix know no placeholders of their own, but line 2.x tries date patterns in the whole key.
fn outer(line: Line, option: &'static str, text: &str) -> Result<Template, ConfigError> {
    match line {
        Line::V2 => Ok(Template::java_dates_only(text)),
        Line::V3 if text.contains(['{', '}']) => {
            Err(ConfigError::refused(option, text, "placeholders are only known in partitionFormat"))
        }
        Line::V3 => Ok(Template::text(text)),
    }
}

fn refuse(option: &'static str, value: &str, error: TemplateError) -> ConfigError {
    ConfigError::refused(option, value, &error.to_string())
}

fn write_name(name: FileName<'_>, file_ms: i64, out: &mut String) {
    let date = civil(file_ms);
    let (year, month, day) = (date.year(), date.month(), date.day());
    let time = format_args!("{year:04}-{month:02}-{day:02}-{:02}{:02}{:02}", date.hour(), date.minute(), date.second());
    match name {
        FileName::Range { first, last } => write!(out, "{time}-{}-{}", plain(first), plain(last)),
        FileName::Unique(uuid) => write!(out, "{time}-{uuid}"),
        FileName::Shard { shard, first, last } => write!(out, "{shard}-{}-{}", plain(first), plain(last)),
    }
    .expect("writing to a string cannot fail");
}

/// A sequence number as a name may have it: a colon, before the part of an aggregated record, has to be escaped in many places.
fn plain(sequence: &str) -> Cow<'_, str> {
    if sequence.contains(':') { Cow::Owned(sequence.replace(':', ".")) } else { Cow::Borrowed(sequence) }
}

/// The UTC date and time of a moment.
fn civil(millis: i64) -> DateTime {
    const FIRST: i64 = -62_135_596_800_000;
    const LAST: i64 = 253_370_764_799_999;
    jiff::Timestamp::from_millisecond(millis.clamp(FIRST, LAST))
        .map(|moment| jiff::tz::Offset::UTC.to_datetime(moment))
        .expect("the years 1 to 9999 are within a timestamp's range")
}

/// Drops empty and `.` segments; `..` takes the segment before it away.
fn normalised(raw: &str) -> String {
    let mut segments: Vec<&str> = Vec::with_capacity(8);
    for segment in raw.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    segments.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options<'a>(line: Line, path: &'a str, partition: &'a str) -> KeyOptions<'a> {
        let purpose = Purpose::SelfDescribing;
        KeyOptions { line, purpose, path, partition_format: Some(partition), filename_prefix: None }
    }

    fn key(pattern: &KeyPattern, schema: Option<&Schema>) -> String {
        let times = KeyTimes { partition_ms: 1_709_629_687_250, file_ms: 1_709_629_687_250 };
        pattern.key(schema, times, FileName::Shard { shard: "shardId-0", first: "1", last: "2" }, "gz")
    }

    #[test]
    fn names_by_shard_carry_no_time() {
        let pattern = KeyPattern::new(&options(Line::V3, "s3://arch/a", "{yyyy}")).unwrap();
        assert_eq!(key(&pattern, None), "a/2024/shardId-0-1-2.gz");
        assert_eq!(pattern.bucket(), "arch");
    }

    #[test]
    fn a_schema_of_dots_cannot_climb() {
        let pattern = KeyPattern::new(&options(Line::V3, "s3://arch/a/b", "{vendor}/{name}")).unwrap();
        let schema = Schema::parse("iglu:../x/jsonschema/1-0-0").unwrap();
        assert_eq!(key(&pattern, Some(&schema)), "a/b/__/x/shardId-0-1-2.gz");
    }

    #[test]
    fn patterns_that_could_give_refused_keys_are_refused() {
        let long = "x".repeat(700);
        for path in [
            "arch",
            "s3://",
            "s3:///a",
            "s3://arch/a\0",
            "s3://arch/a\\b",
            "s3://arch/{yyyy}",
            &format!("s3://arch/{long}"),
        ] {
            assert!(KeyPattern::new(&options(Line::V3, path, "{vendor}/{name}")).is_err(), "{path}");
        }
        for partition in ["{", "}", "{}", "{yy}", "a{b}c", "{MM", "{vendor}{{name}"] {
            assert!(KeyPattern::new(&options(Line::V3, "s3://arch", partition)).is_err(), "{partition}");
        }
    }

    #[test]
    fn the_finest_placeholder_decides_how_long_a_partition_lasts() {
        for (partition, unit) in
            [("{yyyy}", 86_400_000), ("{yyyy}/{HH}", 3_600_000), ("{ss}{dd}", 1000), ("{mm}", 60_000)]
        {
            let pattern = KeyPattern::new(&options(Line::V3, "s3://arch", partition)).unwrap();
            assert_eq!(pattern.time_unit_ms(), Some(unit), "{partition}");
        }
        assert_eq!(KeyPattern::new(&options(Line::V2, "arch", "{vendor}")).unwrap().time_unit_ms(), None);
    }
}
