//! `/api/chat` and `/api/generate`: parse, name of the model, translate, send, first line, answer.

use super::account::Account;
use super::app::App;
use super::body::TranslatedBody;
use super::error::ProxyError;
use super::handler::{ended, read_body, refuse, written};
use super::reply::{self, Reply};
use super::upstream::Answered;
use crate::ollama::{
    self, ChatRequest, Common, DoneReason, Endpoint, GenerateRequest, KeepAlive, Route, Timestamp,
};
use crate::openai::{Dialect, Parameter, Parameters};
use crate::translate::{self, BodyKind, CHAT_COMPLETIONS, COMPLETIONS, StreamTranslator, Wanted};
use bytes::{Bytes, BytesMut};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Request, StatusCode};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::time::Instant;

/// Answers a request for text.
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
    let translated = |model: &str, dialect| question.translated(model, dialect);
    let asked = ask(&app, &common.model, question.path(), key.as_ref(), translated).await;
    let asked = asked.map_err(|error| if question.has_tools() { error.of_tools() } else { error });
    match asked {
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

    fn has_tools(&self) -> bool {
        matches!(self, Question::Chat(request) if request.tools.is_some())
    }
}

/// Most requests made of one question. What one model refuses is three or four things; a backend that refuses more is
/// not going to answer.
const MAX_TRIES: usize = 8;

/// Sends what `translated` makes for a model of the client's name; says with the answer when the backend had it. What the
/// backend refuses is left out or put otherwise, one thing at a time, and for this model from then on, once it has
/// answered without it.
pub(super) async fn ask(
    app: &App,
    asked: &str,
    path: &'static str,
    key: Option<&HeaderValue>,
    translated: impl Fn(&str, Dialect) -> Result<Bytes, ollama::RequestError>,
) -> Result<(Answered, Instant), ProxyError> {
    let model = app.models.backend_name(asked, &app.upstream, key).await;
    let mut dialect = app.dialect(&model);
    let mut body = translated(&model, dialect)?;
    let mut learnt = Parameters::default();
    let mut tries = 1;
    loop {
        let sent_at = Instant::now();
        let answer = app.upstream.post(path, body.clone(), key).await?;
        if answer.status.is_success() {
            app.learn(&model, learnt);
            return Ok((answer, sent_at));
        }
        let refusal = app.upstream.refusal(answer, asked, key.is_some()).await;
        let milder = milder(&translated, &model, dialect, &body, &refusal)?;
        let Some((parameter, without)) = milder.filter(|_| tries < MAX_TRIES) else { return Err(refusal) };
        tracing::info!(
            model,
            parameter = parameter.name(),
            reason = app.told(&refusal, key),
            "the backend refuses a parameter; asking without it"
        );
        app.metrics.retried();
        if refusal.is_for_good(parameter) {
            learnt = learnt.with(&[parameter]);
        }
        dialect = dialect.without(parameter);
        body = without;
        tries += 1;
    }
}

/// The first change that the refusal asks for and that changes the request: what was not sent is not to blame.
fn milder(
    translated: impl Fn(&str, Dialect) -> Result<Bytes, ollama::RequestError>,
    model: &str,
    dialect: Dialect,
    body: &Bytes,
    refusal: &ProxyError,
) -> Result<Option<(Parameter, Bytes)>, ollama::RequestError> {
    for parameter in refusal.candidates(&dialect) {
        let without = translated(model, dialect.without(parameter))?;
        if without != body {
            return Ok(Some((parameter, without)));
        }
    }
    Ok(None)
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

/// Now, as the lines show it.
fn wall_clock() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_seconds(0).after(since_epoch)
}
