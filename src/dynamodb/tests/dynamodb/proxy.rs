//! A proxy that loses answers, throttles and holds up, as a test says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What is done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is forwarded, its answer is thrown away and an internal error given.
    Lost,
    /// It is answered as throttled, and not forwarded.
    Throttled,
    /// It is never answered.
    Hangs,
}

/// Decides by the action (`UpdateItem`) and the request's text.
pub type Plan = Box<dyn FnMut(&str, &str) -> Option<Fault> + Send>;

/// The proxy.
pub struct Proxy {
    /// Where it listens.
    pub port: u16,
    plan: Arc<Mutex<Plan>>,
}

impl Proxy {
    /// A proxy before the server at `port`, which does no harm yet.
    pub async fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let plan: Arc<Mutex<Plan>> = Arc::new(Mutex::new(Box::new(|_, _| None)));
        let shared = Arc::clone(&plan);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, port, Arc::clone(&shared)));
            }
        });
        Self { port: own, plan }
    }

    /// Follows another plan from now on.
    pub fn plan(&self, plan: impl FnMut(&str, &str) -> Option<Fault> + Send + 'static) {
        *self.plan.lock().unwrap() = Box::new(plan);
    }
}

async fn serve(mut client: TcpStream, port: u16, plan: Arc<Mutex<Plan>>) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    while let Some((head, body)) = message(&mut client).await {
        let target =
            head.lines().find_map(|line| line.to_ascii_lowercase().starts_with("x-amz-target:").then_some(line));
        let action = target.and_then(|line| line.rsplit('.').next()).unwrap_or("").trim().to_owned();
        let fault = (plan.lock().unwrap())(&action, &String::from_utf8_lossy(&body));
        if fault == Some(Fault::Hangs) {
            tokio::time::sleep(Duration::from_secs(60)).await;
            return;
        }
        if fault != Some(Fault::Throttled) {
            if server.write_all(head.as_bytes()).await.is_err() || server.write_all(&body).await.is_err() {
                return;
            }
            let Some((head, body)) = message(&mut server).await else { return };
            if fault.is_none() {
                if client.write_all(head.as_bytes()).await.is_err() || client.write_all(&body).await.is_err() {
                    return;
                }
                continue;
            }
        }
        let (status, name) = match fault {
            Some(Fault::Throttled) => ("400 Bad Request", "ProvisionedThroughputExceededException"),
            _ => ("500 Internal Server Error", "InternalServerError"),
        };
        let body = format!("{{\"__type\":\"com.amazonaws.dynamodb.v20120810#{name}\",\"message\":\"by the proxy\"}}");
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if client.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Reads one message: its head with the empty line, and its body.
async fn message(from: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut part = [0; 8192];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        let read = from.read(&mut part).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&part[..read]);
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8(bytes).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    while body.len() < length.unwrap_or(0) {
        let read = from.read(&mut part).await.ok().filter(|read| *read > 0)?;
        body.extend_from_slice(&part[..read]);
    }
    Some((head, body))
}
