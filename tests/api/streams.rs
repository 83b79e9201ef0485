//! What stands around a stream on its connection: the requests before and behind it, the ways it can end the connection,
//! and a client that takes it slowly.

use crate::backend::Backend;
use crate::chunks::delta;
use crate::client::content;
use crate::proxy::{Proxy, chat};
use crate::signal::Signal;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn request(version: &str, fields: &str, prompt: &str) -> String {
    let body = chat(prompt).to_string();
    format!(
        "POST /api/chat {version}\r\nHost: localhost\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

const VERSION: &str = "GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn requests_that_were_sent_ahead_are_answered_behind_the_stream() {
    let go_on = Signal::new();
    let wait = Arc::clone(&go_on);
    let backend = Backend::new(move |request, peer| {
        if request.prompt() == "hold" {
            peer.begin();
            peer.event(&delta("held"));
            wait.wait();
            peer.event(&delta(" back"));
            return peer.done();
        }
        peer.say(request, &["Hello"]);
    });
    let proxy = Proxy::before(&backend);
    let mut client = proxy.client();
    client.send(request("HTTP/1.1", "", "hold") + VERSION).unwrap();
    assert_eq!(client.json_line_after_head()["message"]["content"], "held");
    // More than is read ahead while a stream runs.
    client.send(request("HTTP/1.1", "", &"x".repeat(100_000)) + VERSION).unwrap();
    go_on.raise();
    assert_eq!(client.json_line()["message"]["content"], " back");
    assert_eq!(client.json_line()["done"], true);
    assert_eq!(client.line().unwrap(), None);
    assert!(client.answer().json()["version"].is_string());
    assert_eq!(content(&client.answer().lines()), "Hello");
    assert!(client.answer().json()["version"].is_string());
}

#[test]
fn a_connection_stays_open_behind_a_stream_unless_somebody_said_otherwise() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    for (version, fields, is_chunked, stays_open) in [
        ("HTTP/1.1", "", true, true),
        ("HTTP/1.1", "Connection: keep-alive\r\n", true, true),
        ("HTTP/1.1", "Connection: x, Close\r\n", true, false),
        ("HTTP/1.0", "", false, false),
        ("HTTP/1.0", "Connection: keep-alive\r\n", false, false),
    ] {
        let mut client = proxy.client();
        client.send(request(version, fields, "q")).unwrap();
        let answer = client.answer();
        let coding = answer.head.header("transfer-encoding");
        assert_eq!(coding, is_chunked.then_some("chunked"), "{version} {fields}");
        assert_eq!(content(&answer.lines()), "Hello world", "{version} {fields}");
        if stays_open {
            client.send(VERSION).unwrap();
            assert_eq!(client.answer().status(), 200, "{version} {fields}");
        } else {
            assert!(client.is_closed_by_server(), "{version} {fields}");
        }
    }
}

#[test]
fn a_client_that_reads_late_gets_every_line() {
    let (stalled, count) = (Signal::new(), Arc::new(AtomicUsize::new(0)));
    let (raise, counted) = (Arc::clone(&stalled), Arc::clone(&count));
    let words = "a word of some length, and another ".repeat(30);
    let piece = {
        let event = crate::chunks::event(&delta(&words));
        format!("{:x}\r\n{event}\r\n", event.len())
    };
    let backend = Backend::new(move |_, peer| {
        peer.begin();
        let written = peer.flood(piece.as_bytes(), 100 << 20, Duration::from_millis(300));
        assert!(written < 100 << 20, "nobody stopped it");
        counted.store(written.div_ceil(piece.len()), Ordering::Relaxed);
        raise.raise();
        match written % piece.len() {
            0 => {}
            cut => assert!(peer.write(&piece.as_bytes()[cut..])),
        }
        peer.done();
    });
    let proxy = Proxy::before(&backend);
    let mut client = proxy.client();
    client.post("/api/chat", &chat("q"));
    stalled.wait();
    let lines = client.answer().lines();
    let (last, lines) = lines.split_last().unwrap();
    assert_eq!(last["done"], true);
    assert_eq!(lines.len(), count.load(Ordering::Relaxed));
    assert!(lines.iter().all(|line| line["message"]["content"] == words.as_str()));
}
