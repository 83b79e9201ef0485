//! [`RequestError`]: what is wrong with a client's request, in words that name the field and the way out.

use crate::wire::{JsonError, Kind};
use std::borrow::Cow;
use std::fmt;

/// A request that cannot be read. The status is 400 unless Ollama itself answers otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError {
    message: Cow<'static, str>,
    /// Ollama says 404 for a missing model name on generate and embed.
    pub is_not_found: bool,
}

impl RequestError {
    /// A fault in the given words.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        RequestError { message: message.into(), is_not_found: false }
    }

    /// The same with Ollama's 404.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        RequestError { message: message.into(), is_not_found: true }
    }

    /// "options.num_predict: expected an integer, found string"
    #[must_use]
    pub fn expected(field: impl fmt::Display, expected: &str, found: Kind) -> Self {
        Self::new(format!("{field}: expected {expected}, found {}", found.name()))
    }
}

impl From<JsonError> for RequestError {
    fn from(error: JsonError) -> Self {
        Self::new(format!("the request body is not valid JSON: {error}"))
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RequestError {}
