//! Small messages leave at once.
//!
//! A COPY ends with a message of five bytes. sqlx sends it in a write of its own and leaves Nagle's algorithm on, which
//! holds such a write back until all before it is acknowledged, for some 40 ms over TCP. sqlx (0.9) neither turns it off
//! nor gives access to its sockets, so we turn it off for the sockets of this process that are connected to the server's
//! port. Whose they are does not matter: it changes when bytes are sent, not which.
#![expect(unsafe_code, reason = "two calls of the C library, which sqlx gives no other way to")]

use std::ffi::c_int;

/// Room for the address of a peer, of whichever family.
#[repr(C, align(8))]
struct Address([u8; 128]);

/// Turns Nagle's algorithm off for the TCP connections of this process to `port`. Where it cannot, connections work as
/// before.
pub(crate) fn send_promptly(port: u16) {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<c_int>().ok());
    for socket in numbers.filter(|number| peer_port(*number) == Some(port)) {
        let on: c_int = 1;
        // SAFETY: the option is an int, whose place and size are given. A number that is no socket any more is refused.
        let set = unsafe {
            libc::setsockopt(
                socket,
                libc::IPPROTO_TCP,
                libc::TCP_NODELAY,
                (&raw const on).cast(),
                size_of::<c_int>() as libc::socklen_t,
            )
        };
        if set != 0 {
            tracing::debug!(socket, "Nagle's algorithm stays on");
        }
    }
}

/// The port that a TCP socket is connected to; `None` for whatever else has this number.
fn peer_port(number: c_int) -> Option<u16> {
    let mut address = Address([0; 128]);
    let mut length = size_of::<Address>() as libc::socklen_t;
    // SAFETY: the address has room for `length` bytes and is aligned as one of any family.
    let known = unsafe { libc::getpeername(number, (&raw mut address).cast(), &raw mut length) };
    // Both families begin with their number, in the machine's order, and the port, in the network's.
    let [low, high, port @ ..] = &address.0;
    let family = c_int::from(u16::from_ne_bytes([*low, *high]));
    let internet = family == libc::AF_INET || family == libc::AF_INET6;
    (known == 0 && internet).then(|| u16::from_be_bytes([port[0], port[1]]))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn sockets_to_the_port_send_at_once_and_others_are_left_alone() {
        let (one, other) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("[::1]:0").unwrap());
        let connected = TcpStream::connect(one.local_addr().unwrap()).unwrap();
        let elsewhere = TcpStream::connect(other.local_addr().unwrap()).unwrap();
        send_promptly(one.local_addr().unwrap().port());
        assert!(connected.nodelay().unwrap());
        assert!(!elsewhere.nodelay().unwrap());
        send_promptly(other.local_addr().unwrap().port());
        assert!(elsewhere.nodelay().unwrap());
    }
}
