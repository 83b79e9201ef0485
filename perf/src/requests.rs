//! Open loop over kept connections: each request has its time by the clock, not by the answer before it.
//!
//! Latency counts from the intended time, so a stall is charged to every request that should have been sent during it
//! (no coordinated omission). One blocking thread a connection: its wake-ups are the kernel's, with no timer wheel of a
//! millisecond between them. The last stretch before a request is spun, so the sleep's slack is in no figure.

use crate::answer::Api;
use crate::incoming::Incoming;
use crate::process::cpu_seconds;
use crate::report::{Report, histogram};
use crate::request::Request;
use crate::tls::{self, Socket};
use crate::{clock::unix_ns, scenario::Scenario};
use hdrhistogram::Histogram;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread;
use std::time::{Duration, Instant};
use tokio_rustls::rustls::ClientConfig;

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
    /// Whom to trust where the server speaks TLS.
    pub tls: Option<Arc<ClientConfig>>,
}

/// No answer of a measured run takes as long as this; a proxy that hangs ends the run with a fault.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than a timer's slack, short enough to leave the processor to the backend most of the time.
const SPIN: Duration = Duration::from_micros(120);
/// Requests sent before the first that counts, all connections together but at least one each, so that connections and
/// caches are warm.
const WARM_UP: u32 = 20;
/// Between the end of the warm-up and the first request that counts.
const REST: Duration = Duration::from_millis(50);

/// The common start of all connections, after the last has warmed up.
struct Go {
    warm: Barrier,
    start: OnceLock<Instant>,
}

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
    let go = Arc::new(Go { warm: Barrier::new(plan.connections as usize + 1), start: OnceLock::new() });
    let mut threads = Vec::new();
    for n in 0..plan.connections {
        let (plan, go) = (plan.clone(), Arc::clone(&go));
        threads.push(thread::spawn(move || connection(&plan, scenario, n, gap, &go)));
    }
    go.warm.wait();
    let cpu = plan.pid.map_or(Ok(0.0), cpu_seconds)?;
    let mut all = Samples::new()?;
    for thread in threads {
        let samples = thread.join().map_err(|_| "a connection's thread panicked".to_owned())??;
        all.first.add(samples.first).map_err(|e| e.to_string())?;
        all.total.add(samples.total).map_err(|e| e.to_string())?;
        all.late.add(samples.late).map_err(|e| e.to_string())?;
    }
    let cpu = plan.pid.map_or(Ok(0.0), cpu_seconds)? - cpu;
    let report = Report::new("requests")
        .text("model", &plan.model)
        .number("requests", all.total.len() as f64)
        .number("cpu_us_per_request", cpu * 1e6 / all.total.len().max(1) as f64);
    Ok(report
        .percentiles("first", &all.first)
        .percentiles("total", &all.total)
        .percentiles("late", &all.late)
        .finish())
}

fn connection(plan: &Plan, scenario: Scenario, n: u32, gap: Duration, go: &Go) -> Result<Samples, String> {
    let warmed = warm(plan, scenario, n);
    // Whatever came of it, the others must not wait for this one.
    go.warm.wait();
    let mut caller = warmed?;
    let mut samples = Samples::new()?;
    let start = *go.start.get_or_init(|| Instant::now() + REST);
    let mut due = start + gap * n / plan.connections;
    let mut k = WARM_UP;
    while due < start + plan.duration {
        wait_until(due, plan.connections == 1);
        samples.late.saturating_record(nanos(due.elapsed()));
        caller.call(u64::from(n) << 32 | u64::from(k), due, &mut samples)?;
        due += gap;
        k += 1;
    }
    Ok(samples)
}

fn warm(plan: &Plan, scenario: Scenario, n: u32) -> Result<Caller, String> {
    let mut caller = Caller::connect(plan, scenario)?;
    for k in 0..WARM_UP.div_ceil(plan.connections) {
        caller.call(u64::from(n) << 32 | u64::from(k), Instant::now(), &mut Samples::new()?)?;
    }
    Ok(caller)
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

/// What a failed read means; an expired timeout has a code that says nothing.
pub(crate) fn read_fault(fault: &std::io::Error) -> String {
    match fault.kind() {
        std::io::ErrorKind::WouldBlock => "no answer for 10 s".to_owned(),
        _ => format!("read: {fault}"),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1)
}

struct Caller {
    stream: Box<dyn Socket>,
    request: Request,
    api: Api,
    scenario: Scenario,
    buf: Vec<u8>,
    delays: Histogram<u64>,
}

impl Caller {
    fn connect(plan: &Plan, scenario: Scenario) -> Result<Self, String> {
        let (address, api) = (plan.address, plan.api);
        let fault = |e| format!("connect {address}: {e}");
        let stream = TcpStream::connect_timeout(&address, READ_TIMEOUT).map_err(fault)?;
        stream.set_nodelay(true).map_err(fault)?;
        stream.set_read_timeout(Some(READ_TIMEOUT)).map_err(fault)?;
        let stream = tls::wrap(stream, plan.tls.as_ref())?;
        let request = Request::new(api, &plan.model, scenario)?;
        Ok(Self { stream, request, api, scenario, buf: vec![0; 64 * 1024], delays: histogram()? })
    }

    fn call(&mut self, nonce: u64, due: Instant, samples: &mut Samples) -> Result<(), String> {
        self.request.stamp(nonce);
        self.stream.write_all(self.request.bytes()).map_err(|e| format!("write: {e}"))?;
        let mut incoming = Incoming::new(self.api, self.scenario, &self.request);
        let mut is_first = true;
        loop {
            let len = self.stream.read(&mut self.buf).map_err(|e| read_fault(&e))?;
            let (arrived, now_ns) = (due.elapsed(), unix_ns());
            incoming.push(self.buf.get(..len).unwrap_or_default(), now_ns, &mut self.delays)?;
            if is_first && (incoming.seen() > 0 || incoming.is_done()) {
                is_first = false;
                samples.first.saturating_record(nanos(arrived));
            }
            if incoming.is_done() {
                samples.total.saturating_record(nanos(arrived));
                return incoming.finish(now_ns, &mut self.delays);
            }
        }
    }
}
