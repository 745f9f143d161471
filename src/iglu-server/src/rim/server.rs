//! The server over a listener: its start, its workers, its end.

use std::future::Future;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix_http::KeepAlive;
use actix_web::{App, HttpServer, web};
use tokio::sync::watch;

use super::handler::handle;
use crate::config::ServerConfig;
use crate::error::ServerError;
use crate::hooks::Hooks;
use crate::registry::Registry;
use crate::service::Service;
use crate::storage::Storage;

/// Requests under way get this long to end.
const LAST_REQUESTS: u64 = 10;
/// How long the end of a connection may take.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves the registry in `storage` on `listener` until `shutdown` resolves; then still takes requests for
/// `pre_termination_period`, finishes those under way and returns. Runs inside any tokio runtime; requests get threads of
/// their own.
///
/// # Errors
/// When the registry cannot be read at the start, or the listener fails.
pub async fn serve(
    config: ServerConfig,
    storage: Storage,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServerError> {
    let registry = Arc::new(Registry::open(storage.clone(), config.cache_bytes, config.changes.clone()).await?);
    let hooks = Hooks::start(config.web_hooks.clone()).map_err(ServerError::WebHooks)?;
    let (stop, stopped) = watch::channel(false);
    let following = tokio::spawn(Arc::clone(&registry).follow(config.check_every, config.trouble.clone(), stopped));
    let pre_termination_period = config.pre_termination_period;
    let workers = config.workers.max(1);
    let (max_connections, idle, request) = (config.max_connections, config.idle_timeout, config.request_timeout);
    let service = web::Data::new(Service::new(config, registry, hooks));
    let address = listener.local_addr().map_err(ServerError::Listener)?;
    let app_service = service.clone();
    let server = HttpServer::new(move || App::new().app_data(app_service.clone()).default_service(web::to(handle)))
        .workers(workers)
        .max_connections(max_connections.div_ceil(workers).max(1))
        .keep_alive(KeepAlive::Timeout(idle))
        .client_request_timeout(request)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .shutdown_timeout(LAST_REQUESTS)
        .disable_signals()
        .listen(listener)
        .map_err(ServerError::Listener)?
        .run();
    let handle = server.handle();
    tracing::info!(%address, "the schema registry listens");

    let mut server = pin!(server);
    let ended = tokio::select! {
        // Only a failure ends the server by itself.
        ended = &mut server => ended,
        () = shutdown => {
            service.drain();
            tokio::select! {
                ended = &mut server => ended,
                () = tokio::time::sleep(pre_termination_period) => tokio::join!(server, handle.stop(true)).0,
            }
        }
    };
    stop.send_replace(true);
    if let Err(error) = following.await {
        tracing::warn!(%error, "the watch over the registry's database did not end well");
    }
    storage.close().await;
    ended.map_err(ServerError::Listener)
}
