//! The thread that asks the node, so that the screen never waits for it.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::cli::OrderKind;
use crate::run::operator::report::NodeReport;
use crate::status::client::{Client, Part};
use crate::trouble::{Outcome, Trouble};

/// Commands that may wait for their turn.
const MAX_ORDERS: usize = 8;
/// Reports that may wait to be drawn.
const MAX_NEWS: usize = 16;

/// What the node said.
pub enum News {
    /// How it is.
    Report(Box<NodeReport>),
    /// It does not answer.
    Silent(String),
    /// What came of a command.
    Answer(String),
}

/// The other thread.
pub struct Link {
    news: Receiver<News>,
    orders: mpsc::Sender<(OrderKind, Part)>,
}

impl Link {
    /// Starts asking every so often.
    pub fn start(client: Client, every: Duration) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Trouble::machine("the event loop can't be started", error))?;
        let (news_sender, news) = sync_channel(MAX_NEWS);
        let (orders, order_receiver) = mpsc::channel(MAX_ORDERS);
        std::thread::Builder::new()
            .name("node".to_owned())
            .spawn(move || runtime.block_on(ask(client, every, news_sender, order_receiver)))
            .map_err(|error| Trouble::machine("a thread can't be started", error))?;
        Ok(Self { news, orders })
    }

    /// What came since the last call.
    pub fn news(&self) -> Option<News> {
        self.news.try_recv().ok()
    }

    /// Gives a command; false when too many wait.
    pub fn order(&self, kind: OrderKind, part: Part) -> bool {
        self.orders.try_send((kind, part)).is_ok()
    }
}

/// Asks until the screen is gone.
async fn ask(client: Client, every: Duration, news: SyncSender<News>, mut orders: mpsc::Receiver<(OrderKind, Part)>) {
    loop {
        let report = match client.status().await {
            Ok(report) => News::Report(Box::new(report)),
            Err(trouble) => News::Silent(said(&trouble)),
        };
        if news.send(report).is_err() {
            return;
        }
        let order = tokio::select! {
            order = orders.recv() => order,
            () = tokio::time::sleep(every) => continue,
        };
        let Some((kind, part)) = order else { return };
        let answer = match client.order(kind, &part).await {
            Ok(groups) => format!("{}: {}", kind.path(), groups.join(", ")),
            Err(trouble) => said(&trouble),
        };
        if news.send(News::Answer(answer)).is_err() {
            return;
        }
    }
}

fn said(trouble: &Trouble) -> String {
    trouble.to_string().trim_start_matches("error: ").to_owned()
}
