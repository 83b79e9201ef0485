//! A client that hangs up ends the backend's request at once, whatever the proxy was waiting for (faults N1 to N3): a
//! user's tokens are not spent on nobody.

use crate::backend::{Backend, Peer, Request};
use crate::chunks::{delta, role};
use crate::client::Client;
use crate::proxy::{Proxy, chat};
use crate::signal::Signal;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Milliseconds on an idle machine; a loaded one may take its time, but no timeout of the proxy is this short.
const PROMPT: Duration = Duration::from_secs(1);

/// A backend that goes as far as the script does, tells the test so, and then waits for the end.
fn stalling(script: impl Fn(&Request, &mut Peer) + Send + Sync + 'static) -> (Backend, Arc<Signal>) {
    let there = Signal::new();
    let tell = Arc::clone(&there);
    let backend = Backend::new(move |request, peer| {
        if request.prompt() == "again" {
            return peer.say(request, &["Hello"]);
        }
        script(request, peer);
        tell.raise();
        peer.wait_closed();
    });
    (backend, there)
}

/// The connection of the last POST must be closed soon, and the next chat must not suffer.
fn assert_ended(backend: &Backend, proxy: &Proxy, left: Instant) {
    let connection = backend.posts().pop().unwrap().connection;
    let took = backend.wait_closed(connection).saturating_duration_since(left);
    assert!(took < PROMPT, "the backend's connection was closed after {took:?}");
    assert_eq!(proxy.chat("again").lines().len(), 2);
    proxy.wait_for_log("the cancelled request", |log| log.contains("outcome=cancelled"));
}

#[test]
fn a_client_that_leaves_before_the_backends_head_ends_the_request() {
    for stream in [true, false] {
        let (backend, there) = stalling(|_, _| {});
        let proxy = Proxy::before(&backend);
        let mut client = proxy.client();
        let mut request = chat("q");
        request["stream"] = json!(stream);
        client.post("/api/chat", &request);
        there.wait();
        drop(client);
        assert_ended(&backend, &proxy, Instant::now());
    }
}

#[test]
fn a_client_that_leaves_between_the_head_and_the_first_line_ends_the_request() {
    let (backend, there) = stalling(|_, peer| {
        peer.begin();
        peer.event(&role());
    });
    let proxy = Proxy::before(&backend);
    let mut client = proxy.client();
    client.post("/api/chat", &chat("q"));
    there.wait();
    drop(client);
    assert_ended(&backend, &proxy, Instant::now());
}

#[test]
fn a_client_that_leaves_after_the_first_line_ends_the_request() {
    for path in ["/api/chat", "/api/generate"] {
        let (backend, there) = stalling(|_, peer| {
            peer.begin();
            peer.event(&delta("Hello"));
        });
        let proxy = Proxy::before(&backend);
        let mut client = proxy.client();
        let mut request = chat("q");
        request["prompt"] = json!("q");
        client.post(path, &request);
        there.wait();
        assert_eq!(client.head().status, 200);
        client.json_line();
        drop(client);
        assert_ended(&backend, &proxy, Instant::now());
    }
}

#[test]
fn a_client_that_leaves_while_its_whole_answer_is_gathered_ends_the_request() {
    let (backend, there) = stalling(|_, peer| {
        peer.begin();
        peer.event(&delta("Hello"));
    });
    let proxy = Proxy::before(&backend);
    let mut client = proxy.client();
    let mut request = chat("q");
    request["stream"] = json!(false);
    client.post("/api/chat", &request);
    there.wait();
    drop(client);
    assert_ended(&backend, &proxy, Instant::now());
}

#[test]
fn a_client_that_leaves_while_the_backends_error_is_read_ends_the_request() {
    let (backend, there) = stalling(|_, peer| {
        peer.write("HTTP/1.1 500 Scripted\r\ncontent-length: 1000\r\n\r\n{\"error\":");
    });
    let proxy = Proxy::before(&backend);
    let mut client = proxy.client();
    client.post("/api/chat", &chat("q"));
    there.wait();
    drop(client);
    assert_ended(&backend, &proxy, Instant::now());
}

#[test]
fn a_client_that_closes_only_its_sending_side_counts_as_gone() {
    let (backend, there) = stalling(|_, peer| {
        peer.begin();
        peer.event(&delta("Hello"));
    });
    let proxy = Proxy::before(&backend);
    let mut client = proxy.client();
    client.post("/api/chat", &chat("q"));
    there.wait();
    client.json_line_after_head();
    client.close_write();
    assert_ended(&backend, &proxy, Instant::now());
}

#[test]
fn a_client_that_leaves_does_not_disturb_another() {
    let (go_on, there) = (Signal::new(), Signal::new());
    let (wait, tell) = (Arc::clone(&go_on), Arc::clone(&there));
    let backend = Backend::new(move |request, peer| {
        peer.begin();
        peer.event(&delta("Hello"));
        tell.raise();
        if request.prompt() == "stays" {
            wait.wait();
            peer.event(&delta(" world"));
            peer.event(&crate::chunks::finish("stop"));
            return peer.done();
        }
        peer.wait_closed();
    });
    let proxy = Proxy::before(&backend);
    let begin = |prompt: &str| {
        let mut client: Client = proxy.client();
        client.post("/api/chat", &chat(prompt));
        there.wait();
        client.json_line_after_head();
        client
    };
    let (mut stays, leaves) = (begin("stays"), begin("leaves"));
    let connection = backend.wait_for_posts(2).connection;
    drop(leaves);
    backend.wait_closed(connection);
    go_on.raise();
    assert_eq!(stays.json_line()["message"]["content"], " world");
    assert_eq!(stays.json_line()["done"], true);
    assert_eq!(stays.line().unwrap(), None);
}

#[test]
fn a_client_that_leaves_while_connecting_is_tried_again_ends_the_request() {
    let closed = crate::proxy::nobody();
    let url = format!("http://{closed}/v1");
    let proxy = Proxy::start(&[("OPENAI_API_BASE_URL", &url), ("MAX_RETRIES", "10"), ("LOG_LEVEL", "DEBUG")]);
    let mut client = proxy.client();
    client.post("/api/chat", &chat("q"));
    proxy.wait_for_log("the first try", |log| log.contains("connecting to the backend failed"));
    drop(client);
    let left = Instant::now();
    proxy.wait_for_log("the cancelled request", |log| log.contains("outcome=cancelled"));
    assert!(left.elapsed() < PROMPT, "{:?}", left.elapsed());
}
