//! Keys: which one goes to the backend, and that the proxy's own goes nowhere else (faults S7, S9).

use crate::backend::{Backend, Peer, Request};
use crate::chunks::{delta, event, model_list};
use crate::proxy::{Proxy, chat};
use serde_json::json;

const CLIENTS: &str = "Bearer sk-of-the-client";
const CANARY: &str = "sk-CANARY-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// This much of the key would already be a leak.
const BEGINNING: &str = "sk-CANAR";

/// Asks every endpoint that asks the backend, as a client with a key of its own.
fn ask_with_key(proxy: &Proxy) {
    let headers = [("authorization", CLIENTS), ("cookie", "session=1")];
    proxy.ask("GET", "/api/tags", &headers, None);
    for (path, body) in [
        ("/api/show", json!({"model": "m"})),
        ("/api/chat", chat("q")),
        ("/api/generate", json!({"model": "m", "prompt": "q", "raw": true})),
    ] {
        proxy.ask("POST", path, &headers, Some(body.to_string().as_bytes()));
    }
}

#[test]
fn without_a_key_the_clients_own_goes_to_the_backend() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    ask_with_key(&proxy);
    let requests = backend.seen().requests;
    assert_eq!(requests.len(), 3);
    for request in requests {
        assert_eq!(request.header("authorization"), Some(CLIENTS), "{}", request.target);
        assert_eq!(request.header("cookie"), None);
    }
    proxy.chat("q");
    assert_eq!(backend.posts().pop().unwrap().header("authorization"), None, "there was none");
}

#[test]
fn with_a_key_it_goes_to_the_backend_and_the_clients_never_does() {
    let file = std::env::temp_dir().join(format!("api-key-{}", std::process::id()));
    std::fs::write(&file, format!("{CANARY}\n")).unwrap();
    let path = file.to_str().unwrap();
    for variable in [("OPENAI_API_KEY", CANARY), ("OPENAI_API_KEY_FILE", path)] {
        let backend = Backend::hello();
        let proxy = Proxy::with(&backend, &[variable]);
        ask_with_key(&proxy);
        proxy.chat("q");
        let requests = backend.seen().requests;
        assert_eq!(requests.len(), 4);
        for request in requests {
            let keys: Vec<_> = request.headers.iter().filter(|(name, _)| name == "authorization").collect();
            assert_eq!(keys.len(), 1, "{}", request.target);
            assert_eq!(keys[0].1, format!("Bearer {CANARY}"), "{}", request.target);
            assert!(!request.headers.iter().any(|(_, value)| value.contains("of-the-client")));
        }
    }
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_refused_client_key_is_the_clients_401_and_a_refused_proxy_key_is_not() {
    let table = [(&[("OPENAI_API_KEY", CANARY)][..], 502), (&[], 401)];
    for (variables, status) in table {
        for theirs in [401, 403] {
            let backend =
                Backend::new(move |_, peer| peer.json(theirs, &json!({"error": {"message": "bad key"}})));
            let proxy = Proxy::with(&backend, variables);
            let mut client = proxy.client();
            let body = chat("q").to_string();
            client.request("POST", "/api/chat", &[("authorization", CLIENTS)], Some(body.as_bytes()));
            let answer = client.answer();
            let expected = if status == 401 { theirs } else { status };
            assert_eq!(answer.status(), expected, "{theirs}: {}", answer.text());
            assert!(answer.error().contains("bad key"));
            // Nobody's key was sent: the client's sign-in would change nothing.
            if variables.is_empty() {
                assert_eq!(proxy.chat("q").status(), 502, "{theirs}");
            }
        }
    }
}

/// A backend that repeats the key in its errors, in every way a request can fail.
fn telltale(request: &Request, peer: &mut Peer) {
    let key = request.header("authorization").unwrap().strip_prefix("Bearer ").unwrap().to_string();
    let error = json!({"error": {"message": format!("incorrect api key provided: {key}"), "type": "t", "code": key, "param": key}});
    let padded = |length: usize| format!("{}{key}", "x".repeat(length));
    match request.prompt().as_str() {
        "401" => peer.json(401, &error),
        "500" => peer.json(500, &json!({"detail": key})),
        "text" => peer.respond(500, &[], format!("key {key} refused")),
        "html" => peer.respond(500, &[], format!("<html><title>{key}</title></html>")),
        "cut" => peer.respond(500, &[], padded(4096 - 30)),
        "cut json" => peer.json(500, &json!({"error": padded(4096 - 30)})),
        "cut html" => peer.respond(500, &[], format!("<html><body>{}</body></html>", padded(170))),
        "redirect" => peer.respond(307, &[("location", &format!("http://127.0.0.1:9/?key={key}"))], ""),
        "encoding" => peer.respond(200, &[("content-encoding", &key)], "x"),
        "model" => peer.json(404, &json!({"error": {"message": format!("model {key} not found")}})),
        "refused" => {
            peer.json(400, &json!({"error": {"message": format!("unknown parameter temperature {key}")}}))
        }
        "200" => peer.json(200, &error),
        "malformed" => {
            peer.begin();
            peer.chunk(format!("data: {{\"choices\": {key}\n\n"));
            peer.done();
        }
        "event" => {
            peer.begin();
            peer.event(&error);
            peer.done();
        }
        "head" => {
            peer.write(format!("HTTP/1.1 {key}\r\n{key}\r\n\r\n"));
            peer.close();
        }
        _ => {
            peer.begin();
            peer.write(
                [event(&delta("Hello")), event(&error)]
                    .map(|event| format!("{:x}\r\n{event}\r\n", event.len()))
                    .concat(),
            );
            peer.done();
        }
    }
}

#[test]
fn the_key_is_in_no_answer_and_in_no_log_line_even_when_the_backend_repeats_it() {
    let backend = Backend::with_models(|_, peer| peer.json(200, &model_list(&["m"])), telltale);
    let prompts = [
        "401",
        "500",
        "text",
        "html",
        "cut",
        "cut json",
        "cut html",
        "redirect",
        "encoding",
        "model",
        "refused",
        "200",
        "malformed",
        "event",
        "head",
        "line",
    ];
    for format in ["text", "json"] {
        let variables = [
            ("OPENAI_API_KEY", CANARY),
            ("LOG_LEVEL", "TRACE"),
            ("MAX_RETRIES", "0"),
            ("LOG_FORMAT", format),
        ];
        let proxy = Proxy::with(&backend, &variables);
        let mut leaks = Vec::new();
        for prompt in prompts {
            for stream in [true, false] {
                let mut request = chat(prompt);
                request["stream"] = json!(stream);
                request["options"] = json!({"temperature": 1});
                let answer = proxy.post("/api/chat", &request);
                let said = format!("{:?} {}", answer.head, answer.text());
                if let Some((_, rest)) = said.split_once(BEGINNING) {
                    leaks.push(format!("{prompt}, stream {stream}: {BEGINNING}{rest}"));
                }
            }
        }
        assert!(leaks.is_empty(), "{leaks:#?}");
        assert_silent(&proxy);
    }
}

#[test]
fn the_key_is_in_no_log_line_when_the_list_of_models_is_refused_with_it() {
    let say = |request: &Request, peer: &mut Peer, status: u16| {
        let key = request.header("authorization").unwrap().to_string();
        peer.json(status, &json!({"error": {"message": format!("you sent {key}")}}));
    };
    for status in [401, 404, 500, 200] {
        let backend = Backend::with_models(
            move |request, peer| say(request, peer, status),
            |request, peer| peer.say(request, &["Hello"]),
        );
        let proxy = Proxy::with(&backend, &[("OPENAI_API_KEY", CANARY), ("LOG_LEVEL", "TRACE")]);
        assert_eq!(proxy.chat("q").status(), 200, "a chat needs no list");
        for answer in [proxy.get("/api/tags"), proxy.post("/api/show", &json!({"model": "m"}))] {
            assert!(!answer.text().contains(BEGINNING), "{}", answer.text());
        }
        assert_silent(&proxy);
    }
}

#[test]
fn the_key_is_in_no_log_line_when_the_backend_cannot_be_reached() {
    let closed = crate::proxy::nobody();
    let url = format!("http://{closed}/v1");
    let variables = [
        ("OPENAI_API_BASE_URL", url.as_str()),
        ("OPENAI_API_KEY", CANARY),
        ("LOG_LEVEL", "TRACE"),
        ("MAX_RETRIES", "1"),
    ];
    let proxy = Proxy::start(&variables);
    let answer = proxy.chat("q");
    assert_eq!(answer.status(), 502);
    assert!(!answer.text().contains(BEGINNING));
    assert_silent(&proxy);
}

/// Stops the proxy, so that all was said, and looks for the key.
fn assert_silent(proxy: &Proxy) {
    proxy.signal("TERM");
    let log = proxy.wait_for_end_of_log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(BEGINNING)).collect();
    assert!(lines.is_empty(), "{lines:#?}");
    assert!(log.contains("request"), "the log was read: {log}");
}
