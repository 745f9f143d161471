//! What the service, or the way to it, said instead of an answer.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Debug;

use aws_sdk_kinesis::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use snowmelt_streams::StreamError;

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub kind: Kind,
    /// For metrics: the service's code, or `timeout`, `network`, `bad_answer`.
    pub code: Cow<'static, str>,
    pub reason: String,
}

/// What a failure asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Too many calls or bytes: wait.
    Throttled,
    /// An iterator's five minutes are over.
    Expired,
    /// There is no such stream, shard or consumer.
    NotFound,
    /// The stream or consumer is being changed, made, or used by another.
    InUse,
    /// The request can never succeed.
    Invalid,
    /// An operator has to allow it: access, credentials, keys.
    Denied,
    /// Anything that may pass: 5xx, time-outs, cut connections, answers that make no sense. The call may have had its effect.
    Passing,
}

impl Failure {
    /// Of an answer that was no answer.
    pub fn bad_answer(reason: impl Into<String>) -> Self {
        Self { kind: Kind::Passing, code: Cow::Borrowed("bad_answer"), reason: reason.into() }
    }

    /// Nothing came in time.
    pub fn timeout(reason: impl Into<String>) -> Self {
        Self { kind: Kind::Passing, code: Cow::Borrowed("timeout"), reason: reason.into() }
    }

    pub fn of<E, R>(error: &SdkError<E, R>) -> Self
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
        R: Debug + Send + Sync + 'static,
    {
        let shown = || DisplayErrorContext(error).to_string();
        let (code, reason) = match error {
            SdkError::ServiceError(_) => match (error.code(), error.message()) {
                (Some(code), message) => {
                    let message = message.unwrap_or("no message");
                    return Self::coded(code, format!("{code}: {message}"));
                }
                // A 5xx of something in between, mostly.
                (None, _) => ("bad_answer", shown()),
            },
            SdkError::TimeoutError(_) => ("timeout", "no answer in time".to_owned()),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => {
                ("timeout", "no connection in time".to_owned())
            }
            SdkError::DispatchFailure(_) => ("network", shown()),
            SdkError::ResponseError(_) => ("bad_answer", shown()),
            SdkError::ConstructionFailure(_) => {
                return Self { kind: Kind::Invalid, code: Cow::Borrowed("not_sent"), reason: shown() };
            }
            _ => ("other", shown()),
        };
        Self { kind: Kind::Passing, code: Cow::Borrowed(code), reason }
    }

    pub fn coded(code: &str, reason: String) -> Self {
        Self { kind: Kind::of_code(code), code: Cow::Owned(code.to_owned()), reason }
    }

    /// As the streams' own error; `Err` of calls that name no shard.
    pub fn of_stream(self, stream: &str) -> StreamError {
        let stream = stream.to_owned();
        match self.kind {
            Kind::NotFound => StreamError::StreamNotFound { stream },
            Kind::Invalid | Kind::Denied => StreamError::Invalid { stream, reason: self.reason },
            Kind::Throttled | Kind::Expired | Kind::InUse | Kind::Passing => {
                StreamError::Unavailable { stream, reason: self.reason }
            }
        }
    }
}

impl Kind {
    /// By the service's code, as it stands in an answer with or without a name space.
    fn of_code(code: &str) -> Self {
        match code.rsplit('#').next().unwrap_or(code) {
            "ProvisionedThroughputExceededException"
            | "KMSThrottlingException"
            | "LimitExceededException"
            | "ThrottlingException"
            | "Throttling"
            | "RequestLimitExceeded"
            | "TooManyRequestsException"
            | "SlowDown" => Self::Throttled,
            "ExpiredIteratorException" => Self::Expired,
            "ResourceNotFoundException" => Self::NotFound,
            "ResourceInUseException" => Self::InUse,
            "InvalidArgumentException"
            | "ValidationException"
            | "ExpiredNextTokenException"
            | "SerializationException"
            | "UnknownOperationException" => Self::Invalid,
            "AccessDeniedException"
            | "AccessDenied"
            | "KMSAccessDeniedException"
            | "KMSDisabledException"
            | "KMSInvalidStateException"
            | "KMSNotFoundException"
            | "KMSOptInRequired"
            | "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "InvalidClientTokenId"
            | "OptInRequired"
            | "NotAuthorized" => Self::Denied,
            // ExpiredTokenException too: the SDK renews credentials.
            _ => Self::Passing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_known_with_and_without_a_name_space() {
        assert_eq!(Kind::of_code("com.amazonaws.kinesis#ExpiredIteratorException"), Kind::Expired);
        assert_eq!(Kind::of_code("ProvisionedThroughputExceededException"), Kind::Throttled);
        assert_eq!(Kind::of_code("InternalFailure"), Kind::Passing);
        assert!(Failure::coded("InternalFailure", String::new()).of_stream("s").is_retriable());
        assert!(!Failure::coded("AccessDeniedException", String::new()).of_stream("s").is_retriable());
    }
}
