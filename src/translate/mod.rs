//! Floor 2: one dialect to the other. Pure functions and one state machine; time comes in as an argument.
//!
//! | Ollama | OpenAI | by |
//! |---|---|---|
//! | `POST /api/chat` | `POST /chat/completions` | [`write_chat`], [`StreamTranslator`] |
//! | `POST /api/generate` | `POST /chat/completions` | [`write_generate`], [`StreamTranslator`] |
//! | the same with `raw` or `suffix` | `POST /completions` | [`write_generate`], [`StreamTranslator`] |
//! | `POST /api/embed`, `POST /api/embeddings` | `POST /embeddings` | [`write_embed`], [`EmbedTranslator`] |
//! | `GET /api/tags`, `POST /api/show` | `GET /models` | [`Catalogue`] |
//! | `/v1/...` | `/...`, as it came | [`NamedModel`] |
#![deny(clippy::indexing_slicing)]

mod chat;
mod clock;
mod embed;
mod fault;
mod framing;
mod generate;
mod glob;
mod history;
mod keepsake;
mod logprobs;
mod media;
mod models;
mod options;
mod output;
mod parts;
mod pass;
mod stream;
mod think_tags;
mod tools;
mod whole;

pub use chat::write_chat;
pub use embed::{EmbedReply, EmbedTranslator, PIECE_BYTES, write_embed};
pub use fault::Fault;
pub use generate::{is_completion, write_generate};
pub use keepsake::{Keepsake, MadeCall, Recall};
pub use models::{Catalogue, ModelSettings, Override};
pub use pass::NamedModel;
pub use stream::{Answering, BodyKind, StreamTranslator, Wanted};
pub use think_tags::ThinkTags;

/// Where a request goes, below the backend's base URL.
pub const CHAT_COMPLETIONS: &str = "/chat/completions";
/// Where a request without a chat template goes.
pub const COMPLETIONS: &str = "/completions";
/// Where texts become vectors.
pub const EMBEDDINGS: &str = "/embeddings";
