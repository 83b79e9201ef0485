//! `/api/ps` (contract 1.6, 2.7, 3.5): the models that were used through this proxy, each until its `keep_alive` is over.

use crate::backend::{Backend, Peer, Request};
use crate::chunks::{delta, finish, model_list, role};
use crate::proxy::{Proxy, chat};
use crate::signal::{PATIENCE, Signal};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A year without leap days, in seconds.
const YEAR: u64 = 365 * 86_400;

/// Two models that talk and one that embeds.
fn backend() -> Backend {
    let list = json!({"object": "list", "data": [
        {"id": "GPT-4o", "created": 1, "owned_by": "someone", "max_model_len": 8192}, {"id": "b"}, {"id": "bge-m3"},
    ]});
    let script = |request: &Request, peer: &mut Peer| match request.target.as_str() {
        "/v1/embeddings" => peer.json(200, &json!({"data": [{"index": 0, "embedding": [1.0]}]})),
        _ if request.prompt() == "refuse" => peer.json(500, &json!({"error": {"message": "no"}})),
        _ => peer.say(request, &["Hello"]),
    };
    Backend::with_models(move |_, peer| peer.json(200, &list), script)
}

fn models(proxy: &Proxy, headers: &[(&str, &str)]) -> Vec<Value> {
    let ps = proxy.ask("GET", "/api/ps", headers, None).json();
    ps["models"].as_array().unwrap().clone()
}

fn names(proxy: &Proxy, headers: &[(&str, &str)]) -> Vec<String> {
    models(proxy, headers).iter().map(|model| model["name"].as_str().unwrap().to_string()).collect()
}

fn chat_with(model: &str, keep_alive: Option<Value>) -> Value {
    let mut request = chat("q");
    request["model"] = json!(model);
    if let Some(keep_alive) = keep_alive {
        request["keep_alive"] = keep_alive;
    }
    request
}

/// Seconds since 1970 of `2026-11-25T03:25:26.123456+00:00`, which is the one form that Python 3.10 reads.
fn seconds(expires_at: &Value) -> u64 {
    let text = expires_at.as_str().unwrap();
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000000+00:00", "{text}");
    let number = |range: std::ops::Range<usize>| text[range].parse::<u64>().unwrap();
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let february = if is_leap(year) { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let days = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum::<u64>()
        + months.iter().take(month as usize - 1).sum::<u64>()
        + day
        - 1;
    days * 86_400 + number(11..13) * 3600 + number(14..16) * 60 + number(17..19)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn a_model_that_answered_is_shown_with_its_facts_under_its_name_in_the_list() {
    let backend = backend();
    let proxy = Proxy::before(&backend);
    assert_eq!(proxy.get("/api/ps").text(), r#"{"models":[]}"#);
    assert_eq!(proxy.post("/api/chat", &chat_with("gpt-4O", None)).status(), 200);
    let shown = models(&proxy, &[]);
    assert_eq!(shown.len(), 1, "{shown:?}");
    let keys = ["name", "model", "size", "digest", "details", "expires_at", "size_vram", "context_length"];
    assert_eq!(shown[0].as_object().unwrap().keys().collect::<Vec<_>>(), keys, "their order is Ollama's");
    let tags = proxy.get("/api/tags").json();
    let listed =
        tags["models"].as_array().unwrap().iter().find(|model| model["name"] == "GPT-4o:latest").unwrap();
    for fact in ["name", "model", "digest"] {
        assert_eq!(shown[0][fact], listed[fact], "{fact}");
    }
    assert_eq!(shown[0]["details"]["family"], "someone");
    assert_eq!(shown[0]["context_length"], 8192);
    assert_eq!((&shown[0]["size"], &shown[0]["size_vram"]), (&json!(0), &json!(0)));
    let gets = backend.seen().requests.iter().filter(|request| request.method == "GET").count();
    assert_eq!(gets, 1, "the backend is not asked for it");
}

#[test]
fn keep_alive_says_until_when() {
    let (backend, forever) = (backend(), 292 * YEAR);
    let table = [
        (None, None, Some((300, 300))),
        (None, Some(json!("90s")), Some((90, 90))),
        (None, Some(json!(7200)), Some((7200, 7200))),
        (None, Some(json!("1h30m")), Some((5400, 5400))),
        (None, Some(json!(-1)), Some((forever, forever + YEAR))),
        (None, Some(json!("-1m")), Some((forever, forever + YEAR))),
        (None, Some(json!(0)), None),
        (Some("1h"), None, Some((3600, 3600))),
        (Some("-1"), None, Some((forever, forever + YEAR))),
        (Some("1h"), Some(json!("10m")), Some((600, 600))),
        (Some("0"), None, None),
    ];
    for (setting, keep_alive, expected) in table {
        let what = format!("{setting:?} {keep_alive:?}");
        let variables = setting.map(|setting| ("OLLAMA_KEEP_ALIVE", setting));
        let proxy = Proxy::with(&backend, variables.as_slice());
        let before = now();
        let mut request = chat_with("b", keep_alive);
        request["stream"] = json!(false);
        assert_eq!(proxy.post("/api/chat", &request).status(), 200, "{what}");
        let shown = models(&proxy, &[]);
        let Some((least, most)) = expected else {
            assert_eq!(shown, [json!(null); 0], "{what}");
            continue;
        };
        let expires_at = seconds(&shown[0]["expires_at"]);
        // To the second below and above: what is asked for lies between two looks at the clock.
        assert!((before + least - 1..=now() + most + 1).contains(&expires_at), "{what}: {expires_at}");
    }
}

#[test]
fn every_endpoint_that_uses_a_model_shows_it_and_a_refused_question_does_not() {
    let backend = backend();
    let table = [
        ("/api/generate", json!({"model": "b", "prompt": "q"}), "b:latest"),
        ("/api/embed", json!({"model": "bge-m3", "input": "q"}), "bge-m3:latest"),
        ("/api/embed", json!({"model": "bge-m3", "input": []}), "bge-m3:latest"),
        ("/api/embeddings", json!({"model": "bge-m3", "prompt": "q"}), "bge-m3:latest"),
        ("/v1/chat/completions", chat_with("b:latest", None), "b:latest"),
        // To load a model asks no backend.
        ("/api/generate", json!({"model": "b"}), "b:latest"),
        ("/api/chat", json!({"model": "b", "messages": []}), "b:latest"),
        // The backend has it, whatever it lists.
        ("/api/chat", chat_with("unlisted", None), "unlisted:latest"),
        ("/api/chat", json!({"model": "b", "messages": [{"role": "user", "content": "refuse"}]}), ""),
        (
            "/v1/chat/completions",
            json!({"model": "b", "messages": [{"role": "user", "content": "refuse"}]}),
            "",
        ),
    ];
    for (path, request, name) in table {
        let proxy = Proxy::before(&backend);
        assert_eq!(proxy.get("/api/tags").status(), 200);
        proxy.post(path, &request);
        assert_eq!(names(&proxy, &[]).join(" "), name, "{path} {request}");
    }
    let proxy = Proxy::before(&backend);
    assert_eq!(proxy.get("/api/tags").status(), 200);
    assert_eq!(proxy.post("/api/generate", &json!({"model": "unlisted"})).status(), 200);
    assert_eq!(names(&proxy, &[]), [""; 0], "to load what the backend does not list shows nothing");
}

#[test]
fn the_latest_expiry_is_the_first_and_unload_takes_a_model_away() {
    let backend = backend();
    let proxy = Proxy::before(&backend);
    for (model, keep_alive) in [("b", "10m"), ("GPT-4o", "20m"), ("bge-m3", "5m")] {
        let body = json!({"model": model, "keep_alive": keep_alive});
        assert_eq!(proxy.post("/api/generate", &body).status(), 200);
    }
    assert_eq!(names(&proxy, &[]), ["GPT-4o:latest", "b:latest", "bge-m3:latest"]);
    let unload = proxy.post("/api/generate", &json!({"model": "b:latest", "keep_alive": "0s"})).json();
    assert_eq!(unload["done_reason"], "unload");
    assert_eq!(names(&proxy, &[]), ["GPT-4o:latest", "bge-m3:latest"]);
    let began = Instant::now();
    proxy.post("/api/generate", &json!({"model": "GPT-4o", "keep_alive": "1ms"}));
    while names(&proxy, &[]) != ["bge-m3:latest"] {
        assert!(began.elapsed() < PATIENCE, "a model is shown when its time is over");
        std::thread::yield_now();
    }
}

#[test]
fn a_model_is_shown_while_it_answers_however_short_it_is_kept() {
    let (go_on, said) = (Signal::new(), Signal::new());
    let (wait, tell) = (Arc::clone(&go_on), Arc::clone(&said));
    let backend = Backend::with_models(
        |_, peer| peer.json(200, &model_list(&["m"])),
        move |_, peer| {
            peer.begin();
            peer.event(&role());
            peer.event(&delta("Hi"));
            tell.raise();
            wait.wait();
            peer.event(&finish("stop"));
            peer.done();
        },
    );
    let proxy = Proxy::before(&backend);
    let mut client = proxy.client();
    client.post("/api/chat", &chat_with("m", Some(json!(0))));
    said.wait();
    assert_eq!(client.json_line_after_head()["message"]["content"], "Hi");
    assert_eq!(names(&proxy, &[]), ["m:latest"]);
    go_on.raise();
    client.rest().unwrap();
    let began = Instant::now();
    while !names(&proxy, &[]).is_empty() {
        assert!(began.elapsed() < PATIENCE, "it is never unloaded");
        std::thread::yield_now();
    }
}

#[test]
fn a_client_sees_what_its_own_key_used() {
    let backend = backend();
    let (a, b) = ([("Authorization", "Bearer a")], [("Authorization", "Bearer b")]);
    let proxy = Proxy::before(&backend);
    let request = chat_with("b", None).to_string();
    assert_eq!(proxy.ask("POST", "/api/chat", &a, Some(request.as_bytes())).status(), 200);
    assert_eq!(
        (names(&proxy, &a), names(&proxy, &b), names(&proxy, &[])),
        (vec!["b:latest".into()], vec![], vec![])
    );
    // With a key of the proxy's own all clients are one to the backend.
    let proxy = Proxy::with(&backend, &[("OPENAI_API_KEY", "sk-x")]);
    assert_eq!(proxy.ask("POST", "/api/chat", &a, Some(request.as_bytes())).status(), 200);
    assert_eq!(names(&proxy, &b), ["b:latest"]);
}

#[test]
fn an_alias_is_shown_as_it_is_listed_and_an_unknown_name_as_the_default_model() {
    let path = std::env::temp_dir().join(format!("api-ps-{}.json", std::process::id()));
    std::fs::write(&path, r#"{"model_mappings": {"llama3": "GPT-4o"}, "default_model": "b"}"#).unwrap();
    let backend = backend();
    let proxy = Proxy::with(&backend, &[("MODEL_MAPPING_FILE", path.to_str().unwrap())]);
    assert_eq!(proxy.post("/api/chat", &chat_with("LLAMA3", None)).status(), 200);
    assert_eq!(proxy.post("/api/chat", &chat_with("whatever", None)).status(), 200);
    std::fs::remove_file(path).unwrap();
    let mut shown = names(&proxy, &[]);
    shown.sort_unstable();
    assert_eq!(shown, ["b:latest", "llama3:latest"]);
}
