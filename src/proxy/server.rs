//! [`serve`]: a listener's connections, each in a task of its own, and the drain at the end.

use super::app::{App, CutOff};
use super::connection::serve_connection;
use super::demo::DemoBackend;
use super::reply::{Reply, ReplyBody};
use super::{handler, threads};
use hyper::Request;
use hyper::body::Incoming;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

/// Wait after an accept that failed for want of file descriptors: some come free when requests end.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// It is said once in this time.
const ACCEPT_WARNING_GAP: Duration = Duration::from_secs(1);
/// What hyper reads at once, at first.
const FIRST_READ_BYTES: usize = 8 << 10;
/// For the last line of an answer that is cut off to go out.
const FAREWELL: Duration = Duration::from_millis(500);

/// Who answers requests. One type for all who serve: for each other one hyper's server would be there once more.
#[derive(Clone)]
pub(super) enum Service {
    Proxy(Arc<App>),
    Demo(Arc<DemoBackend>),
}

impl Service {
    /// Its future is not in a box: hyper has room for it, one after the other, as long as it has the connection, and no
    /// stream leaves it that. Room that each request asks the allocator for is a page to make each time, where requests
    /// come one by one.
    pub(super) async fn answer(self, request: Request<Incoming>) -> Reply {
        match self {
            Service::Proxy(app) => handler::handle(app, request).await,
            Service::Demo(backend) => {
                Box::pin(backend.answer(request)).await.map(|body| ReplyBody::Shown(Box::new(body)))
            }
        }
    }
}

/// Serves until `stop`, then takes no more connections and lets running requests end for up to `grace`. What is left then
/// is told by `cut_off`, and has a moment to say so. Ends at once when `stop_now` does.
pub(super) async fn serve(
    listener: TcpListener,
    service: Service,
    stop: impl Future<Output = ()>,
    stop_now: impl Future<Output = ()>,
    grace: Duration,
    cut_off: impl FnOnce(),
) {
    // hyper asks for another buffer of this size while a request runs, to see the client's end. musl gives a group of three
    // such back to the system when the last of them is free, and where requests come one by one that is each time. Nothing
    // is written to this one, so it takes no page.
    let _group_of_buffers = Vec::<u8>::with_capacity(FIRST_READ_BYTES);
    let open = Open { stopping: Arc::default(), connections: watch::Sender::new(()) };
    let mut stop = pin!(stop);
    let mut warned_at = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, _)) => connect(stream, service.clone(), &open),
            Err(error) => wait_after(&error, &mut warned_at).await,
        }
    }
    drop(listener);
    let (count, thread) = (open.connections.receiver_count(), threads::name());
    tracing::info!(open_connections = count, thread, "stopping; running requests may end");
    open.stopping.come();
    let mut ended = pin!(open.connections.closed());
    tokio::select! {
        () = &mut ended => return,
        () = tokio::time::sleep(grace) => tracing::warn!(thread, "SHUTDOWN_GRACE is over; what still runs is cut off"),
        () = stop_now => return tracing::warn!(thread, "told again to stop; what still runs is cut off"),
    }
    cut_off();
    // Who does not even read the last line is not waited for.
    let _in_time = tokio::time::timeout(FAREWELL, ended).await;
}

/// The connections that are open.
struct Open {
    /// They are to end with the request that they run.
    stopping: Arc<CutOff>,
    /// Each is a receiver.
    connections: watch::Sender<()>,
}

fn connect(stream: TcpStream, service: Service, open: &Open) {
    // A line must not wait for the next one.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let (stopping, is_open) = (Arc::clone(&open.stopping), open.connections.subscribe());
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place: a connection outlives the accept that began it"
    )]
    tokio::spawn(async move {
        serve_connection(stream, service, &stopping).await;
        drop(is_open);
    });
}

/// An accept fails for one connection (which is gone: go on), or because the process has no file descriptors left.
async fn wait_after(error: &io::Error, warned_at: &mut Option<Instant>) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
        return;
    }
    if warned_at.is_none_or(|at| at.elapsed() >= ACCEPT_WARNING_GAP) {
        *warned_at = Some(Instant::now());
        tracing::warn!(%error, "cannot accept connections");
    }
    tokio::time::sleep(ACCEPT_BACKOFF).await;
}
