//! How soon the backend sees that the caller has gone: from the caller's close to the end of the backend's connection.
//!
//! The caller reads one token of a stream that then says nothing, so a proxy has nothing to write that could fail: it must
//! watch its caller. The backend keeps the time and is asked for it. Both times are of one wall clock.

use crate::answer::Api;
use crate::cold::get;
use crate::incoming::Incoming;
use crate::report::{Report, histogram};
use crate::request::Request;
use crate::requests::read_fault;
use crate::{clock::unix_ns, scenario::Scenario};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

/// A silent server ends the run with a fault.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Between the token and the close, so that nothing is on its way.
const REST: Duration = Duration::from_millis(2);

/// Opens and leaves a stream so many times.
pub fn run(address: SocketAddr, backend: SocketAddr, api: Api, runs: u32) -> Result<String, String> {
    let mut latencies = histogram()?;
    let mut request = Request::new(api, "hang", Scenario::Hang)?;
    for n in 0..runs {
        request.stamp(u64::from(n) << 32 | u64::from(std::process::id()));
        let socket = first_token(address, api, &request).map_err(|fault| format!("run {n}: {fault}"))?;
        thread::sleep(REST);
        let left_ns = unix_ns();
        drop(socket);
        let (code, body) = get(backend, &format!("/perf/gone/{}", request.nonce()))?;
        let gone_ns: u64 = match (code, body.parse()) {
            (200, Ok(gone_ns)) => gone_ns,
            _ => return Err(format!("run {n}: the backend says {code} {body}")),
        };
        let latency =
            gone_ns.checked_sub(left_ns).ok_or_else(|| format!("run {n}: closed before it was left"))?;
        latencies.saturating_record(latency.max(1));
    }
    Ok(Report::new("cancel").number("runs", f64::from(runs)).percentiles("gone", &latencies).finish())
}

/// The connection, after the first token of its answer.
fn first_token(address: SocketAddr, api: Api, request: &Request) -> Result<TcpStream, String> {
    let fault = |e: std::io::Error| e.to_string();
    let mut socket = TcpStream::connect(address).map_err(fault)?;
    socket.set_nodelay(true).map_err(fault)?;
    socket.set_read_timeout(Some(READ_TIMEOUT)).map_err(fault)?;
    socket.write_all(request.bytes()).map_err(fault)?;
    let mut incoming = Incoming::new(api, Scenario::Hang, request);
    let (mut buf, mut delays) = ([0; 4096], histogram()?);
    while incoming.seen() == 0 {
        let len = socket.read(&mut buf).map_err(|e| read_fault(&e))?;
        incoming.push(buf.get(..len).unwrap_or_default(), unix_ns(), &mut delays)?;
    }
    Ok(socket)
}
