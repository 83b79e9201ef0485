//! [`Silence`]: how long the backend may say nothing while the client waits for it.

use super::app::App;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, Sleep, sleep_until};

/// Why it is not waited for any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enough {
    /// The time is over.
    TimedOut,
    /// The proxy stops.
    Stopping,
}

/// See the module's description.
pub(super) struct Silence {
    timer: Pin<Box<Sleep>>,
    cut_off: Pin<Box<OwnedNotified>>,
    /// Who is woken by both. A stream waits once for each of its tokens, and setting both up again would cost as much as
    /// translating one.
    told: Waker,
}

impl Silence {
    /// For a silence that may last until `deadline` at first.
    pub(super) fn new(app: &App, deadline: Instant) -> Self {
        Silence {
            timer: Box::pin(sleep_until(deadline)),
            cut_off: Box::pin(app.cut_off.notified()),
            told: Waker::noop().clone(),
        }
    }

    /// Waits until `deadline`, which may be another one each time.
    pub(super) fn poll(&mut self, app: &App, cx: &mut Context<'_>, deadline: Instant) -> Poll<Enough> {
        if app.cut_off.is_now() {
            return Poll::Ready(Enough::Stopping);
        }
        // It is set once for many silences: it is set back only when it went off early or must go off earlier.
        let is_set = self.timer.deadline() <= deadline && !self.timer.is_elapsed();
        if is_set && self.told.will_wake(cx.waker()) {
            return Poll::Pending;
        }
        if self.cut_off.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Enough::Stopping);
        }
        self.told.clone_from(cx.waker());
        if self.timer.deadline() > deadline {
            self.timer.as_mut().reset(deadline);
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if self.timer.deadline() >= deadline {
                return Poll::Ready(Enough::TimedOut);
            }
            self.timer.as_mut().reset(deadline);
        }
    }
}
