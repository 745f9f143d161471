//! What the database said, sorted by what to do about it.

/// A failure of the database or of the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// SQLSTATE where the server gave one.
    pub(crate) code: Option<String>,
    /// As the original's driver words it: `ERROR: ...` with a second line for details.
    pub(crate) message: String,
    /// The connection broke; another one may do.
    pub(crate) connection_lost: bool,
}

impl Fault {
    /// Whether a row is to blame: the same row fails again, others do not. Classes 22 (data), 23 (constraints),
    /// 44 (check option of a view), 54 (limits of a row) and errors raised by the user's own triggers.
    pub(crate) fn is_about_data(&self) -> bool {
        self.code
            .as_deref()
            .is_some_and(|code| matches!(code.get(..2), Some("22" | "23" | "44" | "54")) || code == "P0001")
    }

    /// Whether a table is not as we last saw it: missing, or without one of its columns.
    pub(crate) fn is_about_tables(&self) -> bool {
        matches!(self.code.as_deref(), Some("42P01" | "42703" | "3F000" | "42804"))
    }

    /// Whether somebody else created the same thing at the same time.
    pub(crate) fn is_a_race(&self) -> bool {
        matches!(self.code.as_deref(), Some("42P07" | "42701" | "23505" | "XX000" | "40001" | "40P01"))
    }
}

/// Whether a change of a table is refused for good: not supported, something depends on it, not allowed.
pub(crate) fn is_refusal(code: &str) -> bool {
    matches!(code.get(..2), Some("0A" | "2B" | "42"))
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(database) = &error else {
            let connection_lost = matches!(error, sqlx::Error::Io(_));
            return Self { code: None, message: error.to_string(), connection_lost };
        };
        let mut message = format!("ERROR: {}", database.message());
        if let Some(postgres) = database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
            && let Some(detail) = postgres.detail()
        {
            message.push_str("\n  Detail: ");
            message.push_str(detail);
        }
        let code = database.code().map(|code| code.into_owned());
        // The server says so when it shuts down or an operator cuts the connection.
        let connection_lost = code.as_deref().is_some_and(|code| code.starts_with("57P"));
        Self { code, message, connection_lost }
    }
}
