//! Web hooks: telling others that a schema was published (iglu-server spec, section 12). Telling takes place beside the
//! answer and cannot fail it.

use std::time::Duration;

use reqwest::{Client, Method};
use snowmelt_iglu::SchemaKey;
use tokio::sync::mpsc;

use crate::config::WebHook;

/// Publications that wait to be told; more are dropped, with a line in the log.
const QUEUE: usize = 256;
/// One request, at most.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Tries for each hook.
const ATTEMPTS: u32 = 3;

/// One publication.
struct Event {
    key: SchemaKey,
    updated: bool,
}

/// Where publications go to be told. Without hooks, nowhere.
#[derive(Debug)]
pub(crate) struct Hooks {
    queue: Option<mpsc::Sender<Event>>,
}

impl Hooks {
    /// Starts telling, until this is dropped.
    pub(crate) fn start(hooks: Vec<WebHook>) -> Result<Self, reqwest::Error> {
        if hooks.is_empty() {
            return Ok(Self { queue: None });
        }
        let client = Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("snowmelt-iglu/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let (queue, mut events) = mpsc::channel::<Event>(QUEUE);
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                for hook in hooks.iter().filter(|hook| hook.applies_to(event.key.vendor())) {
                    tell(&client, hook, &event).await;
                }
            }
        });
        Ok(Self { queue: Some(queue) })
    }

    /// Tells of a publication, soon.
    pub(crate) fn published(&self, key: &SchemaKey, updated: bool) {
        if let Some(queue) = &self.queue
            && queue.try_send(Event { key: key.clone(), updated }).is_err()
        {
            tracing::warn!(schema = %key, "web hooks are not told: too many publications wait for them");
        }
    }
}

async fn tell(client: &Client, hook: &WebHook, event: &Event) {
    let method = if hook.use_post { Method::POST } else { Method::GET };
    let body = format!(r#"{{"schemaKey":"{}","updated":{}}}"#, event.key, event.updated);
    let mut wait = Duration::from_millis(250);
    for attempt in 1..=ATTEMPTS {
        let request = client.request(method.clone(), &hook.uri).header("Content-Type", "application/json");
        let failure = match request.body(body.clone()).send().await {
            Ok(answer) if !answer.status().is_server_error() => return,
            Ok(answer) => format!("it answered {}", answer.status()),
            Err(error) => error.without_url().to_string(),
        };
        if attempt == ATTEMPTS {
            tracing::warn!(schema = %event.key, attempts = ATTEMPTS, failure, "a web hook was not told");
            return;
        }
        tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
        wait *= 4;
    }
}
