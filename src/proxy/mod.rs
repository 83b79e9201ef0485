//! Floor 3: sockets and time. One request is one straight line through `handler.rs`; what all share is in `app.rs`.

mod account;
mod admission;
mod app;
mod body;
mod catalog;
mod client;
mod demo;
mod discovery;
mod doctor;
mod echo;
mod embed;
mod error;
mod guard;
mod handler;
mod hangup;
mod health;
mod loaded;
mod manage;
mod metrics;
mod operations;
mod pass;
mod passed;
mod reply;
mod request_body;
mod request_id;
mod resolve;
mod retry_after;
mod run;
mod server;
mod silence;
mod target;
mod text;
mod tls;
mod tunnel;
mod upstream;

pub use run::{RunError, run};
