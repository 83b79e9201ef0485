//! The routes of whoever runs the proxy: probes that cost nothing, and the counts that Prometheus reads, after real
//! exchanges (predecessor's F24; faults S7).

use crate::backend::{Backend, Seen};
use crate::chunks::{delta, model_list};
use crate::proxy::{Proxy, chat};
use crate::signal::{PATIENCE, Signal};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Instant;

fn gets(seen: &Seen) -> usize {
    seen.requests.iter().filter(|request| request.method == "GET").count()
}

#[test]
fn the_process_is_alive_and_healthy_whatever_the_backend_is() {
    let closed = crate::proxy::nobody();
    let url = format!("http://{closed}/v1");
    let proxy =
        Proxy::start(&[("OPENAI_API_BASE_URL", &url), ("ENV", "staging"), ("OLLAMA_HOST", "0.0.0.0:0")]);
    let mut client = crate::client::Client::connect(([127, 0, 0, 1], proxy.address.port()).into());
    let mut get = |method: &str, path: &str| {
        client.request(method, path, &[], None);
        client.answer()
    };
    for (path, expected) in [("/live", json!({"status": "alive"})), ("/health", json!(null))] {
        let answer = get("GET", path);
        assert_eq!((answer.status(), answer.head.content_type()), (200, "application/json; charset=utf-8"));
        let mut body = answer.json();
        if path == "/health" {
            assert!(body["uptime_seconds"].is_u64(), "{body}");
            body["uptime_seconds"] = json!(0);
            let version = env!("CARGO_PKG_VERSION");
            assert_eq!(
                body,
                json!({"status": "healthy", "version": version, "environment": "staging", "uptime_seconds": 0})
            );
        } else {
            assert_eq!(body, expected);
        }
        let head = get("HEAD", path);
        assert_eq!((head.status(), head.body.len()), (200, 0));
    }
    let valid = get("GET", "/config/validate").json();
    assert_eq!(valid["valid"], true);
    let warnings = valid["warnings"].as_array().unwrap();
    assert!(warnings.len() == 1 && warnings[0].as_str().unwrap().contains("other machines"), "{valid}");
    for path in ["/live", "/health", "/ready", "/metrics", "/config/validate"] {
        assert_eq!(get("POST", path).status(), 405, "{path}");
    }
}

#[test]
fn many_probes_at_once_ask_the_backend_once_and_only_for_its_list() {
    let (asked, go) = (Signal::new(), Signal::new());
    let (tell, wait) = (Arc::clone(&asked), Arc::clone(&go));
    let backend = Backend::with_models(
        move |_, peer| {
            tell.raise();
            wait.wait();
            peer.json(200, &model_list(&["m"]));
        },
        |request, peer| peer.say(request, &["Hello"]),
    );
    let proxy = Proxy::with(&backend, &[("OPENAI_API_KEY", "sk-test")]);
    let mut clients: Vec<_> = (0..8).map(|_| proxy.client()).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        client.request("GET", if at % 2 == 0 { "/ready" } else { "/openai/health" }, &[], None);
    }
    asked.wait();
    go.raise();
    for client in &mut clients {
        let answer = client.answer();
        assert_eq!((answer.status(), answer.json()), (200, json!({"status": "ready"})));
    }
    for _ in 0..20 {
        assert_eq!(proxy.get("/ready").status(), 200);
    }
    let seen = backend.seen();
    assert_eq!((gets(&seen), seen.posts().len()), (1, 0), "{seen:?}");
    assert_eq!(seen.requests[0].target, "/v1/models");
    assert_eq!(seen.requests[0].header("authorization"), Some("Bearer sk-test"));
}

#[test]
fn a_probe_that_gives_up_does_not_end_the_look_that_tells_the_next_one() {
    let (asked, go) = (Signal::new(), Signal::new());
    let (tell, wait) = (Arc::clone(&asked), Arc::clone(&go));
    let backend = Backend::with_models(
        move |_, peer| {
            tell.raise();
            wait.wait();
            peer.json(200, &model_list(&["m"]));
        },
        |request, peer| peer.say(request, &["Hello"]),
    );
    let proxy = Proxy::before(&backend);
    let mut probe = proxy.client();
    probe.request("GET", "/ready", &[], None);
    asked.wait();
    drop(probe);
    proxy.wait_for_log("the probe that left", |log| log.contains("outcome=cancelled"));
    go.raise();
    assert_eq!(proxy.get("/ready").status(), 200);
    let seen = backend.seen();
    assert_eq!((gets(&seen), seen.connections), (1, 1), "one look for both");
}

#[test]
fn a_backend_that_answers_is_ready_and_one_that_fails_is_not() {
    let table = [
        (200, true, None),
        (404, true, None),
        (429, true, None),
        (401, false, Some("backend")),
        (403, false, Some("backend")),
        (302, false, Some("backend")),
        (500, false, Some("backend")),
        (503, false, Some("backend")),
    ];
    for (status, is_ready, reason) in table {
        let backend = Backend::with_models(
            move |_, peer| peer.json(status, &json!({"error": "sk-test was refused"})),
            |request, peer| peer.say(request, &["Hello"]),
        );
        let proxy = Proxy::with(&backend, &[("OPENAI_API_KEY", "sk-test")]);
        let answer = proxy.get("/ready");
        let expected = match reason {
            None => json!({"status": "ready"}),
            Some(reason) => json!({"status": "not ready", "reason": reason}),
        };
        assert_eq!(
            (answer.status(), answer.json()),
            (if is_ready { 200 } else { 503 }, expected),
            "{status}"
        );
        if !is_ready {
            let log = proxy.wait_for_log("the reason", |log| log.contains("WARN not ready"));
            assert!(!log.contains("sk-test"), "{log}");
        }
    }
    // Without a key of its own the proxy cannot ask, but its clients can.
    let backend = Backend::with_models(
        |_, peer| peer.json(401, &json!({"error": "no key"})),
        |request, peer| peer.say(request, &["Hello"]),
    );
    assert_eq!(Proxy::before(&backend).get("/ready").status(), 200);
}

#[test]
fn an_unreachable_backend_is_not_ready_and_one_that_came_back_is() {
    let status = Arc::new(AtomicU16::new(500));
    let now = Arc::clone(&status);
    let backend = Backend::with_models(
        move |_, peer| peer.json(now.load(Ordering::Relaxed), &model_list(&["m"])),
        |request, peer| peer.say(request, &["Hello"]),
    );
    let proxy = Proxy::before(&backend);
    assert_eq!(proxy.get("/ready").status(), 503);
    status.store(200, Ordering::Relaxed);
    // A failure is remembered too, but for seconds only.
    let began = std::time::Instant::now();
    while proxy.get("/ready").status() != 200 {
        assert!(began.elapsed() < crate::signal::PATIENCE, "it is never ready again");
        std::thread::yield_now();
    }
    assert_eq!(gets(&backend.seen()), 2, "it was asked once while it failed and once after");

    let closed = crate::proxy::nobody();
    let url = format!("http://{closed}/v1");
    let proxy = Proxy::start(&[("OPENAI_API_BASE_URL", &url), ("MAX_RETRIES", "0")]);
    let answer = proxy.get("/ready");
    let expected = json!({"status": "not ready", "reason": "unreachable"});
    assert_eq!((answer.status(), answer.json()), (503, expected));
}

/// The text format 0.0.4, read strictly: series by name and labels.
fn parsed(text: &str) -> BTreeMap<String, f64> {
    let (mut series, mut types, mut helps) = (BTreeMap::new(), BTreeMap::new(), HashSet::new());
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').expect("a help has words");
            assert!(helps.insert(name.to_string()) && !words.is_empty(), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(
                types.insert(name.to_string(), kind.to_string()).is_none() && helps.contains(name),
                "{line}"
            );
        } else {
            let (labelled, value) = line.rsplit_once(' ').expect("a sample has a value");
            let name = labelled.split('{').next().unwrap();
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|ending| name.strip_suffix(ending).filter(|family| types.contains_key(*family)));
            let kind = &types[family.unwrap_or(name)];
            assert_eq!(kind == "histogram", family.is_some(), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            let short = labelled.strip_prefix("ollama_openai_proxy_").unwrap_or(labelled);
            assert!(series.insert(short.to_string(), value.parse().unwrap()).is_none(), "twice: {line}");
        }
    }
    series
}

fn metrics(proxy: &Proxy) -> BTreeMap<String, f64> {
    let answer = proxy.get("/metrics");
    assert_eq!(
        (answer.status(), answer.head.content_type()),
        (200, "text/plain; version=0.0.4; charset=utf-8")
    );
    parsed(&answer.text())
}

#[test]
fn counts_are_those_of_the_exchanges_that_were() {
    let reached = Signal::new();
    let tell = Arc::clone(&reached);
    let backend = Backend::new(move |request, peer| {
        let body = request.json();
        match request.prompt().as_str() {
            "leave" => {
                peer.begin();
                peer.event(&delta("x"));
                tell.raise();
                peer.wait_closed();
            }
            "fail" => peer.json(429, &json!({"error": {"message": "slow down"}})),
            "break" => {
                peer.begin();
                peer.event(&delta("x"));
                peer.reset();
            }
            _ if body["seed"].is_number() => {
                peer.json(400, &json!({"error": {"message": "Unsupported parameter: 'seed'", "param": "seed", "code": "unsupported_parameter"}}));
            }
            _ => peer.say(request, &["Hello"]),
        }
    });
    let proxy = Proxy::before(&backend);
    let before = metrics(&proxy);
    for (name, value) in &before {
        let is_set =
            name.contains("build_info") || name.contains("start_time") || name == "requests_in_flight";
        assert_eq!(*value > 0.0, is_set, "{name} {value}");
    }
    for _ in 0..3 {
        assert_eq!(proxy.chat("q").status(), 200);
    }
    let mut whole = chat("q");
    whole["stream"] = json!(false);
    assert_eq!(proxy.post("/api/chat", &whole).status(), 200);
    let mut seeded = chat("q");
    seeded["options"] = json!({"seed": 1});
    assert_eq!(proxy.post("/api/chat", &seeded).status(), 200);
    assert_eq!(proxy.chat("fail").status(), 429);
    assert_eq!(proxy.chat("break").status(), 200);
    assert_eq!(proxy.post("/api/generate", &json!({"model": 1})).status(), 400);
    assert_eq!(proxy.get("/a\"b\\c").status(), 404);
    let mut leaving = proxy.client();
    leaving.post("/api/chat", &chat("leave"));
    reached.wait();
    leaving.json_line_after_head();
    let during = metrics(&proxy);
    assert_eq!((during["streams_in_flight"], during["requests_in_flight"]), (1.0, 2.0));
    drop(leaving);
    proxy.wait_for_log("the cancelled request", |log| log.contains("outcome=cancelled"));

    let after = metrics(&proxy);
    let of = |name: &str| after.get(name).copied().unwrap_or_else(|| panic!("no {name} in {after:#?}"));
    let table = [
        (r#"requests_total{route="/api/chat",status="2xx"}"#, 7.0),
        (r#"requests_total{route="/api/chat",status="4xx"}"#, 1.0),
        (r#"requests_total{route="/api/generate",status="4xx"}"#, 1.0),
        (r#"requests_total{route="other",status="4xx"}"#, 1.0),
        (r#"requests_total{route="/metrics",status="2xx"}"#, 2.0),
        (r#"errors_total{kind="backend"}"#, 1.0),
        (r#"errors_total{kind="answer"}"#, 1.0),
        (r#"errors_total{kind="request"}"#, 1.0),
        (r#"errors_total{kind="not_found"}"#, 1.0),
        (r#"errors_total{kind="timeout"}"#, 0.0),
        ("cancelled_total", 1.0),
        ("streams_in_flight", 0.0),
        ("requests_in_flight", 1.0),
        ("learned_refusals_total", 1.0),
        ("backend_retries_total", 1.0),
        (r#"tokens_total{kind="prompt"}"#, 55.0),
        (r#"tokens_total{kind="completion"}"#, 35.0),
        ("first_line_seconds_count", 6.0),
        (r#"first_line_seconds_bucket{le="+Inf"}"#, 6.0),
        (r#"first_line_seconds_bucket{le="300"}"#, 6.0),
    ];
    let wrong: Vec<_> =
        table.iter().filter(|(name, count)| of(name) != *count).map(|(name, _)| (name, of(name))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(of("first_line_seconds_sum") > 0.0);
    let requests: Value = after
        .iter()
        .filter(|(name, _)| name.starts_with("requests_total"))
        .map(|(_, n)| n)
        .sum::<f64>()
        .into();
    assert_eq!(requests, 12.0, "and no others: {after:#?}");
}

#[test]
fn a_failed_connection_is_a_retry_each_time() {
    let closed = crate::proxy::nobody();
    let url = format!("http://{closed}/v1");
    let proxy = Proxy::start(&[("OPENAI_API_BASE_URL", &url), ("MAX_RETRIES", "2")]);
    assert_eq!(proxy.get("/api/tags").status(), 502);
    let metrics = metrics(&proxy);
    assert_eq!(metrics["backend_retries_total"], 2.0);
    assert_eq!(metrics[r#"errors_total{kind="unreachable"}"#], 1.0);
}

#[test]
fn counts_that_are_switched_off_are_not_found() {
    let backend = Backend::hello();
    for name in ["ENABLE_METRICS", "ENABLE_PROMETHEUS_METRICS"] {
        let proxy = Proxy::with(&backend, &[(name, "false")]);
        assert_eq!(proxy.get("/metrics").status(), 404, "{name}");
        assert_eq!(proxy.get("/health").status(), 200);
    }
}

#[test]
fn what_is_passed_through_is_counted_too_and_only_streams_as_streams() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let mut request = chat("q");
    request["stream"] = json!(false);
    assert_eq!(proxy.post("/v1/chat/completions", &request).status(), 200);
    assert_eq!(proxy.get("/v1/models").status(), 200);
    let counts = metrics(&proxy);
    assert_eq!(counts[r#"requests_total{route="/v1/",status="2xx"}"#], 2.0);
    assert_eq!(counts["first_line_seconds_count"], 0.0, "no line, no stream");
    request["stream"] = json!(true);
    assert_eq!(proxy.post("/v1/chat/completions", &request).status(), 200);
    let counts = metrics(&proxy);
    assert_eq!(counts["first_line_seconds_count"], 1.0);
    assert_eq!((counts["streams_in_flight"], counts["requests_in_flight"]), (0.0, 1.0));
}

#[test]
fn nothing_is_in_flight_any_more_after_any_ending() {
    const EMBEDDINGS: &str = r#"{"data":[{"embedding":[1]}"#;
    let reached = Signal::new();
    let tell = Arc::clone(&reached);
    let backend = Backend::new(move |request, peer| {
        let body = request.json();
        let ending = body["model"].as_str().unwrap();
        if ending.starts_with("within") {
            peer.begin();
            if body["messages"].is_array() {
                peer.event(&delta("x"))
            } else {
                peer.chunk(EMBEDDINGS)
            };
        }
        tell.raise();
        match ending {
            "before: the client leaves" | "within: the client leaves" => drop(peer.wait_closed()),
            "before: the backend resets" | "within: the backend resets" => peer.reset(),
            _ => peer.close(),
        }
    });
    let proxy = Proxy::with(&backend, &[("MAX_RETRIES", "0")]);
    let mut requests = 0;
    for path in ["/api/chat", "/api/generate", "/api/embed", "/v1/chat/completions", "/v1/embeddings"] {
        for ending in ["the client leaves", "the backend resets", "the backend closes"] {
            for (when, stream) in [("before", true), ("within", true), ("within", false)] {
                let model = format!("{when}: {ending}");
                let body = match path.contains("embed") {
                    true => json!({"model": model, "input": ["a", "b"]}),
                    false => json!({
                        "model": model, "prompt": "p", "messages": [{"role": "user", "content": "p"}], "stream": stream
                    }),
                };
                let mut client = proxy.client();
                client.post(path, &body);
                requests += 1;
                reached.wait();
                if ending != "the client leaves" {
                    let _whole_or_not = client.try_head().map(|_| client.rest());
                }
            }
        }
    }
    let began = Instant::now();
    loop {
        let now = metrics(&proxy);
        if (now["streams_in_flight"], now["requests_in_flight"]) == (0.0, 1.0) {
            let ended: f64 = now
                .iter()
                .filter(|(name, _)| name.contains("ests_total{") && !name.contains("/metrics"))
                .map(|(_, n)| n)
                .sum();
            return assert_eq!(ended, f64::from(requests), "each is counted once: {now:#?}");
        }
        assert!(began.elapsed() < PATIENCE, "{now:#?}");
        std::thread::yield_now();
    }
}
