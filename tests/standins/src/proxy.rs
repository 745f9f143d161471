//! The reverse proxy before one emulator: it follows the plan and forwards the rest.

use std::net::{IpAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::dev::ServerHandle;
use actix_web::http::Method;
use actix_web::http::header::HeaderName;
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::Value;

use crate::StandinError;
use crate::answers;
use crate::emulator::Service;
use crate::fanout::Subscriptions;
use crate::plan::{FanOut, Fault, Faults, Kind};
use crate::records;

/// Above the largest request of any service that a test sends.
const MAX_BODY: usize = 128 << 20;
/// How long an emulator may take for an answer.
const UPSTREAM: Duration = Duration::from_secs(60);
/// For half of an answer to be written.
const FLUSH: Duration = Duration::from_millis(50);
/// What belongs to one connection and is not passed on (RFC 9110, 7.6.1), and what is written anew.
const HOP: [&str; 7] = ["connection", "keep-alive", "transfer-encoding", "upgrade", "te", "host", "content-length"];

/// A running proxy. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub url: String,
    pub faults: Faults,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

/// What each request needs.
pub(crate) struct Shared {
    service: Service,
    /// The emulator.
    pub upstream: String,
    pub client: reqwest::Client,
    pub faults: Faults,
    pub subscriptions: Subscriptions,
}

/// An answer of the emulator.
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Bytes,
}

/// What `POST /_faults` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    #[serde(default)]
    faults: Vec<Fault>,
    fan_out: Option<FanOut>,
}

impl Proxy {
    /// Listens on a free port of this address.
    pub fn start(service: Service, upstream: &str, listen: IpAddr) -> Result<Self, StandinError> {
        let listener = TcpListener::bind((listen, 0)).map_err(StandinError::Listen)?;
        let url = format!("http://{}", listener.local_addr().map_err(StandinError::Listen)?);
        // An emulator that closes a connection which we are about to use again would be a fault nobody planned.
        let client = reqwest::Client::builder().timeout(UPSTREAM).pool_idle_timeout(Duration::from_secs(2)).no_proxy();
        let faults = Faults::default();
        let shared = web::Data::new(Shared {
            service,
            upstream: upstream.to_owned(),
            client: client.build().map_err(StandinError::Client)?,
            faults: faults.clone(),
            subscriptions: Subscriptions::default(),
        });
        let (started, handle) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name(format!("proxy-{}", service.name())).spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let app = move || {
                    let limit = web::PayloadConfig::new(MAX_BODY);
                    App::new().app_data(shared.clone()).app_data(limit).default_service(web::to(handle_request))
                };
                let server = HttpServer::new(app).workers(1).disable_signals().shutdown_timeout(0).listen(listener);
                let server = server.map(HttpServer::run);
                // Nobody waits for it only when the caller is gone.
                if started.send(server.as_ref().map(|server| server.handle()).map_err(|e| e.kind())).is_ok()
                    && let Ok(server) = server
                    && let Err(error) = server.await
                {
                    eprintln!("the proxy ended: {error}");
                }
            });
        });
        let thread = thread.map_err(StandinError::Listen)?;
        let handle = handle.recv().map_err(|_| std::io::ErrorKind::BrokenPipe).flatten();
        let handle = handle.map_err(|kind| StandinError::Listen(kind.into()))?;
        Ok(Self { url, faults, handle, thread: Some(thread) })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The command is sent by the call; the future only waits for it.
        drop(self.handle.stop(false));
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("{}: the proxy panicked", self.url);
        }
    }
}

async fn handle_request(request: HttpRequest, body: Bytes, shared: web::Data<Shared>) -> HttpResponse {
    if request.path() == "/_faults" {
        return plan(&request, &body, &shared);
    }
    let is_s3 = shared.service == Service::S3;
    let action = action(&request);
    let due = shared.faults.due(&action);
    if !due.delay.is_zero() {
        tokio::time::sleep(due.delay).await;
    }
    let Some(fault) = due.fault else {
        if action == "SubscribeToShard" {
            return crate::fanout::subscribe(shared.into_inner(), &body).await;
        }
        return match shared.forward(&request, body).await {
            Ok(answer) => answer.pass_on(),
            Err(unreachable) => unreachable,
        };
    };
    let code = fault.code.as_deref();
    match fault.kind {
        Kind::Throttle => answers::throttled(is_s3, code),
        Kind::Error => answers::failed(is_s3, fault.status, code),
        Kind::ExpiredIterator => answers::error(false, 400, "ExpiredIteratorException", "Iterator expired."),
        Kind::Lost => match shared.forward(&request, body).await {
            Ok(_) => answers::failed(is_s3, fault.status, code),
            Err(unreachable) => unreachable,
        },
        Kind::Partial => shared.partial(&request, &body, &fault).await,
        Kind::Cut => match shared.forward(&request, body).await {
            Ok(answer) => answer.cut(),
            Err(unreachable) => unreachable,
        },
        Kind::NullIterator => shared.edited(&request, body, "/NextShardIterator", None).await,
        Kind::NoChildren => shared.edited(&request, body, "/ChildShards", None).await,
        Kind::Edit => {
            shared.edited(&request, body, fault.pointer.as_deref().unwrap_or_default(), fault.value.as_ref()).await
        }
        Kind::WrongEtag => match shared.forward(&request, body).await {
            Ok(answer) => answer.with_wrong_etag().pass_on(),
            Err(unreachable) => unreachable,
        },
        // Delays never come here.
        Kind::Delay => answers::failed(is_s3, None, None),
    }
}

/// The operation of a request; of S3 method and path.
fn action(request: &HttpRequest) -> String {
    let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
    match target {
        Some(target) => target.rsplit('.').next().unwrap_or(target).to_owned(),
        None => format!("{} {}", request.method(), request.uri()),
    }
}

/// Shows the plan and what was done, or sets the plan.
fn plan(request: &HttpRequest, body: &[u8], shared: &Shared) -> HttpResponse {
    if request.method() == Method::POST {
        match serde_json::from_slice::<Plan>(body) {
            Ok(plan) => {
                shared.faults.set(plan.faults);
                if let Some(fan_out) = plan.fan_out {
                    shared.faults.set_fan_out(fan_out);
                }
            }
            Err(error) => return HttpResponse::BadRequest().body(format!("not a plan: {error}\n")),
        }
    }
    HttpResponse::Ok().json(shared.faults.report())
}

impl Shared {
    /// Asks the emulator the same; an answer of ours where it cannot be reached.
    async fn forward(&self, request: &HttpRequest, body: Bytes) -> Result<Answer, HttpResponse> {
        let unreachable =
            |error: reqwest::Error| answers::error(self.service == Service::S3, 502, "BadGateway", &error.to_string());
        let method = reqwest::Method::from_bytes(request.method().as_str().as_bytes());
        let mut asked = self.client.request(method.unwrap_or_default(), format!("{}{}", self.upstream, request.uri()));
        for (name, value) in request.headers() {
            if !HOP.contains(&name.as_str()) {
                asked = asked.header(name.as_str(), value.as_bytes());
            }
        }
        let answer = asked.body(body).send().await.map_err(unreachable)?;
        let status = answer.status().as_u16();
        let is_kept =
            |name: &str| !HOP.contains(&name) || (name == "content-length" && request.method() == Method::HEAD);
        let headers = answer.headers().iter().filter(|(name, _)| is_kept(name.as_str()));
        let headers = headers.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
        Ok(Answer { status, headers, body: answer.bytes().await.map_err(unreachable)? })
    }

    /// PutRecords of which some records fail.
    async fn partial(&self, request: &HttpRequest, body: &[u8], fault: &Fault) -> HttpResponse {
        let Ok(asked) = serde_json::from_slice::<Value>(body) else { return not_json() };
        let refused = self.faults.refuse(records::count(&asked), fault.records);
        let code = fault.code.as_deref().unwrap_or("ProvisionedThroughputExceededException");
        let Some(rest) = records::without(&asked, &refused) else {
            return HttpResponse::Ok()
                .content_type("application/x-amz-json-1.1")
                .body(records::spliced(None, &refused, code).to_string());
        };
        let answer = match self.forward(request, rest.to_string().into()).await {
            Ok(answer) if answer.status == 200 => answer,
            Ok(answer) => return answer.pass_on(),
            Err(unreachable) => return unreachable,
        };
        match serde_json::from_slice::<Value>(&answer.body) {
            Ok(parsed) => answer.with_body(records::spliced(Some(parsed), &refused, code)).pass_on(),
            Err(_) => not_json(),
        }
    }

    /// An answer with one value changed. What failed stays as it is.
    async fn edited(&self, request: &HttpRequest, body: Bytes, pointer: &str, value: Option<&Value>) -> HttpResponse {
        let answer = match self.forward(request, body).await {
            Ok(answer) if answer.status == 200 => answer,
            Ok(answer) => return answer.pass_on(),
            Err(unreachable) => return unreachable,
        };
        let Ok(mut parsed) = serde_json::from_slice::<Value>(&answer.body) else { return not_json() };
        if records::edit(&mut parsed, pointer, value) { answer.with_body(parsed).pass_on() } else { answer.pass_on() }
    }
}

fn not_json() -> HttpResponse {
    answers::error(false, 500, "StandInCannotEdit", "the plan edits this call, which is not JSON: turn CBOR off")
}

impl Answer {
    fn with_body(mut self, body: Value) -> Self {
        // A checksum of the old body would be wrong now.
        self.headers.retain(|(name, _)| name != "x-amz-crc32");
        Self { body: body.to_string().into(), ..self }
    }

    fn with_wrong_etag(mut self) -> Self {
        for (name, value) in &mut self.headers {
            if name == "etag" {
                *value = b"\"00000000000000000000000000000000\"".to_vec();
            }
        }
        self
    }

    fn head(&self) -> actix_web::HttpResponseBuilder {
        let status = actix_web::http::StatusCode::from_u16(self.status).unwrap_or_default();
        let mut answer = HttpResponse::build(status);
        for (name, value) in &self.headers {
            if let Ok(name) = HeaderName::try_from(name.as_str()) {
                answer.append_header((name, value.as_slice()));
            }
        }
        answer
    }

    fn pass_on(self) -> HttpResponse {
        let promised = self.headers.iter().find(|(name, _)| name == "content-length");
        match promised.and_then(|(_, length)| std::str::from_utf8(length).ok()?.parse().ok()) {
            // The answer to HEAD: a length without a body.
            Some(length) => self.head().body(SizedStream::new(length, stream::empty::<std::io::Result<Bytes>>())),
            None => self.head().body(self.body),
        }
    }

    /// Half of the body that was promised, and the end of the connection.
    fn cut(self) -> HttpResponse {
        let half = self.body.slice(..self.body.len() / 2);
        // Not before the half is on its way: an error at once would take it along.
        let cut = async {
            tokio::time::sleep(FLUSH).await;
            Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
        };
        // Something is always missing, from an empty body too.
        let promised = self.body.len().max(1) as u64;
        let pieces = Box::pin(stream::iter([Ok(half)]).chain(stream::once(cut)));
        self.head().body(SizedStream::new(promised, pieces))
    }
}
