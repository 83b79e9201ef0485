//! The key that clients must show (PROXY_API_KEY): who may ask without it, what the others are told, and that it goes no
//! further than this door (contract 4; faults S3, S9).

use crate::backend::Backend;
use crate::proxy::{Proxy, chat, run};
use serde_json::{Value, json};

const KEY: &str = "pk-CANARY-0123456789";
const BEARER: (&str, &str) = ("authorization", "Bearer pk-CANARY-0123456789");

#[test]
fn who_shows_no_key_or_another_is_told_so_in_the_words_that_clients_read() {
    let backend = Backend::hello();
    let proxy = Proxy::with(&backend, &[("PROXY_API_KEY", KEY), ("OPENAI_API_KEY", "sk-backend")]);
    let closed = [
        ("POST", "/api/chat"),
        ("POST", "/api/generate"),
        ("POST", "/api/show"),
        ("GET", "/api/tags"),
        ("GET", "/api/version"),
        ("GET", "/api/ps"),
        ("GET", "/metrics"),
        ("GET", "/config/validate"),
        ("GET", "/nothing"),
        ("GET", "/api/chat"),
        ("GET", "/api/tags/"),
        ("GET", "/v1/models"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/messages"),
    ];
    let wrong = ["Bearer pk-CANARY-012345678", "Bearer pk-CANARY-01234567890", "Bearer ", "Basic cGs=", KEY];
    for (method, path) in closed {
        let none = [("accept", "*/*")];
        let shown = wrong.map(|value| [("authorization", value)]);
        for headers in [none].iter().chain(&shown) {
            let body = (method == "POST").then(|| chat("q").to_string());
            let answer = proxy.ask(method, path, headers, body.as_deref().map(str::as_bytes));
            assert_eq!(answer.status(), 401, "{method} {path} {headers:?}");
            let challenge = answer.head.header("www-authenticate");
            assert_eq!(challenge, Some("Bearer realm=\"ollama-openai-proxy\""));
            let text = match path {
                "/v1/messages" => {
                    let body = answer.json();
                    assert_eq!(
                        (&body["type"], &body["error"]["type"]),
                        (&json!("error"), &json!("authentication_error"))
                    );
                    body["error"]["message"].clone()
                }
                _ if path.starts_with("/v1/") => answer.json()["error"]["message"].clone(),
                _ => Value::from(answer.error()),
            };
            let text = text.as_str().unwrap();
            assert!(text.starts_with("unauthorized") && text.contains("PROXY_API_KEY"), "{text}");
        }
    }
    assert_eq!(backend.seen().requests.len(), 0);
    let log = proxy.wait_for_log("the refusals", |log| log.contains("status=401"));
    assert!(!log.contains("CANARY"), "{log}");
}

#[test]
fn watchers_and_browsers_that_ask_first_need_no_key() {
    let backend = Backend::hello();
    let proxy = Proxy::with(&backend, &[("PROXY_API_KEY", KEY)]);
    for (method, path) in [
        ("GET", "/"),
        ("HEAD", "/"),
        ("GET", "/live"),
        ("GET", "/health"),
        ("GET", "/ready"),
        ("GET", "/openai/health"),
    ] {
        assert_eq!(proxy.ask(method, path, &[], None).status(), 200, "{method} {path}");
    }
    let page = ("origin", "http://localhost:3000");
    let preflight =
        proxy.ask("OPTIONS", "/api/chat", &[page, ("access-control-request-method", "POST")], None);
    assert_eq!(preflight.status(), 204);
    let refused = proxy.ask("GET", "/api/tags", &[page], None);
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.head.header("access-control-allow-origin"), Some(page.1), "a page may read why");
    let binary = run(&["health"], &[("OLLAMA_HOST", &proxy.address.to_string())]);
    assert_eq!(binary.code, Some(0), "{binary:?}");
}

#[test]
fn the_key_of_the_door_never_goes_to_the_backend() {
    let file = std::env::temp_dir().join(format!("proxy-key-{}", std::process::id()));
    std::fs::write(&file, format!("{KEY}\n")).unwrap();
    let path = file.to_str().unwrap();
    for inbound in [("PROXY_API_KEY", KEY), ("PROXY_API_KEY_FILE", path)] {
        for (own, expected) in
            [(None, None), (Some(("OPENAI_API_KEY", "sk-backend")), Some("Bearer sk-backend"))]
        {
            let backend = Backend::hello();
            let variables: Vec<_> = own.into_iter().chain([inbound, ("LOG_LEVEL", "TRACE")]).collect();
            let proxy = Proxy::with(&backend, &variables);
            let body = chat("q").to_string();
            let asked = [
                ("POST", "/api/chat", BEARER),
                ("POST", "/v1/chat/completions", BEARER),
                ("POST", "/v1/chat/completions", ("x-api-key", KEY)),
                ("POST", "/v1/chat/completions", ("authorization", "bearer  pk-CANARY-0123456789")),
            ];
            for (method, path, header) in asked {
                let headers = [header, ("content-type", "application/json")];
                let answer = proxy.ask(method, path, &headers, Some(body.as_bytes()));
                assert_eq!(answer.status(), 200, "{path} {header:?} {}", answer.text());
            }
            assert_eq!(proxy.ask("GET", "/ready", &[BEARER], None).status(), 200);
            let seen = backend.seen();
            assert_eq!(seen.posts().len(), 4);
            for request in seen.requests {
                assert_eq!(request.header("authorization"), expected, "{}", request.target);
                assert!(
                    !request.headers.iter().any(|(_, value)| value.contains("CANARY")),
                    "{:?}",
                    request.headers
                );
            }
            proxy.signal("TERM");
            assert!(!proxy.wait_for_end_of_log().contains("CANARY"));
        }
    }
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_client_may_show_one_key_at_the_door_and_bring_another_for_the_backend() {
    let backend = Backend::hello();
    let proxy = Proxy::with(&backend, &[("PROXY_API_KEY", KEY)]);
    let headers = [
        ("x-api-key", KEY),
        ("authorization", "Bearer sk-of-the-client"),
        ("content-type", "application/json"),
    ];
    let answer = proxy.ask("POST", "/v1/chat/completions", &headers, Some(chat("q").to_string().as_bytes()));
    assert_eq!(answer.status(), 200);
    let asked = backend.posts().pop().unwrap();
    assert_eq!(asked.header("authorization"), Some("Bearer sk-of-the-client"));
    assert_eq!(asked.header("x-api-key"), None);
}
