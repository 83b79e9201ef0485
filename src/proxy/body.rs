//! [`TranslatedBody`]: a backend's body pulled through the translator, as the body of the client's answer.
//!
//! No task and no channel stand between the two sockets: the client's connection polls this body, which polls the
//! backend's. A client that hangs up drops it, and with it the backend's connection; one that reads slowly stops the
//! backend's sending by TCP's own flow control.

use super::account::Account;
use super::app::App;
use super::client::{Came, ResponseBody};
use super::echo::Scope;
use super::error::ProxyError;
use super::passed::CutShort;
use super::silence::{Enough, Silence};
use super::spare;
use super::streaming::Streamed;
use crate::ollama;
use crate::translate::{Answering, Fault, StreamTranslator};
use bytes::{Bytes, BytesMut};
use hyper::StatusCode;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// How long the usage is waited for once the finish reason is known: some backends then neither send it nor end.
const FINISH_GRACE: Duration = Duration::from_secs(2);
/// How long the backend's body may take to end once the last line is out, so that its connection can be used again.
const DRAIN_GRACE: Duration = Duration::from_millis(100);

/// See the module's description.
pub(super) struct TranslatedBody {
    /// `None` once it ended or is not wanted any more.
    upstream: Option<ResponseBody>,
    translator: StreamTranslator,
    /// Under what the backend's keepsakes are kept.
    scope: Scope,
    /// Lines that are not written yet, in the thread's spare buffer.
    out: BytesMut,
    /// What went wrong behind the lines in `out`: they go out first.
    failed: Option<ProxyError>,
    /// When the backend last sent something.
    heard: Instant,
    /// How far the answer is, and since when.
    phase: (Answering, Instant),
    /// How long it may be silent.
    patience: Duration,
    silence: Silence,
    app: Arc<App>,
    account: Account,
}

impl TranslatedBody {
    pub(super) fn new(
        upstream: ResponseBody,
        translator: StreamTranslator,
        scope: Scope,
        app: Arc<App>,
        account: Account,
    ) -> Self {
        let now = Instant::now();
        let patience = app.upstream.timeout();
        TranslatedBody {
            upstream: Some(upstream),
            translator,
            scope,
            out: BytesMut::new(),
            failed: None,
            heard: now,
            phase: (Answering::Open, now),
            patience,
            silence: Silence::new(&app, now + patience),
            app,
            account,
        }
    }

    /// Waits for the first line: what fails before it can still be a status.
    pub(super) async fn first_line(&mut self) -> Result<(), ProxyError> {
        poll_fn(|cx| self.poll_lines(cx)).await
    }

    /// Waits for the end and gives the one object.
    pub(super) async fn whole(mut self: Box<Self>) -> Result<(Bytes, Account), (ProxyError, Account)> {
        while self.translator.answering() != Answering::Done {
            if let Err(error) = poll_fn(|cx| self.poll_lines(cx)).await {
                return Err((error, self.account));
            }
        }
        self.account.set_usage(self.translator.usage());
        let object = Bytes::copy_from_slice(&self.out);
        spare::give(self.out);
        Ok((object, self.account))
    }

    /// The head is on its way.
    pub(super) fn answered_with(&mut self, status: StatusCode) {
        self.account.set_status(status.as_u16());
    }

    /// For an answer that failed before its first line.
    pub(super) fn into_account(self) -> Account {
        self.account
    }

    /// The lines of the next piece of the backend's body, for hyper. `None`: the end.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if !matches!(ready!(self.poll_piece(cx)), Ok(true)) {
            return Poll::Ready(None);
        }
        let lines = Bytes::copy_from_slice(&self.out);
        self.sent();
        Poll::Ready(Some(lines))
    }

    pub(super) fn is_end(&self) -> bool {
        self.out.is_empty() && self.is_last()
    }

    /// Ready when `out` holds lines or the backend's body is over. An error comes only when no lines wait before it.
    fn poll_lines(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        if self.out.capacity() == 0 {
            self.out = spare::take();
        }
        while let (true, Some(upstream)) = (self.out.is_empty(), &mut self.upstream) {
            let (translator, out, began) = (&mut self.translator, &mut self.out, self.account.began());
            let (mut heard, mut pushed) = (None, Ok(()));
            let mut push = |bytes: &[u8]| {
                if pushed.is_ok() {
                    let heard = *heard.get_or_insert_with(Instant::now);
                    pushed = translator.push(bytes, heard - began, out).map(|_| ());
                }
            };
            // A body that breaks off is one that ended: whether too early is the translator's word.
            let is_over = match upstream.poll_read(cx, &mut push) {
                Poll::Ready(Ok(came)) => came == Came::All,
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "the backend's body broke off");
                    true
                }
                Poll::Pending => {
                    let enough = self.poll_silence(cx);
                    if enough.is_pending() {
                        spare::give(std::mem::take(&mut self.out));
                    }
                    return enough;
                }
            };
            self.heard = heard.unwrap_or_else(Instant::now);
            self.enter(self.translator.answering());
            self.settle(pushed)?;
            // Keep-alives are no reason to wait longer than for silence.
            let is_enough = self.phase.0 != Answering::Open && self.heard >= self.deadline();
            if self.upstream.is_some() && (is_over || is_enough) {
                self.finish()?;
                self.upstream = None;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn enter(&mut self, answering: Answering) {
        if self.phase.0 != answering {
            self.phase = (answering, self.heard);
        }
    }

    /// Until when the backend may be silent: while the answer is open, since it was last heard; behind that, since the
    /// answer came so far.
    fn deadline(&self) -> Instant {
        let (answering, since) = self.phase;
        match answering {
            Answering::Open => self.heard + self.patience,
            Answering::Finishing => since + self.patience.min(FINISH_GRACE),
            Answering::Done => since + DRAIN_GRACE,
        }
    }

    fn finish(&mut self) -> Result<(), ProxyError> {
        if self.translator.answering() == Answering::Done {
            return Ok(());
        }
        let finished = self.translator.finish(self.account.began().elapsed(), &mut self.out);
        self.settle(finished)
    }

    fn settle(&mut self, result: Result<(), Fault>) -> Result<(), ProxyError> {
        let keepsakes = self.translator.take_keepsakes();
        if !keepsakes.is_empty() {
            self.app.echo.keep(self.scope, keepsakes);
        }
        match result {
            Ok(()) => Ok(()),
            Err(fault) => {
                // A server that breaks off an answer often closes without saying so: nobody else is to meet that.
                if let Some(mut upstream) = self.upstream.take() {
                    upstream.spoil();
                }
                if self.out.is_empty() {
                    return Err(fault.into());
                }
                self.failed = Some(fault.into());
                Ok(())
            }
        }
    }

    /// The backend has nothing for now. How long it may be so depends on what is still expected.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        let deadline = self.deadline();
        let enough = ready!(self.silence.poll(&self.app, cx, deadline));
        self.upstream = None;
        Poll::Ready(match (self.translator.answering(), enough) {
            (Answering::Done, Enough::Stopping) => Ok(()),
            (_, Enough::Stopping) => Err(ProxyError::Stopping),
            (Answering::Open, Enough::TimedOut) => Err(ProxyError::TimedOut(self.patience)),
            (Answering::Finishing | Answering::Done, Enough::TimedOut) => self.finish(),
        })
    }

    /// The 200 is out: a failure is one last line.
    fn fail(&mut self, error: &ProxyError) {
        self.upstream = None;
        let message = self.app.told(error, self.account.client_key());
        ollama::write_error(&message, &mut self.out);
        self.out.extend_from_slice(b"\n");
        self.account.fail(error.kind(), &message);
    }
}

impl Streamed for TranslatedBody {
    /// A failure is a line too.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, CutShort>> {
        if self.out.is_empty()
            && let Err(error) = ready!(self.poll_lines(cx))
        {
            self.fail(&error);
        }
        self.account.set_usage(self.translator.usage());
        if self.out.is_empty() {
            self.account.end();
            return Poll::Ready(Ok(false));
        }
        self.account.first_line();
        Poll::Ready(Ok(true))
    }

    fn piece(&self) -> &[u8] {
        &self.out
    }

    fn is_last(&self) -> bool {
        self.failed.is_none() && self.upstream.is_none()
    }

    fn sent(&mut self) {
        spare::give(std::mem::take(&mut self.out));
        // The client has all that it waits for; who writes this may not ask again behind the end.
        if self.is_end() || self.translator.answering() == Answering::Done {
            self.account.end();
        }
    }
}
