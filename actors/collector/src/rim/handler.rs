//! One request: head, body, decision, durable records, answer.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_http::{
    Payload, Request, Response, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use bytes::Bytes;
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    body::{self, BodyError},
    head::RawHead,
    server::Clock,
    statsd::{Requests, Timer},
    tap::Heads,
};
use crate::{
    Durability, Sink,
    commit::{CommitError, Committer},
    decision::{Answer, Core, Decision, Flavour, Head, Header, Route},
};

/// Bodies above this are decided about off the event loop: they may have to be split.
const INLINE_BODY: usize = 256 * 1024;

/// What every worker shares.
pub(super) struct State {
    pub(super) core: Arc<Core>,
    pub(super) good_sink: Arc<dyn Sink>,
    pub(super) bad_sink: Arc<dyn Sink>,
    pub(super) good: Committer,
    pub(super) bad: Committer,
    pub(super) clock: Clock,
    pub(super) durability: Durability,
    pub(super) drop_payload_size: usize,
    pub(super) body_timeout: Duration,
    pub(super) response_timeout: Duration,
    pub(super) unhealthy_while_draining: bool,
    pub(super) draining: AtomicBool,
    pub(super) counters: Counters,
    /// What StatsD is told, if it is.
    pub(super) requests: Option<Arc<Requests>>,
}

/// Requests by the first digit of their status.
pub(super) struct Counters([metrics::Counter; 5]);

impl Counters {
    pub(super) fn new() -> Self {
        Self(
            ["1xx", "2xx", "3xx", "4xx", "5xx"]
                .map(|class| metrics::counter!("collector_requests_total", "status" => class)),
        )
    }

    fn count(&self, status: u16) {
        if let Some(counter) = self.0.get(usize::from(status / 100).wrapping_sub(1)) {
            counter.increment(1);
        }
    }
}

/// Answers one request.
pub(super) async fn handle(mut request: Request, state: Arc<State>) -> Result<Response<Bytes>, Infallible> {
    let raw = match request.conn_data::<Heads>().and_then(Heads::take) {
        Some(raw) if raw.matches(&request) => raw,
        _ => {
            metrics::counter!("collector_heads_rebuilt_total").increment(1);
            tracing::debug!(peer = ?request.peer_addr(), "the head of a request was not seen; its header names are made up");
            RawHead::rebuild(&request)
        }
    };
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
    let mut timer = state.requests.as_ref().map(|requests| requests.begin(request.method().as_str()));
    let payload = request.take_payload();
    let answer = answer(&raw, peer, payload, &state, &mut timer).await;
    raw.recycle();
    state.counters.count(answer.status);
    if let Some(timer) = timer {
        timer.finish(answer.status);
    }
    Ok(respond(answer))
}

async fn answer(raw: &RawHead, peer: IpAddr, payload: Payload, state: &State, timer: &mut Option<Timer>) -> Answer {
    let headers: Vec<Header<'_>> = raw.headers().collect();
    let head = raw.borrow(&headers, peer);
    let tracking = match state.core.route(&head) {
        Route::Answer(answer) => return answer,
        Route::Health => {
            timer.take().into_iter().for_each(Timer::forget);
            return state.core.health(!(state.unhealthy_while_draining && state.draining.load(Ordering::Relaxed)));
        }
        Route::SinkHealth => {
            timer.take().into_iter().for_each(Timer::forget);
            return state.core.sink_health(state.good_sink.healthy() && state.bad_sink.healthy());
        }
        Route::Track(tracking) => tracking,
    };
    let body = match tracking.flavour {
        Flavour::Pixel => Bytes::new(),
        Flavour::Post => match timeout(state.body_timeout, read_body(&head, payload, state)).await {
            Ok(Ok(body)) => body,
            Ok(Err(BodyError::TooLarge)) => return state.core.body_too_large(),
            Ok(Err(BodyError::Broken)) => return state.core.body_broken(),
            Err(_) => return state.core.timed_out(),
        },
    };
    if body.len() <= INLINE_BODY {
        let decision = state.core.track(&head, &tracking, &body, (state.clock)(), &mut Uuid::new_v4);
        let unavailable = || state.core.unavailable(&head);
        return settle(decision, state).await.unwrap_or_else(|error| refuse(error, unavailable));
    }
    let (core, raw, now_ms) = (Arc::clone(&state.core), raw.clone(), (state.clock)());
    let decided = tokio::task::spawn_blocking(move || decide_large(&core, &raw, peer, &body, now_ms)).await;
    match decided {
        Ok(Some(decision)) => {
            settle(decision, state).await.unwrap_or_else(|error| refuse(error, || state.core.unavailable(&head)))
        }
        Ok(None) | Err(_) => state.core.body_broken(),
    }
}

/// The decision about a request that [`Core::route`] has said is to be tracked.
fn decide_large(core: &Core, raw: &RawHead, peer: IpAddr, body: &[u8], now_ms: i64) -> Option<Decision> {
    let headers: Vec<Header<'_>> = raw.headers().collect();
    let head = raw.borrow(&headers, peer);
    let Route::Track(tracking) = core.route(&head) else { return None };
    Some(core.track(&head, &tracking, body, now_ms, &mut Uuid::new_v4))
}

fn refuse(error: CommitError, unavailable: impl FnOnce() -> Answer) -> Answer {
    let reason = match error {
        CommitError::Full { .. } => "full",
        CommitError::NotStored { .. } => "not-stored",
        CommitError::Closed { .. } => "closed",
    };
    metrics::counter!("collector_refused_total", "reason" => reason).increment(1);
    tracing::debug!(%error, "a request was refused");
    unavailable()
}

async fn read_body(head: &Head<'_>, payload: Payload, state: &State) -> Result<Bytes, BodyError> {
    let declared = head
        .first("Content-Length")
        .and_then(|value| std::str::from_utf8(value).ok())
        .and_then(|text| text.parse().ok());
    let body = body::read(payload, declared, state.drop_payload_size).await?;
    let gzip = |value: &[u8]| value.eq_ignore_ascii_case(b"gzip") || value.eq_ignore_ascii_case(b"x-gzip");
    match head.first("Content-Encoding") {
        Some(encoding) if gzip(encoding) => body::decompress(body, state.drop_payload_size).await,
        _ => Ok(body),
    }
}

/// Makes a decision's records durable; then its answer may be sent.
async fn settle(decision: Decision, state: &State) -> Result<Answer, CommitError> {
    let mut tickets = Vec::with_capacity(decision.good.len() + decision.bad.len());
    for record in decision.good {
        tickets.push(state.good.accept(record).await?);
    }
    for record in decision.bad {
        tickets.push(state.bad.accept(record).await?);
    }
    if state.durability != Durability::Memory {
        let all_durable = async {
            for ticket in tickets {
                ticket.durable().await?;
            }
            Ok(())
        };
        match timeout(state.response_timeout, all_durable).await {
            Ok(durable) => durable?,
            Err(_) => return Err(CommitError::NotStored { sink: "slow" }),
        }
    }
    Ok(decision.answer)
}

fn respond(answer: Answer) -> Response<Bytes> {
    // Configured statuses are checked at start.
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::with_body(status, answer.body);
    for (name, value) in answer.headers {
        let value = match value {
            std::borrow::Cow::Borrowed(value) => HeaderValue::from_str(value),
            std::borrow::Cow::Owned(value) => HeaderValue::from_maybe_shared(Bytes::from(value)),
        };
        match (header_name(&name), value) {
            (Some(name), Ok(value)) => response.headers_mut().append(name, value),
            _ => tracing::error!(%name, "an answer's header cannot be sent"),
        }
    }
    // As the original writes them: `Set-Cookie`, not `set-cookie`.
    response.head_mut().set_camel_case_headers(true);
    response
}

/// Those of tracking answers are known without parsing them.
fn header_name(name: &str) -> Option<HeaderName> {
    Some(match name {
        "Set-Cookie" => header::SET_COOKIE,
        "Content-Type" => header::CONTENT_TYPE,
        "Cache-Control" => header::CACHE_CONTROL,
        "Access-Control-Allow-Origin" => header::ACCESS_CONTROL_ALLOW_ORIGIN,
        "Access-Control-Allow-Credentials" => header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        other => HeaderName::from_bytes(other.as_bytes()).ok()?,
    })
}
