//! [`App`]: what all requests share, and what those of one thread do.

use super::admission::Admission;
use super::catalog::Models;
use super::echo::Echo;
use super::error::ProxyError;
use super::guard::Guard;
use super::loaded::Loaded;
use super::metrics::Metrics;
use super::operations::Readiness;
use super::upstream::Upstream;
use crate::config::{self, Config};
use crate::ollama::KeepAlive;
use crate::openai::{Dialect, Parameters, Profile};
use crate::translate::{ModelSettings, Override, ThinkTags};
use hyper::header::HeaderValue;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// More models than any one backend's users ask for; past it what was learnt is learnt anew.
const MAX_MODELS_LEARNT: usize = 1024;

/// What the requests of one thread share: what those of all threads do, and the way to the backend, whose connections
/// belong to the thread.
pub(super) struct App {
    pub(super) upstream: Upstream,
    shared: Arc<Shared>,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

/// What all requests share. What changes in it: the list of models, which are in use, and what the backend refused.
pub(super) struct Shared {
    pub(super) models: Models,
    pub(super) guard: Guard,
    pub(super) admission: Admission,
    pub(super) metrics: Arc<Metrics>,
    /// Whether they can be asked for.
    pub(super) serves_metrics: bool,
    /// What the probes are told of the backend.
    pub(super) readiness: Readiness,
    /// A label such as `production`.
    pub(super) environment: String,
    /// What was said of the configuration at the start.
    pub(super) warnings: Vec<String>,
    /// The Ollama version that clients are told.
    pub(super) version: String,
    /// Tells running answers that their time is over.
    pub(super) cut_off: CutOff,
    /// Longest request body, in bytes.
    pub(super) max_body_bytes: usize,
    /// What goes back to the backend that it said itself.
    pub(super) echo: Echo,
    /// What `/api/ps` shows.
    pub(super) loaded: Loaded,
    /// Where a request says nothing of it.
    pub(super) keep_alive: KeepAlive,
    /// Whether the backend's texts hold their reasoning.
    pub(super) think_tags: ThinkTags,
    /// As set, or known by the host.
    profile: Option<Profile>,
    /// By the backend's name of a model.
    refused: Mutex<HashMap<String, Parameters>>,
}

impl App {
    /// From a configuration; `on_loopback` says that only this machine can reach the listener.
    ///
    /// # Errors
    /// When the CA file cannot be used.
    pub(super) fn new(config: &Config, on_loopback: bool) -> Result<Self, String> {
        let metrics = Arc::new(Metrics::new(&config.backend.base.origin()));
        let upstream = Upstream::new(config, &metrics)?;
        let shared = Arc::new(Shared {
            models: Models::new(model_settings(&config.models), config.models.ttl),
            admission: Admission::new(config.proxy_key.as_ref()),
            guard: Guard::new(&config.origins, on_loopback, config.log.hostname.as_deref()),
            metrics,
            serves_metrics: config.serves_metrics,
            readiness: Readiness::default(),
            environment: config.log.environment.clone(),
            warnings: config.warnings.clone(),
            version: config.ollama_version.clone(),
            cut_off: CutOff::default(),
            max_body_bytes: config.max_body_bytes,
            echo: Echo::new(&config.backend),
            loaded: Loaded::default(),
            keep_alive: config.keep_alive.map_or(KeepAlive::Forever, KeepAlive::after),
            think_tags: think_tags(config),
            profile: profile(config),
            refused: Mutex::default(),
        });
        Ok(App { upstream, shared })
    }

    /// The same for another thread.
    pub(super) fn for_another_thread(&self) -> Self {
        App { upstream: self.upstream.with_own_connections(), shared: Arc::clone(&self.shared) }
    }

    /// What a client, and the log, are told of a failure. `client_key` is the one that was sent, where none is
    /// configured.
    pub(super) fn told(&self, error: &ProxyError, client_key: Option<&HeaderValue>) -> String {
        // The `ollama` command shows a text of its own in the place of any message with these two words in it.
        self.upstream.redacted(&error.to_string(), client_key).replace("upstream error", "backend error")
    }
}

impl Shared {
    /// What to send to the backend for a model.
    pub(super) fn dialect(&self, model: &str) -> Dialect {
        let profile = self.profile.or_else(|| self.models.profile()).unwrap_or_default();
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        Dialect {
            profile,
            refused: refused.get(model).copied().unwrap_or_default(),
            demands: self.echo.demands(model),
        }
    }

    /// Remembers what the backend refused for a model.
    pub(super) fn learn(&self, model: &str, new: Parameters) {
        if new.is_empty() {
            return;
        }
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() >= MAX_MODELS_LEARNT && !refused.contains_key(model) {
            refused.clear();
        }
        let known = refused.entry(model.to_string()).or_default();
        let before = *known;
        *known = known.or(new);
        if *known != before {
            self.metrics.learned();
        }
    }
}

/// A moment at which something must end, once it has come.
#[derive(Debug, Default)]
pub(super) struct CutOff {
    has_come: AtomicBool,
    waiting: Arc<Notify>,
}

impl CutOff {
    pub(super) fn come(&self) {
        self.has_come.store(true, Ordering::Relaxed);
        self.waiting.notify_waiters();
    }

    pub(super) fn is_now(&self) -> bool {
        self.has_come.load(Ordering::Relaxed)
    }

    /// Ends when the moment comes.
    pub(super) fn notified(&self) -> OwnedNotified {
        Arc::clone(&self.waiting).notified_owned()
    }
}

/// What the configuration says of models, as the catalogue takes it. What the settings say comes after what the model
/// map says: of equal globs the later counts.
pub(super) fn model_settings(models: &config::Models) -> ModelSettings {
    let overrides = models.map_overrides.iter().chain(&models.overrides).cloned();
    ModelSettings {
        aliases: models.aliases.clone(),
        default_model: models.default_model.clone(),
        extra: models.extra.clone(),
        include: models.include.clone(),
        exclude: models.exclude.clone(),
        overrides: overrides
            .map(|it| Override {
                glob: it.glob,
                capabilities: it.capabilities,
                context_length: it.context_length,
                embedding_length: it.embedding_length,
                family: it.family,
                parameter_size: it.parameter_size,
                quantization_level: it.quantization_level,
            })
            .collect(),
        context_length: models.context_length,
    }
}

fn think_tags(config: &Config) -> ThinkTags {
    match config.backend.think_tags {
        config::ThinkTags::Off => ThinkTags::Off,
        config::ThinkTags::On => ThinkTags::On,
        config::ThinkTags::Open => ThinkTags::Open,
    }
}

/// The kind of backend: as set, else by the host, where that is enough to know.
pub(super) fn profile(config: &Config) -> Option<Profile> {
    match config.backend.profile {
        Some(name) => Some(Profile::named(name).unwrap_or_default()),
        None => Profile::of_host(config.backend.base.host()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_setting_names_the_rows_of_the_table() {
        let rows: BTreeSet<_> = Profile::all().map(Profile::name).collect();
        assert_eq!(rows, config::PROFILES.iter().copied().collect());
    }
}
