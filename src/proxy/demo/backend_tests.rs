//! The demonstration backend over loopback: what it sends is what OpenAI would.

use super::*;
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::handshake;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use tokio::net::{TcpListener, TcpStream};

struct Heard {
    status: StatusCode,
    content_type: String,
    text: String,
}

impl Heard {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The chunks of a stream, which must end in `[DONE]`.
    fn chunks(&self) -> Vec<Value> {
        assert_eq!(self.content_type, "text/event-stream; charset=utf-8");
        let events = self.text.strip_suffix("data: [DONE]\n\n").expect("the stream ends in [DONE]");
        let events =
            events.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").expect("a data line"));
        events.map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}

#[allow(clippy::disallowed_methods, reason = "both ends of the connection run in the test")]
async fn send(method: Method, path: &str, body: impl Into<Bytes>) -> Heard {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let backend = Arc::new(DemoBackend::new(Pace::none()));
    let service = service_fn(move |request| {
        let backend = Arc::clone(&backend);
        async move { Ok::<_, Infallible>(backend.answer(request).await) }
    });
    tokio::spawn(
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(accepted), service),
    );
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header("host", "demo");
    let response = sender.send_request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let content_type = head.headers.get(CONTENT_TYPE).unwrap().to_str().unwrap().to_owned();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap();
    Heard { status: head.status, content_type, text }
}

async fn post(path: &str, body: Value) -> Heard {
    send(Method::POST, path, body.to_string()).await
}

async fn chat(more: Value) -> Heard {
    let mut body =
        json!({"model": "demo", "messages": [{"role": "user", "content": "Why is the sky blue?"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    post("/v1/chat/completions", body).await
}

fn weather_tool() -> Value {
    json!([
        {"type": "function", "function": {"name": "roll_dice"}},
        {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object",
            "required": ["city", "days"], "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}},
    ])
}

#[tokio::test]
async fn both_models_are_listed_and_found() {
    let list = send(Method::GET, "/v1/models", "").await.json();
    let ids: Vec<&str> =
        list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["demo", "demo-embed"]);
    let one = send(Method::GET, "/v1/models/demo", "").await.json();
    assert_eq!(
        one,
        json!({"id": "demo", "object": "model", "created": CREATED, "owned_by": "ollama-openai-proxy"})
    );
    assert_eq!(send(Method::GET, "/v1/models/gpt", "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn streamed_chat_opens_with_the_role_and_ends_with_usage() {
    let chunks = chat(json!({"stream": true, "stream_options": {"include_usage": true}})).await.chunks();
    let whole = chat(json!({})).await.json();
    let (first, last, finish) = (&chunks[0], &chunks[chunks.len() - 1], &chunks[chunks.len() - 2]);
    assert_eq!(first["choices"][0]["delta"], json!({"role": "assistant", "content": "", "refusal": null}));
    assert_eq!(
        finish["choices"],
        json!([{"index": 0, "delta": {}, "logprobs": null, "finish_reason": "stop"}])
    );
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"], whole["usage"]);
    assert_eq!(whole["usage"]["prompt_tokens"], 5);
    assert_eq!(whole["usage"]["completion_tokens"], chunks.len() - 3);
    assert!(
        chunks[..chunks.len() - 1].iter().all(|chunk| chunk["usage"].is_null() && chunk["id"] == first["id"])
    );
    let words: Vec<&str> =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(words.concat(), whole["choices"][0]["message"]["content"].as_str().unwrap());
    assert_eq!(words[1..4], ["Sunlight", " looks", " white"]);
    assert!(words.concat().contains('空') && words.concat().contains('🌅'));
}

#[tokio::test]
async fn a_chunk_has_the_bytes_of_openai_and_no_usage_unasked() {
    let heard = chat(json!({"stream": true, "max_tokens": 1})).await;
    let created = heard.chunks()[0]["created"].clone();
    let chunk = |delta: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-demo0\",\"object\":\"chat.completion.chunk\",\"created\":{created},\
             \"model\":\"demo\",\"system_fingerprint\":\"fp_demo\",\"choices\":[{{\"index\":0,\"delta\":{delta},\
             \"logprobs\":null,\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let expected = [
        chunk(r#"{"role":"assistant","content":"","refusal":null}"#, "null"),
        chunk(r#"{"content":"Sunlight"}"#, "null"),
        chunk("{}", "\"length\""),
        "data: [DONE]\n\n".to_owned(),
    ];
    assert_eq!(heard.text, expected.concat());
}

#[tokio::test]
async fn a_question_about_a_tool_gets_a_call_in_fragments() {
    let ask = json!({"messages": [{"role": "user", "content": "What is the weather in Toronto?"}], "tools": weather_tool()});
    let mut streamed = ask.clone();
    streamed["stream"] = json!(true);
    let chunks = chat(streamed).await.chunks();
    let call = &chunks[0]["choices"][0]["delta"]["tool_calls"][0];
    assert_eq!(call["function"], json!({"name": "get_weather", "arguments": ""}));
    assert_eq!(call["id"], "call_chatcmpl-demo0");
    let fragments: Vec<&str> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].as_str())
        .collect();
    assert!(fragments.len() > 3, "{fragments:?}");
    let expected = json!({"city": "Toronto", "days": 1});
    assert_eq!(serde_json::from_str::<Value>(&fragments.concat()).unwrap(), expected);
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");

    let choice = &chat(ask).await.json()["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["content"], Value::Null);
    let arguments = choice["message"]["tool_calls"][0]["function"]["arguments"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(arguments).unwrap(), expected);
}

#[tokio::test]
async fn tools_are_called_by_name_and_left_alone_otherwise() {
    let called = async |question: &str, choice: Value| {
        let messages = json!([{"role": "user", "content": question}]);
        let heard =
            chat(json!({"messages": messages, "tools": weather_tool(), "tool_choice": choice})).await.json();
        heard["choices"][0]["message"]["tool_calls"][0]["function"]["name"].as_str().map(str::to_owned)
    };
    assert_eq!(called("Please roll_dice", Value::Null).await.as_deref(), Some("roll_dice"));
    assert_eq!(called("Use a tool", json!("auto")).await.as_deref(), Some("roll_dice"));
    assert_eq!(called("Hello", json!("auto")).await, None);
    assert_eq!(called("The weather?", json!("none")).await, None);
    assert_eq!(called("Hello", json!("required")).await.as_deref(), Some("roll_dice"));
    let named = json!({"type": "function", "function": {"name": "get_weather"}});
    assert_eq!(called("Hello", named).await.as_deref(), Some("get_weather"));
}

#[tokio::test]
async fn a_tool_result_is_quoted() {
    let messages = json!([
        {"role": "user", "content": "What is the weather in Toronto?"},
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "11 degrees"},
    ]);
    let heard = chat(json!({"messages": messages, "tools": weather_tool()})).await.json();
    let content = heard["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(content.starts_with("The tool answered “11 degrees”."), "{content}");
}

#[tokio::test]
async fn json_is_answered_where_it_is_asked_for() {
    let content = async |format: Value| {
        let heard = chat(json!({"response_format": format})).await.json();
        serde_json::from_str::<Value>(heard["choices"][0]["message"]["content"].as_str().unwrap()).unwrap()
    };
    assert_eq!(content(json!({"type": "json_object"})).await["question"], "Why is the sky blue?");
    let properties = json!({"colour": {"enum": ["blue"]}, "sure": {"type": "boolean"}});
    let schema = json!({"type": "object", "required": ["colour"], "properties": properties});
    let format = json!({"type": "json_schema", "json_schema": {"name": "sky", "schema": schema}});
    assert_eq!(content(format).await, json!({"colour": "blue", "sure": true}));
}

#[tokio::test]
async fn parts_of_a_message_are_joined_and_images_counted() {
    let parts = json!([{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:,"}}]);
    let heard = chat(
        json!({"messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": parts}]}),
    )
    .await
    .json();
    let content = heard["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(content.contains("“What is this?”"), "{content}");
    assert!(content.contains("2 messages of 21 characters and 1 attachment,"), "{content}");
}

#[tokio::test]
async fn plain_completions_stream_text_and_fill_the_middle() {
    let ask =
        json!({"model": "demo", "prompt": "def add(a, b):\n    return ", "suffix": "\n", "stream": true});
    let chunks = post("/v1/completions", ask).await.chunks();
    let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["text"].as_str()).collect();
    assert_eq!(text, "a + b");
    assert!(chunks.iter().all(|chunk| chunk["object"] == "text_completion" && chunk.get("usage").is_none()));
    let whole = post("/v1/completions", json!({"model": "demo", "prompt": ["Hi"], "stop": "!"})).await.json();
    let choice =
        json!([{"text": "Hello, or こんにちは", "index": 0, "logprobs": null, "finish_reason": "stop"}]);
    assert_eq!(whole["choices"], choice);
}

#[tokio::test]
async fn embeddings_are_unit_vectors_in_either_encoding() {
    let floats = post("/v1/embeddings", json!({"model": "demo-embed", "input": ["sky", ""]})).await.json();
    let data = floats["data"].as_array().unwrap();
    assert_eq!(
        (data.len(), &data[1]["index"], &floats["usage"]),
        (2, &json!(1), &json!({"prompt_tokens": 1, "total_tokens": 1}))
    );
    for entry in data {
        let vector: Vec<f64> =
            entry["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        let length: f64 = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
        assert_eq!(vector.len(), 384);
        assert!((length - 1.0).abs() < 1e-4, "{length}");
    }
    let ask = json!({"model": "demo-embed", "input": "sky", "encoding_format": "base64", "dimensions": 8});
    let packed =
        post("/v1/embeddings", ask).await.json()["data"][0]["embedding"].as_str().unwrap().to_owned();
    assert_eq!(packed, embedding::base64(&embedding::vector("sky", 8)));
}

#[tokio::test]
async fn faults_name_the_field_and_the_way_out() {
    let cases = [
        (json!([]), 400, Value::Null, Value::Null),
        (json!({"messages": []}), 400, json!("model"), json!("missing_required_parameter")),
        (json!({"model": "gpt-4o", "messages": []}), 404, Value::Null, json!("model_not_found")),
        (json!({"model": "demo-embed", "messages": []}), 400, json!("model"), json!("invalid_value")),
        (json!({"model": "demo"}), 400, json!("messages"), json!("missing_required_parameter")),
        (json!({"model": "demo", "messages": "hi"}), 400, json!("messages"), json!("invalid_type")),
        (json!({"model": "demo", "messages": []}), 400, json!("messages"), json!("invalid_value")),
        (
            json!({"model": "demo", "messages": [{"content": "hi"}]}),
            400,
            json!("messages[0].role"),
            json!("missing_required_parameter"),
        ),
        (
            json!({"model": "demo", "messages": [{"role": "cat"}]}),
            400,
            json!("messages[0].role"),
            json!("invalid_value"),
        ),
        (
            json!({"model": "demo", "messages": [{"role": "user", "content": 5}]}),
            400,
            json!("messages[0].content"),
            json!("invalid_type"),
        ),
        (
            json!({"model": "demo", "messages": [], "stream": "yes"}),
            400,
            json!("stream"),
            json!("invalid_type"),
        ),
        (
            json!({"model": "demo", "messages": [], "max_tokens": 0}),
            400,
            json!("max_tokens"),
            json!("invalid_value"),
        ),
        (
            json!({"model": "demo", "messages": [], "stop": vec!["."; 65]}),
            400,
            json!("stop"),
            json!("invalid_value"),
        ),
        (
            json!({"model": "demo", "messages": [], "tools": vec![json!({}); 129]}),
            400,
            json!("tools"),
            json!("invalid_value"),
        ),
        (
            json!({"model": "demo", "messages": [], "tools": [{}]}),
            400,
            json!("tools[0].function.name"),
            json!("missing_required_parameter"),
        ),
    ];
    for (body, status, param, code) in cases {
        let heard = post("/v1/chat/completions", body.clone()).await;
        let error = &heard.json()["error"];
        assert_eq!(
            (heard.status.as_u16(), &error["param"], &error["code"]),
            (status, &param, &code),
            "{body} gave {error}"
        );
        let field = param.as_str().unwrap_or_default();
        assert!(error["message"].as_str().unwrap().contains(field), "{error}");
        assert_eq!(error["type"], "invalid_request_error");
    }
    for broken in ["", "{", "{\"model\":\"demo\",}", "\u{feff}{}"] {
        assert_eq!(
            send(Method::POST, "/v1/chat/completions", broken).await.status,
            StatusCode::BAD_REQUEST,
            "{broken:?}"
        );
    }
    let wide = json!({"model": "demo-embed", "input": "sky", "dimensions": 385});
    assert_eq!(post("/v1/embeddings", wide).await.json()["error"]["param"], "dimensions");
    let tokens = json!({"model": "demo-embed", "input": [1, 2]});
    assert_eq!(post("/v1/embeddings", tokens).await.json()["error"]["param"], "input[0]");
}

#[tokio::test]
async fn unknown_routes_and_methods_are_refused() {
    assert_eq!(
        send(Method::GET, "/v2/models", "").await.json()["error"]["message"],
        "Invalid URL (GET /v2/models)"
    );
    assert_eq!(send(Method::GET, "/v1/embeddings", "").await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(send(Method::POST, "/v1/models", "").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn deep_and_large_requests_are_refused() {
    let deep = "[".repeat(2_000_000);
    assert_eq!(send(Method::POST, "/v1/completions", deep).await.status, StatusCode::BAD_REQUEST);
    let nested =
        format!("{{\"model\":\"demo\",\"prompt\":\"hi\",\"x\":{}1{}}}", "[".repeat(1000), "]".repeat(1000));
    assert_eq!(send(Method::POST, "/v1/completions", nested).await.status, StatusCode::OK);
    let large = vec![b' '; MAX_REQUEST + 1];
    let heard = send(Method::POST, "/v1/completions", large).await;
    assert_eq!(
        (heard.status, heard.content_type.as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, "application/json")
    );
}
