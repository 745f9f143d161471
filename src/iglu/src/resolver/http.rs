//! Asking a registry over HTTP (iglu-client, section 5): bounded in time, size and repetitions.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode, redirect};
use serde_json::Value;

use super::{ResolverError, ResolverOptions};
use crate::RegistryError;

/// Of an error page only the beginning gets into messages.
const MAX_ERROR_BODY: usize = 2 << 10;
/// Wait before the first repetition; it doubles.
const FIRST_RETRY_WAIT: Duration = Duration::from_millis(100);

/// An Iglu server or a static web site with schemas.
pub(super) struct HttpRegistry {
    base: String,
    headers: HeaderMap,
    client: Client,
    max_retries: u32,
    max_retry_wait: Duration,
    max_body_bytes: usize,
}

/// One client for all registries: connections are pooled per host.
pub(super) fn client(options: &ResolverOptions) -> Result<Client, ResolverError> {
    Client::builder()
        .timeout(options.request_timeout)
        .connect_timeout(options.request_timeout)
        // A redirect is an answer like any other: following it could carry the key elsewhere.
        .redirect(redirect::Policy::none())
        .build()
        .map_err(ResolverError::Http)
}

/// Why one request gave no document.
enum Failure {
    /// Worth repeating.
    Passing(RegistryError),
    Lasting(RegistryError),
}

impl HttpRegistry {
    pub(super) fn new(
        name: &str,
        uri: &str,
        apikey: Option<&str>,
        client: Client,
        options: &ResolverOptions,
    ) -> Result<Self, ResolverError> {
        let mut headers = HeaderMap::new();
        if let Some(key) = apikey {
            let mut value = HeaderValue::from_str(key).map_err(|_| ResolverError::ApiKey(name.to_owned()))?;
            value.set_sensitive(true);
            headers.insert("apikey", value);
        }
        Ok(Self {
            base: uri.strip_suffix('/').unwrap_or(uri).to_owned(),
            headers,
            client,
            max_retries: options.max_retries,
            max_retry_wait: options.max_retry_wait,
            max_body_bytes: options.max_body_bytes,
        })
    }

    /// `GET {base}/schemas/{path}`, repeated when that may help.
    pub(super) async fn get(&self, path: &str) -> Result<Value, RegistryError> {
        let url = format!("{}/schemas/{path}", self.base);
        let url = reqwest::Url::parse(&url).map_err(|error| RegistryError::client(error.to_string()))?;
        let mut wait = FIRST_RETRY_WAIT;
        for _ in 0..self.max_retries {
            match self.ask(url.clone()).await {
                Ok(document) => return Ok(document),
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Passing(_)) => {
                    // Full jitter: many machines look for a new schema at the same moment.
                    tokio::time::sleep(wait.min(self.max_retry_wait).mul_f64(fastrand::f64())).await;
                    wait = wait.saturating_mul(2);
                }
            }
        }
        self.ask(url).await.map_err(|(Failure::Passing(error) | Failure::Lasting(error))| error)
    }

    async fn ask(&self, url: reqwest::Url) -> Result<Value, Failure> {
        let request = self.client.get(url).headers(self.headers.clone());
        let response = request.send().await.map_err(network)?;
        let status = response.status();
        if status.is_success() {
            return self.document(response).await;
        }
        let failure =
            if matches!(status.as_u16(), 408 | 500 | 502 | 503 | 504) { Failure::Passing } else { Failure::Lasting };
        Err(failure(match status {
            StatusCode::NOT_FOUND => RegistryError::NotFound,
            status if status.is_server_error() => {
                RegistryError::repo(format!("Unexpected server response: {}", beginning(response).await))
            }
            status if status.is_client_error() => {
                RegistryError::client(format!("Unexpected response code: {}", status.as_u16()))
            }
            _ => RegistryError::client(format!("Unexpected response: {}", beginning(response).await)),
        }))
    }

    async fn document(&self, mut response: Response) -> Result<Value, Failure> {
        let undecodable =
            |why: String| Failure::Lasting(RegistryError::client(format!("Could not decode server response. {why}")));
        let limit = self.max_body_bytes;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(network)? {
            if body.len() + chunk.len() > limit {
                return Err(undecodable(format!("body is larger than {limit} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|error| undecodable(error.to_string()))
    }
}

/// The beginning of a body, as far as it comes.
async fn beginning(mut response: Response) -> String {
    let mut body = Vec::new();
    while body.len() < MAX_ERROR_BODY {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk[..chunk.len().min(MAX_ERROR_BODY)]),
            Ok(None) => break,
            // The status is what counts; half an error page explains it as well as none.
            Err(error) => {
                tracing::debug!(error = %error.without_url(), "error page of a schema registry broke off");
                break;
            }
        }
    }
    String::from_utf8_lossy(&body).into_owned()
}

/// Text of a network failure with its causes, without the address (which may hold credentials).
fn network(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    Failure::Passing(RegistryError::client(text))
}
