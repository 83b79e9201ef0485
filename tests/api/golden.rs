//! The golden checks of the contract, section 7, by their numbers. Checks 9, 14 and 15 are about official clients and
//! stand in `tests/clients`.

use crate::backend::Backend;
use crate::chunks::{STREAM_HEAD, delta, event, finish, role, usage};
use crate::client::{content, error_of};
use crate::proxy::{Proxy, chat};
use crate::signal::{PATIENCE, Signal};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

#[test]
fn check_1_root_says_that_ollama_is_running_and_head_says_it_without_a_body() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let get = proxy.get("/");
    assert_eq!((get.status(), get.text().as_str()), (200, "Ollama is running"));
    assert_eq!(get.head.content_type(), "text/plain; charset=utf-8");
    let head = proxy.ask("HEAD", "/", &[], None);
    assert_eq!((head.status(), head.text().as_str()), (200, ""));
    assert_eq!(backend.seen().connections, 0, "nobody needs the backend for this");
}

#[test]
fn checks_2_to_4_what_is_missing_from_a_request() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let empty = Some(b"{}".as_slice());
    let table = [
        ("/api/chat", empty, 400, "model is required"),
        ("/api/show", empty, 400, "model is required"),
        ("/api/generate", empty, 404, "model '' not found"),
        ("/api/generate", None, 400, "missing request body"),
        ("/api/generate", Some(b"".as_slice()), 400, "missing request body"),
        ("/api/chat", Some(b" \r\n".as_slice()), 400, "missing request body"),
        ("/api/show", None, 400, "missing request body"),
    ];
    for (path, body, status, error) in table {
        let answer = proxy.ask("POST", path, &[], body);
        assert_eq!((answer.status(), answer.error().as_str()), (status, error), "{path} {body:?}");
        assert_eq!(answer.head.content_type(), "application/json; charset=utf-8", "{path} {body:?}");
    }
    assert_eq!(backend.seen().requests.len(), 0);
}

#[test]
fn checks_5_and_6_an_empty_prompt_loads_and_unloads_without_the_backend() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let table = [
        ("/api/generate", json!({"model": "M"}), "load"),
        ("/api/generate", json!({"model": "M", "prompt": "", "system": "s", "keep_alive": "5m"}), "load"),
        ("/api/generate", json!({"model": "M", "keep_alive": 0}), "unload"),
        ("/api/generate", json!({"model": "M", "keep_alive": "0s", "stream": true}), "unload"),
        ("/api/chat", json!({"model": "M"}), "load"),
        ("/api/chat", json!({"model": "M", "messages": [], "keep_alive": "0"}), "unload"),
    ];
    for (path, body, reason) in table {
        let answer = proxy.post(path, &body);
        let object = answer.json();
        assert_eq!(answer.status(), 200, "{path} {body}");
        assert_eq!(answer.head.content_type(), "application/json; charset=utf-8", "{path} {body}");
        assert!(!answer.text().ends_with('\n'), "{path} {body}");
        let mut expected =
            json!({"model": "M", "created_at": object["created_at"], "done": true, "done_reason": reason});
        let (name, text) = match path {
            "/api/chat" => ("message", json!({"role": "assistant", "content": ""})),
            _ => ("response", json!("")),
        };
        expected[name] = text;
        assert_eq!(object, expected, "{path} {body}");
    }
    assert_eq!(backend.seen().requests.len(), 0);
}

#[test]
fn check_7_a_chat_streams_by_default_and_ends_in_one_line_with_counts() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let answer = proxy.chat("hi");
    assert_eq!((answer.status(), answer.head.content_type()), (200, "application/x-ndjson"));
    assert_eq!(answer.head.header("transfer-encoding"), Some("chunked"));
    let lines = answer.lines();
    let done: Vec<_> = lines.iter().map(|line| line["done"].as_bool().unwrap()).collect();
    assert_eq!(done, [false, false, true]);
    assert_eq!(content(&lines), "Hello world");
    for line in &lines {
        assert_eq!((&line["model"], &line["message"]["role"]), (&json!("m"), &json!("assistant")));
        assert!(is_utc_time(line["created_at"].as_str().unwrap()), "{line}");
        assert!(line.get("error").is_none());
    }
    let last = &lines[2];
    assert_eq!((&last["done_reason"], &last["message"]["content"]), (&json!("stop"), &json!("")));
    assert_eq!((&last["prompt_eval_count"], &last["eval_count"]), (&json!(11), &json!(7)));
    for name in ["total_duration", "load_duration", "eval_duration"] {
        assert!(last[name].as_u64().is_some_and(|ns| ns > 0), "{name}: {last}");
    }
    assert!(lines[0].get("total_duration").is_none(), "figures stand on the last line only");
}

#[test]
fn check_7_the_same_for_generate_and_for_whole_answers() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let lines = proxy.post("/api/generate", &json!({"model": "m", "prompt": "hi"})).lines();
    let text: String = lines.iter().map(|line| line["response"].as_str().unwrap()).collect();
    assert_eq!((text.as_str(), lines.len()), ("Hello world", 3));
    assert_eq!((&lines[2]["done"], &lines[2]["eval_count"]), (&json!(true), &json!(7)));

    let mut whole = chat("hi");
    whole["stream"] = json!(false);
    let answer = proxy.post("/api/chat", &whole);
    assert_eq!((answer.status(), answer.head.content_type()), (200, "application/json; charset=utf-8"));
    assert!(!answer.text().ends_with('\n'));
    let object = answer.json();
    assert_eq!(object["message"], json!({"role": "assistant", "content": "Hello world"}));
    assert_eq!((&object["done"], &object["done_reason"]), (&json!(true), &json!("stop")));
    assert_eq!((&object["prompt_eval_count"], &object["eval_count"]), (&json!(11), &json!(7)));
    let generated =
        proxy.post("/api/generate", &json!({"model": "m", "prompt": "hi", "stream": false})).json();
    assert_eq!(generated["response"], "Hello world");
}

#[test]
fn check_8_an_event_cut_inside_a_character_gives_the_same_text() {
    let text = "a🦙\u{2028}é\u{85}z";
    let events = [event(&role()), event(&delta(text)), event(&finish("stop")), event(&usage())].concat();
    let events = events.replace('\n', "\r\n") + "data: [DONE]\r\n\r\n";
    // An HTTP chunk is a frame of its own however the reads fall, so the stream is cut behind every byte.
    let backend = Backend::new(move |_, peer| {
        peer.write(STREAM_HEAD);
        for byte in events.bytes() {
            peer.chunk([byte]);
        }
        peer.write("0\r\n\r\n");
    });
    let proxy = Proxy::before(&backend);
    let answer = proxy.chat("hi");
    assert_eq!(content(&answer.lines()), text);
    for raw in ["\u{2028}", "\u{2029}", "\u{85}"] {
        assert!(!answer.text().contains(raw), "some clients end a line at {raw:?}");
    }
}

#[test]
fn check_10_fragments_of_a_call_become_one_line_with_an_object() {
    let backend = Backend::new(|_, peer| {
        let call = |fragment: Value| json!({"choices": [{"index": 0, "delta": {"tool_calls": [fragment]}, "finish_reason": null}]});
        peer.begin();
        peer.event(&call(json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}})));
        for fragment in ["{\"ci", "ty\":\"K", "öln\",\"days\":", "2}"] {
            peer.event(&call(json!({"index": 0, "function": {"arguments": fragment}})));
        }
        peer.event(&finish("tool_calls"));
        peer.event(&usage());
        peer.done();
    });
    let proxy = Proxy::before(&backend);
    let mut request = chat("weather?");
    request["tools"] =
        json!([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]);
    let lines = proxy.post("/api/chat", &request).lines();
    let calls: Vec<&Value> =
        lines.iter().filter(|line| line["message"].get("tool_calls").is_some()).collect();
    assert_eq!(calls.len(), 1, "{lines:#?}");
    let message = &calls[0]["message"];
    assert_eq!((&message["content"], &calls[0]["done"]), (&json!(""), &json!(false)));
    let call = &message["tool_calls"][0];
    assert_eq!(
        call["function"],
        json!({"index": 0, "name": "weather", "arguments": {"city": "Köln", "days": 2}})
    );
    assert!(call.get("type").is_none());
    let last = lines.last().unwrap();
    assert_eq!((&last["done"], &last["done_reason"]), (&json!(true), &json!("stop")));
}

#[test]
fn check_11_results_without_ids_answer_their_calls_in_order() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let call = |city: &str| json!({"function": {"name": "weather", "arguments": {"city": city}}});
    let result = |text: &str| json!({"role": "tool", "content": text, "tool_name": "weather"});
    let messages = json!([
        {"role": "user", "content": "both?"},
        {"role": "assistant", "tool_calls": [call("Köln"), call("Bonn")]},
        result("rain"), result("sun"),
    ]);
    proxy.post("/api/chat", &json!({"model": "m", "messages": messages, "tools": []})).lines();
    let sent = backend.wait_for_posts(1).json();
    assert!(sent.get("tools").is_none(), "an empty list is refused by OpenAI");
    let calls = sent["messages"][1]["tool_calls"].as_array().unwrap();
    let ids: Vec<&str> = calls.iter().map(|call| call["id"].as_str().unwrap()).collect();
    assert_ne!(ids[0], ids[1]);
    for call in calls {
        assert_eq!(call["type"], "function");
        let arguments = call["function"]["arguments"].as_str().expect("arguments are a string upstream");
        assert!(serde_json::from_str::<Value>(arguments).unwrap()["city"].is_string());
    }
    for (at, text) in ["rain", "sun"].into_iter().enumerate() {
        let message = &sent["messages"][2 + at];
        assert_eq!((&message["tool_call_id"], &message["content"]), (&json!(ids[at]), &json!(text)));
    }
}

#[test]
fn check_13_a_backend_that_dies_mid_stream_leaves_an_error_line_last() {
    let backend = Backend::new(|_, peer| {
        peer.begin();
        peer.event(&delta("Hello"));
        peer.close();
    });
    let proxy = Proxy::before(&backend);
    let answer = proxy.chat("hi");
    let lines = answer.lines();
    assert_eq!((answer.status(), lines.len()), (200, 2), "{lines:?}");
    assert_eq!(lines[0]["message"]["content"], "Hello");
    error_of(&lines[1]);
}

#[test]
fn check_17_a_client_that_leaves_after_its_first_line_ends_the_backends_request() {
    let over = Signal::new();
    let ended = Arc::clone(&over);
    let backend = Backend::new(move |_, peer| {
        peer.begin();
        peer.event(&delta("Hello"));
        if peer.wait_closed() {
            ended.raise();
        }
    });
    let proxy = Proxy::before(&backend);
    let mut client = proxy.client();
    client.post("/api/chat", &chat("hi"));
    assert_eq!(client.head().status, 200);
    client.json_line();
    let left = Instant::now();
    drop(client);
    over.wait();
    let took = left.elapsed();
    assert!(took < PATIENCE / 10, "it took {took:?}");
}

#[test]
fn check_18_a_huge_delta_is_split_into_short_lines() {
    let text = "0123456789\"\\\n\té中🦙\u{2028}".repeat(12_000);
    let sent = text.clone();
    let backend = Backend::new(move |request, peer| peer.say(request, &[&sent]));
    let proxy = Proxy::before(&backend);
    let answer = proxy.chat("hi");
    for line in answer.text().split_terminator('\n') {
        assert!(line.len() < 64 << 10, "a line of {} bytes", line.len() + 1);
    }
    assert_eq!(content(&answer.lines()), text);
}

/// `2026-08-21T10:00:00.123456789Z`, where the fraction has no zeros at its end.
fn is_utc_time(text: &str) -> bool {
    let Some((whole, fraction)) =
        text.strip_suffix('Z').map(|text| text.split_once('.').unwrap_or((text, "1")))
    else {
        return false;
    };
    let shape: String = whole.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    let is_short = fraction.len() <= 9 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    shape == "9999-99-99T99:99:99" && is_short && !fraction.ends_with('0')
}
