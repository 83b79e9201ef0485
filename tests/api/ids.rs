//! Correlation ids, in and out, and the one line that is logged of a request under its id (predecessor's F20, N11).

use crate::backend::Backend;
use crate::chunks::delta;
use crate::client::Answer;
use crate::proxy::{Proxy, chat};
use crate::signal::Signal;
use serde_json::{Value, json};

fn id(answer: &Answer) -> &str {
    let [request, correlation] =
        ["x-request-id", "x-correlation-id"].map(|name| answer.head.header(name).expect("there is an id"));
    assert_eq!(request, correlation);
    request
}

fn chat_with(proxy: &Proxy, headers: &[(&str, &str)]) -> Answer {
    proxy.ask("POST", "/api/chat", headers, Some(chat("q").to_string().as_bytes()))
}

#[test]
fn an_id_of_the_clients_names_the_answer_the_log_line_and_the_backends_request() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    const UUID: &str = "4bf92f35-77b3-4da6-a3ce-929d0e0e4736";
    let table = [
        (&[("x-request-id", UUID)][..], UUID, "x-request-id"),
        // Some servers refuse a request by such a name.
        (&[("x-request-id", "mine-1")], "mine-1", "x-correlation-id"),
        (&[("x-correlation-id", "mine-2")], "mine-2", "x-correlation-id"),
        (&[("x-correlation-id", "other"), ("X-Request-ID", "mine-3")], "mine-3", "x-correlation-id"),
    ];
    for (headers, expected, name) in table {
        let answer = chat_with(&proxy, headers);
        assert_eq!((answer.status(), id(&answer)), (200, expected));
        let asked = backend.posts().pop().unwrap();
        assert_eq!(asked.header(name), Some(expected), "{name}");
        let ids = asked.headers.iter().filter(|(name, _)| name.ends_with("-id")).count();
        assert_eq!(ids, 1, "{:?}", asked.headers);
        proxy.wait_for_log(expected, |log| log.contains(&format!("INFO request id={expected} ")));
    }
}

#[test]
fn a_request_without_a_plain_id_is_given_one_of_its_own() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let long = "x".repeat(129);
    let mut ids = Vec::new();
    for headers in
        [&[][..], &[("x-request-id", "two words")], &[("x-request-id", &long)], &[("x-request-id", "")]]
    {
        let answer = chat_with(&proxy, headers);
        let id = id(&answer).to_string();
        assert_eq!(backend.posts().pop().unwrap().header("x-request-id"), Some(id.as_str()));
        proxy.wait_for_log(&id, |log| log.contains(&format!("id={id} ")));
        ids.push(id);
    }
    assert!(!proxy.log().contains("two words") && !proxy.log().contains(&long));
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[test]
fn every_answer_has_an_id() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let sent = ("x-request-id", "known");
    let local = ("origin", "http://localhost:3000");
    for (method, path, headers, status) in [
        ("GET", "/", &[sent][..], 200),
        ("HEAD", "/", &[sent], 200),
        ("GET", "/api/tags", &[sent], 200),
        ("GET", "/nothing", &[sent], 404),
        ("GET", "/api/chat", &[sent], 405),
        ("GET", "/api/tags/", &[sent], 301),
        ("OPTIONS", "/api/chat", &[sent, local, ("access-control-request-method", "POST")], 204),
        ("GET", "/", &[sent, ("origin", "http://evil.example")], 403),
        ("GET", "/", &[sent, ("host", "evil.example")], 403),
    ] {
        let answer = proxy.ask(method, path, headers, None);
        assert_eq!((answer.status(), id(&answer)), (status, "known"), "{method} {path}");
    }
}

#[test]
fn under_v1_the_backends_own_id_comes_through_beside_the_proxys() {
    let backend = Backend::new(|_, peer| {
        peer.respond(
            200,
            &[("content-type", "application/json"), ("x-request-id", "req_of_the_backend")],
            "{}",
        );
    });
    let proxy = Proxy::before(&backend);
    let headers = [("content-type", "application/json"), ("x-request-id", "mine")];
    let answer = proxy.ask("POST", "/v1/chat/completions", &headers, Some(chat("q").to_string().as_bytes()));
    assert_eq!(
        answer.head.header("x-request-id"),
        Some("req_of_the_backend"),
        "clients show it to the backend's support"
    );
    assert_eq!(answer.head.header("x-correlation-id"), Some("mine"));
    assert_eq!(backend.posts()[0].header("x-correlation-id"), Some("mine"));
}

/// The log's lines about requests, once there are so many.
fn lines(proxy: &Proxy, count: usize) -> Vec<Value> {
    let is_line = |line: &&str| line.contains("\"message\":\"request\"");
    // A line that is being written has no end yet.
    let whole =
        |log: &str| log.split_inclusive('\n').filter(|line| line.ends_with('\n') && is_line(line)).count();
    let log = proxy.wait_for_log("the lines of all requests", |log| whole(log) >= count);
    let lines: Vec<_> = log.lines().filter(is_line).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), count, "one line a request: {lines:#?}");
    lines
}

#[test]
fn one_json_line_a_request_says_what_it_was_and_no_word_of_it() {
    const SECRET: &str = "do-not-log-me";
    let reached = Signal::new();
    let tell = std::sync::Arc::clone(&reached);
    let backend = Backend::new(move |request, peer| match request.prompt().as_str() {
        "leave" => {
            peer.begin();
            peer.event(&delta(SECRET));
            tell.raise();
            peer.wait_closed();
        }
        "fail" => peer.json(429, &json!({"error": {"message": "slow down"}})),
        _ => peer.say(request, &[SECRET]),
    });
    let proxy = Proxy::with(&backend, &[("LOG_FORMAT", "json"), ("LOG_LEVEL", "debug")]);
    let ask = |id: &str, mut body: Value, stream: bool| {
        body["stream"] = json!(stream);
        let headers = [("x-request-id", id), ("authorization", "Bearer sk-do-not-log-me-either")];
        let mut client = proxy.client();
        client.request("POST", "/api/chat", &headers, Some(body.to_string().as_bytes()));
        client
    };
    assert_eq!(ask("1", chat(SECRET), true).answer().status(), 200);
    assert_eq!(ask("2", chat(SECRET), false).answer().status(), 200);
    assert_eq!(ask("3", chat("fail"), true).answer().status(), 429);
    let mut left = ask("4", chat("leave"), true);
    reached.wait();
    left.json_line_after_head();
    drop(left);
    let lines = lines(&proxy, 4);
    let of = |id: &str| lines.iter().find(|line| line["id"] == id).unwrap();
    let known =
        |line: &Value, names: &[&str]| names.iter().map(|name| line[*name].clone()).collect::<Vec<_>>();
    for (id, status, outcome) in
        [("1", 200, "done"), ("2", 200, "done"), ("3", 429, "failed"), ("4", 200, "cancelled")]
    {
        let line = of(id);
        assert_eq!(
            known(line, &["method", "path", "model", "status", "outcome"]),
            [json!("POST"), json!("/api/chat"), json!("m"), json!(status), json!(outcome)]
        );
        assert!(line["total_ms"].as_f64().unwrap() > 0.0, "{line}");
        assert_eq!(line["first_line_ms"].is_number(), ["1", "4"].contains(&id), "{line}");
        let tokens = known(line, &["prompt_tokens", "completion_tokens"]);
        let counted = [json!(11), json!(7)];
        assert_eq!(
            tokens,
            if status == 200 && outcome == "done" { counted } else { [Value::Null, Value::Null] }
        );
    }
    assert_eq!(of("3")["error"], "slow down");
    assert!(!proxy.log().contains("do-not-log-me"), "{}", proxy.log());
}
