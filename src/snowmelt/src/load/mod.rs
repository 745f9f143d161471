//! `snowmelt load`: one actor alone, under load.
//!
//! A recipe ([`recipes`]) puts the real actor between a load generator and what stands behind it: stand-ins
//! ([`standins`]) or the real backends. The generator has a thread of its own, whose CPU is taken off. The engine
//! ([`engine`]) watches mailboxes and acknowledgements; a record is done when all that came of it is durable.

pub mod args;
mod bench;
mod cities;
mod compare;
mod engine;
mod input;
mod machine;
mod measure;
mod pace;
mod plot;
mod recipes;
mod report;
mod rig;
mod schedule;
mod six;
mod standins;

use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

use self::args::{Actor, LoadArgs, Until};
use self::bench::Bench;
use self::recipes::RECIPES;
use self::report::{Report, Setup};
use crate::trouble::{Outcome, Trouble};

/// Runs the command.
pub fn load(args: &LoadArgs) -> Outcome {
    if args.list {
        list();
        return Ok(());
    }
    // What is to be compared with is read first: a mistake in it should not cost a run.
    let old = args.compare.as_deref().map(read).transpose()?;
    let report = actix_rt::System::new().block_on(measure_actor(args))?;
    print!("{report}");
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| Trouble::caused("figures", error))?;
        write(path, &text)?;
    }
    if let Some(path) = &args.plot {
        write(path, &plot::draw(&report))?;
    }
    if let Some(old) = old {
        print!("\n{}", compare::compare(&old, &report));
    }
    Ok(())
}

fn list() {
    for recipe in RECIPES {
        println!("{:<16} {} (batches of {})", recipe.actor.name(), recipe.explained, recipe.batch);
    }
}

/// Runs one actor under load.
///
/// # Errors
/// The user's mistakes; what failed of the machine or in the actor.
pub async fn measure_actor(args: &LoadArgs) -> Outcome<Report> {
    let actor = args.actor.ok_or_else(|| Trouble::user("which actor? `snowmelt load --list` explains them"))?;
    args.check(actor)?;
    let mut bench = Bench::new(args)?;
    let interrupted = interrupted()?;
    let measured = tokio::select! {
        measured = measure(actor, args, &mut bench) => measured,
        () = interrupted => Err(Trouble::Machine("interrupted".to_owned())),
    };
    bench.shared.stop.cancel();
    let closed = bench.close().await;
    let report = measured?;
    closed?;
    Ok(report)
}

/// Resolves when the process is asked to stop: a private server must not outlive it.
fn interrupted() -> Outcome<impl Future<Output = ()>> {
    let listen = |kind| signal(kind).map_err(|error| Trouble::machine("signals", error));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

async fn measure(actor: Actor, args: &LoadArgs, bench: &mut Bench) -> Outcome<Report> {
    let bar = progress(args);
    bar.set_message("preparing");
    let rig = recipes::build(actor, bench).await?;
    let until = args.until();
    let show = |seconds: f64, records: u64| {
        if seconds > 0.0 {
            bar.set_message(format!("{} records/s", report::thousands(records as f64 / seconds)));
        }
        bar.set_position(match until {
            Until::Records(_) => records,
            Until::Elapsed(_) => (seconds * 1000.0) as u64,
        });
    };
    let seen = engine::run(rig, &bench.shared, until, args.rate.is_some(), show).await;
    bar.finish_and_clear();
    let setup = Setup::new(args, actor, bench.backend.clone(), bench.input_bytes, bench.cores.count());
    Ok(Report::new(actor, setup, seen?))
}

/// A bar on standard error; nothing when that is no terminal.
fn progress(args: &LoadArgs) -> ProgressBar {
    let length = match args.until() {
        Until::Records(records) => records,
        Until::Elapsed(duration) => duration.as_millis() as u64,
    };
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:40} {percent}%  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn read(path: &Path) -> Outcome<Report> {
    let wrong = |error: &dyn std::fmt::Display| Trouble::user(format!("--compare {}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    serde_json::from_str(&text).map_err(|error| wrong(&error))
}

fn write(path: &Path, text: &str) -> Outcome {
    std::fs::write(path, text).map_err(|error| Trouble::machine(&path.display().to_string(), error))
}
