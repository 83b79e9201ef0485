//! `/api/embed` and `/api/embeddings`: parse, name of the model, send, the backend's whole answer, the reply.
//!
//! The reply begins when the backend's answer is whole and in order: every failure is still a status. The vectors are
//! held once, as the backend wrote them, and become the client's while it reads ([`EmbeddedBody`]).

use super::account::Account;
use super::app::App;
use super::client::{Came, Response, ResponseBody};
use super::error::ProxyError;
use super::handler::{ended, read_body, refuse, written};
use super::large;
use super::reply::{self, Reply};
use super::text::ask;
use crate::ollama::{self, EmbedEndpoint, EmbedRequest, Route, Texts};
use crate::translate::{EMBEDDINGS, EmbedReply, EmbedTranslator, PIECE_BYTES, write_embed};
use bytes::{Bytes, BytesMut};
use hyper::Request;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long the backend's body may take to end once the answer is whole, so that its connection can be used again.
const DRAIN_GRACE: Duration = Duration::from_millis(100);

/// Answers a request for vectors.
pub(super) async fn answer(
    app: Arc<App>,
    request: Request<Incoming>,
    route: Route,
    mut account: Account,
) -> Reply {
    let key = request.headers().get(AUTHORIZATION).cloned();
    let body = match read_body(request, app.max_body_bytes).await {
        Ok(body) => body,
        Err(error) => return refuse(&app, &error, account, false),
    };
    let endpoint = if route == Route::Embed { EmbedEndpoint::Embed } else { EmbedEndpoint::Embeddings };
    let request = match EmbedRequest::parse(endpoint, &body) {
        Ok(request) => request,
        Err(error) => return refuse(&app, &error.into(), account, false),
    };
    account.set_model(&request.model);
    if request.texts == Texts::None {
        account.load(request.keep_alive);
        return ended(written(|out| ollama::write_no_embedding(endpoint, &request.model, out)), account);
    }
    let write = |model: &str, dialect| {
        let mut out = large::with_room(body.len() + 512);
        write_embed(&request, model, dialect, &mut out);
        Ok(out.freeze())
    };
    let asked = ask(&app, &request.model, EMBEDDINGS, key.as_ref(), write).await;
    let embedded = match asked {
        Ok(asked) => {
            account.hold_model(request.keep_alive);
            collect(&app, &request, asked.answer, asked.sent_at, &account)
                .await
                .map_err(|error| error.into_refusal(&request.model, asked.with_client_key))
        }
        Err(error) => Err(error),
    };
    match embedded {
        Ok(reply) => EmbeddedBody::reply(reply, account),
        Err(error) => refuse(&app, &error.of_embedding(endpoint), account, false),
    }
}

/// Reads the backend's answer to its end, into nothing but its vectors.
async fn collect(
    app: &App,
    request: &EmbedRequest<'_>,
    answer: Response,
    sent_at: Instant,
    account: &Account,
) -> Result<EmbedReply, ProxyError> {
    let mut body = answer.body;
    let mut translator = EmbedTranslator::new(request);
    let read = read_all(&mut body, &mut translator, app.upstream.timeout()).await;
    let began = account.began();
    let finished = read.and_then(|()| Ok(translator.finish(began.elapsed(), sent_at - began)?));
    if finished.is_err() {
        body.spoil();
    }
    finished
}

/// A body that breaks off is one that ended: whether too early is the translator's word.
async fn read_all(
    body: &mut ResponseBody,
    translator: &mut EmbedTranslator,
    silence: Duration,
) -> Result<(), ProxyError> {
    loop {
        let patience = if translator.is_complete() { silence.min(DRAIN_GRACE) } else { silence };
        let mut pushed = Ok(());
        let mut push = |bytes: &[u8]| {
            if pushed.is_ok() {
                pushed = translator.push(bytes);
            }
        };
        let came = timeout(patience, poll_fn(|cx| body.poll_read(cx, &mut push))).await;
        pushed?;
        match came {
            Ok(Ok(Came::Some)) => {}
            Ok(Ok(Came::All)) => return Ok(()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the backend's body broke off");
                return Ok(());
            }
            Err(_) if translator.is_complete() => return Ok(()),
            Err(_) => return Err(ProxyError::TimedOut(silence)),
        }
    }
}

/// See the module's description: the vectors that are not written yet, as the body of the client's answer.
pub(super) struct EmbeddedBody {
    reply: EmbedReply,
    out: BytesMut,
    /// A vector that goes out as it is, behind what is in `out`.
    whole: Option<Bytes>,
    account: Account,
}

impl EmbeddedBody {
    /// One body with its length, when it is small, else vector by vector.
    fn reply(reply: EmbedReply, mut account: Account) -> Reply {
        account.set_status(StatusCode::OK.as_u16());
        account.set_usage(reply.usage());
        let mut body = EmbeddedBody { reply, out: BytesMut::new(), whole: None, account };
        body.fill();
        if body.reply.is_over() {
            return ended(reply::json(body.out), body.account);
        }
        reply::embedded(body)
    }

    fn fill(&mut self) {
        while self.whole.is_none() && self.out.len() < PIECE_BYTES && !self.reply.is_over() {
            self.whole = self.reply.write_next(&mut self.out);
        }
    }

    /// The next piece. `None`: the end.
    pub(super) fn next_frame(&mut self) -> Option<Bytes> {
        self.fill();
        let piece = if self.out.is_empty() { self.whole.take() } else { Some(self.out.split().freeze()) };
        // hyper does not ask again behind the end.
        if self.is_end() {
            self.account.end();
        }
        piece
    }

    pub(super) fn is_end(&self) -> bool {
        self.out.is_empty() && self.whole.is_none() && self.reply.is_over()
    }
}
