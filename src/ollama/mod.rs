//! Floor 1: the Ollama dialect: what clients ask, and the lines and bodies they read.
//!
//! Field names, their order and their presence are those of Ollama's own server (`api/types.go` and
//! `server/routes.go` of its sources); clients depend on them to the byte.
#![deny(clippy::indexing_slicing)]

mod embed;
mod error;
mod keep_alive;
mod manage;
mod model;
mod operations;
mod options;
mod request;
mod response;
mod route;
mod time;
mod timing;

pub use embed::{EmbedEndpoint, EmbedFigures, EmbedRequest, EmbedWriter, Texts, write_no_embedding};
pub use error::RequestError;
pub use keep_alive::KeepAlive;
pub use manage::{
    NO_SUCH_MANIFEST, PullRequest, check_body, check_copy, check_create, check_delete, check_push,
    write_progress, write_recommendations, write_status,
};
pub use model::{
    Listed, MAX_NAME_BYTES, canonical_name, same_model, without_latest, write_ps, write_show, write_tags,
};
pub use operations::{write_health, write_live, write_ready, write_validation};
pub use options::Options;
pub use request::{ChatRequest, Common, Format, GenerateRequest, Message, ShowRequest, Think, ToolCall};
pub use response::{Answer, DoneReason, Endpoint, LineHead, write_error, write_loaded, write_version};
pub use route::{Route, Routed};
pub use time::{Timestamp, TimestampText};
pub use timing::Timing;
