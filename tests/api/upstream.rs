//! What the backend sees: one well-formed request for each question, built anew, over connections that are kept; and
//! never a second time once it may have been read. (Faults N19, N20; dialects R12.)

use crate::backend::{Backend, Peer, Request, Seen};
use crate::chunks::{delta, finish, role};
use crate::client::{Client, content};
use crate::proxy::{Proxy, chat};
use crate::signal::{PATIENCE, Signal};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

#[test]
fn requests_are_built_anew_with_just_the_headers_that_are_needed() {
    let backend = Backend::hello();
    let proxy = Proxy::with(&backend, &[("OPENAI_API_KEY", "sk-test")]);
    let body = chat("q").to_string();
    let headers = [
        ("content-type", "text/plain"),
        ("accept", "text/html"),
        ("accept-encoding", "gzip, br"),
        ("user-agent", "ollama-python/0.6"),
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("proxy-authorization", "Basic eDp5"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-openwebui-user-name", "someone"),
        ("cookie", "a=b"),
        ("referer", "http://localhost/private"),
    ];
    let answer = proxy.ask("POST", "/api/chat?ts=1", &headers, Some(body.as_bytes()));
    assert_eq!(answer.status(), 200);
    let seen = backend.seen();
    let found: Vec<_> = seen.requests.iter().map(|request| (&*request.method, &*request.target)).collect();
    assert_eq!(found, [("GET", "/v1/models"), ("POST", "/v1/chat/completions")]);
    let host = backend.address.to_string();
    let agent = concat!("ollama-openai-proxy/", env!("CARGO_PKG_VERSION"));
    for request in &seen.requests {
        let mut expected = vec![
            ("accept", "application/json, text/event-stream"),
            ("accept-encoding", "identity"),
            ("authorization", "Bearer sk-test"),
            ("host", &host),
            ("user-agent", agent),
            ("x-request-id", answer.head.header("x-request-id").unwrap()),
        ];
        let length = request.body.len().to_string();
        if request.method == "POST" {
            expected.extend([("content-length", length.as_str()), ("content-type", "application/json")]);
        }
        expected.sort_unstable();
        let mut found: Vec<_> = request.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{}", request.target);
    }
    let expected = json!({"model": "m", "messages": [{"role": "user", "content": "q"}], "stream": true, "stream_options": {"include_usage": true}});
    assert_eq!(seen.requests[1].json(), expected);
}

#[test]
fn paths_stand_below_the_base_url_as_it_was_given() {
    let table = [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/openai/deployments/x", "/openai/deployments/x/chat/completions"),
        ("/api/v3/?api-version=2024-10-21&a=b", "/api/v3/chat/completions?api-version=2024-10-21&a=b"),
        ("?key=1", "/v1/chat/completions?key=1"),
    ];
    for (path, expected) in table {
        let backend = Backend::hello();
        let url = format!("http://{}{path}", backend.address);
        let proxy = Proxy::start(&[("OPENAI_BASE_URL", &url)]);
        assert_eq!(proxy.chat("q").status(), 200, "{path}");
        let raw = json!({"model": "m", "prompt": "a", "suffix": "b"});
        proxy.post("/api/generate", &raw);
        let targets: Vec<String> =
            backend.seen().requests.into_iter().map(|request| request.target).collect();
        let models = expected.replace("/chat/completions", "/models");
        let completions = expected.replace("/chat/completions", "/completions");
        assert_eq!(targets, [models.as_str(), expected, completions.as_str()], "{path}");
    }
}

#[test]
fn no_name_of_a_model_changes_where_a_request_goes() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let names = [
        "../../admin",
        "http://127.0.0.1:9/x",
        "@127.0.0.1:9",
        "a?b=c#d",
        "%2e%2e/%00",
        "a b",
        "a\\b",
        "//x",
        "é🦙",
        "\"},\"model\":\"x",
        "x:y:z/../q",
    ];
    for (at, name) in names.into_iter().enumerate() {
        let mut request = chat("q");
        request["model"] = json!(name);
        assert_eq!(proxy.post("/api/chat", &request).status(), 200, "{name}");
        let sent = backend.wait_for_posts(at + 1);
        assert_eq!(
            (sent.target.as_str(), sent.json()["model"].as_str()),
            ("/v1/chat/completions", Some(name))
        );
        assert_eq!(sent.header("host"), Some(backend.address.to_string().as_str()));
    }
    for path in ["/api/pull", "/api/push", "/api/create", "/api/copy", "/api/blobs/sha256:00"] {
        proxy.post(path, &json!({"model": "http://127.0.0.1:9/x"}));
    }
    assert_eq!(backend.posts().len(), names.len(), "nothing else asked the backend");
}

#[test]
fn a_url_among_the_images_is_refused_and_not_fetched() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    for url in ["http://127.0.0.1:9/x.png", "https://example.com/x.png", "file:///etc/passwd"] {
        let messages = json!([{"role": "user", "content": "q", "images": [url]}]);
        let chat = proxy.post("/api/chat", &json!({"model": "m", "messages": messages}));
        let generate = proxy.post("/api/generate", &json!({"model": "m", "prompt": "q", "images": [url]}));
        for answer in [chat, generate] {
            assert_eq!(answer.status(), 400, "{url}");
            assert!(answer.error().contains("images[0]"), "{url}");
        }
    }
    assert_eq!(backend.posts().len(), 0);
}

#[test]
fn one_connection_serves_many_chats() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let mut client = proxy.client();
    for stream in [true, false, true, true] {
        let mut request = chat("q");
        request["stream"] = json!(stream);
        client.post("/api/chat", &request);
        assert_eq!(client.answer().status(), 200);
    }
    let seen = backend.seen();
    assert_eq!((seen.connections, seen.posts().len()), (1, 4));
}

#[test]
fn one_connection_serves_on_after_an_error_that_was_read_whole() {
    let backend = Backend::new(|request, peer| match request.prompt().as_str() {
        "bad" => peer.json(500, &json!({"error": "boom"})),
        _ => peer.say(request, &["Hello"]),
    });
    let proxy = Proxy::before(&backend);
    for (prompt, status) in [("bad", 500), ("good", 200), ("bad", 500), ("good", 200)] {
        assert_eq!(proxy.chat(prompt).status(), status);
    }
    assert_eq!(backend.seen().connections, 1);
}

#[test]
fn a_body_that_does_not_end_behind_done_costs_its_connection_and_no_time() {
    let backend = Backend::new(|request, peer| {
        if request.prompt() == "endless" {
            peer.begin();
            peer.event(&delta("Hello"));
            peer.event(&finish("stop"));
            peer.chunk("data: [DONE]\n\n");
            peer.wait_closed();
        } else {
            peer.say(request, &["Hello"]);
        }
    });
    let proxy = Proxy::before(&backend);
    assert_eq!(proxy.chat("endless").lines().len(), 2);
    backend.wait_closed(1);
    assert_eq!(proxy.chat("q").lines().len(), 2);
    assert_eq!(backend.posts().len(), 2);
}

#[test]
fn a_backend_that_says_neither_usage_nor_done_is_not_waited_for_for_long() {
    let backend = Backend::new(|_, peer| {
        peer.begin();
        peer.event(&delta("Hello"));
        peer.event(&finish("stop"));
        peer.wait_closed();
    });
    let proxy = Proxy::before(&backend);
    let lines = proxy.chat("q").lines();
    assert_eq!((lines.len(), &lines[1]["done_reason"]), (2, &json!("stop")));
    backend.wait_closed(1);
}

#[test]
fn a_pooled_connection_that_the_backend_closed_is_replaced_unnoticed() {
    let backend = Backend::new(|request, peer| {
        peer.say(request, &["Hello"]);
        peer.close();
    });
    let proxy = Proxy::before(&backend);
    for round in 1..=20 {
        assert_eq!(proxy.chat("q").lines().len(), 2, "round {round}");
        // The proxy has seen the end of the connection when it closes its own side.
        backend.wait_closed(backend.posts()[round - 1].connection);
    }
    assert_eq!(backend.posts().len(), 20);
}

#[test]
fn a_pooled_connection_that_closes_just_when_it_is_wanted_is_replaced_unnoticed() {
    let close = Signal::new();
    let closed = Signal::new();
    let (wait, tell) = (Arc::clone(&close), Arc::clone(&closed));
    let backend = Backend::new(move |request, peer| {
        peer.say(request, &["Hello"]);
        wait.wait();
        peer.close_acknowledged();
        tell.raise();
    });
    let proxy = Proxy::before(&backend);
    for round in 1..=10 {
        assert_eq!(proxy.chat("q").lines().len(), 2, "round {round}");
        // Both happen while the proxy sleeps, so it learns of them at once when it is woken.
        let mut client: Client = proxy.client();
        client.request("GET", "/", &[], None);
        client.answer();
        proxy.signal("STOP");
        close.raise();
        closed.wait();
        client.post("/api/chat", &chat("q"));
        proxy.signal("CONT");
        let answer = client.answer();
        assert_eq!(answer.status(), 200, "round {round}: {}", answer.text());
        let posts = backend.posts();
        assert_eq!(posts.len(), 2 * round);
        close.raise();
        closed.wait();
        backend.wait_closed(posts[2 * round - 1].connection);
    }
}

#[test]
fn a_question_that_was_sent_is_never_sent_again() {
    let backend = Backend::new(|request, peer| match request.prompt().as_str() {
        "close" => peer.close(),
        "reset" => peer.reset(),
        "head" => {
            peer.write("HTTP/1.1 200 OK\r\n");
            peer.close();
        }
        "role" => {
            peer.begin();
            peer.event(&role());
            peer.close();
        }
        "503" => peer.respond(503, &[("retry-after", "1")], "busy"),
        _ => peer.say(request, &["Hello"]),
    });
    // Retries are for connections only.
    let proxy = Proxy::with(&backend, &[("MAX_RETRIES", "5")]);
    let count = |seen: &Seen| seen.posts().len();
    let mut expected = 0;
    for prompt in ["close", "reset", "head", "role", "503"] {
        // On a fresh connection, and on one that has served before.
        for warm in [false, true] {
            if warm {
                proxy.chat("warm");
                expected += 1;
            }
            let answer = proxy.chat(prompt);
            expected += 1;
            assert!(answer.status() == 502 || prompt == "503", "{prompt}: {}", answer.text());
            assert_eq!(count(&backend.seen()), expected, "{prompt}, warm: {warm}");
        }
    }
}

#[test]
fn options_become_parameters_and_what_was_not_set_is_not_sent() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let mut request = chat("q");
    request["options"] = json!({"temperature": 0.5, "top_p": 0.9, "num_predict": 10, "stop": ["x"], "seed": 7, "num_ctx": 8192, "mirostat": 1, "top_k": 40});
    request["format"] = json!("json");
    proxy.post("/api/chat", &request).lines();
    let sent = backend.wait_for_posts(1).json();
    let expected: Value = json!({
        "model": "m", "messages": [{"role": "user", "content": "q"}], "temperature": 0.5, "top_p": 0.9,
        "max_tokens": 10, "stop": ["x"], "seed": 7, "response_format": {"type": "json_object"},
        "stream": true, "stream_options": {"include_usage": true},
    });
    assert_eq!(sent, expected);
    request["options"] = json!({"num_predict": -1, "seed": -1, "stop": [], "temperature": null});
    request["format"] = json!({"type": "object"});
    proxy.post("/api/chat", &request).lines();
    let sent = backend.wait_for_posts(2).json();
    for name in ["max_tokens", "max_completion_tokens", "seed", "stop", "temperature"] {
        assert!(sent.get(name).is_none(), "{name}: {sent}");
    }
    let schema =
        json!({"type": "json_schema", "json_schema": {"name": "schema", "schema": {"type": "object"}}});
    assert_eq!(sent["response_format"], schema);
}

#[test]
fn a_backend_that_is_just_starting_is_tried_again() {
    let address = crate::proxy::nobody();
    let url = format!("http://{address}/v1");
    let proxy = Proxy::start(&[("OPENAI_API_BASE_URL", &url), ("MAX_RETRIES", "10"), ("LOG_LEVEL", "DEBUG")]);
    let mut client = proxy.client();
    client.post("/api/chat", &chat("q"));
    proxy.wait_for_log("the first try", |log| log.contains("connecting to the backend failed"));
    let backend = Backend::hello_at(address);
    assert_eq!(client.answer().lines().len(), 3);
    assert_eq!(backend.posts().len(), 1);
}

/// R13, J1, J2: a deployment's URL, its key header, chunks without choices, no list of models.
#[test]
fn azure_is_asked_at_the_deployments_url_with_the_key_in_a_header_of_its_own() {
    let script = |request: &Request, peer: &mut Peer| {
        if request.method == "GET" {
            return peer.json(404, &json!({"error": {"code": "404", "message": "Resource not found"}}));
        }
        peer.begin();
        peer.event(&json!({"choices": [], "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]}));
        peer.event(&json!({"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": null, "content_filter_results": {}}]}));
        peer.event(&json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}));
        peer.event(&json!({"choices": [{"index": 0, "finish_reason": null, "content_filter_offsets": {}, "content_filter_results": {}}]}));
        peer.done();
    };
    for (key, own, clients) in [(Some("k-1"), Some("k-1"), None), (None, None, Some("Bearer theirs"))] {
        let backend = Backend::with_models(script, script);
        let url = backend.url().replace("/v1", "/openai/deployments/gpt/?api-version=2024-10-21");
        let mut variables =
            vec![("OPENAI_API_BASE_URL", url.as_str()), ("BACKEND_PROFILE", "azure"), ("MODELS", "gpt")];
        variables.extend(key.map(|key| ("OPENAI_API_KEY", key)));
        let proxy = Proxy::start(&variables);
        let body = json!({"model": "gpt", "messages": [{"role": "user", "content": "q"}], "options": {"num_predict": 5}});
        let headers = [("content-type", "application/json"), ("authorization", "Bearer theirs")];
        let answer = proxy.ask("POST", "/api/chat", &headers, Some(body.to_string().as_bytes()));
        assert_eq!(answer.status(), 200);
        assert_eq!(content(&answer.lines()), "Hi");
        let sent = backend.wait_for_posts(1);
        assert_eq!(sent.target, "/openai/deployments/gpt/chat/completions?api-version=2024-10-21");
        assert_eq!((sent.header("api-key"), sent.header("authorization")), (own, clients));
        assert_eq!(sent.json()["max_completion_tokens"], 5);
        let tags = proxy.ask("GET", "/api/tags", &[], None);
        assert!(tags.text().contains("\"gpt:latest\""), "{}", tags.text());
    }
}

/// A backend that looks at no more than the head of a large question, and the proxy's connection with the rest of it.
fn hasty(listener: &TcpListener) -> TcpStream {
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        if head.starts_with(b"POST") {
            let answer = "HTTP/1.1 413 Too Large\r\ncontent-length: 21\r\n\r\n{\"error\":\"too large\"}";
            stream.write_all(answer.as_bytes()).unwrap();
            return stream;
        }
        stream
            .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .unwrap();
    }
}

/// The question is still being sent when its answer is there, and nobody reads it: no other may wait behind it.
#[test]
fn r14_an_error_before_the_body_is_sent_is_told_at_once_and_the_connection_left() {
    /// More than the buffers of a connection take.
    const LARGE: usize = 16 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let proxy = Proxy::start(&[("OPENAI_API_BASE_URL", &url)]);
    let backend = std::thread::spawn(move || {
        let first = hasty(&listener);
        // The next question comes on a connection of its own, while nobody reads the first.
        drop(hasty(&listener));
        first
    });
    let answer = proxy.chat(&"x".repeat(LARGE));
    assert_eq!((answer.status(), &*answer.error()), (413, "too large"));
    let answer = proxy.chat("q");
    assert_eq!((answer.status(), &*answer.error()), (413, "too large"));
    drop(backend.join().unwrap());
}
