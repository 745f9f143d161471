//! Why an actor stopped, when it was not asked to.

use std::fmt;

/// The reason of an actor's failure. Whichever it is, its group is torn down and built again from the last checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Failure {
    /// The actor returned an error.
    Error {
        /// What went wrong, with the identity of what failed.
        message: String,
    },
    /// A handler or one of its futures panicked.
    Panic {
        /// The panic's message.
        message: String,
    },
    /// The actor made no progress for longer than its heartbeat while it had work.
    Hang {
        /// For how long, in milliseconds.
        stuck_ms: u64,
    },
    /// A batch's acknowledgement was dropped or failed, so its position can never be passed.
    Unacknowledged {
        /// Number of the batch in its group's order of reading.
        ticket: u64,
    },
    /// An outside system was away for longer than it is waited for. The records are not to blame.
    Outage {
        /// What is away, for how long, and what it said last.
        message: String,
    },
    /// Another owner holds the shard's lease. The group ends and is not started again here.
    LeaseLost {
        /// What the lease store said.
        message: String,
    },
}

/// An error with the whole chain of its causes in one line.
pub fn explain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        // Many libraries repeat the cause in their own text; twice says no more.
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        cause = inner.source();
    }
    message
}

impl Failure {
    /// An error's failure, with the whole chain of its causes in one line.
    pub fn error(error: impl std::error::Error) -> Self {
        Self::Error { message: explain(&error) }
    }

    /// A failure told in words.
    pub fn message(message: impl Into<String>) -> Self {
        Self::Error { message: message.into() }
    }

    /// The failure of a caught panic.
    pub fn from_panic(payload: &(dyn std::any::Any + Send)) -> Self {
        let message = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "panic without a message".to_owned());
        Self::Panic { message }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error { message } => write!(f, "error: {message}"),
            Self::Panic { message } => write!(f, "panic: {message}"),
            Self::Hang { stuck_ms } => write!(f, "hang: no progress for {stuck_ms} ms"),
            Self::Unacknowledged { ticket } => write!(f, "batch {ticket} was not acknowledged"),
            Self::Outage { message } => write!(f, "outage: {message}"),
            Self::LeaseLost { message } => write!(f, "lease lost: {message}"),
        }
    }
}
