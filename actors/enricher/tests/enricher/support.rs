//! A group that feeds records to an enricher and keeps what comes out.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use snowmelt_enrich::enrichments::Enrichments;
use snowmelt_enrich::{Enrich, EnrichConfig};
use snowmelt_enricher::{Current, Enricher, Outlets};
use snowmelt_iglu::{Resolver, ResolverConfig, ResolverOptions, system_clock};
use snowmelt_protocol::badrow::Processor;
use snowmelt_protocol::payload::{CollectorPayload, SCHEMA};
use snowmelt_runtime::group::GroupEnd;
use snowmelt_runtime::{
    Batch, Clock, Cores, Failure, Group, GroupBuilder, GroupContext, GroupId, Ledger, MailboxLimits, Pause, Port,
    Stage, StageContext, Step, Worker,
};
use snowmelt_streams::{PutEntry, Record, SequenceNumber};

/// Records one batch each, then no more.
struct Feeder {
    batches: VecDeque<Vec<Record>>,
    ledger: Ledger,
    out: Option<Port<Batch<Record>>>,
}

#[async_trait(?Send)]
impl Worker for Feeder {
    async fn step(&mut self, cx: &StageContext) -> Result<Step, Failure> {
        let (Some(items), Some(out)) = (self.batches.pop_front(), &self.out) else { return Ok(Step::Done) };
        let position = items.last().map(|record| record.sequence.to_string()).unwrap_or_default();
        let bytes = items.iter().map(|record| record.data.len()).sum();
        let ack = self.ledger.open(position, items.len());
        out.send(Batch::new(items, bytes, ack), cx).await?;
        Ok(Step::Continue)
    }

    async fn finish(mut self: Box<Self>, _cx: &StageContext) -> Result<(), Failure> {
        self.ledger.seal(false);
        self.out.take().map_or(Ok(()), Port::close)
    }
}

/// What an outlet got.
#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<Vec<PutEntry>>>);

impl Kept {
    pub fn get(&self) -> MutexGuard<'_, Vec<PutEntry>> {
        self.0.lock().unwrap()
    }

    pub fn len(&self) -> usize {
        self.get().len()
    }

    /// The lines, as texts.
    pub fn lines(&self) -> Vec<String> {
        self.get().iter().map(|entry| String::from_utf8(entry.data.to_vec()).unwrap()).collect()
    }

    /// The lines, as JSON.
    pub fn rows(&self) -> Vec<Value> {
        self.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

struct Keep(Kept);

#[async_trait(?Send)]
impl Stage for Keep {
    type Input = Batch<PutEntry>;

    async fn handle(&mut self, input: Self::Input, _cx: &StageContext) -> Result<(), Failure> {
        self.0.get().extend(input.items);
        input.ack.delivered();
        Ok(())
    }

    async fn drain(self: Box<Self>, _cx: &StageContext) -> Result<(), Failure> {
        Ok(())
    }
}

/// A running group.
pub struct Running {
    pub good: Kept,
    pub bad: Kept,
    pub failed: Kept,
    pub pii: Kept,
    pub ledger: Ledger,
    group: Group,
}

impl Running {
    /// Waits until everything is enriched and acknowledged.
    pub async fn end(&mut self, patience: Duration) {
        let end = tokio::time::timeout(patience, self.group.ended()).await.expect("it ends in time");
        assert_eq!(end, GroupEnd::Drained);
        assert_eq!(self.ledger.progress().pending, 0, "everything is acknowledged");
    }

    /// Numbers of events, bad rows, failed events.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.good.len(), self.bad.len(), self.failed.len())
    }
}

/// Starts a group; each inner list is a batch of records.
pub fn start(enrichments: Enrichments, resolver: Arc<Resolver>, batches: Vec<Vec<Vec<u8>>>, pii: bool) -> Running {
    let arbiter = actix_rt::Arbiter::new();
    let context = GroupContext {
        id: GroupId { pipeline: "test".into(), shard: "0".into() },
        clock: Clock::system(),
        cores: Cores::new(2).unwrap(),
        arbiter: arbiter.handle(),
        pause: Pause::default(),
    };
    let mut builder = GroupBuilder::new(context);
    let kept: [Kept; 4] = Default::default();
    let outlet = |builder: &mut GroupBuilder, name: &str, kept: &Kept| {
        let keep = Keep(kept.clone());
        builder.stage(name, MailboxLimits::new(8 << 20, 4), move || keep)
    };
    let [good, bad, failed, told] = &kept;
    let outlets = Outlets {
        good: outlet(&mut builder, "good", good),
        bad: outlet(&mut builder, "bad", bad),
        failed: Some(outlet(&mut builder, "failed", failed)),
        pii: pii.then(|| outlet(&mut builder, "pii", told)),
    };
    let mut config = EnrichConfig::new(Processor::new("snowmelt-enrich", "0.1.0"));
    config.failed_output = true;
    let current = Current::new(Enrich::new(config, enrichments));
    let port = builder
        .stage("enricher", MailboxLimits::new(8 << 20, 4), move || Enricher::new(current, resolver, "raw", outlets));
    let ledger = Ledger::new();
    let mut lo = 0;
    let mut record = |data: Vec<u8>| {
        lo += 1;
        let sequence = SequenceNumber::new(0, lo);
        Record { sequence, partition_key: "k".to_owned(), data: data.into(), arrived_ms: 0 }
    };
    let batches = batches.into_iter().map(|batch| batch.into_iter().map(&mut record).collect()).collect();
    let tickets = ledger.clone();
    builder.worker("feeder", move || Feeder { batches, ledger: tickets, out: Some(port) });
    let group = builder.finish();
    let [good, bad, failed, pii] = kept;
    Running { good, bad, failed, pii, ledger, group }
}

/// A resolver over one HTTP registry, quick to give up.
pub fn resolver(address: &str, cache_size: usize) -> Arc<Resolver> {
    let document = json!({
        "schema": "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-3",
        "data": {"cacheSize": cache_size, "cacheTtl": 600, "repositories": [{
            "name": "Test", "priority": 0, "vendorPrefixes": [], "connection": {"http": {"uri": address}},
        }]},
    });
    let options = ResolverOptions {
        request_timeout: Duration::from_millis(500),
        max_retries: 1,
        max_retry_wait: Duration::from_millis(5),
        ..ResolverOptions::default()
    };
    Arc::new(Resolver::new(&ResolverConfig::parse(&document).unwrap(), options, system_clock()).unwrap())
}

/// A request that posts these events.
pub fn post(events: &[Value]) -> Vec<u8> {
    let body = json!({"schema": "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4", "data": events});
    let payload = CollectorPayload {
        schema: Some(SCHEMA.into()),
        encoding: Some("UTF-8".into()),
        collector: Some("ssc".into()),
        timestamp: 1_700_000_000_123,
        path: Some("/com.snowplowanalytics.snowplow/tp2".into()),
        content_type: Some("application/json".into()),
        body: Some(Cow::Owned(body.to_string().into_bytes())),
        ..CollectorPayload::default()
    };
    let mut bytes = Vec::new();
    payload.encode(&mut bytes);
    bytes
}

/// A page view of this user.
pub fn page_view(user: &str) -> Value {
    json!({"e": "pv", "p": "web", "tv": "t", "uid": user})
}

/// A page view of this user with entities, as `co`.
pub fn with_contexts(user: &str, entities: &[Value]) -> Value {
    let mut event = page_view(user);
    let contexts = json!({
        "schema": "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-1",
        "data": entities,
    });
    event["co"] = contexts.to_string().into();
    event
}

/// An entity of com.acme.
pub fn entity(name: &str, data: Value) -> Value {
    json!({"schema": format!("iglu:com.acme/{name}/jsonschema/1-0-0"), "data": data})
}

/// Where a registry has the schema of such an entity.
pub fn path(name: &str) -> String {
    format!("/schemas/com.acme/{name}/jsonschema/1-0-0")
}

/// A schema as registries publish them.
pub fn schema(name: &str, body: Value) -> String {
    let mut document = json!({
        "$schema": "http://iglucentral.com/schemas/com.snowplowanalytics.self-desc/schema/jsonschema/1-0-0#",
        "self": {"vendor": "com.acme", "name": name, "format": "jsonschema", "version": "1-0-0"},
    });
    document.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    document.to_string()
}

/// A column of an enriched line.
pub fn column(line: &str, index: usize) -> &str {
    line.split('\t').nth(index).unwrap()
}

/// Where user_id stands.
pub const USER_ID: usize = 12;
