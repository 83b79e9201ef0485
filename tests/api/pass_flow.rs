//! How answers and uploads of `/v1/...` flow and end: piece by piece as they come, dropped with the client, and visibly
//! broken where the backend breaks off (issue 3, point 8; faults N1 to N3, N26).

use crate::backend::{Backend, Peer, Request};
use crate::client::Client;
use crate::proxy::{Proxy, chat};
use crate::signal::{PATIENCE, Signal};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

const CHAT: &str = "/v1/chat/completions";
/// Milliseconds on an idle machine; a loaded one may take its time, but no timeout of the proxy is this short.
const PROMPT: Duration = Duration::from_secs(1);

/// A backend that begins a stream, sends this chunk, tells the test so, and goes on with the script.
fn beginning(script: impl Fn(&Request, &mut Peer) + Send + Sync + 'static) -> (Backend, Arc<Signal>) {
    let there = Signal::new();
    let tell = Arc::clone(&there);
    let backend = Backend::new(move |request, peer| {
        peer.begin();
        peer.chunk("data: 1\n\n");
        tell.raise();
        script(request, peer);
    });
    (backend, there)
}

fn begin(proxy: &Proxy) -> Client {
    let mut client = proxy.client();
    client.post(CHAT, &chat("q"));
    assert_eq!(client.head().status, 200);
    assert_eq!(client.chunk().unwrap().unwrap(), b"data: 1\n\n");
    client
}

fn wait_closed(peer: &mut Peer) {
    peer.wait_closed();
}

fn outcome(proxy: &Proxy, outcome: &str) -> String {
    let log = proxy.wait_for_log(outcome, |log| log.contains(&format!("outcome={outcome}")));
    log.lines().find(|line| line.contains("outcome=")).unwrap().to_string()
}

#[test]
fn every_piece_of_a_stream_is_out_before_the_backend_sends_the_next() {
    let pieces =
        ["data: {\"a\":1}\n\n", ": keep-alive\r\n\r\n", "data: \u{2028}é", "\n\n\n", "data: [DONE]\n\n"];
    let heard = Signal::new();
    let told = Arc::clone(&heard);
    let backend = Backend::new(move |_, peer| {
        peer.begin();
        for piece in pieces {
            peer.chunk(piece);
            told.wait();
        }
        peer.write("0\r\n\r\n");
    });
    let proxy = Proxy::before(&backend);
    let mut client = proxy.client();
    client.post(CHAT, &chat("q"));
    let head = client.head();
    assert_eq!(
        (head.content_type(), head.header("transfer-encoding")),
        ("text/event-stream", Some("chunked"))
    );
    for piece in pieces {
        assert_eq!(client.chunk().unwrap().unwrap(), piece.as_bytes());
        heard.raise();
    }
    assert_eq!(client.chunk().unwrap(), None);
    let line = outcome(&proxy, "done");
    assert!(line.contains("first_line_ms=") && line.contains("status=200"), "{line}");
    // Both connections are as good as new.
    client.post(CHAT, &chat("q"));
    client.head();
    assert_eq!(client.chunk().unwrap().unwrap(), pieces[0].as_bytes());
    assert_eq!(backend.seen().connections, 1);
}

#[test]
fn a_client_that_leaves_ends_the_backends_request() {
    let there = Signal::new();
    let tell = Arc::clone(&there);
    let backend = Backend::new(move |request, peer| {
        if request.prompt() != "before the head" {
            peer.begin();
        }
        if request.prompt() == "in the stream" {
            peer.chunk("data: 1\n\n");
        }
        tell.raise();
        peer.wait_closed();
    });
    for moment in ["before the head", "behind the head", "in the stream"] {
        let proxy = Proxy::before(&backend);
        let mut client = proxy.client();
        client.post(CHAT, &chat(moment));
        there.wait();
        if moment != "before the head" {
            assert_eq!(client.head().status, 200);
        }
        if moment == "in the stream" {
            assert!(client.chunk().unwrap().is_some());
        }
        let connection = backend.posts().pop().unwrap().connection;
        drop(client);
        let left = Instant::now();
        let took = backend.wait_closed(connection).saturating_duration_since(left);
        assert!(took < PROMPT, "{moment}: the backend's connection was closed after {took:?}");
        outcome(&proxy, "cancelled");
    }
}

#[test]
fn a_client_that_does_not_read_stops_the_backend() {
    const MAX: usize = 64 << 20;
    let written = Signal::new();
    let tell = Arc::clone(&written);
    let backend = Backend::new(move |_, peer| {
        peer.begin();
        let piece = format!("{:x}\r\n{}\r\n", 8000, "x".repeat(8000));
        assert!(peer.flood(piece.as_bytes(), MAX, Duration::from_millis(300)) < MAX);
        tell.raise();
    });
    let proxy = Proxy::before(&backend);
    let mut client = proxy.client();
    client.post(CHAT, &chat("q"));
    assert_eq!(client.head().status, 200);
    written.wait();
    assert!(proxy.peak_rss_kib() < 32 << 10, "{} KiB", proxy.peak_rss_kib());
}

#[test]
fn an_answer_that_breaks_off_is_whole_up_to_there_and_then_visibly_broken() {
    for how in ["reset", "close", "short"] {
        let backend = Backend::new(move |_, peer| {
            let text = "data: all of this\n\n";
            match how {
                "short" => drop(peer.write(format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{text}"))),
                _ => {
                    peer.begin();
                    peer.chunk(text);
                }
            }
            if how == "close" {
                // In the same moment: what came before the end must not be lost with it.
                peer.write("13\r\ndata: all of this\n\n\r\n5\r\nda");
            }
            match how {
                "reset" => peer.reset(),
                _ => peer.close(),
            }
        });
        let proxy = Proxy::before(&backend);
        let mut client = proxy.client();
        client.post(CHAT, &chat("q"));
        if how == "reset" {
            // A reset may throw away what was on its way, even the head.
            if let Ok(Some(_)) = client.try_head() {
                assert!(client.rest().is_err());
            }
        } else if how == "close" {
            assert_eq!(client.head().status, 200);
            let mut text = Vec::new();
            let end = loop {
                match client.chunk() {
                    Ok(Some(chunk)) => text.extend(chunk),
                    end => break end,
                }
            };
            assert!(end.is_err(), "{how}: it looks whole");
            assert_eq!(String::from_utf8(text).unwrap(), "data: all of this\n\ndata: all of this\n\nda");
        } else {
            assert_eq!(client.head().header("content-length"), Some("1000"));
            assert!(client.rest().is_err());
        }
        let line = outcome(&proxy, "failed");
        assert!(line.contains("broke off"), "{line}");
    }
}

#[test]
fn a_backend_that_falls_silent_is_not_waited_for() {
    let (backend, _) = beginning(|_, peer| wait_closed(peer));
    let proxy = Proxy::with(&backend, &[("REQUEST_TIMEOUT", "1")]);
    let mut client = begin(&proxy);
    assert!(client.rest().is_err(), "a cut stream looks whole");
    let line = outcome(&proxy, "failed");
    assert!(line.contains("REQUEST_TIMEOUT") && line.contains("status=200"), "{line}");
    backend.wait_closed(backend.posts().pop().unwrap().connection);

    let silent = Backend::new(|_, peer| wait_closed(peer));
    let proxy = Proxy::with(&silent, &[("REQUEST_TIMEOUT", "1")]);
    let answer = proxy.post(CHAT, &chat("q"));
    assert_eq!(answer.status(), 504);
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("REQUEST_TIMEOUT"));
}

#[test]
fn a_stream_that_runs_at_sigterm_ends_whole_and_one_that_outlasts_the_grace_is_cut() {
    let go_on = Signal::new();
    let wait = Arc::clone(&go_on);
    let (backend, _) = beginning(move |_, peer| {
        wait.wait();
        peer.done();
    });
    let mut proxy = Proxy::before(&backend);
    let mut client = begin(&proxy);
    proxy.signal("TERM");
    proxy.wait_for_log("the word that it stops", |log| log.contains("stopping"));
    go_on.raise();
    assert_eq!(client.rest().expect("the body ends well"), b"data: [DONE]\n\n");
    assert_eq!(proxy.wait_exit().code(), Some(0));

    let mut proxy = Proxy::with(&backend, &[("SHUTDOWN_GRACE", "0.2")]);
    let mut client = begin(&proxy);
    proxy.signal("TERM");
    assert!(client.rest().is_err(), "a cut stream looks whole");
    assert_eq!(proxy.wait_exit().code(), Some(0));
    assert!(outcome(&proxy, "failed").contains("stopping"));

    let silent = Backend::new(|_, peer| wait_closed(peer));
    let mut proxy = Proxy::with(&silent, &[("SHUTDOWN_GRACE", "0.2")]);
    let mut client = proxy.client();
    client.post(CHAT, &chat("q"));
    silent.wait_for_posts(1);
    proxy.signal("TERM");
    let answer = client.answer();
    assert_eq!((answer.status(), &answer.json()["error"]["type"]), (503, &json!("api_error")));
    assert_eq!(proxy.wait_exit().code(), Some(0));
}

/// The backend's end of one upload, which the scripted backend would read whole before its script begins.
struct Upload(TcpStream);

impl Upload {
    fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Upload(stream)
    }

    fn read_until(&mut self, end: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(end) {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            bytes.push(byte[0]);
        }
        bytes
    }
}

fn upload_proxy(variables: &[(&str, &str)]) -> (TcpListener, Proxy) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let proxy = Proxy::start(&[&[("OPENAI_API_BASE_URL", url.as_str())], variables].concat());
    (listener, proxy)
}

const UPLOAD_HEAD: &str = "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=x\r\ncontent-length: 10\r\n\r\n";

#[test]
fn an_upload_reaches_the_backend_while_it_still_comes() {
    let (listener, proxy) = upload_proxy(&[]);
    let mut client = proxy.client();
    client.send(UPLOAD_HEAD).unwrap();
    client.send("first").unwrap();
    let mut upload = Upload::accept(&listener);
    let head = String::from_utf8(upload.read_until(b"\r\n\r\n")).unwrap();
    assert!(head.contains("\r\ncontent-length: 10\r\n"), "{head}");
    assert_eq!(upload.read_until(b"first"), b"first");
    client.send("later").unwrap();
    assert_eq!(upload.read_until(b"later"), b"later");
    upload.0.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").unwrap();
    assert_eq!(client.answer().text(), "hi");
}

#[test]
fn an_upload_that_its_client_breaks_off_is_broken_off_at_the_backend() {
    for leaves in [true, false] {
        let (listener, proxy) = upload_proxy(&[]);
        let mut client = proxy.client();
        client.send(UPLOAD_HEAD).unwrap();
        client.send("first").unwrap();
        let mut upload = Upload::accept(&listener);
        upload.read_until(b"first");
        client.close_write();
        if leaves {
            drop(client);
        } else {
            assert_eq!(client.head().status, 400, "it is the client's fault");
            proxy.wait_for_log("the reason", |log| log.contains("error=\"the request body ended early\""));
        }
        let rest = upload.0.read(&mut [0; 10]);
        assert!(matches!(rest, Ok(0) | Err(_)), "the backend's connection goes on: {rest:?}");
        assert!(!rest.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "it is still open");
        proxy.wait_for_log("the end", |log| log.contains("outcome="));
    }
}

#[test]
fn while_an_upload_comes_the_backends_silence_is_not_counted() {
    let (listener, proxy) = upload_proxy(&[("REQUEST_TIMEOUT", "1")]);
    let mut client = proxy.client();
    client.send(UPLOAD_HEAD).unwrap();
    let mut upload = Upload::accept(&listener);
    upload.read_until(b"\r\n\r\n");
    for byte in 0..4u8 {
        // Shorter than the limit each, longer in all.
        client.assert_silence(Duration::from_millis(400));
        client.send([byte]).unwrap();
        upload.read_until(&[byte]);
    }
    client.send("------").unwrap();
    upload.read_until(b"------");
    upload.0.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").unwrap();
    assert_eq!(client.answer().text(), "hi");
    let mut client = proxy.client();
    client.send(UPLOAD_HEAD).unwrap();
    client.send("0123456789").unwrap();
    assert_eq!(client.answer().status(), 504);
}

#[test]
fn an_upload_waits_for_a_backend_that_is_not_there_yet() {
    let address = crate::proxy::nobody();
    let url = format!("http://{address}/v1");
    let proxy = Proxy::start(&[("OPENAI_API_BASE_URL", &url), ("MAX_RETRIES", "10"), ("LOG_LEVEL", "DEBUG")]);
    let mut client = proxy.client();
    client.send(UPLOAD_HEAD).unwrap();
    client.send("0123456789").unwrap();
    proxy.wait_for_log("the first try", |log| log.contains("connecting to the backend failed"));
    let listener = TcpListener::bind(address).unwrap();
    let mut upload = Upload::accept(&listener);
    upload.read_until(b"\r\n\r\n0123456789");
    upload.0.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").unwrap();
    assert_eq!(client.answer().text(), "hi");
}
