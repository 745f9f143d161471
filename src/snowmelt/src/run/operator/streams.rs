//! `/streams`: what is in the streams, for `snowmelt tail`.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use snowmelt_streams::{ReadLimit, ShardId, StartAt, StreamError};

use super::Api;
use crate::tail::{RecordJson, RecordPage};

/// Most bytes of records in one answer.
const MAX_PAGE_BYTES: usize = 4 << 20;

/// The routes.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/streams", web::get().to(streams))
        .route("/streams/{stream}", web::get().to(shards))
        .route("/streams/{stream}/shards/{shard}", web::get().to(records));
}

async fn streams(api: web::Data<Api>) -> HttpResponse {
    api.view.streams.list().await.map_or_else(|error| refuse(&error), |names| HttpResponse::Ok().json(names))
}

async fn shards(api: web::Data<Api>, stream: web::Path<String>) -> HttpResponse {
    match api.view.streams.describe(&stream).await {
        Ok(description) => {
            let ids: Vec<String> = description.shards.iter().map(|shard| shard.id.to_string()).collect();
            HttpResponse::Ok().json(ids)
        }
        Err(StreamError::StreamNotFound { .. }) => {
            let known = api.view.streams.list().await.unwrap_or_default().join(", ");
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

async fn records(api: web::Data<Api>, path: web::Path<(String, String)>, which: web::Query<Which>) -> HttpResponse {
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
        let mut cursor = api.view.streams.open(&stream, &ShardId::new(&shard), &from).await?;
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
