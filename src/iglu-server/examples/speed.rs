//! What `tests/tools/registry_speed.py` measures: `speed bare|registry DIRECTORY` listens on a free port of 127.0.0.1, prints the
//! port and serves until its standard input ends.
//!
//! * `bare`: one actix-web handler that answers one schema's text; nothing else.
//! * `registry`: the registry with ten thousand schemas, in a private PostgreSQL below the directory.

use std::{
    error::Error,
    io::Read,
    net::TcpListener,
    path::Path,
    time::{Duration, Instant},
};

use actix_web::{App, HttpResponse, HttpServer, web};
use bytes::Bytes;
use snowmelt_iglu_server::core::api_key::ApiKey;
use snowmelt_iglu_server::{ServerConfig, Storage, StorageOptions, serve};
use snowmelt_warehouse::{ClusterOptions, PrivateCluster};

// The program's own allocator, for both.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The super key; the script sends it.
const SUPER: &str = "5fb4713d-73ad-4163-93a9-2b82f0177c5b";
/// A schema of the usual size, without what identifies it; public ones have odd numbers.
const SCHEMAS: &str = "INSERT INTO iglu_schemas
    SELECT 'com.vendor' || n % 100, 'schema_' || n, 'jsonschema', 1, 0, 0, now(), now(), n % 2 = 1,
           json_build_object('type', 'object', 'description', repeat('x', 900), 'additionalProperties', false)
    FROM generate_series(1, 10000) AS n";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, directory] = arguments.as_slice() else { return Err("usage: speed bare|registry DIRECTORY".into()) };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match mode.as_str() {
        "bare" => Ok(runtime.block_on(bare(listener))?),
        "registry" => runtime.block_on(registry(listener, Path::new(directory))),
        other => Err(format!("no such mode: {other}").into()),
    }
}

/// Ends when whoever started this has gone.
async fn gone() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let ended = std::io::stdin().read_to_end(&mut Vec::new());
        if ended.is_err() || sender.send(()).is_err() {
            std::process::exit(1);
        }
    });
    // A sender that is gone is an end too.
    let (Ok(()) | Err(_)) = receiver.await;
}

async fn bare(listener: TcpListener) -> std::io::Result<()> {
    let schema = serde_json::json!({
        "$schema": snowmelt_iglu::META_SCHEMA,
        "self": {"vendor": "com.vendor1", "name": "schema_1", "format": "jsonschema", "version": "1-0-0"},
        "type": "object", "description": "x".repeat(900), "additionalProperties": false
    });
    let text = Bytes::from(schema.to_string());
    println!("{}", listener.local_addr()?.port());
    let server = HttpServer::new(move || {
        let text = text.clone();
        App::new().default_service(web::to(move || {
            let text = text.clone();
            async move { HttpResponse::Ok().content_type("application/json").body(text) }
        }))
    })
    .workers(2)
    .disable_signals()
    .listen(listener)?
    .run();
    tokio::select! {
        ended = server => ended,
        () = gone() => Ok(()),
    }
}

async fn registry(listener: TcpListener, directory: &Path) -> Result<(), Box<dyn Error>> {
    let cluster =
        PrivateCluster::start(directory, &ClusterOptions { durable: false, ..ClusterOptions::default() }).await?;
    let storage = Storage::open(&StorageOptions::new(cluster.url())).await?;
    sqlx::query(SCHEMAS).execute(storage.pool()).await?;
    let began = Instant::now();
    storage.catalog().await?;
    eprintln!("10,000 schemas are read from the database in {:?}", began.elapsed());
    println!("{}", listener.local_addr()?.port());
    let config = ServerConfig {
        super_key: ApiKey::parse(SUPER),
        pre_termination_period: Duration::ZERO,
        ..ServerConfig::default()
    };
    serve(config, storage, listener, gone()).await?;
    drop(cluster);
    Ok(())
}
