//! [`Models`]: the backend's models, asked for once and then remembered for a while.
//!
//! A backend without a list still serves: names then go to it as they are.

use super::error::ProxyError;
use super::upstream::Upstream;
use crate::openai::parse_models;
use crate::translate::{Catalogue, ModelSettings};
use http_body_util::{BodyExt, Limited};
use hyper::StatusCode;
use hyper::header::HeaderValue;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a list is good, and how long a failure to get one is not tried again.
const FRESH: Duration = Duration::from_secs(300);
const FAILED: Duration = Duration::from_secs(10);
/// Longest list read: some hundred bytes a model, and no backend has ten thousand.
const MAX_LIST_BYTES: usize = 16 << 20;
/// Longest wait for a list when it is only needed to find a name's spelling.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// See the module's description.
pub(super) struct Models {
    settings: ModelSettings,
    known: Mutex<Known>,
    /// Held while asking, so that a burst of first requests asks once.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    list: Option<(Instant, Arc<Catalogue>)>,
    failed_at: Option<Instant>,
    /// Whose key it was asked with, where clients bring their own: another's list is none of theirs.
    key: Option<HeaderValue>,
}

impl Models {
    pub(super) fn new(settings: ModelSettings) -> Self {
        Models { settings, known: Mutex::default(), asking: tokio::sync::Mutex::new(()) }
    }

    pub(super) fn settings(&self) -> &ModelSettings {
        &self.settings
    }

    /// The list, asked for when there is none that is fresh. An old one is better than none.
    pub(super) async fn list(
        &self,
        upstream: &Upstream,
        client_key: Option<&HeaderValue>,
    ) -> Result<Arc<Catalogue>, ProxyError> {
        let key = client_key.filter(|_| upstream.forwards_client_key());
        if let Some(list) = self.remembered(key, FRESH) {
            return Ok(list);
        }
        let _asking = self.asking.lock().await;
        if let Some(list) = self.remembered(key, FRESH) {
            return Ok(list);
        }
        let loaded = self.load(upstream, client_key).await;
        let old = self.remembered(key, Duration::MAX);
        let mut known = self.known();
        let now = Instant::now();
        known.key = key.cloned();
        match (loaded, old) {
            (Ok(list), _) => {
                let list = Arc::new(list);
                known.list = Some((now, Arc::clone(&list)));
                known.failed_at = None;
                Ok(list)
            }
            (Err(error), old) => {
                known.failed_at = Some(now);
                known.list = old.clone().map(|list| (now, list));
                old.ok_or(error)
            }
        }
    }

    /// The backend's name for a client's name.
    pub(super) async fn backend_name(
        &self,
        name: &str,
        upstream: &Upstream,
        client_key: Option<&HeaderValue>,
    ) -> String {
        if let Some(id) = self.settings.alias(name) {
            return id.to_string();
        }
        let list = if self.failed_lately() {
            None
        } else {
            match tokio::time::timeout(LOOKUP_TIMEOUT, self.list(upstream, client_key)).await {
                Ok(Ok(list)) => Some(list),
                Ok(Err(error)) => {
                    let error = upstream.redacted(&error.to_string());
                    tracing::debug!(error, "no list of models; names go to the backend as they are");
                    None
                }
                Err(_) => {
                    self.known().failed_at = Some(Instant::now());
                    None
                }
            }
        };
        let listed = list.as_ref().and_then(|list| list.backend_name(name));
        listed.unwrap_or_else(|| self.settings.unlisted(name)).to_string()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A list that is younger than this and was asked for with this key.
    fn remembered(&self, key: Option<&HeaderValue>, max_age: Duration) -> Option<Arc<Catalogue>> {
        let known = self.known();
        let list = known.list.as_ref().filter(|(at, _)| known.key.as_ref() == key && at.elapsed() < max_age);
        list.map(|(_, list)| Arc::clone(list))
    }

    fn failed_lately(&self) -> bool {
        let known = self.known();
        known.list.is_none() && known.failed_at.is_some_and(|at| at.elapsed() < FAILED)
    }

    async fn load(
        &self,
        upstream: &Upstream,
        client_key: Option<&HeaderValue>,
    ) -> Result<Catalogue, ProxyError> {
        let answer = upstream.get("/models", client_key).await?;
        match answer.status {
            status if status.is_success() => {}
            // No list there: what the settings name is all there is.
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED
                if !self.settings.extra.is_empty() || !self.settings.aliases.is_empty() =>
            {
                return Ok(Catalogue::new(&[], &self.settings, digest));
            }
            _ => return Err(upstream.refusal(answer, "", client_key.is_some()).await),
        }
        let body = Limited::new(answer.body, MAX_LIST_BYTES).collect();
        let body = tokio::time::timeout(upstream.timeout(), body).await;
        let body = body.map_err(|_| ProxyError::TimedOut(upstream.timeout()))?;
        let body =
            body.map_err(|_| ProxyError::ModelList("its model list broke off or is too long"))?.to_bytes();
        let models = parse_models(&body).map_err(ProxyError::ModelList)?;
        Ok(Catalogue::new(&models, &self.settings, digest))
    }
}

/// SHA-256 of the identifier in hex: 64 digits, as Ollama's clients expect, and another for every model.
pub(super) fn digest(id: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, id.as_bytes());
    hash.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_digest_is_the_sha_256_of_the_identifier() {
        assert_eq!(super::digest(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
