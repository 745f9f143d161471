//! The server over a listener: workers, connections, shutdown.

use std::{
    future::Future,
    net::TcpListener,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use actix_http::{Extensions, HttpService, KeepAlive, Request, error::DispatchError};
use actix_server::{Server, ServerBuilder};
use actix_service::{ServiceFactoryExt, fn_service};
use actix_tls::accept::{
    TlsError,
    rustls_0_23::{Acceptor, TlsStream},
};
use tokio::net::TcpStream;

use super::{
    handler::{Counters, State, handle},
    statsd::Statsd,
    tap::{HeadLimits, Tap},
    tls,
};
use crate::{
    CollectorConfig, CollectorError, Sink,
    commit::{CommitSettings, Committer, Courier},
    config::Networking,
    decision::Core,
};

/// Milliseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How long the end of a connection may take.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves the collector on `listener` until `shutdown` resolves; then drains (`preTerminationPeriod`, spec 5.7), closes the listener,
/// flushes both buffers, [closes](Sink::close) both sinks and returns. Runs inside any tokio runtime; request handling gets its own threads.
///
/// # Errors
/// At once for a configuration that cannot be used; at the end when records could not be made durable before `terminationDeadline`.
pub async fn serve(
    config: CollectorConfig,
    listener: TcpListener,
    good: Arc<dyn Sink>,
    bad: Arc<dyn Sink>,
    clock: Clock,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), CollectorError> {
    let core = Arc::new(Core::new(&config)?);
    let tls = if config.ssl.enable { Some(tls::server_config(&config.ssl)?) } else { None };
    let statsd = Statsd::start(&config);
    let networking = &config.networking;
    let state = Arc::new(State {
        core,
        good: Committer::start("good", Arc::clone(&good), CommitSettings::new(&config, &config.streams.good)),
        bad: Committer::start("bad", Arc::clone(&bad), CommitSettings::new(&config, &config.streams.bad)),
        good_sink: good,
        bad_sink: bad,
        clock,
        durability: config.durability,
        drop_payload_size: networking.drop_payload_size,
        body_timeout: networking.body_read_timeout.min(networking.response_header_timeout),
        response_timeout: networking.response_header_timeout,
        unhealthy_while_draining: config.pre_termination_unhealthy,
        draining: AtomicBool::new(false),
        counters: Counters::new(),
        requests: statsd.as_ref().map(Statsd::requests),
    });

    let workers =
        config.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get)).max(1);
    let address = listener.local_addr()?;
    let builder = Server::build()
        .workers(workers)
        .max_concurrent_connections(networking.max_connections.div_ceil(workers).max(1))
        .shutdown_timeout(config.termination_deadline.as_secs())
        .disable_signals();
    let server = listen(builder, listener, state.clone(), networking, tls)?.run();
    let handle = server.handle();
    tracing::info!("Service bound to address {address}");

    let mut server = pin!(server);
    tokio::select! {
        // Only a failure ends the server by itself.
        ended = &mut server => {
            close(&state, config.termination_deadline).await?;
            return ended.map_err(CollectorError::Listener);
        }
        () = shutdown => {}
    }
    tracing::info!(period = ?config.pre_termination_period, "draining");
    state.draining.store(true, Ordering::Relaxed);
    tokio::select! {
        ended = &mut server => ended?,
        () = tokio::time::sleep(config.pre_termination_period) => {
            let (ended, ()) = tokio::join!(server, handle.stop(true));
            ended?;
        }
    }
    let closed = close(&state, config.termination_deadline).await;
    if let Some(statsd) = statsd {
        statsd.close().await;
    }
    closed
}

async fn close(state: &State, deadline: Duration) -> Result<(), CollectorError> {
    let began = Instant::now();
    let (good, bad) = tokio::join!(state.good.close(deadline), state.bad.close(deadline));
    let left = deadline.saturating_sub(began.elapsed());
    tokio::join!(state.good_sink.close(left), state.bad_sink.close(left));
    match good + bad {
        0 => Ok(()),
        records => Err(CollectorError::NotDrained { records }),
    }
}

/// Binds the HTTP/1 service to the listener, over TLS or not.
fn listen(
    builder: ServerBuilder,
    listener: TcpListener,
    state: Arc<State>,
    networking: &Networking,
    tls: Option<rustls::ServerConfig>,
) -> std::io::Result<ServerBuilder> {
    let stopping = builder.graceful_shutdown_signal();
    let limits = HeadLimits {
        request_line: networking.max_request_line_length,
        headers: networking.max_headers_length,
        time: networking.response_header_timeout,
    };
    let (keep_alive, head_timeout) = (networking.idle_timeout, networking.response_header_timeout);
    // A macro, since the two services differ in types nobody wants to write.
    macro_rules! http {
        ($stream:ty) => {
            HttpService::<Tap<$stream>, _, _>::build()
                .graceful_shutdown_signal({
                    let stopping = stopping.clone();
                    move || {
                        let stopping = stopping.clone();
                        async move { stopping.notified().await }
                    }
                })
                .client_disconnect_timeout(DISCONNECT_TIMEOUT)
                .keep_alive(KeepAlive::Timeout(keep_alive))
                .client_request_timeout(head_timeout)
                .on_connect_ext(|connection: &Tap<$stream>, data: &mut Extensions| {
                    data.insert(connection.heads());
                })
                // No `App` of actix-web: there is nothing to route by, and it would cost a tenth of a request.
                .h1(fn_service({
                    let state = Arc::clone(&state);
                    move |request: Request| handle(request, Arc::clone(&state))
                }))
        };
    }
    match tls {
        None => builder.listen("collector", listener, move || {
            Courier::employ();
            fn_service(move |io: TcpStream| async move {
                let peer = io.peer_addr().ok();
                Ok::<_, DispatchError>((Tap::new(io, limits), peer))
            })
            .and_then(http!(TcpStream))
        }),
        Some(tls) => builder.listen("collector", listener, move || {
            Courier::employ();
            Acceptor::new(tls.clone())
                .map_init_err(|_| ())
                .map_err(TlsError::into_service_error::<DispatchError>)
                .map(move |io: TlsStream<TcpStream>| {
                    let peer = io.get_ref().0.peer_addr().ok();
                    (Tap::new(io, limits), peer)
                })
                .and_then(http!(TlsStream<TcpStream>).map_err(TlsError::Service))
        }),
    }
}
