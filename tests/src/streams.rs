//! Reading a running pipeline's streams, as `snowmelt tail` does.

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// A record of a stream.
#[derive(Clone, Debug)]
pub struct Read {
    /// Its partition key.
    pub key: String,
    /// Its bytes.
    pub data: Vec<u8>,
}

#[derive(Deserialize)]
struct Page {
    records: Vec<Json>,
}

#[derive(Deserialize)]
struct Json {
    sequence: String,
    partition_key: String,
    data: String,
}

async fn get<T: serde::de::DeserializeOwned>(url: &str) -> Result<T> {
    let answer = reqwest::get(url).await?.error_for_status()?;
    serde_json::from_slice(&answer.bytes().await?).with_context(|| url.to_owned())
}

/// All records that are in a stream now: one shard after the other, each in order.
pub async fn read_stream(operator_url: &str, stream: &str) -> Result<Vec<Read>> {
    let base = format!("{operator_url}/streams/{stream}");
    let shards: Vec<String> = get(&base).await?;
    let mut read = Vec::new();
    for shard in shards {
        let mut after = String::new();
        loop {
            let url = format!("{base}/shards/{shard}?limit=1000{after}");
            let page: Page = get(&url).await?;
            let Some(last) = page.records.last() else { break };
            after = format!("&after={}", last.sequence);
            for record in page.records {
                let data = STANDARD.decode(&record.data).context("a record's data")?;
                read.push(Read { key: record.partition_key, data });
            }
        }
    }
    Ok(read)
}
