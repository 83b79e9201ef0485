//! [`RequestBody`]: what the backend is sent: pieces that are at hand, or a client's body as it comes.
//!
//! It always has a length, since some backends cannot read chunks: a client's body of unknown length is gathered first.
//! It can be cloned, so that a connection that fails can be tried again; a body that comes is one for all its clones, and
//! nothing of it is read before there is a connection.

use bytes::{Buf, Bytes};
use hyper::body::{Body, Incoming};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a body may stand still at most, and what each part of it earns: a client that sends a kibibyte a second is
/// never too slow. What came faster is no credit beyond that, or a client that sent much could then stand still for hours.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
const SLOWEST_BODY_BYTES_PER_SECOND: u64 = 1024;

/// How much longer a body may take. Only the time counts in which somebody waits for it.
#[derive(Debug)]
pub(super) struct Patience {
    left: Duration,
    waiting_since: Option<Instant>,
}

impl Patience {
    pub(super) fn new() -> Self {
        Patience { left: BODY_PATIENCE, waiting_since: None }
    }

    /// It is waited for, now or still: until when.
    pub(super) fn until(&mut self, now: Instant) -> Instant {
        *self.waiting_since.get_or_insert(now) + self.left
    }

    /// So many bytes of it came.
    pub(super) fn came(&mut self, now: Instant, bytes: usize) {
        let waited = self.waiting_since.take().map(|since| now.saturating_duration_since(since));
        let earned = (bytes as u64).saturating_mul(1_000_000) / SLOWEST_BODY_BYTES_PER_SECOND;
        let left = self.left.saturating_sub(waited.unwrap_or_default());
        self.left = left.saturating_add(Duration::from_micros(earned)).min(BODY_PATIENCE);
    }
}

/// See the module's description.
#[derive(Clone)]
pub(super) enum RequestBody {
    /// All of it.
    Whole(Bytes),
    /// In this order; an empty piece counts for nothing.
    Pieces(Box<[Bytes; 3]>),
    /// Of a length that the client named.
    Coming(Arc<Mutex<Coming>>),
}

/// The client's body on its way.
pub(super) struct Coming {
    body: Incoming,
    moved: Instant,
    patience: Patience,
    timer: Pin<Box<Sleep>>,
    is_cut: bool,
}

/// The client stopped sending.
#[derive(Debug)]
pub(super) struct BodyCut;

impl fmt::Display for BodyCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client's body ended early")
    }
}

impl Error for BodyCut {}

impl RequestBody {
    pub(super) fn of(bytes: Bytes) -> Self {
        RequestBody::Whole(bytes)
    }

    /// These, one behind the other.
    pub(super) fn of_pieces(pieces: [Bytes; 3]) -> Self {
        RequestBody::Pieces(Box::new(pieces))
    }

    /// A client's body, whose length must be known.
    pub(super) fn coming(body: Incoming) -> Self {
        let now = Instant::now();
        let timer = Box::pin(sleep_until(now + BODY_PATIENCE));
        let coming = Coming { body, moved: now, patience: Patience::new(), timer, is_cut: false };
        RequestBody::Coming(Arc::new(Mutex::new(coming)))
    }

    /// When a part of it was last on its way, if it is not at hand.
    pub(super) fn moved(&self) -> Option<Instant> {
        match self {
            RequestBody::Whole(_) | RequestBody::Pieces(_) => None,
            RequestBody::Coming(coming) => Some(lock(coming).moved),
        }
    }

    /// Whether the client broke it off, or took too long.
    pub(super) fn is_cut(&self) -> bool {
        match self {
            RequestBody::Whole(_) | RequestBody::Pieces(_) => false,
            RequestBody::Coming(coming) => lock(coming).is_cut,
        }
    }

    /// How many bytes are to be sent.
    pub(super) fn len(&self) -> u64 {
        match self {
            RequestBody::Whole(bytes) => bytes.len() as u64,
            RequestBody::Pieces(pieces) => pieces.iter().map(|piece| piece.len() as u64).sum(),
            RequestBody::Coming(coming) => lock(coming).body.size_hint().exact().unwrap_or_default(),
        }
    }

    /// Whether there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What can be sent at once, in this order.
    pub(super) fn at_hand(&self) -> [&[u8]; 3] {
        match self {
            RequestBody::Whole(bytes) => [bytes, b"", b""],
            RequestBody::Pieces(pieces) => pieces.each_ref().map(|piece| piece.as_ref()),
            RequestBody::Coming(_) => [b""; 3],
        }
    }

    /// So many bytes of what is at hand were sent.
    pub(super) fn advance(&mut self, mut sent: usize) {
        let pieces = match self {
            RequestBody::Whole(bytes) => std::slice::from_mut(bytes),
            RequestBody::Pieces(pieces) => pieces.as_mut_slice(),
            RequestBody::Coming(_) => return,
        };
        for piece in pieces {
            let of_piece = sent.min(piece.len());
            piece.advance(of_piece);
            sent -= of_piece;
        }
    }

    /// The next piece of what comes. `None`: nothing comes any more.
    pub(super) fn poll_coming(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyCut>>> {
        match self {
            RequestBody::Whole(_) | RequestBody::Pieces(_) => Poll::Ready(None),
            RequestBody::Coming(coming) => lock(coming).poll_piece(cx),
        }
    }
}

fn lock(coming: &Mutex<Coming>) -> MutexGuard<'_, Coming> {
    coming.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Coming {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyCut>>> {
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers belong to the client's connection, and an empty piece is none.
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        self.moved = Instant::now();
                        self.patience.came(self.moved, data.len());
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(_))) => break,
                Poll::Pending => {
                    let until = self.patience.until(Instant::now());
                    self.timer.as_mut().reset(until);
                    ready!(self.timer.as_mut().poll(cx));
                    break;
                }
            }
        }
        self.is_cut = true;
        Poll::Ready(Some(Err(BodyCut)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_may_be_slow_and_may_not_stand_still() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut patience = Patience::new();
        assert_eq!(patience.until(at(0)), at(30));
        assert_eq!(patience.until(at(29)), at(30), "it is waited for still");
        // A kibibyte a second is enough for ever.
        for second in 1..200 {
            patience.came(at(second), 1024);
            assert_eq!(patience.until(at(second)), at(second + 30));
        }
        // Less is not, however it comes.
        let mut patience = Patience::new();
        let mut now = 0;
        while patience.until(at(now)) > at(now + 10) {
            now += 10;
            patience.came(at(now), 1);
        }
        assert_eq!(now, 30);
    }

    #[test]
    fn what_came_fast_is_no_credit_and_waiting_elsewhere_costs_nothing() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut patience = Patience::new();
        patience.until(at(0));
        patience.came(at(1), 64 << 20);
        assert_eq!(patience.until(at(1)), at(31));
        patience.came(at(11), 0);
        // The backend takes its time; nobody waits for the client.
        assert_eq!(patience.until(at(1000)), at(1020));
    }
}
