//! Limits: what is too large or never ends is refused or cut off, in bounded memory, and the proxy goes on (faults P1 to
//! P5, N2, N11, N25).

use crate::backend::{Backend, Peer, Request};
use crate::chunks::{STREAM_HEAD, delta, event, model_list};
use crate::client::{content, error_of};
use crate::proxy::{Proxy, chat};
use crate::signal::Signal;
use serde_json::json;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const MIB: usize = 1 << 20;

fn assert_well(proxy: &Proxy) {
    assert_eq!(proxy.get("/").text(), "Ollama is running");
}

/// A chat with so many bytes.
fn sized(bytes: usize) -> Vec<u8> {
    let frame = chat("").to_string().len();
    chat(&"x".repeat(bytes - frame)).to_string().into_bytes()
}

#[test]
fn a_body_over_the_limit_is_a_413_by_its_length_and_by_its_chunks() {
    let backend = Backend::hello();
    let proxy = Proxy::with(&backend, &[("REQUEST_MAX_SIZE", "10KB")]);
    assert_eq!(
        proxy.ask("POST", "/api/chat", &[], Some(&sized(10_000))).status(),
        200,
        "just as long as allowed"
    );
    let over = proxy.ask("POST", "/api/chat", &[], Some(&sized(10_001)));
    assert_eq!((over.status(), over.head.content_type()), (413, "application/json; charset=utf-8"));
    assert!(over.error().contains("REQUEST_MAX_SIZE"));

    for path in ["/api/chat", "/api/generate", "/api/show"] {
        // The length alone is enough: nothing of the body is waited for.
        let mut client = proxy.client();
        client
            .send(format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999\r\n\r\n"))
            .unwrap();
        assert_eq!(client.answer().status(), 413, "{path}");

        let mut client = proxy.client();
        client
            .send(format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"))
            .unwrap();
        let chunk = format!("400\r\n{}\r\n", " ".repeat(0x400));
        for _ in 0..11 {
            // It may be refused before the last is sent.
            let _ = client.send(&chunk);
        }
        assert_eq!(client.answer().status(), 413, "{path}");
    }
    assert_eq!(backend.posts().len(), 1);
    assert_well(&proxy);
}

#[test]
fn a_flood_of_headers_is_refused() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = |bytes| format!("x: {}\r\n", "y".repeat(bytes));
    let mut client = proxy.client();
    client.send(format!("GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n", long(12_000))).unwrap();
    assert_eq!(client.answer().status(), 200, "a browser's cookies may be long");
    for headers in [many, long(40_000), long(1_000_000)] {
        let mut client = proxy.client();
        let _ = client.send(format!("GET / HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n"));
        let status = client.try_head().ok().flatten().map(|head| head.status);
        assert!(matches!(status, None | Some(400 | 431)), "{} bytes of headers: {status:?}", headers.len());
    }
    let mut client = proxy.client();
    let _ = client.send(format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(100_000)));
    let status = client.try_head().ok().flatten().map(|head| head.status);
    assert!(matches!(status, None | Some(400 | 414 | 431)), "{status:?}");
    assert_well(&proxy);
}

#[test]
fn a_flood_of_chunk_extensions_or_trailers_is_refused() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let body = chat("q").to_string();
    let extended = format!("{:x};{}\r\n{body}\r\n0\r\n\r\n", body.len(), "e".repeat(100_000));
    let trailers = format!("{:x}\r\n{body}\r\n0\r\nx: {}\r\n\r\n", body.len(), "t".repeat(100_000));
    for body in [extended, trailers] {
        let mut client = proxy.client();
        let head = "POST /api/chat HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
        let _ = client.send(head.to_string() + &body);
        let status = client.try_head().ok().flatten().map(|head| head.status);
        assert!(matches!(status, None | Some(400)), "{status:?}");
    }
    assert_eq!(backend.posts().len(), 0);
    assert_well(&proxy);
}

#[test]
fn a_million_brackets_are_a_400_and_not_a_crash() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let deep = |open: &str| open.repeat(1_000_000);
    let bodies = [
        deep("["),
        deep("{\"model\":"),
        format!(r#"{{"model":"m","messages":{}"#, deep("[")),
        format!(r#"{{"model":"m","x":{}{}}}"#, deep("["), deep("]")),
        format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"q"}}],"tools":{}{}}}"#,
            deep("["),
            deep("]")
        ),
        format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"q"}}],"format":{}1{}}}"#,
            deep("{\"a\":"),
            deep("}")
        ),
    ];
    for body in bodies {
        for path in ["/api/chat", "/api/generate", "/api/show"] {
            let answer = proxy.ask("POST", path, &[], Some(body.as_bytes()));
            assert_eq!(answer.status(), 400, "{path}: {}", answer.text());
            answer.error();
        }
    }
    assert_eq!(backend.seen().requests.len(), 0);
    assert_well(&proxy);
}

#[test]
fn a_million_brackets_from_the_backend_are_its_error() {
    let deep = "[".repeat(1_000_000);
    let answers = [
        format!("data: {{\"choices\":{deep}\n\n"),
        format!("data: {{\"error\":{deep}{}}}\n\n", "]".repeat(1_000_000)),
        format!(
            "data: {{\"choices\":[{{\"delta\":{{\"tool_calls\":{deep}{}}}}}]}}\n\n",
            "]".repeat(1_000_000)
        ),
    ];
    let backend = Backend::new(move |request, peer| match request.prompt().as_str() {
        "status" => peer.respond(500, &[("content-type", "application/json")], &deep),
        at => {
            peer.begin();
            peer.chunk(&answers[at.parse::<usize>().unwrap()]);
            peer.done();
        }
    });
    let proxy = Proxy::before(&backend);
    for (prompt, status) in [("0", 502), ("1", 502), ("2", 502), ("status", 500)] {
        let answer = proxy.chat(prompt);
        assert_eq!(answer.status(), status, "{prompt}: {:.200}", answer.text());
        assert!(answer.error().len() < 8192, "{prompt}");
    }
    assert_well(&proxy);
}

/// Writes bytes of one event without end, and gives how many the proxy took.
fn endless_event(peer: &mut Peer) -> usize {
    peer.write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n");
    peer.write(event(&delta("Hello")));
    peer.write("data: {\"x\":\"");
    peer.flood(&[b'a'; 64 << 10], 1024 * MIB, Duration::from_secs(10))
}

#[test]
fn an_event_without_end_is_an_error_and_the_backend_is_dropped() {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let backend = Backend::new(move |request, peer| {
        if request.prompt() == "at once" {
            peer.write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: ");
            count
                .store(peer.flood(&[b'a'; 64 << 10], 1024 * MIB, Duration::from_secs(10)), Ordering::Relaxed);
        } else {
            count.store(endless_event(peer), Ordering::Relaxed);
        }
    });
    let proxy = Proxy::before(&backend);
    assert_eq!(proxy.post("/api/show", &json!({"model": "m"})).status(), 200);
    let before = proxy.rss_kib();
    for (round, prompt) in ["at once", "later"].into_iter().enumerate() {
        let answer = proxy.chat(prompt);
        if prompt == "at once" {
            assert_eq!(answer.status(), 502);
            assert!(answer.error().contains("bytes"), "{}", answer.text());
        } else {
            let lines = answer.lines();
            assert_eq!((lines.len(), content(&lines[..1]).as_str()), (2, "Hello"));
            assert!(error_of(&lines[1]).contains("bytes"));
        }
        let connection = backend.wait_for_posts(round + 1).connection;
        backend.wait_closed(connection);
        // What the sockets of both sides held is no more than this.
        assert!(
            taken.load(Ordering::Relaxed) < 32 * MIB,
            "{} bytes were taken",
            taken.load(Ordering::Relaxed)
        );
    }
    let peak = proxy.peak_rss_kib();
    // A buffer that grows may be there twice.
    assert!(peak < before + 16 * 1024, "{before} KiB became {peak} KiB for events of at most 4 MiB");
}

#[test]
fn error_bodies_and_lists_without_end_are_cut() {
    let endless = |peer: &mut Peer, status: &str| {
        peer.write(format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\n\r\n{{\"error\":\""));
        peer.flood(&[b'a'; 64 << 10], 1024 * MIB, Duration::from_secs(10))
    };
    let backend = Backend::with_models(
        move |_, peer| assert!(endless(peer, "200 OK") < 64 * MIB),
        move |request: &Request, peer: &mut Peer| match request.prompt().as_str() {
            "error" => assert!(endless(peer, "500 Oops") < 32 * MIB),
            _ => peer.say(request, &["Hello"]),
        },
    );
    let proxy = Proxy::before(&backend);
    let answer = proxy.chat("error");
    assert_eq!(answer.status(), 500);
    assert!(answer.error().len() < 8192);
    backend.wait_until("both were dropped", |seen| seen.closed.len() == 2);
    assert_eq!(proxy.chat("q").status(), 200);
    assert_eq!(proxy.get("/api/tags").status(), 502);
}

#[test]
fn readers_that_stand_still_stop_the_backend_and_cost_next_to_nothing() {
    const STREAMS: usize = 4;
    let stalled = Signal::new();
    let tell = Arc::clone(&stalled);
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let mut piece = Vec::new();
    let text = event(&delta(&"x".repeat(8000)));
    write!(piece, "{:x}\r\n{text}\r\n", text.len()).unwrap();
    let backend = Backend::new(move |request, peer| {
        if request.prompt() == "quick" {
            return peer.say(request, &["Hello"]);
        }
        peer.write(STREAM_HEAD);
        count.fetch_add(peer.flood(&piece, 100 * MIB, Duration::from_secs(1)), Ordering::Relaxed);
        tell.raise();
        peer.wait_closed();
    });
    let proxy = Proxy::before(&backend);
    assert_eq!(proxy.chat("quick").status(), 200);
    let before = proxy.rss_kib();
    let mut readers: Vec<_> = (0..STREAMS).map(|_| proxy.client()).collect();
    for reader in &mut readers {
        reader.post("/api/chat", &chat("flood"));
    }
    for _ in 0..STREAMS {
        stalled.wait();
    }
    let (after, taken) = (proxy.rss_kib(), taken.load(Ordering::Relaxed));
    assert!(taken < STREAMS * 50 * MIB, "{taken} bytes were taken, and nobody read them");
    let rise = after.saturating_sub(before);
    assert!(rise < 256 * STREAMS as u64, "{rise} KiB for {STREAMS} stalled streams");
    assert_eq!(proxy.chat("quick").status(), 200, "the others are served");

    // One reads on, and gets good lines; the others leave with their windows shut.
    let mut first = readers.remove(0);
    assert_eq!(content(&[first.json_line_after_head()]).len(), 8000);
    drop(first);
    drop(readers);
    backend.wait_until("all were dropped", |seen| seen.closed.len() == STREAMS);
}

#[test]
fn without_file_descriptors_the_proxy_waits_quietly_and_comes_back() {
    let backend = Backend::with_models(|_, peer| peer.json(200, &model_list(&["m"])), |_, _| {});
    let proxy = Proxy::with_file_limit(&backend, 32);
    let mut clients: Vec<_> = (0..60).map(|_| proxy.client()).collect();
    proxy.wait_for_log("the failing accept", |log| log.contains("cannot accept"));
    let said = |log: &str| log.matches("cannot accept").count();
    let (before, ticks) = (said(&proxy.log()), proxy.cpu_ticks());
    // How often something happens in a second takes a second to see.
    let mut last = clients.pop().unwrap();
    last.request("GET", "/", &[], None);
    last.assert_silence(Duration::from_secs(1));
    let (lines, ticks) = (said(&proxy.log()) - before, proxy.cpu_ticks() - ticks);
    drop(clients);
    assert_eq!(last.answer().status(), 200);
    assert_eq!(proxy.post("/api/show", &json!({"model": "m"})).status(), 200);
    assert!(ticks <= 10, "{ticks} ticks of 10 ms in a second of doing nothing");
    assert!(lines <= 2, "{lines} lines of log in a second that say the same");
}
