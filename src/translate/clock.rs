//! [`Clock`]: the time of one answer, as the lines show it. It is set from outside.

use crate::ollama::{Timestamp, TimestampText};
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
    /// `created_at` of `now`, once a line needed it.
    text: TimestampText,
    is_text_of_now: bool,
}

impl Clock {
    pub(super) fn new(started_at: Timestamp, load: Duration) -> Self {
        Clock {
            started_at,
            load,
            now: load,
            first_token: None,
            last_token: load,
            text: TimestampText::default(),
            is_text_of_now: false,
        }
    }

    /// Time went on.
    pub(super) fn set(&mut self, now: Duration) {
        self.now = now;
        self.is_text_of_now = false;
    }

    /// A token came.
    pub(super) fn token(&mut self) {
        self.first_token.get_or_insert(self.now);
        self.last_token = self.now;
    }

    /// `created_at`, without quotes.
    pub(super) fn text(&mut self) -> &[u8] {
        if !self.is_text_of_now {
            self.text.set(self.started_at.after(self.now));
            self.is_text_of_now = true;
        }
        self.text.as_bytes()
    }
}
