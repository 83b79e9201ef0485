//! Loops of calls and results: what a backend wants to read again of its own answers, and no client brings back, is put
//! into the next request (dialects T10 and T11). Each test is a loop of two requests at least.

use crate::backend::{Backend, Peer, Request};
use crate::chunks::{finish, usage};
use crate::proxy::{Proxy, chat};
use serde_json::{Value, json};

/// The signature as Gemini writes it on a call.
fn signed(signature: &str) -> Value {
    json!({"google": {"thought_signature": signature}})
}

fn call(id: &str, name: &str, arguments: &str, signature: Option<&str>) -> Value {
    let mut call = json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    if let Some(signature) = signature {
        call["extra_content"] = signed(signature);
    }
    call
}

/// Says these calls when the user spoke last, and a text when a result came last.
fn calling(calls: Vec<Value>) -> Backend {
    Backend::new(move |request: &Request, peer: &mut Peer| {
        let body = request.json();
        if body["messages"].as_array().unwrap().last().unwrap()["role"] != "user" {
            return peer.say(request, &["done"]);
        }
        if body["stream"] == json!(false) {
            let message = json!({"role": "assistant", "content": null, "tool_calls": calls});
            let choice = json!({"index": 0, "message": message, "finish_reason": "tool_calls"});
            return peer.json(200, &json!({"choices": [choice]}));
        }
        peer.begin();
        peer.event(&json!({"choices": [{"index": 0, "delta": {"tool_calls": calls}}]}));
        peer.event(&finish("tool_calls"));
        peer.event(&usage());
        peer.done();
    })
}

/// The calls of the first answer, as a client has them.
fn first(proxy: &Proxy, stream: bool) -> Vec<Value> {
    let mut request = chat("weather?");
    request["stream"] = json!(stream);
    let answer = proxy.post("/api/chat", &request);
    let lines = if stream { answer.lines() } else { vec![answer.json()] };
    assert!(!answer.text().contains("signature"), "no client wants it: {}", answer.text());
    let calls = lines.iter().filter_map(|line| line["message"]["tool_calls"].as_array());
    calls.flatten().cloned().collect()
}

/// The second request of a loop, with the calls as the client writes them; gives what the backend reads of each.
fn second(proxy: &Proxy, backend: &Backend, model: &str, calls: &[Value]) -> Vec<Value> {
    let results = calls.iter().map(|_| json!({"role": "tool", "content": "sun"}));
    let mut messages = vec![
        json!({"role": "user", "content": "weather?"}),
        json!({"role": "assistant", "content": "", "tool_calls": calls}),
    ];
    messages.extend(results);
    let answer = proxy.post("/api/chat", &json!({"model": model, "messages": messages}));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let sent = backend.posts().last().unwrap().json();
    sent["messages"][1]["tool_calls"].as_array().unwrap().clone()
}

#[test]
fn a_signature_comes_back_by_the_identifier_of_its_call() {
    for stream in [true, false] {
        let backend = calling(vec![
            call("call_1", "weather", r#"{"city":"Köln"}"#, Some("one")),
            call("call_2", "weather", r#"{"city":"Bonn"}"#, None),
            call("call_3", "weather", r#"{"city":"Ulm"}"#, Some("three")),
        ]);
        let proxy = Proxy::before(&backend);
        let mut calls = first(&proxy, stream);
        assert_eq!(calls.len(), 3);
        // A client may have changed what it ran; the identifier is the call's.
        calls[0]["function"]["arguments"] = json!({"city": "Cologne"});
        let sent = second(&proxy, &backend, "m", &calls);
        let expected = [Some(signed("one")), None, Some(signed("three"))];
        let found: Vec<_> = sent.iter().map(|call| call.get("extra_content").cloned()).collect();
        assert_eq!(found, expected, "stream: {stream}");
    }
}

#[test]
fn a_signature_comes_back_to_a_client_that_loses_the_identifier() {
    let backend = calling(vec![call("", "weather", r#"{"city":"Köln","unit":null,"days":2}"#, Some("one"))]);
    let proxy = Proxy::before(&backend);
    assert_eq!(first(&proxy, true).len(), 1);
    // As ollama-python and Home Assistant bring it back: no identifier, another order, no member without a value.
    let made = json!({"function": {"name": "weather", "arguments": {"days": 2.0, "city": "Köln"}}});
    let sent = second(&proxy, &backend, "m", &[made]);
    assert_eq!(sent[0]["extra_content"], signed("one"));
    let other = json!({"function": {"name": "weather", "arguments": {"days": 3, "city": "Köln"}}});
    let sent = second(&proxy, &backend, "m", &[other]);
    assert_eq!(sent[0].get("extra_content"), None, "another call is not signed");
}

#[test]
fn a_signature_comes_back_to_its_own_model_and_key_only() {
    let backend = calling(vec![call("call_1", "weather", "{}", Some("one"))]);
    let proxy = Proxy::before(&backend);
    let calls = first(&proxy, true);
    assert_eq!(second(&proxy, &backend, "other", &calls)[0].get("extra_content"), None);
    let messages = json!([{"role": "user", "content": "?"}, {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "content": "sun"}]);
    let body = json!({"model": "m", "messages": messages}).to_string();
    let key = [("authorization", "Bearer another")];
    assert_eq!(proxy.ask("POST", "/api/chat", &key, Some(body.as_bytes())).status(), 200);
    let sent = backend.posts().last().unwrap().json();
    assert_eq!(sent["messages"][1]["tool_calls"][0].get("extra_content"), None);
    assert_eq!(second(&proxy, &backend, "m", &calls)[0]["extra_content"], signed("one"));
}

#[test]
fn the_members_of_a_gateway_come_back_too() {
    let mut made = call("call_1", "weather", "{}", None);
    made["provider_specific_fields"] = json!({"thought_signature": "one"});
    made["unknown"] = json!({"x": 1});
    let backend = calling(vec![made]);
    let proxy = Proxy::before(&backend);
    let calls = first(&proxy, true);
    let sent = &second(&proxy, &backend, "m", &calls)[0];
    assert_eq!(sent["provider_specific_fields"], json!({"thought_signature": "one"}));
    assert_eq!((sent.get("unknown"), sent.get("extra_content")), (None, None));
}

/// A backend that refuses a history without this member on its assistant's messages, in these words.
fn wanting(has: fn(&Value) -> bool, words: &'static str) -> Backend {
    Backend::new(move |request: &Request, peer: &mut Peer| {
        let body = request.json();
        let messages = body["messages"].as_array().unwrap();
        let is_good = messages.iter().filter(|message| message["role"] == "assistant").all(has);
        if is_good {
            peer.say(request, &["done"])
        } else {
            peer.json(400, &json!({"error": {"message": words}}))
        }
    })
}

fn history() -> Value {
    json!({"model": "m", "messages": [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": "", "thinking": "Let me \"see\"", "tool_calls": [
            {"function": {"name": "weather", "arguments": {}}}, {"function": {"name": "weather", "arguments": {}}}]},
        {"role": "tool", "content": "sun"}, {"role": "tool", "content": "rain"},
        {"role": "assistant", "content": "Sun."},
        {"role": "user", "content": "and now?"},
    ]})
}

/// What the backend read as reasoning on each of the assistant's messages, request by request.
fn reasoning(backend: &Backend) -> Vec<Vec<Option<String>>> {
    let of =
        |message: &Value| message.get("reasoning_content").map(|text| text.as_str().unwrap().to_string());
    let assistants = |body: Value| -> Vec<_> {
        let messages = body["messages"].as_array().unwrap().clone();
        messages.iter().filter(|message| message["role"] == "assistant").map(of).collect()
    };
    backend.posts().iter().map(|request| assistants(request.json())).collect()
}

#[test]
fn a_backend_that_wants_its_reasoning_back_is_asked_again_with_it_and_gets_it_from_then_on() {
    for words in [
        "Missing `reasoning_content` field in the assistant message at message index 1.",
        "The `reasoning_content` in the thinking mode must be passed back to the API.",
    ] {
        let backend = wanting(
            |message| message["reasoning_content"].as_str().is_some_and(|text| !text.is_empty()),
            words,
        );
        let proxy = Proxy::before(&backend);
        for _ in 0..2 {
            assert_eq!(proxy.post("/api/chat", &history()).status(), 200, "{words}");
        }
        let with = vec![Some("Let me \"see\"".to_string()), Some(" ".to_string())];
        assert_eq!(reasoning(&backend), [vec![None, None], with.clone(), with], "{words}");
    }
}

#[test]
fn reasoning_goes_back_or_not_as_the_setting_says() {
    let backend = Backend::hello();
    let proxy = Proxy::with(&backend, &[("ECHO_REASONING", "true")]);
    assert_eq!(proxy.post("/api/chat", &history()).status(), 200);
    assert_eq!(reasoning(&backend), [[Some("Let me \"see\"".to_string()), Some(" ".to_string())]]);

    let words = "Missing `reasoning_content` field";
    let backend = wanting(|message| message.get("reasoning_content").is_some(), words);
    let proxy = Proxy::with(&backend, &[("ECHO_REASONING", "false")]);
    let answer = proxy.post("/api/chat", &history());
    assert_eq!((answer.status(), answer.error().as_str()), (400, words));
    assert_eq!(reasoning(&backend), [[None, None]], "and it is not asked again");
}

#[test]
fn a_history_without_signatures_is_sent_again_with_googles_word_for_none() {
    let backend = wanting(
        |message| {
            message["tool_calls"].as_array().is_none_or(|calls| calls[0].get("extra_content").is_some())
        },
        "Function call is missing a thought_signature in functionCall parts.",
    );
    let proxy = Proxy::before(&backend);
    for _ in 0..2 {
        assert_eq!(proxy.post("/api/chat", &history()).status(), 200);
    }
    let signatures: Vec<Vec<Value>> = backend
        .posts()
        .iter()
        .map(|request| {
            let calls = request.json()["messages"][1]["tool_calls"].as_array().unwrap().clone();
            calls.iter().map(|call| call["extra_content"].clone()).collect()
        })
        .collect();
    let none = signed("skip_thought_signature_validator");
    let with = vec![none, Value::Null];
    assert_eq!(signatures, [vec![Value::Null, Value::Null], with.clone(), with]);
}

#[test]
fn a_backend_that_keeps_wanting_is_asked_twice_at_most() {
    let words = "Missing `reasoning_content` field";
    let backend = wanting(|_| false, words);
    let proxy = Proxy::before(&backend);
    let answer = proxy.post("/api/chat", &history());
    assert_eq!((answer.status(), answer.error().as_str()), (400, words));
    assert_eq!(backend.posts().len(), 2);
}

#[test]
fn reasoning_between_tags_is_thinking_where_the_setting_says_so() {
    let backend = Backend::new(|request, peer| {
        peer.say(request, &["<thi", "nk>hm ", "hm</thin", "k>\n\nHi ", "<think>"])
    });
    let said = |variables: &[(&str, &str)], path: &str, body: Value| -> (String, String) {
        let proxy = Proxy::with(&backend, variables);
        let lines = proxy.post(path, &body).lines();
        let text = |of: &dyn Fn(&Value) -> Value| -> String {
            lines.iter().filter_map(|line| of(line).as_str().map(str::to_string)).collect()
        };
        for line in &lines {
            let message = &line["message"];
            assert!(
                message.get("thinking").is_none() || message["content"] == "",
                "both in one line: {line}"
            );
        }
        if path == "/api/chat" {
            (
                text(&|line| line["message"]["thinking"].clone()),
                text(&|line| line["message"]["content"].clone()),
            )
        } else {
            (text(&|line| line["thinking"].clone()), text(&|line| line["response"].clone()))
        }
    };
    let raw = "<think>hm hm</think>\n\nHi <think>".to_string();
    let read = ("hm hm".to_string(), "Hi <think>".to_string());
    let prompt = json!({"model": "m", "prompt": "q"});
    assert_eq!(said(&[], "/api/chat", chat("q")), (String::new(), raw.clone()), "it is opt-in");
    assert_eq!(said(&[("THINK_TAGS", "on")], "/api/chat", chat("q")), read);
    assert_eq!(said(&[("THINK_TAGS", "open")], "/api/generate", prompt), read);
    let bare = json!({"model": "m", "prompt": "q", "raw": true});
    assert_eq!(said(&[("THINK_TAGS", "on")], "/api/generate", bare), (String::new(), raw), "raw is raw");
}
