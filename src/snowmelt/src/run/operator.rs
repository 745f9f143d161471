//! The operator API: health, readiness, metrics, the supervision tree, and what is in the streams.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde::Deserialize;
use snowmelt_runtime::observe::Metric;
use snowmelt_streams::{ReadLimit, ShardId, StartAt, StreamError, Streams};
use snowmelt_supervisor::node::Order;
use snowmelt_supervisor::shard::Command;
use snowmelt_supervisor::{GroupState, Node, Tree};

use crate::run::collectors::CollectorHealth;
use crate::tail::{RecordJson, RecordPage};
use crate::trouble::{Outcome, Trouble};

/// Most bytes of records in one answer.
const MAX_PAGE_BYTES: usize = 4 << 20;

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
    /// Everything counted.
    pub metrics: PrometheusHandle,
}

/// The running API.
pub struct Operator {
    address: SocketAddr,
    handle: ServerHandle,
}

/// Makes Prometheus the receiver of all metrics.
pub fn install_metrics() -> Outcome<PrometheusHandle> {
    PrometheusBuilder::new().install_recorder().map_err(|error| Trouble::caused("metrics", error))
}

/// Listens, before anything else is started.
pub fn bind(address: SocketAddr) -> Outcome<TcpListener> {
    if !address.ip().is_loopback() {
        let message =
            "backend.operator: the operator API has no token yet and listens on loopback only, such as 127.0.0.1:8090";
        return Err(Trouble::user(message));
    }
    TcpListener::bind(address).map_err(|error| {
        let hint = "choose another with --set backend.operator=127.0.0.1:PORT";
        Trouble::machine(&format!("the operator API can't listen on {address}; {hint}"), error)
    })
}

/// Serves the API.
pub fn start(listener: TcpListener, view: View) -> Outcome<Operator> {
    let address = listener.local_addr().map_err(|error| Trouble::machine("operator API", error))?;
    let data = web::Data::new(view);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .route("/health", web::get().to(|| async { HttpResponse::Ok().body("alive\n") }))
            .route("/ready", web::get().to(ready))
            .route("/metrics", web::get().to(show_metrics))
            .route("/status", web::get().to(status))
            .route("/{command:restart|drain|resume}", web::post().to(command))
            .route("/streams", web::get().to(streams))
            .route("/streams/{stream}", web::get().to(shards))
            .route("/streams/{stream}/shards/{shard}", web::get().to(records))
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(1)
    .listen(listener)
    .map_err(|error| Trouble::machine("operator API", error))?
    .run();
    let handle = server.handle();
    actix_rt::spawn(server);
    Ok(Operator { address, handle })
}

impl Operator {
    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it.
    pub async fn stop(&self) {
        self.handle.stop(true).await;
    }
}

/// 200 only when every group runs and every collector's stream takes records; otherwise 503 with what is not so.
async fn ready(view: web::Data<View>) -> HttpResponse {
    let groups = view.tree.groups();
    let mut waiting: Vec<String> = groups
        .iter()
        .filter(|group| !matches!(group.state, GroupState::Running | GroupState::Ended))
        .map(|group| format!("{}: {:?}", group.id, group.state))
        .collect();
    if !view.collectors.is_good() {
        waiting.push("a collector's stream takes no records".to_owned());
    }
    if waiting.is_empty() {
        HttpResponse::Ok().body("ready\n")
    } else {
        HttpResponse::ServiceUnavailable().body(format!("{}\n", waiting.join("\n")))
    }
}

async fn show_metrics(view: web::Data<View>) -> HttpResponse {
    publish(&view.tree);
    view.metrics.run_upkeep();
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(view.metrics.render())
}

/// Actors count in atomics; they become metrics when somebody asks.
fn publish(tree: &Tree) {
    for group in tree.groups() {
        for observed in &group.actors {
            let counters = observed.stats.snapshot();
            let labels = [
                ("pipeline", group.id.pipeline.clone()),
                ("shard", group.id.shard.clone()),
                ("actor", observed.actor.clone()),
            ];
            let count = |metric: Metric, value: u64| metrics::counter!(metric.name(), &labels).absolute(value);
            count(Metric::Records, counters.records);
            count(Metric::Bytes, counters.bytes);
            count(Metric::Batches, counters.batches);
            count(Metric::WaitingForRoom, counters.waiting_for_room_micros);
            count(Metric::WaitingOutside, counters.waiting_outside_micros);
            if let Some(mailbox) = &observed.mailbox {
                metrics::gauge!(Metric::MailboxBytes.name(), &labels).set(mailbox.bytes_held() as f64);
            }
        }
    }
}

async fn status(view: web::Data<View>) -> HttpResponse {
    HttpResponse::Ok().json(view.tree.report())
}

/// Which part of the tree a command is for.
#[derive(Debug, Deserialize)]
struct Part {
    pipeline: Option<String>,
    shard: Option<String>,
}

async fn command(view: web::Data<View>, command: web::Path<String>, part: web::Query<Part>) -> HttpResponse {
    let command = match command.as_str() {
        "restart" => Command::Restart,
        "drain" => Command::Drain,
        _ => Command::Resume,
    };
    let known = view.tree.groups().into_iter().any(|group| {
        part.pipeline.as_deref().is_none_or(|pipeline| pipeline == group.id.pipeline)
            && part.shard.as_deref().is_none_or(|shard| shard == group.id.shard)
    });
    if !known {
        return HttpResponse::NotFound().body("no such pipeline or shard; GET /status lists them\n");
    }
    let order = Order { pipeline: part.pipeline.clone(), shard: part.shard.clone(), command };
    match view.node.send(order).await {
        Ok(()) => HttpResponse::Accepted().body("accepted; GET /status shows it\n"),
        Err(error) => HttpResponse::ServiceUnavailable().body(format!("{error}\n")),
    }
}

async fn streams(view: web::Data<View>) -> HttpResponse {
    view.streams.list().await.map_or_else(|error| refuse(&error), |names| HttpResponse::Ok().json(names))
}

async fn shards(view: web::Data<View>, stream: web::Path<String>) -> HttpResponse {
    match view.streams.describe(&stream).await {
        Ok(description) => {
            let ids: Vec<String> = description.shards.iter().map(|shard| shard.id.to_string()).collect();
            HttpResponse::Ok().json(ids)
        }
        Err(StreamError::StreamNotFound { .. }) => {
            let known = view.streams.list().await.unwrap_or_default().join(", ");
            HttpResponse::NotFound().body(format!("there is no stream {stream}; there are {known}\n"))
        }
        Err(error) => refuse(&error),
    }
}

/// Which records of a shard.
#[derive(Debug, Deserialize)]
struct Which {
    after: Option<String>,
    at_ms: Option<i64>,
    limit: Option<usize>,
    wait_ms: Option<u64>,
}

async fn records(view: web::Data<View>, path: web::Path<(String, String)>, which: web::Query<Which>) -> HttpResponse {
    let (stream, shard) = path.into_inner();
    let from = match (&which.after, which.at_ms) {
        (Some(after), _) => match after.parse() {
            Ok(sequence) => StartAt::After(sequence),
            Err(_) => return HttpResponse::BadRequest().body(format!("after={after} is no sequence number\n")),
        },
        (None, Some(at_ms)) => StartAt::AtTimestampMs(at_ms),
        (None, None) => StartAt::TrimHorizon,
    };
    let limit = ReadLimit { records: which.limit.unwrap_or(500).clamp(1, 1000), bytes: MAX_PAGE_BYTES };
    let wait = Duration::from_millis(which.wait_ms.unwrap_or(0).min(10_000));
    let read = async {
        let mut cursor = view.streams.open(&stream, &ShardId::new(&shard), &from).await?;
        cursor.next(limit, wait).await
    };
    match read.await {
        Ok(page) => HttpResponse::Ok().json(RecordPage {
            end_of_shard: page.end_of_shard,
            millis_behind_latest: page.millis_behind_latest,
            records: page
                .records
                .into_iter()
                .map(|record| RecordJson {
                    shard: shard.clone(),
                    sequence: record.sequence.to_string(),
                    partition_key: record.partition_key,
                    arrived_ms: record.arrived_ms,
                    data: STANDARD.encode(&record.data),
                })
                .collect(),
        }),
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &StreamError) -> HttpResponse {
    match error {
        StreamError::StreamNotFound { .. } | StreamError::ShardNotFound { .. } => {
            HttpResponse::NotFound().body(format!("{error}\n"))
        }
        _ => HttpResponse::ServiceUnavailable().body(format!("{error}\n")),
    }
}
