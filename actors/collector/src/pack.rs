//! Many payloads in one compressed record (appendix A), as the original writes since 3.6.

use std::{io, sync::Arc, time::Duration};

use async_trait::async_trait;
use snowmelt_protocol::container::{Appended, Compression, ContainerWriter};
use snowmelt_streams::Producer;

use crate::{CollectorConfig, Outgoing, Refused, Sink, SinkError, config::CompressionType};

/// A sink that packs what it gets into containers of up to `maxBytes`, for another.
///
/// A payload that does not become smaller stays a plain record, which every consumer takes beside containers; so nothing is ever too
/// large after compression. A container has the key of its first payload; where keys are addresses it has payloads of one key
/// only, so that order per key stays. Containers have no origin: a batch that comes again is stored again.
pub struct Pack {
    sink: Arc<dyn Sink>,
    rules: Rules,
}

#[derive(Debug, Clone, Copy)]
struct Rules {
    compression: Compression,
    level: i32,
    max_bytes: usize,
    by_key: bool,
}

/// A record and the places of the payloads in it.
type Packed = (Outgoing, Vec<usize>);

impl Pack {
    /// Goes before the good `sink`.
    pub fn new(config: &CollectorConfig, sink: Arc<dyn Sink>) -> Self {
        let compression = &config.compression;
        let (compression, level) = match compression.r#type {
            CompressionType::Zstd => (Compression::Zstd, compression.zstd_compression_level),
            CompressionType::Gzip => (Compression::Gzip, compression.gzip_compression_level),
        };
        let by_key = config.streams.use_ip_address_as_partition_key;
        Self { sink, rules: Rules { compression, level, max_bytes: config.streams.good.max_bytes, by_key } }
    }
}

#[async_trait]
impl Sink for Pack {
    async fn put(&self, batch: Vec<Outgoing>, _producer: Option<&Producer>) -> Result<(), SinkError> {
        let rules = self.rules;
        // Milliseconds of work: not on an event loop.
        let packed = tokio::task::spawn_blocking(move || pack(&batch, rules)).await;
        let unavailable =
            |error: &dyn std::fmt::Display| SinkError::Unavailable { reason: format!("compressing: {error}") };
        let packed = packed.map_err(|error| unavailable(&error))?.map_err(|error| unavailable(&error))?;
        let (records, places): (Vec<Outgoing>, Vec<Vec<usize>>) = packed.into_iter().unzip();
        match self.sink.put(records, None).await {
            Err(SinkError::Refused(refused)) => Err(SinkError::Refused(unpacked(&refused, &places))),
            other => other,
        }
    }

    fn healthy(&self) -> bool {
        self.sink.healthy()
    }

    async fn close(&self, deadline: Duration) {
        self.sink.close(deadline).await;
    }
}

/// The refusals of records as those of their payloads.
fn unpacked(refused: &[Refused], places: &[Vec<usize>]) -> Vec<Refused> {
    let payloads = refused.iter().filter_map(|refused| Some((places.get(refused.index)?, &refused.reason)));
    let mut all: Vec<Refused> = payloads
        .flat_map(|(places, reason)| places.iter().map(|&index| Refused { index, reason: reason.clone() }))
        .collect();
    all.sort_by_key(|refused| refused.index);
    all
}

/// Packs a batch, in order.
fn pack(batch: &[Outgoing], rules: Rules) -> io::Result<Vec<Packed>> {
    let mut places: Vec<usize> = (0..batch.len()).collect();
    if rules.by_key {
        // Stable: order within a key stays.
        places.sort_by(|&a, &b| batch[a].partition_key.cmp(&batch[b].partition_key));
    }
    let mut packed = Vec::new();
    for group in places.chunk_by(|&a, &b| !rules.by_key || batch[a].partition_key == batch[b].partition_key) {
        pack_group(batch, group, rules, &mut packed)?;
    }
    Ok(packed)
}

fn pack_group(batch: &[Outgoing], group: &[usize], rules: Rules, packed: &mut Vec<Packed>) -> io::Result<()> {
    let mut writer = ContainerWriter::new(rules.compression, rules.level, rules.max_bytes);
    let mut inside: Vec<usize> = Vec::new();
    let plain = |place: usize| (Outgoing { origin: None, ..batch[place].clone() }, vec![place]);
    let close = |writer: &mut ContainerWriter, inside: &mut Vec<usize>, packed: &mut Vec<Packed>| -> io::Result<()> {
        let Some(container) = writer.finish()? else { return Ok(()) };
        let inside = std::mem::take(inside);
        match inside[..] {
            [alone] if container.len() >= batch[alone].data.len() => packed.push(plain(alone)),
            _ => packed.push((Outgoing::new(batch[inside[0]].partition_key.clone(), container), inside)),
        }
        Ok(())
    };
    for &place in group {
        loop {
            match writer.append(&batch[place].data)? {
                Appended::Stored => inside.push(place),
                Appended::Full => {
                    close(&mut writer, &mut inside, packed)?;
                    continue;
                }
                Appended::TooLarge { .. } => packed.push(plain(place)),
            }
            break;
        }
    }
    close(&mut writer, &mut inside, packed)
}

#[cfg(test)]
mod tests {
    use snowmelt_protocol::container::{ContainerReader, Limits, Next};

    use super::*;

    fn rules(compression: Compression, max_bytes: usize, by_key: bool) -> Rules {
        Rules { compression, level: 3, max_bytes, by_key }
    }

    fn unpack(record: &[u8]) -> Vec<Vec<u8>> {
        let Some(compression) = Compression::detect(record) else { return vec![record.to_vec()] };
        let mut reader = ContainerReader::open(record, compression, Limits::default()).unwrap();
        let (mut payloads, mut payload) = (Vec::new(), Vec::new());
        while reader.next_payload(&mut payload).unwrap() == Next::Payload {
            payloads.push(payload.clone());
        }
        payloads
    }

    fn text(index: usize) -> Vec<u8> {
        format!("payload {index} ").repeat(50).into_bytes()
    }

    #[test]
    fn payloads_are_packed_in_order_and_read_back() {
        let batch: Vec<Outgoing> = (0..100).map(|index| Outgoing::new(format!("key-{index}"), text(index))).collect();
        for compression in [Compression::Zstd, Compression::Gzip] {
            let packed = pack(&batch, rules(compression, 2000, false)).unwrap();
            assert!(packed.len() > 1 && packed.len() < 100, "{}", packed.len());
            let mut next = 0;
            for (record, places) in &packed {
                assert!(record.data.len() <= 2000);
                assert_eq!(record.partition_key, format!("key-{}", places[0]));
                for payload in unpack(&record.data) {
                    assert_eq!(payload, text(next));
                    next += 1;
                }
            }
            assert_eq!(next, 100);
        }
    }

    #[test]
    fn what_does_not_become_smaller_stays_plain() {
        let noise: Vec<u8> = (0..5000).map(|_| fastrand::u8(..)).collect();
        let batch = [Outgoing::new("a", noise.clone()), Outgoing::new("b", text(1)), Outgoing::new("c", "tiny")];
        let packed = pack(&batch, rules(Compression::Zstd, 1000, false)).unwrap();
        assert_eq!(packed[0].0.data, noise, "too large for a container");
        let packed = pack(&batch[2..], rules(Compression::Zstd, 1000, false)).unwrap();
        assert_eq!(packed[0].0.data, "tiny", "a container would be larger");
    }

    #[test]
    fn payloads_of_different_addresses_are_not_mixed() {
        let keys = ["a", "b", "a", "c", "b"];
        let batch: Vec<Outgoing> =
            keys.iter().enumerate().map(|(index, key)| Outgoing::new(*key, text(index))).collect();
        let packed = pack(&batch, rules(Compression::Zstd, 100_000, true)).unwrap();
        let found: Vec<(&str, Vec<usize>)> =
            packed.iter().map(|(record, places)| (record.partition_key.as_str(), places.clone())).collect();
        assert_eq!(found, [("a", vec![0, 2]), ("b", vec![1, 4]), ("c", vec![3])]);
        let refused = unpacked(&[Refused { index: 1, reason: "no".to_owned() }], &[vec![0, 2], vec![1, 4], vec![3]]);
        assert_eq!(refused.iter().map(|refused| refused.index).collect::<Vec<_>>(), [1, 4]);
    }
}
