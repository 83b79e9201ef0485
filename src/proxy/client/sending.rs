//! [`Sending`]: a request on its way out, head and body in as few writes as they fit in.

use super::connection::{Connection, ExchangeError};
use crate::proxy::request_body::{BodyCut, RequestBody};
use bytes::{Buf, Bytes};
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

/// See the module's description.
pub(super) struct Sending {
    head: Bytes,
    body: RequestBody,
    /// Of a body that comes, what is not written yet.
    piece: Bytes,
    has_begun: bool,
    state: State,
}

enum State {
    Open,
    /// All of the body is written, or in `piece`.
    Ending,
    Over,
    /// The server takes no more. It may have said why before that.
    Refused(io::Error),
}

impl Sending {
    pub(super) fn new(head: Bytes, body: RequestBody) -> Self {
        Sending { head, body, piece: Bytes::new(), has_begun: false, state: State::Open }
    }

    /// Whether all of it is written.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Why there will be no response, if that is so because the request was not taken.
    pub(super) fn refused(self) -> Option<ExchangeError> {
        match self.state {
            State::Refused(_) if !self.has_begun => Some(ExchangeError::Closed { may_be_read: false }),
            State::Refused(error) => Some(ExchangeError::Io(error)),
            State::Open | State::Ending | State::Over => None,
        }
    }

    /// Writes what can be written; ready when nothing more will be.
    ///
    /// # Errors
    /// When the body that comes is cut.
    pub(super) fn poll(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BodyCut>> {
        loop {
            if matches!(self.state, State::Over | State::Refused(_)) {
                return Poll::Ready(Ok(()));
            }
            let is_waiting = self.poll_piece(cx)?.is_pending();
            match ready!(self.poll_write(connection, cx)) {
                Ok(true) => {}
                Ok(false) if is_waiting => return Poll::Pending,
                Ok(false) => self.state = State::Over,
                Err(error) => self.state = State::Refused(error),
            }
        }
    }

    /// Writes what is at hand. Ready with whether there was anything.
    fn poll_write(&mut self, connection: &mut Connection, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let [first, second, third] = self.body.at_hand();
        let pieces = [&self.head, self.piece.as_ref(), first, second, third].map(IoSlice::new);
        if pieces.iter().all(|piece| piece.is_empty()) {
            // TLS may hold something back.
            return connection.poll_flush(cx).map_ok(|()| false);
        }
        match ready!(connection.poll_write(cx, &pieces))? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => {
                self.advance(written);
                Poll::Ready(Ok(true))
            }
        }
    }

    /// Asks for the next piece of a body that comes: not before the head is written, since a request that nobody can have
    /// read is sent again, and what was taken from such a body is gone.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyCut>> {
        if matches!(self.state, State::Open) && self.head.is_empty() && self.piece.is_empty() {
            match ready!(self.body.poll_coming(cx)) {
                Some(piece) => self.piece = piece?,
                None => self.state = State::Ending,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, written: usize) {
        self.has_begun = true;
        let of_head = written.min(self.head.len());
        self.head.advance(of_head);
        let of_piece = (written - of_head).min(self.piece.len());
        self.piece.advance(of_piece);
        self.body.advance(written - of_head - of_piece);
    }
}
