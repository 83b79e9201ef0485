//! [`JsonError`]: what is wrong with a JSON text.

use std::fmt;

/// What is wrong with a JSON text, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// What was met.
    pub kind: JsonErrorKind,
    /// Byte offset from the start of the text.
    pub offset: usize,
}

/// The kinds of [`JsonError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonErrorKind {
    /// The text ends inside a value.
    Truncated,
    /// A byte that the grammar does not allow there.
    Unexpected,
    /// A backslash that begins no escape.
    BadEscape,
    /// More than [`MAX_DEPTH`](super::MAX_DEPTH) containers inside each other.
    TooDeep,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            JsonErrorKind::Truncated => "unexpected end of JSON input",
            JsonErrorKind::Unexpected => "invalid character",
            JsonErrorKind::BadEscape => "invalid escape",
            JsonErrorKind::TooDeep => "nested too deeply",
        };
        write!(f, "{what} at offset {}", self.offset)
    }
}

impl std::error::Error for JsonError {}
