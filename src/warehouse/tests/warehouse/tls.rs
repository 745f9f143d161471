//! TLS to a server that has it, with every mode of the original's `sslMode`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use snowmelt_warehouse::{ClusterOptions, PrivateCluster, Warehouse, WarehouseError, WarehouseOptions};
use sqlx::AssertSqlSafe;

/// Runs `openssl`, which Debian has and nothing else here can replace.
fn openssl(folder: &Path, arguments: &[&str]) {
    let made = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// An authority, and a certificate by it for `db.example` and 127.0.0.1.
fn make_certificates(folder: &Path) {
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let authority =
        ["req", "-x509", "-days", "2", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.crt"];
    openssl(folder, &[&authority[..], &key].concat());
    let request = ["req", "-subj", "/CN=db.example", "-keyout", "server.key", "-out", "server.csr"];
    openssl(folder, &[&request[..], &key].concat());
    std::fs::write(folder.join("names"), "subjectAltName=DNS:db.example\n").unwrap();
    let sign = ["x509", "-req", "-days", "2", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key"];
    let out = ["-CAcreateserial", "-extfile", "names", "-out", "server.crt"];
    openssl(folder, &[&sign[..], &out].concat());
}

async fn run(warehouse: &Warehouse, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(warehouse.pool()).await.unwrap();
}

/// Writes a file beside the server's data, as its user.
async fn give(warehouse: &Warehouse, name: &str, content: &[u8]) {
    use base64::Engine as _;
    let content = base64::engine::general_purpose::STANDARD.encode(content);
    let program = format!("umask 077; base64 -d > {name}");
    run(warehouse, &format!("COPY (SELECT '{content}') TO PROGRAM '{program}'")).await;
}

async fn uses_tls(url: &str) -> Result<bool, WarehouseError> {
    let options = WarehouseOptions { acquire_timeout: Duration::from_secs(5), ..WarehouseOptions::new(url, "atomic") };
    let warehouse = Warehouse::connect(&options).await?;
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let tls = sqlx::query_scalar(sql).fetch_one(warehouse.pool()).await.unwrap();
    warehouse.close().await;
    Ok(tls)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mode_does_what_it_does_with_the_original() {
    let folder = tempfile::tempdir().unwrap();
    make_certificates(folder.path());
    let directory = tempfile::Builder::new().prefix("snowmelt-pg-tls-").tempdir().unwrap();
    let options = ClusterOptions { durable: false, ..ClusterOptions::default() };
    let cluster = PrivateCluster::start(directory.path(), &options).await.unwrap();
    let admin = Warehouse::connect(&WarehouseOptions::new(cluster.url(), "atomic")).await.unwrap();
    let base = cluster.url();
    let url = |host: &str, mode: &str| {
        let (start, _) = base.split_once('?').unwrap();
        format!("{}?sslmode={mode}", start.replace("127.0.0.1", host))
    };
    let refused = async |mode: &str| uses_tls(&url("127.0.0.1", mode)).await.unwrap_err().to_string();

    // Without TLS in the server.
    for mode in ["disable", "allow", "prefer"] {
        assert!(!uses_tls(&url("127.0.0.1", mode)).await.unwrap(), "{mode}");
    }
    assert!(refused("require").await.contains("does not support TLS"));

    for name in ["server.key", "server.crt"] {
        give(&admin, name, &std::fs::read(folder.path().join(name)).unwrap()).await;
    }
    run(&admin, "ALTER SYSTEM SET ssl = on").await;
    run(&admin, "SELECT pg_reload_conf()").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    for (mode, expected) in [("disable", false), ("allow", false), ("prefer", true), ("require", true)] {
        assert_eq!(uses_tls(&url("127.0.0.1", mode)).await.unwrap(), expected, "{mode}");
    }
    // Nobody knows the authority.
    for mode in ["verify-ca", "verify-full"] {
        assert!(refused(mode).await.contains("certificate"), "{mode}: {}", refused(mode).await);
    }
    let authority = format!("&sslrootcert={}", folder.path().join("ca.crt").display());
    assert!(uses_tls(&(url("127.0.0.1", "verify-ca") + &authority)).await.unwrap());
    // Known, but the certificate is another host's.
    let error = uses_tls(&(url("127.0.0.1", "verify-full") + &authority)).await.unwrap_err().to_string();
    assert!(error.contains("not valid for"), "{error}");

    // A server that takes nobody without.
    run(
        &admin,
        "COPY (SELECT 'hostnossl all all all reject') TO PROGRAM 'cat - pg_hba.conf > hba && mv hba pg_hba.conf'",
    )
    .await;
    run(&admin, "SELECT pg_reload_conf()").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(refused("disable").await.contains("no encryption"));
    assert!(uses_tls(&url("127.0.0.1", "allow")).await.unwrap());
    admin.close().await;
    cluster.stop().await.unwrap();
}
