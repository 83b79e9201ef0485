//! [`RequestBody`]: what the backend is sent: pieces that are at hand, or a client's body as it comes.
//!
//! It always has a length, since some backends cannot read chunks: a client's body of unknown length is gathered first.
//! It can be cloned, so that a connection that fails can be tried again; a body that comes is one for all its clones, and
//! nothing of it is read before there is a connection.

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a request's body may take, and how much longer for what has come of it.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
const SLOWEST_BODY_BYTES_PER_SECOND: u64 = 1024;

/// Until when a body may come that began then, and of which so many bytes are here.
pub(super) fn body_deadline(began: Instant, received: u64) -> Instant {
    began + BODY_PATIENCE + Duration::from_secs(received / SLOWEST_BODY_BYTES_PER_SECOND)
}

/// See the module's description.
#[derive(Clone)]
pub(super) enum RequestBody {
    /// In this order; an empty piece counts for nothing.
    Pieces([Bytes; 3]),
    /// Of a length that the client named.
    Coming(Arc<Mutex<Coming>>),
}

/// The client's body on its way.
pub(super) struct Coming {
    body: Incoming,
    began: Instant,
    moved: Instant,
    received: u64,
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
        RequestBody::Pieces([bytes, Bytes::new(), Bytes::new()])
    }

    /// A client's body, whose length must be known.
    pub(super) fn coming(body: Incoming) -> Self {
        let began = Instant::now();
        let timer = Box::pin(sleep_until(body_deadline(began, 0)));
        let coming = Coming { body, began, moved: began, received: 0, timer, is_cut: false };
        RequestBody::Coming(Arc::new(Mutex::new(coming)))
    }

    /// When a part of it was last on its way, if it is not at hand.
    pub(super) fn moved(&self) -> Option<Instant> {
        match self {
            RequestBody::Pieces(_) => None,
            RequestBody::Coming(coming) => Some(lock(coming).moved),
        }
    }

    /// Whether the client broke it off, or took too long.
    pub(super) fn is_cut(&self) -> bool {
        match self {
            RequestBody::Pieces(_) => false,
            RequestBody::Coming(coming) => lock(coming).is_cut,
        }
    }
}

fn lock(coming: &Mutex<Coming>) -> MutexGuard<'_, Coming> {
    coming.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Coming {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyCut>>> {
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_ref() {
                        self.received += data.len() as u64;
                        self.moved = Instant::now();
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(_))) => break,
                Poll::Pending => {
                    self.timer.as_mut().reset(body_deadline(self.began, self.received));
                    ready!(self.timer.as_mut().poll(cx));
                    break;
                }
            }
        }
        self.is_cut = true;
        Poll::Ready(Some(Err(BodyCut)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyCut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyCut>>> {
        match self.get_mut() {
            RequestBody::Pieces(pieces) => {
                let next = pieces.iter_mut().find(|piece| !piece.is_empty()).map(std::mem::take);
                Poll::Ready(next.map(|piece| Ok(Frame::data(piece))))
            }
            RequestBody::Coming(coming) => lock(coming).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Pieces(pieces) => pieces.iter().all(Bytes::is_empty),
            RequestBody::Coming(coming) => lock(coming).body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Pieces(pieces) => {
                SizeHint::with_exact(pieces.iter().map(|piece| piece.len() as u64).sum())
            }
            RequestBody::Coming(coming) => lock(coming).body.size_hint(),
        }
    }
}
