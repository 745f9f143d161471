//! The collectors of a node: HTTP on one side, streams on the other.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use snowmelt_collector::{CollectorConfig, CollectorError};
use snowmelt_runtime::Clock;

use crate::definition::Plan;
use crate::definition::model::{Collect, Work};
use crate::run::backends::Backends;
use crate::run::operator::report::CollectorReport;
use crate::run::servers::Servers;
use crate::run::settings;
use crate::run::sinks::{Sides, Way};
use crate::trouble::{Outcome, Trouble};

/// How long the end of connections and of spools may take beyond what the configuration allows.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// The running collectors.
pub struct Collectors {
    urls: Vec<String>,
    servers: Servers<CollectorError>,
    ways: Vec<Way>,
    stop_within: Duration,
}

/// A collector that may be started: its configuration is right and its spools are open.
pub struct Prepared {
    name: String,
    config: CollectorConfig,
    good: Way,
    bad: Way,
}

/// Whether the collectors take what is sent.
#[derive(Clone, Default)]
pub struct CollectorHealth(Vec<Way>);

impl CollectorHealth {
    /// Whether records are taken on each way, and why not.
    pub fn report(&self) -> Vec<CollectorReport> {
        self.0.iter().map(Way::report).collect()
    }
}

/// Listens for every collector of the plan, before anything else is started.
pub fn bind(plan: &Plan) -> Outcome<Vec<TcpListener>> {
    collects(plan)
        .map(|(name, collect)| {
            TcpListener::bind(collect.listen).map_err(|error| {
                let hint = "choose another with --set collector.listen=HOST:PORT";
                Trouble::machine(&format!("collector {name} can't listen on {}; {hint}", collect.listen), error)
            })
        })
        .collect()
}

fn collects(plan: &Plan) -> impl Iterator<Item = (&str, &Collect)> {
    plan.definitions.iter().filter_map(|definition| match &definition.work {
        Work::Collect(collect) => Some((definition.name.as_str(), collect)),
        _ => None,
    })
}

/// Reads every collector's configuration and opens its ways to the streams. What a spool holds begins to drain.
pub async fn prepare(plan: &Plan, backends: &Backends, clock: &Clock) -> Outcome<Vec<Prepared>> {
    let mut prepared = Vec::new();
    for (name, collect) in collects(plan) {
        let config = settings::collector(collect)?;
        let sides = Sides {
            collector: name,
            config: &config,
            streams: &backends.streams,
            spools: plan.backend.data_dir.join("spool"),
            clock: sink_clock(clock),
        };
        let [good, bad] = sides.open(&collect.good, &collect.bad).await?;
        prepared.push(Prepared { name: name.to_owned(), config, good, bad });
    }
    Ok(prepared)
}

/// The clock as the collector wants it.
fn sink_clock(clock: &Clock) -> snowmelt_collector::Clock {
    let clock = clock.clone();
    Arc::new(move || clock.now_ms())
}

/// Starts every collector on its listener.
pub fn start(prepared: Vec<Prepared>, listeners: Vec<TcpListener>, clock: &Clock) -> Outcome<Collectors> {
    let (urls, servers, ways) = (Vec::new(), Servers::new("collector"), Vec::new());
    let mut collectors = Collectors { urls, servers, ways, stop_within: Duration::ZERO };
    for (Prepared { name, config, good, bad }, listener) in prepared.into_iter().zip(listeners) {
        let address = listener.local_addr().map_err(|error| Trouble::machine("collector", error))?;
        let scheme = if config.ssl.enable { "https" } else { "http" };
        collectors.urls.push(format!("{scheme}://{address}"));
        if config.ssl.enable && config.ssl.redirect {
            collectors.redirect_to_https(&name, SocketAddr::new(address.ip(), config.port), address.port())?;
        }
        collectors.ways.extend([good.clone(), bad.clone()]);
        // Connections end, then records, then what another mode left in a spool: each by the deadline.
        let within = config.pre_termination_period + 3 * config.termination_deadline + STOP_GRACE;
        collectors.stop_within = collectors.stop_within.max(within);
        let shutdown = collectors.servers.stopped();
        let now = sink_clock(clock);
        collectors.servers.run(name, async move {
            let deadline = config.termination_deadline;
            let (entrance, bad_entrance) = (Arc::clone(&good.entrance), Arc::clone(&bad.entrance));
            let served = snowmelt_collector::serve(config, listener, entrance, bad_entrance, now, shutdown).await;
            // Spools that requests are answered from are closed already; others were left by another mode.
            tokio::join!(good.close(deadline), bad.close(deadline));
            served
        });
    }
    Ok(collectors)
}

impl Collectors {
    /// Sends plain HTTP at `address` on to HTTPS on `port`.
    fn redirect_to_https(&mut self, collector: &str, address: SocketAddr, port: u16) -> Outcome {
        let listener = TcpListener::bind(address).map_err(|error| {
            let hint = "choose another port with --set collector.settings.port=PORT";
            Trouble::machine(&format!("collector {collector} can't listen on {address} for plain HTTP; {hint}"), error)
        })?;
        let (name, stopped) = (format!("{collector} (plain HTTP)"), self.servers.stopped());
        self.servers.run(name, snowmelt_collector::redirect_to_https(listener, port, stopped));
        Ok(())
    }

    /// Where the first one listens.
    pub fn url(&self) -> Option<String> {
        self.urls.first().cloned()
    }

    /// Whether they take what is sent.
    pub fn health(&self) -> CollectorHealth {
        CollectorHealth(self.ways.clone())
    }

    /// How long [`stop`](Self::stop) may take.
    pub fn stop_within(&self) -> Duration {
        self.stop_within
    }

    /// Resolves when one ends by itself.
    pub async fn failed(&mut self) -> String {
        self.servers.failed().await
    }

    /// Stops taking requests after the time for load balancers, finishes those under way, hands on what spools hold as far as
    /// time allows.
    pub async fn stop(&mut self) -> Outcome {
        self.servers.stop().await
    }
}
