//! The contract's sections 1.0, 1.2 and 1.3: types, methods, paths, bodies and the words of common errors.

use crate::backend::Backend;
use crate::chunks::delta;
use crate::client::Client;
use crate::proxy::{Proxy, chat};
use serde_json::{Value, json};

const JSON: &str = "application/json; charset=utf-8";

#[test]
fn paths_and_methods_are_answered_as_ollama_routes_them() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let missing = (404, "text/plain", "404 page not found");
    let refused = (405, "text/plain", "405 method not allowed");
    let table = [
        ("GET", "/nothing", missing),
        ("POST", "/nothing", missing),
        ("GET", "/api", missing),
        ("GET", "/debug/pprof/", missing),
        ("POST", "//api/chat", missing),
        ("POST", "/api//chat", missing),
        ("POST", "/api/%63hat", missing),
        ("POST", "/api/../api/chat", missing),
        ("POST", "/api/x/%2e%2e/chat", missing),
        ("POST", "/API/CHAT", missing),
        ("GET", "/api/chat", refused),
        ("GET", "/api/generate", refused),
        ("GET", "/api/show", refused),
        ("PUT", "/api/chat", refused),
        ("DELETE", "/api/tags", refused),
        ("POST", "/", refused),
        ("POST", "/api/version", refused),
        ("POST", "/api/ps", refused),
        ("BREW", "/api/chat", refused),
    ];
    for (method, path, expected) in table {
        let answer = proxy.ask(method, path, &[], Some(b""));
        let found = (answer.status(), answer.head.content_type(), &*answer.text());
        assert_eq!(found, expected, "{method} {path}");
        assert_eq!(answer.head.header("allow").is_some(), found.0 == 405, "{method} {path}");
    }
    let allowed = |method: &str, path: &str| {
        proxy.ask(method, path, &[], Some(b"")).head.header("allow").unwrap_or_default().to_string()
    };
    assert_eq!(allowed("GET", "/api/chat"), "POST");
    assert_eq!(allowed("POST", "/"), "GET, HEAD");
    assert_eq!(allowed("BREW", "/v1/x"), "GET, HEAD, POST, PUT, PATCH, DELETE");
    assert_eq!(backend.seen().requests.len(), 0);
}

#[test]
fn head_has_the_head_of_get_where_ollama_registered_it_and_is_refused_elsewhere() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    for path in ["/", "/api/version", "/api/tags"] {
        let (head, get) = (proxy.ask("HEAD", path, &[], None), proxy.get(path));
        assert_eq!((head.status(), head.body.len()), (200, 0), "{path}");
        for name in ["content-type", "content-length"] {
            assert_eq!(head.head.header(name), get.head.header(name), "{path} {name}");
        }
    }
    for path in ["/api/ps", "/api/chat", "/api/show"] {
        let answer = proxy.ask("HEAD", path, &[], None);
        assert_eq!((answer.status(), answer.body.len()), (405, 0), "{path}");
    }
}

#[test]
fn a_trailing_slash_is_redirected_away() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let table = [
        ("GET", "/api/tags/", 301, "/api/tags"),
        ("GET", "/api/version/?a=b", 301, "/api/version?a=b"),
        ("POST", "/api/chat/", 307, "/api/chat"),
        ("POST", "/api/show/?ts=1", 307, "/api/show?ts=1"),
        ("HEAD", "/api/tags/", 307, "/api/tags"),
    ];
    for (method, path, status, to) in table {
        let answer = proxy.ask(method, path, &[], (method == "POST").then_some(b"{}"));
        assert_eq!((answer.status(), answer.head.header("location")), (status, Some(to)), "{method} {path}");
    }
    assert_eq!(proxy.get("/nothing/").status(), 404);
}

#[test]
fn small_gets_are_ollamas_to_the_byte() {
    let backend = Backend::hello();
    let proxy = Proxy::with(&backend, &[("OLLAMA_VERSION_REPORTED", "0.99.1")]);
    for (path, body) in [("/api/version", r#"{"version":"0.99.1"}"#), ("/api/ps", r#"{"models":[]}"#)] {
        let answer = proxy.get(path);
        assert_eq!(
            (answer.status(), answer.head.content_type(), &*answer.text()),
            (200, JSON, body),
            "{path}"
        );
    }
    let usual = Proxy::before(&backend).get("/api/version").json();
    let numbers: Vec<u32> =
        usual["version"].as_str().unwrap().split('.').map(|number| number.parse().unwrap()).collect();
    assert!(numbers.len() == 3 && numbers >= vec![0, 12, 0], "clients compare the parts: {usual}");
}

#[test]
fn bodies_are_read_as_ollamas_decoder_reads_them() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let good = [
        // Any type, and none.
        ("application/x-www-form-urlencoded", r#"{"model":"m","messages":[{"role":"user","content":"q"}]}"#),
        ("text/plain", r#"{"model":"m","messages":[{"role":"user","content":"q"}]}"#),
        ("", r#"{"model":"m","messages":[{"role":"user","content":"q"}]}"#),
        // Names in any case, unknown ones, null, white space, and whatever follows the first value.
        ("", r#"{"MODEL":"m","Messages":[{"ROLE":"user","CONTENT":"q"}]}"#),
        ("", r#"{"model":"m","messages":[{"role":"user","content":"q","x":1}],"keep_alive":null,"y":{}}"#),
        (
            "",
            r#"{"model":"m","messages":[{"role":"user","content":"q","images":[]}],"stream":null,"options":null,"format":"","tools":[],"think":null}"#,
        ),
        ("", " \n{\"model\":\"m\",\"messages\":[{\"role\":\"User\",\"content\":\"q\"}]} trailing {"),
        ("", r#"{"model":"m","messages":[{"role":"user","content":"\u0071"}]}{"model":"x"}"#),
    ];
    for (content_type, body) in good {
        let headers = [("content-type", content_type)];
        let headers = if content_type.is_empty() { &[][..] } else { &headers[..] };
        let answer = proxy.ask("POST", "/api/chat", headers, Some(body.as_bytes()));
        assert_eq!((answer.status(), answer.lines().len()), (200, 3), "{content_type} {body}");
        let sent = backend.posts().pop().unwrap().json();
        assert_eq!(sent["messages"], json!([{"role": "user", "content": "q"}]), "{body}");
        for absent in ["tools", "response_format", "stop"] {
            assert!(sent.get(absent).is_none(), "{absent}: {sent}");
        }
    }
    let query = proxy.ask("POST", "/api/chat?ts=1&x", &[], Some(chat("q").to_string().as_bytes()));
    assert_eq!(query.status(), 200);
    assert_eq!(proxy.get("/api/version?ts=1787").status(), 200);
    assert_eq!(proxy.get("/?x").status(), 200);
}

#[test]
fn a_body_that_cannot_be_read_is_a_400_with_a_text() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let table = [
        "{",
        "x",
        "[]",
        "\"text\"",
        "5",
        r#"{"model":"m""#,
        r#"{"model":"m",}"#,
        "{'model':'m'}",
        "\u{feff}",
        r#"{"model":5}"#,
        r#"{"model":"m","messages":"hi"}"#,
        r#"{"model":"m","messages":[1]}"#,
        r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"q"}]}]}"#,
        r#"{"model":"m","messages":[{"role":"user","content":"q"}],"stream":"yes"}"#,
        r#"{"model":"m","messages":[{"role":"user","content":"q"}],"keep_alive":"300"}"#,
        r#"{"model":"m","messages":[{"role":"user","content":"q"}],"think":"hard"}"#,
        r#"{"model":"m","messages":[{"role":"user","content":"q"}],"top_logprobs":21}"#,
    ];
    for body in table {
        let answer = proxy.ask("POST", "/api/chat", &[], Some(body.as_bytes()));
        assert_eq!((answer.status(), answer.head.content_type()), (400, JSON), "{body}: {}", answer.text());
        answer.error();
    }
    let invalid = [0xFF, 0xFE, b'{'];
    assert_eq!(proxy.ask("POST", "/api/chat", &[], Some(&invalid)).status(), 400);
    assert_eq!(backend.posts().len(), 0);
}

#[test]
fn the_words_of_common_errors_are_ollamas() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let with = |name: &str, value: Value| {
        let mut body = json!({"model": "m", "prompt": "q", "messages": [{"role": "user", "content": "q"}]});
        body[name] = value;
        body
    };
    let levels = r#"(must be "high", "medium", "low", "max", true, or false)"#;
    let table = [
        ("/api/chat", with("model", json!("")), 400, "model is required".to_string()),
        ("/api/chat", with("model", Value::Null), 400, "model is required".into()),
        ("/api/generate", with("model", json!("")), 404, "model '' not found".into()),
        ("/api/show", with("model", json!("")), 400, "model is required".into()),
        ("/api/chat", with("model", json!("a\u{0}b")), 400, "invalid model name".into()),
        ("/api/generate", with("model", json!("a\r\nb")), 400, "invalid model name".into()),
        ("/api/show", with("model", json!("x".repeat(4000))), 400, "invalid model name".into()),
        ("/api/chat", with("top_logprobs", json!(21)), 400, "top_logprobs must be between 0 and 20".into()),
        (
            "/api/generate",
            with("top_logprobs", json!(-1)),
            400,
            "top_logprobs must be between 0 and 20".into(),
        ),
        ("/api/chat", with("think", json!("x")), 400, format!(r#"invalid think value: "x" {levels}"#)),
        ("/api/show", with("model", json!("unknown")), 404, "model 'unknown:latest' not found".into()),
    ];
    for (path, body, status, error) in table {
        let answer = proxy.post(path, &body);
        assert_eq!((answer.status(), answer.error()), (status, error), "{path} {body}");
    }
    let raw = json!({"model": "m", "prompt": "q", "raw": true, "system": "s"});
    let answer = proxy.post("/api/generate", &raw);
    assert_eq!(
        (answer.status(), &*answer.error()),
        (400, "raw mode does not support template, system, or context")
    );
    let answer = proxy.post("/api/chat", &with("format", json!("yaml")));
    assert!(answer.error().starts_with("invalid format: "), "{}", answer.text());
    assert!(answer.error().ends_with(r#"; expected "json" or a valid JSON Schema object"#));
    assert_eq!(backend.posts().len(), 0);
}

#[test]
fn http_1_0_gets_its_lines_without_chunks_and_the_end_of_the_connection() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let body = chat("q").to_string();
    let mut client = proxy.client();
    let head = format!("POST /api/chat HTTP/1.0\r\ncontent-length: {}\r\n\r\n", body.len());
    client.send(head + &body).unwrap();
    let answer = client.answer();
    assert_eq!((answer.status(), answer.head.content_type()), (200, "application/x-ndjson"));
    assert_eq!((answer.head.version.as_str(), answer.head.header("transfer-encoding")), ("HTTP/1.0", None));
    assert_eq!(answer.lines().len(), 3);
    assert!(client.is_closed_by_server());

    let mut client = proxy.client();
    client.send("GET / HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(client.answer().text(), "Ollama is running");
    assert!(client.is_closed_by_server());
}

#[test]
fn one_connection_carries_many_requests_and_errors_leave_it_open() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let mut client = proxy.client();
    let ask = |client: &mut Client, method: &str, path: &str, body: Option<&[u8]>| {
        client.request(method, path, &[], body);
        client.answer().status()
    };
    assert_eq!(ask(&mut client, "GET", "/", None), 200);
    assert_eq!(ask(&mut client, "GET", "/nothing", None), 404);
    assert_eq!(ask(&mut client, "POST", "/api/chat", Some(b"{")), 400);
    assert_eq!(ask(&mut client, "POST", "/api/chat", Some(chat("q").to_string().as_bytes())), 200);
    assert_eq!(ask(&mut client, "GET", "/api/tags", None), 200);
}

#[test]
fn expect_100_continue_is_answered_before_the_body_is_sent() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let body = chat("q").to_string();
    let mut client = proxy.client();
    let head = format!(
        "POST /api/chat HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    client.send(head).unwrap();
    assert_eq!(client.head().status, 100);
    client.send(body).unwrap();
    assert_eq!(client.answer().status(), 200);
}

#[test]
fn no_header_of_the_backend_is_copied_into_the_answer() {
    let backend = Backend::new(|_, peer| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nset-cookie: a=b\r\nx-request-id: 7\r\nserver: s\r\nconnection: keep-alive\r\naccess-control-allow-origin: *\r\ntransfer-encoding: chunked\r\n\r\n";
        peer.write(head);
        peer.event(&delta("x"));
        peer.event(&crate::chunks::finish("stop"));
        peer.done();
    });
    let proxy = Proxy::before(&backend);
    let answer = proxy.chat("q");
    let mut names: Vec<&str> = answer.head.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-type", "date", "transfer-encoding", "x-correlation-id", "x-request-id"]);
    assert_ne!(answer.head.header("x-request-id"), Some("7"), "it is the proxy's own");
}
