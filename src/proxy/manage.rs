//! The routes about having models, and about Ollama's account and cloud. The models are the backend's: one that it has
//! can be pulled, which does nothing, and all else is refused in plain words. Nothing is said to be done that is not.

use super::account::Account;
use super::app::App;
use super::discovery;
use super::error::ProxyError;
use super::handler::{read_body, written};
use super::reply::{self, Reply};
use crate::ollama::{self, PullRequest, Route};
use bytes::BytesMut;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;

/// `/api/pull`: clients pull what they do not see listed, and go on when that succeeds.
pub(super) async fn pull(
    app: &App,
    request: Request<Incoming>,
    account: &mut Account,
) -> Result<Reply, ProxyError> {
    let key = request.headers().get(AUTHORIZATION).cloned();
    let body = read_body(request, app.max_body_bytes).await?;
    let asked = PullRequest::parse(&body)?;
    account.set_model(&asked.model);
    let found = match discovery::find(app, &asked.model, key.as_ref()).await {
        Err(ProxyError::UnknownModel(_)) => Err(ProxyError::NoSuchManifest),
        found => found,
    };
    if !asked.stream {
        return found.map(|_| written(|out| ollama::write_progress("success", out)));
    }
    // Ollama has sent its first line, and so its 200, before it looks for the model.
    let mut out = BytesMut::new();
    ollama::write_progress("pulling manifest", &mut out);
    out.extend_from_slice(b"\n");
    match found {
        Ok(_) => ollama::write_progress("success", &mut out),
        Err(error) => {
            let message = app.told(&error, account.client_key());
            ollama::write_error(&message, &mut out);
            account.fail(error.kind(), &message);
        }
    }
    out.extend_from_slice(b"\n");
    Ok(reply::ready_lines(out))
}

/// The routes that are refused, whatever they name, once their bodies are as Ollama wants them.
pub(super) async fn refuse(app: &App, request: Request<Incoming>, route: Route) -> Result<Reply, ProxyError> {
    let (check, error): (Check, ProxyError) = match route {
        Route::Push => (ollama::check_push, ProxyError::NotSupported("pushing a model")),
        Route::Create => (ollama::check_create, ProxyError::NotSupported("creating a model")),
        Route::Copy => (ollama::check_copy, ProxyError::NotSupported("copying a model")),
        Route::Delete => (ollama::check_delete, ProxyError::NotSupported("deleting a model")),
        Route::WebSearch => (ollama::check_body, ProxyError::NoCloud("web search")),
        Route::WebFetch => (ollama::check_body, ProxyError::NoCloud("web fetch")),
        // Without a look at what may be gigabytes; and HEAD too, so that no client begins to send them.
        _ => return Err(ProxyError::NotSupported("storing a blob")),
    };
    let body = read_body(request, app.max_body_bytes).await?;
    check(&body)?;
    Err(error)
}

type Check = fn(&[u8]) -> Result<(), ollama::RequestError>;
