//! What a backend refuses is left out or put otherwise once it said so, and that is remembered (dialects R1 to R8); a
//! refusal of anything else is the client's. Which text asks for which change is in `openai/dialect/refusal_tests.rs`.

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
fn the_profile_is_set_or_known_by_the_owner_of_the_models() {
    let options = json!({"num_predict": 10, "top_k": 40, "min_p": 0.1, "repeat_penalty": 1.1, "seed": 1, "num_ctx": 8192});
    let unknown = &["max_tokens", "seed"][..];
    let local = &["max_tokens", "min_p", "repetition_penalty", "seed", "top_k"][..];
    let table = [
        ("auto", "me", unknown),
        ("auto", "openai", unknown),
        ("auto", "vllm", local),
        ("auto", "sglang", local),
        ("auto", "llamacpp", &["max_tokens", "min_p", "repeat_penalty", "seed", "top_k"]),
        ("standard", "vllm", unknown),
        ("vLLM", "me", local),
        ("mistral", "vllm", &["max_tokens", "random_seed"]),
        ("llama-cpp", "me", &["max_tokens", "min_p", "repeat_penalty", "seed", "top_k"]),
    ];
    for (profile, owner, expected) in table {
        let list = json!({"object": "list", "data": [{"id": "m", "object": "model", "owned_by": owner}]});
        let say = |request: &Request, peer: &mut Peer| peer.say(request, &["Hello"]);
        let backend = Backend::with_models(move |_, peer| peer.json(200, &list), say);
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
        assert_eq!(names, expected, "{profile} {owner}");
    }
}

/// A refusal, what it is answered to, and what the request is after it.
struct Row {
    name: &'static str,
    /// Merged into the request of a chat.
    asked: Value,
    profile: &'static str,
    refuses: fn(&Value) -> bool,
    status: u16,
    error: &'static str,
    /// Members of the request that is answered; `null` is an absent one.
    then: Value,
}

fn rows() -> Vec<Row> {
    let has = |name: &'static str| -> fn(&Value) -> bool {
        match name {
            "seed" => |body| body.get("seed").is_some(),
            "logprobs" => |body| body.get("logprobs").is_some(),
            "top_logprobs" => |body| body.get("top_logprobs").is_some(),
            "top_k" => |body| body.get("top_k").is_some(),
            "presence_penalty" => |body| body.get("presence_penalty").is_some(),
            "reasoning_effort" => |body| body.get("reasoning_effort").is_some(),
            "chat_template_kwargs" => |body| body.get("chat_template_kwargs").is_some(),
            "max_completion_tokens" => |body| body.get("max_completion_tokens").is_some(),
            "temperature" => |body| body.get("temperature").is_some(),
            _ => |_| unreachable!("a name of the table"),
        }
    };
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let system = json!([{"role": "system", "content": "Be \"short\"."}, {"role": "user", "content": "q"}]);
    vec![
        Row {
            name: "R1 the new name of the token limit at an old server",
            asked: json!({"options": {"num_predict": 7}}),
            profile: "openai",
            refuses: has("max_completion_tokens"),
            status: 400,
            error: r#"{"error":{"message":"Unrecognized request argument supplied: max_completion_tokens","type":"invalid_request_error","param":null,"code":null}}"#,
            then: json!({"max_completion_tokens": null, "max_tokens": 7}),
        },
        Row {
            name: "R3 only the default temperature",
            asked: json!({"options": {"temperature": 0.5, "top_p": 0.5}}),
            profile: "openai",
            refuses: has("temperature"),
            status: 400,
            error: r#"{"error":{"message":"Unsupported value: 'temperature' does not support 0.5 with this model. Only the default (1) value is supported.","type":"invalid_request_error","param":"temperature","code":"unsupported_value"}}"#,
            then: json!({"temperature": null, "top_p": 0.5}),
        },
        Row {
            name: "R4 an extension at a strict server",
            asked: json!({"options": {"top_k": 40, "min_p": 0.1}}),
            profile: "vllm",
            refuses: has("top_k"),
            status: 422,
            error: r#"{"detail":[{"type":"extra_forbidden","loc":["body","top_k"],"msg":"Extra inputs are not permitted","input":40}]}"#,
            then: json!({"top_k": null, "min_p": 0.1}),
        },
        Row {
            name: "R5 a penalty, in camel case",
            asked: json!({"options": {"presence_penalty": 0.5, "frequency_penalty": 0.5}}),
            profile: "xai",
            refuses: has("presence_penalty"),
            status: 400,
            error: r#"{"code":"Client specified an invalid argument","error":"Model grok-4 does not support parameter presencePenalty."}"#,
            then: json!({"presence_penalty": null, "frequency_penalty": 0.5}),
        },
        Row {
            name: "R5 a seed",
            asked: json!({"options": {"seed": 5}}),
            profile: "standard",
            refuses: has("seed"),
            status: 400,
            error: r#"[{"error":{"code":400,"message":"Invalid JSON payload received. Unknown name \"seed\": Cannot find field.","status":"INVALID_ARGUMENT"}}]"#,
            then: json!({"seed": null}),
        },
        Row {
            name: "R6 no system role",
            asked: json!({"messages": system}),
            profile: "standard",
            refuses: |body| {
                body["messages"].as_array().unwrap().iter().any(|message| message["role"] == "system")
            },
            status: 400,
            error: r#"{"error":{"message":"Unsupported value: 'messages[0].role' does not support 'system' with this model.","type":"invalid_request_error","param":"messages[0].role","code":"unsupported_value"}}"#,
            then: json!({"messages": [{"role": "user", "content": "Be \"short\".\n\nq"}]}),
        },
        Row {
            name: "R6 no system role, said by a chat template",
            asked: json!({"messages": system}),
            profile: "llama.cpp",
            refuses: |body| body["messages"][0]["role"] == "system",
            status: 500,
            error: r#"{"error":{"code":500,"message":"System role not supported at row 1","type":"server_error"}}"#,
            then: json!({"messages": [{"role": "user", "content": "Be \"short\".\n\nq"}]}),
        },
        Row {
            name: "R7 no schemas",
            asked: json!({"format": schema}),
            profile: "standard",
            refuses: |body| body["response_format"]["type"] == "json_schema",
            status: 400,
            error: r#"{"error":{"message":"This response_format type is unavailable now","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"#,
            then: json!({
                "response_format": {"type": "json_object"},
                "messages": [
                    {"role": "system", "content": "Answer with one JSON value that matches this JSON schema, and with nothing else: {\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}}}"},
                    {"role": "user", "content": "q"},
                ],
            }),
        },
        Row {
            name: "R7 no response_format at all",
            asked: json!({"format": "json"}),
            profile: "standard",
            refuses: |body| body.get("response_format").is_some(),
            status: 400,
            error: r#"{"error":{"message":"Unknown parameter: 'response_format'.","param":"response_format","code":"unknown_parameter"}}"#,
            then: json!({
                "response_format": null,
                "messages": [
                    {"role": "system", "content": "Answer with one JSON object and with nothing else."},
                    {"role": "user", "content": "q"},
                ],
            }),
        },
        Row {
            name: "R7 schemas only",
            asked: json!({"format": "json"}),
            profile: "standard",
            refuses: |body| body["response_format"]["type"] == "json_object",
            status: 400,
            error: r#"{"error":"'response_format.type' must be 'json_schema' or 'text'"}"#,
            then: json!({"response_format": {"type": "json_schema", "json_schema": {"name": "schema", "schema": {"type": "object"}}}}),
        },
        Row {
            name: "R7 JSON only with the word",
            asked: json!({"format": "json"}),
            profile: "openai",
            refuses: |body| !body["messages"].to_string().to_lowercase().contains("json"),
            status: 400,
            error: r#"{"error":{"message":"'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.","type":"invalid_request_error","param":"messages","code":null}}"#,
            then: json!({
                "response_format": {"type": "json_object"},
                "messages": [
                    {"role": "system", "content": "Answer with one JSON object and with nothing else."},
                    {"role": "user", "content": "q"},
                ],
            }),
        },
        Row {
            name: "logprobs",
            asked: json!({"logprobs": true, "top_logprobs": 3}),
            profile: "standard",
            refuses: has("logprobs"),
            status: 400,
            error: r#"{"error":{"message":"`logprobs` is not supported with this model","type":"invalid_request_error"}}"#,
            then: json!({"logprobs": null}),
        },
        Row {
            name: "top_logprobs",
            asked: json!({"logprobs": true, "top_logprobs": 3}),
            profile: "standard",
            refuses: has("top_logprobs"),
            status: 400,
            error: r#"{"error":{"message":"Unsupported parameter: 'top_logprobs'","param":"top_logprobs","code":"unsupported_parameter"}}"#,
            then: json!({"logprobs": true, "top_logprobs": null}),
        },
        Row {
            name: "an effort that the model does not have",
            asked: json!({"think": false}),
            profile: "openai",
            refuses: |body| body["reasoning_effort"] == "none",
            status: 400,
            error: r#"{"error":{"message":"Unsupported value: 'none' is not supported with the 'gpt-5' model. Supported values are: 'minimal', 'low', 'medium', and 'high'.","type":"invalid_request_error","param":"reasoning_effort","code":"unsupported_value"}}"#,
            then: json!({"reasoning_effort": "minimal"}),
        },
        Row {
            name: "no effort at all",
            asked: json!({"think": "high"}),
            profile: "openai",
            refuses: has("reasoning_effort"),
            status: 400,
            error: r#"{"error":{"message":"Unrecognized request argument supplied: reasoning_effort","type":"invalid_request_error","param":null,"code":null}}"#,
            then: json!({"reasoning_effort": null}),
        },
        Row {
            name: "a model that always thinks",
            asked: json!({"think": false}),
            profile: "gemini",
            refuses: |body| body["reasoning_effort"] == "none",
            status: 400,
            error: r#"[{"error":{"code":400,"message":"Budget 0 is invalid. This model only works in thinking mode.","status":"INVALID_ARGUMENT"}}]"#,
            then: json!({"reasoning_effort": "minimal"}),
        },
        Row {
            name: "no switch of a template",
            asked: json!({"think": false}),
            profile: "vllm",
            refuses: has("chat_template_kwargs"),
            status: 400,
            error: r#"{"object":"error","message":"chat_template is not supported for Mistral tokenizers.","type":"BadRequestError","code":400}"#,
            then: json!({"chat_template_kwargs": null}),
        },
        Row {
            name: "too many stops",
            asked: json!({"options": {"stop": ["a", "b", "c", "d", "e"]}}),
            profile: "standard",
            refuses: |body| body["stop"].as_array().is_some_and(|list| list.len() > 4),
            status: 400,
            error: r#"{"error":{"message":"Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with length 5 instead.","type":"invalid_request_error","param":"stop","code":"array_above_max_length"}}"#,
            then: json!({"stop": ["a", "b", "c", "d"]}),
        },
    ]
}

#[test]
fn each_refusal_is_put_right_once_and_remembered_for_the_model() {
    for row in rows() {
        let (refuses, status, error) = (row.refuses, row.status, row.error);
        let backend = Backend::new(move |request: &Request, peer: &mut Peer| {
            if refuses(&request.json()) {
                return peer.json(status, &serde_json::from_str(error).unwrap());
            }
            peer.say(request, &["Hello"]);
        });
        let proxy = Proxy::with(&backend, &[("BACKEND_PROFILE", row.profile)]);
        let mut request = chat("q");
        for (name, value) in row.asked.as_object().unwrap() {
            request[name] = value.clone();
        }
        for _ in 0..2 {
            assert_eq!(proxy.post("/api/chat", &request).status(), 200, "{}", row.name);
        }
        let mut sent = sent(&backend);
        // A wish for JSON has a step between: a schema of any object.
        if row.name == "R7 no response_format at all" {
            sent.remove(1);
        }
        assert_eq!(sent.len(), 3, "{}: refused, asked again, and then known", row.name);
        assert_eq!(sent[1], sent[2], "{}", row.name);
        for (name, value) in row.then.as_object().unwrap() {
            assert_eq!(sent[1][name], *value, "{}: {name}", row.name);
        }
        // Nothing else was touched.
        let mut before = sent[0].clone();
        let changed = ["logprobs", "top_logprobs"].iter().copied().filter(|_| row.name == "logprobs");
        for name in row.then.as_object().unwrap().keys().map(String::as_str).chain(changed) {
            before[name] = sent[1][name].clone();
        }
        let before: Vec<_> =
            before.as_object().unwrap().iter().filter(|(_, value)| !value.is_null()).collect();
        let after: Vec<_> = sent[1].as_object().unwrap().iter().collect();
        let sorted = |mut members: Vec<(&String, &Value)>| {
            members.sort_by_key(|(name, _)| *name);
            members.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>()
        };
        assert_eq!(sorted(before), sorted(after), "{}", row.name);
    }
}

#[test]
fn what_one_model_refuses_is_sent_to_the_others() {
    let backend = Backend::new(|request: &Request, peer: &mut Peer| {
        let body = request.json();
        if body["model"] == "old" && body.get("seed").is_some() {
            return peer.json(400, &json!({"error": "unknown field: seed"}));
        }
        peer.say(request, &["Hello"]);
    });
    let proxy = Proxy::before(&backend);
    for model in ["old", "new", "old"] {
        let request =
            json!({"model": model, "messages": [{"role": "user", "content": "q"}], "options": {"seed": 1}});
        assert_eq!(proxy.post("/api/chat", &request).status(), 200);
    }
    let seeds: Vec<bool> = sent(&backend).iter().map(|body| body.get("seed").is_some()).collect();
    assert_eq!(seeds, [true, false, true, false]);
}

#[test]
fn a_backend_that_refuses_one_thing_after_the_other_is_asked_eight_times() {
    let names = [
        "stream_options",
        "temperature",
        "top_p",
        "frequency_penalty",
        "presence_penalty",
        "seed",
        "stop",
        "logprobs",
        "response_format",
    ];
    let backend = Backend::new(move |request: &Request, peer: &mut Peer| {
        let body = request.json();
        match names.iter().find(|name| body.get(name).is_some()) {
            Some(name) => {
                peer.json(400, &json!({"error": {"message": format!("Unknown parameter: '{name}'")}}))
            }
            None => peer.say(request, &["Hello"]),
        }
    });
    let proxy = Proxy::before(&backend);
    let mut request = chat("q");
    request["logprobs"] = json!(true);
    request["format"] = json!("json");
    request["options"] = json!({"temperature": 1, "top_p": 1, "frequency_penalty": 1, "presence_penalty": 1, "seed": 1, "stop": ["a"]});
    let answer = proxy.post("/api/chat", &request);
    assert_eq!((answer.status(), &*answer.error()), (400, "Unknown parameter: 'logprobs'"));
    assert_eq!(backend.posts().len(), 8);
}

#[test]
fn a_model_without_tools_is_refused_in_the_words_that_clients_know() {
    let table = [
        (
            404,
            r#"{"error":{"message":"No endpoints found that support tool use. To learn more about provider routing, visit: https://openrouter.ai/docs/provider-routing","code":404}}"#,
        ),
        (
            400,
            r#"{"object":"error","message":"\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set","type":"BadRequestError","code":400}"#,
        ),
        (
            500,
            r#"{"error":{"code":500,"message":"tools param requires --jinja flag","type":"server_error"}}"#,
        ),
        (400, r#"{"error":{"message":"registry.ollama.ai/library/gemma:2b does not support tools"}}"#),
    ];
    for (status, error) in table {
        let backend = Backend::new(move |_: &Request, peer: &mut Peer| {
            peer.json(status, &serde_json::from_str(error).unwrap());
        });
        let proxy = Proxy::before(&backend);
        let mut request = chat("q");
        request["tools"] =
            json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
        let answer = proxy.post("/api/chat", &request);
        assert_eq!(answer.status(), 400, "{error}");
        assert!(answer.error().contains("does not support tools"), "{}", answer.error());
        assert_eq!(answer.error().matches("does not support tools").count(), 1, "{}", answer.error());
        assert_eq!(backend.posts().len(), 1);
        // Without tools it is an error like any other.
        assert_ne!(proxy.chat("q").error(), "");
    }
}
