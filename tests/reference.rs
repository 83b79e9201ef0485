//! The slow and obvious translator: whole body, serde_json values, strings. The fast one must say the same of every
//! generated stream, however its bytes are cut (faults.md, 3.1: a differential oracle).
//!
//! It compares what an answer means, not its bytes (those are the golden files'): the runs of reasoning and content, the
//! calls, the reason, the counts, or that it failed. It shares no code with `src/`.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test stops where it fails")]

use bytes::BytesMut;
use ollama_openai_proxy::ollama::{Endpoint, Think, Timestamp};
use ollama_openai_proxy::translate::{BodyKind, StreamTranslator, ThinkTags, Wanted};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::Duration;

/// What an answer says.
#[derive(Debug, Default, PartialEq)]
struct Said {
    /// Neighbours of one kind are one run.
    runs: Vec<(Kind, String)>,
    /// Name and arguments.
    calls: Vec<(String, Value)>,
    done_reason: String,
    prompt_tokens: u64,
    completion_tokens: u64,
    failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Thinking,
    Content,
}

impl Said {
    fn text(&mut self, kind: Kind, text: &str) {
        match self.runs.last_mut() {
            _ if text.is_empty() => {}
            Some((last, run)) if *last == kind => run.push_str(text),
            _ => self.runs.push((kind, text.to_string())),
        }
    }
}

/// The reference: what the backend's whole body says.
fn reference(body: &str) -> Said {
    let mut said = Said::default();
    let (mut finished, mut deltas) = (false, 0);
    let mut usage = None;
    let mut calls: Vec<(u64, String, String)> = Vec::new();
    for data in events(body) {
        if data.trim() == "[DONE]" {
            break;
        }
        if data.trim().is_empty() || data.trim().starts_with(':') {
            continue;
        }
        let chunk: Value = serde_json::from_str(&data).unwrap();
        if !chunk["error"].is_null() {
            said.failed = true;
            return said;
        }
        if chunk["usage"].is_object() {
            usage = Some(chunk["usage"].clone());
        }
        let choice = &chunk["choices"][0];
        if finished || choice.is_null() {
            continue;
        }
        if choice["usage"].is_object() {
            usage = Some(choice["usage"].clone());
        }
        let delta = &choice["delta"];
        let reasoning = [&delta["reasoning_content"], &delta["reasoning"]];
        let reasoning =
            reasoning.into_iter().filter_map(Value::as_str).find(|text| !text.is_empty()).unwrap_or_default();
        if reasoning.is_empty() {
            for detail in delta["reasoning_details"].as_array().into_iter().flatten() {
                let text = detail["text"].as_str().or(detail["summary"].as_str()).unwrap_or_default();
                deltas += u64::from(!text.is_empty());
                said.text(Kind::Thinking, text);
            }
        }
        for (kind, text) in
            [(Kind::Thinking, reasoning), (Kind::Content, delta["content"].as_str().unwrap_or_default())]
        {
            deltas += u64::from(!text.is_empty());
            said.text(kind, text);
        }
        for (kind, text) in parts(&delta["content"]) {
            deltas += u64::from(!text.is_empty());
            said.text(kind, &text);
        }
        let function = &delta["function_call"];
        if function.is_object() {
            if calls.is_empty() {
                calls.push((0, String::new(), String::new()));
            }
            calls[0].1.push_str(function["name"].as_str().unwrap_or_default());
            calls[0].2.push_str(function["arguments"].as_str().unwrap_or_default());
        }
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().unwrap();
            let at = calls.iter().position(|(known, ..)| *known == index).unwrap_or_else(|| {
                calls.push((index, String::new(), String::new()));
                calls.len() - 1
            });
            let name = call["function"]["name"].as_str().unwrap_or_default();
            if calls[at].1 != name {
                calls[at].1.push_str(name);
            }
            calls[at].2.push_str(call["function"]["arguments"].as_str().unwrap_or_default());
        }
        if let Some(reason) = choice["finish_reason"].as_str().filter(|reason| !reason.is_empty()) {
            finished = true;
            said.done_reason = if reason == "length" { "length" } else { "stop" }.to_string();
        }
    }
    calls.sort_by_key(|(index, ..)| *index);
    said.calls = calls
        .into_iter()
        .map(|(_, name, arguments)| {
            let arguments = if arguments.is_empty() { "{}" } else { &arguments };
            (name, serde_json::from_str(arguments).unwrap())
        })
        .collect();
    said.prompt_tokens = usage.as_ref().and_then(|usage| usage["prompt_tokens"].as_u64()).unwrap_or(0);
    said.completion_tokens =
        usage.as_ref().and_then(|usage| usage["completion_tokens"].as_u64()).unwrap_or(deltas);
    said
}

/// A content that is a list of parts, which may hold parts themselves.
fn parts(content: &Value) -> Vec<(Kind, String)> {
    let mut found = Vec::new();
    for part in content.as_array().into_iter().flatten() {
        match &part["thinking"] {
            Value::String(text) => found.push((Kind::Thinking, text.clone())),
            Value::Array(inner) => found.extend(
                inner.iter().filter_map(|part| Some((Kind::Thinking, part["text"].as_str()?.to_string()))),
            ),
            _ => found.extend(part["text"].as_str().map(|text| (Kind::Content, text.to_string()))),
        }
    }
    found
}

/// The data of every event, by the WHATWG's grammar read line by line.
fn events(body: &str) -> Vec<String> {
    let (mut events, mut data) = (Vec::new(), Vec::new());
    for line in body.replace("\r\n", "\n").replace('\r', "\n").split('\n') {
        if line.is_empty() {
            if !data.is_empty() {
                events.push(data.join("\n"));
                data.clear();
            }
        } else if let Some(rest) = line.strip_prefix("data:") {
            data.push(rest.strip_prefix(' ').unwrap_or(rest).to_string());
        }
    }
    events
}

/// What the program says of the same bytes, cut at these places.
fn program(body: &[u8], cuts: &[prop::sample::Index], think_tags: ThinkTags) -> Said {
    let wanted = Wanted {
        endpoint: Endpoint::Chat,
        model: "m",
        stream: true,
        think: Think::Unset,
        logprobs: None,
        think_tags,
        started_at: Timestamp::from_unix_seconds(1),
        load: Duration::ZERO,
    };
    let mut translator = StreamTranslator::new(&wanted, BodyKind::Events);
    let mut out = BytesMut::new();
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
    places.sort_unstable();
    places.push(body.len());
    let mut from = 0;
    let mut result = Ok(());
    for to in places {
        let part = &body[from..to];
        from = to;
        result = result.and_then(|()| translator.push(part, Duration::ZERO, &mut out).map(|_| ()));
    }
    let result = result.and_then(|()| translator.finish(Duration::ZERO, &mut out));
    let mut said = Said { failed: result.is_err(), ..Said::default() };
    for line in std::str::from_utf8(&out).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let message = &line["message"];
        said.text(Kind::Thinking, message["thinking"].as_str().unwrap_or_default());
        said.text(Kind::Content, message["content"].as_str().unwrap());
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            let function = &call["function"];
            assert_eq!(function["index"], said.calls.len());
            said.calls.push((function["name"].as_str().unwrap().to_string(), function["arguments"].clone()));
        }
        if line["done"] == true {
            said.done_reason = line["done_reason"].as_str().unwrap().to_string();
            said.prompt_tokens = line["prompt_eval_count"].as_u64().unwrap_or(0);
            said.completion_tokens = line["eval_count"].as_u64().unwrap_or(0);
        }
    }
    said
}

// --- streams as backends send them ---------------------------------------------------------------------------------

/// One chunk of the answer's body.
fn chunk() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        4 => "[ a-zé\u{2028}\u{85}\"\\\\\n🦙<>{}\\[\\]:,]{0,12}",
        1 => Just(String::new()),
    ];
    let field = prop::sample::select(vec!["content", "content", "content", "reasoning_content", "reasoning"]);
    let of = |delta: Value, more: Value| {
        let mut chunk = json!({"id": "c", "object": "chat.completion.chunk", "choices": [
            {"index": 0, "delta": delta, "finish_reason": null}]});
        for (name, value) in more.as_object().unwrap() {
            chunk[name] = value.clone();
        }
        chunk
    };
    let details = move || {
        prop::sample::select(vec![
        json!({"reasoning_details": [{"type": "reasoning.text", "text": "hm"}, {"type": "reasoning.encrypted", "data": "x"}]}),
        json!({"reasoning_details": [{"type": "reasoning.summary", "summary": "é"}], "reasoning": "", "content": "a"}),
        json!({"reasoning_details": [{"type": "reasoning.text", "text": "twice"}], "reasoning": "twice"}),
    ]).prop_map(move |delta| of(delta, json!({})))
    };
    let extra = prop::sample::select(vec![
        json!({}),
        json!({"usage": null}),
        json!({"usage": {"prompt_tokens": 3, "completion_tokens": 1}}),
        json!({"obfuscation": "x}]\""}),
        json!({"error": null}),
    ]);
    let shapes = prop::sample::select(vec![
        json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}, {"type": "text", "text": " é"}]}]}),
        json!({"content": [{"type": "thinking", "thinking": "so"}, {"type": "text", "text": "a\n"}, {"type": "image_url"}]}),
        json!({"content": []}),
    ]);
    let usage_within = json!({"choices": [{"index": 0, "delta": {"content": "u"}, "usage": {"prompt_tokens": 2, "completion_tokens": 9}}]});
    let logprobs = json!({"choices": [{"index": 0, "delta": {"content": "p"}, "logprobs": {"content": [{"token": "p", "logprob": -0.5, "bytes": [112], "top_logprobs": []}]}}]});
    prop_oneof![
        1 => shapes.prop_map(move |delta| of(delta, json!({}))),
        1 => Just(usage_within),
        1 => Just(logprobs),
        8 => (field, text.clone(), extra).prop_map(move |(field, text, extra)| of(json!({field: text}), extra)),
        1 => (text.clone(), text).prop_map(move |(one, two)|
            of(json!({"role": "assistant", "content": one, "reasoning": two}), json!({}))),
        1 => Just(of(json!({"role": "assistant", "content": null}), json!({}))),
        1 => details(),
        1 => Just(json!({"choices": [], "prompt_filter_results": [{"x": [1, {"y": "\""}]}]})),
    ]
}

/// The fragments of calls, each call's in order, the calls interleaved.
fn calls() -> impl Strategy<Value = Vec<Value>> {
    let arguments =
        prop::sample::select(vec!["", "{}", r#"{"x": "é\"}{", "y": [1, 2.50]}"#, r#"{"a":{"b":null}}"#]);
    let call = (arguments, 1usize..6, any::<bool>());
    prop::collection::vec(call, 0..4).prop_map(|calls| {
        let mut rounds: Vec<(usize, Value)> = Vec::new();
        for (index, (arguments, size, repeats)) in calls.iter().enumerate() {
            let name = format!("tool_{index}");
            let first = json!({"index": index, "id": format!("id{index}"), "type": "function",
                "function": {"name": name, "arguments": ""}});
            rounds.push((0, first));
            let letters: Vec<char> = arguments.chars().collect();
            for (round, piece) in letters.chunks(*size).enumerate() {
                let piece: String = piece.iter().collect();
                let mut function = json!({"arguments": piece});
                if *repeats {
                    function["name"] = name.clone().into();
                }
                rounds.push((round + 1, json!({"index": index, "function": function})));
            }
        }
        rounds.sort_by_key(|(round, _)| *round);
        let delta = |call| json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]});
        rounds.into_iter().map(|(_, call)| delta(call)).collect()
    })
}

/// One call in the older form, its arguments in pieces.
fn function_call() -> impl Strategy<Value = Vec<Value>> {
    (prop::sample::select(vec!["", "{}", r#"{"x": "é\"}{", "y": [1, 2.50]}"#]), 1usize..6).prop_map(
        |(arguments, size)| {
            let delta =
                |function: Value| json!({"choices": [{"index": 0, "delta": {"function_call": function}}]});
            let letters: Vec<char> = arguments.chars().collect();
            let pieces =
                letters.chunks(size).map(|piece| json!({"arguments": piece.iter().collect::<String>()}));
            [json!({"name": "old", "arguments": ""})].into_iter().chain(pieces).map(delta).collect()
        },
    )
}

/// A whole body: chunks, calls, a finish or an error, usage, `[DONE]` or none, in one of the framings.
fn body() -> impl Strategy<Value = String> {
    let finish = prop::sample::select(vec![
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        json!({"choices": [{"index": 0, "delta": {"content": "!"}, "finish_reason": "length"}]}),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 6}}),
        json!({"error": {"message": "no", "code": 500}}),
    ]);
    let behind = prop::sample::select(vec![
        vec![],
        vec![
            json!({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 8, "total_tokens": 15}}),
        ],
        vec![json!({"choices": [{"index": 0, "delta": {"content": "late"}}]})],
    ]);
    let framing =
        (prop::sample::select(vec!["\n", "\r\n", "\r"]), any::<bool>(), any::<bool>(), any::<bool>());
    (
        prop::collection::vec(chunk(), 0..12),
        prop_oneof![4 => calls(), 1 => function_call()],
        finish,
        behind,
        framing,
    )
        .prop_map(|(chunks, calls, finish, behind, (end, space, comments, done))| {
            let mut body = String::new();
            for chunk in chunks.into_iter().chain(calls).chain([finish]).chain(behind) {
                if comments {
                    body += &format!(": still here{end}{end}data:{end}{end}event: chunk{end}id: 1{end}");
                }
                body += &format!("data:{}{chunk}{end}{end}", if space { " " } else { "" });
            }
            if done {
                body += &format!("data: [DONE]{end}{end}");
            }
            body
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_fast_translator_says_what_the_obvious_one_says(
        body in body(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let (expected, found) = (reference(&body), program(body.as_bytes(), &cuts, ThinkTags::Off));
        if expected.failed {
            // What was said before the error stands; the calls and the end are not said.
            prop_assert!(found.failed, "{body}");
            prop_assert_eq!(found.runs, expected.runs, "{}", body);
            prop_assert!(found.calls.is_empty() && found.done_reason.is_empty(), "{}", body);
        } else {
            prop_assert_eq!(found, expected, "{}", body);
        }
    }
}

/// What a text between tags says, looked at whole.
fn untagged(text: &str, tags: ThinkTags) -> Said {
    const SPACE: [char; 2] = [' ', '\n'];
    let mut said = Said { done_reason: "stop".to_string(), ..Said::default() };
    let first = text.trim_start_matches(SPACE);
    let mut rest = match tags {
        ThinkTags::Off => None,
        ThinkTags::On => first.strip_prefix("<think>"),
        ThinkTags::Open => Some(text),
    };
    if let Some(inner) = &mut rest {
        // A tag that opens it again, before its first word.
        while let Some(again) = inner.trim_start_matches(SPACE).strip_prefix("<think>") {
            *inner = again;
        }
        *inner = inner.trim_start_matches(SPACE);
    }
    match rest.map(|inner| (inner, inner.split_once("</think>"))) {
        Some((_, Some((thinking, content)))) => {
            said.text(Kind::Thinking, thinking.trim_end_matches(SPACE));
            said.text(Kind::Content, content.trim_start_matches(SPACE));
        }
        Some((inner, None)) => said.text(Kind::Thinking, inner),
        None if tags == ThinkTags::Off => said.text(Kind::Content, text),
        None => match (first.strip_prefix("</think>"), text.split_once("</think>")) {
            (Some(content), _) => said.text(Kind::Content, content.trim_start_matches(SPACE)),
            (None, Some((before, behind))) if !before.contains("<think>") => {
                said.text(Kind::Content, &format!("{before}{behind}"));
            }
            _ => said.text(Kind::Content, text),
        },
    }
    said
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn tagged_texts_say_what_they_say_when_looked_at_whole(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "<think>", "</think>", "<thi", "nk>", "</", "<", "think>", " ", "\n", "a", "é ", "b\n", "\"",
        ]), 0..10),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        tags in prop::sample::select(vec![ThinkTags::Off, ThinkTags::On, ThinkTags::Open]),
    ) {
        let chunk = |text: &str| json!({"choices": [{"index": 0, "delta": {"content": text}}]});
        let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 0, "completion_tokens": 0}});
        let chunks = pieces.iter().map(|text| chunk(text)).chain([end]);
        let body: String = chunks.map(|chunk| format!("data: {chunk}\n\n")).collect();
        let found = program(body.as_bytes(), &cuts, tags);
        prop_assert_eq!(found, untagged(&pieces.concat(), tags), "{:?}", pieces);
    }
}

#[test]
fn the_reference_itself_is_right_about_a_known_stream() {
    let body = concat!(
        "data: {\"choices\":[{\"delta\":{\"reasoning\":\"hm\"}}]}\r\n\r\n: x\r\n\r\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\"\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\":1}\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n",
    );
    let expected = Said {
        runs: vec![(Kind::Thinking, "hm".to_string()), (Kind::Content, "ab".to_string())],
        calls: vec![("f".to_string(), json!({"x": 1}))],
        done_reason: "stop".to_string(),
        prompt_tokens: 3,
        completion_tokens: 4,
        failed: false,
    };
    assert_eq!(reference(body), expected);
    assert_eq!(program(body.as_bytes(), &[], ThinkTags::Off), expected);
}
