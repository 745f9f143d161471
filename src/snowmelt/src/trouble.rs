//! What ends a command: whose mistake it is, and the exit code that says so.

use std::fmt;
use std::process::ExitCode;

use snowmelt_runtime::failure::explain;

use crate::definition::Problem;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub enum Trouble {
    /// The user's mistakes, each a line. Exit code 2.
    User(Vec<String>),
    /// The machine's: a disk, a port, a server. Exit code 1.
    Machine(String),
}

/// The result of a command.
pub type Outcome<T = ()> = Result<T, Trouble>;

impl Trouble {
    /// One mistake of the user.
    pub fn user(message: impl Into<String>) -> Self {
        Self::User(vec![message.into()])
    }

    /// Trouble of the machine, with what was being done.
    pub fn machine(doing: &str, error: impl fmt::Display) -> Self {
        Self::Machine(format!("{doing}: {error}"))
    }

    /// Trouble of the machine with all its causes in one line.
    pub fn caused(doing: &str, error: impl std::error::Error) -> Self {
        Self::Machine(format!("{doing}: {}", explain(&error)))
    }

    /// The exit code.
    pub fn code(&self) -> ExitCode {
        match self {
            Self::User(_) => ExitCode::from(2),
            Self::Machine(_) => ExitCode::from(1),
        }
    }
}

impl From<Vec<Problem>> for Trouble {
    fn from(problems: Vec<Problem>) -> Self {
        Self::User(problems.iter().map(ToString::to_string).collect())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(messages) => {
                for (index, message) in messages.iter().enumerate() {
                    if index > 0 {
                        writeln!(f)?;
                    }
                    write!(f, "error: {message}")?;
                }
                Ok(())
            }
            Self::Machine(message) => write!(f, "error: {message}"),
        }
    }
}
