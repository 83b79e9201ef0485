//! The measuring stick: what `perf-backend` writes and `perf-load` reads back, checks and times.
//!
//! `perf-backend` is a scripted OpenAI-compatible server; `perf-load` calls it directly (`--api openai`) or through the
//! proxy (`--api ollama`), so one run gives both sides of a difference. Every answer is checked to the byte: a run with
//! one wrong answer prints a fault and no figure. Traffic stays on loopback. `perf/README.md` has method and commands.

pub mod answer;
pub mod args;
pub mod cancel;
pub mod clock;
pub mod cold;
pub mod digest;
pub mod events;
pub mod http;
pub mod incoming;
pub mod process;
pub mod report;
pub mod request;
pub mod requests;
pub mod scenario;
pub mod slow;
pub mod streams;
pub mod tls;
pub mod token;
pub mod vectors;
