//! Requests to a registry.

use std::path::Path;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

use super::args::RegistryArgs;
use crate::running::RunFile;
use crate::trouble::{Outcome, Trouble};

/// How long one request may take: a list can hold every schema.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Tries of one request while the registry does not answer or has trouble of its own.
const ATTEMPTS: u32 = 4;
/// Environment variable with the key.
const KEY_VARIABLE: &str = "SNOWMELT_IGLU_KEY";
/// Largest answer that is read.
const MAX_BYTES: usize = 1 << 30;

/// A registry and the key for it.
pub(super) struct Registry {
    client: Client,
    base: String,
    key: Option<String>,
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Answer {
    /// What the registry says, for people.
    pub(super) fn message(&self) -> String {
        match self.body.get("message").and_then(Value::as_str) {
            Some(message) if !message.trim().is_empty() => message.trim().to_owned(),
            _ => format!("it answered {}", self.status),
        }
    }
}

impl Registry {
    /// The registry that is meant, with its key.
    pub(super) fn find(args: &RegistryArgs) -> Outcome<Self> {
        let running = RunFile::find(&args.data_dir);
        let own = running.as_ref().and_then(|running| running.registry_url.clone());
        let base = args.registry.clone().or(own.clone()).unwrap_or_else(|| "http://127.0.0.1:8081".to_owned());
        let base = base.trim_end_matches('/').trim_end_matches("/api").to_owned();
        let is_own = own.is_some_and(|own| own == base);
        let read = |file: &Path| match std::fs::read_to_string(file) {
            Ok(text) => Ok(text.trim().to_owned()),
            Err(error) => Err(Trouble::user(format!("{} can't be read: {error}", file.display()))),
        };
        let from_environment = std::env::var(KEY_VARIABLE).ok().filter(|key| !key.is_empty());
        let own_key_file = running.and_then(|running| running.registry_key_file).filter(|_| is_own);
        let key = match (&args.key_file, from_environment, own_key_file) {
            (Some(file), _, _) => Some(read(file)?),
            (None, Some(key), _) => Some(key),
            (None, None, Some(file)) => Some(read(&file)?),
            (None, None, None) => None,
        };
        let client = Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Trouble::caused("the HTTP client can't be made", error))?;
        Ok(Self { client, base, key })
    }

    /// Asks below `/api`; tries again while nobody answers.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Outcome<Answer> {
        let mut wait = Duration::from_millis(200);
        let mut attempt = 1;
        loop {
            let mut request = self.client.request(method.clone(), format!("{}/api/{path}", self.base));
            if let Some(key) = &self.key {
                request = request.header("apikey", key);
            }
            if let Some(body) = body {
                request = request.header("Content-Type", "application/json").body(body.to_string());
            }
            match send(request).await {
                Ok(answer) if answer.status < 500 || attempt == ATTEMPTS => return Ok(answer),
                Err(error) if attempt == ATTEMPTS => {
                    let hint = "no registry answers; start one with `snowmelt run pipelines/quickstart.toml`, or name it by --registry URL";
                    return Err(Trouble::Machine(format!("{}: {hint}: {error}", self.base)));
                }
                Ok(_) | Err(_) => {}
            }
            tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
            wait *= 3;
            attempt += 1;
        }
    }

    /// Every schema of a list as the registry has it.
    pub(super) async fn schemas(&self, path: &str) -> Outcome<Vec<Value>> {
        let answer = self.ask(Method::GET, &format!("{path}?repr=canonical"), None).await?;
        match (answer.status, answer.body) {
            (200, Value::Array(schemas)) => Ok(schemas),
            (404, _) => Ok(Vec::new()),
            (status, body) => Err(self.refused(&Answer { status, body })),
        }
    }

    /// Trouble that says why the registry does not do what it was asked.
    pub(super) fn refused(&self, answer: &Answer) -> Trouble {
        let hint = match (answer.status, &self.key) {
            (401 | 403, None) => "; give a key by --key-file or SNOWMELT_IGLU_KEY",
            _ => "",
        };
        Trouble::Machine(format!("{} refuses: {}{hint}", self.base, answer.message()))
    }

    /// Where it is.
    pub(super) fn base(&self) -> &str {
        &self.base
    }
}

async fn send(request: RequestBuilder) -> Result<Answer, String> {
    let explained = |error: reqwest::Error| snowmelt_runtime::failure::explain(&error);
    let mut response = request.send().await.map_err(explained)?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(explained)? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(format!("its answer is larger than {} MiB", MAX_BYTES >> 20));
        }
        body.extend_from_slice(&chunk);
    }
    // Whoever is not a registry may answer with anything.
    Ok(Answer { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
}
