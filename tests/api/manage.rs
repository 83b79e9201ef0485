//! What is about having models, and about Ollama's account and cloud (contract 1.4, 1.11, 1.12): a pull of what the
//! backend has succeeds, everything else is refused in words, nothing is said to be done that is not.

use crate::backend::Backend;
use crate::chunks::model_list;
use crate::proxy::Proxy;
use serde_json::{Value, json};

const JSON: &str = "application/json; charset=utf-8";

fn listing(list: Value) -> Backend {
    Backend::with_models(move |_, peer| peer.json(200, &list), |request, peer| peer.say(request, &["Hi"]))
}

#[test]
fn a_pull_of_what_the_backend_has_succeeds_with_ollamas_lines() {
    let backend = listing(model_list(&["GPT-4o", "qwen3:8b"]));
    let proxy = Proxy::before(&backend);
    for body in [
        json!({"model": "gpt-4o"}),
        json!({"name": "GPT-4o:latest", "insecure": false}),
        json!({"model": "", "name": "qwen3:8b", "username": "", "password": ""}),
    ] {
        let answer = proxy.post("/api/pull", &body);
        assert_eq!((answer.status(), answer.head.content_type()), (200, "application/x-ndjson"), "{body}");
        assert_eq!(answer.text(), "{\"status\":\"pulling manifest\"}\n{\"status\":\"success\"}\n", "{body}");
    }
    let whole = proxy.post("/api/pull", &json!({"model": "gpt-4o", "stream": false}));
    assert_eq!((whole.status(), whole.head.content_type()), (200, JSON));
    assert_eq!(whole.text(), r#"{"status":"success"}"#);
    assert_eq!(backend.posts().len(), 0, "a pull asks nothing of the backend but its list");
}

#[test]
fn a_pull_of_an_unknown_model_fails_inside_the_stream_and_with_500_without_one() {
    let backend = listing(model_list(&["m"]));
    let proxy = Proxy::before(&backend);
    let words = "pull model manifest: file does not exist";
    let answer = proxy.post("/api/pull", &json!({"model": "nope"}));
    assert_eq!((answer.status(), answer.head.content_type()), (200, "application/x-ndjson"));
    assert_eq!(answer.lines(), [json!({"status": "pulling manifest"}), json!({"error": words})]);
    let whole = proxy.post("/api/pull", &json!({"model": "nope", "stream": false}));
    assert_eq!((whole.status(), whole.error()), (500, words.to_string()));
    // Its status is 200, but the log says what became of it.
    proxy.wait_for_log("two failed pulls", |log| log.matches(words).count() == 2);
}

#[test]
fn a_pull_succeeds_where_there_is_no_list_and_says_why_it_cannot_tell() {
    let backend = Backend::with_models(
        |_, peer| peer.json(404, &json!({"detail": "Not Found"})),
        |request, peer| peer.say(request, &["Hi"]),
    );
    let proxy = Proxy::before(&backend);
    let answer = proxy.post("/api/pull", &json!({"model": "any"}));
    assert_eq!(answer.lines()[1], json!({"status": "success"}), "it has no list, yet may have the model");
    let refusing = Backend::with_models(|_, peer| peer.respond(500, &[], "boom"), |_, _| {});
    let answer = Proxy::before(&refusing).post("/api/pull", &json!({"model": "any"}));
    assert_eq!(answer.lines()[1], json!({"error": "boom"}));
}

#[test]
fn what_only_the_backend_can_do_is_refused_after_ollamas_own_checks() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let refusal =
        |what: &str| format!("{what} is not supported by this proxy: the models are the backend's own");
    let table = [
        ("POST", "/api/push", r#"{"model":"m"}"#, 501, refusal("pushing a model")),
        ("POST", "/api/push", "{}", 400, "model is required".to_string()),
        ("POST", "/api/create", r#"{"model":"m","from":"n"}"#, 501, refusal("creating a model")),
        ("POST", "/api/create", "", 400, "missing request body".to_string()),
        ("POST", "/api/copy", r#"{"source":"m","destination":"n"}"#, 501, refusal("copying a model")),
        (
            "POST",
            "/api/copy",
            r#"{"source":"","destination":"n"}"#,
            400,
            r#"source "" is invalid"#.to_string(),
        ),
        ("DELETE", "/api/delete", r#"{"name":"m"}"#, 501, refusal("deleting a model")),
        ("DELETE", "/api/delete", "{}", 400, "model is required".to_string()),
        ("POST", "/api/pull", "{}", 400, "invalid model name".to_string()),
        ("POST", "/api/blobs/sha256:00", "GGUF", 501, refusal("storing a blob")),
        ("POST", "/api/me", "", 401, "unauthorized".to_string()),
        ("POST", "/api/signout", "", 401, "you are not currently signed in".to_string()),
        ("DELETE", "/api/user/keys/c3No", "", 401, "you are not currently signed in".to_string()),
        (
            "POST",
            "/api/experimental/web_search",
            r#"{"query":"q"}"#,
            403,
            "ollama cloud is disabled: web search is unavailable".to_string(),
        ),
        (
            "POST",
            "/api/experimental/web_fetch",
            r#"{"url":"http://127.0.0.1:9"}"#,
            403,
            "ollama cloud is disabled: web fetch is unavailable".to_string(),
        ),
        ("POST", "/api/experimental/web_fetch", "", 400, "missing request body".to_string()),
    ];
    for (method, path, body, status, words) in table {
        let answer = proxy.ask(method, path, &[], Some(body.as_bytes()));
        assert_eq!((answer.status(), answer.error()), (status, words), "{method} {path} {body}");
        assert_eq!(answer.head.content_type(), JSON, "{method} {path}");
        assert_eq!(answer.json().as_object().unwrap().len(), 1, "no sign-in address: there is none");
    }
    let head = proxy.ask("HEAD", "/api/blobs/sha256:00", &[], None);
    assert_eq!((head.status(), head.body.len()), (501, 0));
    assert_eq!(backend.seen().requests.len(), 0, "none of it is the backend's business");
}

#[test]
fn the_cloud_is_off_and_nothing_is_recommended() {
    let proxy = Proxy::before(&Backend::hello());
    for (path, body) in [
        ("/api/status", r#"{"cloud":{"disabled":true,"source":"config"}}"#),
        ("/api/experimental/model-recommendations", r#"{"recommendations":[]}"#),
    ] {
        let answer = proxy.get(path);
        assert_eq!((answer.status(), answer.head.content_type()), (200, JSON), "{path}");
        assert_eq!(answer.text(), body);
        assert_eq!(proxy.ask("HEAD", path, &[], None).status(), 405, "{path}");
    }
}
