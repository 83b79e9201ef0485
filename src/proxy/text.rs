//! `/api/chat` and `/api/generate`: parse, name of the model, translate, send, first line, answer.

use super::account::Account;
use super::app::App;
use super::body::TranslatedBody;
use super::client::Response;
use super::echo::Scope;
use super::error::ProxyError;
use super::handler::{ended, read_body, refuse, written};
use super::large;
use super::reply::{self, Reply};
use crate::ollama::{
    self, ChatRequest, Common, DoneReason, Endpoint, GenerateRequest, KeepAlive, Route, Timestamp,
};
use crate::openai::{Dialect, Parameter, Parameters};
use crate::translate::{
    self, BodyKind, CHAT_COMPLETIONS, COMPLETIONS, Recall, StreamTranslator, ThinkTags, Wanted,
};
use bytes::Bytes;
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
    account: Account,
) -> Reply {
    let key = request.headers().get(AUTHORIZATION).cloned();
    let body = match read_body(request, app.max_body_bytes).await {
        Ok(body) => body,
        Err(error) => return refuse(&app, &error, account, false),
    };
    let reply = answer_body(app, &body, key.as_ref(), route, account).await;
    large::give(body);
    reply
}

async fn answer_body(
    app: Arc<App>,
    body: &[u8],
    key: Option<&HeaderValue>,
    route: Route,
    mut account: Account,
) -> Reply {
    let question = match Question::parse(route, body) {
        Ok(question) => question,
        Err(error) => return refuse(&app, &error.into(), account, false),
    };
    let common = question.common();
    account.set_model(&common.model);
    if question.is_empty() {
        let unload = common.keep_alive == Some(KeepAlive::Unload);
        let reason = if unload { DoneReason::Unload } else { DoneReason::Load };
        account.load(common.keep_alive);
        let loaded = written(|out| {
            ollama::write_loaded(question.endpoint(), &common.model, wall_clock(), reason, out)
        });
        return ended(loaded, account);
    }
    let translated = |model: &str, dialect| {
        let scope = app.echo.scope(model, key);
        question.translated(model, dialect, body.len(), &|call| app.echo.recall(scope, call))
    };
    let asked = ask(&app, &common.model, question.path(), key, translated).await;
    let asked = asked.map_err(|error| question.refused(error));
    match asked {
        Ok(asked) => {
            account.hold_model(common.keep_alive);
            deliver(app, &question, asked, account).await
        }
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

    /// A prompt without a chat template is answered as it is.
    fn think_tags(&self, app: &App) -> ThinkTags {
        if self.path() == COMPLETIONS { ThinkTags::Off } else { app.think_tags }
    }

    fn path(&self) -> &'static str {
        match self {
            Question::Generate(request) if translate::is_completion(request) => COMPLETIONS,
            _ => CHAT_COMPLETIONS,
        }
    }

    fn translated(
        &self,
        model: &str,
        dialect: Dialect,
        body_bytes: usize,
        recall: Recall<'_>,
    ) -> Result<Bytes, ollama::RequestError> {
        // Nearly all of it is what the client wrote: pictures are then copied once, not with every growth.
        let mut out = large::with_room(body_bytes + 512);
        match self {
            Question::Chat(request) => translate::write_chat(request, model, dialect, recall, &mut out)?,
            Question::Generate(request) => translate::write_generate(request, model, dialect, &mut out)?,
        }
        Ok(out.freeze())
    }

    /// What a refusal of it means: Ollama has words of its own for what a model cannot do.
    fn refused(&self, error: ProxyError) -> ProxyError {
        match self {
            Question::Chat(request) if request.tools.is_some() => error.of_tools(),
            Question::Generate(request) if !request.suffix.is_empty() => error.of_suffix(),
            Question::Chat(_) | Question::Generate(_) => error,
        }
    }
}

/// A backend that answers.
pub(super) struct Asked {
    pub(super) answer: Response,
    /// When it had the question.
    pub(super) sent_at: Instant,
    /// It was asked with the client's own key.
    pub(super) with_client_key: bool,
    scope: Scope,
}

/// Most requests made of one question. What one model refuses is three or four things; a backend that refuses more is
/// not going to answer.
const MAX_TRIES: usize = 8;

/// Sends what `translated` makes for a model of the client's name. What the backend refuses is left out or put otherwise,
/// one thing at a time, and for this model from then on, once it has answered without it; what it wants to read in the
/// history is put there, likewise.
pub(super) async fn ask(
    app: &App,
    asked: &str,
    path: &'static str,
    key: Option<&HeaderValue>,
    translated: impl Fn(&str, Dialect) -> Result<Bytes, ollama::RequestError>,
) -> Result<Asked, ProxyError> {
    let model = app.models.backend_name(asked, &app.upstream, key).await;
    let mut dialect = app.dialect(&model);
    let mut body = translated(&model, dialect)?;
    let mut learnt = Parameters::default();
    let mut tries = 1;
    loop {
        let sent_at = Instant::now();
        let answer = app.upstream.post(path, body.clone(), key).await?;
        if answer.status.is_success() {
            large::give(body);
            app.learn(&model, learnt);
            app.echo.learn(&model, dialect.demands);
            let with_client_key = key.is_some() && app.upstream.forwards_client_key();
            return Ok(Asked { answer, sent_at, with_client_key, scope: app.echo.scope(&model, key) });
        }
        let refusal = app.upstream.refusal(answer, asked, key.is_some()).await;
        let wanted = refusal.demanded(dialect.demands).map(|demands| app.echo.allowed(demands));
        let other = match wanted {
            Some(demands) => with(&translated, &model, Dialect { demands, ..dialect }, &body)?,
            None => milder(&translated, &model, dialect, &body, &refusal)?,
        };
        let Some((other, changed)) = other.filter(|_| tries < MAX_TRIES) else { return Err(refusal) };
        tracing::info!(
            model,
            parameter = changed.map(Parameter::name),
            reason = app.told(&refusal, key),
            "the backend refuses the request; asking as it wants it"
        );
        app.metrics.retried();
        if let Some(parameter) = changed.filter(|parameter| refusal.is_for_good(*parameter)) {
            learnt = learnt.with(&[parameter]);
        }
        (dialect, body) = other;
        tries += 1;
    }
}

/// Another way to put the question, and the parameter that is then left out or put otherwise.
type Other = ((Dialect, Bytes), Option<Parameter>);

/// The question with what the backend wants to read, where that changes it.
fn with(
    translated: impl Fn(&str, Dialect) -> Result<Bytes, ollama::RequestError>,
    model: &str,
    dialect: Dialect,
    body: &Bytes,
) -> Result<Option<Other>, ollama::RequestError> {
    let with = translated(model, dialect)?;
    Ok((with != body).then_some(((dialect, with), None)))
}

/// The first change that the refusal asks for and that changes the request: what was not sent is not to blame.
fn milder(
    translated: impl Fn(&str, Dialect) -> Result<Bytes, ollama::RequestError>,
    model: &str,
    dialect: Dialect,
    body: &Bytes,
    refusal: &ProxyError,
) -> Result<Option<Other>, ollama::RequestError> {
    for parameter in refusal.candidates(&dialect) {
        let without = dialect.without(parameter);
        let milder = translated(model, without)?;
        if milder != body {
            return Ok(Some(((without, milder), Some(parameter))));
        }
    }
    Ok(None)
}

/// Turns the backend's answer into the client's. The 200 goes out with the first line.
async fn deliver(app: Arc<App>, question: &Question<'_>, asked: Asked, account: Account) -> Reply {
    let Asked { answer, sent_at, with_client_key, scope } = asked;
    let common = question.common();
    let refused = |error: ProxyError| question.refused(error.into_refusal(&common.model, with_client_key));
    let wanted = Wanted {
        endpoint: question.endpoint(),
        model: &common.model,
        stream: common.stream,
        think: common.think,
        think_tags: question.think_tags(&app),
        logprobs: common.logprobs.then_some(common.top_logprobs),
        started_at: wall_clock().before(account.began().elapsed()),
        load: sent_at - account.began(),
    };
    let translator = StreamTranslator::new(&wanted, body_kind(&answer.headers));
    let mut body = Box::new(TranslatedBody::new(answer.body, translator, scope, Arc::clone(&app), account));
    if !common.stream {
        return match body.whole().await {
            Ok((object, account)) => ended(reply::json(object), account),
            Err((error, account)) => refuse(&app, &refused(error), account, false),
        };
    }
    match body.first_line().await {
        Ok(()) => {
            body.answered_with(StatusCode::OK);
            reply::lines(body)
        }
        Err(error) => refuse(&app, &refused(error), body.into_account(), true),
    }
}

fn body_kind(headers: &HeaderMap) -> BodyKind {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is = |kind: &[u8]| content_type.windows(kind.len()).any(|part| part.eq_ignore_ascii_case(kind));
    // What a whole answer nearly always is need not be searched.
    if content_type == b"application/json" {
        BodyKind::Unsaid
    } else if is(b"text/event-stream") || is(b"ndjson") || is(b"jsonl") {
        BodyKind::Events
    } else {
        BodyKind::Unsaid
    }
}

/// Now, as the lines show it.
pub(super) fn wall_clock() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_seconds(0).after(since_epoch)
}
