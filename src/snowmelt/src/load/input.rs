//! What actors are fed with: a web shop's traffic, made before the clock starts, or the lines of a file.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use snowmelt_collector::CollectorConfig;
use snowmelt_collector::decision::{Core, Flavour, Head, Header, Route};
use snowmelt_enrich::{Context, Enrich, Outputs, RecordSeed, Scratch};
use snowmelt_iglu::Resolver;
use snowmelt_runtime::Clock;
use snowmelt_shop::{PageViews, Shop, ShopConfig, ShopRequest};
use snowmelt_streams::{PutEntry, Record, SequenceNumber};
use uuid::Uuid;

use super::cities::Network;
use crate::trouble::{Outcome, Trouble};

/// The largest file that is read whole.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Records that are dealt out again and again.
#[derive(Debug, Default)]
pub struct Corpus {
    records: Vec<(String, Bytes)>,
}

impl Corpus {
    /// These records, each with its partition key.
    pub fn new(records: Vec<(String, Bytes)>) -> Self {
        Self { records }
    }

    /// How many different records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Key and data of each.
    #[cfg(test)]
    pub fn records(&self) -> &[(String, Bytes)] {
        &self.records
    }

    /// Their bytes, keys included.
    pub fn bytes(&self) -> usize {
        self.records.iter().map(|(key, data)| key.len() + data.len()).sum()
    }
}

/// Deals out the records of a corpus, with sequence numbers that ascend for ever. Data are shared bytes: no copy.
pub struct Dealer {
    corpus: Arc<Corpus>,
    given: u64,
    clock: Clock,
}

impl Dealer {
    /// A dealer that begins with the first record.
    pub fn new(corpus: Arc<Corpus>) -> Self {
        Self { corpus, given: 0, clock: Clock::system() }
    }

    fn next(&mut self) -> Option<(u64, &(String, Bytes))> {
        let count = self.corpus.records.len() as u64;
        let index = usize::try_from(self.given.checked_rem(count)?).unwrap_or_default();
        self.given += 1;
        self.corpus.records.get(index).map(|record| (self.given, record))
    }

    /// `count` records and their bytes.
    pub fn records(&mut self, count: usize) -> (Vec<Record>, usize) {
        let arrived_ms = self.clock.now_ms();
        let (mut records, mut bytes) = (Vec::with_capacity(count), 0);
        for _ in 0..count {
            let Some((number, (key, data))) = self.next() else { break };
            bytes += key.len() + data.len();
            let sequence = SequenceNumber::new(0, u128::from(number));
            records.push(Record { sequence, partition_key: key.clone(), data: data.clone(), arrived_ms });
        }
        (records, bytes)
    }

    /// `count` entries to be put, and their bytes.
    pub fn entries(&mut self, count: usize) -> (Vec<PutEntry>, usize) {
        let (mut entries, mut bytes) = (Vec::with_capacity(count), 0);
        for _ in 0..count {
            let Some((_, (key, data))) = self.next() else { break };
            bytes += key.len() + data.len();
            entries.push(PutEntry::new(key.clone(), data.clone()));
        }
        (entries, bytes)
    }
}

/// The lines of a file, each one record: base64 where all of it is, else as it stands.
pub fn file(path: &Path) -> Outcome<Corpus> {
    let wrong = |error: &dyn std::fmt::Display| Trouble::user(format!("--input {}: {error}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| wrong(&error))?.len();
    if size > MAX_FILE_BYTES {
        return Err(wrong(&format!("has {} MiB; at most {} MiB are read", size >> 20, MAX_FILE_BYTES >> 20)));
    }
    let content = std::fs::read(path).map_err(|error| wrong(&error))?;
    let lines = content.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let record = |line: &[u8]| STANDARD.decode(line).unwrap_or_else(|_| line.to_vec());
    let records: Vec<(String, Bytes)> = lines
        .filter(|line| !line.is_empty())
        .zip(0_u64..)
        .map(|(line, number)| (number.to_string(), Bytes::from(record(line))))
        .collect();
    if records.is_empty() {
        return Err(wrong(&"holds no record"));
    }
    Ok(Corpus::new(records))
}

/// The shop's requests that carry about `events` events.
pub fn requests(seed: u64, events: u64) -> Vec<ShopRequest> {
    Shop::new(ShopConfig { seed, events, ..ShopConfig::default() }).collect()
}

/// What the collector makes of the shop's requests: about `count` payloads.
pub fn payloads(seed: u64, count: usize) -> Outcome<Corpus> {
    collected(seed, count, Shop::new(ShopConfig { seed, ..ShopConfig::default() }))
}

/// What the collector makes of `count` page views with three entities each, and the networks they come from.
pub fn page_views(seed: u64, count: usize) -> Outcome<(Corpus, Vec<Network>)> {
    let mut networks = BTreeSet::new();
    let views = PageViews::new(seed).inspect(|request| {
        let addresses = request.headers.iter().filter(|(name, _)| *name == "X-Forwarded-For");
        networks.extend(addresses.filter_map(|(_, address)| {
            let [a, b, c, _] = address.parse::<Ipv4Addr>().ok()?.octets();
            Some([a, b, c])
        }));
    });
    let corpus = collected(seed, count, views)?;
    Ok((corpus, networks.into_iter().collect()))
}

/// What the collector makes of the first requests, `count` payloads.
fn collected(seed: u64, count: usize, requests: impl Iterator<Item = ShopRequest>) -> Outcome<Corpus> {
    let core = Core::new(&CollectorConfig::default()).map_err(|error| Trouble::caused("collector", error))?;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut new_id = || uuid::Builder::from_random_bytes(random.u128(..).to_be_bytes()).into_uuid();
    let mut records = Vec::with_capacity(count);
    for request in requests {
        collect(&core, &request, &mut new_id, &mut records);
        if records.len() >= count {
            break;
        }
    }
    records.truncate(count);
    Ok(Corpus::new(records))
}

fn collect(core: &Core, request: &ShopRequest, new_id: &mut dyn FnMut() -> Uuid, records: &mut Vec<(String, Bytes)>) {
    let host = Header { name: "Host", value: b"localhost" };
    let content_type = request.content_type.map(|value| Header { name: "Content-Type", value: value.as_bytes() });
    let others = request.headers.iter().map(|(name, value)| Header { name, value: value.as_bytes() });
    let headers: Vec<Header<'_>> = std::iter::once(host).chain(content_type).chain(others).collect();
    let head = Head {
        method: request.method.name(),
        target: request.path_and_query.as_bytes(),
        headers: &headers,
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let Route::Track(tracking) = core.route(&head) else { return };
    let body = match tracking.flavour {
        Flavour::Post => request.body.as_deref().unwrap_or_default().as_bytes(),
        Flavour::Pixel => &[],
    };
    let decision = core.track(&head, &tracking, body, ShopConfig::default().start_ms, new_id);
    records.extend(decision.good.into_iter().map(|record| (record.partition_key, record.data)));
}

/// What enrichment makes of payloads: about `count` enriched events.
pub async fn enriched(seed: u64, count: usize, enrich: &Enrich, resolver: &Resolver) -> Outcome<Corpus> {
    // A payload carries one event or more, so as many payloads are always enough.
    let payloads = payloads(seed, count)?;
    let now_micros = ShopConfig::default().start_ms * 1000;
    let (mut scratch, mut outputs) = (Scratch::new(), Outputs::default());
    for (number, (_, payload)) in payloads.records.iter().enumerate() {
        let place = number.to_string();
        // Every round brings the schemas that the one before was missing.
        for _ in 0..16 {
            let cx = Context { now_micros, schemas: resolver, seed: RecordSeed::new("load", place.as_bytes()) };
            let Err(needs) = enrich.record(payload, &cx, &mut scratch, &mut outputs) else { break };
            for key in &needs.schemas {
                if let Err(error) = resolver.resolve(key).await {
                    tracing::debug!(schema = %key, %error, "schema not found");
                }
            }
        }
        if outputs.good.len() >= count {
            break;
        }
    }
    if outputs.good.len() * 2 < count {
        let reason = outputs.bad.first().map(|row| String::from_utf8_lossy(&row.data).into_owned()).unwrap_or_default();
        let shown: String = reason.chars().take(300).collect();
        return Err(Trouble::user(format!("the shop's events can't be enriched with this resolver: {shown}")));
    }
    let records = outputs.good.into_iter().take(count).map(|record| (record.partition_key, record.data)).collect();
    Ok(Corpus::new(records))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_payloads() {
        let (a, b, c) = (payloads(7, 50).unwrap(), payloads(7, 50).unwrap(), payloads(8, 50).unwrap());
        assert_eq!((a.len(), &a.records), (50, &b.records));
        assert_ne!(a.records, c.records);
    }

    #[test]
    fn sequence_numbers_ascend_over_the_end_of_the_corpus() {
        let corpus = Arc::new(Corpus::new(vec![("a".into(), Bytes::from("12")), ("b".into(), Bytes::from("3"))]));
        let (records, bytes) = Dealer::new(corpus).records(5);
        let seen: Vec<(u128, &str)> = records.iter().map(|r| (r.sequence.lo, r.partition_key.as_str())).collect();
        assert_eq!(seen, [(1, "a"), (2, "b"), (3, "a"), (4, "b"), (5, "a")]);
        assert_eq!(bytes, 3 + 2 + 3 + 2 + 3);
    }

    #[test]
    fn lines_of_a_file_are_base64_or_as_they_are() {
        let file_of_lines = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file_of_lines.path(), "AAEC\r\n\nweb\tshop line\n").unwrap();
        let corpus = file(file_of_lines.path()).unwrap();
        let data: Vec<&[u8]> = corpus.records.iter().map(|(_, data)| data.as_ref()).collect();
        assert_eq!(data, [&[0_u8, 1, 2][..], b"web\tshop line"]);
    }
}
