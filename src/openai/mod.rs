//! Floor 1: the OpenAI dialect, as the servers that call themselves compatible really speak it.
//!
//! Requests are written, chunks and bodies are read in place. What a kind of backend accepts or refuses is a row in
//! [`dialect`](Dialect); what one sends is a case in the chunk reader.
#![deny(clippy::indexing_slicing)]

mod cause;
mod chunk;
mod demand;
mod dialect;
mod embedding;
mod embedding_list;
mod error;
mod header;
mod members;
mod model;
mod refusal;
mod request;
mod response;
mod shape;
mod wait;

pub use cause::Cause;
pub use chunk::{ChatCompletionChunk, ChunkReader, Delta, FinishReason, Timings, Usage};
pub use demand::Demands;
pub use dialect::{Dialect, KeyHeader, Parameter, Parameters, Profile, Thought, profiles_markdown};
pub use embedding::{Embedding, EmbeddingInput, EmbeddingRequest, Norm, Values};
pub use embedding_list::{EmbeddingFault, EmbeddingList};
pub use error::ApiError;
pub use header::{is_key_header, is_request_header};
pub use members::Sampling;
pub use model::{Abilities, Model, NativeFacts};
pub use refusal::{write_error, write_messages_error};
pub use request::{ContentPart, MediaSource, RequestWriter, ToolCallRef};
pub use response::parse_models;
pub use shape::{EventShape, TextKind, TextShape};
pub use wait::Wait;
