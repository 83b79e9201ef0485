//! `ollama-openai-proxy doctor`: will the clients work with this backend, and if not, what is to be set?
//!
//! A client of the proxy like any other: it meets it over loopback only, sends what each client sends on its way from
//! the first connection to an answer, and judges what comes back as that client would. Nothing here knows the proxy's
//! insides, so what it finds is what a user will find. It changes nothing and keeps nothing. A model that answers costs
//! what ten short questions cost; the other probes are free.
//!
//! Reading order: `clients` (who needs what), `probe` (the requests), `judge` (what must come back), `call` (HTTP),
//! `examine` (which models, in which order), `report` (what is printed).

mod call;
mod clients;
mod examine;
mod judge;
mod probe;
mod report;

pub(super) use call::{Asking, Caller};
pub(super) use examine::examine;
