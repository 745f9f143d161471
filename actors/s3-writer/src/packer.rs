//! From a batch of records to objects that are ready to be put.

use std::sync::Arc;

use async_trait::async_trait;
use snowmelt_objects::framing::Encoder;
use snowmelt_objects::{self as objects, PackRatio, Rendered, S3LoaderConfig};
use snowmelt_runtime::{Ack, Batch, Cut, Failure, Port, SinkIntents, Stage, StageContext, Weighted};
use snowmelt_streams::{Origin, Record};

/// A batch's objects and bad rows.
#[derive(Debug)]
pub struct Packed {
    /// What it became.
    pub rendered: Rendered,
    /// Which records it holds, and when it was packed.
    pub cut: Cut,
    /// Where its bad rows come from.
    pub origin: Origin,
    /// When the first record arrived in the stream, milliseconds since the epoch.
    pub arrived_ms: i64,
    /// How many records it holds.
    pub records: usize,
    /// Resolved when objects and bad rows are durable.
    pub ack: Ack,
}

impl Weighted for Packed {
    fn bytes(&self) -> usize {
        let objects: usize = self.rendered.objects.iter().map(|object| object.bytes.len()).sum();
        objects + self.rendered.bad_rows.iter().map(String::len).sum::<usize>()
    }

    fn records(&self) -> usize {
        self.records
    }
}

/// Packs the batches of one shard for one sink.
pub struct Packer {
    config: Arc<S3LoaderConfig>,
    intents: SinkIntents,
    ratio: PackRatio,
    /// Away while it is at work.
    encoder: Option<Encoder>,
    out: Port<Packed>,
}

impl Packer {
    /// A packer by the rules of `config`. `ratio` is told how well batches pack.
    pub const fn new(config: Arc<S3LoaderConfig>, intents: SinkIntents, ratio: PackRatio, out: Port<Packed>) -> Self {
        Self { config, intents, ratio, encoder: None, out }
    }
}

fn render(encoder: &mut Encoder, records: &[Record], cut: &Cut, shard: &str, config: &S3LoaderConfig) -> Rendered {
    let payloads: Vec<&[u8]> = records.iter().map(|record| record.data.as_ref()).collect();
    let batch = objects::Batch { shard, first_sequence: &cut.first, last_sequence: &cut.last, records: &payloads };
    objects::render_with(encoder, &batch, config, cut.at_ms)
}

#[async_trait(?Send)]
impl Stage for Packer {
    type Input = Batch<Record>;

    async fn handle(&mut self, input: Self::Input, cx: &StageContext) -> Result<(), Failure> {
        let Batch { items, bytes, ack } = input;
        let (Some(first), Some(last)) = (items.first(), items.last()) else {
            ack.delivered();
            return Ok(());
        };
        let (records, arrived_ms, origin) =
            (items.len(), first.arrived_ms, Origin { sequence: last.sequence, index: 0 });
        let (first, last) = (first.sequence.to_string(), last.sequence.to_string());
        let at_ms = self.intents.time_of(&first, &last, cx.clock().now_ms());
        let cut = Cut { first, last, at_ms };
        let (config, shard, of) = (Arc::clone(&self.config), cx.group().shard.clone(), cut.clone());
        // The records go with it: nothing holds them while their objects are put.
        let mut encoder = self.encoder.take().unwrap_or_else(|| Encoder::new(config.framing));
        let work = move || (render(&mut encoder, &items, &of, &shard, &config), encoder);
        let (rendered, encoder) = cx.cores().run(work).await?;
        self.encoder = Some(encoder);
        self.ratio.learn(bytes as u64, rendered.object_bytes());
        self.out.send(Packed { rendered, cut, origin, arrived_ms, records, ack }, cx).await
    }

    async fn drain(self: Box<Self>, _cx: &StageContext) -> Result<(), Failure> {
        self.out.close()
    }
}
