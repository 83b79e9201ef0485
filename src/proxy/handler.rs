//! One request, from its head to its answer, in one visible line: guard, route, key, and the endpoint's own file.
//!
//! What every endpoint needs is here: the body under its cap, and the two ways in which a request ends.

use super::account::Account;
use super::admission::CHALLENGE;
use super::app::App;
use super::error::ProxyError;
use super::guard::{CorsHeaders, Verdict};
use super::large;
use super::reply::{self, Reader, Reply};
use super::request_body::Patience;
use super::request_id::{RequestId, unshared};
use super::{discovery, embed, manage, operations, pass, text};
use crate::ollama::{self, RequestError, Route, Routed};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, AUTHORIZATION, HOST, HeaderValue, WWW_AUTHENTICATE};
use hyper::{HeaderMap, Method, Request, StatusCode};
use std::pin::pin;
use std::sync::Arc;
use tokio::time::Instant;

/// Most bytes of header names and values; hyper's own limit is not a sharp one.
const MAX_HEADER_BYTES: usize = 32 << 10;

/// Answers a request. Every failure is an answer too, and every answer has the request's id.
pub(super) async fn handle(app: Arc<App>, request: Request<Incoming>) -> Reply {
    let id = RequestId::of(request.headers());
    // By reference: what is handed on by value is copied, with room for all that any endpoint keeps while it waits.
    let work = pin!(guarded(app, request, &id));
    let mut reply = id.clone().scope(work).await;
    id.put_on_answer(reply.headers_mut());
    reply
}

async fn guarded(app: Arc<App>, mut request: Request<Incoming>, id: &RequestId) -> Reply {
    let client_key = request.headers().get(AUTHORIZATION).filter(|_| app.upstream.forwards_client_key());
    let client_key = client_key.map(unshared);
    let mut account = Account::new(&app, id, request.method(), request.uri().path(), client_key);
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
            let routed = Route::find(request.method().as_str(), request.uri().path());
            if let Routed::To(route) = routed {
                account.set_route(route);
            }
            if !app.admission.admits(routed, request.headers_mut()) {
                let mut reply = refuse(&app, &ProxyError::Unauthorized, account, false);
                reply.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
                return with_cors(reply, cors.as_ref());
            }
            let (cut_off, reader) = (app.cut_off.notified(), Reader::of(request.uri().path()));
            let reply = tokio::select! {
                reply = answer(Arc::clone(&app), routed, request, account) => reply,
                () = cut_off => reply::error_for(reader, &ProxyError::Stopping, &ProxyError::Stopping.to_string(), false),
            };
            with_cors(reply, cors.as_ref())
        }
    }
}

/// A page of another origin may read the answer.
fn with_cors(mut reply: Reply, cors: Option<&CorsHeaders>) -> Reply {
    reply.headers_mut().extend(cors.into_iter().flat_map(CorsHeaders::pairs));
    reply
}

fn check_head(headers: &HeaderMap) -> Result<(), ProxyError> {
    // RFC 9112, section 3.2.
    if headers.get_all(HOST).iter().nth(1).is_some() {
        return Err(RequestError::new("more than one Host header").into());
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > MAX_HEADER_BYTES { Err(ProxyError::HeadersTooLarge(MAX_HEADER_BYTES)) } else { Ok(()) }
}

async fn answer(app: Arc<App>, routed: Routed, request: Request<Incoming>, mut account: Account) -> Reply {
    let route = match routed {
        Routed::To(route) => route,
        Routed::Redirect => return ended(redirect(&request), account),
        Routed::MethodNotAllowed(methods) => {
            let mut reply = refuse(&app, &ProxyError::MethodNotAllowed, account, false);
            reply.headers_mut().extend(HeaderValue::try_from(methods.join(", ")).map(|list| (ALLOW, list)));
            return reply;
        }
        Routed::NotFound => return refuse(&app, &ProxyError::NotFound, account, false),
    };
    let answered = match route {
        Route::Root => Ok(reply::text("Ollama is running")),
        Route::Version => Ok(written(|out| ollama::write_version(&app.version, out))),
        Route::Ps => Ok(discovery::ps(&app, account.client_key())),
        Route::Tags => Box::pin(discovery::tags(&app, &request)).await,
        Route::Show => Box::pin(discovery::show(&app, request, &mut account)).await,
        // Here alone what the endpoint keeps is in the room that every request is given, so that the smallest and most
        // frequent ones need no other: whoever keeps more than they do is in a box.
        Route::Chat | Route::Generate => return text::answer(app, request, route, account).await,
        Route::Embed | Route::Embeddings => {
            return Box::pin(embed::answer(app, request, route, account)).await;
        }
        Route::Status => Ok(written(ollama::write_status)),
        Route::Me => Err(ProxyError::NotSignedIn("unauthorized")),
        Route::Signout => Err(ProxyError::NotSignedIn("you are not currently signed in")),
        Route::Recommendations => Ok(written(ollama::write_recommendations)),
        Route::Pull => Box::pin(manage::pull(&app, request, &mut account)).await,
        Route::Push | Route::Create | Route::Copy | Route::Delete | Route::Blob => {
            manage::refuse(&app, request, route).await
        }
        Route::WebSearch | Route::WebFetch => manage::refuse(&app, request, route).await,
        Route::OpenAi => return Box::pin(pass::answer(app, request, account)).await,
        Route::Metrics if !app.serves_metrics => Err(ProxyError::NotFound),
        Route::Health | Route::Live | Route::Ready | Route::Validate | Route::Metrics => {
            Ok(operations::answer(&app, route).await)
        }
    };
    match answered {
        Ok(reply) => ended(reply, account),
        Err(error) => refuse(&app, &error, account, false),
    }
}

/// The whole body, up to the cap, whatever its type.
pub(super) async fn read_body(request: Request<Incoming>, max_bytes: usize) -> Result<Bytes, ProxyError> {
    let body = request.into_body();
    if body.size_hint().lower() > max_bytes as u64 {
        return Err(ProxyError::BodyTooLarge(max_bytes));
    }
    let len = body.size_hint().upper().and_then(|len| usize::try_from(len).ok()).unwrap_or(max_bytes);
    let mut body = Limited::new(body, max_bytes);
    let (mut first, mut more) = (Bytes::new(), Vec::new());
    let mut patience = Patience::new();
    loop {
        let next = tokio::time::timeout_at(patience.until(Instant::now()), body.frame());
        let frame = next.await.map_err(|_| ProxyError::BodyCut)?;
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            patience.came(Instant::now(), data.len());
        }
        match frame {
            None => break,
            // Most bodies are one piece, which is kept as it came; the pieces of a larger one are joined at once, since
            // each keeps a whole read buffer alive.
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) if first.is_empty() && more.is_empty() => first = bytes,
                Ok(bytes) => {
                    make_room(&mut more, first.len() + bytes.len(), len);
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
    Ok(if more.is_empty() { first } else { more.into() })
}

/// What a body gets beyond twice what has come of it.
const SPARE_ROOM: usize = 64 << 10;

/// Room in `joined` for `more` bytes, and for those that follow in a body of `len` bytes: all at once where it is there
/// already, or is not far more than what has come, since a length is soon said and nothing may need to follow.
fn make_room(joined: &mut Vec<u8>, more: usize, len: usize) {
    let needed = joined.len() + more;
    if needed <= joined.capacity() {
        return;
    }
    if let Some(kept) = large::take(len.max(needed)) {
        let mut kept = Vec::from(kept);
        kept.extend_from_slice(joined);
        *joined = kept;
        return;
    }
    let wanted = len.min(needed.saturating_mul(2).saturating_add(SPARE_ROOM)).max(needed);
    joined.reserve_exact(wanted - joined.len());
}

fn redirect(request: &Request<Incoming>) -> Reply {
    let path = request.uri().path().trim_end_matches('/');
    let to = request.uri().query().map_or_else(|| path.to_string(), |query| format!("{path}?{query}"));
    reply::redirect(request.method() == Method::GET, &to)
}

pub(super) fn ended(reply: Reply, mut account: Account) -> Reply {
    account.set_status(reply.status().as_u16());
    account.end();
    reply
}

pub(super) fn refuse(app: &App, error: &ProxyError, mut account: Account, of_a_stream: bool) -> Reply {
    let message = app.told(error, account.client_key());
    account.fail(error.kind(), &message);
    ended(reply::error_for(Reader::of(account.path()), error, &message, of_a_stream), account)
}

pub(super) fn written(write: impl FnOnce(&mut BytesMut)) -> Reply {
    let mut out = BytesMut::new();
    write(&mut out);
    reply::json(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The room that a body of so many bytes gets, piece by piece, when its head says that it has `len`.
    fn rooms(pieces: &[usize], len: usize) -> Vec<usize> {
        let mut joined = Vec::new();
        let mut rooms = Vec::new();
        for piece in pieces {
            make_room(&mut joined, *piece, len);
            joined.resize(joined.len() + piece, 0u8);
            rooms.push(joined.capacity());
        }
        rooms
    }

    #[test]
    fn a_body_gets_the_room_that_it_says_but_not_far_before_it_comes() {
        // One of the room that most have.
        assert_eq!(rooms(&[8 << 10; 4], 32 << 10), [32 << 10; 4]);
        for len in [1 << 20, 5 << 20, usize::MAX] {
            let rooms = rooms(&[16 << 10; 64], len);
            for (room, nth) in rooms.iter().zip(1..) {
                assert!(*room <= 2 * nth * (16 << 10) + SPARE_ROOM, "{nth}: {room} of {len}");
            }
            let growths = 1 + rooms.windows(2).filter(|pair| pair[0] != pair[1]).count();
            assert!(growths <= 5, "{growths} of {len}");
        }
        assert_eq!(rooms(&[16 << 10; 64], 1 << 20).last(), Some(&(1 << 20)));
        // More than it says cannot come; it would be kept all the same.
        assert_eq!(rooms(&[10, 10], 5), [10, 20]);
    }

    fn room<A, B, F: Future>(_: impl FnOnce(A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_request_takes_little_room_while_it_waits() {
        // It is copied into its box, and a page more is a page to touch. An endpoint that needs more is to be in a box.
        assert!(room(handle) <= 6500, "{}", room(handle));
    }
}
