//! `/metrics`: what is counted, for Prometheus.

use actix_web::{HttpResponse, web};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use snowmelt_runtime::observe::Metric;
use snowmelt_supervisor::report::GroupReport;

use super::Api;
use crate::trouble::{Outcome, Trouble};

/// Makes Prometheus the receiver of all metrics.
pub fn install() -> Outcome<PrometheusHandle> {
    let handle = PrometheusBuilder::new().install_recorder().map_err(|error| Trouble::caused("metrics", error))?;
    for metric in Metric::ALL {
        if metric.is_counter() {
            metrics::describe_counter!(metric.name(), metric.help());
        } else {
            metrics::describe_gauge!(metric.name(), metric.help());
        }
    }
    for metric in snowmelt_postgres_writer::Metric::ALL {
        metrics::describe_counter!(metric.name(), metric.help());
    }
    for metric in snowmelt_dynamodb::Metric::ALL {
        if metric.is_counter() {
            metrics::describe_counter!(metric.name(), metric.help());
        } else {
            metrics::describe_gauge!(metric.name(), metric.help());
        }
    }
    snowmelt_kinesis::describe_metrics();
    Ok(handle)
}

pub(super) async fn show(api: web::Data<Api>) -> HttpResponse {
    let report = api.report();
    for group in report.pipelines.iter().flat_map(|pipeline| &pipeline.groups) {
        publish(group);
    }
    api.view.metrics.run_upkeep();
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(api.view.metrics.render())
}

/// Actors count in atomics; they become metrics when somebody asks.
fn publish(group: &GroupReport) {
    let labels = [("pipeline", group.pipeline.clone()), ("shard", group.shard.clone())];
    let gauge = |metric: Metric, value: f64| metrics::gauge!(metric.name(), &labels).set(value);
    metrics::counter!(Metric::Restarts.name(), &labels).absolute(group.restarts);
    gauge(Metric::Ready, if group.ready { 1.0 } else { 0.0 });
    gauge(Metric::LagMillis, group.lag_ms.unwrap_or(0) as f64);
    gauge(Metric::PendingBatches, group.pending_batches as f64);
    for actor in &group.actors {
        let labels =
            [("pipeline", group.pipeline.clone()), ("shard", group.shard.clone()), ("actor", actor.actor.clone())];
        let count = |metric: Metric, value: u64| metrics::counter!(metric.name(), &labels).absolute(value);
        count(Metric::Records, actor.records);
        count(Metric::Bytes, actor.bytes);
        count(Metric::Batches, actor.batches);
        count(Metric::WaitingForRoom, actor.waiting_for_room_micros);
        count(Metric::WaitingOutside, actor.waiting_outside_micros);
        if let Some(mailbox) = actor.mailbox {
            metrics::gauge!(Metric::MailboxBytes.name(), &labels).set(mailbox.bytes as f64);
            metrics::gauge!(Metric::MailboxFill.name(), &labels).set(mailbox.fill());
        }
    }
}
