//! Parameters that a backend refuses are left out once it said so, and are remembered (dialects R1 to R3); a refusal of
//! anything else is the client's.

use crate::backend::{Backend, Peer, Request};
use crate::proxy::{Proxy, chat};
use serde_json::{Value, json};

/// A backend that refuses requests with one of these parameters, in these words.
fn refusing(refused: &'static [(&'static str, u16, &'static str)]) -> Backend {
    Backend::new(move |request: &Request, peer: &mut Peer| {
        let body = request.json();
        match refused.iter().find(|(name, ..)| body.get(name).is_some()) {
            Some((_, status, error)) => peer.json(*status, &serde_json::from_str(error).unwrap()),
            None => peer.say(request, &["Hello"]),
        }
    })
}

fn sent(backend: &Backend) -> Vec<Value> {
    backend.posts().iter().map(Request::json).collect()
}

fn limited() -> Value {
    let mut request = chat("q");
    request["options"] = json!({"num_predict": 10, "temperature": 0.5});
    request
}

#[test]
fn a_backend_without_stream_options_is_asked_again_once_and_never_with_them_again() {
    let refused = [
        (400, r#"{"error":{"message":"Unrecognized request argument supplied: stream_options"}}"#),
        (
            422,
            r#"{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted: stream_options"}]}"#,
        ),
        (
            400,
            r#"{"error":{"message":"Unknown parameter: 'stream_options'.","param":"stream_options","code":"unknown_parameter"}}"#,
        ),
        (
            422,
            r#"{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}"#,
        ),
    ];
    for (status, error) in refused {
        let backend = refusing(Box::leak(Box::new([("stream_options", status, error)])));
        let proxy = Proxy::before(&backend);
        assert_eq!(proxy.chat("one").status(), 200, "{error}");
        assert_eq!(proxy.chat("two").status(), 200, "{error}");
        let has: Vec<bool> = sent(&backend).iter().map(|body| body.get("stream_options").is_some()).collect();
        assert_eq!(has, [true, false, false], "{error}");
        let (with, without) = (&sent(&backend)[0], &sent(&backend)[1]);
        let mut expected = with.clone();
        expected.as_object_mut().unwrap().remove("stream_options");
        assert_eq!(*without, expected, "nothing else is left out");
    }
}

#[test]
fn the_token_limit_goes_under_the_name_that_the_backend_takes() {
    let old = (
        "max_tokens",
        400,
        r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}"#,
    );
    let backend = refusing(Box::leak(Box::new([old])));
    let proxy = Proxy::before(&backend);
    for _ in 0..2 {
        assert_eq!(proxy.post("/api/chat", &limited()).status(), 200);
    }
    let names: Vec<_> = sent(&backend)
        .iter()
        .map(|body| (body.get("max_tokens").is_some(), body.get("max_completion_tokens").is_some()))
        .collect();
    assert_eq!(names, [(true, false), (false, true), (false, true)]);
    assert_eq!(sent(&backend)[2]["max_completion_tokens"], 10);
}

#[test]
fn several_refusals_are_learnt_one_after_the_other() {
    let backend = refusing(&[
        ("stream_options", 400, r#"{"error":"unknown field: stream_options"}"#),
        (
            "max_tokens",
            400,
            r#"{"error":{"message":"unsupported parameter max_tokens","param":"max_tokens"}}"#,
        ),
        (
            "temperature",
            400,
            r#"{"error":{"message":"Unsupported value: 'temperature' does not support 0.5 with this model.","param":"temperature","code":"unsupported_value"}}"#,
        ),
    ]);
    let proxy = Proxy::before(&backend);
    assert_eq!(proxy.post("/api/chat", &limited()).status(), 200);
    assert_eq!(sent(&backend).len(), 4);
    assert_eq!(proxy.post("/api/chat", &limited()).status(), 200);
    // A parameter is given up for the model; a value only for the request that brought it.
    let mut expected = json!({"model": "m", "messages": [{"role": "user", "content": "q"}], "temperature": 0.5, "max_completion_tokens": 10, "stream": true});
    assert_eq!(sent(&backend)[4], expected);
    expected.as_object_mut().unwrap().remove("temperature");
    assert_eq!(sent(&backend)[5..], [expected]);
}

#[test]
fn a_backend_that_always_refuses_is_asked_twice_at_most() {
    let backend = refusing(&[("model", 400, r#"{"error":{"message":"unknown parameter: stream_options"}}"#)]);
    let proxy = Proxy::before(&backend);
    let answer = proxy.chat("q");
    assert_eq!((answer.status(), &*answer.error()), (400, "unknown parameter: stream_options"));
    assert_eq!(backend.posts().len(), 2);
    // Nothing was learnt: it did not help.
    assert_eq!(proxy.chat("q").status(), 400);
    assert_eq!(backend.posts().len(), 4);
}

#[test]
fn other_refusals_are_passed_on_after_one_request() {
    let table = [
        (400, r#"{"error":{"message":"This model's maximum context length is 8192 tokens"}}"#),
        (400, r#"{"error":{"message":"temperature must be at most 2","param":"temperature"}}"#),
        (400, r#"{"error":{"message":"max_tokens is too large: 99999999"}}"#),
        (400, r#"{"error":{"message":"Unsupported parameter: 'foo'","param":"foo"}}"#),
        (400, r#"{"error":{"message":"unknown role: narrator"}}"#),
        (422, r#"{"detail":[{"loc":["body","messages"],"msg":"field required"}]}"#),
        (500, r#"{"error":{"message":"unsupported parameter: stream_options"}}"#),
        (401, r#"{"error":{"message":"unknown key; stream_options"}}"#),
        // It was not sent, so leaving it out changes nothing.
        (400, r#"{"error":{"message":"Unsupported parameter: 'top_p'","param":"top_p"}}"#),
    ];
    let backend = Backend::new(move |request, peer| {
        let (status, error) = table[request.prompt().parse::<usize>().unwrap()];
        peer.json(status, &serde_json::from_str(error).unwrap());
    });
    let proxy = Proxy::before(&backend);
    let mut wrong = Vec::new();
    let mut before = 0;
    for (at, (status, error)) in table.iter().enumerate() {
        let mut request = limited();
        request["messages"][0]["content"] = json!(at.to_string());
        let answer = proxy.post("/api/chat", &request);
        let expected = match status {
            422 => 400,
            401 => 502,
            status => *status,
        };
        let asked = backend.posts().len() - before;
        before += asked;
        if (answer.status(), asked) != (expected, 1) {
            wrong.push(format!("{error}: {} after {asked} requests", answer.status()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_profile_decides_what_an_unknown_backend_is_not_sent() {
    let options = json!({"num_predict": 10, "top_k": 40, "min_p": 0.1, "repeat_penalty": 1.1, "typical_p": 0.9, "repeat_last_n": 64, "num_ctx": 8192});
    let table = [
        ("standard", &["max_tokens"][..]),
        ("auto", &["max_tokens"]),
        ("openai", &["max_completion_tokens"]),
        ("openrouter", &["max_tokens", "min_p", "repetition_penalty", "top_k"]),
        ("vllm", &["max_tokens", "min_p", "repetition_penalty", "top_k"]),
        ("llama.cpp", &["max_tokens", "min_p", "repeat_last_n", "repeat_penalty", "top_k", "typical_p"]),
    ];
    for (profile, expected) in table {
        let backend = Backend::hello();
        let proxy = Proxy::with(&backend, &[("BACKEND_PROFILE", profile)]);
        let mut request = chat("q");
        request["options"] = options.clone();
        assert_eq!(proxy.post("/api/chat", &request).status(), 200);
        let body = backend.wait_for_posts(1).json();
        let usual = ["model", "messages", "stream", "stream_options"];
        let mut names: Vec<&str> = body
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .filter(|name| !usual.contains(name))
            .collect();
        names.sort_unstable();
        assert_eq!(names, expected, "{profile}");
    }
}
