//! How a backend's answers begin and end (RFC 9112, sections 6 and 7): each is read for what it is, and its connection is
//! used again only where it is sure that nothing of one answer can be taken for the next.

use crate::backend::{Backend, Peer, Request};
use crate::client::content;
use crate::proxy::Proxy;
use std::sync::{Arc, Mutex};

const OBJECT: &str =
    r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}]}"#;

/// A way to send the object, in pieces of so many bytes, and whether the connection may be used again.
struct Way {
    name: &'static str,
    bytes: String,
    closes: bool,
    persists: bool,
}

fn ways() -> Vec<Way> {
    let (len, half) = (OBJECT.len(), OBJECT.len() / 2);
    let (first, second) = OBJECT.split_at(half);
    let chunked = format!("{half:X};name=\"value\"\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n", len - half);
    let way = |name, bytes: String, closes, persists| Way { name, bytes, closes, persists };
    vec![
        way("length", format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{OBJECT}"), false, true),
        way("lengths", format!("HTTP/1.1 200\r\nContent-Length: {len}, {len}\r\n\r\n{OBJECT}"), false, true),
        way(
            "chunks",
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}\r\n"),
            false,
            true,
        ),
        way(
            "trailers",
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n{chunked}A: b\r\nC: d\r\n\r\n"),
            false,
            true,
        ),
        way("close", format!("HTTP/1.1 200 OK\r\n\r\n{OBJECT}"), true, false),
        way("http/1.0", format!("HTTP/1.0 200 OK\r\nContent-Length: {len}\r\n\r\n{OBJECT}"), false, false),
        way(
            "http/1.0 kept",
            format!("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: {len}\r\n\r\n{OBJECT}"),
            false,
            true,
        ),
        way(
            "says close",
            format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n{OBJECT}"),
            false,
            false,
        ),
        way(
            "hints",
            format!(
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{OBJECT}"
            ),
            false,
            true,
        ),
        way(
            "both lengths and chunks",
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}\r\n"
            ),
            false,
            false,
        ),
        way(
            "more behind the length",
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{OBJECT}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{{}}"
            ),
            false,
            false,
        ),
        way(
            "more behind the chunks",
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}\r\nHTTP/1.1 200 OK\r\n"),
            false,
            false,
        ),
    ]
}

/// Sends the bytes so, that the proxy has many chances to see them in pieces.
fn send(peer: &mut Peer, bytes: &str, piece: usize) {
    for piece in bytes.as_bytes().chunks(piece) {
        peer.write(piece);
        std::thread::yield_now();
    }
}

#[test]
fn every_way_to_end_an_answer_is_understood_however_it_is_cut() {
    for piece in [1, 7, 100_000] {
        for (at, way) in ways().into_iter().enumerate() {
            // What comes late behind the end of an answer may be the beginning of the next one.
            if way.name.starts_with("more") && piece < way.bytes.len() {
                continue;
            }
            let backend = Backend::new(move |_, peer| {
                let way = ways().swap_remove(at);
                send(peer, &way.bytes, piece);
                if way.closes {
                    peer.close();
                }
            });
            let proxy = Proxy::before(&backend);
            for _ in 0..2 {
                let answer = proxy.chat("q");
                assert_eq!(answer.status(), 200, "{}, {piece}: {}", way.name, answer.text());
                assert_eq!(content(&answer.lines()), "Hello", "{}, {piece}", way.name);
            }
            let posts = backend.posts();
            let is_same = posts[0].connection == posts[1].connection;
            assert_eq!((posts.len(), is_same), (2, way.persists), "{}, {piece}", way.name);
        }
    }
}

#[test]
fn what_is_no_answer_is_a_502_that_says_so() {
    let head = "HTTP/1.1 200 OK\r\n";
    let endless = format!("{head}x: {}", "y".repeat(40_000));
    let many = format!("{head}{}\r\n", "a: b\r\n".repeat(101));
    let cases = [
        ("SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
        ("<html>hello</html>\r\n\r\n", "does not speak HTTP"),
        (&format!("{head}content-length: 1\r\ncontent-length: 2\r\n\r\nab"), "more than one Content-Length"),
        (&format!("{head}content-length: -1\r\n\r\n"), "Content-Length is no number"),
        (&endless, "longer than 32 KiB"),
        (&many, "too many fields"),
        (head, "within the head"),
        ("", "without an answer"),
    ];
    for (bytes, expected) in cases {
        let text = bytes.to_string();
        let backend = Backend::new(move |_, peer| {
            peer.write(&text);
            peer.close();
        });
        let answer = Proxy::before(&backend).chat("q");
        assert_eq!(answer.status(), 502, "{bytes:.60}: {}", answer.text());
        assert!(answer.error().contains(expected), "{bytes:.60}: {}", answer.error());
    }
}

#[test]
fn chunks_that_are_none_cut_the_answer_and_lose_nothing_before_them() {
    let backend = Backend::new(|_, peer| {
        peer.write("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n5\r\nHello\r\nxyz");
    });
    let proxy = Proxy::before(&backend);
    let mut client = proxy.client();
    client.request("POST", "/v1/audio/speech", &[], Some(b"{}"));
    assert_eq!(client.head().status, 200);
    assert_eq!(client.chunk().unwrap().unwrap(), b"Hello");
    assert!(client.chunk().is_err(), "the answer must not look whole");
}

#[test]
fn only_a_request_that_may_be_repeated_is_sent_again_when_a_kept_connection_ends_without_an_answer() {
    let last = Mutex::new(0);
    // Each connection serves one request, and is closed when a second one has come.
    let script = Arc::new(move |request: &Request, peer: &mut Peer| {
        if std::mem::replace(&mut *last.lock().unwrap(), request.connection) == request.connection {
            return peer.close();
        }
        peer.respond(200, &[], "served");
    });
    let of_gets = Arc::clone(&script);
    let backend = Backend::with_models(
        move |request, peer| of_gets(request, peer),
        move |request, peer| script(request, peer),
    );
    let proxy = Proxy::before(&backend);
    let ask = |method: &str| proxy.ask(method, "/v1/files/1", &[], None);
    assert_eq!(ask("GET").status(), 200);
    let again = ask("GET");
    assert_eq!((again.status(), again.text().as_str()), (200, "served"));
    assert_eq!(ask("DELETE").status(), 502);
    let seen = backend.seen();
    let requests: Vec<_> =
        seen.requests.iter().map(|request| (request.method.as_str(), request.connection)).collect();
    assert_eq!(requests, [("GET", 1), ("GET", 1), ("GET", 2), ("DELETE", 2)]);
}
