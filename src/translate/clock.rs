//! [`Clock`]: the time of one answer, as the lines show it. It is set from outside.

use crate::ollama::Timestamp;
use bytes::BytesMut;
use std::time::Duration;

/// Durations count from the arrival of the request.
#[derive(Debug)]
pub(super) struct Clock {
    pub(super) started_at: Timestamp,
    /// When the backend had the request.
    pub(super) load: Duration,
    pub(super) now: Duration,
    pub(super) first_token: Option<Duration>,
    pub(super) last_token: Duration,
    /// `created_at` of `now`; empty until a line needs it.
    text: BytesMut,
}

impl Clock {
    pub(super) fn new(started_at: Timestamp, load: Duration) -> Self {
        let text = BytesMut::with_capacity(32);
        Clock { started_at, load, now: load, first_token: None, last_token: load, text }
    }

    /// Time went on.
    pub(super) fn set(&mut self, now: Duration) {
        self.now = now;
        self.text.clear();
    }

    /// A token came.
    pub(super) fn token(&mut self) {
        self.first_token.get_or_insert(self.now);
        self.last_token = self.now;
    }

    /// `created_at`, without quotes.
    pub(super) fn text(&mut self) -> &[u8] {
        if self.text.is_empty() {
            self.started_at.after(self.now).write(&mut self.text);
        }
        &self.text
    }
}
