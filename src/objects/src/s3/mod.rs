//! Objects in a bucket of Amazon S3, or of a service that speaks its protocol.
//!
//! A put is one request, or above [`S3Options::multipart_from`] a multipart upload, which readers see whole or not at all.
//! The SDK's default checksum (CRC32) goes with each body. Credentials come from the SDK's default chain.

mod bucket;
mod multipart;

use crate::store::{Headers, ObjectInfo, ObjectStore, StoreError, check_key};
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{BehaviorVersion, Region};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ServerSideEncryption, StorageClass};
use bytes::Bytes;
use std::error::Error;
use std::fmt::Debug;
use std::io;
use std::time::Duration;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// Most rows of one listing; S3's own limit.
const PAGE: usize = 1000;

/// How a bucket is reached, and how objects are kept in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Options {
    /// Another service than AWS's own.
    pub endpoint: Option<String>,
    /// The bucket's region; as the SDK finds it when absent.
    pub region: Option<String>,
    /// The bucket stands in the path of a URL, not in the host's name.
    pub path_style: bool,
    /// Storage class; the bucket's default when absent.
    pub storage_class: Option<String>,
    /// Encryption by the server; the bucket's default when absent.
    pub encryption: Option<Encryption>,
    /// Objects of more bytes are put in parts.
    pub multipart_from: usize,
    /// Bytes of a part; S3 wants 5 MiB or more.
    pub part_bytes: usize,
}

impl Default for S3Options {
    fn default() -> Self {
        S3Options {
            endpoint: None,
            region: None,
            path_style: false,
            storage_class: None,
            encryption: None,
            multipart_from: 64 << 20,
            part_bytes: 16 << 20,
        }
    }
}

/// How the server encrypts an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// With keys of S3.
    Aes256,
    /// With a key of KMS: this one, or the account's for S3.
    Kms {
        /// Id or ARN.
        key: Option<String>,
    },
}

/// A bucket. Clones share connections.
#[derive(Debug, Clone)]
pub struct S3Store {
    client: Client,
    bucket: String,
    storage_class: Option<StorageClass>,
    encryption: Option<ServerSideEncryption>,
    kms_key: Option<String>,
    multipart_from: usize,
    part_bytes: usize,
}

impl S3Store {
    /// A client for `bucket`. Nothing is sent yet: a bucket that is missing shows at the first put.
    pub async fn open(bucket: &str, options: &S3Options) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            // Whoever puts tries again, and counts it.
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        if let Some(region) = &options.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(endpoint) = &options.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        let shared = loader.load().await;
        let mut config = aws_sdk_s3::config::Builder::from(&shared).force_path_style(options.path_style);
        if shared.region().is_none() && options.endpoint.is_some() {
            // A service of one's own has no regions, but requests are signed for one.
            config = config.region(Region::new("us-east-1"));
        }
        Self::with_client(bucket, Client::from_conf(config.build()), options)
    }

    /// The same with a client that is there already.
    pub fn with_client(bucket: &str, client: Client, options: &S3Options) -> Self {
        let (encryption, kms_key) = match &options.encryption {
            None => (None, None),
            Some(Encryption::Aes256) => (Some(ServerSideEncryption::Aes256), None),
            Some(Encryption::Kms { key }) => (Some(ServerSideEncryption::AwsKms), key.clone()),
        };
        S3Store {
            client,
            bucket: bucket.to_owned(),
            storage_class: options.storage_class.as_deref().map(StorageClass::from),
            encryption,
            kms_key,
            multipart_from: options.multipart_from,
            part_bytes: options.part_bytes,
        }
    }
}

/// What the service or the way to it said.
fn failed<E, R>(action: &'static str, key: &str, error: SdkError<E, R>) -> StoreError
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    R: Debug + Send + Sync + 'static,
{
    let reason = match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => DisplayErrorContext(&error).to_string(),
    };
    let kind = match &error {
        SdkError::TimeoutError(_) => io::ErrorKind::TimedOut,
        SdkError::DispatchFailure(_) => io::ErrorKind::NotConnected,
        _ => io::ErrorKind::Other,
    };
    StoreError::Io { action, key: key.to_owned(), source: io::Error::new(kind, reason) }
}

fn content_length(bytes: &Bytes) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn put(&self, key: &str, bytes: Bytes, headers: Headers) -> Result<(), StoreError> {
        check_key(key)?;
        if bytes.len() > self.multipart_from {
            return self.put_in_parts(key, bytes, headers).await;
        }
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_length(content_length(&bytes))
            .set_content_type(headers.content_type.map(str::to_owned))
            .set_content_encoding(headers.content_encoding.map(str::to_owned))
            .set_storage_class(self.storage_class.clone())
            .set_server_side_encryption(self.encryption.clone())
            .set_ssekms_key_id(self.kms_key.clone())
            .body(ByteStream::from(bytes))
            .send()
            .await
            .map(drop)
            .map_err(|error| failed("put", key, error))
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<ObjectInfo>, StoreError> {
        let mut found: Vec<ObjectInfo> = Vec::new();
        let mut after = after.map(str::to_owned);
        while found.len() < limit {
            let wanted = (limit - found.len()).min(PAGE);
            let page = self
                .client
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(prefix)
                .set_start_after(after)
                .max_keys(i32::try_from(wanted).unwrap_or(i32::MAX))
                .send()
                .await
                .map_err(|error| failed("list", prefix, error))?;
            let more = page.is_truncated.unwrap_or(false);
            found.extend(page.contents.unwrap_or_default().into_iter().filter_map(|object| {
                Some(ObjectInfo { key: object.key?, bytes: u64::try_from(object.size.unwrap_or(0)).unwrap_or(0) })
            }));
            after = found.last().map(|last| last.key.clone());
            if !more {
                break;
            }
        }
        Ok(found)
    }

    async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        check_key(key)?;
        let answer = match self.client.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(answer) => answer,
            Err(SdkError::ServiceError(error)) if error.err().is_no_such_key() => {
                return Err(StoreError::NotFound { key: key.to_owned() });
            }
            Err(error) => return Err(failed("get", key, error)),
        };
        let body = answer.body.collect().await.map_err(|error| StoreError::Io {
            action: "get",
            key: key.to_owned(),
            source: io::Error::other(error),
        })?;
        Ok(body.into_bytes())
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        check_key(key)?;
        let deleted = self.client.delete_object().bucket(&self.bucket).key(key).send().await;
        deleted.map(drop).map_err(|error| failed("delete", key, error))
    }
}
