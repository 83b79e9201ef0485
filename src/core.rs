//! The pure core, floors 0 to 2: bytes, two JSON dialects, and the way from one to the other. The crate
//! `ollama_openai_proxy` has the drawing of the house, and shows these modules as its own.

pub mod ollama;
pub mod openai;
pub mod translate;
pub mod wire;
