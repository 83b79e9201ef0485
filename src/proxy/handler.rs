//! One request, from its head to its answer, in one visible line:
//! guard, route, body, parse, name of the model, translate, send, first line, answer.

use super::account::Account;
use super::app::App;
use super::body::TranslatedBody;
use super::catalog;
use super::error::ProxyError;
use super::guard::{CorsHeaders, Verdict};
use super::reply::{self, Reply};
use super::upstream::Answered;
use crate::ollama::{
    self, ChatRequest, Common, DoneReason, Endpoint, GenerateRequest, KeepAlive, RequestError, Route, Routed,
    ShowRequest, Timestamp,
};
use crate::openai::Dialect;
use crate::translate::{self, BodyKind, CHAT_COMPLETIONS, COMPLETIONS, StreamTranslator, Wanted};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{HeaderMap, Method, Request, StatusCode};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Most bytes of header names and values; hyper's own limit is not a sharp one.
const MAX_HEADER_BYTES: usize = 32 << 10;
/// How long a request's body may take, and how much longer for what has come of it.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
const SLOWEST_BODY_BYTES_PER_SECOND: u64 = 1024;

/// Answers a request. Every failure is an answer too.
pub(super) async fn handle(app: Arc<App>, request: Request<Incoming>) -> Reply {
    let client_key = request.headers().get(AUTHORIZATION).filter(|_| app.upstream.forwards_client_key());
    let account = Account::new(request.method(), request.uri().path(), client_key.cloned());
    if let Err(error) = check_head(request.headers()) {
        return refuse(&app, &error, account, false);
    }
    match app.guard.check(request.method(), request.uri(), request.headers()) {
        Verdict::Forbidden => ended(reply::empty(StatusCode::FORBIDDEN), account),
        Verdict::Preflight(headers) => {
            let mut reply = reply::empty(StatusCode::NO_CONTENT);
            reply.headers_mut().extend(headers);
            ended(reply, account)
        }
        Verdict::Allow { cors } => {
            let cut_off = app.cut_off.notified();
            let mut reply = tokio::select! {
                reply = answer(Arc::clone(&app), request, account) => reply,
                () = cut_off => reply::error(&ProxyError::Stopping, &ProxyError::Stopping.to_string(), false),
            };
            reply.headers_mut().extend(cors.iter().flat_map(CorsHeaders::pairs));
            reply
        }
    }
}

fn check_head(headers: &HeaderMap) -> Result<(), ProxyError> {
    // RFC 9112, section 3.2.
    if headers.get_all(HOST).iter().nth(1).is_some() {
        return Err(RequestError::new("more than one Host header").into());
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > MAX_HEADER_BYTES { Err(ProxyError::HeadersTooLarge(MAX_HEADER_BYTES)) } else { Ok(()) }
}

async fn answer(app: Arc<App>, request: Request<Incoming>, mut account: Account) -> Reply {
    let route = match Route::find(request.method().as_str(), request.uri().path()) {
        Routed::To(route) => route,
        Routed::Redirect => return ended(redirect(&request), account),
        Routed::MethodNotAllowed => return refuse(&app, &ProxyError::MethodNotAllowed, account, false),
        Routed::NotFound => return refuse(&app, &ProxyError::NotFound, account, false),
    };
    let answered = match route {
        Route::Root => Ok(reply::text("Ollama is running")),
        Route::Version => Ok(written(|out| ollama::write_version(&app.version, out))),
        Route::Ps => Ok(written(ollama::write_ps)),
        Route::Tags => tags(&app, &request).await,
        Route::Show => show(&app, request, &mut account).await,
        Route::Chat | Route::Generate => return text(app, request, route, account).await,
    };
    match answered {
        Ok(reply) => ended(reply, account),
        Err(error) => refuse(&app, &error, account, false),
    }
}

async fn tags(app: &App, request: &Request<Incoming>) -> Result<Reply, ProxyError> {
    let list = app.models.list(&app.upstream, request.headers().get(AUTHORIZATION)).await?;
    Ok(written(|out| ollama::write_tags(&list.listed(), out)))
}

async fn show(app: &App, request: Request<Incoming>, account: &mut Account) -> Result<Reply, ProxyError> {
    let key = request.headers().get(AUTHORIZATION).cloned();
    let body = read_body(request, app.max_body_bytes).await?;
    let asked = ShowRequest::parse(&body)?.model;
    account.set_model(&asked);
    let entry = match app.models.list(&app.upstream, key.as_ref()).await {
        Ok(list) => match list.find(&asked) {
            Some(entry) => entry.clone(),
            None if app.models.settings().default_model.is_some() => {
                app.models.settings().unlisted_entry(&asked, catalog::digest)
            }
            None => return Err(ProxyError::UnknownModel(ollama::canonical_name(&asked))),
        },
        // A backend that answers, but has no list, may still have the model.
        Err(ProxyError::Status { status, .. }) if matches!(status.as_u16(), 404 | 405 | 501) => {
            app.models.settings().unlisted_entry(&asked, catalog::digest)
        }
        Err(error) => return Err(error),
    };
    Ok(written(|out| ollama::write_show(&entry, &asked, out)))
}

/// `/api/chat` and `/api/generate`.
async fn text(app: Arc<App>, request: Request<Incoming>, route: Route, mut account: Account) -> Reply {
    let key = request.headers().get(AUTHORIZATION).cloned();
    let body = match read_body(request, app.max_body_bytes).await {
        Ok(body) => body,
        Err(error) => return refuse(&app, &error, account, false),
    };
    let question = match Question::parse(route, &body) {
        Ok(question) => question,
        Err(error) => return refuse(&app, &error.into(), account, false),
    };
    let common = question.common();
    account.set_model(&common.model);
    if question.is_empty() {
        let unload = common.keep_alive == Some(KeepAlive::Unload);
        let reason = if unload { DoneReason::Unload } else { DoneReason::Load };
        let loaded = written(|out| {
            ollama::write_loaded(question.endpoint(), &common.model, wall_clock(), reason, out)
        });
        return ended(loaded, account);
    }
    match ask(&app, &question, key.as_ref()).await {
        Ok((answer, sent_at)) => deliver(app, &question, answer, sent_at, account).await,
        Err(error) => refuse(&app, &error, account, common.stream),
    }
}

/// What a text endpoint was asked.
enum Question<'a> {
    Chat(ChatRequest<'a>),
    Generate(GenerateRequest<'a>),
}

impl<'a> Question<'a> {
    fn parse(route: Route, body: &'a [u8]) -> Result<Self, ollama::RequestError> {
        Ok(match route {
            Route::Generate => Question::Generate(GenerateRequest::parse(body)?),
            _ => Question::Chat(ChatRequest::parse(body)?),
        })
    }

    fn common(&self) -> &Common<'a> {
        match self {
            Question::Chat(request) => &request.common,
            Question::Generate(request) => &request.common,
        }
    }

    fn endpoint(&self) -> Endpoint {
        match self {
            Question::Chat(_) => Endpoint::Chat,
            Question::Generate(_) => Endpoint::Generate,
        }
    }

    /// Nothing to answer: the client only wants the model loaded, or unloaded.
    fn is_empty(&self) -> bool {
        match self {
            Question::Chat(request) => request.messages.is_empty(),
            Question::Generate(request) => request.prompt.is_empty(),
        }
    }

    fn path(&self) -> &'static str {
        match self {
            Question::Generate(request) if translate::is_completion(request) => COMPLETIONS,
            _ => CHAT_COMPLETIONS,
        }
    }

    fn translated(&self, model: &str, dialect: Dialect) -> Result<Bytes, ollama::RequestError> {
        let mut out = BytesMut::new();
        match self {
            Question::Chat(request) => translate::write_chat(request, model, dialect, &mut out)?,
            Question::Generate(request) => translate::write_generate(request, model, dialect, &mut out)?,
        }
        Ok(out.freeze())
    }
}

/// Sends the question; says with the answer when the backend had it. A parameter that the backend refuses is left out,
/// once each, and for this model from then on, once it has answered without it.
async fn ask(
    app: &App,
    question: &Question<'_>,
    key: Option<&HeaderValue>,
) -> Result<(Answered, Instant), ProxyError> {
    let asked = &question.common().model;
    let model = app.models.backend_name(asked, &app.upstream, key).await;
    let mut dialect = app.dialect(&model);
    let mut body = question.translated(&model, dialect)?;
    let mut lasting = dialect.refused;
    loop {
        let sent_at = Instant::now();
        let answer = app.upstream.post(question.path(), body.clone(), key).await?;
        if answer.status.is_success() {
            app.learn(&model, lasting);
            return Ok((answer, sent_at));
        }
        let refusal = app.upstream.refusal(answer, asked, key.is_some()).await;
        let Some(refused) = refusal.refused_parameter(dialect.refused) else { return Err(refusal) };
        if !refusal.is_about_a_value() {
            lasting = lasting.and_what_is_new(dialect.refused, refused);
        }
        dialect.refused = refused;
        let without = question.translated(&model, dialect)?;
        // It was not in the request: leaving it out changes nothing.
        if without == body {
            return Err(refusal);
        }
        tracing::info!(
            model,
            reason = app.told(&refusal, key),
            "the backend refuses a parameter; asking without it"
        );
        body = without;
    }
}

/// Turns the backend's answer into the client's. The 200 goes out with the first line.
async fn deliver(
    app: Arc<App>,
    question: &Question<'_>,
    answer: Answered,
    sent_at: Instant,
    account: Account,
) -> Reply {
    let common = question.common();
    let wanted = Wanted {
        endpoint: question.endpoint(),
        model: &common.model,
        stream: common.stream,
        think: common.think,
        logprobs: common.logprobs.then_some(common.top_logprobs),
        started_at: wall_clock().before(account.began().elapsed()),
        load: sent_at - account.began(),
    };
    let translator = StreamTranslator::new(&wanted, body_kind(&answer.headers));
    let mut body = TranslatedBody::new(answer, translator, Arc::clone(&app), account);
    if !common.stream {
        return match body.whole().await {
            Ok((object, account)) => ended(reply::json(object), account),
            Err((error, account)) => refuse(&app, &error, account, false),
        };
    }
    match body.first_line().await {
        Ok(()) => {
            body.answered_with(StatusCode::OK);
            reply::lines(body)
        }
        Err(error) => refuse(&app, &error, body.into_account(), true),
    }
}

fn body_kind(headers: &HeaderMap) -> BodyKind {
    let content_type =
        headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default().to_ascii_lowercase();
    let is = |kind: &[u8]| content_type.windows(kind.len()).any(|part| part == kind);
    if is(b"text/event-stream") || is(b"ndjson") || is(b"jsonl") {
        BodyKind::Events
    } else {
        BodyKind::Unsaid
    }
}

/// The whole body, up to the cap, whatever its type.
async fn read_body(request: Request<Incoming>, max_bytes: usize) -> Result<Bytes, ProxyError> {
    let body = request.into_body();
    if body.size_hint().lower() > max_bytes as u64 {
        return Err(ProxyError::BodyTooLarge(max_bytes));
    }
    let mut body = Limited::new(body, max_bytes);
    let (mut first, mut more) = (Bytes::new(), BytesMut::new());
    let began = Instant::now();
    loop {
        let received = (first.len() + more.len()) as u64;
        let deadline = began + BODY_PATIENCE + Duration::from_secs(received / SLOWEST_BODY_BYTES_PER_SECOND);
        let frame = tokio::time::timeout_at(deadline, body.frame()).await.map_err(|_| ProxyError::BodyCut)?;
        match frame {
            None => break,
            // Most bodies are one piece, which is kept as it came; the pieces of a larger one are joined at once, since
            // each keeps a whole read buffer alive.
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) if first.is_empty() && more.is_empty() => first = bytes,
                Ok(bytes) => {
                    more.extend_from_slice(&std::mem::take(&mut first));
                    more.extend_from_slice(&bytes);
                }
                Err(_trailers) => {}
            },
            Some(Err(error)) if error.is::<LengthLimitError>() => {
                return Err(ProxyError::BodyTooLarge(max_bytes));
            }
            Some(Err(_)) => return Err(ProxyError::BodyCut),
        }
    }
    Ok(if more.is_empty() { first } else { more.freeze() })
}

fn redirect(request: &Request<Incoming>) -> Reply {
    let path = request.uri().path().trim_end_matches('/');
    let to = request.uri().query().map_or_else(|| path.to_string(), |query| format!("{path}?{query}"));
    reply::redirect(request.method() == Method::GET, &to)
}

fn ended(reply: Reply, mut account: Account) -> Reply {
    account.set_status(reply.status().as_u16());
    account.end();
    reply
}

fn refuse(app: &App, error: &ProxyError, mut account: Account, of_a_stream: bool) -> Reply {
    let message = app.told(error, account.client_key());
    account.fail(&message);
    ended(reply::error(error, &message, of_a_stream), account)
}

fn written(write: impl FnOnce(&mut BytesMut)) -> Reply {
    let mut out = BytesMut::new();
    write(&mut out);
    reply::json(out)
}

fn wall_clock() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_seconds(0).after(since_epoch)
}
