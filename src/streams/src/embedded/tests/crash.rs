//! What is left after a crash or damage: every acknowledged record, nothing half.

use std::fs;
use std::path::{Path, PathBuf};

use super::log::{DAY, NO_WAIT, drain, entry, open, options, put_one, read_from, texts};
use crate::embedded::{EmbeddedStreams, Options};
use crate::{
    Origin, Producer, PutEntry, PutOutcome, ReadLimit, SequenceNumber, ShardId, StartAt, StreamError, Streams,
};

fn shard() -> ShardId {
    ShardId::from_index(0)
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let directory = directory.join("streams/s").join(shard().as_str());
    let mut found: Vec<_> = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let target = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy(&file.path(), &target)
        } else {
            drop(fs::copy(file.path(), target))
        }
    }
}

/// The length of the only segment after each of some puts.
async fn puts(directory: &Path, count: u64, producer: Option<&Producer>) -> Vec<u64> {
    let streams = open(directory);
    streams.create("s", 1, DAY).await.unwrap();
    let mut lengths = Vec::new();
    for n in 0..count {
        let origin = Some(Origin { sequence: SequenceNumber::new(0, u128::from(n)), index: 0 });
        let entries = vec![PutEntry { origin, ..entry("k", &n.to_string()) }];
        streams.put("s", entries, producer).await.unwrap();
        lengths.push(fs::metadata(&segments(directory)[0]).unwrap().len());
    }
    lengths
}

#[tokio::test]
async fn a_write_cut_at_any_byte_goes_and_all_before_it_stays() {
    let whole = tempfile::tempdir().unwrap();
    let producer = Producer("p".to_owned());
    let lengths = puts(whole.path(), 4, Some(&producer)).await;
    let bytes = fs::read(&segments(whole.path())[0]).unwrap();
    for cut in lengths[1]..=lengths[3] {
        // A file that ends there, one that was lengthened before it was written, and one with rubbish.
        for tail in [None, Some(0u8), Some(0xA5)] {
            let directory = tempfile::tempdir().unwrap();
            copy(&whole.path().join("streams"), &directory.path().join("streams"));
            let cut_at = usize::try_from(cut).unwrap();
            let mut content = bytes[..cut_at].to_vec();
            if let Some(byte) = tail {
                // A byte that is the one before would not be damage.
                content.extend(bytes[cut_at..].iter().map(|_| byte));
            }
            fs::write(&segments(directory.path())[0], content).unwrap();
            let streams = open(directory.path());
            let kept = if cut == lengths[3] { 4 } else { 2 + usize::from(cut >= lengths[2]) };
            let read = read_from(&streams, &shard(), StartAt::TrimHorizon).await;
            // With a filling that happens to be what was written, a whole frame may be kept beyond the cut.
            assert!(read.len() >= kept && texts(&read)[..kept] == ["0", "1", "2", "3"][..kept], "cut {cut} {tail:?}");
            assert!(read.len() <= kept + usize::from(tail.is_some()), "cut {cut} {tail:?}");
            // What was kept is known to be stored, what went is not.
            let repeated = |n: usize| {
                let origin = Some(Origin { sequence: SequenceNumber::new(0, n as u128), index: 0 });
                PutEntry { origin, ..entry("k", &n.to_string()) }
            };
            let outcomes = streams.put("s", (0..4).map(repeated).collect(), Some(&producer)).await.unwrap();
            let duplicates = outcomes.iter().filter(|one| **one == PutOutcome::Duplicate).count();
            assert_eq!(duplicates, read.len(), "cut {cut}");
            let all = read_from(&streams, &shard(), StartAt::TrimHorizon).await;
            assert_eq!(texts(&all), ["0", "1", "2", "3"], "cut {cut}");
            assert!(all.is_sorted_by(|a, b| a.sequence < b.sequence));
        }
    }
}

#[tokio::test]
async fn damage_in_acknowledged_records_is_told_and_can_be_passed() {
    for sealed in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let lengths = puts(directory.path(), 4, None).await;
        let path = segments(directory.path())[0].clone();
        let set_up = Options { tail_cache_bytes: 0, segment_bytes: 4096, ..options() };
        if sealed {
            let streams = EmbeddedStreams::open(directory.path(), set_up.clone()).unwrap();
            put_one(&streams, "k", &"x".repeat(4000)).await;
            assert_eq!(segments(directory.path()).len(), 2);
        }
        let mut bytes = fs::read(&path).unwrap();
        bytes[usize::try_from(lengths[1]).unwrap() + 45] ^= 1;
        fs::write(&path, bytes).unwrap();
        for _ in 0..2 {
            let streams = EmbeddedStreams::open(directory.path(), set_up.clone()).unwrap();
            let mut cursor = streams.open("s", &shard(), &StartAt::TrimHorizon).await.unwrap();
            let page = cursor.next(ReadLimit::default(), NO_WAIT).await.unwrap();
            assert_eq!(texts(&page.records), ["0", "1"]);
            let error = cursor.next(ReadLimit::default(), NO_WAIT).await.unwrap_err();
            assert_eq!(Err(error.clone()), cursor.next(ReadLimit::default(), NO_WAIT).await, "it stays there");
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
            let StreamError::Corrupt(corruption) = error else { panic!("{error:?}") };
            let (offset, resume) = (corruption.offset, corruption.resume);
            assert_eq!(offset, lengths[1]);
            let read = read_from(&streams, &shard(), StartAt::At(resume)).await;
            assert_eq!(texts(&read)[0], "3");
            // Writing goes on.
            put_one(&streams, "k", "new").await;
            let read = read_from(&streams, &shard(), StartAt::At(resume)).await;
            assert_eq!(texts(&read).last(), Some(&"new"));
        }
    }
}

#[tokio::test]
async fn a_lost_index_is_made_from_the_segment() {
    let directory = tempfile::tempdir().unwrap();
    let set_up = Options { segment_bytes: 4096, tail_cache_bytes: 0, ..options() };
    let streams = EmbeddedStreams::open(directory.path(), set_up.clone()).unwrap();
    streams.create("s", 1, DAY).await.unwrap();
    for n in 0..60 {
        put_one(&streams, "k", &format!("{n:0300}")).await;
    }
    let all = read_from(&streams, &shard(), StartAt::TrimHorizon).await;
    drop(streams);
    let indexes: Vec<_> = segments(directory.path()).iter().map(|path| path.with_extension("idx")).collect();
    assert!(indexes.len() > 3);
    fs::remove_file(&indexes[0]).unwrap();
    fs::write(&indexes[1], b"{").unwrap();
    fs::write(directory.path().join("streams/s").join(shard().as_str()).join("9.tmp"), b"half").unwrap();
    let streams = EmbeddedStreams::open(directory.path(), set_up).unwrap();
    assert_eq!(read_from(&streams, &shard(), StartAt::TrimHorizon).await, all);
    assert_eq!(read_from(&streams, &shard(), StartAt::At(all[7].sequence)).await, all[7..]);
}

#[tokio::test]
async fn what_a_split_cut_short_left_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let streams = open(directory.path());
    streams.create("s", 1, DAY).await.unwrap();
    put_one(&streams, "k", "x").await;
    drop(streams);
    let path = directory.path().join("streams/s");
    copy(&path.join(shard().as_str()), &path.join(ShardId::from_index(1).as_str()));
    fs::create_dir(directory.path().join("streams/never-finished")).unwrap();
    let streams = open(directory.path());
    assert_eq!(streams.list().await.unwrap(), ["s"]);
    streams.split("s", &shard(), 1 << 127).await.unwrap();
    let mut child = streams.open("s", &ShardId::from_index(1), &StartAt::TrimHorizon).await.unwrap();
    assert_eq!(drain(child.as_mut(), ReadLimit::default()).await, (vec![], false));
    streams.create("never-finished", 1, DAY).await.unwrap();
}
