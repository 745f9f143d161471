//! A loader's sink of objects: what all groups of a definition share, and its actors in one group.

use std::sync::Arc;
use std::time::Duration;

use snowmelt_batcher::{BatchRules, Batcher, Policy};
use snowmelt_objects::unpack::{self, UnpackRules};
use snowmelt_objects::{Buffer, PackRatio, S3LoaderConfig};
use snowmelt_runtime::{Batch, Failure, GroupBuilder, Intents, MailboxLimits, Port};
use snowmelt_s3_writer::{Packer, Puts, Report, S3Writer};
use snowmelt_shard_reader::{Resume, Unfinished};
use snowmelt_streams::{PutEntry, Record, SequenceNumber, ShardId, StartAt, Streams};

use crate::definition::model::{Gather, LoadSink};
use crate::run::backends::Stores;
use crate::run::settings;
use crate::trouble::Outcome;

/// What the groups of a definition share for one sink.
pub struct ObjectSink {
    name: String,
    puts: Puts,
    config: Arc<S3LoaderConfig>,
    gather: Gather,
    max_bytes: usize,
}

/// Where and how a group reads and keeps its batches.
pub struct Place<'a> {
    /// The streams.
    pub streams: &'a Arc<dyn Streams>,
    /// The one that is read.
    pub stream: &'a str,
    /// What its sinks declare.
    pub intents: &'a Intents,
    /// Bound of the mailbox of pages.
    pub mailbox: MailboxLimits,
    /// The end of the actors' names.
    pub suffix: &'a str,
    /// One small batch at a time, since a record is suspected.
    pub careful: bool,
}

impl ObjectSink {
    /// Opens the store of sink number `number`.
    pub async fn open(number: usize, sink: &LoadSink, file: &std::path::Path, stores: &Stores) -> Outcome<Self> {
        let config = settings::s3_loader(sink, file)?;
        let store = stores.objects(sink, config.keys.bucket()).await?;
        let report = config.statsd.clone().map(Report::start).unwrap_or_default();
        let retry_for = config.put_retry_for_ms.map(Duration::from_millis);
        Ok(Self {
            // In every life of a group the same, also when another sink is added behind it.
            name: format!("{number} {}", config.keys.bucket()),
            puts: Puts { store, retry_for, report },
            gather: sink.gather,
            max_bytes: sink.batch.max_bytes,
            config: Arc::new(config),
        })
    }

    /// batcher ► packer ► writer; and how the reader goes on where an earlier life of the group was cut off.
    pub async fn build(
        &self,
        builder: &mut GroupBuilder,
        place: &Place<'_>,
        bad: Port<Batch<PutEntry>>,
    ) -> Result<(Port<Batch<Record>>, Resume), Failure> {
        let Place { suffix, mailbox, .. } = *place;
        let intents = place.intents.sink(&self.name);
        let ratio = PackRatio::default();
        // One batch each: while one is put the next is packed and the one after it gathered.
        let limits = MailboxLimits::new(mailbox.bytes.max(self.max_bytes), 1);
        let (puts, of_writer) = (self.puts.clone(), intents.clone());
        let writer = builder.stage(&format!("s3-writer{suffix}"), limits, move || S3Writer::new(puts, of_writer, bad));
        let (config, of_packer, learnt) = (Arc::clone(&self.config), intents.clone(), ratio.clone());
        let packer = builder
            .stage(&format!("s3-packer{suffix}"), limits, move || Packer::new(config, of_packer, learnt, writer));

        let position = |text: String| text.parse::<SequenceNumber>().map_err(Failure::error);
        let mut resume = Resume { done: intents.done_before().map(position).transpose()?, unfinished: None };
        if let Some(cut) = intents.unfinished() {
            let shard = ShardId::new(&builder.context().id.shard);
            let from = StartAt::At(position(cut.first)?);
            let cursor = place.streams.open(place.stream, &shard, &from).await.map_err(Failure::error)?;
            resume.unfinished = Some(Unfinished { cursor, until: position(cut.last)?, writer: packer.clone() });
        }

        let policy = self.policy(place.careful, builder, ratio);
        let batcher = builder.stage(&format!("batcher{suffix}"), mailbox, move || match policy {
            Ok(rules) => Batcher::new(rules, packer),
            Err(buffer) => Batcher::by(buffer, packer),
        });
        Ok((batcher, resume))
    }

    /// With care nothing is gathered.
    fn policy(
        &self,
        careful: bool,
        builder: &GroupBuilder,
        ratio: PackRatio,
    ) -> Result<BatchRules, Box<dyn Policy<Record>>> {
        match self.gather {
            Gather::Limits(limits) => Ok(BatchRules {
                max_bytes: limits.max_bytes,
                max_records: if careful { 1 } else { limits.max_records },
                max_age: limits.max_age,
            }),
            Gather::AsOriginal if careful => {
                Ok(BatchRules { max_bytes: self.max_bytes, max_records: 1, max_age: Duration::ZERO })
            }
            Gather::AsOriginal => {
                let now_ms = as_i64(builder.context().clock.monotonic_ms());
                let buffer = Buffer::new(self.config.buffer, now_ms).with_ratio(ratio);
                Err(Box::new(Original { buffer, unpack: self.config.unpack }))
            }
        }
    }
}

/// The original's rules of buffering (spec s3-loader 4).
struct Original {
    buffer: Buffer,
    unpack: Option<UnpackRules>,
}

impl Policy<Record> for Original {
    fn goes_first(&self, _bytes: usize) -> bool {
        // A delivery is never split off from what was held before it.
        false
    }

    fn add(&mut self, items: &[Record], _bytes: usize, now_ms: u64) -> bool {
        let bytes = items.iter().map(|record| unpack::expected_bytes(&record.data, self.unpack)).sum();
        self.buffer.add(items.len() as u64, bytes, as_i64(now_ms))
    }

    fn due_at_ms(&self) -> Option<u64> {
        self.buffer.due_at_ms().map(|due| u64::try_from(due).unwrap_or(0))
    }

    fn sent(&mut self, now_ms: u64) {
        self.buffer.flushed(as_i64(now_ms));
    }
}

fn as_i64(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}
