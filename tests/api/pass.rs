//! `/v1/...` byte for byte: what reaches the backend and what comes back, statuses, headers and bodies. How answers flow
//! and end is in `pass_flow.rs`. (Issue 3, point 8; contract 3.4, 5.5.)

use crate::backend::{Backend, Peer, Request};
use crate::chunks::model_list;
use crate::client::Answer;
use crate::proxy::Proxy;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

const JSON: (&str, &str) = ("content-type", "application/json");
const CLIENTS: &str = "Bearer sk-of-the-client";
const CANARY: &str = "sk-CANARY-0123456789abcdefghijklmnopqrstuvwxyz";

/// A backend with the models `m`, `openai/gpt-4o` and `qwen3:8b`; the script answers all but its list.
fn serving(script: impl Fn(&Request, &mut Peer) + Send + Sync + 'static) -> Backend {
    let script = Arc::new(script);
    let others = Arc::clone(&script);
    let gets = move |request: &Request, peer: &mut Peer| match request.target.as_str() {
        "/v1/models" => peer.json(200, &model_list(&["m", "openai/gpt-4o", "qwen3:8b"])),
        _ => others(request, peer),
    };
    Backend::with_models(gets, move |request, peer| script(request, peer))
}

/// One that answers everything with `{}`.
fn agreeing() -> Backend {
    serving(|_, peer| peer.json(200, &json!({})))
}

/// What the backend got that is not a question for its list.
fn got(backend: &Backend) -> Vec<Request> {
    backend.seen().requests.into_iter().filter(|request| request.target != "/v1/models").collect()
}

/// A model map in a file of its own, which is removed when this is dropped.
struct Map(PathBuf);

impl Map {
    fn new(name: &str, map: &Value) -> Self {
        let path = std::env::temp_dir().join(format!("pass-{name}-{}.json", std::process::id()));
        std::fs::write(&path, map.to_string()).unwrap();
        Map(path)
    }

    fn variable(&self) -> (&str, &str) {
        ("MODEL_MAPPING_FILE", self.0.to_str().unwrap())
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

/// The parts of an error in OpenAI's form, which must be all there is.
fn openai_error(answer: &Answer) -> (u16, String, String) {
    let body = answer.json();
    let text = |name: &str| body["error"][name].as_str().unwrap_or_else(|| panic!("{body}")).to_string();
    let (message, kind) = (text("message"), text("type"));
    let expected = json!({"error": {"message": message, "type": kind, "param": null, "code": null}});
    assert_eq!(body, expected);
    assert_eq!(answer.head.content_type(), "application/json");
    (answer.status(), kind, message)
}

#[test]
fn only_the_models_name_differs_on_the_way_to_the_backend() {
    let map = Map::new("names", &json!({"model_mappings": {"fast": "openai/gpt-4o"}}));
    let backend = agreeing();
    let proxy = Proxy::with(&backend, &[map.variable()]);
    let table = [
        ("fast", "openai/gpt-4o"),
        ("fast:latest", "openai/gpt-4o"),
        ("m", "m"),
        ("m:latest", "m"),
        ("M", "m"),
        ("openai/gpt-4o:latest", "openai/gpt-4o"),
        ("qwen3:8b", "qwen3:8b"),
        ("unlisted", "unlisted"),
        ("unlisted:latest", "unlisted"),
    ];
    for path in ["chat/completions", "completions", "embeddings", "responses", "messages", "new/one"] {
        for (asked, sent) in table {
            let body = |name: &str| {
                format!(
                    "{{ \"x\": 1.50,\r\n\t\"m\\u00f6del\":{{\"model\":\"fast\"}}, \"model\" :\"{name}\",\"messages\":[{{\"content\":\"\\/\u{2028}é\\ud83d\\ude00\"}}],\"n\":1e2}}\n"
                )
            };
            let answer = proxy.ask("POST", &format!("/v1/{path}"), &[JSON], Some(body(asked).as_bytes()));
            assert_eq!((answer.status(), answer.text().as_str()), (200, "{}"));
            let request = got(&backend).pop().unwrap();
            assert_eq!(request.target, format!("/v1/{path}"));
            assert_eq!(String::from_utf8(request.body).unwrap(), body(sent), "{path} {asked}");
        }
    }
    proxy.wait_for_log("the name that was asked for", |log| log.contains("model=fast:latest "));
}

#[test]
fn a_default_model_stands_in_for_names_that_nobody_knows() {
    let map = Map::new("default", &json!({"model_mappings": {}, "default_model": "m"}));
    let backend = agreeing();
    let proxy = Proxy::with(&backend, &[map.variable()]);
    for (asked, sent) in [("unlisted", "m"), ("qwen3:8b", "qwen3:8b"), ("", "m")] {
        proxy.post("/v1/chat/completions", &json!({"model": asked}));
        assert_eq!(backend.posts().pop().unwrap().json(), json!({"model": sent}), "{asked}");
    }
    assert_eq!(proxy.get("/v1/models/unlisted").status(), 200);
    assert_eq!(got(&backend).pop().unwrap().target, "/v1/models/m");
    // But it is not what a client meant to delete.
    proxy.ask("DELETE", "/v1/models/unlisted", &[], None);
    assert_eq!(got(&backend).pop().unwrap().target, "/v1/models/unlisted");
}

#[test]
fn a_body_that_names_no_model_goes_as_it_is() {
    let map = Map::new("none", &json!({"model_mappings": {"a": "b"}, "default_model": "m"}));
    let backend = agreeing();
    let proxy = Proxy::with(&backend, &[map.variable()]);
    let bodies = [
        "",
        "[]",
        "{}",
        r#"{"model":null}"#,
        r#"{"model":7}"#,
        r#"{"model":"a"#,
        r#"{"model":"a"} {"model":"a"}"#,
        r#"{"Model":"a"}"#,
        r#"[{"model":"a"}]"#,
        "model=a",
        "\u{0}\u{1}",
    ];
    for body in bodies {
        assert_eq!(proxy.ask("POST", "/v1/x", &[JSON], Some(body.as_bytes())).status(), 200);
        let request = backend.posts().pop().unwrap();
        assert_eq!(request.body, body.as_bytes(), "{body}");
        assert_eq!(request.header("content-length"), Some(body.len().to_string().as_str()));
    }
}

#[test]
fn json_is_json_whatever_a_client_calls_it() {
    let map = Map::new("kinds", &json!({"a": "b"}));
    let backend = agreeing();
    let proxy = Proxy::with(&backend, &[map.variable()]);
    let table = [
        (None, "application/json"),
        (Some("application/x-www-form-urlencoded"), "application/json"),
        (Some("text/plain;charset=UTF-8"), "application/json"),
        (Some("Application/JSON; charset=utf-8"), "Application/JSON; charset=utf-8"),
        (Some("application/vnd.api+json"), "application/vnd.api+json"),
    ];
    for (said, sent) in table {
        let headers: Vec<_> = said.iter().map(|kind| ("content-type", *kind)).collect();
        proxy.ask("POST", "/v1/x", &headers, Some(br#"{"model":"a"}"#));
        let request = backend.posts().pop().unwrap();
        assert_eq!((request.json(), request.header("content-type")), (json!({"model": "b"}), Some(sent)));
    }
    // What is none keeps its type.
    let form = [("content-type", "application/x-www-form-urlencoded")];
    proxy.ask("POST", "/v1/x", &form, Some(b"model=a"));
    assert_eq!(backend.posts().pop().unwrap().header("content-type"), Some(form[0].1));
}

#[test]
fn what_is_no_json_is_not_touched() {
    let map = Map::new("forms", &json!({"a": "b"}));
    let backend = agreeing();
    let proxy = Proxy::with(&backend, &[map.variable()]);
    let form = b"--x\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\na\r\n--x\r\n\r\n\xff\x00{\"model\":\"a\"}\r\n--x--\r\n";
    let json = br#"{"model":"a"}"#;
    let table = [
        (&[("content-type", "multipart/form-data; boundary=x")][..], &form[..]),
        (&[("content-type", "application/octet-stream")], json),
        (&[JSON, ("content-encoding", "zstd")], json),
    ];
    for (headers, body) in table {
        assert_eq!(proxy.ask("POST", "/v1/audio/transcriptions", headers, Some(body)).status(), 200);
        // Chunked, it is gathered: not every backend reads chunks.
        let mut client = proxy.client();
        let chunked = [("transfer-encoding", "chunked")];
        client.request("POST", "/v1/audio/transcriptions", &[headers, &chunked].concat(), None);
        for piece in body.chunks(7) {
            client.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).unwrap();
        }
        client.send("0\r\n\r\n").unwrap();
        assert_eq!(client.answer().status(), 200);
        for request in backend.posts().iter().rev().take(2) {
            assert_eq!(request.body, body);
            assert_eq!(request.header("content-length"), Some(body.len().to_string().as_str()));
            for (name, value) in headers {
                assert_eq!(request.header(name), Some(*value));
            }
        }
    }
}

#[test]
fn a_body_past_the_limit_is_refused_before_the_backend_hears_of_it() {
    let backend = agreeing();
    let proxy = Proxy::with(&backend, &[("REQUEST_MAX_SIZE", "1000")]);
    let form = ("content-type", "multipart/form-data; boundary=x");
    for kind in [JSON, form] {
        assert_eq!(proxy.ask("POST", "/v1/x", &[kind], Some(&[b' '; 1000])).status(), 200);
        let mut client = proxy.client();
        let head = format!("POST /v1/x HTTP/1.1\r\nhost: localhost\r\ncontent-type: {}\r\n", kind.1);
        client.send(format!("{head}content-length: 1001\r\n\r\n")).unwrap();
        let (status, _, message) = openai_error(&client.answer());
        assert_eq!(status, 413);
        assert!(message.contains("REQUEST_MAX_SIZE"), "{message}");
        let mut client = proxy.client();
        client.send(format!("{head}transfer-encoding: chunked\r\n\r\n3e9\r\n{}", " ".repeat(1001))).unwrap();
        assert_eq!(client.answer().status(), 413);
    }
    assert_eq!(backend.posts().len(), 2);
}

#[test]
fn the_base_is_kept_and_never_left() {
    let backend = agreeing();
    let base = format!("http://{}/some/base?api-version=1", backend.address);
    let proxy = Proxy::start(&[("OPENAI_API_BASE_URL", &base)]);
    let table = [
        ("/v1/files", "/some/base/files?api-version=1"),
        ("/v1/files?limit=2&after=a%20b", "/some/base/files?api-version=1&limit=2&after=a%20b"),
        ("/v1/a%20b/..c?x=/../", "/some/base/a%20b/..c?api-version=1&x=/../"),
        ("/v1/files/", "/some/base/files/?api-version=1"),
    ];
    for (asked, sent) in table {
        assert_eq!(proxy.get(asked).status(), 200, "{asked}");
        assert_eq!(got(&backend).pop().unwrap().target, sent);
    }
    let before = backend.seen().requests.len();
    for path in [
        "/v1/..",
        "/v1/../x",
        "/v1/a/../../x",
        "/v1/%2e%2e/x",
        "/v1/.%2E/x",
        "/v1/a%2f..%2f..%2fx",
        "/v1//x",
        "/v1//127.0.0.1:9/x",
        "/v1/%5c..%5cx",
        "/v1/%252e%252e/x",
        "/v1/models/..%2Fx",
        "/v1/./x",
    ] {
        let (status, kind, _) = openai_error(&proxy.get(path));
        assert_eq!((status, kind.as_str()), (400, "invalid_request_error"), "{path}");
    }
    assert_eq!(backend.seen().requests.len(), before);
    for path in ["/v1", "/v1/", "/v2/models", "/V1/models"] {
        assert_eq!(proxy.get(path).status(), 404, "{path}");
    }
}

#[test]
fn the_model_in_a_path_is_mapped_too() {
    let map = Map::new("paths", &json!({"fast": "openai/gpt-4o"}));
    let backend = agreeing();
    let proxy = Proxy::with(&backend, &[map.variable()]);
    for (asked, sent) in [
        ("m", "m"),
        ("m:latest", "m"),
        ("fast?x=1", "openai%2Fgpt-4o?x=1"),
        ("openai/gpt-4o:latest", "openai/gpt-4o"),
        ("openai%2fgpt-4o:latest", "openai%2Fgpt-4o"),
        ("qwen3%3A8b", "qwen3%3A8b"),
        ("unlisted", "unlisted"),
    ] {
        for method in ["GET", "HEAD"] {
            proxy.ask(method, &format!("/v1/models/{asked}"), &[], None);
            assert_eq!(got(&backend).pop().unwrap().target, format!("/v1/models/{sent}"), "{asked}");
        }
    }
    // The list is the backend's own, to the byte.
    assert_eq!(proxy.get("/v1/models").text(), model_list(&["m", "openai/gpt-4o", "qwen3:8b"]).to_string());
}

#[test]
fn every_method_goes_through_with_its_body() {
    let backend = agreeing();
    let proxy = Proxy::before(&backend);
    for method in ["POST", "PUT", "PATCH", "DELETE", "GET"] {
        let answer = proxy.ask(method, "/v1/files/f", &[JSON], Some(br#"{"model":"m:latest"}"#));
        assert_eq!(answer.status(), 200);
        let request = got(&backend).pop().unwrap();
        assert_eq!((request.method.as_str(), request.json()), (method, json!({"model": "m"})));
    }
    for method in ["DELETE", "GET", "HEAD"] {
        proxy.ask(method, "/v1/files/f", &[], None);
        let request = got(&backend).pop().unwrap();
        assert_eq!((request.method.as_str(), request.header("content-length")), (method, None));
    }
    let refused = proxy.ask("OPTIONS", "/v1/files/f", &[], None);
    assert_eq!(openai_error(&refused).0, 405);
}

const UUID: &str = "4bf92f35-77b3-4da6-a3ce-929d0e0e4736";

#[test]
fn of_a_requests_headers_only_the_known_ones_go_along() {
    let pass = [
        ("accept", "text/event-stream"),
        JSON,
        ("anthropic-beta", "b"),
        ("anthropic-version", "2023-06-01"),
        ("http-referer", "https://app.example"),
        ("idempotency-key", "i"),
        ("openai-beta", "assistants=v2"),
        ("openai-organization", "org"),
        ("x-client-request-id", "c"),
        ("x-request-id", UUID),
        ("x-stainless-lang", "python"),
        ("x-title", "App"),
    ];
    let keys = [("api-key", "k1"), ("x-api-key", "k2"), ("x-goog-api-key", "k3")];
    let stay = [
        ("accept-encoding", "gzip"),
        ("connection", "keep-alive, openai-hop, x-stainless-hop"),
        ("cookie", "a=b"),
        ("expect", "100-continue"),
        ("forwarded", "for=10.0.0.1"),
        ("keep-alive", "timeout=5"),
        ("openai-hop", "1"),
        ("proxy-authorization", "Basic eDp5"),
        ("referer", "http://localhost/private"),
        ("te", "trailers"),
        ("upgrade", "websocket"),
        ("user-agent", "OpenAI/Python"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-stainless-hop", "1"),
    ];
    let agent = concat!("ollama-openai-proxy/", env!("CARGO_PKG_VERSION"));
    for own in [None, Some(CANARY)] {
        let backend = agreeing();
        let variables: Vec<_> = own.iter().map(|key| ("OPENAI_API_KEY", *key)).collect();
        let proxy = Proxy::with(&backend, &variables);
        let sent = [&pass[..], &keys, &stay, &[("authorization", CLIENTS)]].concat();
        let mut client = proxy.client();
        client.request("POST", "/v1/x", &sent, Some(b"{}"));
        // It may say first that it wants the body.
        let head = client.head();
        let status = if head.status == 100 { client.head().status } else { head.status };
        assert_eq!(status, 200);
        let request = backend.posts().pop().unwrap();
        let (host, bearer) = (backend.address.to_string(), format!("Bearer {CANARY}"));
        let mut expected = pass.to_vec();
        expected.extend([("accept-encoding", "identity"), ("content-length", "2"), ("host", &host)]);
        expected.extend([("user-agent", agent), ("authorization", own.map_or(CLIENTS, |_| &bearer))]);
        if own.is_none() {
            expected.extend(keys);
        }
        expected.sort_unstable();
        let mut found: Vec<_> = request.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        found.sort_unstable();
        assert_eq!(found, expected);
    }
}

#[test]
fn of_an_answers_headers_all_that_are_end_to_end_come_through() {
    let pass = [
        ("content-encoding", "gzip"),
        ("content-type", "Text/Odd; charset=x"),
        ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("openai-processing-ms", "7"),
        ("retry-after", "3"),
        ("server", "theirs"),
        ("x-ratelimit-remaining-tokens", "0"),
        ("x-request-id", "req_1"),
        ("x-twice", "1"),
        ("x-twice", "2"),
    ];
    let stay = [
        ("access-control-allow-origin", "*"),
        ("access-control-expose-headers", "x"),
        ("alt-svc", "h3=\":443\""),
        ("connection", "x-hop , X-Other"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("set-cookie", "a=b"),
        ("set-cookie", "c=d"),
        ("strict-transport-security", "max-age=1"),
        ("trailer", "x-late"),
        ("x-hop", "1"),
        ("x-other", "1"),
    ];
    let body = b"\x1f\x8b\x00not really gzip\xff";
    let backend = serving(move |_, peer| peer.respond(218, &[&pass[..], &stay].concat(), body));
    let proxy = Proxy::before(&backend);
    let answer = proxy.ask("POST", "/v1/x", &[JSON, ("x-request-id", "r")], Some(b"{}"));
    assert_eq!((answer.status(), answer.body.as_slice()), (218, &body[..]));
    let mut found: Vec<_> =
        answer.head.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let length = body.len().to_string();
    // The proxy's own name for the request stands beside the backend's.
    let mut expected = [&pass[..], &[("content-length", &length), ("x-correlation-id", "r")]].concat();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    // Who may read it is the guard's word.
    let origin = ("origin", "http://localhost:3000");
    let answer = proxy.ask("POST", "/v1/x", &[JSON, origin], Some(b"{}"));
    let allowed: Vec<_> =
        answer.head.headers.iter().filter(|(name, _)| name.starts_with("access-control-")).collect();
    assert_eq!(allowed, [&("access-control-allow-origin".to_string(), origin.1.to_string())]);
    assert_eq!(proxy.ask("POST", "/v1/x", &[("origin", "https://evil.example")], Some(b"{}")).status(), 403);
}

#[test]
fn statuses_and_the_bodies_of_errors_are_the_backends_own() {
    let table: [(u16, &str, &[u8]); 12] = [
        (200, "application/json", b""),
        (201, "application/json", b" {\"id\" : 1}\r\n"),
        (400, "application/json", br#"{"error":{"message":"m","type":"t","param":"p","code":"c"}}"#),
        (401, "application/json", br#"{"error":"no"}"#),
        (403, "text/html", b"<html>no</html>"),
        (404, "application/json", br#"{"detail":"Not Found"}"#),
        (409, "application/problem+json", b"not even { json"),
        (422, "application/json", br#"{"detail":[{"msg":"m"}]}"#),
        (429, "application/json", b"\xff\xfe"),
        (500, "text/plain", b""),
        (503, "application/json", b"[{\"error\":{}}]"),
        (529, "application/json", br#"{"type":"error","error":{"type":"overloaded_error"}}"#),
    ];
    for variables in [&[][..], &[("OPENAI_API_KEY", CANARY)]] {
        let backend = serving(move |request, peer| {
            let at: usize = request.target.rsplit('/').next().unwrap().parse().unwrap();
            let (status, kind, body) = table[at];
            peer.respond(status, &[("content-type", kind)], body);
        });
        let proxy = Proxy::with(&backend, variables);
        for (at, (status, kind, body)) in table.iter().enumerate() {
            let answer = proxy.post(&format!("/v1/x/{at}"), &json!({"model": "m"}));
            assert_eq!((answer.status(), answer.head.content_type()), (*status, *kind));
            assert_eq!(answer.body, *body, "{status}");
            assert_eq!(answer.head.header("content-length"), Some(body.len().to_string().as_str()));
        }
        assert_eq!(backend.seen().connections, 1, "an answer leaves its connection for the next");
        let log = proxy.wait_for_log("a line each", |log| log.matches("outcome=").count() == table.len());
        let errors = table.iter().filter(|(status, ..)| *status >= 400);
        assert_eq!(log.matches("outcome=failed").count(), errors.clone().count(), "{log}");
        for (status, ..) in errors.clone() {
            assert!(log.contains(&format!("error=\"the backend answered {status}\"")), "{status}: {log}");
        }
        let count = format!("errors_total{{kind=\"backend\"}} {}\n", errors.count());
        assert!(proxy.get("/metrics").text().contains(&count), "{count}");
    }
}

#[test]
fn an_answer_without_a_body_keeps_what_its_head_says() {
    let backend = serving(|request, peer| match request.target.as_str() {
        "/v1/none" => drop(peer.write("HTTP/1.1 204 No Content\r\nx-a: b\r\n\r\n")),
        "/v1/unchanged" => drop(peer.write("HTTP/1.1 304 Not Modified\r\netag: \"e\"\r\n\r\n")),
        _ => drop(peer.write("HTTP/1.1 200 OK\r\ncontent-length: 123\r\ncontent-type: a/b\r\n\r\n")),
    });
    let proxy = Proxy::before(&backend);
    let none = proxy.ask("DELETE", "/v1/none", &[], None);
    assert_eq!((none.status(), none.head.header("x-a"), none.body.len()), (204, Some("b"), 0));
    let unchanged = proxy.get("/v1/unchanged");
    assert_eq!((unchanged.status(), unchanged.head.header("etag")), (304, Some("\"e\"")));
    let head = proxy.ask("HEAD", "/v1/files/f", &[], None).head;
    assert_eq!((head.header("content-length"), head.content_type()), (Some("123"), "a/b"));
    assert_eq!(backend.seen().connections, 1);
}

#[test]
fn a_redirect_is_not_followed_and_not_handed_on() {
    for status in [301, 302, 303, 307, 308] {
        let backend = serving(move |_, peer| {
            peer.respond(status, &[("location", "http://127.0.0.1:9/?key=secret")], "moved");
        });
        let proxy = Proxy::before(&backend);
        let answer = proxy.post("/v1/x", &json!({}));
        let (found, kind, message) = openai_error(&answer);
        assert_eq!((found, kind.as_str()), (502, "api_error"));
        assert!(message.contains("redirects to http://127.0.0.1:9;"), "{message}");
        assert_eq!(answer.head.header("location"), None);
        assert!(!proxy.log().contains("secret"));
    }
}

#[test]
fn a_backend_that_leaves_http_is_a_bad_gateway() {
    let backend = serving(|_, peer| {
        peer.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    });
    let proxy = Proxy::before(&backend);
    let asked = [("connection", "upgrade"), ("upgrade", "websocket")];
    let answer = proxy.ask("GET", "/v1/realtime", &asked, None);
    assert_eq!(openai_error(&answer).0, 502);
    assert_eq!(got(&backend).pop().unwrap().header("upgrade"), None);
}

#[test]
fn no_client_learns_the_proxys_key_from_an_error() {
    let backend = serving(|request, peer| {
        let key = request.header("authorization").unwrap();
        let words = format!("{{ \"error\": \"no such key: {key}\" }}\n");
        match request.target.as_str() {
            "/v1/long" => peer.respond(401, &[], words.repeat(2000)),
            "/v1/latin" => peer.respond(500, &[], [b"caf\xe9: ", key.as_bytes()].concat()),
            _ => peer.respond(401, &[JSON], words),
        }
    });
    let proxy = Proxy::with(&backend, &[("OPENAI_API_KEY", CANARY), ("LOG_LEVEL", "DEBUG")]);
    let answer = proxy.post("/v1/x", &json!({}));
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.text(), "{ \"error\": \"no such key: Bearer [redacted]\" }\n");
    let long = proxy.post("/v1/long", &json!({}));
    assert_eq!(openai_error(&long).0, 502);
    let latin = proxy.post("/v1/latin", &json!({}));
    assert_eq!(latin.text(), "caf\u{fffd}: Bearer [redacted]", "whatever the text is written in");
    assert!(!proxy.log().contains("sk-CANAR"));
    // A client's own key is no news to it.
    let proxy = Proxy::before(&backend);
    let own = proxy.ask("POST", "/v1/x", &[JSON, ("authorization", CLIENTS)], Some(b"{}"));
    assert_eq!(own.text(), format!("{{ \"error\": \"no such key: {CLIENTS}\" }}\n"));
}

#[test]
fn the_proxys_own_errors_have_the_form_that_the_clients_of_each_api_know() {
    let closed = crate::proxy::nobody();
    let url = format!("http://{closed}/v1");
    let proxy = Proxy::start(&[("OPENAI_API_BASE_URL", &url), ("MAX_RETRIES", "0")]);
    let (status, kind, message) = openai_error(&proxy.post("/v1/chat/completions", &json!({"model": "m"})));
    assert_eq!((status, kind.as_str()), (502, "api_error"));
    assert!(message.contains("cannot reach the backend"), "{message}");
    let answer = proxy.post("/v1/messages", &json!({"model": "m"}));
    let expected = json!({"type": "error", "error": {"type": "api_error", "message": message}});
    assert_eq!((answer.status(), answer.json()), (502, expected));
    assert!(proxy.chat("q").error().contains("cannot reach the backend"));
    let mut client = proxy.client();
    client.request("GET", "/v1/x", &[("x-big", &"x".repeat(33 << 10))], None);
    assert_eq!(client.answer().status(), 431);
}

#[test]
fn the_log_has_the_model_and_the_status_and_no_query() {
    let backend = serving(|_, peer| peer.json(402, &json!({"error": "pay"})));
    let proxy = Proxy::before(&backend);
    proxy.post("/v1/chat/completions?key=secret", &json!({"model": "m:latest", "messages": "private"}));
    let log = proxy.wait_for_log("the request", |log| log.contains("outcome="));
    let line = log.lines().find(|line| line.contains("outcome=")).unwrap();
    for part in ["method=POST", "path=/v1/chat/completions ", "model=m:latest ", "status=402", "total_ms="] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!log.contains("secret") && !log.contains("private"), "{log}");
}

#[test]
fn vs_codes_ollama_provider_gets_through_its_handshake_to_a_streamed_answer() {
    let backend = serving(|request, peer| peer.say(request, &["Hello", " world"]));
    let proxy = Proxy::before(&backend);
    let version = proxy.get("/api/version").json();
    let parts = version["version"].as_str().unwrap().split('.').map(|part| part.parse().unwrap());
    assert!(parts.collect::<Vec<u32>>() >= vec![0, 6, 4], "{version}");
    let tags = proxy.get("/api/tags").json();
    let names: Vec<_> =
        tags["models"].as_array().unwrap().iter().map(|entry| entry["model"].as_str().unwrap()).collect();
    assert_eq!(names, ["m:latest", "openai/gpt-4o:latest", "qwen3:8b"]);
    for name in names {
        let shown = proxy.post("/api/show", &json!({"model": name})).json();
        let capabilities = shown["capabilities"].as_array().unwrap();
        assert!(capabilities.contains(&json!("tools")), "it is not offered in agent mode: {shown}");
        assert!(shown["model_info"]["general.architecture"].is_string(), "{shown}");
        let headers = [
            JSON,
            ("authorization", "Bearer "),
            ("user-agent", "GitHubCopilotChat/0.41.0"),
            ("openai-intent", "conversation-panel"),
            ("x-request-id", "00000000-0000-4000-8000-000000000000"),
            ("x-github-api-version", "2025-05-01"),
        ];
        let question = json!({
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            ],
            "model": name, "stream": true, "stream_options": {"include_usage": true}, "temperature": 0.1,
            "top_p": 1, "n": 1, "max_tokens": 4096, "tool_choice": "auto",
            "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}}],
        });
        let body = question.to_string();
        let answer = proxy.ask("POST", "/v1/chat/completions", &headers, Some(body.as_bytes()));
        assert_eq!((answer.status(), answer.head.content_type()), (200, "text/event-stream"));
        let text = answer.text();
        let events: Vec<&str> = text.split_terminator("\n\n").collect();
        assert_eq!(events.last(), Some(&"data: [DONE]"), "{text}");
        assert_eq!(events.len(), 6);
        let sent = backend.posts().pop().unwrap();
        let id = name.strip_suffix(":latest").unwrap_or(name);
        assert_eq!(
            String::from_utf8(sent.body).unwrap(),
            body.replace(&format!("\"{name}\""), &format!("\"{id}\""))
        );
    }
}
