//! x
#[cfg(feature = "net")]
pub mod config;
#[cfg(feature = "net")]
pub mod log;
pub mod ollama;
pub mod openai;
#[cfg(feature = "net")]
pub mod proxy;
pub mod translate;
pub mod wire;
