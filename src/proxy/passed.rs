//! [`PassedBody`]: a backend's body as the client's, byte for byte.
//!
//! Like `body.rs` it is pulled, with no task and no channel between the two sockets. It adds nothing, not even to an
//! answer that breaks off: the client sees a body that does not end as HTTP says.

use super::account::Account;
use super::app::App;
use super::client::{Came, ResponseBody};
use super::error::ProxyError;
use super::silence::{Enough, Silence};
use super::spare;
use super::streaming::Streamed;
use bytes::{Bytes, BytesMut};
use hyper::body::SizeHint;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// The answer ends here, though it is not whole; the log has the reason.
#[derive(Clone, Copy, Debug)]
pub(super) struct CutShort;

impl fmt::Display for CutShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer is cut short")
    }
}

impl Error for CutShort {}

/// See the module's description.
pub(super) struct PassedBody {
    /// `None` once it ended or is not wanted any more.
    upstream: Option<ResponseBody>,
    out: BytesMut,
    /// It breaks off behind the piece that is there.
    cut: Option<CutShort>,
    had_turn: bool,
    /// Whether its first piece is the first line of a stream, for the counts and the log.
    is_stream: bool,
    /// When the backend last sent something.
    heard: Instant,
    /// How long it may be silent.
    patience: Duration,
    silence: Silence,
    app: Arc<App>,
    account: Account,
}

impl PassedBody {
    pub(super) fn new(upstream: ResponseBody, is_stream: bool, app: Arc<App>, account: Account) -> Self {
        let now = Instant::now();
        let patience = app.upstream.timeout();
        PassedBody {
            upstream: Some(upstream),
            out: BytesMut::new(),
            cut: None,
            had_turn: false,
            is_stream,
            heard: now,
            patience,
            silence: Silence::new(&app, now + patience),
            app,
            account,
        }
    }

    /// The next piece as the backend sent it, for hyper. `None`: the end.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CutShort>>> {
        match self.poll_piece(cx) {
            Poll::Ready(Ok(true)) => {
                let piece = Bytes::copy_from_slice(&self.out);
                self.sent();
                Poll::Ready(Some(Ok(piece)))
            }
            Poll::Ready(Ok(false)) => Poll::Ready(None),
            // hyper forgets what it has not written when a body fails, so it is given a turn to write before that.
            Poll::Ready(Err(cut)) if !std::mem::replace(&mut self.had_turn, true) => {
                self.cut = Some(cut);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(Err(cut)) => Poll::Ready(Some(Err(cut))),
            Poll::Pending => Poll::Pending,
        }
    }

    pub(super) fn is_end(&self) -> bool {
        self.out.is_empty() && self.is_last()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.upstream.as_ref().map_or_else(|| SizeHint::with_exact(0), ResponseBody::size_hint)
    }

    fn fail(&mut self, error: &ProxyError) {
        self.upstream = None;
        let message = self.app.told(error, self.account.client_key());
        self.account.fail(error.kind(), &message);
        self.cut = Some(CutShort);
    }
}

impl Streamed for PassedBody {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, CutShort>> {
        while let (true, Some(upstream)) = (self.out.is_empty(), &mut self.upstream) {
            if self.out.capacity() == 0 {
                self.out = spare::take();
            }
            let out = &mut self.out;
            let Poll::Ready(came) = upstream.poll_read(cx, &mut |bytes| out.extend_from_slice(bytes)) else {
                spare::give(std::mem::take(&mut self.out));
                let enough = ready!(self.silence.poll(&self.app, cx, self.heard + self.patience));
                self.fail(&match enough {
                    Enough::Stopping => ProxyError::Stopping,
                    Enough::TimedOut => ProxyError::TimedOut(self.patience),
                });
                break;
            };
            self.heard = Instant::now();
            match came {
                Ok(Came::Some) => {}
                Ok(Came::All) => self.upstream = None,
                Err(error) => self.fail(&ProxyError::AnswerCut(error.to_string())),
            }
        }
        if !self.out.is_empty() {
            if self.is_stream {
                self.account.first_line();
            }
            return Poll::Ready(Ok(true));
        }
        self.account.end();
        Poll::Ready(self.cut.take().map_or(Ok(false), Err))
    }

    fn piece(&self) -> &[u8] {
        &self.out
    }

    fn is_last(&self) -> bool {
        self.cut.is_none() && self.upstream.as_ref().is_none_or(ResponseBody::is_over)
    }

    fn sent(&mut self) {
        spare::give(std::mem::take(&mut self.out));
        // A body of known length is not asked for again behind its end.
        if self.is_last() {
            self.account.end();
        }
    }
}
