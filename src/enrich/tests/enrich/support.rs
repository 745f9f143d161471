//! A resolver over schemas of a test, and a driver that fetches what a record needs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use snowmelt_enrich::{Context, Enrich, Outputs, RecordSeed, Scratch};
use snowmelt_iglu::{Lookup, Overlay, Resolver, ResolverConfig, ResolverOptions, SchemaKey, schema_key_of};

/// 2023-11-14T22:15:00.456Z, the etl time of every case.
pub const NOW_MICROS: i64 = 1_700_000_100_456_000;

/// The folder that is shared between workspaces, when it is there.
pub fn shared() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let path = std::env::var_os("SNOWMELT_SHARED").map_or(own, PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: ../shared is missing");
    None
}

/// Schemas in a directory registry named Test, besides the built-in ones.
pub struct Schemas {
    runtime: tokio::runtime::Runtime,
    resolver: Arc<Resolver>,
    _directory: tempfile::TempDir,
}

impl Schemas {
    pub fn new(documents: &[Value]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for document in documents {
            let key = schema_key_of(document).unwrap();
            let path = directory.path().join("schemas").join(key.path());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, document.to_string()).unwrap();
        }
        let config = json!({
            "schema": "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-3",
            "data": {
                "cacheSize": 500,
                "repositories": [{
                    "name": "Test",
                    "priority": 1,
                    "vendorPrefixes": [],
                    "connection": {"embedded": {"path": directory.path()}},
                }],
            },
        });
        let config = ResolverConfig::parse(&config).unwrap();
        let clock: snowmelt_iglu::Clock = Arc::new(|| NOW_MICROS / 1_000);
        let resolver = Resolver::new(&config, ResolverOptions::default(), clock).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Schemas { runtime, resolver: Arc::new(resolver), _directory: directory }
    }

    /// A schema, fetched when needed.
    pub fn resolve(&self, key: &SchemaKey) -> Lookup {
        self.runtime.block_on(self.resolver.resolve(key))
    }

    /// Enriches a record, fetching schemas until none is missing.
    pub fn enrich(&self, enrich: &Enrich, record: &[u8], seed: RecordSeed, out: &mut Outputs) {
        let mut scratch = Scratch::new();
        let mut schemas = Overlay::new(&*self.resolver);
        for _ in 0..10 {
            let cx = Context { now_micros: NOW_MICROS, schemas: &schemas, seed };
            let before = out.clone();
            let Err(needs) = enrich.record(record, &cx, &mut scratch, out) else { return };
            assert_eq!(*out, before, "a record that needs schemas has put something out");
            assert!(needs.unreachable.is_empty(), "{needs}");
            for key in needs.schemas {
                let answer = self.resolve(&key);
                schemas.insert(key, answer);
            }
        }
        panic!("a record needs schemas again and again");
    }
}
