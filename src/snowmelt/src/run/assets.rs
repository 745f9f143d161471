//! The files that enrichments name: fetched at the start, looked at again later, kept in memory.

#[cfg(test)]
pub(super) mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use reqwest::header::{ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::{Response, StatusCode};
use snowmelt_enrich::enrichments::Assets;
use snowmelt_runtime::Backoff;
use snowmelt_runtime::failure::explain;
use tokio::io::AsyncReadExt;

use crate::check::without_password;
use crate::definition::units::show_bytes;
use crate::trouble::{Outcome, Trouble};

/// How files are fetched.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long the download of one file may take.
    pub whole: Duration,
    /// How long its server may be silent.
    pub silence: Duration,
    /// How often a download that failed is tried again (enrichments 2).
    pub retries: u32,
    /// About how long it waits before the first of them; the wait doubles.
    pub first_wait: Duration,
    /// The largest file: a MaxMind city database has about 120 MB.
    pub max_bytes: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            whole: Duration::from_secs(600),
            silence: Duration::from_secs(30),
            retries: 5,
            first_wait: Duration::from_millis(1_500),
            max_bytes: 1 << 30,
        }
    }
}

/// The files of the enrichments of one folder.
#[derive(Debug)]
pub struct AssetStore {
    folder: PathBuf,
    client: reqwest::Client,
    patience: Patience,
    files: HashMap<String, File>,
}

/// A file as it was fetched.
#[derive(Debug, Clone)]
pub struct File {
    content: Bytes,
    etag: Option<String>,
    modified: Option<String>,
}

/// Files that are not what they were: take them over by [`AssetStore::adopt`] once they have proved good.
pub type Changes = HashMap<String, File>;

/// What a look at the files gave.
#[derive(Debug, Default)]
pub struct Looked {
    /// Files that are new or have changed.
    pub changes: Changes,
    /// Why others could not be looked at; they stay as they are.
    pub failures: Vec<Trouble>,
}

/// Why a download gave nothing.
enum Failure {
    /// Worth another try.
    Passing(String),
    Lasting(String),
}

/// Why files of this address can't be fetched, if so.
pub fn unsupported(uri: &str) -> Option<String> {
    let (scheme, _) = uri.split_once("://")?;
    match scheme {
        "http" | "https" | "file" => None,
        "s3" | "gs" => Some(format!(
            "files in {scheme}:// can't be fetched by this version yet; name an http:// or https:// address, or a file on \
             this machine"
        )),
        _ => {
            Some(format!("{scheme}:// is unknown here; name an http:// or https:// address, or a file on this machine"))
        }
    }
}

impl AssetStore {
    /// Without files yet; those of this machine are looked for in `folder`.
    pub fn new(folder: &Path, patience: Patience) -> Outcome<Self> {
        let client = reqwest::Client::builder()
            .timeout(patience.whole)
            .read_timeout(patience.silence)
            .connect_timeout(patience.silence)
            .build()
            .map_err(|error| Trouble::caused("the HTTP client can't be made", error))?;
        Ok(Self { folder: folder.to_owned(), client, patience, files: HashMap::new() })
    }

    /// Looks at all these files side by side.
    pub async fn look(&self, uris: &[String]) -> Looked {
        let fetched = join_all(uris.iter().map(|uri| self.fetch(uri))).await;
        let mut looked = Looked::default();
        for (uri, file) in uris.iter().zip(fetched) {
            match file {
                Ok(Some(file)) if self.files.get(uri).is_none_or(|known| known.content != file.content) => {
                    looked.changes.insert(uri.clone(), file);
                }
                Ok(_) => {}
                Err(trouble) => looked.failures.push(trouble),
            }
        }
        looked
    }

    /// The files as they are with these changes.
    pub fn with(&self, changes: &Changes) -> Assets {
        let mut assets = Assets::new();
        for (uri, file) in self.files.iter().chain(changes) {
            assets.insert(uri, file.content.clone());
        }
        assets
    }

    /// Takes changes over.
    pub fn adopt(&mut self, changes: Changes) {
        self.files.extend(changes);
    }

    /// A file, unless its server says that it is the one we have.
    async fn fetch(&self, uri: &str) -> Outcome<Option<File>> {
        // Who may fetch it is nobody else's business.
        let shown = without_password(uri);
        if !uri.starts_with("http://") && !uri.starts_with("https://") {
            return self.read(uri).await.map(Some);
        }
        let mut backoff = Backoff::new(self.patience.first_wait, Duration::from_secs(60));
        loop {
            let reason = match self.download(uri).await {
                Ok(file) => return Ok(file),
                Err(Failure::Passing(reason)) if backoff.attempts() < self.patience.retries => reason,
                Err(Failure::Passing(reason) | Failure::Lasting(reason)) => {
                    return Err(Trouble::Machine(format!("asset {shown} can't be fetched: {reason}")));
                }
            };
            let wait = backoff.next_wait();
            tracing::warn!(uri = shown, reason, wait_ms = wait.as_millis() as u64, "asset not fetched, trying again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn read(&self, uri: &str) -> Outcome<File> {
        let path = self.folder.join(uri.strip_prefix("file://").unwrap_or(uri));
        let refuse = |reason: String| {
            Trouble::user(format!("{}: asset {} can't be read: {reason}", self.folder.display(), path.display()))
        };
        let file = tokio::fs::File::open(&path).await.map_err(|error| refuse(error.to_string()))?;
        let (limit, mut content) = (self.patience.max_bytes, Vec::new());
        file.take(limit as u64 + 1).read_to_end(&mut content).await.map_err(|error| refuse(error.to_string()))?;
        if content.len() > limit {
            return Err(refuse(too_large(limit)));
        }
        Ok(File { content: content.into(), etag: None, modified: None })
    }

    async fn download(&self, uri: &str) -> Result<Option<File>, Failure> {
        let mut request = self.client.get(uri);
        if let Some(File { etag, modified, .. }) = self.files.get(uri) {
            let conditions = [(IF_NONE_MATCH, etag), (IF_MODIFIED_SINCE, modified)];
            for (name, value) in conditions {
                if let Some(value) = value {
                    request = request.header(name, value);
                }
            }
        }
        let answer = request.send().await.map_err(network)?;
        if answer.status() == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let answer = answer.error_for_status().map_err(network)?;
        let (etag, modified) = (text(answer.headers(), &ETAG), text(answer.headers(), &LAST_MODIFIED));
        Ok(Some(File { content: body(answer, self.patience.max_bytes).await?, etag, modified }))
    }
}

/// The body of an answer, as far as it may be.
async fn body(mut answer: Response, limit: usize) -> Result<Bytes, Failure> {
    let announced = answer.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let mut content = BytesMut::with_capacity(announced.min(1 << 20));
    if announced > limit {
        return Err(Failure::Lasting(too_large(limit)));
    }
    while let Some(chunk) = answer.chunk().await.map_err(network)? {
        if content.len() + chunk.len() > limit {
            return Err(Failure::Lasting(too_large(limit)));
        }
        content.extend_from_slice(&chunk);
    }
    Ok(content.freeze())
}

fn too_large(limit: usize) -> String {
    format!("it is larger than {}", show_bytes(limit))
}

/// Whether a later try may bring more: a request that the server refuses will be refused again.
fn network(error: reqwest::Error) -> Failure {
    let lasting =
        error.status().is_some_and(|status| status.is_client_error() && !matches!(status.as_u16(), 408 | 425 | 429));
    let reason = explain(&error.without_url());
    if lasting { Failure::Lasting(reason) } else { Failure::Passing(reason) }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}
