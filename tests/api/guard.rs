//! Browsers: which pages may ask, by `Origin`, and by which names, by `Host` (contract 4.1, 4.2; faults S1, S2).

use crate::backend::Backend;
use crate::client::Answer;
use crate::proxy::{Proxy, chat};

const ALLOWED_METHODS: &str = "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS";

fn ask(proxy: &Proxy, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let body = (method == "POST").then(|| chat("q").to_string());
    proxy.ask(method, path, headers, body.as_deref().map(str::as_bytes))
}

#[test]
fn check_16_a_foreign_page_is_refused_on_every_method_and_reaches_nobody() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let origins = [
        "http://evil.example",
        "https://evil.example",
        "null",
        "http://localhost.evil.example",
        "http://evil.example:11434",
        "http://localhost:3000.evil.example",
        "http://127.0.0.1.evil.example",
        "http://localhost@evil.example",
        "chrome-extension://abc",
        "ftp://localhost",
    ];
    for origin in origins {
        for (method, path) in [
            ("GET", "/"),
            ("HEAD", "/"),
            ("GET", "/api/tags"),
            ("POST", "/api/chat"),
            ("OPTIONS", "/api/chat"),
            ("DELETE", "/api/delete"),
            ("GET", "/nothing"),
        ] {
            let answer = ask(&proxy, method, path, &[("origin", origin), ("content-type", "text/plain")]);
            assert_eq!((answer.status(), answer.body.len()), (403, 0), "{origin} {method} {path}");
            let cors: Vec<_> =
                answer.head.headers.iter().filter(|(name, _)| name.starts_with("access-control")).collect();
            assert!(cors.is_empty(), "{origin} {method}: {cors:?}");
        }
    }
    assert_eq!(backend.seen().requests.len(), 0);
}

#[test]
fn check_16_a_local_page_is_answered_and_named() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let origins = [
        "http://localhost:3000",
        "https://localhost",
        "http://127.0.0.1:8080",
        "http://0.0.0.0",
        "app://obsidian.md",
        "tauri://localhost",
        "vscode-webview://abc",
        "vscode-file://vscode-app",
        "file://",
    ];
    for origin in origins {
        for (method, path, status) in [
            ("GET", "/", 200),
            ("GET", "/api/tags", 200),
            ("POST", "/api/chat", 200),
            ("GET", "/nothing", 404),
        ] {
            let answer = ask(&proxy, method, path, &[("origin", origin)]);
            assert_eq!(answer.status(), status, "{origin} {method} {path}");
            assert_eq!(answer.head.header("access-control-allow-origin"), Some(origin), "{method} {path}");
            assert_eq!(answer.head.header("vary"), Some("Origin"), "{origin} {method} {path}");
        }
        let asked = [("origin", origin), ("access-control-request-method", "POST")];
        for path in ["/api/chat", "/anything"] {
            let preflight = ask(&proxy, "OPTIONS", path, &asked);
            assert_eq!((preflight.status(), preflight.body.len()), (204, 0), "{origin} {path}");
            let header = |name| preflight.head.header(name).unwrap_or_default();
            assert_eq!(header("access-control-allow-origin"), origin);
            assert_eq!(header("access-control-allow-methods"), ALLOWED_METHODS);
            assert_eq!(header("access-control-max-age"), "43200");
            assert!(header("access-control-allow-headers").to_lowercase().contains("content-type"));
            for name in ["Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"] {
                assert!(header("vary").contains(name), "{name}: {}", header("vary"));
            }
        }
    }
}

#[test]
fn no_origin_and_the_servers_own_get_no_headers_of_the_kind() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let own = format!("http://{}", proxy.address);
    for headers in [&[][..], &[("origin", own.as_str())]] {
        let answer = ask(&proxy, "GET", "/api/tags", headers);
        assert_eq!(answer.status(), 200);
        for name in ["access-control-allow-origin", "vary"] {
            assert_eq!(answer.head.header(name), None, "{headers:?}");
        }
    }
}

#[test]
fn further_origins_come_from_the_settings() {
    let backend = Backend::hello();
    for name in ["OLLAMA_ORIGINS", "CORS_ORIGINS"] {
        let proxy = Proxy::with(&backend, &[(name, "https://chat.example, chrome-extension://*")]);
        for (origin, status) in [
            ("https://chat.example", 200),
            ("chrome-extension://abc", 200),
            ("http://localhost:1", 200),
            ("http://chat.example", 403),
            ("https://chat.example.evil", 403),
        ] {
            assert_eq!(ask(&proxy, "GET", "/", &[("origin", origin)]).status(), status, "{name} {origin}");
        }
    }
    let proxy = Proxy::with(&backend, &[("OLLAMA_ORIGINS", "*")]);
    let answer = ask(&proxy, "GET", "/", &[("origin", "http://evil.example")]);
    assert_eq!((answer.status(), answer.head.header("access-control-allow-origin")), (200, Some("*")));
    assert_eq!(answer.head.header("vary"), None);
}

#[test]
fn a_server_on_loopback_answers_to_names_of_this_machine_only() {
    let backend = Backend::hello();
    let proxy = Proxy::with(&backend, &[("HOSTNAME", "proxy-1")]);
    let table = [
        ("localhost", 200),
        ("localhost:11434", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:11434", 200),
        ("0.0.0.0", 200),
        ("192.168.1.5:11434", 200),
        ("10.0.0.1", 200),
        ("a.localhost", 200),
        ("box.local", 200),
        ("host.docker.internal:11434", 200),
        ("proxy-1:11434", 200),
        ("", 200),
        ("evil.example", 403),
        ("evil.example:11434", 403),
        ("localhost.evil.example", 403),
        ("evil-localhost", 403),
        ("8.8.8.8", 403),
        ("127.0.0.1.evil.example", 403),
        ("[2001:db8::1]", 403),
        ("localhost:x", 403),
        ("evil.example/.local", 403),
        ("local", 403),
        ("127.1", 403),
    ];
    let mut wrong = Vec::new();
    for (host, status) in table {
        let answer = ask(&proxy, "POST", "/api/chat", &[("host", host)]);
        if answer.status() != status || (status == 403 && !answer.body.is_empty()) {
            wrong.push(format!("{host}: {} {}", answer.status(), answer.text()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let allowed = table.iter().filter(|(_, status)| *status == 200).count();
    assert_eq!(backend.posts().len(), allowed);
}

#[test]
fn a_server_on_every_address_answers_to_any_name() {
    let backend = Backend::hello();
    let proxy = Proxy::with(&backend, &[("OLLAMA_HOST", "0.0.0.0:0")]);
    let mut client = crate::client::Client::connect(([127, 0, 0, 1], proxy.address.port()).into());
    client.request("GET", "/", &[("host", "ollama.example:11434")], None);
    assert_eq!(client.answer().status(), 200);
    client.request("GET", "/", &[("host", "ollama.example"), ("origin", "http://evil.example")], None);
    assert_eq!(client.answer().status(), 403, "pages are looked at all the same");
    proxy.wait_for_log("a warning of an open door", |log| log.contains("WARN") && log.contains("0.0.0.0"));
}

#[test]
fn a_request_that_disagrees_about_its_host_is_refused() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    // RFC 9112, section 3.2: more than one `Host` is a 400.
    let table = [
        ("GET / HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n", 400),
        ("GET http://evil.example/ HTTP/1.1\r\nhost: localhost\r\n\r\n", 403),
        ("GET http://localhost/ HTTP/1.1\r\nhost: evil.example\r\n\r\n", 403),
        ("GET http://localhost/ HTTP/1.1\r\nhost: localhost\r\n\r\n", 200),
        ("GET / HTTP/1.0\r\n\r\n", 200),
    ];
    let mut wrong = Vec::new();
    for (request, status) in table {
        let mut client = proxy.client();
        client.send(request).unwrap();
        let answer = client.answer();
        if answer.status() != status {
            wrong.push(format!("{request:?}: {} and not {status}", answer.status()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
