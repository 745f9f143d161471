//! What `tests/tools/collector_speed.py` measures: `speed bare|memory|spool nothing|stream DIRECTORY` listens on a free port of
//! 127.0.0.1, prints the port and serves until it is killed.
//!
//! * `bare`: actix-web handlers that answer a GIF and, having read the body, `ok`; nothing else.
//! * `memory`, `spool`: the collector with that durability, before a sink that takes everything and does nothing, or the embedded
//!   streams without fsync.

use std::{
    error::Error,
    net::TcpListener,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use actix_web::{App, HttpResponse, HttpServer, web};
use async_trait::async_trait;
use snowmelt_collector::{
    Clock, CollectorConfig, Durability, Outgoing, Sink, SinkError, Spool, SpoolOptions, serve, settle,
};
use snowmelt_streams::{EmbeddedStreams, Options, Producer, PutEntry, Streams};

// The program's own allocator, for both.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PIXEL: &[u8] =
    b"GIF89a\x01\0\x01\0\xf0\0\0\xff\xff\xff\0\0\0!\xf9\x04\x05\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, sink, directory] = arguments.as_slice() else {
        return Err("usage: speed bare|memory|spool nothing|stream DIRECTORY".into());
    };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    match mode.as_str() {
        "bare" => actix_web::rt::System::new().block_on(bare(listener))?,
        // As in the program: one loop for the node, where sinks and spools run; requests have threads of their own.
        _ => tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(collector(
            mode,
            sink,
            Path::new(directory),
            listener,
        ))?,
    }
    Ok(())
}

async fn bare(listener: TcpListener) -> std::io::Result<()> {
    HttpServer::new(|| {
        App::new()
            .route("/i", web::get().to(|| async { HttpResponse::Ok().content_type("image/gif").body(PIXEL) }))
            .route(
                "/com.snowplowanalytics.snowplow/tp2",
                web::post().to(|_body: web::Bytes| async { HttpResponse::Ok().content_type("text/plain").body("ok") }),
            )
    })
    .listen(listener)?
    .run()
    .await
}

async fn collector(mode: &str, sink: &str, directory: &Path, listener: TcpListener) -> Result<(), Box<dyn Error>> {
    let clock: Clock = Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    });
    let mut config = CollectorConfig::default();
    let [good, bad]: [Arc<dyn Sink>; 2] = match sink {
        "nothing" => [Arc::new(Nothing), Arc::new(Nothing)],
        "stream" => {
            let options = Options { durability: snowmelt_streams::Durability::OsCache, ..Options::default() };
            let streams = Arc::new(EmbeddedStreams::open(directory.join("streams"), options)?);
            for name in ["raw", "bad-1"] {
                streams.create(name, 2, Duration::from_secs(3600)).await?;
            }
            [Arc::new(Stream(Arc::clone(&streams), "raw")), Arc::new(Stream(streams, "bad-1"))]
        }
        other => return Err(format!("no such sink: {other}").into()),
    };
    let [good, bad]: [Arc<dyn Sink>; 2] = match mode {
        "memory" => {
            config.durability = Durability::Memory;
            [good, bad]
        }
        "spool" => {
            config.durability = Durability::Spool;
            let good_options = SpoolOptions::new("good", &config, &config.streams.good, Arc::clone(&clock));
            let bad_options = SpoolOptions::new("bad", &config, &config.streams.bad, Arc::clone(&clock));
            [
                Arc::new(Spool::open(directory.join("good"), good_options, good).await?),
                Arc::new(Spool::open(directory.join("bad"), bad_options, bad).await?),
            ]
        }
        other => return Err(format!("no such mode: {other}").into()),
    };
    serve(config, listener, good, bad, clock, std::future::pending()).await?;
    Ok(())
}

/// Takes everything.
struct Nothing;

#[async_trait]
impl Sink for Nothing {
    async fn put(&self, _batch: Vec<Outgoing>, _: Option<&Producer>) -> Result<(), SinkError> {
        Ok(())
    }

    fn healthy(&self) -> bool {
        true
    }
}

/// A stream of the embedded streams.
struct Stream(Arc<EmbeddedStreams>, &'static str);

#[async_trait]
impl Sink for Stream {
    async fn put(&self, batch: Vec<Outgoing>, producer: Option<&Producer>) -> Result<(), SinkError> {
        let entries = batch.into_iter().map(PutEntry::from).collect();
        let outcomes = self.0.put(self.1, entries, producer).await;
        settle(outcomes.map_err(|error| SinkError::Unavailable { reason: error.to_string() })?)
    }

    fn healthy(&self) -> bool {
        true
    }
}
