//! `snowmelt sql`: psql on the warehouse.

use std::process::Command;

use crate::cli::SqlArgs;
use crate::running::{Psql, RunFile};
use crate::trouble::{Outcome, Trouble};

/// Runs the command.
pub fn sql(args: &SqlArgs) -> Outcome {
    let Some(running) = RunFile::find(&args.data_dir) else {
        let hint = "start one with `snowmelt run pipelines/quickstart.toml`, or name its directory by --data-dir";
        return Err(Trouble::user(format!("no pipeline runs in {}; {hint}", args.data_dir.display())));
    };
    let Some(psql) = running.psql else {
        return Err(Trouble::user(
            "the running pipeline uses no Postgres; run a definition with a sink of kind \"postgres\"",
        ));
    };
    let status = command(&psql, args).status().map_err(|error| {
        let hint = "install it with `apt-get install postgresql-client`";
        Trouble::machine(&format!("{} can't be run; {hint}", psql.program.display()), error)
    })?;
    match status.code() {
        Some(0) => Ok(()),
        // psql has told what is wrong; 1 and 3 are errors of the query.
        Some(code) => Err(Trouble::Machine(format!("psql ended with exit code {code}"))),
        None => Err(Trouble::Machine("psql was ended by a signal".to_owned())),
    }
}

fn command(psql: &Psql, args: &SqlArgs) -> Command {
    let mut command = Command::new(&psql.program);
    command.args(&psql.arguments);
    for (name, value) in &psql.environment {
        command.env(name, value);
    }
    if args.tuples_only {
        command.args(["-A", "-t"]);
    }
    if let Some(query) = &args.command {
        command.args(["-v", "ON_ERROR_STOP=1", "-c", query]);
    }
    command
}
