//! The routes of whoever runs the proxy, none of which Ollama has: is it alive, can it serve, what has it done.
//!
//! A probe costs nothing: `/live` and `/health` ask nobody, and `/ready` asks the backend for its list of models, which
//! no backend charges for, once in a while for all probes together. What it says is a word; the reason in full is in
//! the log, for a probe needs no key and an address of the backend is none of its business.

use super::app::App;
use super::error::{ErrorKind, ProxyError};
use super::handler::written;
use super::reply::{self, Reply};
use crate::ollama::{self, Route};
use hyper::StatusCode;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// How long an answer of the backend is good for probes: orchestrators ask every 5 to 30 seconds.
const GOOD_FOR: Duration = Duration::from_secs(15);
/// A failure is looked at again sooner, so that the way back is short.
const BAD_FOR: Duration = Duration::from_secs(1);
/// Until then an answer is better than a wait, while a new look is made.
const TOO_OLD: Duration = Duration::from_secs(60);
/// Longest wait for the backend.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers a probe, a scrape or a question about the configuration.
pub(super) async fn answer(app: &App, route: Route) -> Reply {
    match route {
        Route::Live => written(ollama::write_live),
        Route::Ready => ready(app).await,
        Route::Metrics => reply::metrics(app.metrics.text()),
        Route::Validate => written(|out| ollama::write_validation(&app.warnings, out)),
        _ => {
            let uptime = app.metrics.uptime().as_secs();
            written(|out| ollama::write_health(&app.environment, uptime, out))
        }
    }
}

/// What the last look at the backend found. The looks are made beside the requests, by [`watch`]: a probe that gives up
/// after a second, as Kubernetes' do, must not end the look that would have told the next one.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    known: Mutex<Option<(Instant, Verdict)>>,
    /// Wakes [`watch`].
    wanted: Notify,
    /// Wakes who waits for it.
    found: Notify,
}

/// Why the proxy cannot serve, in a word, if it cannot.
type Verdict = Result<(), &'static str>;

impl Readiness {
    /// What is known, and whether it is fresh; nothing once it is too old to say.
    fn known(&self) -> Option<(Verdict, bool)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, verdict) = (*known)?;
        let good_for = if verdict.is_ok() { GOOD_FOR } else { BAD_FOR };
        let age = at.elapsed();
        (age < TOO_OLD).then_some((verdict, age < good_for))
    }

    async fn verdict(&self) -> Verdict {
        loop {
            let mut found = pin!(self.found.notified());
            // Before the look at what is known, so that nothing is missed between the two.
            found.as_mut().enable();
            match self.known() {
                Some((verdict, true)) => return verdict,
                Some((verdict, false)) => {
                    self.wanted.notify_one();
                    return verdict;
                }
                None => self.wanted.notify_one(),
            }
            found.await;
        }
    }
}

async fn ready(app: &App) -> Reply {
    let verdict = app.readiness.verdict().await;
    let mut reply = written(|out| ollama::write_ready(verdict, out));
    if verdict.is_err() {
        *reply.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    reply
}

/// Looks at the backend whenever a probe wants to know and nothing fresh is known: one look at a time.
pub(super) async fn watch(app: &App) -> Infallible {
    loop {
        app.readiness.wanted.notified().await;
        if matches!(app.readiness.known(), Some((_, true))) {
            continue;
        }
        let verdict = look(app).await;
        *app.readiness.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), verdict));
        app.readiness.found.notify_waiters();
    }
}

async fn look(app: &App) -> Verdict {
    match timeout(PATIENCE, ask(app)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::warn!(reason = app.told(&error, None), "not ready");
            Err(error.kind().name())
        }
        Err(_) => {
            tracing::warn!(reason = "the backend does not answer in time", "not ready");
            Err(ErrorKind::Timeout.name())
        }
    }
}

/// A backend that answers can be asked, whatever it says of its list; but for a failure of its own, a redirect, which
/// is not followed, and a refusal of the proxy's key.
async fn ask(app: &App) -> Result<(), ProxyError> {
    let answer = app.upstream.get("/models", None).await?;
    let is_key_refused = matches!(answer.status.as_u16(), 401 | 403) && !app.upstream.forwards_client_key();
    if answer.status.is_server_error() || answer.status.is_redirection() || is_key_refused {
        return Err(app.upstream.refusal(answer, "", false).await);
    }
    // So that the connection can be used again; what the list says is nobody's question here.
    const MAX_LIST_BYTES: usize = 4 << 20;
    let _list = answer.body.read_to_end(MAX_LIST_BYTES).await;
    Ok(())
}
