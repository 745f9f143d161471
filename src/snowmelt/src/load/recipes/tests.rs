//! Every recipe runs with a few records, and does to each what it is said to.

use std::path::Path;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::load::args::LoadArgs;
use crate::load::report::Report;

fn arguments(line: &str) -> LoadArgs {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let resolver = workspace.join("pipelines/iglu/resolver.json").display().to_string();
    // What the enricher is loaded with by default is part of what is tested.
    let enrichments = workspace.join("pipelines/enrichments").display().to_string();
    let words = ["snowmelt", "load"].into_iter().chain(line.split_whitespace());
    let by_default = line.starts_with("enricher");
    let enrichments = ["--enrichments", enrichments.as_str()].into_iter().filter(|_| !by_default);
    let paths = ["--resolver", resolver.as_str()].into_iter().chain(enrichments);
    match Cli::try_parse_from(words.chain(paths)).unwrap().command {
        Command::Load(args) => args,
        other => panic!("{other:?}"),
    }
}

fn run(line: &str) -> Report {
    let args = arguments(line);
    actix_rt::System::new().block_on(crate::load::measure_actor(&args)).unwrap()
}

fn check(report: &Report, records: u64) {
    assert_eq!(report.measured.records, records, "{report:?}");
    assert_eq!((report.refused, report.left_over), (0, 0));
    assert!(report.measured.seconds > 0.0 && report.measured.latency_ms.p50 > 0.0);
    assert!(!report.saturation.is_empty());
    assert!(report.to_string().contains("records/s"));
}

#[test]
fn shard_reader_reads_all_records_from_a_stand_in_and_from_a_stream() {
    check(&run("shard-reader --records 2000 --batch 150"), 2000);
    check(&run("shard-reader --records 2000 --batch 150 --fail 5 --seed 3"), 2000);
    check(&run("shard-reader --records 2000 --batch 150 --real"), 2000);
}

#[test]
fn enricher_makes_an_event_of_each_and_more() {
    let report = run("enricher --records 2000 --batch 200");
    check(&report, 2000);
    let outputs = report.outputs.as_ref().unwrap();
    assert!(outputs.count >= 2000, "{outputs:?}");
    let bad = report.actors.iter().find(|actor| actor.actor == "bad rows").unwrap();
    assert_eq!(bad.records, 0);
}

#[test]
fn enricher_writes_to_real_streams() {
    check(&run("enricher --records 500 --batch 100 --real"), 500);
}

#[test]
fn batcher_gathers_all_records() {
    let report = run("batcher --records 2000 --batch 50");
    check(&report, 2000);
    assert_eq!(report.actors.iter().find(|actor| actor.actor == "batcher").unwrap().records, 2000);
}

#[test]
fn stream_writer_puts_what_was_refused_again() {
    check(&run("stream-writer --records 2000 --batch 200 --delay 1ms --fail 10"), 2000);
    check(&run("stream-writer --records 2000 --batch 200 --throttle 5000"), 2000);
    check(&run("stream-writer --records 2000 --batch 200 --real"), 2000);
}

#[test]
fn s3_writer_packs_all_records() {
    check(&run("s3-writer --records 2000 --batch 500"), 2000);
    check(&run("s3-writer --records 2000 --batch 500 --real"), 2000);
}

#[test]
fn postgres_writer_loads_all_records_into_a_private_server() {
    let report = run("postgres-writer --records 2000 --batch 200");
    check(&report, 2000);
    assert_eq!(report.outputs.as_ref().map(|outputs| outputs.count), Some(0), "bad rows");
}

#[test]
fn checkpointer_stores_the_last_position() {
    let report = run("checkpointer --records 2000 --batch 10");
    check(&report, 2000);
    assert!(report.outputs.as_ref().unwrap().count > 0);
    check(&run("checkpointer --records 2000 --batch 10 --real"), 2000);
}

#[test]
fn collector_answers_every_request() {
    check(&run("collector --records 2000"), 2000);
    check(&run("collector --records 2000 --real"), 2000);
}

#[test]
fn a_rate_is_held_or_not() {
    let held = run("batcher --duration 4s --rate 200 --batch 2").rate.unwrap();
    assert!(held.held, "{held:?}");
    let slow = run("stream-writer --duration 500ms --rate 20000 --batch 100 --delay 50ms");
    assert!(!slow.rate.as_ref().unwrap().held);
    assert!(slow.saturation.contains("stream-writer"), "{}", slow.saturation);
    assert!(slow.measured.latency_ms.max > 300.0, "late records count from when they were due");
}

#[test]
fn options_without_use_are_refused() {
    for line in
        ["postgres-writer --delay 5ms", "collector --batch 7", "batcher --postgres postgres://x", "batcher --fail 101"]
    {
        let args = arguments(line);
        assert!(args.check(args.actor.unwrap()).is_err(), "{line}");
    }
}
