//! Sending the shop's requests.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use snowmelt_shop::{Method, ShopRequest};

/// How many requests are on their way at the same time.
const AT_ONCE: usize = 16;

/// An HTTP client as a tracker has one.
pub fn client() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?)
}

/// Sends one request; anything but a 200 is an error.
pub async fn send(client: &reqwest::Client, collector_url: &str, request: &ShopRequest) -> Result<()> {
    let url = format!("{collector_url}{}", request.path_and_query);
    let mut sending = match request.method {
        Method::Get => client.get(url),
        Method::Post => client.post(url).body(request.body.clone().unwrap_or_default()),
    };
    if let Some(content_type) = request.content_type {
        sending = sending.header("Content-Type", content_type);
    }
    for (name, value) in &request.headers {
        sending = sending.header(*name, value);
    }
    let answer = sending.send().await.context("sending")?;
    let status = answer.status();
    answer.bytes().await.context("reading the answer")?;
    ensure!(status == 200, "the collector answered {status}");
    Ok(())
}

/// Sends them all, several at once; every one has to be accepted.
pub async fn send_all(collector_url: &str, requests: &[ShopRequest]) -> Result<()> {
    let client = client()?;
    stream::iter(requests)
        .map(|request| send(&client, collector_url, request))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}
