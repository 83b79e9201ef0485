//! What clients ask before they chat: which models there are, and what each can do.

use super::account::Account;
use super::app::App;
use super::catalog;
use super::error::ProxyError;
use super::handler::{read_body, written};
use super::reply::Reply;
use crate::ollama::{self, ShowRequest};
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;

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
