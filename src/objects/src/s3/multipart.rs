//! Large objects, in parts that are put side by side.

use super::{S3Store, content_length, failed};
use crate::store::{Headers, StoreError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::io;
use std::time::Duration;

/// Parts of one object that are put at the same time.
const SIDE_BY_SIDE: usize = 4;
/// Attempts of one part: what was put of the others is not put again for it.
const ATTEMPTS: u32 = 4;
/// The wait before the second attempt, at most; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Most parts of an object; S3's own limit.
const MAX_PARTS: usize = 10_000;

impl S3Store {
    /// Puts an object in parts. An upload that fails is given up, so that its parts are not kept and paid for.
    pub(super) async fn put_in_parts(&self, key: &str, bytes: Bytes, headers: Headers) -> Result<(), StoreError> {
        let begun = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .set_content_type(headers.content_type.map(str::to_owned))
            .set_content_encoding(headers.content_encoding.map(str::to_owned))
            .set_storage_class(self.storage_class.clone())
            .set_server_side_encryption(self.encryption.clone())
            .set_ssekms_key_id(self.kms_key.clone())
            .send()
            .await
            .map_err(|error| failed("put", key, error))?;
        let upload = begun.upload_id.ok_or_else(|| StoreError::Io {
            action: "put",
            key: key.to_owned(),
            source: io::Error::other("the answer names no upload"),
        })?;
        let put = self.put_parts(key, &upload, bytes).await;
        if put.is_err() {
            let given_up =
                self.client.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(&upload).send().await;
            if let Err(error) = given_up {
                let error = failed("put", key, error);
                tracing::warn!(key, upload, %error, "an upload that failed cannot be given up: its parts stay in the bucket");
            }
        }
        put
    }

    async fn put_parts(&self, key: &str, upload: &str, bytes: Bytes) -> Result<(), StoreError> {
        let size = self.part_bytes.max(bytes.len().div_ceil(MAX_PARTS));
        let starts = (0..bytes.len()).step_by(size);
        let puts = starts.zip(1_i32..).map(|(start, number)| {
            let part = bytes.slice(start..bytes.len().min(start + size));
            self.put_part(key, upload, number, part)
        });
        let parts: Vec<CompletedPart> = stream::iter(puts).buffered(SIDE_BY_SIDE).try_collect().await?;
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        self.client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(upload)
            .multipart_upload(parts)
            .send()
            .await
            .map(drop)
            .map_err(|error| failed("put", key, error))
    }

    /// Puts one part, some times if need be; failures are counted in `s3_part_failures_total`.
    async fn put_part(&self, key: &str, upload: &str, number: i32, part: Bytes) -> Result<CompletedPart, StoreError> {
        let mut attempt = 1;
        loop {
            match self.try_part(key, upload, number, part.clone()).await {
                Err(error) if attempt < ATTEMPTS && error.is_retriable() => {
                    metrics::counter!("s3_part_failures_total", "bucket" => self.bucket.clone()).increment(1);
                    tracing::warn!(key, number, attempt, %error, "a part was not put, trying again");
                    let most = FIRST_WAIT * 2_u32.pow(attempt - 1);
                    tokio::time::sleep(most.mul_f64(0.2 + 0.8 * fastrand::f64())).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn try_part(&self, key: &str, upload: &str, number: i32, part: Bytes) -> Result<CompletedPart, StoreError> {
        let put = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(upload)
            .part_number(number)
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .content_length(content_length(&part))
            .body(ByteStream::from(part))
            .send()
            .await
            .map_err(|error| failed("put", key, error))?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(put.e_tag)
            .set_checksum_crc32(put.checksum_crc32)
            .build())
    }
}
