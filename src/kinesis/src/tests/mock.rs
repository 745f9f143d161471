//! kinesis-mock (npm kinesis-local), one process for all tests that run at a time.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

/// A running one; ends with its last user.
pub struct Mock {
    process: Child,
    pub endpoint: String,
}

static RUNNING: Mutex<Weak<Mock>> = Mutex::new(Weak::new());

/// None where it is not installed, which in CI is a failure.
pub fn mock() -> Option<Arc<Mock>> {
    let mut running = RUNNING.lock().unwrap();
    if let Some(mock) = running.upgrade() {
        return Some(mock);
    }
    let package = tools().join("node/node_modules/kinesis-local");
    if !package.join("main.js").try_exists().unwrap() {
        assert!(std::env::var_os("CI").is_none(), "{} is missing; bash tests/run.sh installs it", package.display());
        println!("skipped: {} is missing; bash tests/run.sh installs it", package.display());
        return None;
    }
    let mock = Arc::new(Mock::start(&package));
    *running = Arc::downgrade(&mock);
    Some(mock)
}

fn tools() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().find(|dir| dir.join("Cargo.lock").is_file());
    std::env::var_os("SNOWMELT_TOOLS").map_or_else(|| root.unwrap().join(".tools"), PathBuf::from)
}

impl Mock {
    fn start(package: &Path) -> Self {
        let ports: Vec<TcpListener> = (0..2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let [plain, tls] = [0, 1].map(|at| ports[at].local_addr().unwrap().port());
        drop(ports);
        let process = Command::new("node")
            .arg(package.join("main.js"))
            .env("KINESIS_MOCK_CERT_PATH", package.join("server.json"))
            .env("KINESIS_MOCK_PLAIN_PORT", plain.to_string())
            .env("KINESIS_MOCK_TLS_PORT", tls.to_string())
            .env("SHARD_LIMIT", "1000")
            .env("LOG_LEVEL", "ERROR")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("node starts");
        let mut mock = Self { process, endpoint: format!("http://127.0.0.1:{plain}") };
        let until = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(("127.0.0.1", plain)).is_err() {
            assert!(mock.process.try_wait().unwrap().is_none(), "kinesis-mock ended");
            assert!(Instant::now() < until, "kinesis-mock does not listen");
            #[expect(clippy::disallowed_methods, reason = "no event loop: other tests have their own")]
            std::thread::sleep(Duration::from_millis(50));
        }
        mock
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
