//! `snowmelt enrich`: records enriched without streams, one a line in, one JSON object a line out, in the same order.
//!
//! A thread reads lines into chunks, a thread a core enriches chunks, and the caller prints what comes of them in their
//! order. All queues are bounded: a slow reader of the output slows the reading down.

mod lines;
mod record;
#[cfg(test)]
mod tests;
mod worker;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use snowmelt_runtime::Clock;

use crate::cli::EnrichArgs;
use crate::run::enriching::{self, Enriching};
use crate::run::settings;
use crate::trouble::{Outcome, Trouble};
use lines::{Chunk, Lines};
use worker::{Done, Setup, Worker};

/// Chunks that wait, for each core: enough that no core is idle while another has a slow one.
const CHUNKS_A_CORE: usize = 4;
/// What is read from the input at once.
const READ_BYTES: usize = 256 << 10;

/// A chunk and where its result goes.
type Job = (Chunk, SyncSender<Done>);

/// What could not be done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines that are neither a payload nor a request.
    pub unreadable: u64,
    /// Lines whose schemas no registry answered for.
    pub unanswered: u64,
}

/// Runs the command.
pub fn enrich(args: &EnrichArgs) -> Outcome {
    let input = open(args.file.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Trouble::machine("the event loop can't be started", error))?;
    let setup = Arc::new(runtime.block_on(setup(args))?);
    let (mut out, mut errors) = (io::stdout().lock(), io::stderr().lock());
    let printed = pipe(input, &setup, runtime.handle(), &mut out, &mut errors);
    // A look-up that nobody waits for any more must not keep the process.
    runtime.shutdown_background();
    match printed {
        Ok(tally) => tally.outcome(),
        // `snowmelt enrich … | head` is no error.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Trouble::machine("enriching", error)),
    }
}

impl Tally {
    fn outcome(self) -> Outcome {
        if self.unanswered > 0 {
            let lines = self.unanswered;
            return Err(Trouble::Machine(format!("lines not enriched, as a schema registry did not answer: {lines}")));
        }
        if self.unreadable > 0 {
            let lines = self.unreadable;
            return Err(Trouble::user(format!("lines that are neither a payload nor a request: {lines}")));
        }
        Ok(())
    }
}

/// The input, to be opened before anything else is done: a missing file is the commonest mistake.
fn open(file: Option<&Path>) -> Outcome<Box<dyn FnOnce() -> Box<dyn BufRead> + Send>> {
    match file {
        Some(path) if path != Path::new("-") => {
            let file = File::open(path)
                .map_err(|error| Trouble::user(format!("{} can't be read: {error}", path.display())))?;
            Ok(Box::new(move || Box::new(BufReader::with_capacity(READ_BYTES, file))))
        }
        _ => Ok(Box::new(|| Box::new(BufReader::with_capacity(READ_BYTES, io::stdin().lock())))),
    }
}

async fn setup(args: &EnrichArgs) -> Outcome<Setup> {
    let clock = Clock::system();
    let config = enriching::config(args.config.as_deref())?;
    let resolver = match &args.resolver {
        Some(file) => settings::resolver_with(file, None, &clock, config.resolver.clone())?,
        None => settings::built_in_schemas(&clock)?,
    };
    let failed_output = config.failed_output;
    let (_, enrich) = Enriching::open(config, args.enrichments.as_deref()).await?;
    Setup::new(enrich, resolver, clock, args.at, failed_output)
}

/// From the lines of `input` to `out`, on all cores. What is wrong with a line goes to `errors`.
///
/// # Errors
/// When the input can't be read or something can't be written.
fn pipe<R: BufRead>(
    input: impl FnOnce() -> R + Send + 'static,
    setup: &Arc<Setup>,
    runtime: &tokio::runtime::Handle,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> io::Result<Tally> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (jobs, queue) = sync_channel::<Job>(cores);
    let (order, results) = sync_channel::<io::Result<Receiver<Done>>>(cores * CHUNKS_A_CORE);
    let queue = Arc::new(Mutex::new(queue));
    for core in 0..cores {
        let mut worker = Worker::new(Arc::clone(setup), runtime.clone());
        let queue = Arc::clone(&queue);
        spawn(&format!("enrich-{core}"), move || {
            while let Some((chunk, result)) = next(&queue) {
                // Nobody takes the result when the output is closed: then the process ends.
                result.send(worker.run(&chunk)).unwrap_or_default();
            }
        })?;
    }
    spawn("enrich-reader", move || read(Lines::new(input()), &jobs, &order))?;
    let mut tally = Tally::default();
    for result in results {
        let done = result?.recv().map_err(|_| io::Error::other("a thread that enriches has panicked"))?;
        tally.unreadable += done.tally.unreadable;
        tally.unanswered += done.tally.unanswered;
        errors.write_all(done.errors.as_bytes())?;
        out.write_all(&done.lines)?;
        out.flush()?;
    }
    Ok(tally)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

fn next(queue: &Mutex<Receiver<Job>>) -> Option<Job> {
    queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).recv().ok()
}

/// Hands chunks out until the input ends or nobody wants them any more.
fn read(mut lines: Lines<impl BufRead>, jobs: &SyncSender<Job>, order: &SyncSender<io::Result<Receiver<Done>>>) {
    loop {
        let (chunk, failure) = match lines.chunk() {
            Ok(Some(chunk)) => (chunk, None),
            Ok(None) => return,
            Err(error) => (Chunk::default(), Some(error)),
        };
        if let Some(error) = failure {
            order.send(Err(error)).unwrap_or_default();
            return;
        }
        let (sender, receiver) = sync_channel(1);
        if order.send(Ok(receiver)).is_err() || jobs.send((chunk, sender)).is_err() {
            return;
        }
    }
}
