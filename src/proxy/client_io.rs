//! [`ClientIo`]: a client's socket as hyper uses it, and the way to take it out of hyper's hands in the middle of an answer.
//!
//! hyper keeps a buffer of 8 KiB for each of reading and writing as long as it holds a connection, and handles every piece
//! of a body as if it were the only one. So it reads requests and writes heads, and when a stream begins it lets go
//! ([`Handover`]): what it writes from then on, the head, is held here, and goes out with the first line.

use super::reply::{Reply, ReplyBody};
use super::streaming::Streamed;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::net::TcpStream;

/// Where a stream waits until hyper has let go of the connection.
#[derive(Clone, Default)]
pub(super) struct Handover(Arc<Mutex<Option<Box<dyn Streamed>>>>);

impl Handover {
    /// Takes the body of a stream, which is one of no known length. hyper is left with its head.
    pub(super) fn take_over(&self, reply: Reply) -> Reply {
        let (head, body) = reply.into_parts();
        let stream: Box<dyn Streamed> = match body {
            ReplyBody::Translated(stream) => stream,
            ReplyBody::Passed(stream) if stream.size_hint().exact().is_none() => stream,
            other => return Reply::from_parts(head, other),
        };
        *self.stream() = Some(stream);
        Reply::from_parts(head, ReplyBody::TakenOver)
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.stream().is_some()
    }

    pub(super) fn take(&self) -> Option<Box<dyn Streamed>> {
        self.stream().take()
    }

    fn stream(&self) -> MutexGuard<'_, Option<Box<dyn Streamed>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module's description.
pub(super) struct ClientIo {
    stream: TokioIo<TcpStream>,
    /// What was read beyond the last request.
    unread: Vec<u8>,
    /// What hyper wrote since a stream waits.
    held: Vec<u8>,
    handover: Handover,
}

impl ClientIo {
    pub(super) fn new(stream: TcpStream, handover: Handover) -> Self {
        ClientIo { stream: TokioIo::new(stream), unread: Vec::new(), held: Vec::new(), handover }
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        self.stream.inner_mut()
    }

    /// What hyper wrote last, once.
    pub(super) fn take_held(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// Whether it is the head of the last answer on this connection. hyper knows many reasons, and says so in one way.
    pub(super) fn held_says_close(&self) -> bool {
        const CLOSE: &[u8] = b"\r\nconnection: close\r\n";
        self.held.windows(CLOSE.len()).any(|part| part == CLOSE)
    }

    /// Bytes that belong to the next request.
    pub(super) fn unread(&mut self) -> &mut Vec<u8> {
        &mut self.unread
    }

    fn holds(&mut self, pieces: &[IoSlice<'_>]) -> Option<usize> {
        self.handover.is_waiting().then(|| {
            let before = self.held.len();
            pieces.iter().for_each(|piece| self.held.extend_from_slice(piece));
            self.held.len() - before
        })
    }
}

impl Read for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let len = self.unread.len().min(buffer.remaining());
        buffer.put_slice(self.unread.get(..len).unwrap_or_default());
        self.unread.drain(..len);
        Poll::Ready(Ok(()))
    }
}

impl Write for ClientIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.holds(&[IoSlice::new(bytes)]) {
            Some(held) => Poll::Ready(Ok(held)),
            None => Pin::new(&mut self.stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.holds(pieces) {
            Some(held) => Poll::Ready(Ok(held)),
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
