//! `ollama-openai-proxy health`: asks the proxy of this machine or container whether it serves. A scratch image has no
//! shell and no curl to ask with.

use crate::config::Listen;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(3);

/// `GET /` of the listening address, which must be 200.
///
/// # Errors
/// When nobody answers there, or answers otherwise.
pub(super) fn check(listen: &Listen) -> io::Result<()> {
    let address = (listen.reachable_host(), listen.port);
    let address =
        address.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("the host has no address"))?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    if head.starts_with(b"HTTP/1.1 200") {
        return Ok(());
    }
    Err(io::Error::other(format!("answered {:?}", String::from_utf8_lossy(&head))))
}
