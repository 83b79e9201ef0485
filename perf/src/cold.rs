//! Cold start: from the spawn of a program to the first 200 on `GET /`, measured here because a shell's own forks would
//! be most of the figure. Also the wait for a program to be ready.
//!
//! Each run starts, measures and ends its own process, by its own handle.

use crate::http::{head_len, head_text, status};
use crate::report::Report;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A program that has not answered by then will not.
const LIMIT: Duration = Duration::from_secs(10);
/// Between two tries to connect: a tenth of what is measured, and enough for the program to run on a single processor.
const PAUSE: Duration = Duration::from_micros(50);

/// Starts `command` so many times and reports each time in milliseconds.
pub fn run(address: SocketAddr, runs: u32, command: &[String]) -> Result<String, String> {
    let mut times_ms = Vec::new();
    for _ in 0..runs {
        times_ms.push(once(address, command)?.as_secs_f64() * 1e3);
    }
    Ok(Report::new("cold").list("ms", &times_ms).finish())
}

fn once(address: SocketAddr, command: &[String]) -> Result<Duration, String> {
    let (program, arguments) = command.split_first().ok_or("cold: expected a command after --")?;
    if TcpStream::connect(address).is_ok() {
        return Err(format!("{address} is already taken"));
    }
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    let mut child = command.spawn().map_err(|e| format!("{program}: {e}"))?;
    let answered = first_200(address, "/", LIMIT, Some(&mut child)).map(|()| begun.elapsed());
    // Both fail only if the process is gone already, which is what is wanted.
    let (_, _) = (child.kill(), child.wait());
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

fn ask(address: SocketAddr, path: &str) -> Result<u16, String> {
    let fault = |e: std::io::Error| e.to_string();
    let mut stream = TcpStream::connect(address).map_err(fault)?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).map_err(fault)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(fault)?;
    let mut head = Vec::new();
    let mut buf = [0; 1024];
    loop {
        if let Some(end) = head_len(&head) {
            return status(head_text(head.get(..end).unwrap_or_default())?);
        }
        match stream.read(&mut buf).map_err(fault)? {
            0 => return Err("closed without an answer".to_owned()),
            len => head.extend_from_slice(buf.get(..len).unwrap_or_default()),
        }
    }
}
