//! [`Models`]: the backend's models, asked for once and then remembered. A list that has grown old is still answered at
//! once, while a new one is asked for behind it.
//!
//! A backend without a list still serves: names then go to it as they are.

use super::error::ProxyError;
use super::upstream::Upstream;
use crate::ollama::Listed;
use crate::openai::{Model, NativeFacts, Profile, parse_models};
use crate::translate::{Catalogue, ModelSettings};
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a failure to get a list is not tried again, and for how long a name that is not in a list is not looked for
/// in a newer one.
const PAUSE: Duration = Duration::from_secs(10);
/// Longest list read: some hundred bytes a model, and no backend has ten thousand.
const MAX_LIST_BYTES: usize = 16 << 20;
/// Longest wait for a list.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for what a list is served without.
const FACTS_TIMEOUT: Duration = Duration::from_secs(2);
/// Where clients bring their own keys: so many keys' lists are remembered, the last asked for first.
const MAX_KEYS: usize = 16;

/// See the module's description.
pub(super) struct Models {
    state: Mutex<State>,
    /// How long a list is good.
    ttl: Duration,
    /// Wakes [`Models::refresh`].
    wanted: Notify,
    /// The kind of backend that the first list shows.
    profile: OnceLock<Profile>,
}

struct State {
    settings: Arc<ModelSettings>,
    known: Vec<Known>,
    /// Whose lists are to be asked for anew.
    to_refresh: VecDeque<Option<HeaderValue>>,
}

/// What one key's requests found out; another's list is none of theirs.
#[derive(Clone, Default)]
struct Known {
    key: Option<HeaderValue>,
    /// Held while asking in a request's name, so that a burst of first requests asks once. Another key's requests do not
    /// wait for it: whoever sends made-up ones would hold up everybody.
    asking: Arc<tokio::sync::Mutex<()>>,
    list: Option<List>,
    failed: Option<(Instant, StatusCode, String)>,
    is_refreshing: bool,
}

#[derive(Clone)]
struct List {
    at: Instant,
    /// As the backend gave it, for when the settings change.
    models: Arc<Vec<Model>>,
    catalogue: Arc<Catalogue>,
}

impl Known {
    fn catalogue(&self) -> Option<Arc<Catalogue>> {
        self.list.as_ref().map(|list| Arc::clone(&list.catalogue))
    }

    /// The list, if it is not older than this.
    fn within(&self, age: Duration) -> Option<Arc<Catalogue>> {
        self.list.as_ref().filter(|list| list.at.elapsed() < age).map(|list| Arc::clone(&list.catalogue))
    }

    fn failed_lately(&self) -> bool {
        self.failed.as_ref().is_some_and(|(at, ..)| at.elapsed() < PAUSE)
    }
}

impl State {
    /// Changes what is known of a key, which comes first from now on. Where there is no room, one without a list makes it, for a
    /// key that the backend refuses is not to push out one that it takes; else the one that was longest not asked about.
    fn with<T>(&mut self, key: Option<&HeaderValue>, change: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = match self.known.iter().position(|known| known.key.as_ref() == key) {
            Some(at) => self.known.remove(at),
            None => {
                if self.known.len() >= MAX_KEYS {
                    let listless = self.known.iter().rposition(|known| known.list.is_none());
                    self.known.remove(listless.unwrap_or(MAX_KEYS - 1));
                }
                Known { key: key.cloned(), ..Known::default() }
            }
        };
        let changed = change(&mut known);
        self.known.insert(0, known);
        changed
    }
}

impl Models {
    pub(super) fn new(settings: ModelSettings, ttl: Duration) -> Self {
        let (known, to_refresh) = (Vec::new(), VecDeque::new());
        Models {
            state: Mutex::new(State { settings: Arc::new(settings), known, to_refresh }),
            ttl,
            wanted: Notify::new(),
            profile: OnceLock::new(),
        }
    }

    pub(super) fn settings(&self) -> Arc<ModelSettings> {
        Arc::clone(&self.state().settings)
    }

    /// The kind of backend, where a list has shown it.
    pub(super) fn profile(&self) -> Option<Profile> {
        self.profile.get().copied()
    }

    /// Other settings from now on, for the lists that are known too.
    pub(super) fn set(&self, settings: ModelSettings) {
        let mut state = self.state();
        for list in state.known.iter_mut().filter_map(|known| known.list.as_mut()) {
            list.catalogue = Arc::new(Catalogue::new(&list.models, &settings, digest));
        }
        state.settings = Arc::new(settings);
    }

    /// The list: at once when there is any, else when the backend has answered.
    pub(super) async fn list(
        &self,
        upstream: &Upstream,
        client_key: Option<&HeaderValue>,
    ) -> Result<Arc<Catalogue>, ProxyError> {
        let key = client_key.filter(|_| upstream.forwards_client_key());
        match self.at_once(key) {
            Some(list) => Ok(list),
            // Once in a process, so every request need not have room for it.
            None => Box::pin(self.ask(upstream, key, self.ttl)).await,
        }
    }

    /// The list as it is now, or was a moment ago: for a name that is not in an older one.
    pub(super) async fn latest(
        &self,
        upstream: &Upstream,
        client_key: Option<&HeaderValue>,
    ) -> Result<Arc<Catalogue>, ProxyError> {
        let key = client_key.filter(|_| upstream.forwards_client_key());
        let known = self.known(key);
        match known.catalogue().filter(|_| known.failed_lately()) {
            Some(list) => Ok(list),
            None => self.ask(upstream, key, PAUSE.min(self.ttl)).await,
        }
    }

    /// The backend's name for a client's name. Without a list names go to the backend as they are.
    pub(super) async fn backend_name(
        &self,
        name: &str,
        upstream: &Upstream,
        client_key: Option<&HeaderValue>,
    ) -> String {
        let settings = self.settings();
        if let Some(id) = settings.alias(name) {
            return id.to_string();
        }
        let known = self.known(client_key.filter(|_| upstream.forwards_client_key()));
        let list = match known.failed_lately() {
            true => known.catalogue(),
            false => self.list(upstream, client_key).await.ok(),
        };
        let listed = list.as_ref().and_then(|list| list.backend_name(name));
        listed.unwrap_or_else(|| settings.unlisted(name)).to_string()
    }

    /// The name in `/api/tags` of the model that a client's name means, as far as is known; `None` where the list that is
    /// known has none.
    pub(super) fn name_of(&self, name: &str, client_key: Option<&HeaderValue>) -> Option<String> {
        let (settings, list) = self.at_hand(client_key);
        settings.name_of(list.as_deref(), name)
    }

    /// What is known of the model of a name in `/api/tags`.
    pub(super) fn entry(&self, name: &str, client_key: Option<&HeaderValue>) -> Listed {
        let (settings, list) = self.at_hand(client_key);
        let listed = list.as_ref().and_then(|list| list.find(name)).cloned();
        listed.unwrap_or_else(|| settings.unseen(name, digest))
    }

    /// The list that is known, however old. `key` is the client's, where it goes to the backend.
    fn at_hand(&self, key: Option<&HeaderValue>) -> (Arc<ModelSettings>, Option<Arc<Catalogue>>) {
        let state = self.state();
        let known = state.known.iter().find(|known| known.key.as_ref() == key);
        (Arc::clone(&state.settings), known.and_then(Known::catalogue))
    }

    /// Asks for the lists that have grown old, one after the other, for as long as the proxy serves.
    pub(super) async fn refresh(&self, upstream: &Upstream) -> Infallible {
        loop {
            let next = self.state().to_refresh.pop_front();
            match next {
                Some(key) => {
                    let loaded = self.load(upstream, key.as_ref()).await;
                    // Whoever asks next reads the outcome.
                    let _told = self.note(upstream, key.as_ref(), loaded);
                }
                None => self.wanted.notified().await,
            }
        }
    }

    /// The list that is known, if any. One that is old is asked for anew behind it.
    fn at_once(&self, key: Option<&HeaderValue>) -> Option<Arc<Catalogue>> {
        let mut state = self.state();
        let known = state.known.iter_mut().find(|known| known.key.as_ref() == key)?;
        let list = known.catalogue()?;
        if known.within(self.ttl).is_none() && !known.is_refreshing && !known.failed_lately() {
            known.is_refreshing = true;
            state.to_refresh.push_back(key.cloned());
            self.wanted.notify_one();
        }
        Some(list)
    }

    /// Waits for the backend's list, unless another request just has. An old one is better than none.
    async fn ask(
        &self,
        upstream: &Upstream,
        key: Option<&HeaderValue>,
        max_age: Duration,
    ) -> Result<Arc<Catalogue>, ProxyError> {
        let waiting_since = Instant::now();
        let asking = self.state().with(key, |known| Arc::clone(&known.asking));
        let _asking = asking.lock().await;
        let known = self.known(key);
        let has_just_come = known.list.as_ref().is_some_and(|list| list.at >= waiting_since);
        if let Some(list) = known.within(if has_just_come { Duration::MAX } else { max_age }) {
            return Ok(list);
        }
        if let Some((at, status, message)) = &known.failed
            && *at >= waiting_since
        {
            return known.catalogue().ok_or_else(|| ProxyError::Again(*status, message.clone()));
        }
        let loaded = self.load(upstream, key).await;
        self.note(upstream, key, loaded)
    }

    /// Remembers what came of asking.
    fn note(
        &self,
        upstream: &Upstream,
        key: Option<&HeaderValue>,
        loaded: Result<Vec<Model>, ProxyError>,
    ) -> Result<Arc<Catalogue>, ProxyError> {
        let mut state = self.state();
        let settings = Arc::clone(&state.settings);
        state.with(key, |known| {
            known.is_refreshing = false;
            match loaded {
                Ok(models) => {
                    let catalogue = Arc::new(Catalogue::new(&models, &settings, digest));
                    let (models, at) = (Arc::new(models), Instant::now());
                    known.list = Some(List { at, models, catalogue: Arc::clone(&catalogue) });
                    known.failed = None;
                    Ok(catalogue)
                }
                Err(error) => {
                    let message = upstream.redacted(&error.to_string(), key);
                    tracing::debug!(message, "cannot get the list of models");
                    known.failed = Some((Instant::now(), error.status(), message));
                    known.catalogue().ok_or(error)
                }
            }
        })
    }

    fn known(&self, key: Option<&HeaderValue>) -> Known {
        let state = self.state();
        state.known.iter().find(|known| known.key.as_ref() == key).cloned().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn load(
        &self,
        upstream: &Upstream,
        client_key: Option<&HeaderValue>,
    ) -> Result<Vec<Model>, ProxyError> {
        let loading = tokio::time::timeout(LIST_TIMEOUT, self.models(upstream, client_key));
        loading.await.unwrap_or(Err(ProxyError::ModelList("it does not answer in time")))
    }

    async fn models(
        &self,
        upstream: &Upstream,
        client_key: Option<&HeaderValue>,
    ) -> Result<Vec<Model>, ProxyError> {
        let answer = upstream.get("/models", client_key).await?;
        match answer.status {
            status if status.is_success() => {}
            // No list there: what the settings name is all there is.
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED
                if self.settings().names_any() =>
            {
                return Ok(Vec::new());
            }
            _ => return Err(upstream.refusal(answer, "", client_key.is_some()).await),
        }
        let body = answer.body.read_to_end(MAX_LIST_BYTES).await;
        let body = body.map_err(|_| ProxyError::ModelList("its model list broke off or is too long"))?;
        let mut models = parse_models(&body).map_err(ProxyError::ModelList)?;
        let owners = models.iter().filter_map(|model| model.owned_by.as_deref());
        if let Some(profile) = owners.filter_map(Profile::of_owner).next() {
            self.profile.get_or_init(|| profile);
        }
        if let Some(native) = NativeFacts::of(&models)
            && let Ok(Some(body)) =
                tokio::time::timeout(FACTS_TIMEOUT, facts(native, upstream, client_key)).await
        {
            native.add(&body, &mut models);
        }
        Ok(models)
    }
}

/// What the backend says in an endpoint of its own. That it does not is no failure.
async fn facts(native: NativeFacts, upstream: &Upstream, client_key: Option<&HeaderValue>) -> Option<Bytes> {
    let answer = upstream.get_beside(native.path(), client_key).await.ok()?;
    if !answer.status.is_success() {
        return None;
    }
    answer.body.read_to_end(MAX_LIST_BYTES).await.ok()
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
    use super::*;

    #[test]
    fn keys_without_a_list_make_room_before_those_with_one() {
        let key = |n: usize| HeaderValue::try_from(format!("Bearer {n}")).unwrap();
        let list = || List { at: Instant::now(), models: Arc::default(), catalogue: Arc::default() };
        let mut state = State { settings: Arc::default(), known: Vec::new(), to_refresh: VecDeque::new() };
        let has = |state: &State, n: usize| state.known.iter().any(|known| known.key == Some(key(n)));
        let give = |state: &mut State, n: usize| state.with(Some(&key(n)), |known| known.list = Some(list()));
        for good in 0..MAX_KEYS - 1 {
            give(&mut state, good);
        }
        for made_up in 100..200 {
            assert!(state.with(Some(&key(made_up)), |known| known.list.is_none()));
        }
        assert_eq!(state.known.len(), MAX_KEYS);
        assert!((0..MAX_KEYS - 1).all(|good| has(&state, good)) && has(&state, 199) && !has(&state, 198));

        give(&mut state, 199);
        assert!(state.with(Some(&key(0)), |known| known.list.is_some()), "it is asked about again");
        state.with(Some(&key(300)), |_| ());
        assert!(has(&state, 0) && !has(&state, 1), "the longest not asked about");
        assert_eq!(state.known.len(), MAX_KEYS);
    }

    #[test]
    fn a_digest_is_the_sha_256_of_the_identifier() {
        assert_eq!(super::digest(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
