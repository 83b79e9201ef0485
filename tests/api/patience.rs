//! How long the proxy waits for a backend that keeps talking, and what it tells clients that wait when it stops.

use super::backend::Backend;
use super::chunks::{delta, finish};
use super::proxy::{Proxy, chat};
use super::signal::Signal;
use serde_json::json;
use std::sync::Arc;

#[test]
fn keep_alives_behind_the_finish_reason_do_not_hold_the_last_line() {
    let backend = Backend::new(|_, peer| {
        peer.begin();
        peer.event(&delta("Hello"));
        peer.event(&finish("stop"));
        while peer.chunk(": ping\n\n") {}
    });
    let proxy = Proxy::before(&backend);
    assert_eq!(proxy.chat("q").lines()[1]["done_reason"], "stop");
    let mut whole = chat("q");
    whole["stream"] = json!(false);
    assert_eq!(proxy.post("/api/chat", &whole).json()["done_reason"], "stop");
    backend.wait_closed(1);
    backend.wait_closed(2);
}

#[test]
fn a_backend_that_talks_on_behind_done_is_left() {
    let backend = Backend::new(|_, peer| {
        peer.begin();
        peer.event(&delta("Hello"));
        peer.event(&finish("stop"));
        peer.chunk("data: [DONE]\n\n");
        while peer.chunk("data: more\n\n") {}
    });
    let proxy = Proxy::before(&backend);
    assert_eq!(proxy.chat("q").lines().len(), 2);
    backend.wait_closed(1);
}

#[test]
fn a_request_that_waits_for_the_backend_is_told_when_the_proxy_stops() {
    let never = Signal::new();
    let wait = Arc::clone(&never);
    let backend = Backend::new(move |_, _| wait.wait());
    let mut proxy = Proxy::with(&backend, &[("SHUTDOWN_GRACE", "0.2")]);
    let mut client = proxy.client();
    client.post("/api/chat", &chat("q"));
    backend.wait_for_posts(1);
    proxy.signal("TERM");
    let answer = client.answer();
    assert_eq!((answer.status(), &*answer.error()), (503, "the proxy is stopping; the answer is cut off"));
    assert_eq!(proxy.wait_exit().code(), Some(0));
    never.raise();
}

#[test]
fn the_key_of_a_client_is_in_no_log_line_even_when_the_backend_repeats_it() {
    let backend = Backend::new(|request, peer| {
        let key = request.header("authorization").unwrap_or_default().to_string();
        peer.json(500, &json!({"error": format!("you sent {key}")}));
    });
    let proxy = Proxy::with(&backend, &[("LOG_LEVEL", "DEBUG")]);
    let body = chat("q").to_string();
    let key = [("authorization", "Bearer sk-CANARY-0123456789")];
    let answer = proxy.ask("POST", "/api/chat", &key, Some(body.as_bytes()));
    assert_eq!(answer.error(), "you sent Bearer [redacted]");
    let log = proxy.wait_for_log("the request", |log| log.contains("/api/chat"));
    assert!(!log.contains("CANARY"), "{log}");
}
