//! [`App`]: what all requests share.

use super::catalog::Models;
use super::error::ProxyError;
use super::guard::Guard;
use super::upstream::Upstream;
use crate::config::{self, Config};
use crate::openai::{Dialect, Profile, Refused};
use crate::translate::ModelSettings;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::Notify;

/// Shared state. What changes in it: the list of models, and what the backend refused.
pub(super) struct App {
    pub(super) upstream: Upstream,
    pub(super) models: Models,
    pub(super) guard: Guard,
    /// The Ollama version that clients are told.
    pub(super) version: String,
    /// Tells running answers that their time is over.
    pub(super) cut_off: Arc<Notify>,
    /// Longest request body, in bytes.
    pub(super) max_body_bytes: usize,
    profile: Profile,
    refused: AtomicU32,
}

impl App {
    /// From a configuration.
    ///
    /// # Errors
    /// When the CA file cannot be used.
    pub(super) fn new(config: &Config) -> Result<Self, String> {
        let models = &config.models;
        Ok(App {
            upstream: Upstream::new(config)?,
            models: Models::new(ModelSettings {
                aliases: models.aliases.clone(),
                default_model: models.default_model.clone(),
                extra: models.extra.clone(),
                capabilities: models.capabilities.clone(),
                context_length: models.context_length,
            }),
            guard: Guard::new(&config.origins, config.listen.is_loopback(), config.log.hostname.as_deref()),
            version: config.ollama_version.clone(),
            cut_off: Arc::new(Notify::new()),
            max_body_bytes: config.max_body_bytes,
            profile: profile(config),
            refused: AtomicU32::new(0),
        })
    }

    /// What to send to the backend.
    pub(super) fn dialect(&self) -> Dialect {
        Dialect { profile: self.profile, refused: Refused(self.refused.load(Ordering::Relaxed)) }
    }

    /// Remembers what the backend refused.
    pub(super) fn learn(&self, refused: Refused) {
        self.refused.fetch_or(refused.0, Ordering::Relaxed);
    }

    /// What a client, and the log, are told of a failure.
    pub(super) fn told(&self, error: &ProxyError) -> String {
        // The `ollama` command shows a text of its own in the place of any message with these two words in it.
        self.upstream.redacted(&error.to_string()).replace("upstream error", "backend error")
    }
}

/// The kind of backend: as set, else by the host, where that is enough to know.
fn profile(config: &Config) -> Profile {
    match config.backend.profile {
        config::Profile::Auto => match config.backend.base.host() {
            "api.openai.com" => Profile::OpenAi,
            "openrouter.ai" => Profile::OpenRouter,
            _ => Profile::Standard,
        },
        config::Profile::OpenAi => Profile::OpenAi,
        config::Profile::OpenRouter => Profile::OpenRouter,
        config::Profile::Vllm => Profile::Vllm,
        config::Profile::LlamaCpp => Profile::LlamaCpp,
        config::Profile::Standard => Profile::Standard,
    }
}
