//! How connections to the database are made: from a URL, with TLS as its `sslmode` asks, and set up for our sessions.

mod prompt;
mod tls;

pub(crate) use prompt::send_promptly;
pub(crate) use tls::{asks_for_tls, parse_url};
