//! TLS to the server, as `sslmode` in the URL asks, with the meanings of the original's driver.
//!
//! | `sslmode` | |
//! | --- | --- |
//! | `disable` | never |
//! | `allow` | only when the server takes no one without |
//! | `prefer` | when the server has it; without the key `sslmode` too |
//! | `require` | always; whoever answers is believed |
//! | `verify-ca` | always; the certificate must come from a known authority |
//! | `verify-full` | the same, and it must be for the host of the URL |
//!
//! Known authorities are those of `sslrootcert` in the URL, of `PGSSLROOTCERT`, of `~/.postgresql/root.crt` as with the
//! original, or else the public ones that are built in.

use std::path::PathBuf;
use std::str::FromStr;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::fault::Fault;

/// The options that a URL gives. `allow` begins without TLS.
///
/// # Errors
/// What is wrong with the URL, in words.
pub(crate) fn parse_url(url: &str) -> Result<PgConnectOptions, String> {
    let options = PgConnectOptions::from_str(url).map_err(|error| error.to_string())?;
    let mut options = options.disable_statement_logging();
    if options.get_application_name().is_none() {
        options = options.application_name("snowmelt");
    }
    let verifies = matches!(options.get_ssl_mode(), PgSslMode::VerifyCa | PgSslMode::VerifyFull);
    let named = has_parameter(url, &["sslrootcert", "ssl-root-cert", "ssl-ca"]);
    if verifies && !named && std::env::var_os("PGSSLROOTCERT").is_none() {
        let own = std::env::home_dir().map(|home| home.join(".postgresql/root.crt"));
        if let Some(authorities) = own.filter(|file: &PathBuf| file.is_file()) {
            options = options.ssl_root_cert(authorities);
        }
    }
    Ok(options)
}

/// Whether a refusal means that the server takes no one without TLS.
pub(crate) fn asks_for_tls(fault: &Fault) -> bool {
    fault.code.as_deref() == Some("28000") && fault.message.contains("no encryption")
}

fn has_parameter(url: &str, names: &[&str]) -> bool {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    query.split('&').filter_map(|pair| pair.split_once('=')).any(|(key, _)| names.contains(&key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_of_the_original_is_understood() {
        for (mode, expected) in [
            ("disable", PgSslMode::Disable),
            ("allow", PgSslMode::Allow),
            ("prefer", PgSslMode::Prefer),
            ("require", PgSslMode::Require),
            ("verify-ca", PgSslMode::VerifyCa),
            ("verify-full", PgSslMode::VerifyFull),
        ] {
            let options = parse_url(&format!("postgres://u:p@db:6432/snowplow?sslmode={mode}")).unwrap();
            assert_eq!(format!("{:?}", options.get_ssl_mode()), format!("{expected:?}"));
            assert_eq!((options.get_host(), options.get_port()), ("db", 6432));
        }
        assert!(parse_url("postgres://db/x?sslmode=maybe").is_err());
    }
}
