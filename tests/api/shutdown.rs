//! The end of the process: SIGTERM lets answers end and waits for nothing else; a second one ends at once (fault N26).

use crate::backend::Backend;
use crate::chunks::{delta, finish};
use crate::client::{Client, content, error_of, json_line};
use crate::proxy::{Proxy, chat};
use crate::signal::{PATIENCE, Signal};
use std::sync::Arc;
use std::time::Instant;

/// A backend that says "Hello", waits for the signal, and then ends well.
pub(crate) fn pausing() -> (Backend, Arc<Signal>) {
    let go_on = Signal::new();
    let wait = Arc::clone(&go_on);
    let backend = Backend::new(move |_, peer| {
        peer.begin();
        peer.event(&delta("Hello"));
        wait.wait();
        peer.event(&delta(" world"));
        peer.event(&finish("stop"));
        peer.done();
    });
    (backend, go_on)
}

fn begin(proxy: &Proxy) -> Client {
    let mut client = proxy.client();
    client.post("/api/chat", &chat("q"));
    assert_eq!(content(&[client.json_line_after_head()]), "Hello");
    client
}

fn wait_for_stop(proxy: &Proxy) {
    proxy.wait_for_log("the word that it stops", |log| log.contains("stopping"));
}

#[test]
fn a_stream_that_runs_at_sigterm_ends_whole_and_then_the_process_does() {
    for signal in ["TERM", "INT"] {
        let (backend, go_on) = pausing();
        let mut proxy = Proxy::before(&backend);
        let mut clients = [begin(&proxy), begin(&proxy)];
        proxy.signal(signal);
        wait_for_stop(&proxy);
        assert!(std::net::TcpStream::connect(proxy.address).is_err(), "nobody new is let in");
        assert!(proxy.is_running());
        go_on.raise();
        go_on.raise();
        let told = Instant::now();
        for client in &mut clients {
            assert_eq!(content(&[client.json_line()]), " world");
            assert_eq!(client.json_line()["done"], true);
            assert_eq!(client.line().expect("the body ends well"), None);
        }
        assert_eq!(proxy.wait_exit().code(), Some(0), "{}", proxy.log());
        assert!(told.elapsed() < PATIENCE / 3, "{:?} after the last stream", told.elapsed());
    }
}

#[test]
fn a_question_that_is_still_being_answered_at_sigterm_gets_its_answer() {
    let (asked, go_on) = (Signal::new(), Signal::new());
    let (tell, wait) = (Arc::clone(&asked), Arc::clone(&go_on));
    let backend = Backend::new(move |request, peer| {
        tell.raise();
        wait.wait();
        peer.say(request, &["Hello"]);
    });
    let mut proxy = Proxy::before(&backend);
    let mut client = proxy.client();
    let mut whole = chat("q");
    whole["stream"] = serde_json::json!(false);
    client.post("/api/chat", &whole);
    asked.wait();
    proxy.signal("TERM");
    wait_for_stop(&proxy);
    go_on.raise();
    let answer = client.answer();
    assert_eq!((answer.status(), &answer.json()["message"]["content"]), (200, &"Hello".into()));
    assert_eq!(answer.head.header("connection"), Some("close"), "there will be no next request");
    assert_eq!(proxy.wait_exit().code(), Some(0));
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let (backend, _never) = pausing();
    let mut proxy = Proxy::before(&backend);
    let mut client = begin(&proxy);
    proxy.signal("TERM");
    wait_for_stop(&proxy);
    assert!(proxy.is_running());
    let told = Instant::now();
    proxy.signal("TERM");
    proxy.wait_exit();
    assert!(told.elapsed() < PATIENCE / 3, "{:?}", told.elapsed());
    // What the client has must not look like a whole answer.
    if let Ok(rest) = client.rest() {
        let text = String::from_utf8(rest).unwrap();
        error_of(&json_line(text.lines().last().expect("a clean end needs an error line")));
    }
}

#[test]
fn idle_connections_do_not_hold_the_process() {
    let backend = Backend::hello();
    let mut proxy = Proxy::before(&backend);
    let mut used: Vec<Client> = (0..10).map(|_| proxy.client()).collect();
    for client in &mut used {
        client.request("GET", "/", &[], None);
        assert_eq!(client.answer().status(), 200);
    }
    assert_eq!(proxy.chat("q").status(), 200);
    let _never_used: Vec<Client> = (0..10).map(|_| proxy.client()).collect();
    let told = Instant::now();
    proxy.signal("TERM");
    assert_eq!(proxy.wait_exit().code(), Some(0));
    assert!(told.elapsed() < PATIENCE / 3, "{:?}", told.elapsed());
    for client in &mut used {
        assert!(client.is_closed_by_server());
    }
}

#[test]
fn half_a_request_does_not_hold_the_process_longer_than_the_grace() {
    let backend = Backend::hello();
    let mut proxy = Proxy::with(&backend, &[("SHUTDOWN_GRACE", "0.2")]);
    let mut client = proxy.client();
    client.send("POST /api/chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{").unwrap();
    let mut other = proxy.client();
    other.send("GET / HTTP/1.1\r\nho").unwrap();
    assert_eq!(proxy.get("/").status(), 200);
    proxy.signal("TERM");
    assert_eq!(proxy.wait_exit().code(), Some(0), "{}", proxy.log());
}

#[test]
fn a_stream_that_outlasts_the_grace_ends_in_an_error_line() {
    let (backend, _never) = pausing();
    let mut proxy = Proxy::with(&backend, &[("SHUTDOWN_GRACE", "0.2")]);
    let mut client = begin(&proxy);
    proxy.signal("TERM");
    let line = client.line();
    let Ok(Some(line)) = &line else { panic!("cut off without a word: {line:?}") };
    error_of(&json_line(line));
    assert_eq!(client.line().expect("the body ends well"), None);
    assert_eq!(proxy.wait_exit().code(), Some(0));
}

#[test]
fn a_request_without_an_answer_at_the_end_of_the_grace_is_a_503_and_nobody_cancelled_it() {
    let reached = Signal::new();
    let tell = Arc::clone(&reached);
    let backend = Backend::new(move |_, peer| {
        tell.raise();
        peer.wait_closed();
    });
    let mut proxy = Proxy::with(&backend, &[("SHUTDOWN_GRACE", "0.2")]);
    let mut client = proxy.client();
    client.post("/api/chat", &chat("q"));
    reached.wait();
    proxy.signal("TERM");
    let answer = client.answer();
    assert_eq!(answer.status(), 503);
    assert!(answer.error().contains("stopping"));
    assert_eq!(proxy.wait_exit().code(), Some(0));
    let log = proxy.log();
    let line = log.lines().find(|line| line.contains(" request ")).unwrap();
    assert!(line.contains("status=503") && line.contains("outcome=failed"), "{line}");
}

#[test]
fn a_broken_pipe_ends_nothing() {
    let backend = Backend::hello();
    let mut proxy = Proxy::before(&backend);
    proxy.signal("PIPE");
    assert_eq!(proxy.chat("q").status(), 200);
    assert!(proxy.is_running());
}
