//! [`ResponseBody`]: a response's body, pulled. It lends what came and keeps nothing.
//!
//! Dropped behind its end it gives its connection back; dropped before, it closes it, and the server sees that at once.

use super::connection::Connection;
use super::head::Framing;
use super::pool::Pool;
use super::sending::Sending;
use bytes::Bytes;
use hyper::body::SizeHint;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// See the module's description.
pub(crate) struct ResponseBody {
    /// `None` once it is of no use any more.
    connection: Option<Connection>,
    framing: Framing,
    is_over: bool,
    /// Whether the connection can be used again.
    persists: bool,
    /// The rest of the request, where the server answered before it had all.
    sending: Option<Box<Sending>>,
    pool: Arc<Pool>,
}

/// What may follow on what was lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// More.
    Some,
    /// Nothing: the body is whole.
    All,
}

/// Why a body was not read to its end.
#[derive(Debug)]
pub(crate) enum Unread {
    /// It is longer than it may be.
    TooLong,
    /// It broke off.
    Broken(io::Error),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unread::TooLong => f.write_str("it is too long"),
            Unread::Broken(error) => error.fmt(f),
        }
    }
}

impl ResponseBody {
    pub(super) fn new(
        connection: Connection,
        framing: Framing,
        persists: bool,
        sending: Sending,
        pool: Arc<Pool>,
    ) -> Self {
        let is_over = matches!(framing, Framing::Length(0));
        let sending = Some(sending).filter(|sending| !sending.is_over()).map(Box::new);
        ResponseBody { connection: Some(connection), framing, is_over, persists, sending, pool }
    }

    /// Reads once and lends what came, in as many pieces as the body's framing makes of it.
    ///
    /// # Errors
    /// When the body breaks off. Pieces may have been lent before it did.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        lend: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<Came>> {
        let ResponseBody { connection: Some(connection), framing, is_over, persists, sending, .. } = self
        else {
            return Poll::Ready(Ok(Came::All));
        };
        if *is_over {
            return Poll::Ready(Ok(Came::All));
        }
        // What becomes of the request is the server's affair now: it is answering.
        if let Some(unsent) = sending
            && unsent.poll(connection, cx).is_ready()
        {
            *persists &= unsent.is_over();
            *sending = None;
        }
        let rest = connection.take_rest();
        let came = if rest.is_empty() {
            ready!(connection.poll_read(cx, |bytes| framing.take(bytes, lend)))
        } else {
            Ok(framing.take(&rest, lend))
        };
        let result = came.and_then(|taken| taken).map(|taken| {
            *is_over = taken.is_over;
            *persists &= !taken.has_more;
            if taken.is_over { Came::All } else { Came::Some }
        });
        if result.is_err() {
            self.connection = None;
        }
        Poll::Ready(result)
    }

    /// Whether nothing follows.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over || self.connection.is_none()
    }

    /// How much follows, if that is known.
    pub(crate) fn size_hint(&self) -> SizeHint {
        match &self.framing {
            Framing::Length(left) => SizeHint::with_exact(*left),
            Framing::Chunked(_) | Framing::Close => SizeHint::default(),
        }
    }

    /// Its connection is not used again, whatever the body says: a server that breaks off an answer often closes without
    /// saying so.
    pub(crate) fn spoil(&mut self) {
        self.connection = None;
    }

    /// Reads what is left of it.
    ///
    /// # Errors
    /// See [`Unread`].
    pub(crate) async fn read_to_end(mut self, max_bytes: usize) -> Result<Bytes, Unread> {
        let mut body = Vec::new();
        loop {
            let mut is_too_long = false;
            let mut keep = |bytes: &[u8]| {
                is_too_long |= bytes.len() > max_bytes - body.len();
                if !is_too_long {
                    body.extend_from_slice(bytes);
                }
            };
            let came = poll_fn(|cx| self.poll_read(cx, &mut keep)).await;
            if is_too_long {
                return Err(Unread::TooLong);
            }
            match came {
                Ok(Came::Some) => {}
                Ok(Came::All) => return Ok(body.into()),
                Err(error) => return Err(Unread::Broken(error)),
            }
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let can_be_used_again = self.is_over && self.persists && self.sending.is_none();
        if let Some(connection) = self.connection.take().filter(|_| can_be_used_again) {
            self.pool.put(connection);
        }
    }
}

/// What the framing made of what came.
struct Taken {
    is_over: bool,
    /// Behind the body came more, which nobody asked for.
    has_more: bool,
}

impl Framing {
    /// Lends what belongs to the body. No bytes are the connection's end.
    fn take(&mut self, bytes: &[u8], lend: &mut dyn FnMut(&[u8])) -> io::Result<Taken> {
        if bytes.is_empty() {
            return match self {
                Framing::Close => Ok(Taken { is_over: true, has_more: false }),
                Framing::Length(_) | Framing::Chunked(_) => Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the connection was closed before its end",
                )),
            };
        }
        match self {
            Framing::Close => {
                lend(bytes);
                Ok(Taken { is_over: false, has_more: false })
            }
            Framing::Length(left) => {
                let len = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                let (of_body, behind) = bytes.split_at(len);
                lend(of_body);
                *left -= len as u64;
                Ok(Taken { is_over: *left == 0, has_more: !behind.is_empty() })
            }
            Framing::Chunked(decoder) => {
                let mut left = bytes;
                while let Some(data) = decoder.next(&mut left).map_err(io::Error::other)? {
                    lend(data);
                }
                Ok(Taken { is_over: decoder.is_end(), has_more: !left.is_empty() })
            }
        }
    }
}
