//! Many streams at once: live ones held open while memory is read, or full-rate ones while processor time is.
//!
//! One thread, one task a stream. A stream that ends early, stalls past the limit or says a wrong token ends the run.

use crate::answer::Api;
use crate::incoming::Incoming;
use crate::process::{cpu_seconds, rss_kib};
use crate::report::{Report, histogram};
use crate::request::Request;
use crate::{clock::unix_ns, scenario::Scenario};
use hdrhistogram::Histogram;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, sleep_until, timeout};

/// One run's parameters.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom to call.
    pub address: SocketAddr,
    /// In which dialect.
    pub api: Api,
    /// The model name, which is the scenario.
    pub model: String,
    /// How many streams.
    pub streams: u32,
    /// How many of them are opened a second.
    pub ramp: f64,
    /// The process whose memory and processor time are read; none when the backend is called directly.
    pub pid: Option<u32>,
}

/// A run is over by then, whatever happened.
const LIMIT: Duration = Duration::from_secs(120);

struct Shared {
    delays: RefCell<Histogram<u64>>,
    /// Streams that have had their first token.
    started: Cell<u32>,
    tokens: Cell<u64>,
}

impl Shared {
    fn new() -> Result<Rc<Self>, String> {
        Ok(Rc::new(Self { delays: RefCell::new(histogram()?), started: Cell::new(0), tokens: Cell::new(0) }))
    }
}

/// Opens all streams, holds them for `hold`, closes them all unfinished, and looks again after `settle`.
pub async fn live(plan: &Plan, hold: Duration, settle: Duration) -> Result<String, String> {
    let memory = || plan.pid.map_or(Ok(0), rss_kib);
    let rss_before = memory()?;
    let shared = Shared::new()?;
    let scenario = Scenario::from_model(&plan.model)?;
    let local = LocalSet::new();
    let held = local.run_until(async {
        let mut tasks = open(plan, scenario, &shared);
        let all_started = async {
            while shared.started.get() < plan.streams {
                sleep(Duration::from_millis(20)).await;
            }
            // The ramp's delays are those of connecting; what is asked for is the steady state.
            shared.delays.borrow_mut().reset();
            shared.tokens.set(0);
            let cpu = plan.pid.map_or(Ok(0.0), cpu_seconds)?;
            sleep(hold).await;
            let spent = plan.pid.map_or(Ok(0.0), cpu_seconds)? - cpu;
            Ok::<_, String>((memory()?, spent, shared.tokens.get(), shared.delays.borrow().clone()))
        };
        tokio::select! {
            biased;
            Some(ended) = tasks.join_next() => {
                Err(flatten(ended).err().unwrap_or_else(|| "a live stream ended before it was closed".to_owned()))
            }
            held = timeout(LIMIT, all_started) => held.map_err(|_| "the streams did not all start".to_owned())?,
        }
    });
    let (rss_live, cpu, tokens, delays) = held.await?;
    // Drops the tasks and with them the connections.
    drop(local);
    sleep(settle).await;
    let rss_after = memory()?;
    let per_stream = (rss_live as f64 - rss_before as f64) / f64::from(plan.streams.max(1));
    let report = Report::new("live")
        .text("model", &plan.model)
        .number("streams", f64::from(plan.streams))
        .number("rss_before_kib", rss_before as f64)
        .number("rss_live_kib", rss_live as f64)
        .number("rss_per_stream_kib", per_stream)
        .number("rss_after_kib", rss_after as f64)
        .number("tokens", tokens as f64)
        .number("cpu_us_per_token", cpu * 1e6 / (tokens.max(1) as f64));
    Ok(report.percentiles("delay", &delays).finish())
}

/// Reads every stream to its end as fast as it comes.
pub async fn rate(plan: &Plan) -> Result<String, String> {
    let shared = Shared::new()?;
    let scenario = Scenario::from_model(&plan.model)?;
    let cpu = plan.pid.map_or(Ok(0.0), cpu_seconds)?;
    let begun = Instant::now();
    let all = LocalSet::new();
    let all = all.run_until(async {
        let mut tasks = open(plan, scenario, &shared);
        while let Some(ended) = tasks.join_next().await {
            flatten(ended)?;
        }
        Ok::<_, String>(())
    });
    timeout(LIMIT, all).await.map_err(|_| format!("streams not done after {} s", LIMIT.as_secs()))??;
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = plan.pid.map_or(Ok(0.0), cpu_seconds)? - cpu;
    let tokens = shared.tokens.get() as f64;
    let report = Report::new("rate")
        .text("model", &plan.model)
        .number("streams", f64::from(plan.streams))
        .number("tokens", tokens)
        .number("seconds", seconds)
        .number("tokens_per_second", tokens / seconds)
        .number("cpu_seconds", cpu)
        .number("cpu_us_per_token", cpu * 1e6 / tokens.max(1.0));
    Ok(report.finish())
}

fn open(plan: &Plan, scenario: Scenario, shared: &Rc<Shared>) -> JoinSet<Result<(), String>> {
    let mut tasks = JoinSet::new();
    let begin = tokio::time::Instant::now();
    for n in 0..plan.streams {
        let (address, api, model, shared) = (plan.address, plan.api, plan.model.clone(), Rc::clone(shared));
        let due = begin + Duration::from_secs_f64(f64::from(n) / plan.ramp.max(1.0));
        tasks.spawn_local(async move {
            sleep_until(due).await;
            let read = stream(address, api, &model, scenario, &shared).await;
            read.map_err(|fault| format!("stream {n}: {fault}"))
        });
    }
    tasks
}

fn flatten(ended: Result<Result<(), String>, tokio::task::JoinError>) -> Result<(), String> {
    ended.unwrap_or_else(|e| Err(format!("a stream's task died: {e}")))
}

async fn stream(
    address: SocketAddr,
    api: Api,
    model: &str,
    scenario: Scenario,
    shared: &Shared,
) -> Result<(), String> {
    let mut socket = TcpStream::connect(address).await.map_err(|e| format!("connect {address}: {e}"))?;
    socket.set_nodelay(true).map_err(|e| format!("nodelay: {e}"))?;
    let request = Request::new(api, model, scenario)?;
    socket.write_all(request.bytes()).await.map_err(|e| format!("write: {e}"))?;
    let mut incoming = Incoming::new(api, scenario, &request);
    let mut buf = vec![0; 16 * 1024];
    loop {
        let len = socket.read(&mut buf).await.map_err(|e| format!("read: {e}"))?;
        let (now_ns, before) = (unix_ns(), incoming.seen());
        let mut delays = shared.delays.borrow_mut();
        incoming.push(buf.get(..len).unwrap_or_default(), now_ns, &mut delays)?;
        shared.tokens.set(shared.tokens.get() + u64::from(incoming.seen() - before));
        if before == 0 && incoming.seen() > 0 {
            shared.started.set(shared.started.get() + 1);
        }
        if incoming.is_done() {
            return incoming.finish(now_ns, &mut delays);
        }
    }
}
