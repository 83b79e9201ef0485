//! [`Streaming`]: an answer on its way to the client as it comes, each piece one chunk (RFC 9112, section 7.1).
//!
//! Pulled like the body that it writes: nothing is asked of the backend before the client's socket took what there is, so
//! one that reads slowly stops the backend's sending. A client that hangs up, or only stops sending, is gone.

use super::client_io::ClientIo;
use super::passed::CutShort;
use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most that a client may send ahead while it reads; past it nothing is read until the answer is over.
const MAX_UNREAD_BYTES: usize = 32 << 10;
/// Read at once of what a client sends ahead, which none of the known ones does.
const READ_BYTES: usize = 512;

/// An answer that is made piece by piece.
pub(super) trait Streamed: Send {
    /// Waits for a piece. Ready with whether there is one: if not, the answer is whole.
    ///
    /// # Errors
    /// When the answer ends here and is not whole.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, CutShort>>;
    /// The piece that is there.
    fn piece(&self) -> &[u8];
    /// Whether nothing follows on it.
    fn is_last(&self) -> bool;
    /// It is written.
    fn sent(&mut self);
}

/// See the module's description.
pub(super) struct Streaming<'a> {
    io: &'a mut ClientIo,
    body: &'a mut dyn Streamed,
    /// What stands before the piece in its chunk: the size, and before the first one the head.
    before: Vec<u8>,
    behind: &'static [u8],
    has_piece: bool,
    /// How much of the chunk is written. `None`: there is none.
    written: Option<usize>,
    is_last: bool,
}

impl<'a> Streaming<'a> {
    /// Behind the head that the connection holds.
    pub(super) fn new(io: &'a mut ClientIo, body: &'a mut dyn Streamed) -> Self {
        let before = io.take_held();
        Streaming { io, body, before, behind: b"", has_piece: false, written: None, is_last: false }
    }

    /// Ready when all of the answer is written.
    ///
    /// # Errors
    /// When the client is gone, or the answer ends early: the connection then does as well.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let step = if self.written.is_some() { self.poll_write(cx)? } else { self.poll_chunk(cx)? };
            if step.is_pending() {
                return self.poll_gone(cx);
            }
            if self.is_last && self.written.is_none() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Waits for the piece of the next chunk; the last one has none.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.has_piece = match self.body.poll_piece(cx) {
            Poll::Ready(piece) => piece.map_err(io::Error::other)?,
            Poll::Pending if self.before.is_empty() => return Poll::Pending,
            // A head does not wait for long.
            Poll::Pending => {
                (self.has_piece, self.behind, self.written) = (false, b"", Some(0));
                return Poll::Ready(Ok(()));
            }
        };
        // Writing to a Vec cannot fail.
        let _written = write!(self.before, "{:x}\r\n", self.body.piece().len());
        // What is known to be the end goes out with the piece.
        self.is_last = !self.has_piece || self.body.is_last();
        self.behind = if self.has_piece && self.is_last { b"\r\n0\r\n\r\n" } else { b"\r\n" };
        self.written = Some(0);
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut skipped = self.written.unwrap_or_default();
        let parts = [self.before.as_slice(), self.body.piece(), self.behind].map(|part| {
            let of_part = skipped.min(part.len());
            skipped -= of_part;
            IoSlice::new(part.get(of_part..).unwrap_or_default())
        });
        let left: usize = parts.iter().map(|part| part.len()).sum();
        match ready!(Pin::new(self.io.stream()).poll_write_vectored(cx, &parts))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            some if some < left => self.written = Some(self.written.unwrap_or_default() + some),
            _all => {
                self.written = None;
                self.before.clear();
                if self.has_piece {
                    self.body.sent();
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Nothing can be done now but to look whether the client is still there.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.io.unread().len() < MAX_UNREAD_BYTES {
            let mut buffer = [0; READ_BYTES];
            let mut buffer = ReadBuf::new(&mut buffer);
            ready!(Pin::new(self.io.stream()).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.io.unread().extend_from_slice(buffer.filled());
        }
        Poll::Pending
    }
}
