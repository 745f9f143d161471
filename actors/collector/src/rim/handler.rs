//! One request: head, body, decision, durable records, answer.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_web::{
    HttpRequest, HttpResponse,
    body::BoxBody,
    http::{
        StatusCode,
        header::{HeaderName, HeaderValue},
    },
    web,
};
use bytes::Bytes;
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    body::{self, BodyError},
    head::RawHead,
    server::Clock,
    tap::Heads,
};
use crate::{
    Durability, Sink,
    commit::{CommitError, Committer},
    decision::{Answer, Core, Decision, Flavour, Head, Header, Route, Tracking},
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
pub(super) async fn handle(request: HttpRequest, payload: web::Payload, state: web::Data<State>) -> HttpResponse {
    let raw = match request.conn_data::<Heads>().and_then(Heads::take) {
        Some(raw) if raw.matches(&request) => raw,
        _ => {
            metrics::counter!("collector_heads_rebuilt_total").increment(1);
            tracing::debug!(peer = ?request.peer_addr(), "the head of a request was not seen; its header names are made up");
            RawHead::rebuild(&request)
        }
    };
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
    let answer = answer(raw, peer, payload, &state).await;
    state.counters.count(answer.status);
    respond(answer)
}

async fn answer(raw: RawHead, peer: IpAddr, payload: web::Payload, state: &State) -> Answer {
    let headers: Vec<Header<'_>> = raw.headers().collect();
    let head = raw.borrow(&headers, peer);
    let tracking = match state.core.route(&head) {
        Route::Answer(answer) => return answer,
        Route::Health => {
            return state.core.health(!(state.unhealthy_while_draining && state.draining.load(Ordering::Relaxed)));
        }
        Route::SinkHealth => return state.core.sink_health(state.good_sink.healthy() && state.bad_sink.healthy()),
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
    drop(headers);
    let (core, now_ms) = (Arc::clone(&state.core), (state.clock)());
    let decided = web::block(move || decide_large(&core, &raw, peer, &tracking, &body, now_ms)).await;
    match decided {
        Ok((decision, unavailable)) => {
            settle(decision, state).await.unwrap_or_else(|error| refuse(error, || unavailable))
        }
        Err(_) => state.core.body_broken(),
    }
}

fn decide_large(
    core: &Core,
    raw: &RawHead,
    peer: IpAddr,
    tracking: &Tracking,
    body: &[u8],
    now_ms: i64,
) -> (Decision, Answer) {
    let headers: Vec<Header<'_>> = raw.headers().collect();
    let head = raw.borrow(&headers, peer);
    (core.track(&head, tracking, body, now_ms, &mut Uuid::new_v4), core.unavailable(&head))
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

async fn read_body(head: &Head<'_>, payload: web::Payload, state: &State) -> Result<Bytes, BodyError> {
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

fn respond(answer: Answer) -> HttpResponse {
    // Configured statuses are checked at start.
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::with_body(status, BoxBody::new(answer.body));
    for (name, value) in answer.headers {
        let value = match value {
            std::borrow::Cow::Borrowed(value) => HeaderValue::from_str(value),
            std::borrow::Cow::Owned(value) => HeaderValue::from_maybe_shared(Bytes::from(value)),
        };
        match (HeaderName::from_bytes(name.as_bytes()), value) {
            (Ok(name), Ok(value)) => response.headers_mut().append(name, value),
            _ => tracing::error!(%name, "an answer's header cannot be sent"),
        }
    }
    // As the original writes them: `Set-Cookie`, not `set-cookie`.
    response.head_mut().set_camel_case_headers(true);
    response
}
