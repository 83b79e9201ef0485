//! The embedded demonstration, `ollama-openai-proxy demo`: a whole path to try without a key, a network or a model.
//!
//! Two halves that meet only over loopback, as any client and any backend would: `backend` answers OpenAI's routes from
//! a script, and `tour` is an Ollama client that asks the proxy one question and shows what came back. Neither knows
//! the proxy's insides, so what a newcomer sees is the real translation. The backend is no model and never pretends to
//! be one, and it is no fixture for tests of odd backends: it sends what OpenAI sends, nothing else.
//!
//! Reading order: `backend` (routes), `request` and `field` (what was asked), `script` (what is said), `schema` and
//! `embedding` (what is made up), `envelope` (OpenAI's shapes), `body` (pace); then `tour` and `wrap` (what the person
//! sees).

mod backend;
mod body;
mod embedding;
mod envelope;
mod field;
mod request;
mod schema;
mod script;
mod tour;
mod wrap;

pub(super) use backend::DemoBackend;
pub(super) use body::{DemoBody, Pace};
pub(super) use tour::{next_steps, tour};
