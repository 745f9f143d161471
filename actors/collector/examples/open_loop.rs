//! The client of `tests/tools/collector_speed.py` for latencies: `open_loop PORT REQUEST_FILE RATE SECONDS` sends the file's bytes RATE
//! times a second over 64 connections, when their time has come and not when an answer has. Prints, in microseconds, the 50th, 90th and
//! 99th percentile of the times from when a request was due to its answer, and the number of answers that were 200.
//!
//! One thread that never sleeps: the times are exact to some ten microseconds. It takes a core of its own.

use std::{
    collections::VecDeque,
    error::Error,
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::{Duration, Instant},
};

const CONNECTIONS: usize = 64;
/// What runs before the measurement, to have caches and buffers warm.
const WARM_UP: Duration = Duration::from_millis(500);

struct Connection {
    stream: TcpStream,
    /// When the request under way was due.
    due: Option<Instant>,
    answer: Vec<u8>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, request, rate, seconds] = arguments.as_slice() else {
        return Err("usage: open_loop PORT REQUEST_FILE RATE SECONDS".into());
    };
    let request = std::fs::read(request)?;
    let pause = Duration::from_secs_f64(1.0 / rate.parse::<f64>()?);
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port.parse()?))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        connections.push(Connection { stream, due: None, answer: Vec::with_capacity(2048) });
    }
    let measured_from = Instant::now() + WARM_UP;
    let end = measured_from + Duration::from_secs_f64(seconds.parse()?);
    let (mut next, mut waiting) = (Instant::now(), VecDeque::new());
    let (mut micros, mut good) = (Vec::new(), 0_u64);
    loop {
        let now = Instant::now();
        while next <= now && next < end {
            waiting.push_back(next);
            next += pause;
        }
        let busy = connections.iter().any(|connection| connection.due.is_some());
        if next >= end && waiting.is_empty() && !busy {
            break;
        }
        for connection in &mut connections {
            if let Some(due) = connection.due {
                let Some(status) = connection.poll()? else { continue };
                if due >= measured_from {
                    micros.push(due.elapsed().as_micros());
                    good += u64::from(status);
                }
                connection.due = None;
            }
            if let Some(due) = waiting.pop_front() {
                connection.stream.write_all(&request)?;
                connection.due = Some(due);
            }
        }
    }
    micros.sort_unstable();
    let percentile = |share: usize| micros.get((micros.len() * share / 100).min(micros.len().saturating_sub(1)));
    for share in [50, 90, 99] {
        print!("{} ", percentile(share).ok_or("there were no answers")?);
    }
    println!("{good}");
    Ok(())
}

impl Connection {
    /// Reads what is there; once the answer is complete, whether it is a 200.
    fn poll(&mut self) -> Result<Option<bool>, Box<dyn Error>> {
        let mut buffer = [0; 2048];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err("the server has closed a connection".into()),
            Ok(length) => self.answer.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let Some(head) = self.answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
        let text = String::from_utf8_lossy(&self.answer[..head]).to_ascii_lowercase();
        let length: usize = match text.split("content-length: ").nth(1) {
            Some(rest) => rest.split("\r\n").next().unwrap_or_default().parse()?,
            None => 0,
        };
        if self.answer.len() < head + 4 + length {
            return Ok(None);
        }
        let good = self.answer.starts_with(b"HTTP/1.1 200");
        self.answer.clear();
        Ok(Some(good))
    }
}
