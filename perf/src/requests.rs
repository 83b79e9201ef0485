//! Open loop over kept connections: each request has its time by the clock, not by the answer before it.
//!
//! Latency counts from the intended time, so a stall is charged to every request that should have been sent during it
//! (no coordinated omission). One blocking thread a connection: its wake-ups are the kernel's, with no timer wheel of a
//! millisecond between them. The last stretch before a request is spun, so the sleep's slack is in no figure.

use crate::answer::{Answer, Api};
use crate::http::{Body, head_len, head_text, status};
use crate::process::cpu_seconds;
use crate::report::{Report, histogram};
use crate::request::Request;
use crate::{clock::unix_ns, scenario::Scenario};
use hdrhistogram::Histogram;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// One run's parameters.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom to call.
    pub address: SocketAddr,
    /// In which dialect.
    pub api: Api,
    /// The model name, which is the scenario.
    pub model: String,
    /// Connections, each with its own share of the rate.
    pub connections: u32,
    /// Requests a second, all connections together.
    pub rate: f64,
    /// How long requests are due.
    pub duration: Duration,
    /// The process whose processor time is read; none when the backend is called directly.
    pub pid: Option<u32>,
}

/// No answer of a measured run takes as long as this; a proxy that hangs ends the run with a fault.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than a timer's slack, short enough to leave the processor to the backend most of the time.
const SPIN: Duration = Duration::from_micros(120);
/// Requests sent before the first that counts, so that connections and caches are warm.
const WARM_UP: u64 = 20;

struct Samples {
    first: Histogram<u64>,
    total: Histogram<u64>,
    late: Histogram<u64>,
}

impl Samples {
    fn new() -> Result<Self, String> {
        Ok(Self { first: histogram()?, total: histogram()?, late: histogram()? })
    }
}

/// Runs the plan and reports latency to the first token and to the end of the answer.
pub fn run(plan: &Plan) -> Result<String, String> {
    let scenario = Scenario::from_model(&plan.model)?;
    if plan.connections == 0 || plan.rate <= 0.0 {
        return Err("--connections and --rate: expected more than 0".to_owned());
    }
    let gap = Duration::from_secs_f64(f64::from(plan.connections) / plan.rate);
    let cpu = plan.pid.map_or(Ok(0.0), cpu_seconds)?;
    let start = Instant::now() + Duration::from_millis(200);
    let mut threads = Vec::new();
    for n in 0..plan.connections {
        let (plan, first_due) = (plan.clone(), start + gap * n / plan.connections);
        threads.push(thread::spawn(move || connection(&plan, scenario, n, first_due, gap)));
    }
    let mut all = Samples::new()?;
    for thread in threads {
        let samples = thread.join().map_err(|_| "a connection's thread panicked".to_owned())??;
        all.first.add(samples.first).map_err(|e| e.to_string())?;
        all.total.add(samples.total).map_err(|e| e.to_string())?;
        all.late.add(samples.late).map_err(|e| e.to_string())?;
    }
    let cpu = plan.pid.map_or(Ok(0.0), cpu_seconds)? - cpu;
    let sent = all.total.len() + WARM_UP * u64::from(plan.connections);
    let report = Report::new("requests")
        .text("model", &plan.model)
        .number("requests", all.total.len() as f64)
        .number("cpu_us_per_request", cpu * 1e6 / sent as f64);
    Ok(report
        .percentiles("first", &all.first)
        .percentiles("total", &all.total)
        .percentiles("late", &all.late)
        .finish())
}

fn connection(
    plan: &Plan,
    scenario: Scenario,
    n: u32,
    first: Instant,
    gap: Duration,
) -> Result<Samples, String> {
    let mut samples = Samples::new()?;
    let mut caller = Caller::connect(plan.address, plan.api, &plan.model, scenario)?;
    for k in 0..WARM_UP {
        caller.call(u64::from(n) << 32 | k, Instant::now(), &mut Samples::new()?)?;
    }
    let end = first + plan.duration;
    let mut due = first;
    let mut k = WARM_UP;
    while due < end {
        wait_until(due, plan.connections == 1);
        samples.late.saturating_record(nanos(due.elapsed()));
        caller.call(u64::from(n) << 32 | k, due, &mut samples)?;
        due += gap;
        k += 1;
    }
    Ok(samples)
}

/// Spins only when nobody else needs this processor: with one connection the backend rests between requests.
fn wait_until(due: Instant, may_spin: bool) {
    let spin = if may_spin { SPIN } else { Duration::ZERO };
    if let Some(rest) = due.saturating_duration_since(Instant::now()).checked_sub(spin) {
        thread::sleep(rest);
    }
    while Instant::now() < due {
        std::hint::spin_loop();
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1)
}

struct Caller {
    stream: TcpStream,
    request: Request,
    api: Api,
    scenario: Scenario,
    buf: Vec<u8>,
    delays: Histogram<u64>,
}

impl Caller {
    fn connect(address: SocketAddr, api: Api, model: &str, scenario: Scenario) -> Result<Self, String> {
        let fault = |e| format!("connect {address}: {e}");
        let stream = TcpStream::connect_timeout(&address, READ_TIMEOUT).map_err(fault)?;
        stream.set_nodelay(true).map_err(fault)?;
        stream.set_read_timeout(Some(READ_TIMEOUT)).map_err(fault)?;
        let request = Request::new(api, model, scenario);
        Ok(Self { stream, request, api, scenario, buf: vec![0; 64 * 1024], delays: histogram()? })
    }

    fn call(&mut self, nonce: u64, due: Instant, samples: &mut Samples) -> Result<(), String> {
        self.request.stamp(nonce);
        self.stream.write_all(self.request.bytes()).map_err(|e| format!("write: {e}"))?;
        let mut answer = Answer::new(self.api, self.scenario, self.request.nonce());
        let mut head = Vec::new();
        let mut body = None;
        let mut is_first = true;
        loop {
            let len = match self.stream.read(&mut self.buf) {
                Ok(0) => return Err("connection closed inside an answer".to_owned()),
                Ok(len) => len,
                Err(e) => return Err(format!("read: {e}")),
            };
            let arrived = due.elapsed();
            let now_ns = unix_ns();
            let read = self.buf.get(..len).unwrap_or_default();
            let content = match body {
                Some(_) => read,
                None => {
                    head.extend_from_slice(read);
                    let Some(end) = head_len(&head) else { continue };
                    let text = head_text(head.get(..end).unwrap_or_default())?;
                    if status(text)? != 200 {
                        return Err(format!("answer: {}", String::from_utf8_lossy(&head)));
                    }
                    body = Some(Body::from_head(text)?);
                    head.get(end..).unwrap_or_default()
                }
            };
            let Some(body) = body.as_mut() else { continue };
            let used = body.read(content, |bytes| answer.push(bytes, now_ns, &mut self.delays))?;
            if used != content.len() {
                return Err(format!("{} bytes after the answer", content.len() - used));
            }
            if is_first && (answer.seen() > 0 || body.is_done()) {
                is_first = false;
                samples.first.saturating_record(nanos(arrived));
            }
            if body.is_done() {
                samples.total.saturating_record(nanos(arrived));
                return answer.finish(now_ns, &mut self.delays);
            }
        }
    }
}
