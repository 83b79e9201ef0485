//! [`run`]: the four commands, from a configuration to an exit.

use super::app::App;
use super::demo::{self, DemoBackend, Pace};
use super::doctor;
use super::server::{self, Service};
use super::threads::{self, Fall, Phase, Stop, Worker};
use super::{hangup, health, large, operations, resolve, upstream};
use crate::config::{Command, Config, Listen};
use crate::openai::KeyHeader;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, pending};
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How many ports above the usual one the demo tries.
const DEMO_PORTS: u16 = 20;

/// Why a command ended without success.
#[derive(Debug)]
pub enum RunError {
    /// The runtime or the signals cannot be set up.
    Start(io::Error),
    /// The address is taken, or none of this machine's.
    Listen(String, io::Error),
    /// Other threads cannot listen on the address beside the first.
    Share(String, io::Error),
    /// The CA file cannot be used.
    CaFile(String),
    /// A thread panicked.
    Panicked,
    /// Nobody answers.
    Unhealthy(io::Error),
    /// The demonstration failed.
    Demo(String),
    /// Some clients will not work; the report is out already.
    Unwell(String),
    /// The report could not be printed.
    Report(io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Start(error) => write!(f, "cannot start: {error}"),
            RunError::Listen(address, error) => {
                write!(
                    f,
                    "cannot listen on {address}: {error}; set OLLAMA_HOST or PROXY_PORT to another address"
                )
            }
            RunError::Share(address, error) => {
                write!(
                    f,
                    "cannot listen on {address} with more than one thread: {error}; leave PROXY_THREADS at 1"
                )
            }
            RunError::CaFile(why) => write!(f, "SSL_CA_FILE: {why}"),
            RunError::Panicked => f.write_str("a thread panicked; what it said stands above"),
            RunError::Unhealthy(error) => write!(f, "not healthy: {error}"),
            RunError::Demo(why) => write!(f, "the demonstration failed: {why}"),
            RunError::Unwell(what) => f.write_str(what),
            RunError::Report(error) => write!(f, "the report cannot be printed: {error}"),
        }
    }
}

impl std::error::Error for RunError {}

impl From<Fall> for RunError {
    fn from(fall: Fall) -> Self {
        match fall {
            Fall::Start(error) => RunError::Start(error),
            Fall::Panic => RunError::Panicked,
        }
    }
}

/// Runs a command to its end.
///
/// # Errors
/// See [`RunError`].
pub fn run(command: Command, config: Config) -> Result<(), RunError> {
    if let Command::Health = command {
        return health::check(&config.listen).map_err(RunError::Unhealthy);
    }
    // Of one thread: a sidecar waits for sockets, and a second thread on them would only add hand-overs. Who needs more
    // than one processor gets the same once more (`threads.rs`).
    let runtime = threads::runtime().map_err(RunError::Start)?;
    let result = runtime.block_on(async {
        match command {
            Command::Demo { once } => run_demo(config, once).await,
            Command::Doctor { models, json } => run_doctor(config, &models, json).await,
            Command::Serve | Command::Health => run_proxy(config).await,
        }
    });
    // A resolver that hangs must not hold the exit.
    runtime.shutdown_background();
    result
}

async fn run_proxy(config: Config) -> Result<(), RunError> {
    let mut signals = Signals::new(config.models.map_file.is_some())?;
    let listener = bind(&config.listen).await?;
    let address = listener.local_addr().map_err(RunError::Start)?;
    let threads = threads::count(config.threads);
    let others = threads::listeners_beside(&listener, threads - 1)
        .map_err(|error| RunError::Share(config.listen.to_string(), error))?;
    let app = App::new(&config, address.ip().is_loopback()).map_err(RunError::CaFile)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        %address,
        threads = (threads > 1).then_some(threads),
        backend = config.backend.base.origin(),
        proxy = config.backend.proxy.as_ref().map(tracing::field::display),
        "listening"
    );
    serve_app(listener, others, app, &config, &mut signals).await
}

/// Serves on this thread, on one more for each of the other listeners, and does once what is to be done once.
async fn serve_app(
    listener: TcpListener,
    others: Vec<std::net::TcpListener>,
    app: App,
    config: &Config,
    signals: &mut Signals,
) -> Result<(), RunError> {
    let (stop, grace) = (Stop::new(), config.shutdown_grace);
    let workers = (1..).zip(others).map(|(number, listener)| {
        let app = Arc::new(app.for_another_thread());
        let (stops, stops_now) = (stop.wait_for(Phase::Stopping), stop.wait_for(Phase::StoppingNow));
        Worker::start(number, listener, move |listener| serve_on(listener, app, stops, stops_now, grace))
    });
    let workers = workers.collect::<io::Result<Vec<_>>>().map_err(RunError::Start)?;
    let app = Arc::new(app);
    let (stops, stops_now) = (stop.wait_for(Phase::Stopping), stop.wait_for(Phase::StoppingNow));
    let own = serve_on(listener, Arc::clone(&app), stops, stops_now, grace);
    let all = async { tokio::join!(own, threads::ended(workers, &stop)).1 };
    let Signals { stops, hangup } = signals;
    // Those beside it never end.
    tokio::select! {
        result = all => result.map_err(RunError::from),
        never = stops.pass_on(&stop) => match never {},
        never = app.models.refresh(&app.upstream) => match never {},
        never = operations::watch(&app) => match never {},
        () = hangup::read_map_again(&app, config.models.clone(), hangup.take()) => Ok(()),
    }
}

/// Serves on this thread until it is told to stop. In a box: else the code would be there once for the first thread and
/// once for the others.
fn serve_on(
    listener: TcpListener,
    app: Arc<App>,
    stop: impl Future<Output = ()> + Send + 'static,
    stop_now: impl Future<Output = ()> + Send + 'static,
    grace: Duration,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let (service, cut_off) = (Service::Proxy(Arc::clone(&app)), || app.cut_off.come());
        tokio::select! {
            () = server::serve(listener, service, stop, stop_now, grace, cut_off) => {}
            never = app.upstream.tidy() => match never {},
            never = large::tidy() => match never {},
        }
    })
}

/// The proxy on a port of its own, as configured but for that, and a client that plays all clients.
async fn run_doctor(config: Config, models: &[String], json: bool) -> Result<(), RunError> {
    let mut signals = Signals::new(false)?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(RunError::Start)?;
    let address = listener.local_addr().map_err(RunError::Start)?;
    let app = App::new(&config, true).map_err(RunError::CaFile)?;
    let key = config.proxy_key.as_ref().and_then(|key| upstream::key_value(KeyHeader::Bearer, key.expose()));
    let client = Arc::new(upstream::local_client().map_err(RunError::Unwell)?);
    let asks = move |question, max_bytes| -> doctor::Asking {
        let client = Arc::clone(&client);
        Box::pin(async move { client.ask(question, max_bytes).await })
    };
    let caller = doctor::Caller::new(Box::new(asks), address, key);
    let report = tokio::select! {
        report = doctor::examine(&caller, models) => report,
        stopped = serve_app(listener, Vec::new(), app, &config, &mut signals) => {
            return stopped.and_then(|()| Err(RunError::Unwell("stopped".into())));
        }
    };
    let mut out = io::stdout();
    let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let backend = config.backend.base.origin();
    let text = if json { report.json(&backend) + "\n" } else { report.table(&backend, colour) };
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(RunError::Report)?;
    report.complaint().map_or(Ok(()), |complaint| Err(RunError::Unwell(complaint)))
}

async fn run_demo(mut config: Config, once: bool) -> Result<(), RunError> {
    let mut signals = Signals::new(false)?;
    let backend_listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(RunError::Start)?;
    let backend_address = backend_listener.local_addr().map_err(RunError::Start)?;
    config.use_demo_backend(backend_address);
    let listener = bind_near(&config.listen, once).await?;
    let address = listener.local_addr().map_err(RunError::Start)?;
    let app = App::new(&config, address.ip().is_loopback()).map_err(RunError::CaFile)?;
    let backend = Service::Demo(Arc::new(DemoBackend::new(Pace::realistic())));
    let grace = config.shutdown_grace;
    let backend = server::serve(backend_listener, backend, pending(), pending(), grace, || {});
    let wanted = config.listen.clone();
    tokio::select! {
        () = backend => Ok(()),
        stopped = serve_app(listener, Vec::new(), app, &config, &mut signals) => stopped,
        result = show(&wanted, address, backend_address, once) => result,
    }
}

/// The tour; it goes on for ever when the demo is to keep serving.
async fn show(wanted: &Listen, address: SocketAddr, backend: SocketAddr, once: bool) -> Result<(), RunError> {
    let mut out = io::stdout();
    let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let told = |error: &dyn std::error::Error| match error.source() {
        Some(source) => RunError::Demo(format!("{error}: {source}")),
        None => RunError::Demo(error.to_string()),
    };
    let proxy = reachable(address);
    if wanted.port != 0 && address.port() != wanted.port {
        writeln!(out, "Port {} is taken; the proxy listens on {} instead.\n", wanted.port, address.port())
            .map_err(|error| told(&error))?;
    }
    demo::tour(proxy, backend, &mut out, colour).await.map_err(|error| told(&error))?;
    if once {
        return Ok(());
    }
    demo::next_steps(proxy, &mut out, colour).map_err(|error| told(&error))?;
    pending().await
}

/// Where a client of this machine reaches a listener on all addresses.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip().is_unspecified() {
        true => SocketAddr::from(([127, 0, 0, 1], address.port())),
        false => address,
    }
}

async fn bind(listen: &Listen) -> Result<TcpListener, RunError> {
    bind_port(listen, listen.port).await.map_err(|error| RunError::Listen(listen.to_string(), error))
}

/// The next free port from the usual one on; any free one when nobody will come to it.
async fn bind_near(listen: &Listen, once: bool) -> Result<TcpListener, RunError> {
    let mut last = None;
    for port in (0..=DEMO_PORTS).map(|step| listen.port.saturating_add(step)).chain(once.then_some(0)) {
        match bind_port(listen, port).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = Some(error),
            Err(error) => return Err(RunError::Listen(listen.to_string(), error)),
        }
    }
    let error = last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into());
    Err(RunError::Listen(format!("{listen} or the {DEMO_PORTS} ports above it"), error))
}

async fn bind_port(listen: &Listen, port: u16) -> io::Result<TcpListener> {
    if let Some([v4, _]) = resolve::loopback_addresses(&listen.host) {
        return TcpListener::bind((v4.ip(), port)).await;
    }
    TcpListener::bind((listen.host.as_str(), port)).await
}

/// PID 1 of a container gets neither SIGTERM nor SIGINT without a handler.
struct Signals {
    stops: Stops,
    /// SIGHUP, where it means anything. It is left alone elsewhere: who closes the terminal ends the program.
    hangup: Option<Signal>,
}

struct Stops {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new(with_hangup: bool) -> Result<Self, RunError> {
        let open = |kind| signal(kind).map_err(RunError::Start);
        let stops =
            Stops { terminate: open(SignalKind::terminate())?, interrupt: open(SignalKind::interrupt())? };
        let hangup = with_hangup.then(|| open(SignalKind::hangup())).transpose()?;
        Ok(Signals { stops, hangup })
    }
}

impl Stops {
    /// Tells the threads of the first signal and of the second.
    async fn pass_on(&mut self, stop: &Stop) -> Infallible {
        self.next().await;
        stop.come(Phase::Stopping);
        self.next().await;
        stop.come(Phase::StoppingNow);
        pending().await
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
