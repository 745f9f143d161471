//! An emulator of S3 beside the program under test: moto, which `tests/run.sh` installs.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use flate2::read::MultiGzDecoder;

use crate::{root, tools_dir};

/// A running emulator. Ends when dropped.
pub struct S3Emulator {
    process: Child,
    /// Its endpoint.
    pub url: String,
}

impl S3Emulator {
    /// Starts one with these buckets; none where the tools are not installed.
    pub async fn start(buckets: &[&str]) -> Result<Option<Self>> {
        let Some(tools) = tools_dir() else { return Ok(None) };
        let mut process = Command::new(tools.join("python/bin/python"))
            .arg(root().join("tests/tools/aws_server.py"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("starting moto")?;
        let mut port = String::new();
        BufReader::new(process.stdout.take().context("it was asked for")?).read_line(&mut port)?;
        let emulator = Self { process, url: format!("http://127.0.0.1:{}", port.trim()) };
        for bucket in buckets {
            let made = reqwest::Client::new().put(format!("{}/{bucket}", emulator.url)).send().await?;
            made.error_for_status().context("making a bucket")?;
        }
        Ok(Some(emulator))
    }

    /// What the program has to have in its environment to be let in.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("AWS_ACCESS_KEY_ID", "test".into()),
            ("AWS_SECRET_ACCESS_KEY", "test".into()),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
        ]
    }

    /// The keys of a bucket.
    pub async fn keys(&self, bucket: &str) -> Result<Vec<String>> {
        let mut keys: Vec<String> = Vec::new();
        loop {
            let after = keys.last().map_or_else(String::new, |last| format!("&start-after={last}"));
            let page = reqwest::get(format!("{}/{bucket}?list-type=2{after}", self.url)).await?.error_for_status()?;
            let page = page.text().await?;
            let before = keys.len();
            keys.extend(page.split("<Key>").skip(1).filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned())));
            if keys.len() == before || !page.contains("<IsTruncated>true") {
                return Ok(keys);
            }
        }
    }

    /// The lines of all gzip objects of a bucket.
    pub async fn gzip_lines(&self, bucket: &str) -> Result<Vec<Vec<u8>>> {
        let mut lines = Vec::new();
        for key in self.keys(bucket).await? {
            // The emulator looks whether a request is signed, not how.
            let signed = reqwest::Client::new()
                .get(format!("{}/{bucket}/{key}", self.url))
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

impl Drop for S3Emulator {
    fn drop(&mut self) {
        // It may have ended by itself; nothing of it is needed any more.
        let ended = self.process.kill().and_then(|()| self.process.wait());
        if let Err(error) = ended {
            println!("the emulator of S3 did not end: {error}");
        }
    }
}
