//! Buckets of a stand-in of S3.

use std::io::Read;

use anyhow::{Context, Result};
use flate2::read::MultiGzDecoder;
use reqwest::Client;
use snowmelt_standins::{Service, Standins};

/// A bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    url: String,
}

impl Bucket {
    /// A bucket of running stand-ins, past the proxy before them.
    pub fn of(standins: &Standins, name: &str) -> Result<Self> {
        Ok(Self { url: format!("{}/{name}", standins.emulator(Service::S3)?) })
    }

    /// Makes it.
    pub async fn make(&self) -> Result<()> {
        Client::new().put(&self.url).send().await?.error_for_status().context("making a bucket")?;
        Ok(())
    }

    /// The keys that begin so.
    pub async fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        let mut keys: Vec<String> = Vec::new();
        loop {
            let after = keys.last().map_or_else(String::new, |last| format!("&start-after={last}"));
            let page = reqwest::get(format!("{}?list-type=2&prefix={prefix}{after}", self.url)).await?;
            let page = page.error_for_status()?.text().await?;
            let before = keys.len();
            keys.extend(page.split("<Key>").skip(1).filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned())));
            if keys.len() == before || !page.contains("<IsTruncated>true") {
                return Ok(keys);
            }
        }
    }

    /// The lines of all gzip objects whose keys begin so.
    pub async fn gzip_lines(&self, prefix: &str) -> Result<Vec<Vec<u8>>> {
        let mut lines = Vec::new();
        for key in self.keys(prefix).await? {
            // The emulator looks whether a request is signed, not how.
            let signed = Client::new()
                .get(format!("{}/{key}", self.url))
                .header("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request");
            let object = signed.send().await?.error_for_status()?.bytes().await?;
            let mut plain = Vec::new();
            MultiGzDecoder::new(object.as_ref()).read_to_end(&mut plain).with_context(|| key.clone())?;
            let plain = plain.strip_suffix(b"\n").with_context(|| format!("{key} has no final newline"))?;
            lines.extend(plain.split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
        }
        Ok(lines)
    }
}
