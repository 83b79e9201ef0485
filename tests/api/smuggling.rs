//! Requests that two readers could take for different ones: the proxy refuses them, and whatever it makes of one, the
//! backend sees at most one request, and a well-formed one (fault S5).

use crate::backend::{Backend, Request};
use crate::client::Client;
use crate::proxy::{Proxy, chat};

/// The statuses of everything that is answered until the server closes.
fn statuses(client: &mut Client) -> Vec<u16> {
    let mut statuses = Vec::new();
    while let Ok(Some(head)) = client.try_head() {
        statuses.push(head.status);
        if client.rest().is_err() {
            break;
        }
    }
    statuses
}

#[test]
fn ambiguous_framing_is_refused_and_never_reaches_the_backend() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let body = chat("q").to_string();
    let length = body.len();
    let chunked = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    let table = [
        ("two lengths", format!("content-length: {length}\r\ncontent-length: 5\r\n"), body.clone()),
        ("a list of lengths", format!("content-length: {length}, 5\r\n"), body.clone()),
        ("a signed length", format!("content-length: +{length}\r\n"), body.clone()),
        ("a negative length", "content-length: -1\r\n".to_string(), body.clone()),
        ("a hex length", "content-length: 0x10\r\n".to_string(), body.clone()),
        ("a huge length", "content-length: 99999999999999999999999\r\n".to_string(), body.clone()),
        ("an empty length", "content-length: \r\n".to_string(), body.clone()),
        ("an unknown coding", "transfer-encoding: xchunked\r\n".to_string(), chunked.clone()),
        ("chunked not last", "transfer-encoding: chunked, identity\r\n".to_string(), chunked.clone()),
        ("a space before the colon", "transfer-encoding : chunked\r\n".to_string(), chunked.clone()),
        ("a folded header", "x: a\r\n transfer-encoding: chunked\r\n".to_string(), chunked.clone()),
        ("a header without a colon", "nonsense\r\n".to_string(), String::new()),
        ("a NUL in a header", "x: a\0b\r\n".to_string(), String::new()),
        ("a lone CR in a header", "x: a\rb: c\r\n".to_string(), String::new()),
        (
            "a bad chunk size",
            "transfer-encoding: chunked\r\n".to_string(),
            format!("zz\r\n{body}\r\n0\r\n\r\n"),
        ),
        ("a signed chunk size", "transfer-encoding: chunked\r\n".to_string(), format!("+{chunked}")),
        (
            "a huge chunk size",
            "transfer-encoding: chunked\r\n".to_string(),
            format!("fffffffffffffffff\r\n{body}"),
        ),
        (
            "a chunk without its end",
            "transfer-encoding: chunked\r\n".to_string(),
            format!("5\r\n{body}\r\n0\r\n\r\n"),
        ),
    ];
    let mut wrong = Vec::new();
    for (name, headers, body) in table {
        let before = backend.posts().len();
        let mut client = proxy.client();
        // The second request tells where the proxy saw the first one end.
        let request = format!(
            "POST /api/chat HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n{body}GET /api/version HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        );
        let _ = client.send(request);
        client.close_write();
        let (statuses, posts) = (statuses(&mut client), backend.posts().len() - before);
        if statuses.iter().any(|status| *status != 400) || statuses.len() > 1 || posts > 0 {
            wrong.push(format!("{name}: {statuses:?}, {posts} requests to the backend"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(proxy.get("/").status(), 200);
}

#[test]
fn a_length_beside_chunks_counts_for_nothing_and_ends_the_connection() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let body = chat("seen").to_string();
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let smuggled = chat("smuggled").to_string();
    for headers in [
        format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", chunked.len() + 500),
        format!("transfer-encoding: chunked\r\ncontent-length: {}\r\n", body.len()),
    ] {
        let before = backend.posts().len();
        let head = format!("POST /api/chat HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
        let next =
            format!("POST /api/chat HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", smuggled.len());
        let mut client = proxy.client();
        client.send([head, chunked.clone(), next, smuggled.clone()].concat()).unwrap();
        // RFC 9112, section 6.1: refuse it, or read the chunks alone and close the connection.
        let statuses = statuses(&mut client);
        assert!(matches!(statuses[..], [200 | 400]), "{headers}: {statuses:?}");
        let prompts: Vec<_> = backend.posts()[before..].iter().map(Request::prompt).collect();
        assert!(prompts.iter().all(|prompt| prompt == "seen") && prompts.len() <= 1, "{prompts:?}");
    }
}

#[test]
fn what_is_no_http_1_is_refused() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let table = [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/3.0\r\n\r\n",
        "GET / HTTP/1.1 x\r\n\r\n",
        "GET  / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "G\u{0}T / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}",
        "POST /api/ch at HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n",
    ];
    for request in table {
        let mut client = proxy.client();
        client.send(request).unwrap();
        client.close_write();
        let statuses = statuses(&mut client);
        assert!(
            statuses.iter().all(|status| *status == 400) && statuses.len() <= 1,
            "{request:?}: {statuses:?}"
        );
    }
    assert_eq!(backend.seen().requests.len(), 0);
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let mut client = proxy.client();
    let body = chat("q").to_string();
    let chat =
        format!("POST /api/chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    client.send([get("/api/version"), chat.clone(), get("/nothing"), chat, get("/")].concat()).unwrap();
    let found: Vec<_> = (0..5).map(|_| client.answer().status()).collect();
    assert_eq!(found, [200, 200, 404, 200, 200]);
    assert_eq!(backend.posts().len(), 2);
}
