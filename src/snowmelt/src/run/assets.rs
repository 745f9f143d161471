//! The files that enrichments name: fetched at the start, looked at again later, kept in memory.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use reqwest::StatusCode;
use reqwest::header::{ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use snowmelt_enrich::enrichments::Assets;
use snowmelt_runtime::Backoff;
use snowmelt_runtime::failure::explain;

use crate::trouble::{Outcome, Trouble};

/// How long the download of one file may take.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The largest file: a MaxMind city database has about 120 MB.
const MAX_BYTES: usize = 1 << 30;
/// How often a download that failed is tried again (enrichments 2).
const RETRIES: u32 = 5;

/// The files of the enrichments of one folder.
#[derive(Debug)]
pub struct AssetStore {
    folder: PathBuf,
    client: reqwest::Client,
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

impl AssetStore {
    /// Without files yet; those of this machine are looked for in `folder`.
    pub fn new(folder: &Path) -> Outcome<Self> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| Trouble::caused("the HTTP client can't be made", error))?;
        Ok(Self { folder: folder.to_owned(), client, files: HashMap::new() })
    }

    /// Looks at all these files side by side and gives those that are new or have changed.
    pub async fn changes(&self, uris: &[String]) -> Outcome<Changes> {
        let fetched = join_all(uris.iter().map(|uri| self.fetch(uri))).await;
        let mut changes = Changes::new();
        for (uri, file) in uris.iter().zip(fetched) {
            let Some(file) = file? else { continue };
            if self.files.get(uri).is_none_or(|known| known.content != file.content) {
                changes.insert(uri.clone(), file);
            }
        }
        Ok(changes)
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
        if !uri.starts_with("http://") && !uri.starts_with("https://") {
            return self.read(uri).await.map(Some);
        }
        let mut backoff = Backoff::new(Duration::from_millis(1_500), Duration::from_secs(60));
        loop {
            match self.download(uri).await {
                Ok(file) => return Ok(file),
                Err(reason) if backoff.attempts() >= RETRIES => {
                    return Err(Trouble::Machine(format!("asset {uri} can't be fetched: {reason}")));
                }
                Err(reason) => {
                    let wait = backoff.next_wait();
                    tracing::warn!(uri, reason, wait_ms = wait.as_millis() as u64, "asset not fetched, trying again");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn read(&self, uri: &str) -> Outcome<File> {
        let path = self.folder.join(uri.strip_prefix("file://").unwrap_or(uri));
        let content = tokio::fs::read(&path).await.map_err(|error| {
            Trouble::user(format!("{}: asset {} can't be read: {error}", self.folder.display(), path.display()))
        })?;
        Ok(File { content: content.into(), etag: None, modified: None })
    }

    async fn download(&self, uri: &str) -> Result<Option<File>, String> {
        let failed = |error: reqwest::Error| explain(&error);
        let mut request = self.client.get(uri);
        if let Some(File { etag, modified, .. }) = self.files.get(uri) {
            let conditions = [(IF_NONE_MATCH, etag), (IF_MODIFIED_SINCE, modified)];
            for (name, value) in conditions {
                if let Some(value) = value {
                    request = request.header(name, value);
                }
            }
        }
        let answer = request.send().await.map_err(failed)?;
        if answer.status() == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let mut answer = answer.error_for_status().map_err(failed)?;
        let (etag, modified) = (text(answer.headers(), &ETAG), text(answer.headers(), &LAST_MODIFIED));
        let mut content = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if content.len() + chunk.len() > MAX_BYTES {
                return Err(format!("it is larger than {} MiB", MAX_BYTES >> 20));
            }
            content.extend_from_slice(&chunk);
        }
        Ok(Some(File { content: content.freeze(), etag, modified }))
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}
