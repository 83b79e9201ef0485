//! [`Account`]: what is said and counted of one request when it is over: one line, no texts, no keys.

use super::app::App;
use super::error::{ErrorKind, ProxyError};
use super::loaded::InUse;
use super::metrics::Ended;
use super::request_id::RequestId;
use crate::ollama::{KeepAlive, Route, canonical_name};
use crate::openai::Usage;
use hyper::Method;
use hyper::header::HeaderValue;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Most of a path that is logged: longer than that of any endpoint.
const MAX_PATH_CHARS: usize = 100;

/// Most of an error's text that is logged: backends repeat what they were sent.
const MAX_ERROR_CHARS: usize = 200;

const CANCELLED: &str = "cancelled";

/// Follows a request to its end, which may be that the client hangs up: then it is dropped.
pub(super) struct Account {
    app: Arc<App>,
    route: Option<Route>,
    id: RequestId,
    method: Method,
    path: String,
    model: String,
    in_use: Option<InUse>,
    client_key: Option<HeaderValue>,
    began: Instant,
    status: Option<u16>,
    first_line: Option<Duration>,
    usage: Usage,
    error: Option<String>,
    ended: bool,
}

impl Account {
    /// Of a request for a path, which may be any text a client sends.
    /// `client_key` is what must not be said.
    pub(super) fn new(
        app: &Arc<App>,
        id: &RequestId,
        method: &Method,
        path: &str,
        client_key: Option<HeaderValue>,
    ) -> Self {
        app.metrics.began();
        Account {
            app: Arc::clone(app),
            route: None,
            id: id.clone(),
            method: method.clone(),
            path: beginning(path, MAX_PATH_CHARS).to_string(),
            model: String::new(),
            in_use: None,
            client_key,
            began: Instant::now(),
            status: None,
            first_line: None,
            usage: Usage::default(),
            error: None,
            ended: false,
        }
    }

    /// What was asked for, or its beginning.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// When the request arrived.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// The key that the client brought and that goes to the backend.
    pub(super) fn client_key(&self) -> Option<&HeaderValue> {
        self.client_key.as_ref()
    }

    pub(super) fn set_route(&mut self, route: Route) {
        self.route = Some(route);
    }

    pub(super) fn set_model(&mut self, model: &str) {
        self.model = model.to_string();
    }

    /// The model that was asked for answers: it is in use until the request is over.
    pub(super) fn hold_model(&mut self, keep_alive: Option<KeepAlive>) {
        if self.model.is_empty() {
            return;
        }
        let name = self.app.models.name_of(&self.model, self.client_key());
        self.hold(name.unwrap_or_else(|| canonical_name(&self.model)), keep_alive);
    }

    /// The client wants the model loaded, or unloaded. One that is not among the backend's is not.
    pub(super) fn load(&mut self, keep_alive: Option<KeepAlive>) {
        let Some(name) = self.app.models.name_of(&self.model, self.client_key()) else { return };
        if keep_alive == Some(KeepAlive::Unload) {
            self.app.loaded.unload(self.client_key(), &name);
        } else {
            self.hold(name, keep_alive);
        }
    }

    fn hold(&mut self, name: String, keep_alive: Option<KeepAlive>) {
        let keep_alive = keep_alive.unwrap_or(self.app.keep_alive);
        self.in_use = Some(self.app.loaded.hold(self.client_key(), name, keep_alive, Instant::now()));
    }

    pub(super) fn set_status(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// A line goes out; only the first counts.
    pub(super) fn first_line(&mut self) {
        if self.first_line.is_none() {
            let after = self.began.elapsed();
            self.first_line = Some(after);
            self.app.metrics.first_line(after);
        }
    }

    /// What the backend counted.
    pub(super) fn set_usage(&mut self, usage: Usage) {
        self.usage = usage;
    }

    /// The request failed, for the reason that the client reads.
    pub(super) fn fail(&mut self, kind: ErrorKind, message: &str) {
        // A request fails once, whatever else goes wrong with it.
        if self.error.is_none() {
            self.app.metrics.failed(kind);
        }
        self.error = Some(beginning(message, MAX_ERROR_CHARS).to_string());
    }

    /// The request is over.
    pub(super) fn end(&mut self) {
        if !self.ended {
            self.ended = true;
            self.close(if self.error.is_some() { "failed" } else { "done" });
        }
    }

    /// Counts it and says its line.
    fn close(&self, outcome: &'static str) {
        if let Some(used) = &self.in_use {
            self.app.loaded.release(used, Instant::now());
        }
        self.app.metrics.ended(&Ended {
            route: self.route,
            status: self.status,
            is_cancelled: outcome == CANCELLED,
            was_stream: self.first_line.is_some(),
            usage: self.usage,
        });
        // To the tenth.
        let ms = |time: Duration| (time.as_secs_f64() * 1e4).round() / 10.0;
        tracing::info!(
            id = self.id.text(),
            method = self.method.as_str(),
            path = self.path.as_str(),
            model = (!self.model.is_empty()).then_some(self.model.as_str()),
            status = self.status,
            first_line_ms = self.first_line.map(ms),
            total_ms = ms(self.began.elapsed()),
            prompt_tokens = self.usage.prompt_tokens,
            completion_tokens = self.usage.completion_tokens,
            outcome,
            error = self.error.as_deref(),
            "request"
        );
    }
}

/// The text's first characters, so many at most.
fn beginning(text: &str, max_chars: usize) -> &str {
    // What has no more bytes has no more characters.
    if text.len() <= max_chars {
        return text;
    }
    let end = text.char_indices().nth(max_chars).map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or(text)
}

impl Drop for Account {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // Nobody left: the request was cut off, before its first line by the handler, which answers so.
        if self.app.cut_off.is_now() {
            let error = ProxyError::Stopping;
            self.fail(error.kind(), &error.to_string());
            self.status.get_or_insert(error.status().as_u16());
            return self.end();
        }
        self.close(CANCELLED);
    }
}

#[cfg(test)]
mod tests {
    use super::beginning;

    #[test]
    fn a_beginning_is_cut_between_characters() {
        for (text, expected) in [("", ""), ("abc", "abc"), ("abcd", "abc"), ("äöü", "äöü"), ("äöüß", "äöü")]
        {
            assert_eq!(beginning(text, 3), expected);
        }
    }
}
