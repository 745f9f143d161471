//! The `snowmelt` command.

use std::process::ExitCode;

use clap::Parser;
use snowmelt::cli::{Cli, Command};
use snowmelt::{check, convert, enrich, iglu, load, log, run, send, setup, sql, status, tail, top};

/// Memory that is allocated on one thread and freed on another is what mailboxes do all day: 3 to 4 times as fast with this.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log::start(&cli);
    // One provider for every TLS connection of the process; installed twice only if a library did it before us.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was installed before");
    }
    let outcome = match &cli.command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::check(args),
        Command::Setup(args) => setup::setup(args),
        Command::Convert(args) => convert::convert(args),
        Command::Send(args) => send::send(args),
        Command::Status(args) => status::status(args),
        Command::Top(args) => top::top(args),
        Command::Sql(args) => sql::sql(args),
        Command::Tail(args) => tail::tail(args),
        Command::Enrich(args) => enrich::enrich(args),
        Command::Iglu(args) => iglu::iglu(args),
        Command::Load(args) => load::load(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("{trouble}");
            trouble.code()
        }
    }
}
