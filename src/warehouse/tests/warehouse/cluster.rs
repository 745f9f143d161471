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
    for shown in [log, format!("{cluster:?}"), format!("{:?}", WarehouseOptions::new(&url, "kept"))] {
        assert!(!shown.contains(password.trim()), "{shown}");
    }
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
    let mut notes = vec![directory.path().join("data/postmaster.pid")];
    let sockets = directory.path().join("socket").read_dir().unwrap().map(|entry| entry.unwrap().path());
    notes.extend(sockets.filter(|path| path.extension().is_some_and(|extension| extension == "lock")));
    assert_eq!(notes.len(), 2, "{notes:?}");
    for note in notes {
        let text = std::fs::read_to_string(&note).unwrap();
        let rest = text.split_once('\n').unwrap().1;
        std::fs::write(&note, format!("1\n{rest}")).unwrap();
    }
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

#[tokio::test]
async fn the_server_of_a_killed_process_is_stopped_first() {
    let directory = directory();
    let cluster = PrivateCluster::start(directory.path(), &options()).await.unwrap();
    let process = std::path::PathBuf::from(format!("/proc/{}", cluster.pid()));
    let program = std::fs::read_link(process.join("exe")).unwrap();
    let command_line = std::fs::read_to_string(process.join("cmdline")).unwrap();
    let user = std::os::unix::fs::MetadataExt::uid(&process.metadata().unwrap());
    cluster.stop().await.unwrap();

    // The same server, but nobody's.
    let arguments: Vec<&str> = command_line.split('\0').skip(1).filter(|argument| !argument.is_empty()).collect();
    let mut orphan = tokio::process::Command::new(program);
    let mut orphan = orphan.args(arguments).uid(user).stderr(std::process::Stdio::null()).spawn().unwrap();
    let pid_file = directory.path().join("data/postmaster.pid");
    while !std::fs::read_to_string(&pid_file).is_ok_and(|text| text.contains("ready")) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let cluster = PrivateCluster::start(directory.path(), &options()).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), orphan.wait()).await.unwrap().unwrap();
    assert!(ended.success(), "{ended}");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_start_given_up_half_way_leaves_no_server() {
    let directory = directory();
    PrivateCluster::start(directory.path(), &options()).await.unwrap().stop().await.unwrap();
    let pid_file = directory.path().join("data/postmaster.pid");
    for step in 1..=6 {
        let options = options();
        let start = PrivateCluster::start(directory.path(), &options);
        let limit = Duration::from_millis(30 * step);
        if let Ok(cluster) = tokio::time::timeout(limit, start).await {
            cluster.unwrap().stop().await.unwrap();
        }
        let gone = async {
            while pid_file.is_file() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
    }
}

fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0
}

#[tokio::test]
async fn as_root_the_servers_user_must_exist_and_reach_the_directory() {
    if !is_root() {
        // Then the server runs as we do, and these names are of no interest.
        return;
    }
    let directory = directory();
    let nobody = ClusterOptions { run_as: "no-such-user".to_owned(), ..options() };
    let failed = PrivateCluster::start(directory.path(), &nobody).await.unwrap_err();
    assert!(matches!(failed, ClusterError::NoUser(_)), "{failed}");
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let inside = directory.path().join("inside");
    let failed = PrivateCluster::start(&inside, &options()).await.unwrap_err();
    assert!(failed.to_string().contains("chmod o+x"), "{failed}");
}

#[tokio::test]
async fn a_loader_waits_out_a_restart_of_its_server() {
    use crate::support::{Lines, Schemas, event, event_loader, load_events};

    let directory = directory();
    let cluster = PrivateCluster::start(directory.path(), &options()).await.unwrap();
    let mut warehouse = WarehouseOptions::new(cluster.url(), "atomic");
    warehouse.acquire_timeout = Duration::from_millis(500);
    let warehouse = Warehouse::connect(&warehouse).await.unwrap();
    let loader = event_loader(&warehouse, &std::sync::Arc::new(Schemas::default())).await;
    let lines = |first: u64| Lines::new(first, [event(&[])]);
    load_events(&loader, &lines(1), "s").await.unwrap();

    cluster.stop().await.unwrap();
    let failed = load_events(&loader, &lines(2), "s").await.unwrap_err();
    assert!(failed.is_retriable(), "{failed}");

    let cluster = PrivateCluster::start(directory.path(), &options()).await.unwrap();
    let (report, _) = load_events(&loader, &lines(2), "s").await.unwrap();
    assert_eq!(report.records, 1);
    cluster.stop().await.unwrap();
}
