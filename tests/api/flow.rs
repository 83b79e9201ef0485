//! The flow of a stream: every line goes out as soon as it can, one output frame for each of the backend's, and nothing
//! between the lines (design 4; contract 2.9).

use crate::backend::Backend;
use crate::chunks::{delta, event, finish, role, usage};
use crate::client::{content, json_line};
use crate::proxy::{Proxy, chat};
use crate::signal::Signal;
use serde_json::{Value, json};
use std::sync::Arc;

#[test]
fn every_line_is_out_before_the_backend_says_the_next() {
    let heard = Signal::new();
    let told = Arc::clone(&heard);
    let backend = Backend::new(move |request, peer| {
        let is_chat = request.target.ends_with("/chat/completions");
        peer.begin();
        for word in 0..20 {
            let chat = delta(&format!("word{word} "));
            let text =
                json!({"choices": [{"index": 0, "text": format!("word{word} "), "finish_reason": null}]});
            peer.event(if is_chat { &chat } else { &text });
            told.wait();
        }
        peer.event(&finish("stop"));
        peer.event(&usage());
        peer.done();
    });
    let proxy = Proxy::before(&backend);
    let generate = json!({"model": "m", "prompt": "q"});
    let raw = json!({"model": "m", "prompt": "q", "raw": true});
    for (path, body) in [("/api/chat", chat("q")), ("/api/generate", generate), ("/api/generate", raw)] {
        let mut client = proxy.client();
        client.post(path, &body);
        assert_eq!(client.head().status, 200);
        for word in 0..20 {
            let line = client.json_line();
            let text = if path == "/api/chat" { &line["message"]["content"] } else { &line["response"] };
            assert_eq!(*text, format!("word{word} "));
            heard.raise();
        }
        assert_eq!(client.json_line()["done"], true);
        assert_eq!(client.line().unwrap(), None);
    }
}

#[test]
fn one_frame_of_the_backend_becomes_one_frame_with_all_its_lines() {
    // How many events are in each chunk of the backend's.
    const FRAMES: [usize; 6] = [1, 3, 2, 7, 1, 40];
    let heard = Signal::new();
    let told = Arc::clone(&heard);
    let backend = Backend::new(move |_, peer| {
        peer.begin();
        peer.event(&role());
        peer.chunk(": still thinking\n\n");
        for events in FRAMES {
            peer.chunk(event(&delta("x")).repeat(events));
            told.wait();
            // Nothing for the client in these.
            peer.chunk(": keep-alive\n\n");
            peer.chunk("\n\n\r\n");
        }
        peer.chunk([event(&finish("stop")), event(&usage()), "data: [DONE]\n\n".to_string()].concat());
        peer.write("0\r\n\r\n");
    });
    let proxy = Proxy::before(&backend);
    let mut client = proxy.client();
    client.post("/api/chat", &chat("q"));
    assert_eq!(client.head().header("transfer-encoding"), Some("chunked"));
    for events in FRAMES {
        let frame = String::from_utf8(client.chunk().unwrap().unwrap()).unwrap();
        assert!(frame.ends_with('\n'));
        assert_eq!(frame.lines().count(), events, "{frame}");
        heard.raise();
    }
    let last = String::from_utf8(client.chunk().unwrap().unwrap()).unwrap();
    assert_eq!(json_line(last.trim_end())["done"], true);
    assert_eq!(client.chunk().unwrap(), None);
}

#[test]
fn a_frame_always_ends_where_a_line_does_however_the_backends_were_cut() {
    let text = "héllo 🦙 \u{2028}\"quoted\" \\ end";
    let stream = [
        event(&role()),
        ": comment\n\n".to_string(),
        event(&delta(text)),
        event(&delta("")),
        event(&delta(" world")),
        event(&finish("stop")),
        event(&usage()),
        "data: [DONE]\n\n".to_string(),
    ]
    .concat();
    let bytes = stream.into_bytes();
    let backend = Backend::new(move |request, peer| {
        let size: usize = request.prompt().parse().unwrap();
        peer.begin();
        for piece in bytes.chunks(size) {
            peer.chunk(piece);
        }
        peer.write("0\r\n\r\n");
    });
    let proxy = Proxy::before(&backend);
    for size in [1, 2, 3, 5, 7, 16, 33, 64, 100, 333, 100_000] {
        let mut client = proxy.client();
        client.post("/api/chat", &chat(&size.to_string()));
        assert_eq!(client.head().status, 200);
        let mut lines: Vec<Value> = Vec::new();
        while let Some(frame) = client.chunk().unwrap() {
            let frame = String::from_utf8(frame).expect("no character is cut");
            assert!(frame.ends_with('\n'), "{frame:?}");
            assert!(!frame.contains("\n\n") && !frame.starts_with('\n'), "no blank lines: {frame:?}");
            lines.extend(frame.lines().map(json_line));
        }
        assert_eq!((content(&lines), lines.len()), (format!("{text} world"), 3), "pieces of {size}");
        assert_eq!(lines[2]["eval_count"], 7);
    }
}

#[test]
fn reasoning_goes_into_lines_of_its_own() {
    let backend = Backend::new(|_, peer| {
        let delta = |delta: Value| json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]});
        peer.begin();
        peer.event(&delta(json!({"reasoning_content": "Hm"})));
        peer.event(&delta(json!({"reasoning": "m.", "content": "Hi"})));
        peer.event(&finish("stop"));
        peer.done();
    });
    let proxy = Proxy::before(&backend);
    let lines = proxy.chat("q").lines();
    let messages: Vec<&Value> = lines.iter().map(|line| &line["message"]).collect();
    assert_eq!(
        messages,
        [
            &json!({"role": "assistant", "content": "", "thinking": "Hm"}),
            &json!({"role": "assistant", "content": "", "thinking": "m."}),
            &json!({"role": "assistant", "content": "Hi"}),
            &json!({"role": "assistant", "content": ""}),
        ]
    );
    let mut request = chat("q");
    request["stream"] = json!(false);
    let whole = proxy.post("/api/chat", &request).json();
    assert_eq!(whole["message"], json!({"role": "assistant", "content": "Hi", "thinking": "Hmm."}));
}

#[test]
fn the_log_has_one_line_for_a_request_and_none_of_its_words() {
    let backend = Backend::hello();
    for format in ["text", "json"] {
        let proxy = Proxy::with(&backend, &[("LOG_LEVEL", "DEBUG"), ("LOG_FORMAT", format)]);
        assert_eq!(proxy.chat("a-secret-question").status(), 200);
        let log = proxy.wait_for_log("the request", |log| log.contains("outcome"));
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("outcome")).collect();
        assert_eq!(lines.len(), 1, "{log}");
        for word in ["/api/chat", "model", "status", "200", "first_line_ms", "total_ms", "done"] {
            assert!(lines[0].contains(word), "{word} in {}", lines[0]);
        }
        for word in ["a-secret-question", "Hello", "world"] {
            assert!(!log.contains(word), "{word} in {log}");
        }
    }
}

#[test]
fn nothing_that_a_client_or_the_backend_says_forges_a_line_of_the_log() {
    let evil = "x\u{1b}[2J\r\n2026-01-01T00:00:00Z ERROR forged\u{0}\u{7f}\u{9b}";
    let backend = Backend::new(move |_, peer| peer.json(500, &json!({"error": {"message": evil}})));
    for format in ["text", "json"] {
        let proxy = Proxy::with(&backend, &[("LOG_LEVEL", "DEBUG"), ("LOG_FORMAT", format)]);
        let mut named = chat("q");
        named["model"] = json!(evil);
        assert_eq!(proxy.post("/api/chat", &named).status(), 400);
        named["model"] = json!("m \u{200b} ERROR forged");
        assert_eq!(proxy.post("/api/chat", &named).status(), 500);
        proxy.ask("GET", "/nothing%0d%0aERROR", &[("user-agent", "x\ty")], None);
        proxy.signal("TERM");
        let log = proxy.wait_for_end_of_log();
        assert!(!log.chars().any(|c| c.is_control() && c != '\n'), "{log:?}");
        for line in log.lines() {
            let begins = if format == "text" { "2" } else { "{\"time\":" };
            assert!(
                line.starts_with(begins) && !line.contains("00:00:00Z ERROR") || line.contains("INFO"),
                "{line}"
            );
        }
    }
}
