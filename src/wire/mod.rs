//! Floor 0: bytes. Server-sent events in, JSON texts read in place, JSON lines out.
//!
//! Nothing here knows an API: no field name of Ollama or OpenAI, no socket, no clock. Everything is fed by the
//! caller and can be cut anywhere; short input is "nothing yet", never an error.
#![deny(clippy::indexing_slicing)]

mod equal;
mod inside;
mod json_error;
mod number;
mod scan;
mod split;
mod squares;
mod sse;
mod text;
mod write;

pub use equal::are_equal;
pub use json_error::{JsonError, JsonErrorKind};
pub use number::Number;
pub use scan::{Kind, MAX_DEPTH, RawJson, Scanner};
pub use split::ValueEnd;
pub use squares::Squares;
pub use sse::{SseDecoder, SseError, SseEvent};
pub use text::{KEY_BYTES, RawStr};
pub use write::JsonWriter;
