//! What clients ask before they chat: which models there are, and what each can do.

use super::account::Account;
use super::app::App;
use super::catalog;
use super::error::ProxyError;
use super::handler::{read_body, written};
use super::reply::Reply;
use super::text::wall_clock;
use crate::ollama::{self, Listed, ShowRequest};
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue};
use tokio::time::Instant;

/// `/api/tags`
pub(super) async fn tags(app: &App, request: &Request<Incoming>) -> Result<Reply, ProxyError> {
    let list = app.models.list(&app.upstream, request.headers().get(AUTHORIZATION)).await?;
    Ok(written(|out| ollama::write_tags(&list.listed(), out)))
}

/// `/api/show`
pub(super) async fn show(
    app: &App,
    request: Request<Incoming>,
    account: &mut Account,
) -> Result<Reply, ProxyError> {
    let key = request.headers().get(AUTHORIZATION).cloned();
    let body = read_body(request, app.max_body_bytes).await?;
    let asked = ShowRequest::parse(&body)?.model;
    account.set_model(&asked);
    let entry = find(app, &asked, key.as_ref()).await?;
    Ok(written(|out| ollama::write_show(&entry, &asked, out)))
}

/// `/api/ps`: what was used with this key. The backend is not asked for it.
pub(super) fn ps(app: &App, client_key: Option<&HeaderValue>) -> Reply {
    let now = wall_clock();
    let used = app.loaded.list(client_key, Instant::now()).into_iter();
    let models: Vec<_> =
        used.map(|(name, left)| (app.models.entry(&name, client_key), now.after(left))).collect();
    written(|out| ollama::write_ps(&models, out))
}

/// What is known of the model of this name.
pub(super) async fn find(app: &App, name: &str, key: Option<&HeaderValue>) -> Result<Listed, ProxyError> {
    let list = match app.models.list(&app.upstream, key).await {
        // The backend may have got it a moment ago.
        Ok(list) if list.find(name).is_none() => app.models.latest(&app.upstream, key).await,
        list => list,
    };
    let settings = app.models.settings();
    match list {
        Ok(list) => match list.find(name) {
            Some(entry) => Ok(entry.clone()),
            None => match &settings.default_model {
                // What answers for a name is what is told of it.
                Some(default) => {
                    let entry = list.find(default).cloned();
                    Ok(entry.unwrap_or_else(|| settings.unlisted_entry(name, catalog::digest)))
                }
                None => Err(ProxyError::UnknownModel(ollama::canonical_name(name))),
            },
        },
        // A backend that answers, but has no list, may still have the model.
        Err(ProxyError::Status { status, .. }) if matches!(status.as_u16(), 404 | 405 | 501) => {
            Ok(settings.unlisted_entry(name, catalog::digest))
        }
        Err(error) => Err(error),
    }
}
