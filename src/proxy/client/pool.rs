//! [`Pool`]: connections that wait for their next request, and are let go when the server ends them or their time is over.

use super::connection::Connection;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Most that are kept.
const MAX_IDLE: usize = 32;

/// See the module's description.
pub(super) struct Pool {
    keep: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The newest is taken first, so the oldest is the first.
    idle: Vec<Idle>,
    /// Who is told when an idle connection ends.
    tidier: Option<Waker>,
    /// Whether the tidier looks again by itself.
    is_watched: bool,
}

struct Idle {
    connection: Connection,
    until: Instant,
}

impl Pool {
    /// Connections are kept so long.
    pub(super) fn new(keep: Duration) -> Self {
        Pool { keep, state: Mutex::default() }
    }

    /// Another one, which keeps as long.
    pub(super) fn empty_again(&self) -> Self {
        Self::new(self.keep)
    }

    /// The connection that was used last, if the server has not closed it.
    pub(super) fn take(&self, cx: &mut Context<'_>) -> Option<Connection> {
        let now = Instant::now();
        loop {
            let Idle { mut connection, until } = self.state().idle.pop()?;
            if until > now && connection.is_quiet(cx) {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection that can be used again. Nobody is woken for it but once in the time that it is kept.
    pub(super) fn put(&self, mut connection: Connection) {
        let mut state = self.state();
        let waker = state.tidier.as_ref().unwrap_or(Waker::noop());
        if state.idle.len() == MAX_IDLE || !connection.is_quiet(&mut Context::from_waker(waker)) {
            return;
        }
        state.idle.push(Idle { connection, until: Instant::now() + self.keep });
        if !std::mem::replace(&mut state.is_watched, true)
            && let Some(waker) = &state.tidier
        {
            waker.wake_by_ref();
        }
    }

    /// Closes connections that ended, or have waited long enough, for ever.
    pub(super) async fn tidy(&self) -> Infallible {
        let mut timer = pin!(sleep_until(Instant::now()));
        poll_fn(|cx| {
            let mut state = self.state();
            state.tidier = Some(cx.waker().clone());
            loop {
                let now = Instant::now();
                state.idle.retain_mut(|idle| idle.until > now && idle.connection.is_quiet(cx));
                let oldest = state.idle.first().map(|idle| idle.until);
                state.is_watched = oldest.is_some();
                let Some(oldest) = oldest else { return Poll::Pending };
                if timer.deadline() != oldest {
                    timer.as_mut().reset(oldest);
                }
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
