//! The operator API: health, readiness, metrics, the supervision tree, commands, and what is in the streams.
//!
//! It answers on loopback only, unless a token is set ([`access`]).

pub mod access;
mod measures;
pub mod orders;
pub mod report;
mod streams;

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::Addr;
use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, HttpServer, web};
use metrics_exporter_prometheus::PrometheusHandle;
use snowmelt_runtime::Clock;
use snowmelt_streams::Streams;
use snowmelt_supervisor::watcher::{Falling, Watcher, seconds};
use snowmelt_supervisor::{Node, Tree};
use tokio::task::JoinHandle;

use crate::run::collectors::CollectorHealth;
use crate::run::operator::access::Access;
use crate::run::operator::report::NodeReport;
use crate::run::registries::RegistryHealth;
use crate::trouble::{Outcome, Trouble};

pub use crate::run::operator::measures::install as install_metrics;

/// How often the tree is looked at.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// What the API shows and steers.
#[derive(Clone)]
pub struct View {
    /// The root supervisor.
    pub node: Addr<Node>,
    /// The live tree.
    pub tree: Tree,
    /// The streams.
    pub streams: Arc<dyn Streams>,
    /// The collectors' sinks.
    pub collectors: CollectorHealth,
    /// The schema registries.
    pub registries: RegistryHealth,
    /// Everything counted.
    pub metrics: PrometheusHandle,
    /// Time.
    pub clock: Clock,
}

/// A view with what the API remembers.
struct Api {
    view: View,
    watcher: Mutex<Watcher>,
    started_ms: u64,
    closing: Arc<AtomicBool>,
}

impl Api {
    fn report(&self) -> NodeReport {
        let (now_ms, wall_ms) = (self.view.clock.monotonic_ms(), self.view.clock.now_ms());
        let pipelines = self.watcher().report(&self.view.tree, now_ms, wall_ms);
        let uptime_ms = now_ms.saturating_sub(self.started_ms);
        NodeReport::new(pipelines, self.view.collectors.report(), self.view.registries.report(), wall_ms, uptime_ms)
    }

    fn watcher(&self) -> MutexGuard<'_, Watcher> {
        self.watcher.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running API.
pub struct Operator {
    address: SocketAddr,
    handle: ServerHandle,
    sampling: JoinHandle<()>,
    closing: Arc<AtomicBool>,
}

/// Listens, before anything else is started.
pub fn bind(address: SocketAddr, access: &Access) -> Outcome<TcpListener> {
    if !address.ip().is_loopback() && !access.has_token() {
        let message = "backend.operator: without backend.operator_token_file the operator API listens on loopback only, such as 127.0.0.1:8090";
        return Err(Trouble::user(message));
    }
    TcpListener::bind(address).map_err(|error| {
        let hint = "choose another with --set backend.operator=127.0.0.1:PORT";
        Trouble::machine(&format!("the operator API can't listen on {address}; {hint}"), error)
    })
}

/// Serves the API.
pub fn start(listener: TcpListener, access: Access, view: View) -> Outcome<Operator> {
    let address = listener.local_addr().map_err(|error| Trouble::machine("operator API", error))?;
    let closing = Arc::new(AtomicBool::new(false));
    let started_ms = view.clock.monotonic_ms();
    let watcher = Mutex::new(Watcher::new());
    let api = web::Data::new(Api { view, watcher, started_ms, closing: Arc::clone(&closing) });
    let sampling = actix_rt::spawn(sample(api.clone()));
    let access = web::Data::new(access);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(api.clone())
            .app_data(access.clone())
            .wrap(from_fn(access::check))
            .route("/health", web::get().to(|| async { HttpResponse::Ok().body("alive\n") }))
            .route("/ready", web::get().to(ready))
            .route("/metrics", web::get().to(measures::show))
            .route("/status", web::get().to(status))
            .route("/{command:restart|drain|pause|resume}", web::post().to(orders::give))
            .configure(streams::routes)
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(1)
    .listen(listener)
    .map_err(|error| Trouble::machine("operator API", error))?
    .run();
    let handle = server.handle();
    actix_rt::spawn(server);
    Ok(Operator { address, handle, sampling, closing })
}

impl Operator {
    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The node stops: commands are refused from now on, so that none starts again what is to end.
    pub fn refuse_commands(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Ends it.
    pub async fn stop(&self) {
        self.sampling.abort();
        self.handle.stop(true).await;
    }
}

/// Looks at the tree every second, and tells whose lag grows.
async fn sample(api: web::Data<Api>) {
    loop {
        let now_ms = api.view.clock.monotonic_ms();
        let falling = api.watcher().sample(&api.view.tree, now_ms);
        for Falling { group, lag_ms, grown_ms, bottleneck } in falling {
            let (lag, grown) = (seconds(lag_ms), seconds(grown_ms));
            let bottleneck = bottleneck.map_or_else(
                || "unknown".to_owned(),
                |bottleneck| format!("{}, which {}", bottleneck.actor, bottleneck.reason),
            );
            tracing::warn!(%group, lag, grown, bottleneck, "falling behind");
        }
        api.view.clock.sleep(SAMPLE_EVERY).await;
    }
}

/// 200 only when every pipeline makes progress, every collector takes records and every registry reaches its database;
/// otherwise 503 with what is not so.
async fn ready(api: web::Data<Api>) -> HttpResponse {
    let report = api.report();
    if report.ready {
        HttpResponse::Ok().body("ready\n")
    } else {
        HttpResponse::ServiceUnavailable().body(format!("{}\n", report.all_reasons().join("\n")))
    }
}

async fn status(api: web::Data<Api>) -> HttpResponse {
    HttpResponse::Ok().json(api.report())
}
