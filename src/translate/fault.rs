//! [`Fault`]: why a backend's answer cannot become an Ollama answer.

use crate::openai::ApiError;
use crate::wire::SseError;
use std::fmt;

/// What was wrong with the answer. Which status that is, if any can still be sent, is decided on floor 3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The backend said so itself.
    Backend(ApiError),
    /// It ended before it was finished.
    Truncated,
    /// It is no answer; the words say what is wrong with it.
    Malformed(String),
    /// There is more of something than the given number.
    TooMuch(usize, &'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Backend(error) if error.message.is_empty() => match &error.code {
                Some(code) => write!(f, "the backend reported an error without a message: {code}"),
                None => f.write_str("the backend reported an error without a message"),
            },
            Fault::Backend(error) => f.write_str(&error.message),
            Fault::Truncated => f.write_str("the backend's answer ended before it was complete"),
            Fault::Malformed(what) => write!(f, "the backend sent something that is not an answer: {what}"),
            Fault::TooMuch(max, what) => write!(f, "the backend sent more than {max} {what}"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<SseError> for Fault {
    fn from(error: SseError) -> Self {
        Fault::TooMuch(error.max_event_bytes, "bytes in one event")
    }
}
