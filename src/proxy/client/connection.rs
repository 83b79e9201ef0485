//! [`Connection`]: one connection to the server, with one request and one response on it at a time.
//!
//! It has no task and no read buffer of its own: what is read lands in the thread's [`scratch`] and is taken from there at
//! once. What a connection keeps is only a head that is not whole, and what arrived together with one.

use super::head::ResponseHead;
use super::sending::Sending;
use crate::proxy::request_body::BodyCut;
use hyper::{Method, StatusCode};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Most that is read at once: a stream at full rate then takes one system call for a hundred events.
const SCRATCH_BYTES: usize = 32 << 10;
/// Longest head of a response.
const MAX_HEAD_BYTES: usize = 32 << 10;

thread_local! {
    /// Where every connection of the thread reads to. Only the pages that were ever written to are there.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends the thread's buffer. It is taken out meanwhile: who asked again inside would get another one.
fn scratch<T>(lend: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut buffer = SCRATCH.take();
    if buffer.is_empty() {
        buffer = vec![0; SCRATCH_BYTES];
    }
    let result = lend(&mut buffer);
    SCRATCH.set(buffer);
    result
}

/// Why there is no response.
#[derive(Debug)]
pub(super) enum ExchangeError {
    /// The connection ended before a byte of the response; whether a part of the request may have been read before that.
    Closed {
        may_be_read: bool,
    },
    Io(io::Error),
    /// What came is no response.
    Malformed(&'static str),
    /// The body of the request is not whole.
    BodyCut(BodyCut),
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExchangeError::Closed { .. } => f.write_str("it closed the connection without an answer"),
            ExchangeError::Io(error) => error.fmt(f),
            ExchangeError::Malformed(what) => f.write_str(what),
            ExchangeError::BodyCut(cut) => cut.fmt(f),
        }
    }
}

/// See the module's description.
pub(super) struct Connection {
    stream: Stream,
    rest: Vec<u8>,
}

enum Stream {
    Plain(TcpStream),
    /// In a box: the state of a TLS session is large, and most backends stand on the same machine.
    Tls(Box<TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>>),
}

impl Stream {
    /// Reads once, and lends what came: of nothing at the end.
    fn poll_read<T>(&mut self, cx: &mut Context<'_>, lend: impl FnOnce(&[u8]) -> T) -> Poll<io::Result<T>> {
        scratch(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(match self {
                Stream::Plain(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
                Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, &mut buffer),
            })?;
            Poll::Ready(Ok(lend(buffer.filled())))
        })
    }
}

impl Connection {
    pub(super) fn new(stream: MaybeHttpsStream<TokioIo<TcpStream>>) -> Self {
        let stream = match stream {
            MaybeHttpsStream::Http(stream) => Stream::Plain(stream.into_inner()),
            tls @ MaybeHttpsStream::Https(_) => Stream::Tls(Box::new(TokioIo::new(tls))),
        };
        Connection { stream, rest: Vec::new() }
    }

    /// Whether nothing came, not even the end: so a connection looks on which a request can be sent.
    pub(super) fn is_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        self.rest.is_empty() && self.poll_read(cx, |_| ()).is_pending()
    }

    /// What came behind the head, once.
    pub(super) fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.rest)
    }

    /// Reads once, and lends what came: of nothing at the end.
    pub(super) fn poll_read<T>(
        &mut self,
        cx: &mut Context<'_>,
        lend: impl FnOnce(&[u8]) -> T,
    ) -> Poll<io::Result<T>> {
        self.stream.poll_read(cx, lend)
    }

    /// Sends what is left to send, and waits for the head of the response, past informational ones. A server may answer
    /// before it has read all of the request.
    pub(super) fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        sending: &mut Sending,
        method: &Method,
    ) -> Poll<Result<ResponseHead, ExchangeError>> {
        if let Poll::Ready(Err(cut)) = sending.poll(self, cx) {
            return Poll::Ready(Err(ExchangeError::BodyCut(cut)));
        }
        loop {
            let Connection { stream, rest } = self;
            let taken = ready!(stream.poll_read(cx, |came| take_head(rest, came, method)));
            if let Some(head) = taken.map_err(ExchangeError::Io)?? {
                return Poll::Ready(Ok(head));
            }
        }
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, pieces),
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(_) => Poll::Ready(Ok(())),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }
}

/// Takes what came; gives the head when it is whole. `rest` is what came before, then what is left.
fn take_head(
    rest: &mut Vec<u8>,
    came: &[u8],
    method: &Method,
) -> Result<Option<ResponseHead>, ExchangeError> {
    if came.is_empty() {
        return Err(if rest.is_empty() {
            ExchangeError::Closed { may_be_read: true }
        } else {
            ExchangeError::Malformed("it closed the connection within the head of an answer")
        });
    }
    let joined;
    // Nearly always all of it comes at once, and nothing has to be put together.
    let mut unread = if rest.is_empty() {
        came
    } else {
        let searched = rest.len().saturating_sub(3);
        rest.extend_from_slice(came);
        // Only its end is looked for with every read: one that drips is not read again with every byte.
        if rest.len() <= MAX_HEAD_BYTES && !has_blank_line(rest.get(searched..).unwrap_or_default()) {
            return Ok(None);
        }
        joined = std::mem::take(rest);
        &joined
    };
    let head = loop {
        let read = ResponseHead::read(unread, method).map_err(ExchangeError::Malformed)?;
        let Some((head, len)) = read else { break None };
        unread = unread.get(len..).unwrap_or_default();
        if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
            break Some(head);
        }
    };
    if head.is_none() && unread.len() > MAX_HEAD_BYTES {
        return Err(ExchangeError::Malformed("the head of its answer is longer than 32 KiB"));
    }
    *rest = unread.to_vec();
    Ok(head)
}

/// With or without CR: whoever parses it accepts both.
fn has_blank_line(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|end| end == b"\n\n") || bytes.windows(3).any(|end| end == b"\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The statuses' heads are whole after which piece, and what is left.
    fn taken(pieces: &[&[u8]]) -> Result<(Option<u16>, Vec<u8>), String> {
        let mut rest = Vec::new();
        for piece in pieces {
            if let Some(head) =
                take_head(&mut rest, piece, &Method::GET).map_err(|error| error.to_string())?
            {
                return Ok((Some(head.status.as_u16()), rest));
            }
        }
        Ok((None, rest))
    }

    #[test]
    fn a_head_may_be_cut_anywhere() {
        let whole = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\nLink: x\n\nHTTP/1.1 200 OK\r\nX: y\r\n\r\nbody";
        for first in 1..whole.len() - 4 {
            let (a, b) = whole.split_at(first);
            assert_eq!(taken(&[a, b]).unwrap(), (Some(200), b"body".to_vec()), "{first}");
        }
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(taken(&bytes).unwrap(), (Some(200), Vec::new()));
        assert_eq!(taken(&[b"HTTP/1.1 101 Switching\r\n\r\nx"]).unwrap(), (Some(101), b"x".to_vec()));
        assert_eq!(taken(&[b"HTTP/1.1 200 OK\r\nX: "]).unwrap(), (None, b"HTTP/1.1 200 OK\r\nX: ".to_vec()));
    }

    #[test]
    fn what_is_no_head_is_said() {
        assert!(taken(&[b""]).unwrap_err().contains("without an answer"));
        assert!(taken(&[b"HTTP/1.1 2", b""]).unwrap_err().contains("within the head"));
        assert!(taken(&[b"220 smtp.example ESMTP\r\n"]).unwrap_err().contains("HTTP"));
        let line = [b'x'; 1000];
        let endless: Vec<&[u8]> =
            std::iter::once(b"HTTP/1.1 200 ".as_slice()).chain([line.as_slice(); 40]).collect();
        assert!(taken(&endless).unwrap_err().contains("longer than 32 KiB"));
    }
}
