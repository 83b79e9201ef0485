//! [`serve`]: a listener's connections, each in a task of its own, and the drain at the end.

use super::app::CutOff;
use super::connection::serve_connection;
use super::reply::Reply;
use super::threads;
use hyper::Request;
use hyper::body::Incoming;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

/// Wait after an accept that failed for want of file descriptors: some come free when requests end.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// It is said once in this time.
const ACCEPT_WARNING_GAP: Duration = Duration::from_secs(1);
/// For the last line of an answer that is cut off to go out.
const FAREWELL: Duration = Duration::from_millis(500);

/// An answer being worked out. In a box of its own: hyper keeps the room of a service's future as long as the connection,
/// and an answer's head is worked out in far more than its body is held in.
pub(super) type Answering = Pin<Box<dyn Future<Output = Reply> + Send>>;
/// Answers requests. It is of one type for all who serve: for each other one hyper's server would be there once more.
pub(super) type Handler = Arc<dyn Fn(Request<Incoming>) -> Answering + Send + Sync>;

/// Serves until `stop`, then takes no more connections and lets running requests end for up to `grace`. What is left then
/// is told by `cut_off`, and has a moment to say so. Ends at once when `stop_now` does.
pub(super) async fn serve(
    listener: TcpListener,
    handler: Handler,
    stop: impl Future<Output = ()>,
    stop_now: impl Future<Output = ()>,
    grace: Duration,
    cut_off: impl FnOnce(),
) {
    let open = Open { stopping: Arc::default(), connections: watch::Sender::new(()) };
    let mut stop = pin!(stop);
    let mut warned_at = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, _)) => connect(stream, Arc::clone(&handler), &open),
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

fn connect(stream: TcpStream, handler: Handler, open: &Open) {
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
        serve_connection(stream, handler, &stopping).await;
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
