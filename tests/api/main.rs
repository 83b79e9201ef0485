//! The whole proxy, from outside: the real binary between a raw client and a scripted backend, over loopback.
//!
//! What the translation makes of every text is for the golden files; here is what only sockets and processes show:
//! statuses, headers, framing, who closes which connection and when, signals, limits. Every wait is for the thing
//! itself and has a bound; nothing sleeps.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the code around the tests is test code too"
)]

#[path = "../support/backend.rs"]
mod backend;
#[path = "../support/chunks.rs"]
mod chunks;
#[path = "../support/client.rs"]
mod client;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/signal.rs"]
mod signal;
#[path = "../support/tls.rs"]
mod tls;

mod auth;
mod broken;
mod cancel;
mod commands;
mod doctor;
mod door;
mod embed;
mod errors;
mod flow;
mod forward;
mod framing;
mod golden;
mod guard;
mod ids;
mod learn;
mod limits;
mod loops;
mod manage;
mod memory;
mod model_map;
mod models;
mod operations;
mod pass;
mod pass_flow;
mod patience;
mod ps;
mod refresh;
mod shutdown;
mod smuggling;
mod streams;
mod thirty;
mod threads;
mod upstream;
mod wire_facts;
