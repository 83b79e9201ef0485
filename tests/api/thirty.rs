//! The thirty details that go wrong most often (contract, section 6), by their numbers, as far as chat, generate, tools and
//! thinking are concerned. Where another test proves one, it is named here:
//!
//! | Detail | Proven by |
//! |---|---|
//! | 7 fragments anywhere | `golden::check_8`, `tests/split.rs` |
//! | 9 deltas of calls differ | `tests/golden`, the rows C01 to C18 |
//! | 10 results without names and ids | `golden::check_11`, the rows C17 |
//! | 14 names | `models::names_are_found_in_any_case_with_and_without_latest_and_echoed_as_they_came` |
//! | 15, 16 load and unload | `golden::checks_5_and_6` |
//! | 19 `max_tokens` and fixed values | `learn.rs` |
//! | 21 to 24 show, digests, version | `models.rs`, `wire_facts.rs`, `tests/clients` |
//! | 25 no model | `golden::checks_2_to_4` |
//! | 26 401, "upstream error", "not found" | `errors.rs` |
//! | 27 a status before the first line | `errors::check_12`, `broken::the_200_waits_for_the_first_line` |
//! | 28 CORS | `guard::check_16` |
//! | 29 long lines | `golden::check_18` |
//! | 30 embeddings | `embed.rs`, the golden rows M |

use crate::backend::{Backend, Peer, Request};
use crate::chunks::{delta, event, finish, role, usage};
use crate::client::{Answer, content, error_of};
use crate::proxy::{Proxy, chat};
use serde_json::{Value, json};

/// A backend that streams these chunks, and what else it writes, whatever it is asked.
fn streaming(chunks: Vec<String>) -> Backend {
    Backend::new(move |_: &Request, peer: &mut Peer| {
        peer.begin();
        for chunk in &chunks {
            peer.chunk(chunk);
        }
        peer.done();
    })
}

/// Chat and generate, asked the same.
fn both(proxy: &Proxy, more: &Value) -> [(&'static str, Answer); 2] {
    let mut requests = [("/api/chat", chat("q")), ("/api/generate", json!({"model": "m", "prompt": "q"}))];
    for (_, request) in &mut requests {
        for (name, value) in more.as_object().unwrap() {
            request[name] = value.clone();
        }
    }
    requests.map(|(path, request)| (path, proxy.post(path, &request)))
}

fn done_count(lines: &[Value]) -> usize {
    lines.iter().filter(|line| line["done"] == true).count()
}

#[test]
fn detail_01_lines_are_the_default_and_one_object_is_asked_for() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    for (path, answer) in both(&proxy, &json!({})) {
        assert_eq!(answer.head.content_type(), "application/x-ndjson", "{path}");
        assert_eq!(answer.lines().len(), 3, "{path}");
    }
    for (path, answer) in both(&proxy, &json!({"stream": false})) {
        assert_eq!(answer.head.content_type(), "application/json; charset=utf-8", "{path}");
        assert_eq!(answer.json()["done"], true, "{path}");
    }
    let asked: Vec<Value> = backend.posts().iter().map(|request| request.json()["stream"].clone()).collect();
    assert_eq!(asked, [true, true, false, false]);
}

#[test]
fn detail_02_the_last_line_waits_for_the_usage_and_comes_without_it() {
    let with = streaming([delta("Hi"), finish("stop"), usage()].iter().map(event).collect());
    let without = streaming([delta("Hi"), finish("stop")].iter().map(event).collect());
    for (backend, count, prompt) in [(with, json!(7), json!(11)), (without, json!(1), Value::Null)] {
        let proxy = Proxy::before(&backend);
        for (path, answer) in both(&proxy, &json!({})) {
            let lines = answer.lines();
            let last = lines.last().unwrap();
            assert_eq!((&last["done"], done_count(&lines)), (&json!(true), 1), "{path}");
            assert_eq!((&last["eval_count"], &last["prompt_eval_count"]), (&count, &prompt), "{path}");
        }
        assert_eq!(backend.posts()[0].json()["stream_options"], json!({"include_usage": true}));
    }
}

#[test]
fn details_03_and_04_one_end_whatever_happens_and_errors_are_texts() {
    let failure = json!({"error": {"message": "no more", "code": 500}});
    let table = [
        (vec![delta("Hi"), finish("stop"), usage(), finish("stop"), delta("late")], false),
        (vec![delta("Hi"), failure], true),
        (vec![delta("Hi")], false),
    ];
    for (chunks, fails) in table {
        let backend = streaming(chunks.iter().map(event).collect());
        let proxy = Proxy::before(&backend);
        for (path, answer) in both(&proxy, &json!({})) {
            let lines = answer.lines();
            let (last, good) = lines.split_last().unwrap();
            assert_eq!(good.len(), 1, "{path} {chunks:?}");
            assert!(good.iter().all(|line| line["done"] == false && line.get("error").is_none()), "{path}");
            if fails {
                assert_eq!(error_of(last), "no more");
                assert!(last.get("done").is_none(), "{path}");
            } else {
                assert_eq!(last["done"], true, "{path} {chunks:?}");
                assert!(last.get("error").is_none(), "{path}");
            }
        }
    }
}

#[test]
fn details_05_and_06_no_blank_line_and_no_line_end_inside_a_line() {
    let text = "a\u{2028}b\u{2029}c\u{85}d\r\n";
    let pings = [": ping\n\n", "\n\n", "data:\n\n", "data: \"\"\n\n"].map(str::to_string);
    let mut chunks = pings.to_vec();
    chunks.extend([event(&role()), event(&delta(text))]);
    chunks.extend(pings);
    chunks.push(event(&finish("stop")));
    let backend = streaming(chunks);
    let proxy = Proxy::before(&backend);
    for (path, answer) in both(&proxy, &json!({})) {
        let body = answer.text();
        assert!(!body.contains(['\u{2028}', '\u{2029}', '\u{85}', '\r']), "{path}");
        let lines: Vec<&str> = body.split_terminator('\n').collect();
        assert_eq!(lines.len(), 2, "{path}: {body}");
        assert!(lines.iter().all(|line| line.starts_with('{')), "{path}: {body}");
        let first = &answer.lines()[0];
        let said = if path == "/api/chat" { &first["message"]["content"] } else { &first["response"] };
        assert_eq!(said, text, "{path}");
    }
}

#[test]
fn detail_08_arguments_are_an_object_for_the_client_and_a_string_for_the_backend() {
    let calls = json!([{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}},
        {"index": 1, "id": "b", "function": {"name": "f", "arguments": "null"}},
        {"index": 2, "id": "c", "function": {"name": "f", "arguments": {"x": [1]}}}]);
    let called = json!({"choices": [{"index": 0, "delta": {"tool_calls": calls}}]});
    let backend = streaming([called, finish("tool_calls")].iter().map(event).collect());
    let proxy = Proxy::before(&backend);
    let lines = proxy.chat("q").lines();
    let calls = lines.iter().filter_map(|line| line["message"]["tool_calls"].as_array()).flatten();
    let arguments: Vec<&Value> = calls.map(|call| &call["function"]["arguments"]).collect();
    assert_eq!(arguments, [&json!({}), &json!({}), &json!({"x": [1]})]);
    let calls = json!([{"function": {"name": "f", "arguments": {"x": [1]}}}, {"function": {"name": "f"}}]);
    let messages = json!([{"role": "assistant", "tool_calls": calls}, {"role": "user", "content": "?"}]);
    proxy.post("/api/chat", &json!({"model": "m", "messages": messages}));
    let sent = backend.posts()[1].json();
    let arguments: Vec<&str> = sent["messages"][0]["tool_calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| call["function"]["arguments"].as_str().unwrap())
        .collect();
    assert_eq!(arguments, [r#"{"x":[1]}"#, "{}"]);
}

#[test]
fn details_11_and_18_what_is_empty_or_means_no_limit_is_not_sent() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let none = json!({"tools": [], "images": [], "format": "", "think": null, "keep_alive": null,
        "options": {"stop": [], "num_predict": -1, "seed": -1, "temperature": null, "num_ctx": 4096}});
    let mut expected = None;
    for more in [
        none,
        json!({"format": null, "options": null}),
        json!({"options": {"num_predict": -2}}),
        json!({"options": {"num_predict": 0}}),
    ] {
        for (path, answer) in both(&proxy, &more) {
            assert_eq!(answer.status(), 200, "{path} {more}");
        }
        for request in backend.posts() {
            let expected = expected.get_or_insert_with(|| request.json());
            assert_eq!(request.json(), *expected, "{more}");
        }
    }
    let names: Vec<String> = expected.unwrap().as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["model", "messages", "stream", "stream_options"]);
}

#[test]
fn details_12_and_13_the_text_is_a_string_on_every_line() {
    let calls = json!([{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}]);
    let of = |delta: Value| json!({"choices": [{"index": 0, "delta": delta}]});
    let chunks = [
        of(json!({"role": "assistant", "content": null})),
        of(json!({"reasoning_content": "hm", "content": null})),
        of(json!({"reasoning": "hm", "content": "Hi"})),
        of(json!({"content": null, "tool_calls": calls})),
        finish("tool_calls"),
    ];
    let backend = streaming(chunks.iter().map(event).collect());
    let proxy = Proxy::before(&backend);
    for stream in [true, false] {
        for (path, answer) in both(&proxy, &json!({"stream": stream})) {
            let lines = if stream { answer.lines() } else { vec![answer.json()] };
            for line in &lines {
                let text = if path == "/api/chat" { &line["message"]["content"] } else { &line["response"] };
                assert!(text.is_string(), "{path}: {line}");
                let thinks = line.get("thinking").or_else(|| line["message"].get("thinking")).is_some();
                assert!(!(stream && thinks && *text != ""), "both in one line, {path}: {line}");
            }
            if stream && path == "/api/chat" {
                assert_eq!(content(&lines), "Hi");
            }
        }
    }
}

#[test]
fn details_17_and_20_the_end_of_a_turn_with_calls_is_stop_with_whole_numbers() {
    let calls = json!([{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}]);
    let chunks = [
        json!({"choices": [{"index": 0, "delta": {"tool_calls": calls}}]}),
        finish("tool_calls"),
        json!({"choices": [], "usage": {"prompt_tokens": 11.0, "completion_tokens": 7.9}}),
    ];
    let backend = streaming(chunks.iter().map(event).collect());
    let proxy = Proxy::before(&backend);
    let lines = proxy.chat("q").lines();
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["done_reason"], &last["prompt_eval_count"], &last["eval_count"]),
        (&json!("stop"), &json!(11), &json!(7))
    );
    for (name, value) in last.as_object().unwrap() {
        assert!(!value.is_f64(), "{name}: {value}");
    }
    assert!(lines.iter().all(|line| line["created_at"].is_string()));
    // LangChain throws an answer away that says `load`.
    let empty = streaming(vec![event(&finish("stop"))]);
    let lines = Proxy::before(&empty).chat("q").lines();
    assert_eq!(lines.last().unwrap()["done_reason"], "stop");
}
