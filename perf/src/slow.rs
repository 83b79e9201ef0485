//! Slow readers: what a program holds for callers that take less than the backend gives.
//!
//! Each reader takes a little, rests, and leaves unfinished; what it took is checked. The figure is the most memory that
//! was seen, less what was there before: a program that reads ahead without a bound grows by what the backend sends.

use crate::answer::Api;
use crate::incoming::Incoming;
use crate::process::rss_kib;
use crate::report::{Report, histogram};
use crate::request::Request;
use crate::requests::read_fault;
use crate::{clock::unix_ns, scenario::Scenario};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// A reader takes this much each `REST`: 160 KiB/s.
const BITE: usize = 8 * 1024;
const REST: Duration = Duration::from_millis(50);
/// A silent server ends the run with a fault.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// One run's parameters.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom to call.
    pub address: SocketAddr,
    /// In which dialect.
    pub api: Api,
    /// The model name, which is the scenario.
    pub model: String,
    /// How many readers.
    pub readers: u32,
    /// How long they read.
    pub hold: Duration,
    /// The process whose memory is read.
    pub pid: u32,
}

/// Runs the plan.
pub fn run(plan: &Plan) -> Result<String, String> {
    let before = rss_kib(plan.pid)?;
    let mut most = before;
    let readers: Vec<_> = (0..plan.readers)
        .map(|_| {
            let plan = plan.clone();
            thread::spawn(move || read(&plan))
        })
        .collect();
    while readers.iter().any(|reader| !reader.is_finished()) {
        most = most.max(rss_kib(plan.pid)?);
        thread::sleep(Duration::from_millis(20));
    }
    let mut tokens = 0;
    for reader in readers {
        tokens += reader.join().map_err(|_| "a reader's thread panicked".to_owned())??;
    }
    let report = Report::new("slow")
        .text("model", &plan.model)
        .number("readers", f64::from(plan.readers))
        .number("tokens", f64::from(tokens))
        .number("rss_before_kib", before as f64)
        .number("rss_growth_kib", (most - before) as f64);
    Ok(report.finish())
}

fn read(plan: &Plan) -> Result<u32, String> {
    let fault = |e: std::io::Error| e.to_string();
    let scenario = Scenario::from_model(&plan.model)?;
    let request = Request::new(plan.api, &plan.model, scenario)?;
    let mut socket = TcpStream::connect(plan.address).map_err(fault)?;
    socket.set_read_timeout(Some(READ_TIMEOUT)).map_err(fault)?;
    socket.write_all(request.bytes()).map_err(fault)?;
    let mut incoming = Incoming::new(plan.api, scenario, &request);
    let (mut buf, mut delays) = ([0; BITE], histogram()?);
    let end = Instant::now() + plan.hold;
    while Instant::now() < end {
        let len = socket.read(&mut buf).map_err(|e| read_fault(&e))?;
        incoming.push(buf.get(..len).unwrap_or_default(), unix_ns(), &mut delays)?;
        thread::sleep(REST);
    }
    Ok(incoming.seen())
}
