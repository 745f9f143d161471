//! The operator API from outside: finds a running node and asks it.

use std::path::Path;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::de::DeserializeOwned;

use crate::cli::{OperatorArgs, OrderKind};
use crate::run::operator::access::read_token;
use crate::run::operator::orders::Accepted;
use crate::run::operator::report::NodeReport;
use crate::running::RunFile;
use crate::trouble::{Outcome, Trouble};

/// A node's operator API.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
}

/// What a command is for: `PIPELINE`, `PIPELINE/SHARD` or `PIPELINE/SHARD/ACTOR`; everything when empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part(Vec<String>);

impl Part {
    /// Reads what was written on the command line.
    ///
    /// # Errors
    /// When it has an empty name or too many.
    pub fn parse(text: &str) -> Result<Self, String> {
        let names: Vec<String> = text.split('/').map(str::to_owned).collect();
        if names.len() > 3 || names.iter().any(String::is_empty) {
            return Err(
                "write PIPELINE, PIPELINE/SHARD or PIPELINE/SHARD/ACTOR, as `snowmelt status` shows them".into()
            );
        }
        Ok(Self(names))
    }

    /// A shard's group.
    pub fn group(pipeline: &str, shard: &str) -> Self {
        Self(vec![pipeline.to_owned(), shard.to_owned()])
    }

    fn query(&self) -> impl Iterator<Item = (&'static str, &String)> {
        ["pipeline", "shard", "actor"].into_iter().zip(&self.0)
    }
}

impl Client {
    /// The node that runs in `data_dir`.
    ///
    /// # Errors
    /// When none runs there, or its token can't be read.
    pub fn of(data_dir: &Path, timeout: Duration) -> Outcome<Self> {
        let hint = "start one with `snowmelt run pipelines/quickstart.toml`, or name its directory by --data-dir";
        let nobody = || Trouble::user(format!("no pipeline runs in {}; {hint}", data_dir.display()));
        let running = RunFile::find(data_dir).ok_or_else(nobody)?;
        let url = running.operator_url.ok_or_else(nobody)?;
        Self::at(url, running.operator_token_file.as_deref(), timeout)
    }

    /// The node that the arguments name.
    ///
    /// # Errors
    /// As [`Client::of`].
    pub fn new(args: &OperatorArgs, timeout: Duration) -> Outcome<Self> {
        match &args.operator {
            Some(url) => Self::at(url.trim_end_matches('/').to_owned(), args.operator_token_file.as_deref(), timeout),
            None => Self::of(&args.data_dir, timeout),
        }
    }

    fn at(url: String, token_file: Option<&Path>, timeout: Duration) -> Outcome<Self> {
        let mut headers = HeaderMap::new();
        if let Some(file) = token_file {
            let token = read_token(file)?;
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|error| Trouble::caused("operator token", error))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let http = reqwest::Client::builder()
            .timeout(timeout)
            .default_headers(headers)
            .build()
            .map_err(|error| Trouble::caused("the HTTP client can't be made", error))?;
        Ok(Self { http, url })
    }

    /// Where the API is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What stands at a path.
    ///
    /// # Errors
    /// When there is no answer, or it is a refusal.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        self.answer(self.http.get(format!("{}{path}", self.url))).await
    }

    /// The node's report.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn status(&self) -> Outcome<NodeReport> {
        self.get("/status").await
    }

    /// Gives a command; tells the groups that it reached.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn order(&self, kind: OrderKind, part: &Part) -> Outcome<Vec<String>> {
        let url = reqwest::Url::parse_with_params(&format!("{}/{}", self.url, kind.path()), part.query())
            .map_err(|error| Trouble::user(format!("--operator: {error}")))?;
        let accepted: Accepted = self.answer(self.http.post(url)).await?;
        Ok(accepted.groups)
    }

    async fn answer<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Outcome<T> {
        let answer =
            request.send().await.map_err(|error| Trouble::caused("the running pipeline does not answer", error))?;
        let status = answer.status();
        let text =
            answer.text().await.map_err(|error| Trouble::caused("the running pipeline's answer broke off", error))?;
        if !status.is_success() {
            return Err(Trouble::user(text.trim().to_owned()));
        }
        serde_json::from_str(&text)
            .map_err(|error| Trouble::caused("the running pipeline's answer can't be read", error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_up_to_three_names() {
        let part = Part::parse("enrich/shardId-0/stream-writer good").unwrap();
        let query: Vec<_> = part.query().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(query, ["pipeline=enrich", "shard=shardId-0", "actor=stream-writer good"]);
        assert_eq!(Part::parse("enrich").unwrap().query().count(), 1);
        for wrong in ["", "a/", "/a", "a//b", "a/b/c/d"] {
            assert!(Part::parse(wrong).is_err(), "{wrong}");
        }
    }
}
