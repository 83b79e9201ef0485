//! [`Loaded`]: the models that are in use or were lately, for `/api/ps`, each until its `keep_alive` is over.
//!
//! Nothing is loaded here: it is what a client would see of Ollama, had Ollama answered. What one client's key asked for
//! is shown to that key alone, where the backend is asked with it. The lock is taken when a request begins and when it is
//! over, never for an event of a stream.

use crate::ollama::KeepAlive;
use hyper::header::HeaderValue;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// More than anybody reads; past it the model whose use began longest ago is no longer shown.
const MAX_MODELS: usize = 256;
/// What Ollama adds to now for "for ever", some 292 years: the `ollama` command shows it as `Forever`.
const FOREVER: Duration = Duration::from_nanos(i64::MAX as u64);

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// The one whose use began last is the first.
    entries: Mutex<Vec<Entry>>,
    hasher: RandomState,
}

/// A model in use, until it is given to [`Loaded::release`].
#[derive(Debug)]
pub(super) struct InUse {
    whose: u64,
    name: String,
}

#[derive(Debug)]
struct Entry {
    whose: u64,
    name: String,
    /// As the last request said.
    keep_alive: KeepAlive,
    users: u32,
    /// When the last of them was done.
    idle_since: Instant,
}

impl Entry {
    fn is(&self, whose: u64, name: &str) -> bool {
        self.whose == whose && self.name == name
    }

    /// How long it is still shown; one in use always is.
    fn left(&self, now: Instant) -> Option<Duration> {
        let idle =
            if self.users > 0 { Duration::ZERO } else { now.saturating_duration_since(self.idle_since) };
        match self.keep_alive {
            KeepAlive::Forever => Some(FOREVER),
            KeepAlive::For(time) => time.checked_sub(idle).filter(|left| !left.is_zero()),
            KeepAlive::Unload => (self.users > 0).then_some(Duration::ZERO),
        }
    }
}

impl Loaded {
    /// A request begins to use a model, by its name in `/api/tags`.
    pub(super) fn hold(
        &self,
        key: Option<&HeaderValue>,
        name: String,
        keep_alive: KeepAlive,
        now: Instant,
    ) -> InUse {
        let whose = self.whose(key);
        let mut entries = self.entries();
        entries.retain(|entry| entry.left(now).is_some());
        let known = entries.iter().position(|entry| entry.is(whose, &name)).map(|at| entries.remove(at));
        let users = known.map_or(0, |entry| entry.users) + 1;
        entries.insert(0, Entry { whose, name: name.clone(), keep_alive, users, idle_since: now });
        entries.truncate(MAX_MODELS);
        InUse { whose, name }
    }

    /// The request is over.
    pub(super) fn release(&self, used: &InUse, now: Instant) {
        let mut entries = self.entries();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.is(used.whose, &used.name)) {
            entry.users = entry.users.saturating_sub(1);
            entry.idle_since = now;
        }
    }

    /// The model is to go, once nobody uses it.
    pub(super) fn unload(&self, key: Option<&HeaderValue>, name: &str) {
        let whose = self.whose(key);
        if let Some(entry) = self.entries().iter_mut().find(|entry| entry.is(whose, name)) {
            entry.keep_alive = KeepAlive::Unload;
        }
    }

    /// The names of the models and how long each is still shown.
    pub(super) fn list(&self, key: Option<&HeaderValue>, now: Instant) -> Vec<(String, Duration)> {
        let whose = self.whose(key);
        let entries = self.entries();
        let own = entries.iter().filter(|entry| entry.whose == whose);
        own.filter_map(|entry| Some((entry.name.clone(), entry.left(now)?))).collect()
    }

    fn whose(&self, key: Option<&HeaderValue>) -> u64 {
        self.hasher.hash_one(key.map(HeaderValue::as_bytes))
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: KeepAlive = KeepAlive::For(Duration::from_secs(60));

    fn after(began: Instant, seconds: u64) -> Instant {
        began + Duration::from_secs(seconds)
    }

    fn shown(loaded: &Loaded, now: Instant) -> Vec<(String, u64)> {
        loaded.list(None, now).into_iter().map(|(name, left)| (name, left.as_secs())).collect()
    }

    fn one(seconds: u64) -> Vec<(String, u64)> {
        vec![("m".to_string(), seconds)]
    }

    #[test]
    fn the_time_begins_when_the_last_user_is_done() {
        let (loaded, began) = (Loaded::default(), Instant::now());
        let first = loaded.hold(None, "m".into(), MINUTE, began);
        let second = loaded.hold(None, "m".into(), MINUTE, after(began, 10));
        loaded.release(&first, after(began, 20));
        assert_eq!(shown(&loaded, after(began, 500)), one(60), "it is in use");
        loaded.release(&second, after(began, 500));
        assert_eq!(shown(&loaded, after(began, 501)), one(59));
        assert_eq!(shown(&loaded, after(began, 559)), one(1));
        assert_eq!(shown(&loaded, after(began, 560)), []);
    }

    #[test]
    fn the_last_request_says_how_long() {
        let (loaded, now) = (Loaded::default(), Instant::now());
        for (keep_alive, left) in [
            (MINUTE, one(60)),
            (KeepAlive::Forever, one(FOREVER.as_secs())),
            (KeepAlive::Unload, vec![]),
            (MINUTE, one(60)),
        ] {
            loaded.release(&loaded.hold(None, "m".into(), keep_alive, now), now);
            assert_eq!(shown(&loaded, now), left, "{keep_alive:?}");
        }
    }

    #[test]
    fn a_model_in_use_is_unloaded_when_that_is_over() {
        let (loaded, now) = (Loaded::default(), Instant::now());
        let used = loaded.hold(None, "m".into(), KeepAlive::Forever, now);
        loaded.unload(None, "other");
        loaded.unload(None, "m");
        assert_eq!(shown(&loaded, now), one(0));
        loaded.release(&used, now);
        assert_eq!(shown(&loaded, now), []);
    }

    #[test]
    fn a_key_neither_sees_nor_unloads_the_models_of_another() {
        let (loaded, now) = (Loaded::default(), Instant::now());
        let (a, b) = (HeaderValue::from_static("Bearer a"), HeaderValue::from_static("Bearer b"));
        loaded.release(&loaded.hold(Some(&a), "m".into(), MINUTE, now), now);
        loaded.unload(Some(&b), "m");
        loaded.unload(None, "m");
        let counts = [Some(&a), Some(&b), None].map(|key| loaded.list(key, now).len());
        assert_eq!(counts, [1, 0, 0]);
    }

    #[test]
    fn so_many_are_remembered_and_what_is_over_is_forgotten() {
        let (loaded, now) = (Loaded::default(), Instant::now());
        for number in 0..=MAX_MODELS {
            loaded.release(&loaded.hold(None, number.to_string(), MINUTE, now), now);
        }
        let names: Vec<_> = shown(&loaded, now).into_iter().map(|(name, _)| name).collect();
        assert_eq!((names.len(), names.contains(&"0".to_string())), (MAX_MODELS, false));
        let later = after(now, 60);
        loaded.release(&loaded.hold(None, "m".into(), MINUTE, later), later);
        assert_eq!(loaded.entries().len(), 1);
    }
}
