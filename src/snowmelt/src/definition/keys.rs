//! Every key that a definition may have: its type, what it means, its default. `check` reads this table, and so does
//! the reference that `snowmelt check --keys` prints.

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number within bounds.
    Int(i64, i64),
    /// `true` or `false`.
    Bool,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A duration with its unit.
    Duration,
    /// A size in bytes, with or without a unit.
    Bytes,
    /// A path to something that exists, from the file's folder.
    Path,
    /// A list of paths to files that exist, from the file's folder.
    Paths,
    /// An address to listen on, `host:port`.
    Address,
    /// Where a shard begins.
    Start,
    /// Settings checked by whoever owns them.
    Free,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The table it stands in, empty for the top level.
    pub section: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Whether it must be given when its section is.
    pub required: bool,
    /// What it means, its default at the end.
    pub help: &'static str,
}

const fn key(section: &'static str, name: &'static str, kind: Kind, help: &'static str) -> Key {
    Key { section, name, kind, required: false, help }
}

const fn required(section: &'static str, name: &'static str, kind: Kind, help: &'static str) -> Key {
    Key { section, name, kind, required: true, help }
}

use Kind::{Address, Bool, Bytes, Choice, Duration, Free, Int, Path, Paths, Start, Text};

/// All keys, in the order in which they are explained. `sink` and `stream` are lists of tables (`[[sink]]`).
pub const KEYS: &[Key] = &[
    key("", "name", Text, "the application's name; it names the lease table and the progress in Postgres"),
    key("", "include", Paths, "definitions that run together with this one"),
    key("backend", "kind", Choice(&["embedded", "aws"]), "what streams, leases and objects are kept in (embedded)"),
    key(
        "backend",
        "data_dir",
        Text,
        "where the embedded backends keep everything, and collectors their spools (.data)",
    ),
    key("backend", "fsync", Bool, "streams are synced to the disk before a put is answered (true)"),
    key("backend", "retention", Duration, "how long streams keep records (24h)"),
    key(
        "backend",
        "postgres",
        Text,
        "a postgres:// URL, or `private` for a server of our own under data_dir (private)",
    ),
    key("backend", "postgres_port", Int(0, 65535), "loopback port of the private server, 0 for a free one (0)"),
    key("backend", "schema", Text, "the database schema of all tables (atomic)"),
    key("backend", "operator", Address, "where the operator API listens (127.0.0.1:8090)"),
    key(
        "backend",
        "operator_token_file",
        Path,
        "file with the operator API's token: whoever has it may ask from elsewhere (none: this machine only)",
    ),
    key("aws", "region", Text, "backend aws: the region (as the AWS SDK finds it)"),
    key("aws", "endpoint", Text, "backend aws: another service than AWS's own, http://host:port (none)"),
    key("aws", "kinesis_endpoint", Text, "backend aws: the same for streams only (endpoint)"),
    key("aws", "dynamodb_endpoint", Text, "backend aws: the same for leases only (endpoint)"),
    key("aws", "s3_endpoint", Text, "backend aws: the same for objects only (endpoint)"),
    key("aws", "bucket", Text, "backend aws: the bucket of sinks that name none (each sink names its own)"),
    key("aws", "read", Choice(&["poll", "fan_out"]), "backend aws: shards are asked, or subscribed to (poll)"),
    key("aws", "poll_every", Duration, "backend aws: time between two reads of a shard that has no more (1500ms)"),
    key("aws", "fan_out_or_poll", Bool, "backend aws: poll where no fan-out consumer can be registered (true)"),
    key("aws", "keep_order", Bool, "backend aws: records of one key are put in their order, always (true)"),
    key(
        "aws",
        "worker",
        Text,
        "backend aws: this worker's name in the lease tables, another for each process (host's name and a random part)",
    ),
    key(
        "aws",
        "lease_duration",
        Duration,
        "backend aws: a worker silent for this long loses its shards; the same for all workers of an application (10s)",
    ),
    key("aws", "max_leases", Int(1, 100_000), "backend aws: most shards of one application here (no limit)"),
    key("aws", "steal_at_once", Int(1, 1000), "backend aws: shards taken from another worker at once (2 a core)"),
    key(
        "aws",
        "kcl3_fleet",
        Choice(&["wait", "share"]),
        "backend aws: beside a live fleet of Kinesis Client Library 3: wait until it is gone, or share (wait)",
    ),
    required("stream", "name", Text, "a stream; created when it is missing, on AWS by `snowmelt setup`"),
    required("stream", "shards", Int(1, 500), "with how many shards"),
    required("collector", "listen", Address, "where trackers send to"),
    required("collector", "good", Text, "the stream of collector payloads"),
    required("collector", "bad", Text, "the stream of what is too large"),
    key(
        "collector",
        "config",
        Path,
        "the original's config.hocon, or the same keys in TOML or JSON, for all but its address and streams",
    ),
    key("collector", "settings", Free, "keys of the collector's own configuration, over `config`"),
    key("iglu", "listen", Address, "where the schema registry listens (127.0.0.1:8081, or what `config` says)"),
    key("iglu", "config", Path, "the original's config.hocon; what stands here is over it (none)"),
    key("iglu", "database", Text, "a postgres:// URL, or `backend` for the node's own (backend)"),
    key("iglu", "schema", Text, "the database schema of the registry's tables (public)"),
    key("iglu", "connections", Int(2, 1000), "connections to the database at most (6)"),
    key(
        "iglu",
        "super_key_file",
        Path,
        "file with the key that has all rights (`iglu-super-key` in data_dir, made anew)",
    ),
    key("iglu", "super_key_env", Text, "name of an environment variable that holds that key (none)"),
    key("iglu", "patches_allowed", Bool, "published versions may be replaced and deleted (false)"),
    key("iglu", "max_json_depth", Int(3, 120), "deepest JSON that is read (40)"),
    key("iglu", "max_payload_size", Bytes, "bodies of this size and more are refused (100000)"),
    key("iglu", "cache", Bytes, "room for schemas' bodies in memory (64 MiB)"),
    key("iglu", "check_every", Duration, "the database is asked for changes at least this often (2s)"),
    key("iglu", "workers", Int(1, 64), "threads that serve requests (2)"),
    key("iglu", "max_connections", Int(1, 100_000), "connections of clients at most (1024)"),
    key("iglu", "idle_timeout", Duration, "idle connections are closed after this time (60s)"),
    key("iglu", "debug", Bool, "/api/debug is there (false)"),
    key("iglu", "base_url", Text, "prefix of paths in the interface's description, when a proxy adds one (none)"),
    key("iglu", "hsts", Duration, "Strict-Transport-Security on every answer, for this long (none)"),
    key("iglu", "pre_termination_period", Duration, "requests are still taken for this long after the stop (0s)"),
    key("iglu", "pre_termination_unhealthy", Bool, "the health endpoint says 503 in that time (false)"),
    key(
        "iglu",
        "web_hooks",
        Free,
        "who is told of published schemas: tables by any name, with uri, vendor_prefixes, use_post (none)",
    ),
    required("source", "stream", Text, "the stream that is read"),
    key(
        "source",
        "start",
        Start,
        "where a shard without a checkpoint begins: trim_horizon, latest, or an instant (trim_horizon)",
    ),
    key("source", "max_records", Int(1, 10_000), "most records of one read (1000)"),
    key("source", "max_bytes", Bytes, "most bytes of one read (2 MiB)"),
    required("enrich", "resolver", Path, "resolver.json: the schema registries"),
    key("enrich", "enrichments", Path, "folder of the enrichments' configuration files (none)"),
    key("enrich", "config", Path, "the original's config.hocon, or the same keys in TOML or JSON (none)"),
    key(
        "enrich",
        "max_record_size",
        Bytes,
        "larger events and bad rows become size violations (what `config` says, else 1 MB)",
    ),
    key("enrich", "max_json_depth", Int(1, 1000), "deepest JSON that is read (what `config` says, else 50)"),
    key(
        "enrich",
        "accept_invalid",
        Bool,
        "overlong atomic fields do not make an event bad (what `config` says, else false)",
    ),
    required("sink", "kind", Choice(&["stream", "s3", "postgres"]), "what is written to"),
    key("sink", "stream", Text, "kind stream: the stream of good events"),
    key("sink", "failed", Text, "kind stream: the stream of failed events (none)"),
    key("sink", "pii", Text, "kind stream: the stream of events about what was pseudonymised (none)"),
    key("sink", "purpose", Choice(&["raw", "enriched", "bad"]), "kinds s3 and postgres: what the source holds"),
    key(
        "sink",
        "prefix",
        Text,
        "kind s3: where objects go; without `bucket` its first segment is a folder under data_dir's objects",
    ),
    key("sink", "bucket", Text, "kind s3: a bucket of S3 (none: a directory)"),
    key("sink", "store", Choice(&["directory", "s3"]), "kind s3: where buckets are (s3 with `bucket` or `settings`)"),
    key("sink", "endpoint", Text, "kind s3: another service than AWS's own, http://host:port (none)"),
    key("sink", "region", Text, "kind s3: the bucket's region (as the AWS SDK finds it)"),
    key("sink", "path_style", Bool, "kind s3: the bucket stands in the path of a URL (true with `endpoint`)"),
    key("sink", "storage_class", Text, "kind s3: storage class of objects, such as STANDARD_IA (the bucket's)"),
    key(
        "sink",
        "encryption",
        Choice(&["AES256", "aws:kms"]),
        "kind s3: encryption of objects by the server (the bucket's)",
    ),
    key("sink", "kms_key", Text, "kind s3: the key of encryption aws:kms (the account's own)"),
    key(
        "sink",
        "partition",
        Text,
        "kind s3: folders made from the time and the schema, e.g. {schema}/{yyyy}/{MM}/{dd}",
    ),
    key("sink", "name_prefix", Text, "kind s3: beginning of objects' names (none)"),
    key(
        "sink",
        "naming",
        Choice(&["sequence", "original"]),
        "kind s3: names by shard and sequence numbers, or with the time before, as the original (sequence)",
    ),
    key(
        "sink",
        "partition_by",
        Choice(&["load_time", "collector_time", "derived_time"]),
        "kind s3: the time in `partition`; the last two for enriched events (load_time)",
    ),
    key("sink", "compression", Choice(&["gzip", "zstd", "lzo"]), "kind s3: how objects are packed (gzip)"),
    key("sink", "compression_level", Int(1, 19), "kind s3: gzip has 1 to 12, zstd 1 to 19 (6, 3)"),
    key(
        "sink",
        "retry_for",
        Duration,
        "kind s3: how long a put that fails is tried again before the shard counts as failed (without end)",
    ),
    key(
        "sink",
        "settings",
        Free,
        "kind s3: the original's configuration of its S3 loader, of either generation, without its input",
    ),
    key("sink", "resolver", Path, "kind postgres: resolver.json, for the tables' columns"),
    key(
        "sink",
        "database",
        Text,
        "kind postgres: a postgres:// URL with the database and `?sslmode=`, or `backend` for the node's own (backend)",
    ),
    key("sink", "schema", Text, "kind postgres: the database schema of the tables (what `backend.schema` says)"),
    key("sink", "connections", Int(1, 1000), "kind postgres: connections to the database at most (10)"),
    key(
        "sink",
        "deduplicate",
        Duration,
        "kind postgres, enriched: of events with one id that are loaded within this time the first stays (none: all stay)",
    ),
    key("sink", "max_bytes", Bytes, "bytes in a batch at which it is written (8 MiB)"),
    key("sink", "max_records", Int(1, 1_000_000), "records in a batch at which it is written (20000; stream 500)"),
    key("sink", "max_age", Duration, "age of a batch at which it is written (1s; stream 20ms)"),
    required("bad", "stream", Text, "the stream of bad rows"),
    key("mailbox", "bytes", Bytes, "bound of each mailbox in bytes (8 MiB)"),
    key("mailbox", "batches", Int(1, 1000), "bound of each mailbox in batches (4)"),
    key(
        "supervision",
        "max_restarts",
        Int(0, 1_000_000),
        "failures of a shard within the window past which it gives up (10)",
    ),
    key(
        "supervision",
        "max_given_up",
        Int(0, 1_000_000),
        "shards that gave up within the window past which the pipeline does, and the node ends with 1 (3)",
    ),
    key("supervision", "window", Duration, "the window (10m)"),
    key("supervision", "heartbeat", Duration, "without progress for this long an actor counts as hung (30s)"),
    key("supervision", "drain", Duration, "how long a drain may take (30s)"),
    key(
        "supervision",
        "checkpoint_every",
        Duration,
        "least time between two checkpoints of a shard (1s; backend aws 10s)",
    ),
];

/// The tables a definition may have.
pub fn sections() -> impl Iterator<Item = &'static str> {
    let mut previous = "";
    KEYS.iter()
        .filter_map(move |key| (key.section != std::mem::replace(&mut previous, key.section)).then_some(key.section))
}

/// The keys of one table.
pub fn keys_of(section: &str) -> impl Iterator<Item = &'static Key> + '_ {
    KEYS.iter().filter(move |key| key.section == section)
}

/// Tables that are lists.
pub fn is_list(section: &str) -> bool {
    matches!(section, "sink" | "stream")
}

/// Tables that only the file on the command line may have, since they hold for the whole process.
pub fn is_global(section: &str) -> bool {
    matches!(section, "backend" | "aws" | "stream")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_stands_together_in_the_table() {
        let all: Vec<_> = sections().collect();
        let mut unique = all.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(all.len(), unique.len(), "{all:?}");
    }
}
