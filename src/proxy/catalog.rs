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
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a list is good, and how long a failure to get one is not tried again for a name's sake.
const FRESH: Duration = Duration::from_secs(300);
const FAILED: Duration = Duration::from_secs(10);
/// Longest list read: some hundred bytes a model, and no backend has ten thousand.
const MAX_LIST_BYTES: usize = 16 << 20;
/// Longest wait for a list.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);
/// Where clients bring their own keys: so many keys' lists are remembered, the last used first.
const MAX_KEYS: usize = 16;

/// See the module's description.
pub(super) struct Models {
    settings: ModelSettings,
    known: Mutex<Vec<Known>>,
    /// Held while asking, so that a burst of first requests asks once.
    asking: tokio::sync::Mutex<()>,
}

/// What one key's requests found out; another's list is none of theirs.
#[derive(Clone, Default)]
struct Known {
    key: Option<HeaderValue>,
    list: Option<(Instant, Arc<Catalogue>)>,
    failed: Option<(Instant, StatusCode, String)>,
}

impl Known {
    fn fresh(&self) -> Option<Arc<Catalogue>> {
        self.list.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, list)| Arc::clone(list))
    }

    fn old(&self) -> Option<Arc<Catalogue>> {
        self.list.as_ref().map(|(_, list)| Arc::clone(list))
    }

    fn failed_lately(&self) -> bool {
        self.failed.as_ref().is_some_and(|(at, ..)| at.elapsed() < FAILED)
    }
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
        if let Some(list) = self.known(key).fresh() {
            return Ok(list);
        }
        let waiting_since = Instant::now();
        let _asking = self.asking.lock().await;
        let mut known = self.known(key);
        if let Some(list) = known.fresh() {
            return Ok(list);
        }
        if let Some((at, status, message)) = &known.failed
            && *at >= waiting_since
        {
            return known.old().ok_or_else(|| ProxyError::Again(*status, message.clone()));
        }
        let loading = tokio::time::timeout(LIST_TIMEOUT, self.load(upstream, client_key));
        let loaded = loading.await.unwrap_or(Err(ProxyError::ModelList("it does not answer in time")));
        let old = known.old();
        let result = match loaded {
            Ok(list) => {
                let list = Arc::new(list);
                known.list = Some((Instant::now(), Arc::clone(&list)));
                known.failed = None;
                Ok(list)
            }
            Err(error) => {
                let message = upstream.redacted(&error.to_string(), client_key);
                tracing::debug!(message, "cannot get the list of models");
                known.failed = Some((Instant::now(), error.status(), message));
                old.ok_or(error)
            }
        };
        self.remember(known);
        result
    }

    /// The backend's name for a client's name. Without a list names go to the backend as they are.
    pub(super) async fn backend_name(
        &self,
        name: &str,
        upstream: &Upstream,
        client_key: Option<&HeaderValue>,
    ) -> String {
        if let Some(id) = self.settings.alias(name) {
            return id.to_string();
        }
        let known = self.known(client_key.filter(|_| upstream.forwards_client_key()));
        let list = match known.failed_lately() {
            true => known.old(),
            false => self.list(upstream, client_key).await.ok(),
        };
        let listed = list.as_ref().and_then(|list| list.backend_name(name));
        listed.unwrap_or_else(|| self.settings.unlisted(name)).to_string()
    }

    fn known(&self, key: Option<&HeaderValue>) -> Known {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.iter().find(|known| known.key.as_ref() == key);
        found.cloned().unwrap_or_else(|| Known { key: key.cloned(), ..Known::default() })
    }

    fn remember(&self, new: Known) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|known| known.key != new.key);
        known.truncate(MAX_KEYS - 1);
        known.insert(0, new);
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
        let body = Limited::new(answer.body, MAX_LIST_BYTES).collect().await;
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
