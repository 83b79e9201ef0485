//! The model map in a running proxy: what it says of models is told, and SIGHUP reads it again.

use crate::backend::{Backend, Peer, Request};
use crate::chunks::{delta, finish, model_list, role, usage};
use crate::proxy::{Proxy, chat};
use crate::signal::Signal;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

/// A file that is gone when the test is over.
pub(crate) struct Map(PathBuf);

impl Map {
    pub(crate) fn new(name: &str, map: &Value) -> Self {
        let path = std::env::temp_dir().join(format!("api-map-{}-{name}.json", std::process::id()));
        let file = Map(path);
        file.write(&map.to_string());
        file
    }

    pub(crate) fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }

    pub(crate) fn variable(&self) -> (&'static str, &str) {
        ("MODEL_MAPPING_FILE", self.0.to_str().unwrap())
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn hello(request: &Request, peer: &mut Peer) {
    peer.say(request, &["Hello"]);
}

fn listing(list: Value) -> Backend {
    Backend::with_models(move |_, peer| peer.json(200, &list), hello)
}

fn names(proxy: &Proxy) -> Vec<String> {
    let tags = proxy.get("/api/tags").json();
    let models = tags["models"].as_array().unwrap();
    models.iter().map(|model| model["name"].as_str().unwrap().to_string()).collect()
}

fn model_sent(proxy: &Proxy, backend: &Backend, name: &str) -> String {
    let mut request = chat("q");
    request["model"] = json!(name);
    assert_eq!(proxy.post("/api/chat", &request).status(), 200);
    backend.posts().pop().unwrap().json()["model"].as_str().unwrap().to_string()
}

#[test]
fn facts_by_glob_are_shown_and_the_settings_beat_the_map() {
    let map = Map::new(
        "facts",
        &json!({"fast": "gpt-4o", "models": {
            "gpt-*": {"capabilities": ["vision"], "context_length": 128_000, "family": "gpt"},
            "gpt-4o": {"capabilities": ["tools", "vision"]},
            "bge-*": {"capabilities": ["embedding"], "embedding_length": 1024, "parameter_size": "335M", "quantization_level": "F16"},
        }}),
    );
    let list = json!({"data": [{"id": "gpt-4o", "max_model_len": 5}, {"id": "gpt-x"}, {"id": "bge-m3"}, {"id": "o3"}]});
    let backend = listing(list);
    let variables =
        [map.variable(), ("OLLAMA_CONTEXT_LENGTH", "4096,gpt-4o=200000"), ("CAPABILITIES", "o3=thinking")];
    let proxy = Proxy::with(&backend, &variables);
    let table = [
        ("gpt-4o", json!(["completion", "tools", "vision"]), json!(200_000)),
        ("fast:latest", json!(["completion", "tools", "vision"]), json!(200_000)),
        ("gpt-x", json!(["completion", "vision"]), json!(128_000)),
        ("bge-m3", json!(["embedding"]), json!(4096)),
        ("o3", json!(["completion", "thinking"]), json!(4096)),
    ];
    for (name, capabilities, context_length) in table {
        let shown = proxy.post("/api/show", &json!({"model": name})).json();
        assert_eq!(shown["capabilities"], capabilities, "{name}");
        assert_eq!(shown["model_info"]["openai.context_length"], context_length, "{name}");
    }
    let shown = proxy.post("/api/show", &json!({"model": "bge-m3"})).json();
    assert_eq!(shown["model_info"]["openai.embedding_length"], 1024);
    assert_eq!(
        (&shown["details"]["parameter_size"], &shown["details"]["quantization_level"]),
        (&json!("335M"), &json!("F16"))
    );
}

#[test]
fn what_is_told_of_a_name_is_true_of_the_model_that_answers_for_it() {
    let aliases = json!({"small": "large", "llama3": "large", "nested": "llama3"});
    let map = Map::new("answers", &json!({"model_mappings": aliases, "default_model": "large"}));
    let backend =
        listing(json!({"data": [{"id": "small", "max_model_len": 5}, {"id": "large", "max_model_len": 9}]}));
    let proxy = Proxy::with(&backend, &[map.variable()]);
    let tags = proxy.get("/api/tags").json();
    for name in ["small", "Small:latest", "llama3", "large", "whatever:7b"] {
        assert_eq!(model_sent(&proxy, &backend, name), "large", "{name}");
        let shown = proxy.post("/api/show", &json!({"model": name})).json();
        assert_eq!(shown["model_info"]["openai.context_length"], 9, "{name}: {shown}");
        let mut listed = tags["models"].as_array().unwrap().iter();
        if let Some(entry) = listed.find(|entry| entry["name"] == format!("{name}:latest")) {
            assert_eq!(entry["details"]["context_length"], 9, "{name}: {entry}");
        }
    }
    assert_eq!(tags["models"].as_array().unwrap().len(), 4, "{tags}");
}

#[test]
fn globs_choose_what_is_listed_and_forbid_nothing() {
    let ids = ["openai/gpt-4o", "openai/tts-1", "a/b:free", "a/b"];
    let backend = listing(model_list(&ids));
    let variables =
        [("MODELS_INCLUDE", "openai/*, *:free"), ("MODELS_EXCLUDE", r#"["*/tts-*"]"#), ("MODELS", "mine")];
    let proxy = Proxy::with(&backend, &variables);
    let mut listed = names(&proxy);
    listed.sort_unstable();
    assert_eq!(listed, ["a/b:free", "mine:latest", "openai/gpt-4o:latest"]);
    assert_eq!(model_sent(&proxy, &backend, "OpenAI/TTS-1:latest"), "openai/tts-1");
    assert_eq!(proxy.post("/api/show", &json!({"model": "a/b"})).status(), 200);
}

#[test]
fn sighup_reads_the_map_again_and_drops_no_stream() {
    let (go_on, said) = (Signal::new(), Signal::new());
    let (wait, tell) = (Arc::clone(&go_on), Arc::clone(&said));
    let backend = Backend::with_models(
        |_, peer| peer.json(200, &model_list(&["old", "new"])),
        move |request, peer| {
            if request.prompt() != "long" {
                return hello(request, peer);
            }
            peer.begin();
            peer.event(&role());
            peer.event(&delta("before"));
            tell.raise();
            wait.wait();
            peer.event(&delta(" after"));
            peer.event(&finish("stop"));
            peer.event(&usage());
            peer.done();
        },
    );
    let map = Map::new("hup", &json!({"alias": "old"}));
    let proxy = Proxy::with(&backend, &[map.variable()]);
    assert_eq!(names(&proxy), ["old:latest", "alias:latest", "new:latest"]);
    let mut client = proxy.client();
    client.post("/api/chat", &chat("long"));
    said.wait();
    assert_eq!(client.json_line_after_head()["message"]["content"], "before");

    map.write(
        r#"{"model_mappings": {"alias": "new", "second": "old"}, "models": {"new": {"context_length": 77}}}"#,
    );
    proxy.signal("HUP");
    proxy.wait_for_log("the new map", |log| log.contains("the model map was read again"));
    assert_eq!(model_sent(&proxy, &backend, "alias"), "new");
    assert!(names(&proxy).contains(&"second:latest".to_string()), "the list that is known has it too");
    let shown = proxy.post("/api/show", &json!({"model": "alias"})).json();
    assert_eq!(shown["model_info"]["openai.context_length"], 77);

    map.write(r#"{"alias": 5}"#);
    proxy.signal("HUP");
    let log = proxy.wait_for_log("the refusal", |log| log.contains("the model map is refused"));
    assert!(
        log.contains("and the one before it stays") && log.contains("a model name under \"alias\""),
        "{log}"
    );
    assert_eq!(model_sent(&proxy, &backend, "alias"), "new");

    go_on.raise();
    let rest = client.rest().unwrap();
    let rest = String::from_utf8_lossy(&rest).into_owned();
    assert!(rest.contains(" after") && rest.contains("\"done\":true"), "{rest}");
    let gets = backend.seen().requests.iter().filter(|request| request.method == "GET").count();
    assert_eq!(gets, 1, "the backend was not asked for it");
}

#[test]
fn a_map_that_became_a_pipe_is_refused_and_nothing_waits_for_it() {
    let backend = listing(model_list(&["old"]));
    let map = Map::new("pipe", &json!({"alias": "old"}));
    let proxy = Proxy::with(&backend, &[map.variable()]);
    let made = Command::new("/bin/sh").args(["-c", "rm \"$0\" && mkfifo \"$0\"", map.variable().1]).status();
    assert!(made.unwrap().success());
    proxy.signal("HUP");
    proxy.wait_for_log("the refusal", |log| log.contains("it is no regular file"));
    assert_eq!(model_sent(&proxy, &backend, "alias"), "old");
}
