//! The threads beside the first (PROXY_THREADS), each with a runtime, a listener and connections to the backend of its own.
//!
//! No connection ever changes its thread, so the threads have nothing to hand over and seldom meet at a lock. The kernel
//! spreads the connections: all listeners stand on one address (SO_REUSEPORT), and a hash of a client's address and port
//! chooses among them.

use crate::config::MAX_THREADS;
use std::future::{Future, poll_fn};
use std::io;
use std::net::TcpStream;
use std::num::NonZero;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::Poll;
use std::thread;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{oneshot, watch};

/// Threads of one runtime that may block in the system's resolver.
const MAX_BLOCKING_THREADS: usize = 4;
/// Room for a thread's calls; the first thread has what the system gives it. Nothing calls itself over a peer's bytes, so
/// the depth is known: chats, embeddings and TLS handshakes take 108 KiB in a release build and 332 KiB in a debug build.
/// Only what is used is ever resident.
const STACK_BYTES: usize = 1 << 20;
/// Connections that wait to be accepted; the kernel cuts it down to its own limit.
const BACKLOG: u32 = 4096;

/// How many threads serve.
pub(super) fn count(setting: Option<NonZero<usize>>) -> usize {
    let count = setting.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZero::get);
    count.min(MAX_THREADS)
}

/// What each thread waits for its sockets and timers with.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().max_blocking_threads(MAX_BLOCKING_THREADS).build()
}

/// The name of this thread, unless it is the first.
pub(super) fn name() -> Option<String> {
    thread::current().name().filter(|name| *name != "main").map(str::to_string)
}

/// So many listeners more on the address of the first one.
///
/// The first one was bound alone, as with a single thread: so a second instance is refused, whatever its number of threads.
/// Only then may others stand beside it, for which both must say so. A socket that only tries whether the address is free
/// would leave a moment between.
pub(super) fn listeners_beside(first: &TcpListener, count: usize) -> io::Result<Vec<std::net::TcpListener>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    // An option is the socket's, whichever descriptor it is set through.
    let first_again = TcpStream::from(first.as_fd().try_clone_to_owned()?);
    TcpSocket::from_std_stream(first_again).set_reuseport(true)?;
    let address = first.local_addr()?;
    let listener = |_| {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    };
    (0..count).map(listener).collect()
}

/// What all threads are told of the end, in this order.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) enum Phase {
    Serving,
    /// Running requests may end.
    Stopping,
    /// At once.
    StoppingNow,
}

/// Tells all threads.
#[derive(Debug)]
pub(super) struct Stop(watch::Sender<Phase>);

impl Stop {
    pub(super) fn new() -> Self {
        Stop(watch::Sender::new(Phase::Serving))
    }

    /// Says that it has come so far; never takes it back.
    pub(super) fn come(&self, phase: Phase) {
        self.0.send_if_modified(|known| {
            let is_later = phase > *known;
            if is_later {
                *known = phase;
            }
            is_later
        });
    }

    /// Ends when it has come so far, or when nobody is left to say so.
    pub(super) fn wait_for(&self, phase: Phase) -> impl Future<Output = ()> + Send + use<> {
        let mut known = self.0.subscribe();
        async move {
            let _or_gone = known.wait_for(|known| *known >= phase).await;
        }
    }
}

/// Why a thread ended that should serve.
#[derive(Debug)]
pub(super) enum Fall {
    /// It could not begin.
    Start(io::Error),
    /// What it said is on standard error already.
    Panic,
}

/// A thread that serves.
#[derive(Debug)]
pub(super) struct Worker {
    name: String,
    /// Closed without a word by a panic.
    ended: oneshot::Receiver<io::Result<()>>,
}

impl Worker {
    /// Starts one; it ends when `serve` does.
    pub(super) fn start<F: Future<Output = ()>>(
        number: usize,
        listener: std::net::TcpListener,
        serve: impl FnOnce(TcpListener) -> F + Send + 'static,
    ) -> io::Result<Self> {
        let name = format!("proxy-{number}");
        let (tell, ended) = oneshot::channel();
        let run = move || {
            let _nobody_asks = tell.send(run(listener, serve));
        };
        thread::Builder::new().name(name.clone()).stack_size(STACK_BYTES).spawn(run)?;
        Ok(Worker { name, ended })
    }
}

fn run<F: Future<Output = ()>>(
    listener: std::net::TcpListener,
    serve: impl FnOnce(TcpListener) -> F,
) -> io::Result<()> {
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        serve(TcpListener::from_std(listener)?).await;
        Ok(())
    });
    // A resolver that hangs must not hold the exit.
    runtime.shutdown_background();
    result
}

/// Waits until all have ended. When one falls the others are told to stop: a proxy that serves with fewer threads than it
/// should would hide that, and who watches over it starts a whole one again.
pub(super) async fn ended(mut workers: Vec<Worker>, stop: &Stop) -> Result<(), Fall> {
    let mut fallen = None;
    poll_fn(|cx| {
        workers.retain_mut(|worker| {
            let fall = match Pin::new(&mut worker.ended).poll(cx) {
                Poll::Pending => return true,
                Poll::Ready(Ok(Ok(()))) => return false,
                Poll::Ready(Ok(Err(error))) => Fall::Start(error),
                Poll::Ready(Err(_)) => Fall::Panic,
            };
            tracing::error!(thread = worker.name, reason = ?fall, "a thread fell; the others stop too");
            fallen.get_or_insert(fall);
            stop.come(Phase::Stopping);
            false
        });
        if workers.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    fallen.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, SocketAddr};

    fn on_any_port() -> (Runtime, TcpListener, SocketAddr) {
        let runtime = runtime().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        (runtime, listener, address)
    }

    #[test]
    fn others_stand_beside_the_first_listener_and_no_second_first_one_does() {
        let (runtime, first, address) = on_any_port();
        let taken = |runtime: &Runtime| {
            let second = runtime.block_on(TcpListener::bind(address));
            second.err().map(|error| error.kind())
        };
        assert_eq!(taken(&runtime), Some(io::ErrorKind::AddrInUse));
        let others = runtime.block_on(async { listeners_beside(&first, 2) }).unwrap();
        assert!(others.iter().all(|other| other.local_addr().unwrap() == address));
        assert_eq!(taken(&runtime), Some(io::ErrorKind::AddrInUse));
        drop(first);
        assert_eq!(taken(&runtime), Some(io::ErrorKind::AddrInUse), "the others still serve");
    }

    #[test]
    fn alone_the_listener_stays_as_it_is() {
        let (runtime, first, address) = on_any_port();
        assert!(runtime.block_on(async { listeners_beside(&first, 0) }).unwrap().is_empty());
        let shared = runtime.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseport(true).unwrap();
            socket.bind(address).map_err(|error| error.kind())
        });
        assert_eq!(shared, Err(io::ErrorKind::AddrInUse));
    }

    #[test]
    fn a_thread_that_panics_stops_the_others_and_is_told_of() {
        let (runtime, first, _) = on_any_port();
        let result = runtime.block_on(async {
            let stop = Stop::new();
            let mut others = listeners_beside(&first, 2).unwrap().into_iter();
            let told = stop.wait_for(Phase::Stopping);
            let waits = Worker::start(1, others.next().unwrap(), |_| told).unwrap();
            let panics = Worker::start(2, others.next().unwrap(), |_| async { panic!("on purpose") });
            ended(vec![waits, panics.unwrap()], &stop).await
        });
        assert!(matches!(result, Err(Fall::Panic)), "{result:?}");
    }

    #[test]
    fn what_was_said_of_the_end_is_not_taken_back() {
        let stop = Stop::new();
        let runtime = runtime().unwrap();
        stop.come(Phase::StoppingNow);
        stop.come(Phase::Stopping);
        runtime.block_on(stop.wait_for(Phase::StoppingNow));
        let for_ever = Stop::new();
        let waiting = for_ever.wait_for(Phase::Stopping);
        drop(for_ever);
        runtime.block_on(waiting);
    }

    #[test]
    fn as_many_threads_as_set_or_as_there_are_processors() {
        assert_eq!(count(NonZero::new(3)), 3);
        assert!((1..=MAX_THREADS).contains(&count(None)));
    }
}
