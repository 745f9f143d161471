//! The bucket itself: whether it is there, and making it.

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};

use super::{S3Store, failed};
use crate::store::StoreError;

/// The region whose name may not be given when a bucket is made in it.
const UNNAMED_REGION: &str = "us-east-1";

impl S3Store {
    /// Whether the bucket is there and may be used.
    ///
    /// # Errors
    /// When the service does not say, or forbids to ask.
    pub async fn exists(&self) -> Result<bool, StoreError> {
        match self.client.head_bucket().bucket(&self.bucket).send().await {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(error)) if error.err().is_not_found() => Ok(false),
            Err(error) => Err(failed("look for bucket", &self.bucket, error)),
        }
    }

    /// Makes the bucket, in the client's region. One that is ours already is left as it is.
    ///
    /// # Errors
    /// When the service refuses: the name may be somebody else's.
    pub async fn create(&self) -> Result<(), StoreError> {
        let region = self.client.config().region().map(ToString::to_string);
        let place = region.filter(|region| region != UNNAMED_REGION).map(|region| {
            CreateBucketConfiguration::builder()
                .location_constraint(BucketLocationConstraint::from(region.as_str()))
                .build()
        });
        let created =
            self.client.create_bucket().bucket(&self.bucket).set_create_bucket_configuration(place).send().await;
        match created {
            Ok(_) => Ok(()),
            Err(SdkError::ServiceError(error)) if error.err().is_bucket_already_owned_by_you() => Ok(()),
            Err(error) => Err(failed("create bucket", &self.bucket, error)),
        }
    }
}
