//! [`PassedBody`]: a backend's body as the client's, byte for byte.
//!
//! Like `body.rs` it is pulled, with no task and no channel between the two sockets. It adds nothing, not even to an
//! answer that breaks off: the client sees a body that does not end as HTTP says.

use super::account::Account;
use super::app::App;
use super::client::{Came, ResponseBody};
use super::error::ProxyError;
use super::silence::{Enough, Silence};
use bytes::{Bytes, BytesMut};
use hyper::body::SizeHint;
use std::error::Error;
use std::fmt;
use std::io;
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
    /// What went wrong, told once what came before it is on its way.
    failed: Option<io::Error>,
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
            failed: None,
            had_turn: false,
            is_stream,
            heard: now,
            patience,
            silence: Silence::new(&app, now + patience),
            app,
            account,
        }
    }

    /// The next piece as the backend sent it. `None`: the end.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CutShort>>> {
        while let Some(upstream) = &mut self.upstream {
            let out = &mut self.out;
            let Poll::Ready(came) = upstream.poll_read(cx, &mut |bytes| out.extend_from_slice(bytes)) else {
                let enough = ready!(self.silence.poll(&self.app, cx, self.heard + self.patience));
                self.fail(&match enough {
                    Enough::Stopping => ProxyError::Stopping,
                    Enough::TimedOut => ProxyError::TimedOut(self.patience),
                });
                return self.end(Err(CutShort));
            };
            self.heard = Instant::now();
            if !matches!(came, Ok(Came::Some)) {
                self.upstream = None;
                self.failed = came.err();
            }
            if self.out.is_empty() {
                continue;
            }
            if self.is_stream {
                self.account.first_line();
            }
            // A body of known length is not asked again behind its end.
            if self.is_end() {
                self.account.end();
            }
            return Poll::Ready(Some(Ok(self.out.split().freeze())));
        }
        match self.failed.take() {
            None => self.end(Ok(())),
            // hyper forgets what it has not written when a body fails, so it is given a turn to write before that.
            Some(error) if !self.had_turn => {
                self.had_turn = true;
                self.failed = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(error) => {
                self.fail(&ProxyError::AnswerCut(error.to_string()));
                self.end(Err(CutShort))
            }
        }
    }

    pub(super) fn is_end(&self) -> bool {
        self.failed.is_none() && self.upstream.as_ref().is_none_or(ResponseBody::is_over)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.upstream.as_ref().map_or_else(|| SizeHint::with_exact(0), ResponseBody::size_hint)
    }

    fn end(&mut self, result: Result<(), CutShort>) -> Poll<Option<Result<Bytes, CutShort>>> {
        self.account.end();
        Poll::Ready(result.err().map(Err))
    }

    fn fail(&mut self, error: &ProxyError) {
        self.upstream = None;
        let message = self.app.told(error, self.account.client_key());
        self.account.fail(error.kind(), &message);
    }
}
