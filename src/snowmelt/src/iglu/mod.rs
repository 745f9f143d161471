//! `snowmelt iglu`: what people do with schemas and registries. Works with our registry and with the original.

pub mod args;
mod client;
mod ddl;
mod files;
mod keygen;
mod lint;
mod pull;
mod push;
mod setup;

#[cfg(test)]
mod tests;

use std::future::Future;

use self::args::{IgluArgs, IgluCommand};
use crate::trouble::{Outcome, Trouble};

/// Runs the command.
pub fn iglu(args: &IgluArgs) -> Outcome {
    match &args.command {
        IgluCommand::Push(args) => wait(push::push(args)),
        IgluCommand::Pull(args) => wait(pull::pull(args)),
        IgluCommand::Lint(args) => lint::lint(args),
        IgluCommand::Ddl(args) => ddl::ddl(args),
        IgluCommand::Keygen(args) => wait(keygen::keygen(args)),
        IgluCommand::Setup(args) => wait(setup::setup(args)),
    }
}

fn wait(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Trouble::machine("threads can't be started", error))?;
    runtime.block_on(work)
}
