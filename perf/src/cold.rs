//! Cold start: from the spawn of a program to the first 200 on a path that needs no
//! backend, measured here because a shell's own forks would
//! be most of the figure. Also the wait for a program to be ready.
//!
//! Each run starts, measures and ends its own process, by its own handle.

use crate::http::{Body, head_len, head_text, status};
use crate::report::Report;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A program that has not answered by then will not.
const LIMIT: Duration = Duration::from_secs(10);
/// A program that accepts but does not answer.
const READ_TIMEOUT: Duration = Duration::from_secs(4);
/// Between two tries to connect: a tenth of what is measured, and enough for the program to run on a single processor.
const PAUSE: Duration = Duration::from_micros(50);

/// Starts `command` so many times and reports each time in milliseconds.
pub fn run(address: SocketAddr, path: &str, runs: u32, command: &[String]) -> Result<String, String> {
    let mut times_ms = Vec::new();
    for _ in 0..runs {
        times_ms.push(once(address, path, command)?.as_secs_f64() * 1e3);
    }
    Ok(Report::new("cold").list("ms", &times_ms).finish())
}

fn once(address: SocketAddr, path: &str, command: &[String]) -> Result<Duration, String> {
    let (program, arguments) = command.split_first().ok_or("cold: expected a command after --")?;
    if TcpStream::connect(address).is_ok() {
        return Err(format!("{address} is already taken"));
    }
    let mut command = Command::new(program);
    // A group of its own, since a server may serve from a child that outlives it.
    command.args(arguments).process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    let mut child = command.spawn().map_err(|e| format!("{program}: {e}"))?;
    let answered = first_200(address, path, LIMIT, Some(&mut child)).map(|()| begun.elapsed());
    let group = format!("-{}", child.id());
    let _was_gone = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
    // Both fail only if the process is gone already, which is what is wanted.
    let (_, _) = (child.kill(), child.wait());
    wait_closed(address)?;
    answered
}

/// Waits until `path` is answered with 200.
pub fn first_200(
    address: SocketAddr,
    path: &str,
    limit: Duration,
    child: Option<&mut Child>,
) -> Result<(), String> {
    let begun = Instant::now();
    let mut child = child;
    loop {
        let last = match ask(address, path) {
            Ok(200) => return Ok(()),
            Ok(code) => format!("status {code}"),
            Err(fault) => fault,
        };
        if let Some(child) = child.as_deref_mut()
            && let Ok(Some(code)) = child.try_wait()
        {
            return Err(format!("the program ended ({code}) before it answered on {address}"));
        }
        if begun.elapsed() > limit {
            return Err(format!("no 200 on {address} within {} s: {last}", limit.as_secs()));
        }
        thread::sleep(PAUSE);
    }
}

/// A killed group may hold the port for a moment longer.
fn wait_closed(address: SocketAddr) -> Result<(), String> {
    let begun = Instant::now();
    while TcpStream::connect(address).is_ok() {
        if begun.elapsed() > LIMIT {
            return Err(format!("{address} still answers after its program was killed"));
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

fn ask(address: SocketAddr, path: &str) -> Result<u16, String> {
    get(address, path).map(|(code, _)| code)
}

/// Status and body of a GET on a connection of its own.
pub fn get(address: SocketAddr, path: &str) -> Result<(u16, String), String> {
    let fault = |e: std::io::Error| e.to_string();
    let mut stream = TcpStream::connect(address).map_err(fault)?;
    stream.set_nodelay(true).map_err(fault)?;
    stream.set_read_timeout(Some(READ_TIMEOUT)).map_err(fault)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(fault)?;
    let (mut head, mut body, mut content) = (Vec::new(), None, Vec::new());
    let mut buf = [0; 1024];
    loop {
        if body.is_none()
            && let Some(end) = head_len(&head)
        {
            let text = head_text(head.get(..end).unwrap_or_default())?;
            body = Some((status(text)?, Body::from_head(text)?));
            head.drain(..end);
        }
        if let Some((code, body)) = body.as_mut() {
            let used = body.read(&head, |bytes| {
                content.extend_from_slice(bytes);
                Ok(())
            })?;
            head.drain(..used);
            if body.is_done() {
                return Ok((*code, String::from_utf8_lossy(&content).into_owned()));
            }
        }
        match stream.read(&mut buf).map_err(fault)? {
            0 => return Err("closed without an answer".to_owned()),
            len => head.extend_from_slice(buf.get(..len).unwrap_or_default()),
        }
    }
}
