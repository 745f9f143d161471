//! TLS: rustls with aws-lc-rs, HTTP/1.1 only (6.6).

use std::{path::Path, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::{CollectorError, config::Ssl};

/// Loads the certificate chain and its key.
pub(super) fn server_config(ssl: &Ssl) -> Result<ServerConfig, CollectorError> {
    let (certificate, key) = (file(&ssl.certificate, "ssl.certificate")?, file(&ssl.private_key, "ssl.privateKey")?);
    let wrong = |path: &Path, reason: String| CollectorError::Tls { path: path.display().to_string(), reason };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .map_err(|error| wrong(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(certificate, "there is no certificate in it".to_owned()));
    }
    let private_key = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(certificate, error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, private_key)
        .map_err(|error| wrong(certificate, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn file<'a>(path: &'a Option<std::path::PathBuf>, key: &str) -> Result<&'a Path, CollectorError> {
    path.as_deref()
        .ok_or_else(|| CollectorError::Config { key: key.to_owned(), reason: "is needed with ssl.enable".to_owned() })
}
