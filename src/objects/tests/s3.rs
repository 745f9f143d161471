//! The bucket of S3 over the real client, against an emulator.

#![allow(clippy::unwrap_used, reason = "a test may panic; clippy knows only the marked functions as tests")]

mod support;

use bytes::Bytes;
use snowmelt_objects::s3::{Encryption, S3Options, S3Store};
use snowmelt_objects::{Headers, ObjectInfo, ObjectStore, StoreError};
use snowmelt_standins::{Fault, Kind};
use support::Emulator;

fn keys(listing: &[ObjectInfo]) -> Vec<&str> {
    listing.iter().map(|info| info.key.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_read_back_replaced_listed_in_pages_and_deleted() {
    let Some(emulator) = Emulator::start().await else { return };
    let store = emulator.bucket("arch", &S3Options::default()).await;
    for key in ["a/z", "a-b", "a/b/c", "a0", "b"] {
        store.put(key, Bytes::from_static(b"old"), Headers::default()).await.unwrap();
    }
    store.put("a/b/c", Bytes::from_static(b"newer"), Headers::default()).await.unwrap();
    assert_eq!(store.get("a/b/c").await.unwrap(), "newer");
    let all = store.list("", None, 100).await.unwrap();
    assert_eq!(keys(&all), ["a-b", "a/b/c", "a/z", "a0", "b"]);
    assert_eq!(all[1].bytes, 5);
    assert_eq!(keys(&store.list("a/b", None, 100).await.unwrap()), ["a/b/c"]);
    assert_eq!(keys(&store.list("a", Some("a/b/c"), 2).await.unwrap()), ["a/z", "a0"]);
    store.delete("a/b/c").await.unwrap();
    store.delete("a/b/c").await.unwrap();
    assert!(matches!(store.get("a/b/c").await, Err(StoreError::NotFound { .. })));
    assert!(matches!(store.put("../x", Bytes::new(), Headers::default()).await, Err(StoreError::InvalidKey { .. })));
    // As the original: nothing but the service's default, a checksum with it.
    let head = emulator.client.head_object().bucket("arch").key("b");
    let head = head.checksum_mode(aws_sdk_s3::types::ChecksumMode::Enabled).send().await.unwrap();
    assert_eq!(head.content_encoding, None);
    assert_eq!(head.content_type.as_deref(), Some("application/octet-stream"));
    assert!(head.checksum_crc32.is_some(), "{head:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_object_is_put_in_parts_and_seen_whole_with_its_class_and_encryption() {
    let Some(emulator) = Emulator::start().await else { return };
    for (bucket, encryption, told) in [
        ("own-keys", Some(Encryption::Kms { key: Some("alias/objects".to_owned()) }), Some("aws:kms")),
        ("s3-keys", Some(Encryption::Aes256), Some("AES256")),
        ("as-the-bucket", None, None),
    ] {
        let options = S3Options {
            storage_class: Some("STANDARD_IA".to_owned()),
            encryption,
            multipart_from: 6 << 20,
            part_bytes: 5 << 20,
            ..S3Options::default()
        };
        let store = emulator.bucket(bucket, &options).await;
        for bytes in [12 << 20, 6 << 20] {
            let body: Bytes = (0..bytes as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            store.put("large", body.clone(), Headers::default()).await.unwrap();
            assert!(store.get("large").await.unwrap() == body, "{bytes} bytes came back otherwise");
            let head = emulator.client.head_object().bucket(bucket).key("large").send().await.unwrap();
            assert_eq!(head.storage_class.map(|class| class.as_str().to_owned()).as_deref(), Some("STANDARD_IA"));
            let encrypted = head.server_side_encryption.map(|kind| kind.as_str().to_owned());
            assert!(told.is_none() || encrypted.as_deref() == told, "{encrypted:?}");
            let parts = head.e_tag.unwrap().trim_matches('"').split_once('-').map(|(_, parts)| parts.to_owned());
            assert_eq!(parts.as_deref(), (bytes > 6 << 20).then_some("3"));
        }
        let left = emulator.client.list_multipart_uploads().bucket(bucket).send().await.unwrap();
        assert!(left.uploads().is_empty(), "{left:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bucket_and_a_service_that_is_away_may_come_back() {
    let Some(emulator) = Emulator::start().await else { return };
    let options = S3Options { multipart_from: 1, ..S3Options::default() };
    let store = S3Store::with_client("missing", emulator.client.clone(), &options);
    for body in [&b"1"[..], b"22"] {
        let error = store.put("a", Bytes::from_static(body), Headers::default()).await.unwrap_err();
        assert!(error.is_retriable());
        let told = std::error::Error::source(&error).unwrap().to_string();
        assert!(told.contains("NoSuchBucket"), "{told}");
    }
    drop(emulator);
    let error = store.put("a", Bytes::new(), Headers::default()).await.unwrap_err();
    assert!(error.is_retriable());
    assert_eq!(error.to_string(), "put of object \"a\" failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_fails_is_put_again_and_the_others_are_not() {
    let Some(emulator) = Emulator::start().await else { return };
    let options = S3Options { multipart_from: 6 << 20, part_bytes: 5 << 20, ..S3Options::default() };
    let store = emulator.bucket("parts", &options).await;
    emulator.faults().set(vec![Fault::new("PUT *partNumber=2*", Kind::Error).times(2)]);
    let body = Bytes::from(vec![7_u8; 12 << 20]);
    store.put("large", body.clone(), Headers::default()).await.unwrap();
    assert!(store.get("large").await.unwrap() == body);
    let report = emulator.faults().report();
    assert_eq!((report.done(Kind::Error), report.faults[0].seen), (2, 3));
}
