//! Streams that break: before the first line nothing is promised, behind it a failure is one last line and a clean end,
//! and behind the finish reason nothing can be missing. (Contract 1.0; dialect E8; faults N4 to N7.)

use crate::backend::{Backend, Peer};
use crate::chunks::{STREAM_HEAD, delta, event, finish, role, usage};
use crate::client::{content, error_of};
use crate::errors::{Failure, failure};
use crate::proxy::{Proxy, chat};
use crate::signal::Signal;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How a stream may go wrong behind its first line, which is "Hello".
fn late_failures() -> Vec<Failure> {
    let after = |name, says, answer: fn(&mut Peer)| {
        failure(name, 200, says, move |peer| {
            peer.begin();
            peer.event(&role());
            peer.event(&delta("Hello"));
            answer(peer);
        })
    };
    let raw = |name, head: &'static str, closes: fn(&mut Peer)| {
        failure(name, 200, "ended before", move |peer| {
            peer.write([head, &event(&delta("Hello"))].concat());
            closes(peer);
        })
    };
    let bare = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let long = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 5000\r\n\r\n";
    vec![
        after("FIN between chunks", "ended before", Peer::close),
        after("a whole body without a finish", "ended before", |peer| {
            peer.write("0\r\n\r\n");
        }),
        after("FIN inside a chunk", "ended before", |peer| {
            peer.write("400\r\ndata: {\"cho");
            peer.close();
        }),
        after("FIN inside an event", "ended before", |peer| {
            peer.chunk("data: {\"choices\":[{\"index\":0,\"del");
            peer.close();
        }),
        after("bad chunk size", "ended before", |peer| {
            peer.write("zz\r\n");
        }),
        after("error event", "boom", |peer| {
            peer.event(&json!({"error": {"message": "boom", "code": 500}}));
            peer.done();
        }),
        after("named error event", "boom", |peer| {
            peer.chunk("event: error\ndata: {\"message\":\"boom\"}\n\n");
            peer.done();
        }),
        after("error text event", "boom", |peer| {
            peer.event(&json!({"error": "boom"}));
        }),
        after("finish reason error", "", |peer| {
            peer.event(&finish("error"));
            peer.done();
        }),
        after("not json", "not an answer", |peer| {
            peer.chunk("data: {oops}\n\n");
        }),
        raw("FIN without a length", bare, Peer::close),
        raw("FIN short of its length", long, Peer::close),
    ]
}

#[test]
fn every_failure_behind_the_first_line_is_one_last_line_and_a_clean_end() {
    let known = late_failures();
    let backend = Backend::new(move |request, peer| {
        let prompt = request.prompt();
        (known.iter().find(|failure| failure.name == prompt).unwrap().answer)(peer);
    });
    let proxy = Proxy::before(&backend);
    for (at, failure) in late_failures().iter().enumerate() {
        // `answer` asserts that the chunked body ends as HTTP says.
        let answer = proxy.chat(failure.name);
        let lines = answer.lines();
        assert_eq!(
            (answer.status(), answer.head.content_type()),
            (200, "application/x-ndjson"),
            "{}",
            failure.name
        );
        assert_eq!((lines.len(), content(&lines[..1]).as_str()), (2, "Hello"), "{}: {lines:?}", failure.name);
        assert!(error_of(&lines[1]).contains(failure.says), "{}: {lines:?}", failure.name);
        assert_eq!(backend.posts().len(), at + 1, "{} was sent once", failure.name);
    }
}

#[test]
fn a_reset_behind_the_first_line_is_an_error_line_too() {
    let heard = Signal::new();
    let told = Arc::clone(&heard);
    let backend = Backend::new(move |_, peer| {
        peer.begin();
        peer.event(&delta("Hello"));
        told.wait();
        peer.reset();
    });
    let proxy = Proxy::before(&backend);
    let mut client = proxy.client();
    client.post("/api/chat", &chat("q"));
    client.head();
    assert_eq!(content(&[client.json_line()]), "Hello");
    heard.raise();
    error_of(&client.json_line());
    assert_eq!(client.line().expect("the body ends well"), None);
}

#[test]
fn what_ends_early_behind_its_finish_reason_is_whole() {
    let raw =
        |head: &str, tail: &str| [head, &event(&delta("Hello")), &event(&finish("length")), tail].concat();
    let bare = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let long = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 5000\r\n\r\n";
    let counted = event(&usage());
    let table = [raw(bare, ""), raw(bare, &counted), raw(long, ""), raw(long, &counted)];
    let informed =
        format!("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n{}", table[1]);
    let table: Vec<String> = table.into_iter().chain([informed]).collect();
    let answers = table.clone();
    let backend = Backend::new(move |request, peer| {
        peer.write(&answers[request.prompt().parse::<usize>().unwrap()]);
        peer.close();
    });
    let proxy = Proxy::before(&backend);
    for (at, sent) in table.iter().enumerate() {
        let lines = proxy.chat(&at.to_string()).lines();
        assert_eq!((lines.len(), content(&lines).as_str()), (2, "Hello"), "{sent}: {lines:?}");
        assert_eq!((&lines[1]["done"], &lines[1]["done_reason"]), (&json!(true), &json!("length")), "{sent}");
        assert_eq!(lines[1].get("prompt_eval_count").is_some(), sent.contains("usage"), "{sent}");
    }
}

#[test]
fn the_200_waits_for_the_first_line_and_gives_way_to_an_error() {
    let (decided, second) = (Signal::new(), Signal::new());
    let go_on = Arc::clone(&decided);
    let sent = Arc::clone(&second);
    let backend = Backend::new(move |request, peer| {
        peer.write(STREAM_HEAD);
        peer.event(&role());
        sent.raise();
        go_on.wait();
        match request.prompt().as_str() {
            "error" => peer.event(&json!({"error": {"message": "no room", "code": 503}})),
            _ => peer.event(&delta("Hello")),
        };
        peer.event(&finish("stop"));
        peer.done();
    });
    let proxy = Proxy::before(&backend);
    for (prompt, status) in [("error", 503), ("text", 200)] {
        let mut client = proxy.client();
        client.post("/api/chat", &chat(prompt));
        second.wait();
        client.assert_silence(Duration::from_millis(100));
        decided.raise();
        let head = client.head();
        assert_eq!(head.status, status, "{prompt}");
        client.rest().unwrap();
    }
}

#[test]
fn a_whole_answer_to_a_request_for_a_stream_becomes_lines() {
    let backend = Backend::new(|_, peer| {
        let choice = json!({"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"});
        peer.json(200, &json!({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}));
    });
    let proxy = Proxy::before(&backend);
    let lines: Vec<Value> = proxy.chat("q").lines();
    assert_eq!((lines.len(), content(&lines).as_str()), (2, "Hello"));
    assert_eq!((&lines[1]["done"], &lines[1]["eval_count"]), (&json!(true), &json!(2)));
}
