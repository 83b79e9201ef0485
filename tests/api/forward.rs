//! The way to the backend: TLS with the user's own CA, and forward proxies (faults S7, S12).
//!
//! A backend that is not on loopback is named `backend.test`, a name that nobody resolves (RFC 6761): who reaches it did
//! so through the proxy of the test, which is proxy and backend in one.

use crate::backend::Backend;
use crate::proxy::Proxy;
use crate::signal::PATIENCE;
use crate::tls;
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const SECRET: &str = "CANARY-of-the-proxy";
const KEY: (&str, &str) = ("OPENAI_API_KEY", "sk-CANARY-of-the-backend");

/// One request as it stood, head and body.
fn read_request(stream: &mut impl Read) -> Option<String> {
    let mut reader = BufReader::with_capacity(1, stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head += &line;
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(head + &String::from_utf8(body).unwrap())
}

/// Answers every request of a connection with a whole chat, or an empty list.
fn serve_chat(mut stream: impl Read + Write, heard: &Mutex<Vec<String>>) {
    while let Some(request) = read_request(&mut stream) {
        let choice = json!({"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"});
        let body = match request.starts_with("GET") {
            true => json!({"object": "list", "data": []}).to_string(),
            false => json!({"choices": [choice]}).to_string(),
        };
        heard.lock().unwrap().push(request);
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all((head + &body).as_bytes()).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

/// A server on loopback with a thread for each connection.
fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

type Heard = Arc<Mutex<Vec<String>>>;

/// A forward proxy that answers a CONNECT so and, if that is a 200, is the backend in the tunnel.
fn connect_proxy(answer: &'static str) -> (SocketAddr, Heard, Heard) {
    let (connects, inside) = (Heard::default(), Heard::default());
    let (heard, tunnelled) = (Arc::clone(&connects), Arc::clone(&inside));
    let address = listen(move |mut stream| {
        let Some(request) = read_request(&mut stream) else { return };
        heard.lock().unwrap().push(request);
        stream.write_all(answer.as_bytes()).unwrap();
        if answer.contains(" 200 ") && answer.ends_with("\r\n\r\n") {
            serve_chat(tls::accept(stream), &tunnelled);
        }
    });
    (address, connects, inside)
}

fn chat_whole(proxy: &Proxy) -> crate::client::Answer {
    let mut chat = crate::proxy::chat("q");
    chat["stream"] = json!(false);
    proxy.post("/api/chat", &chat)
}

#[test]
fn a_backend_with_a_certificate_of_ones_own_is_trusted_by_its_ca_file_only() {
    let heard = Heard::default();
    let seen = Arc::clone(&heard);
    let address = listen(move |stream| serve_chat(tls::accept(stream), &seen));
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("https://{host}:{}/v1", address.port());
        let start = |more: (&str, &str)| {
            Proxy::start(&[("OPENAI_API_BASE_URL", &url), ("MAX_RETRIES", "0"), KEY, more])
        };
        let answer = chat_whole(&start(("SSL_CA_FILE", tls::CA_FILE)));
        assert_eq!((answer.status(), &answer.json()["message"]["content"]), (200, &json!("Hello")), "{host}");

        heard.lock().unwrap().clear();
        let answer = chat_whole(&start(("LOG_LEVEL", "debug")));
        assert_eq!(answer.status(), 502, "{host}");
        let told = answer.error();
        assert!(told.contains("certificate") && told.contains(host), "{told}");
        assert_eq!(heard.lock().unwrap().len(), 0, "not even the request was sent");

        let open = start(("DISABLE_SSL_VERIFICATION", "true"));
        assert_eq!(chat_whole(&open).status(), 200, "{host}");
        let log = open.log();
        let warning = log.lines().find(|line| line.contains("DISABLE_SSL_VERIFICATION")).unwrap();
        assert!(warning.contains("WARN") && warning.contains("the key included"), "{warning}");
    }
    // A name that the certificate does not have is refused although its CA is known.
    let url = format!("https://127.0.0.2:{}/v1", address.port());
    let variables =
        [("OPENAI_API_BASE_URL", url.as_str()), ("SSL_CA_FILE", tls::CA_FILE), ("MAX_RETRIES", "0")];
    let other = listen_at("127.0.0.2", address.port());
    assert_eq!(chat_whole(&Proxy::start(&variables)).status(), 502);
    drop(other);
}

/// The same port of another address of loopback, in TLS.
fn listen_at(host: &str, port: u16) -> TcpListener {
    let listener = TcpListener::bind((host, port)).unwrap();
    let accepting = listener.try_clone().unwrap();
    std::thread::spawn(move || {
        for stream in accepting.incoming().map_while(Result::ok) {
            serve_chat(tls::accept(stream), &Mutex::default());
        }
    });
    listener
}

#[test]
fn a_backend_behind_tls_is_reached_by_a_tunnel_in_which_the_proxy_sees_nothing() {
    let (address, connects, inside) = connect_proxy("HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n");
    let with_user = format!("http://user:{SECRET}@{address}");
    for (variable, value, credentials) in [
        ("HTTPS_PROXY", &with_user, true),
        ("https_proxy", &format!("{address}"), false),
        ("ALL_PROXY", &format!("http://{address}/"), false),
    ] {
        let url = "https://backend.test:8443/v1";
        let proxy = Proxy::start(&[
            ("OPENAI_API_BASE_URL", url),
            ("SSL_CA_FILE", tls::CA_FILE),
            ("LOG_LEVEL", "TRACE"),
            KEY,
            (variable, value),
        ]);
        assert_eq!(chat_whole(&proxy).status(), 200);
        assert_eq!(chat_whole(&proxy).status(), 200);
        let connect = std::mem::take(&mut *connects.lock().unwrap());
        assert_eq!(connect.len(), 1, "the tunnel is used again: {connect:?}");
        let mut expected = "CONNECT backend.test:8443 HTTP/1.1\r\nHost: backend.test:8443\r\n".to_string();
        if credentials {
            expected += "Proxy-Authorization: Basic dXNlcjpDQU5BUlktb2YtdGhlLXByb3h5\r\n";
        }
        assert_eq!(connect[0], expected + "\r\n");
        let requests = std::mem::take(&mut *inside.lock().unwrap());
        assert_eq!(requests.len(), 3);
        for request in &requests {
            assert!(
                request.starts_with("GET /v1/models ") || request.starts_with("POST /v1/chat/completions ")
            );
            assert!(request.contains("authorization: Bearer sk-CANARY-of-the-backend"));
            assert!(!request.to_lowercase().contains("proxy-authorization"), "{request}");
        }
        let log = proxy.wait_for_log("the requests", |log| log.matches(" request ").count() == 2);
        assert!(log.contains(&format!("proxy=http://{address}")), "{log}");
        assert!(!log.contains("CANARY") && !log.contains("dXNlcjp"), "{log}");
    }
}

#[test]
fn a_backend_without_tls_is_asked_through_the_proxy_in_absolute_form() {
    let forward = Backend::hello();
    let value = format!("http://user:{SECRET}@{}", forward.address);
    let proxy = Proxy::start(&[
        ("OPENAI_API_BASE_URL", "http://backend.test:8000/api/v2?version=1"),
        ("HTTP_PROXY", &value),
        ("HTTPS_PROXY", "http://127.0.0.1:9"),
        KEY,
    ]);
    assert_eq!(proxy.chat("q").status(), 200);
    let requests = forward.seen().requests;
    let targets: Vec<_> = requests.iter().map(|request| request.target.as_str()).collect();
    let base = "http://backend.test:8000/api/v2";
    assert_eq!(targets, [format!("{base}/models?version=1"), format!("{base}/chat/completions?version=1")]);
    for request in &requests {
        assert_eq!(request.header("host"), Some("backend.test:8000"));
        assert_eq!(request.header("proxy-authorization"), Some("Basic dXNlcjpDQU5BUlktb2YtdGhlLXByb3h5"));
        assert_eq!(request.header("authorization"), Some("Bearer sk-CANARY-of-the-backend"));
    }
}

#[test]
fn a_backend_on_this_machine_is_never_reached_through_a_proxy() {
    let (backend, forward) = (Backend::hello(), Backend::hello());
    let value = format!("http://{}", forward.address);
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("http://{host}:{}/v1", backend.address.port());
        let all = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"].map(|name| (name, value.as_str()));
        let proxy = Proxy::start(&[&[("OPENAI_API_BASE_URL", url.as_str())], &all[..]].concat());
        assert_eq!(proxy.chat("q").status(), 200);
    }
    assert_eq!((backend.posts().len(), forward.seen().connections), (2, 0));
}

#[test]
fn a_host_that_no_proxy_names_is_not_asked_of_the_proxy() {
    let forward = Backend::hello();
    let value = format!("http://{}", forward.address);
    let proxy = Proxy::start(&[
        ("OPENAI_API_BASE_URL", "http://backend.test:8000/v1"),
        ("HTTP_PROXY", &value),
        ("NO_PROXY", "other.example,.test"),
        ("MAX_RETRIES", "0"),
    ]);
    let answer = proxy.chat("q");
    assert_eq!(answer.status(), 502, "nobody resolves that name: {}", answer.text());
    assert_eq!(forward.seen().connections, 0);
}

#[test]
fn a_proxy_that_does_not_open_the_tunnel_is_named_without_its_password() {
    let closed = crate::proxy::nobody();
    let ready = |answer| connect_proxy(answer).0;
    let long: &'static str = Box::leak(format!("HTTP/1.1 200 {}", "x".repeat(20_000)).into_boxed_str());
    let table = [
        (
            ready("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"),
            "user and password (407)",
        ),
        (ready("HTTP/1.1 403 No\r\n\r\n"), "refuses to connect to backend.test:443 (403)"),
        (ready("HTTP/1.1 200 O"), "closed the connection"),
        (ready("SSH-2.0-x\r\n\r\n"), "does not speak HTTP"),
        (ready(""), "closed the connection"),
        (ready("HTTP/1.1 403 No\r\n\r\nmore"), "too long"),
        (ready(long), "too long"),
        (closed, "connection refused"),
    ];
    for (address, words) in table {
        let value = format!("http://user:{SECRET}@{address}");
        let proxy = Proxy::start(&[
            ("OPENAI_API_BASE_URL", "https://backend.test/v1"),
            ("HTTPS_PROXY", &value),
            ("MAX_RETRIES", "0"),
            ("LOG_LEVEL", "TRACE"),
            KEY,
        ]);
        let answer = chat_whole(&proxy);
        assert_eq!(answer.status(), 502, "{words}");
        let told = answer.error();
        let named = format!("https://backend.test: the proxy http://{address}");
        assert!(told.contains(&named) && told.contains(words), "{words}: {told}");
        proxy.signal("TERM");
        let log = proxy.wait_for_end_of_log();
        assert!(!log.contains("CANARY") && !told.contains("CANARY") && !log.contains("dXNlcjp"), "{log}");
    }
}
