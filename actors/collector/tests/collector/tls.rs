//! HTTPS. The certificate in `tls/` is for `localhost`, signs itself and is trusted by nobody else.

use std::{
    io::{Read, Write},
    path::PathBuf,
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, Stream,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use snowmelt_collector::CollectorConfig;
use snowmelt_protocol::payload::CollectorPayload;

use super::support::Collector;

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/collector/tls").join(name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_is_served_with_the_same_header_care() {
    let mut config = CollectorConfig::default();
    config.ssl.enable = true;
    config.ssl.certificate = Some(file("certificate.pem"));
    config.ssl.private_key = Some(file("key.pem"));
    config.hsts.enable = true;
    let collector = Collector::start(config);
    let address = collector.address;
    let answer = tokio::task::spawn_blocking(move || {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(file("certificate.pem")).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        let mut stream = Stream::new(&mut connection, &mut socket);
        stream.write_all(b"GET /i?e=pv HTTP/1.1\r\nhOsT: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok();
        String::from_utf8_lossy(&answer).into_owned()
    })
    .await
    .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nStrict-Transport-Security: max-age=31536000; includeSubDomains\r\n"), "{answer}");
    let records = collector.good.take();
    let payload = CollectorPayload::decode(&records[0].data).unwrap();
    assert_eq!(payload.headers(), ["hOsT: localhost", "Connection: close"]);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_key_file_stops_the_start() {
    let mut config = CollectorConfig::default();
    config.ssl.enable = true;
    config.ssl.certificate = Some(file("certificate.pem"));
    config.ssl.private_key = Some(file("nothing.pem"));
    let error = Collector::start(config).stop().await.unwrap_err();
    assert!(error.to_string().contains("nothing.pem"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_http_beside_it_is_sent_on() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(snowmelt_collector::redirect_to_https(listener, 8443, async {
        stopped.await.ok();
    }));
    let answer = tokio::task::spawn_blocking(move || {
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        socket.write_all(b"POST /a/b?c=d HTTP/1.1\r\nHost: c.acme.example:80\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer.to_lowercase()
    })
    .await
    .unwrap();
    assert!(answer.starts_with("http/1.1 301 moved permanently\r\n"), "{answer}");
    assert!(answer.contains("\r\nlocation: https://c.acme.example:8443/a/b?c=d\r\n"), "{answer}");
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}
