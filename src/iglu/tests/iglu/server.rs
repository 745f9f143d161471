//! A small HTTP server inside the test: canned answers by path, and a record of what was asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What to answer to a path.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Status and body.
    Plain(u16, Vec<u8>),
    /// Nothing for so long.
    Slow(Duration),
    /// Promises more bytes than it sends.
    Lying,
    /// A body that never ends.
    Endless,
    /// Closes without a word.
    Hangs,
}

#[derive(Default)]
struct State {
    replies: HashMap<String, Reply>,
    requests: Vec<(String, Option<String>)>,
}

/// Stops with the test's runtime.
#[derive(Clone)]
pub struct Server {
    pub address: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub async fn start() -> Self {
        Self::listen("127.0.0.1:0").await
    }

    pub async fn listen(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, state }
    }

    pub fn reply(&self, path: &str, reply: Reply) {
        self.state.lock().unwrap().replies.insert(path.to_owned(), reply);
    }

    pub fn json(&self, path: &str, body: &str) {
        self.reply(path, Reply::Plain(200, body.into()));
    }

    /// Paths and `apikey` headers in the order they came.
    pub fn requests(&self) -> Vec<(String, Option<String>)> {
        self.state.lock().unwrap().requests.clone()
    }

    pub fn paths(&self) -> Vec<String> {
        self.requests().into_iter().map(|(path, _)| path).collect()
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut buffer = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            match stream.read(&mut chunk).await {
                Ok(n) if n > 0 => buffer.extend_from_slice(&chunk[..n]),
                _ => return,
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end + 4);
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let apikey = head.lines().find_map(|line| line.strip_prefix("apikey: ")).map(str::to_owned);
        let reply = {
            let mut state = state.lock().unwrap();
            state.requests.push((path.clone(), apikey));
            state.replies.get(&path).or_else(|| state.replies.get("*")).cloned()
        };
        if respond(&mut stream, reply.unwrap_or(Reply::Plain(404, Vec::new()))).await.is_none() {
            return;
        }
    }
}

/// `None` closes the connection.
async fn respond(stream: &mut TcpStream, reply: Reply) -> Option<()> {
    match reply {
        Reply::Plain(status, body) => {
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await.ok()?;
            // A 304 has no body, whatever its length says.
            if status != 304 {
                stream.write_all(&body).await.ok()?;
            }
            Some(())
        }
        Reply::Slow(wait) => {
            tokio::time::sleep(wait).await;
            None
        }
        Reply::Lying => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"type\":").await.ok()?;
            None
        }
        Reply::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n[").await.ok()?;
            loop {
                stream.write_all(&[b' '; 65_536]).await.ok()?;
            }
        }
        Reply::Hangs => None,
    }
}
