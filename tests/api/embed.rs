//! `/api/embed` and `/api/embeddings` over sockets: what the backend is asked, statuses, order and precision, and that a
//! large batch is held once. (Contract 1.3, 1.10, 6.25 and 6.30; dialects M1 to M3, R1 to R3, E8 to E16.)

use crate::backend::{Backend, Request};
use crate::client::Answer;
use crate::proxy::Proxy;
use crate::signal::Signal;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A vector of length 3(n + 1) for the n-th text, the last text's first, as digits or packed as it is asked for.
fn vectors(request: &Request) -> Value {
    let body = request.json();
    let count = body["input"].as_array().map_or(1, Vec::len);
    let vector = |at: usize| [1.0, 2.0, -2.0].map(|x| x * (at + 1) as f32);
    let data: Vec<Value> = (0..count)
        .rev()
        .map(|at| match body["encoding_format"].as_str() {
            Some("base64") => json!({"index": at, "embedding": base64(&vector(at))}),
            _ => json!({"index": at, "embedding": vector(at)}),
        })
        .collect();
    json!({"object": "list", "data": data, "usage": {"prompt_tokens": 7, "total_tokens": 7}})
}

fn backend() -> Backend {
    Backend::new(|request, peer| peer.json(200, &vectors(request)))
}

fn base64(floats: &[f32]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: Vec<u8> = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
    let mut text = String::with_capacity(bytes.len() * 4 / 3 + 4);
    for group in bytes.chunks(3) {
        let word =
            group.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let sextet = (word >> (18 - 6 * place)) as usize & 63;
            text.push(if place <= group.len() { char::from(ALPHABET[sextet]) } else { '=' });
        }
    }
    text
}

fn embed(proxy: &Proxy, input: &Value) -> Answer {
    proxy.post("/api/embed", &json!({"model": "m", "input": input}))
}

/// The status and the text of the error.
fn refused(answer: &Answer) -> (u16, String) {
    (answer.status(), answer.error())
}

fn assert_unit(answer: &Answer, count: usize) {
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let found: Vec<Vec<f64>> = serde_json::from_value(answer.json()["embeddings"].clone()).unwrap();
    assert_eq!(found, vec![vec![1.0 / 3.0, 2.0 / 3.0, -2.0 / 3.0]; count]);
}

#[test]
fn a_list_of_texts_gives_unit_vectors_in_its_order_with_figures() {
    let backend = backend();
    let proxy = Proxy::before(&backend);
    let answer =
        proxy.post("/api/embed", &json!({"model": "M:latest", "input": ["a", "b"], "keep_alive": "5m"}));
    assert_unit(&answer, 2);
    assert_eq!(answer.head.content_type(), "application/json; charset=utf-8");
    assert!(answer.head.header("content-length").is_some(), "what is small has its length");
    let object = answer.json();
    let names: Vec<&String> = object.as_object().unwrap().keys().collect();
    assert_eq!(names, ["model", "embeddings", "total_duration", "load_duration", "prompt_eval_count"]);
    assert_eq!((&object["model"], &object["prompt_eval_count"]), (&json!("M:latest"), &json!(7)));
    assert!(object["total_duration"].as_u64().unwrap() >= object["load_duration"].as_u64().unwrap());
    let sent = backend.wait_for_posts(1);
    assert_eq!(sent.target, "/v1/embeddings");
    assert_eq!(sent.json(), json!({"model": "m", "input": ["a", "b"], "encoding_format": "float"}));
    let log = proxy.wait_for_log("the request", |log| log.contains("path=/api/embed"));
    let said = ["model=M:latest", "status=200", "prompt_tokens=7", "outcome=done"];
    assert!(said.iter().all(|word| log.contains(word)), "{log}");
}

#[test]
fn one_text_is_sent_as_one_and_the_older_endpoint_scales_nothing() {
    let backend = backend();
    let proxy = Proxy::before(&backend);
    assert_unit(&embed(&proxy, &json!("a \u{2028}b")), 1);
    let older = proxy.post("/api/embeddings", &json!({"model": "m", "prompt": "a"}));
    assert_eq!(older.text(), r#"{"embedding":[1.0,2.0,-2.0]}"#);
    let inputs: Vec<Value> = backend.posts().iter().map(|sent| sent.json()["input"].clone()).collect();
    assert_eq!(inputs, [json!("a \u{2028}b"), json!("a")]);
}

#[test]
fn nothing_to_embed_calls_nobody() {
    let backend = backend();
    let proxy = Proxy::before(&backend);
    for input in [json!(""), json!(null), json!([])] {
        let answer = embed(&proxy, &input);
        assert_eq!((answer.status(), &*answer.text()), (200, r#"{"model":"m","embeddings":[]}"#), "{input}");
    }
    let older = proxy.post("/api/embeddings", &json!({"model": "m", "prompt": ""}));
    assert_eq!((older.status(), &*older.text()), (200, r#"{"embedding":[]}"#));
    assert_eq!(backend.seen().requests.len(), 0);
    assert_unit(&embed(&proxy, &json!([""])), 1);
}

#[test]
fn requests_that_are_wrong_are_refused_as_ollama_does() {
    let backend = backend();
    let proxy = Proxy::before(&backend);
    let (embed, older) = ("/api/embed", "/api/embeddings");
    let table: [(&str, Option<&str>, u16, &str); 9] = [
        (embed, None, 400, "missing request body"),
        (older, Some(" "), 400, "missing request body"),
        (embed, Some("{}"), 404, "model '' not found"),
        (embed, Some(r#"{"model":"","input":"a"}"#), 404, "model '' not found"),
        (older, Some("{}"), 400, "model is required"),
        (
            embed,
            Some(r#"{"model":"m","input":[1,2]}"#),
            400,
            "invalid input type: input[0]: expected a string, found number",
        ),
        (older, Some(r#"{"model":"m","prompt":1}"#), 400, "prompt: expected a string, found number"),
        (
            embed,
            Some(r#"{"model":"m","input":"a","images":["eA=="]}"#),
            400,
            "images: only texts can be embedded; leave it out",
        ),
        (
            embed,
            Some(r#"{"model":"m","input":"a"#),
            400,
            "the request body is not valid JSON: unexpected end of JSON input at offset 23",
        ),
    ];
    for (path, body, status, error) in table {
        let answer = proxy.ask("POST", path, &[], body.map(str::as_bytes));
        assert_eq!(refused(&answer), (status, error.to_string()), "{path} {body:?}");
        assert_eq!(answer.head.content_type(), "application/json; charset=utf-8");
    }
    assert_eq!(proxy.get("/api/embed").status(), 405);
    assert_eq!(backend.seen().requests.len(), 0);
}

#[test]
fn refusals_of_the_backend_have_their_statuses() {
    let too_long = r#"{"error":{"message":"This model's maximum context length is 8192 tokens","code":"context_length_exceeded"}}"#;
    let why =
        "the input length exceeds the context length: This model's maximum context length is 8192 tokens";
    let gone = r#"{"error":{"message":"no","code":"model_not_found"}}"#;
    let table: [(u16, &'static str, [u16; 2], &str); 6] = [
        (404, gone, [404, 404], "model \"m\" not found, try pulling it first"),
        (400, too_long, [400, 500], why),
        (429, r#"{"error":{"message":"slow down"}}"#, [429, 429], "slow down"),
        (500, r#"{"error":"boom"}"#, [500, 500], "boom"),
        (401, r#"{"error":"no"}"#, [502, 502], "the backend refused the proxy's key (OPENAI_API_KEY): no"),
        (
            404,
            r#"{"detail":"Not Found"}"#,
            [502, 502],
            "the backend has no such endpoint (404: Not Found); check OPENAI_API_BASE_URL",
        ),
    ];
    for (theirs, body, ours, error) in table {
        let backend = Backend::new(move |_, peer| {
            peer.respond(theirs, &[("content-type", "application/json"), ("retry-after", "7")], body);
        });
        let proxy = Proxy::before(&backend);
        let asked = json!({"model": "m", "input": "a", "truncate": false, "prompt": "a"});
        for (path, status) in ["/api/embed", "/api/embeddings"].into_iter().zip(ours) {
            let answer = proxy.post(path, &asked);
            assert_eq!(refused(&answer), (status, error.to_string()), "{path} {body}");
            if theirs == 429 {
                assert_eq!(answer.head.header("retry-after"), Some("7"));
            }
        }
        assert_eq!(backend.posts().len(), 2, "{body}");
    }
}

#[test]
fn answers_that_are_none_are_502_and_their_connection_is_not_used_again() {
    let said = "the backend sent something that is not an answer: ";
    let cut = "the backend's answer ended before it was complete";
    let table: [(&'static str, u16, String); 10] = [
        (
            r#"{"data":[{"embedding":[1]}]}"#,
            502,
            format!("{said}expected an embedding for each of 2 texts, found 1"),
        ),
        (
            r#"{"data":[{"embedding":[1],"index":0},{"embedding":[1],"index":0}]}"#,
            502,
            format!("{said}there are two embeddings with index 0"),
        ),
        (
            r#"{"data":[{"embedding":[1],"index":2},{"embedding":[1],"index":0}]}"#,
            502,
            format!("{said}data[0].index is 2 of 2 texts"),
        ),
        (
            r#"{"data":[{"embedding":[1]},{"embedding":[1]},{"embedding":[1]}]}"#,
            502,
            format!("{said}expected an embedding for each of 2 texts, found more"),
        ),
        (
            r#"{"data":[{"embedding":[1]},{"embedding":[NaN]}]}"#,
            502,
            format!("{said}data[1]: embedding contains NaN or Inf values"),
        ),
        (r#"{"data":[{"embedding":[1]},{"embe"#, 502, cut.to_string()),
        ("", 502, cut.to_string()),
        (r#"{"object":"list"}"#, 502, format!("{said}it has no `data`")),
        (r#"{"error":{"message":"out of memory","code":503}}"#, 503, "out of memory".to_string()),
        ("<html><title>Oh no</title></html>", 502, "Oh no".to_string()),
    ];
    for (body, status, error) in table {
        let backend = Backend::new(move |_, peer| peer.respond(200, &[], body));
        let proxy = Proxy::before(&backend);
        assert_eq!(refused(&embed(&proxy, &json!(["a", "b"]))), (status, error.clone()), "{body}");
        assert_eq!(refused(&embed(&proxy, &json!(["a", "b"]))), (status, error), "{body}");
        let connections: Vec<usize> = backend.posts().iter().map(|post| post.connection).collect();
        assert_ne!(connections[0], connections[1], "{body}");
    }
}

#[test]
fn a_backend_that_dies_within_its_answer_is_a_502() {
    for resets in [false, true] {
        let backend = Backend::new(move |_, peer| {
            peer.write("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"data\":[{\"embedding\":[1,");
            if resets { peer.reset() } else { peer.close() }
        });
        let proxy = Proxy::before(&backend);
        let expected = (502, "the backend's answer ended before it was complete".to_string());
        assert_eq!(refused(&embed(&proxy, &json!("a"))), expected, "reset: {resets}");
    }
    let proxy = Proxy::start(&[("OPENAI_API_BASE_URL", "http://127.0.0.1:1/v1"), ("MAX_RETRIES", "0")]);
    let (status, error) = refused(&embed(&proxy, &json!("a")));
    assert_eq!(status, 502);
    assert!(error.starts_with("cannot reach the backend: "), "{error}");
}

#[test]
fn an_answer_in_pieces_is_the_same_and_one_without_end_is_not_waited_for() {
    let backend = Backend::new(|request, peer| {
        peer.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        for byte in vectors(request).to_string().bytes() {
            peer.chunk([byte]);
        }
        if request.json()["input"] == json!("endless") {
            // Its answer is whole, and the body never ends.
            peer.wait_closed();
            return;
        }
        peer.write("0\r\n\r\n");
    });
    let proxy = Proxy::before(&backend);
    assert_unit(&embed(&proxy, &json!(["a", "b", "c"])), 3);
    assert_unit(&embed(&proxy, &json!("endless")), 1);
    backend.wait_closed(backend.posts()[1].connection);
}

#[test]
fn a_parameter_that_the_backend_refuses_is_left_out_and_that_is_remembered() {
    let table = [
        ("encoding_format", r#"{"error":{"message":"Unrecognized request argument: encoding_format"}}"#),
        (
            "dimensions",
            r#"{"error":{"message":"Model \"m\" does not support matryoshka representation, changing output dimensions will lead to poor results."}}"#,
        ),
        ("dimensions", r#"{"error":{"message":"Invalid value for 'dimensions' = 2. Must be at least 3."}}"#),
        (
            "truncate_prompt_tokens",
            r#"{"detail":[{"type":"extra_forbidden","loc":["body","truncate_prompt_tokens"],"msg":"Extra inputs are not permitted"}]}"#,
        ),
    ];
    for (name, error) in table {
        let backend = Backend::new(move |request: &Request, peer| match request.json().get(name) {
            Some(_) => peer.json(400, &serde_json::from_str(error).unwrap()),
            None => peer.json(200, &vectors(request)),
        });
        let proxy = Proxy::with(&backend, &[("BACKEND_PROFILE", "vllm")]);
        for _ in 0..2 {
            let answer =
                proxy.post("/api/embed", &json!({"model": "m", "input": ["a", "b"], "dimensions": 2}));
            let found: Vec<Vec<f64>> = serde_json::from_value(answer.json()["embeddings"].clone()).unwrap();
            // It answers three numbers whatever it is asked for: they are cut here, and of unit length again.
            let unit = [1.0 / 5_f64.sqrt(), 2.0 / 5_f64.sqrt()];
            assert!(
                found.iter().flatten().zip(unit.repeat(2)).all(|(a, b)| (a - b).abs() < 1e-12),
                "{found:?}"
            );
            assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
        }
        let has: Vec<bool> = backend.posts().iter().map(|post| post.json().get(name).is_some()).collect();
        assert_eq!(has, [true, false, false], "{error}");
        let (with, without) = (backend.posts()[0].json(), backend.posts()[1].json());
        let mut expected = with.clone();
        expected.as_object_mut().unwrap().remove(name);
        assert_eq!(without, expected, "nothing else is left out");
    }
}

#[test]
fn packed_vectors_are_asked_for_where_the_vendor_does_and_taken_from_everyone() {
    let backend = backend();
    let proxy = Proxy::with(&backend, &[("BACKEND_PROFILE", "openai")]);
    assert_unit(&embed(&proxy, &json!(["a", "b"])), 2);
    assert_eq!(backend.wait_for_posts(1).json()["encoding_format"], "base64");
    let older = proxy.post("/api/embeddings", &json!({"model": "m", "prompt": "a"}));
    assert_eq!(older.text(), r#"{"embedding":[1,2,-2]}"#);

    let stubborn = Backend::new(|_, peer| {
        peer.json(200, &json!({"data": [{"index": 0, "embedding": base64(&[3.0, -4.0])}]}));
    });
    let proxy = Proxy::before(&stubborn);
    let answer = embed(&proxy, &json!("a"));
    assert_eq!(answer.json()["embeddings"], json!([[0.6, -0.8]]));
    assert_eq!(answer.json()["prompt_eval_count"], 0, "some clients need the member");
}

#[test]
fn a_silent_backend_is_a_504() {
    let never = Signal::new();
    let wait = Arc::clone(&never);
    let backend = Backend::new(move |_, peer| {
        peer.write("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"data\":[");
        wait.wait();
    });
    let proxy = Proxy::with(&backend, &[("REQUEST_TIMEOUT", "1")]);
    let expected = (504, "the backend sent nothing for 1 s (REQUEST_TIMEOUT)".to_string());
    assert_eq!(refused(&embed(&proxy, &json!("a"))), expected);
    never.raise();
}

#[test]
fn a_request_that_waits_is_told_when_the_proxy_stops() {
    let never = Signal::new();
    let wait = Arc::clone(&never);
    let backend = Backend::new(move |_, peer| {
        peer.write("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"data\":[");
        wait.wait();
    });
    let mut proxy = Proxy::with(&backend, &[("SHUTDOWN_GRACE", "0.2")]);
    let mut client = proxy.client();
    client.post("/api/embed", &json!({"model": "m", "input": "a"}));
    backend.wait_for_posts(1);
    proxy.signal("TERM");
    let expected = (503, "the proxy is stopping; the answer is cut off".to_string());
    assert_eq!(refused(&client.answer()), expected);
    assert_eq!(proxy.wait_exit().code(), Some(0));
    never.raise();
}

#[test]
fn a_client_that_leaves_ends_the_backends_request() {
    let there = Signal::new();
    let tell = Arc::clone(&there);
    let backend = Backend::new(move |_, peer| {
        peer.write("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"data\":[");
        tell.raise();
        peer.wait_closed();
    });
    let proxy = Proxy::before(&backend);
    let mut client = proxy.client();
    client.post("/api/embed", &json!({"model": "m", "input": "a"}));
    there.wait();
    let left = Instant::now();
    drop(client);
    let took = backend.wait_closed(backend.posts()[0].connection).saturating_duration_since(left);
    assert!(took < Duration::from_secs(1), "{took:?}");
    proxy.wait_for_log("the cancelled request", |log| log.contains("outcome=cancelled"));
}

#[test]
fn a_backend_that_never_ends_a_vector_is_left() {
    let backend = Backend::new(|_, peer| {
        peer.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        peer.chunk("{\"data\":[{\"embedding\":[0");
        while peer.chunk(",0.125".repeat(1000)) {}
    });
    let proxy = Proxy::before(&backend);
    assert_eq!(proxy.get("/").status(), 200);
    let before = proxy.peak_rss_kib();
    let expected = (502, "the backend sent more than 1048576 bytes in one embedding".to_string());
    assert_eq!(refused(&embed(&proxy, &json!("a"))), expected);
    let grown = proxy.peak_rss_kib() - before;
    assert!(grown < 6 << 10, "{grown} KiB");
}

const TEXTS: usize = 256;
const DIMENSIONS: usize = 3072;

/// Unit vectors of 32-bit floats.
fn batch() -> Vec<Vec<f32>> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1 << 23) - 1.0
    };
    let row = |numbers: Vec<f64>| {
        let norm = numbers.iter().map(|x| x * x).sum::<f64>().sqrt();
        numbers.iter().map(|x| (x / norm) as f32).collect()
    };
    (0..TEXTS).map(|_| row((0..DIMENSIONS).map(|_| next()).collect())).collect()
}

/// The last vector first, as a backend would send it: digits or packed.
fn batch_body(rows: &[Vec<f32>], is_packed: bool) -> String {
    let mut body = String::from("{\"object\":\"list\",\"data\":[");
    for (index, row) in rows.iter().enumerate().rev() {
        let digits = || format!("[{}]", row.iter().map(f32::to_string).collect::<Vec<_>>().join(","));
        let vector = if is_packed { format!("\"{}\"", base64(row)) } else { digits() };
        body += &format!("{{\"object\":\"embedding\",\"index\":{index},\"embedding\":{vector}}}");
        body += if index == 0 { "]" } else { "," };
    }
    body + ",\"usage\":{\"prompt_tokens\":512,\"total_tokens\":512}}"
}

/// The numbers of the answer, without a tree of them.
fn bits(answer: &str) -> Vec<Vec<u32>> {
    let (_, rest) = answer.split_once("\"embeddings\":[[").unwrap();
    let (rows, _) = rest.split_once("]]").unwrap();
    let bits = |number: &str| number.parse::<f32>().unwrap().to_bits();
    rows.split("],[").map(|row| row.split(',').map(bits).collect()).collect()
}

#[test]
fn a_large_batch_is_held_once_and_loses_no_bit() {
    let rows = batch();
    let expected: Vec<Vec<u32>> =
        rows.iter().map(|row| row.iter().map(|float| float.to_bits()).collect()).collect();
    let input = json!(vec!["text"; TEXTS]);
    for is_packed in [false, true] {
        let body = batch_body(&rows, is_packed);
        let (bytes, body) = (body.len(), Arc::new(body));
        let backend = Backend::new(move |request: &Request, peer| {
            if request.json()["input"] == "warm" {
                peer.json(200, &vectors(request))
            } else {
                peer.respond(200, &[], body.as_bytes())
            }
        });
        let proxy = Proxy::before(&backend);
        assert_unit(&embed(&proxy, &json!("warm")), 1);
        let before = proxy.peak_rss_kib();
        let answer = embed(&proxy, &input);
        let grown = ((proxy.peak_rss_kib() - before) << 10) as usize;
        assert_eq!(answer.head.header("transfer-encoding"), Some("chunked"));
        assert!(bits(&answer.text()) == expected, "packed: {is_packed}");
        assert!(answer.text().ends_with(r#""prompt_eval_count":512}"#));
        // Once, and some buffers: twice would be twice.
        let most = bytes + bytes / 4 + (2 << 20);
        assert!(grown < most, "packed: {is_packed}: {grown} bytes for an answer of {bytes}");
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_vectors_costs_nothing_more() {
    let body = Arc::new(batch_body(&batch(), true));
    let backend = Backend::new(move |_, peer| peer.respond(200, &[], body.as_bytes()));
    let proxy = Proxy::before(&backend);
    let mut client = proxy.client();
    client.post("/api/embed", &json!({"model": "m", "input": vec!["text"; TEXTS]}));
    assert_eq!(client.head().status, 200);
    assert!(client.chunk().unwrap().is_some());
    drop(client);
    proxy.wait_for_log("the cancelled request", |log| log.contains("outcome=cancelled"));
    assert_eq!(proxy.get("/").status(), 200);
}

#[test]
fn a_client_that_does_not_read_its_vectors_holds_neither_the_process_nor_the_backend() {
    // Twice as long as the unit and twice as many: scaled, more than 30 MB, which no pair of socket buffers takes.
    let doubled = batch().iter().map(|row| row.iter().map(|x| x * 2.0).collect()).collect::<Vec<_>>();
    let body = Arc::new(batch_body(&[&doubled[..], &doubled].concat(), true));
    let backend = Backend::new(move |request: &Request, peer| match request.json()["input"].as_str() {
        Some(_) => peer.json(200, &vectors(request)),
        None => peer.respond(200, &[], body.as_bytes()),
    });
    let mut proxy = Proxy::with(&backend, &[("SHUTDOWN_GRACE", "0.2")]);
    let mut client = proxy.client();
    client.post("/api/embed", &json!({"model": "m", "input": vec!["text"; 2 * TEXTS]}));
    assert_eq!(client.head().status, 200);
    // The backend's connection is free again while the client waits: its answer was read to the end.
    assert_unit(&embed(&proxy, &json!("a")), 1);
    let connections: Vec<usize> = backend.posts().iter().map(|post| post.connection).collect();
    assert_eq!(connections[0], connections[1]);
    proxy.signal("TERM");
    assert_eq!(proxy.wait_exit().code(), Some(0), "{}", proxy.log());
    assert!(client.rest().is_err(), "what was cut off must not look whole");
}
