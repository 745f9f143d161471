//! What the loader costs beside its compressor: 55 MB of enriched TSV through [`render`], against bare libdeflate over
//! the same joined lines, in one run. Throughput counts plain bytes.

mod events;

use divan::counter::BytesCount;
use snowmelt_objects::framing::write_lines;
use snowmelt_objects::{Batch, LoaderFile, S3LoaderConfig, render};
use std::sync::LazyLock;

const LINES: u64 = 20_000;

static EVENTS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| events::events(LINES));

fn main() {
    divan::main();
}

fn config(compression: &str, partition_by: &str) -> S3LoaderConfig {
    let text = format!(
        r#"{{"purpose": "ENRICHED_EVENTS", "input": {{"streamName": "enriched"}}, "output": {{"bad": {{"streamName": "bad"}},
            "good": {{"path": "s3://arch/enriched", "partitionFormat": "{{yyyy}}/{{MM}}/{{dd}}/{{HH}}",
            "compressionType": "{compression}"}}}}, "snowmelt": {{"naming": "sequence", "partitionBy": "{partition_by}"}}}}"#
    );
    let value = serde_json::from_str(&text).expect("the text is JSON");
    LoaderFile::from_value(&value).and_then(|file| file.resolve("0.1.0")).expect("the options make sense")
}

fn bench_render(bencher: divan::Bencher<'_, '_>, config: &S3LoaderConfig) {
    let records: Vec<&[u8]> = EVENTS.iter().map(Vec::as_slice).collect();
    let batch = Batch { shard: "shardId-000000000000", first_sequence: "1", last_sequence: "2", records: &records };
    bencher.counter(plain_bytes()).bench(|| render(&batch, config, 1_709_629_687_250));
}

fn plain_bytes() -> BytesCount {
    BytesCount::new(EVENTS.iter().map(|event| event.len() + 1).sum::<usize>())
}

#[divan::bench(sample_count = 10)]
fn render_gzip_6(bencher: divan::Bencher<'_, '_>) {
    bench_render(bencher, &config("gzip", "load_time"));
}

#[divan::bench(sample_count = 10)]
fn render_gzip_6_by_event_time(bencher: divan::Bencher<'_, '_>) {
    bench_render(bencher, &config("gzip", "collector_time"));
}

#[divan::bench(sample_count = 10)]
fn render_zstd_3(bencher: divan::Bencher<'_, '_>) {
    bench_render(bencher, &config("zstd", "load_time"));
}

#[divan::bench(sample_count = 10)]
fn bare_libdeflate_6(bencher: divan::Bencher<'_, '_>) {
    let mut joined = Vec::new();
    write_lines(EVENTS.iter().map(Vec::as_slice), &mut joined);
    let level = libdeflater::CompressionLvl::new(6).expect("libdeflate knows level 6");
    let mut compressor = libdeflater::Compressor::new(level);
    let mut packed = vec![0; compressor.gzip_compress_bound(joined.len())];
    bencher.counter(plain_bytes()).bench_local(|| compressor.gzip_compress(&joined, &mut packed));
}
