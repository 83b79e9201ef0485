//! Many streams at once: live ones held open while memory is read, or full-rate ones while processor time is.
//!
//! One thread, one task a stream. A stream that ends early, stalls past the limit or says a wrong token ends the run.

use crate::answer::Api;
use crate::incoming::Incoming;
use crate::process::{cpu_seconds, rss_kib, wake_ups};
use crate::report::{Report, histogram};
use crate::request::Request;
use crate::tls;
use crate::{clock::unix_ns, scenario::Scenario};
use hdrhistogram::Histogram;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_rustls::TlsConnector;
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
    /// How many streams.
    pub streams: u32,
    /// How many of them are opened a second.
    pub ramp: f64,
    /// The process whose memory and processor time are read; none when the backend is called directly.
    pub pid: Option<u32>,
    /// A file that is made when all live streams have started, so that another program can look at the same time.
    pub mark: Option<PathBuf>,
    /// Whom to trust where the server speaks TLS.
    pub tls: Option<Arc<ClientConfig>>,
}

/// A run is over by then, whatever happened.
const LIMIT: Duration = Duration::from_secs(120);

struct Shared {
    delays: RefCell<Histogram<u64>>,
    /// Streams that have had their first token.
    started: Cell<u32>,
    tokens: Cell<u64>,
    /// Read from sockets, framing included.
    bytes: Cell<u64>,
}

/// What happened while the streams were held.
struct Held {
    rss_kib: u64,
    cpu_seconds: f64,
    own_cpu_seconds: f64,
    wake_ups: u64,
    tokens: u64,
    bytes: u64,
    seconds: f64,
    delays: Histogram<u64>,
}

impl Shared {
    fn new() -> Result<Rc<Self>, String> {
        let (delays, started) = (RefCell::new(histogram()?), Cell::new(0));
        Ok(Rc::new(Self { delays, started, tokens: Cell::new(0), bytes: Cell::new(0) }))
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
            hold_open(plan, hold, &shared).await
        };
        tokio::select! {
            biased;
            Some(ended) = tasks.join_next() => {
                Err(flatten(ended).err().unwrap_or_else(|| "a live stream ended before it was closed".to_owned()))
            }
            held = timeout(LIMIT, all_started) => held.map_err(|_| "the streams did not all start".to_owned())?,
        }
    });
    let held = held.await?;
    // Drops the tasks and with them the connections.
    drop(local);
    sleep(settle).await;
    let rss_after = memory()?;
    let (tokens, streams) = (held.tokens.max(1) as f64, f64::from(plan.streams));
    let report = Report::new("live")
        .text("model", &plan.model)
        .number("streams", streams)
        .number("rss_before_kib", rss_before as f64)
        .number("rss_live_kib", held.rss_kib as f64)
        .number("rss_per_stream_kib", (held.rss_kib as f64 - rss_before as f64) / streams.max(1.0))
        .number("rss_after_kib", rss_after as f64)
        .number("tokens", held.tokens as f64)
        .number("tokens_per_second", held.tokens as f64 / held.seconds)
        .number("bytes_per_token", held.bytes as f64 / tokens)
        .number("load_busy_percent", held.own_cpu_seconds * 100.0 / held.seconds)
        .number("cpu_us_per_token", held.cpu_seconds * 1e6 / tokens)
        .number("cpu_busy_percent", held.cpu_seconds * 100.0 / held.seconds)
        .number("cpu_wake_ups_per_token", held.wake_ups as f64 / tokens);
    Ok(report.percentiles("delay", &held.delays).finish())
}

/// What the contender and this program do while all streams are open. What came before was the cost of connecting.
async fn hold_open(plan: &Plan, hold: Duration, shared: &Shared) -> Result<Held, String> {
    shared.delays.borrow_mut().reset();
    shared.tokens.set(0);
    shared.bytes.set(0);
    if let Some(mark) = &plan.mark {
        std::fs::write(mark, "").map_err(|e| format!("--mark: {e}"))?;
    }
    let (own, begun) = (cpu_seconds(std::process::id())?, Instant::now());
    let cpu = plan.pid.map_or(Ok(0.0), cpu_seconds)?;
    let woken = plan.pid.map_or(Ok(0), wake_ups)?;
    sleep(hold).await;
    Ok(Held {
        cpu_seconds: plan.pid.map_or(Ok(0.0), cpu_seconds)? - cpu,
        wake_ups: plan.pid.map_or(Ok(0), wake_ups)?.saturating_sub(woken),
        tokens: shared.tokens.get(),
        bytes: shared.bytes.get(),
        seconds: begun.elapsed().as_secs_f64(),
        own_cpu_seconds: cpu_seconds(std::process::id())? - own,
        rss_kib: plan.pid.map_or(Ok(0), rss_kib)?,
        delays: shared.delays.borrow().clone(),
    })
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
        let (plan, shared) = (plan.clone(), Rc::clone(shared));
        let due = begin + Duration::from_secs_f64(f64::from(n) / plan.ramp.max(1.0));
        tasks.spawn_local(async move {
            sleep_until(due).await;
            let read = stream(&plan, scenario, &shared).await;
            read.map_err(|fault| format!("stream {n}: {fault}"))
        });
    }
    tasks
}

fn flatten(ended: Result<Result<(), String>, tokio::task::JoinError>) -> Result<(), String> {
    ended.unwrap_or_else(|e| Err(format!("a stream's task died: {e}")))
}

async fn stream(plan: &Plan, scenario: Scenario, shared: &Shared) -> Result<(), String> {
    let address = plan.address;
    let socket = TcpStream::connect(address).await.map_err(|e| format!("connect {address}: {e}"))?;
    socket.set_nodelay(true).map_err(|e| format!("nodelay: {e}"))?;
    match &plan.tls {
        None => converse(socket, plan, scenario, shared).await,
        Some(config) => {
            let connecting = TlsConnector::from(Arc::clone(config)).connect(tls::host()?, socket);
            let socket = connecting.await.map_err(|e| format!("TLS {address}: {e}"))?;
            converse(socket, plan, scenario, shared).await
        }
    }
}

/// Writes the request and reads its answer.
async fn converse(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    plan: &Plan,
    scenario: Scenario,
    shared: &Shared,
) -> Result<(), String> {
    let request = Request::new(plan.api, &plan.model, scenario)?;
    socket.write_all(request.bytes()).await.map_err(|e| format!("write: {e}"))?;
    socket.flush().await.map_err(|e| format!("write: {e}"))?;
    let mut incoming = Incoming::new(plan.api, scenario, &request);
    let mut buf = vec![0; 16 * 1024];
    loop {
        let len = socket.read(&mut buf).await.map_err(|e| format!("read: {e}"))?;
        let (now_ns, before) = (unix_ns(), incoming.seen());
        let mut delays = shared.delays.borrow_mut();
        incoming.push(buf.get(..len).unwrap_or_default(), now_ns, &mut delays)?;
        shared.tokens.set(shared.tokens.get() + u64::from(incoming.seen() - before));
        shared.bytes.set(shared.bytes.get() + len as u64);
        if before == 0 && incoming.seen() > 0 {
            shared.started.set(shared.started.get() + 1);
        }
        if incoming.is_done() {
            return incoming.finish(now_ns, &mut delays);
        }
    }
}
