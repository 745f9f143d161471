//! What a request to DynamoDB can come to, as far as we act on it.

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Debug;

use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use snowmelt_leases::LeaseError;

/// A row as DynamoDB gives it.
pub type Item = HashMap<String, AttributeValue>;

/// Why a request failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Fault {
    /// The row is not as the condition wants it: what it is now, when the service says.
    #[error("the row is not as expected")]
    Condition(Option<Box<Item>>),
    /// The table is not there.
    #[error("table {table} does not exist")]
    NoTable {
        /// Its name.
        table: String,
    },
    /// Too many requests: nothing was written.
    #[error("table {table} is throttled: {reason}")]
    Throttled {
        /// The table.
        table: String,
        /// What the service said.
        reason: String,
    },
    /// The service says that the request can never succeed.
    #[error("table {table}: {reason}")]
    Refused {
        /// The table.
        table: String,
        /// What the service said.
        reason: String,
    },
    /// No answer, or one that says that the service failed. A write may have landed.
    #[error("table {table}: {reason}")]
    Unknown {
        /// The table.
        table: String,
        /// What is known.
        reason: String,
    },
}

impl Fault {
    /// Reads an SDK error.
    pub fn of<E, R>(table: &str, error: &SdkError<E, R>) -> Self
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
        R: Debug + Send + Sync + 'static,
    {
        let table = table.to_owned();
        let reason = match (error.code(), error.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code.to_owned(),
            (None, _) => DisplayErrorContext(error).to_string(),
        };
        match error.code() {
            Some("ResourceNotFoundException") => Self::NoTable { table },
            Some("ConditionalCheckFailedException") => Self::Condition(None),
            Some("ProvisionedThroughputExceededException" | "ThrottlingException" | "RequestLimitExceeded") => {
                Self::Throttled { table, reason }
            }
            Some(
                "ValidationException"
                | "AccessDeniedException"
                | "UnrecognizedClientException"
                | "MissingAuthenticationToken",
            ) => Self::Refused { table, reason },
            _ => Self::Unknown { table, reason },
        }
    }

    /// Reads the error of an update, which may hold the row.
    pub fn of_update<R: Debug + Send + Sync + 'static>(table: &str, error: SdkError<UpdateItemError, R>) -> Self {
        match error {
            SdkError::ServiceError(service) if service.err().is_conditional_check_failed_exception() => {
                match service.into_err() {
                    UpdateItemError::ConditionalCheckFailedException(failed) => {
                        Self::Condition(failed.item.filter(|item| !item.is_empty()).map(Box::new))
                    }
                    // The guard above has just seen that it is one.
                    _ => Self::Condition(None),
                }
            }
            other => Self::of(table, &other),
        }
    }

    /// Whether a write may have landed all the same.
    pub const fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }

    /// As callers of the store see it.
    pub fn of_lease(&self, app: &str) -> LeaseError {
        // Rights may be given and tables made while a worker runs: nothing here is for good.
        LeaseError::Unavailable { app: app.to_owned(), reason: self.to_string() }
    }
}
