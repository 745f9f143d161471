//! The private cluster: start, death, stop, and starting over what a killed process left.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use snowmelt_warehouse::{ClusterError, ClusterOptions, PrivateCluster, Warehouse, WarehouseOptions};

fn options() -> ClusterOptions {
    ClusterOptions { durable: false, ..ClusterOptions::default() }
}

fn directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("snowmelt-pg-").tempdir().unwrap()
}

async fn kill(pid: u32, signal: &str) {
    let status = tokio::process::Command::new("kill").args([signal, &pid.to_string()]).status().await.unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn a_cluster_keeps_its_data_and_port_over_a_restart() {
    let directory = directory();
    let cluster = PrivateCluster::start(directory.path(), &options()).await.unwrap();
    let (url, port) = (cluster.url(), cluster.port());
    let warehouse = Warehouse::connect(&WarehouseOptions::new(&url, "kept")).await.unwrap();
    sqlx::raw_sql("CREATE TABLE kept.t AS SELECT 7 AS n").execute(warehouse.pool()).await.unwrap();
    warehouse.close().await;
    for secret in ["password", "pgpass"] {
        let mode = directory.path().join(secret).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    let log = std::fs::read_to_string(cluster.log_file()).unwrap();
    let password = std::fs::read_to_string(directory.path().join("password")).unwrap();
    assert!(!log.contains(password.trim()));
    cluster.stop().await.unwrap();

    let cluster = PrivateCluster::start(directory.path(), &options()).await.unwrap();
    assert_eq!((cluster.url(), cluster.port()), (url, port));
    let warehouse = Warehouse::connect(&WarehouseOptions::new(cluster.url(), "kept")).await.unwrap();
    let n: i32 = sqlx::query_scalar("SELECT n FROM kept.t").fetch_one(warehouse.pool()).await.unwrap();
    assert_eq!(n, 7);
    warehouse.close().await;
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn psql_opens_without_a_password_on_the_command_line() {
    let directory = directory();
    let cluster = PrivateCluster::start(directory.path(), &options()).await.unwrap();
    let psql = PrivateCluster::psql_at(directory.path()).unwrap().unwrap();
    assert_eq!(psql.arguments, cluster.psql().arguments);
    let output = tokio::process::Command::new(&psql.program)
        .args(&psql.arguments)
        .args(["-w", "-At", "-c", "SELECT current_user"])
        .envs(psql.environment)
        .output()
        .await
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "snowmelt\n", "{output:?}");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn death_is_noticed_and_what_is_left_does_not_hinder_the_next_start() {
    let directory = directory();
    let cluster = PrivateCluster::start(directory.path(), &options()).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), cluster.ended()).await.is_err());
    kill(cluster.pid(), "-KILL").await;
    let reason = tokio::time::timeout(Duration::from_secs(10), cluster.ended()).await.unwrap();
    assert!(reason.contains("signal: 9"), "{reason}");
    assert!(directory.path().join("data/postmaster.pid").is_file());
    drop(cluster);

    // As if its number now belonged to somebody else.
    let pid_file = directory.path().join("data/postmaster.pid");
    let text = std::fs::read_to_string(&pid_file).unwrap();
    let rest = text.split_once('\n').unwrap().1;
    std::fs::write(&pid_file, format!("1\n{rest}")).unwrap();
    let cluster = PrivateCluster::start(directory.path(), &options()).await.unwrap();
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_directory_is_used_by_one_process_at_a_time() {
    let directory = directory();
    let cluster = PrivateCluster::start(directory.path(), &options()).await.unwrap();
    let second = PrivateCluster::start(directory.path(), &options()).await;
    assert!(matches!(second, Err(ClusterError::InUse(_))), "{second:?}");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why() {
    let directory = directory();
    let cluster = PrivateCluster::start(directory.path(), &options()).await.unwrap();
    cluster.stop().await.unwrap();
    let main = directory.path().join("data/postgresql.conf");
    let text = std::fs::read_to_string(&main).unwrap();
    std::fs::write(&main, format!("{text}\nno_such_setting = 1\n")).unwrap();
    let failed = PrivateCluster::start(directory.path(), &options()).await.unwrap_err();
    assert!(failed.to_string().contains("no_such_setting"), "{failed}");
}
