//! `/v1/...`: OpenAI's own API, handed through byte for byte.
//!
//! Of a request only the name of the model is touched, in a JSON body or in `/models/{id}`; what is no JSON is not even
//! gathered. Headers go through by name: of the client's those that a backend may need, of the backend's all that are
//! end to end (RFC 9110, section 7.6.1) and not about the backend's own origin. A status is the backend's, whatever it is,
//! but for redirects: following one would show the key to whoever stands there.

use super::account::Account;
use super::app::App;
use super::client::Response;
use super::error::{ErrorKind, ProxyError};
use super::handler::{ended, read_body, refuse};
use super::passed::PassedBody;
use super::reply::{self, Reply, ReplyBody};
use super::request_body::RequestBody;
use super::target::Target;
use crate::openai;
use crate::translate::NamedModel;
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue,
};
use hyper::{HeaderMap, Method, Request, StatusCode};
use std::sync::Arc;

/// Of one connection, whatever `Connection` says.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// What a backend says about its own origin, which is not the proxy's: cookies, where else it is, and which pages may
/// read it (that is the guard's word).
const OF_THE_ORIGIN: &[&str] = &["alt-svc", "set-cookie", "set-cookie2", "strict-transport-security"];
const CORS: &str = "access-control-";
/// The types of answers that come line by line.
const STREAMS: [&str; 2] = ["text/event-stream", "application/x-ndjson"];

/// Answers a request for `/v1/...`.
pub(super) async fn answer(app: Arc<App>, request: Request<Incoming>, mut account: Account) -> Reply {
    let (is_head, is_post) = (request.method() == Method::HEAD, request.method() == Method::POST);
    match ask(&app, request, &mut account).await {
        Ok(answer) => {
            if is_post && answer.status.is_success() {
                account.hold_model(None);
            }
            deliver(app, answer, is_head, account).await
        }
        Err(error) => refuse(&app, &error, account, false),
    }
}

async fn ask(app: &App, request: Request<Incoming>, account: &mut Account) -> Result<Response, ProxyError> {
    let mut target = Target::new(request.uri())?;
    let method = request.method().clone();
    let key = request.headers().get(AUTHORIZATION).cloned();
    let mut headers = sent_headers(request.headers(), app.upstream.forwards_client_key());
    // A default model must not be what is deleted.
    if let (&Method::GET | &Method::HEAD, Some(asked)) = (&method, target.model()) {
        account.set_model(&asked);
        target.name_model(&app.models.backend_name(&asked, &app.upstream, key.as_ref()).await);
    }
    let body = body(app, request, &mut headers, key.as_ref(), account).await?;
    app.upstream.pass(method, &target.as_text(), &headers, &body, key.as_ref()).await
}

/// The body for the backend. Only one that may name a model is gathered, and one without a length.
async fn body(
    app: &App,
    request: Request<Incoming>,
    headers: &mut HeaderMap,
    key: Option<&HeaderValue>,
    account: &mut Account,
) -> Result<RequestBody, ProxyError> {
    let may_name_a_model = may_be_json(request.headers());
    if let (false, Some(length)) = (may_name_a_model, request.body().size_hint().exact()) {
        if length > app.max_body_bytes as u64 {
            return Err(ProxyError::BodyTooLarge(app.max_body_bytes));
        }
        return Ok(RequestBody::coming(request.into_body()));
    }
    let body = read_body(request, app.max_body_bytes).await?;
    let Some(named) = may_name_a_model.then(|| NamedModel::find(&body)).flatten() else {
        return Ok(RequestBody::of(body));
    };
    account.set_model(named.name());
    // Ollama reads JSON whatever it is called; `curl -d` calls it a form.
    if !headers.get(CONTENT_TYPE).is_some_and(|kind| contains(kind, "json")) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let name = app.models.backend_name(named.name(), &app.upstream, key).await;
    Ok(RequestBody::of_pieces(named.replaced(&body, &name)))
}

/// Whether a body can be read as JSON: it is not compressed, and its type says so, or says nothing that clients mean.
fn may_be_json(headers: &HeaderMap) -> bool {
    let is_coded = headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity");
    let kind = headers.get(CONTENT_TYPE);
    !is_coded
        && kind.is_none_or(|kind| {
            ["json", "x-www-form-urlencoded", "text/plain"].iter().any(|known| contains(kind, known))
        })
}

fn contains(value: &HeaderValue, word: &str) -> bool {
    value.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}

/// Of the client's headers; a key that stands in the place of `Authorization` goes where that goes.
fn sent_headers(client: &HeaderMap, with_keys: bool) -> HeaderMap {
    end_to_end(client, |name| openai::is_request_header(name) || (with_keys && openai::is_key_header(name)))
}

/// The length is hyper's to write, but where it speaks of a body that is not there.
fn delivered_headers(backend: &HeaderMap, keeps_length: bool) -> HeaderMap {
    end_to_end(backend, |name| {
        !OF_THE_ORIGIN.contains(&name)
            && !name.starts_with(CORS)
            && (keeps_length || name != CONTENT_LENGTH.as_str())
    })
}

/// The chosen ones that are not of one connection only, each with all its values.
fn end_to_end(headers: &HeaderMap, is_wanted: impl Fn(&str) -> bool) -> HeaderMap {
    let is_of_the_hop = |name: &HeaderName| {
        HOP_BY_HOP.contains(&name.as_str())
            || headers.get_all(CONNECTION).iter().any(|value| names(value, name.as_str()))
    };
    let chosen = headers.iter().filter(|(name, _)| is_wanted(name.as_str()) && !is_of_the_hop(name));
    let mut kept = HeaderMap::new();
    for (name, value) in chosen {
        kept.append(name, value.clone());
    }
    kept
}

/// Whether a list has this word.
fn names(list: &HeaderValue, name: &str) -> bool {
    list.as_bytes()
        .split(|byte| *byte == b',')
        .any(|word| word.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

async fn deliver(app: Arc<App>, answer: Response, is_head: bool, mut account: Account) -> Reply {
    let status = answer.status;
    if status.is_informational() {
        return refuse(&app, &ProxyError::BrokenOff("it leaves HTTP".to_string()), account, false);
    }
    let is_unchanged = status == StatusCode::NOT_MODIFIED;
    if status.is_redirection() && !is_unchanged {
        let error = app.upstream.refusal(answer, "", false).await;
        return refuse(&app, &error, account, false);
    }
    let headers = delivered_headers(&answer.headers, is_head || is_unchanged);
    let is_error = status.is_client_error() || status.is_server_error();
    if is_error {
        // What it says is the client's alone: it is not read here.
        account.fail(ErrorKind::Backend, &format!("the backend answered {}", status.as_u16()));
    }
    if answer.body.is_over() {
        return ended(reply::passed(status, headers, reply::whole(Bytes::new())), account);
    }
    // Some backends repeat the key that they refuse.
    if is_error && !app.upstream.forwards_client_key() {
        return match app.upstream.error_body(answer.body).await {
            Some(body) => ended(reply::passed(status, headers, reply::whole(body)), account),
            None => {
                refuse(&app, &ProxyError::AnswerCut("an error without an end".to_string()), account, false)
            }
        };
    }
    account.set_status(status.as_u16());
    let is_stream = STREAMS
        .iter()
        .any(|known| answer.headers.get(CONTENT_TYPE).is_some_and(|kind| contains(kind, known)));
    let body = PassedBody::new(answer.body, is_stream, app, account);
    reply::passed(status, headers, ReplyBody::Passed(Box::new(body)))
}
