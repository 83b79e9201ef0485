//! Models: the list and what is made of it, and which name goes to the backend (contract 1.2, 1.5, 1.7; dialects 1G).

use crate::backend::{Backend, Peer, Request};
use crate::chunks::model_list;
use crate::proxy::{Proxy, chat};
use crate::signal::Signal;
use serde_json::{Value, json};
use std::sync::Arc;

fn hello(request: &Request, peer: &mut Peer) {
    peer.say(request, &["Hello"]);
}

fn listing(list: Value) -> Backend {
    Backend::with_models(move |_, peer| peer.json(200, &list), hello)
}

fn lists_asked(backend: &Backend) -> usize {
    backend.seen().requests.iter().filter(|request| request.method == "GET").count()
}

/// The name that reaches the backend when the client says this one; the client's own comes back.
fn name_sent(proxy: &Proxy, backend: &Backend, name: &str) -> String {
    let mut request = chat("q");
    request["model"] = json!(name);
    let lines = proxy.post("/api/chat", &request).lines();
    assert!(lines.iter().all(|line| line["model"] == name), "{name}: {lines:?}");
    backend.posts().pop().unwrap().json()["model"].as_str().unwrap().to_string()
}

/// A file that is gone when the test is over.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("api-{}-{name}.json", std::process::id()));
        std::fs::write(&path, text).unwrap();
        File(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn the_list_is_asked_for_once_however_many_ask() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(proxy.chat("q").status(), 200));
        }
    });
    assert_eq!(proxy.get("/api/tags").status(), 200);
    assert_eq!(proxy.post("/api/show", &json!({"model": "m"})).status(), 200);
    assert_eq!(lists_asked(&backend), 1);
}

#[test]
fn names_are_found_in_any_case_with_and_without_latest_and_echoed_as_they_came() {
    let backend = listing(model_list(&["GPT-4o", "Tiny", "tiny", "a/b:free", "qwen3:8b", "x:latest"]));
    let proxy = Proxy::before(&backend);
    let table = [
        ("GPT-4o", "GPT-4o"),
        ("gpt-4O", "GPT-4o"),
        ("gpt-4o:LATEST", "GPT-4o"),
        ("GPT-4o:latest", "GPT-4o"),
        ("tiny", "tiny"),
        ("Tiny", "Tiny"),
        ("A/B:free", "a/b:free"),
        ("QWEN3:8B", "qwen3:8b"),
        ("x", "x:latest"),
        ("x:latest", "x:latest"),
        // The list may be old or short: the backend decides.
        ("unknown", "unknown"),
        ("unknown:latest", "unknown"),
        ("unknown:8b", "unknown:8b"),
    ];
    for (asked, sent) in table {
        assert_eq!(name_sent(&proxy, &backend, asked), sent, "{asked}");
    }
}

#[test]
fn aliases_and_the_default_model_come_from_the_mapping_file() {
    let flat = File::new("flat", r#"{"_comment": "x", "llama3": "GPT-4o", "Code:7b": "b"}"#);
    let nested = File::new("nested", r#"{"model_mappings": {"llama3": "GPT-4o"}, "default_model": "b"}"#);
    let list = model_list(&["GPT-4o", "b", "llama3"]);
    let table = [
        (
            flat.path(),
            vec![("llama3", "GPT-4o"), ("LLAMA3:latest", "GPT-4o"), ("code:7B", "b"), ("other", "other")],
        ),
        (
            nested.path(),
            vec![
                ("llama3:latest", "GPT-4o"),
                ("b", "b"),
                ("other", "b"),
                ("other:7b", "b"),
                ("gpt-4o", "GPT-4o"),
            ],
        ),
    ];
    for (path, names) in table {
        let backend = listing(list.clone());
        let proxy = Proxy::with(&backend, &[("MODEL_MAPPING_FILE", path)]);
        for (asked, sent) in names {
            assert_eq!(name_sent(&proxy, &backend, asked), sent, "{path} {asked}");
        }
        let tags = proxy.get("/api/tags").json();
        let listed =
            tags["models"].as_array().unwrap().iter().filter(|model| model["name"] == "llama3:latest");
        assert_eq!(listed.count(), 1, "{path}: {tags}");
        let shown = proxy.post("/api/show", &json!({"model": "LLAMA3"}));
        assert_eq!(shown.status(), 200, "{path}");
    }
}

#[test]
fn tags_have_every_field_that_clients_read_newest_first() {
    let list = json!({"object": "list", "data": [
        {"id": "old", "created": 1_000_000_000, "owned_by": "someone", "max_model_len": 8192},
        {"id": "new", "created": 1_700_000_000},
        {"id": "tagged:7b"},
    ]});
    let backend = listing(list);
    let proxy = Proxy::before(&backend);
    let answer = proxy.get("/api/tags");
    assert_eq!(answer.head.content_type(), "application/json; charset=utf-8");
    let tags = answer.json();
    let models = tags["models"].as_array().unwrap();
    let names: Vec<_> = models.iter().map(|model| model["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["new:latest", "old:latest", "tagged:7b"]);
    let keys = ["name", "model", "modified_at", "size", "digest", "details", "capabilities"];
    for model in models {
        assert_eq!(model["name"], model["model"]);
        let found: Vec<_> = model.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(found, keys, "their order is Ollama's");
        let digest = model["digest"].as_str().unwrap();
        assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digest}");
        assert!(model["size"].is_u64() && model["modified_at"].as_str().unwrap().ends_with('Z'));
        let details = &model["details"];
        for name in ["parent_model", "format", "family", "parameter_size", "quantization_level"] {
            assert!(details[name].is_string(), "{name}: {details}");
        }
        assert_eq!(details["families"], json!([details["family"]]), "not null");
        assert_eq!(model["capabilities"], json!(["completion", "tools"]));
        assert!(model.get("remote_host").is_none() && model.get("remote_model").is_none());
    }
    let digests: Vec<_> = models.iter().map(|model| &model["digest"]).collect();
    assert!(digests[0] != digests[1] && digests[1] != digests[2], "some clients merge equal digests");
    assert_eq!(models[1]["modified_at"], "2001-09-09T01:46:40Z");
    assert_eq!(models[1]["details"]["context_length"], 8192);
    assert_eq!(Proxy::before(&listing(json!({"data": []}))).get("/api/tags").text(), r#"{"models":[]}"#);
}

#[test]
fn show_has_what_clients_break_without() {
    let list = json!([{"id": "Big", "created": 1_700_000_000, "context_length": 131_072}, {"id": "text-embedding-3-small"}]);
    let backend = listing(list);
    let proxy = Proxy::before(&backend);
    for body in [
        json!({"model": "big:latest"}),
        json!({"name": "big:latest"}),
        json!({"model": "", "name": "big:latest"}),
    ] {
        let answer = proxy.post("/api/show", &body);
        let shown = answer.json();
        assert_eq!(answer.status(), 200, "{body}");
        let info = &shown["model_info"];
        assert_eq!(info["general.architecture"], "openai");
        assert_eq!(
            (&info["openai.context_length"], &info["general.basename"]),
            (&json!(131_072), &json!("big:latest"))
        );
        assert_eq!(shown["capabilities"], json!(["completion", "tools"]));
        assert!(shown["details"].is_object() && !shown["template"].as_str().unwrap().is_empty());
        assert!(shown["modified_at"].is_string() && shown.get("remote_host").is_none());
    }
    let embedding = proxy.post("/api/show", &json!({"model": "text-embedding-3-small"})).json();
    assert_eq!(
        embedding["capabilities"],
        json!(["embedding"]),
        "`ollama run` embeds with a model that lists both"
    );
    for (asked, canonical) in [("nope", "nope:latest"), ("Nope:7b", "Nope:7b"), ("a/b", "a/b:latest")] {
        let answer = proxy.post("/api/show", &json!({"model": asked}));
        assert_eq!((answer.status(), answer.error()), (404, format!("model '{canonical}' not found")));
    }
}

#[test]
fn what_the_settings_say_of_models_is_listed_and_shown() {
    let backend = listing(model_list(&["m"]));
    let variables = [
        ("MODELS", r#"["extra", "m"]"#),
        ("CAPABILITIES", "tools,vision"),
        ("OLLAMA_CONTEXT_LENGTH", "4096"),
    ];
    let proxy = Proxy::with(&backend, &variables);
    let tags = proxy.get("/api/tags").json();
    let mut names: Vec<_> =
        tags["models"].as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["extra:latest", "m:latest"]);
    let shown = proxy.post("/api/show", &json!({"model": "extra"})).json();
    assert_eq!(shown["capabilities"], json!(["completion", "tools", "vision"]));
    assert_eq!(shown["model_info"]["openai.context_length"], 4096);
}

#[test]
fn a_backend_without_a_list_still_chats() {
    type Row = (&'static str, fn(&mut Peer), u16, u16);
    let answers: [Row; 4] = [
        // It may have the model, though it has no list.
        ("404", |peer| peer.json(404, &json!({"detail": "Not Found"})), 502, 200),
        ("500", |peer| peer.respond(500, &[], ""), 500, 500),
        ("html", |peer| peer.respond(200, &[], "<html></html>"), 502, 502),
        ("closed", Peer::close, 502, 502),
    ];
    for (name, answer, of_tags, of_show) in answers {
        let backend = Backend::with_models(move |_, peer| answer(peer), hello);
        let proxy = Proxy::before(&backend);
        assert_eq!(name_sent(&proxy, &backend, "Model:latest"), "Model", "{name}");
        assert_eq!(name_sent(&proxy, &backend, "a/B:7b"), "a/B:7b", "{name}");
        assert_eq!(lists_asked(&backend), 1, "{name}: a failure is remembered for a while");
        let tags = proxy.get("/api/tags");
        assert_eq!(
            (tags.status(), tags.head.content_type()),
            (of_tags, "application/json; charset=utf-8"),
            "{name}"
        );
        tags.error();
        let shown = proxy.post("/api/show", &json!({"model": "m"}));
        assert_eq!(shown.status(), of_show, "{name}: {}", shown.text());
    }
}

#[test]
fn a_client_that_leaves_while_the_list_is_asked_for_neither_holds_it_nor_the_next_client() {
    let there = Signal::new();
    let tell = Arc::clone(&there);
    let backend = Backend::with_models(
        move |request, peer| {
            if request.connection > 1 {
                return peer.json(200, &model_list(&["m"]));
            }
            tell.raise();
            peer.wait_closed();
        },
        hello,
    );
    let proxy = Proxy::before(&backend);
    let mut client = proxy.client();
    client.post("/api/chat", &chat("q"));
    there.wait();
    drop(client);
    backend.wait_closed(1);
    assert_eq!(proxy.chat("q").status(), 200);
    assert_eq!(backend.posts().len(), 1);
}

#[test]
fn a_backend_with_more_to_say_is_asked_beside_the_api() {
    let llama = json!({"data": [{"id": "m.gguf", "owned_by": "llamacpp", "created": 1, "meta": {"n_ctx_train": 131_072, "n_embd": 4096, "n_params": 8_030_261_248_u64, "size": 4_912_898_304_u64}}]});
    let props = json!({"default_generation_settings": {"n_ctx": 8192}, "modalities": {"vision": true, "audio": false}});
    let backend = Backend::with_models(
        move |request, peer| peer.json(200, if request.target == "/props" { &props } else { &llama }),
        hello,
    );
    let proxy = Proxy::before(&backend);
    let shown = proxy.post("/api/show", &json!({"model": "m.gguf"})).json();
    let info = &shown["model_info"];
    assert_eq!(
        (&info["openai.context_length"], &info["openai.embedding_length"]),
        (&json!(8192), &json!(4096))
    );
    assert_eq!(info["general.parameter_count"], 8_030_261_248_u64);
    assert_eq!(shown["capabilities"], json!(["completion", "tools", "vision"]));
    assert_eq!(
        (&shown["details"]["format"], &shown["details"]["parameter_size"]),
        (&json!("gguf"), &json!("8.0B"))
    );
    assert_eq!(proxy.get("/api/tags").json()["models"][0]["size"], 4_912_898_304_u64);
    let asked: Vec<_> = backend.seen().requests.into_iter().map(|request| request.target).collect();
    assert_eq!(asked, ["/v1/models", "/props"]);
}

#[test]
fn a_backend_that_has_no_more_to_say_is_listed_as_it_is() {
    let list = json!({"data": [{"id": "qwen", "owned_by": "organization_owner"}, {"id": "other", "owned_by": "organization_owner"}]});
    type Native = fn(&mut Peer);
    let answers: [(Native, Value, &str); 3] = [
        (
            |peer| {
                peer.json(200, &json!({"data": [{"id": "qwen", "type": "llm", "arch": "qwen2", "quantization": "Q4_K_M", "max_context_length": 32_768, "capabilities": []}]}))
            },
            json!(32_768),
            "qwen2",
        ),
        (|peer| peer.json(200, &json!({"error": "Unexpected endpoint or method."})), Value::Null, "openai"),
        (Peer::close, Value::Null, "openai"),
    ];
    for (native, context_length, architecture) in answers {
        let list = list.clone();
        let models = move |request: &Request, peer: &mut Peer| match request.target.as_str() {
            "/api/v0/models" => native(peer),
            _ => peer.json(200, &list),
        };
        let backend = Backend::with_models(models, hello);
        let proxy = Proxy::before(&backend);
        let shown = proxy.post("/api/show", &json!({"model": "qwen"})).json();
        let info = &shown["model_info"];
        assert_eq!(info["general.architecture"], architecture);
        assert_eq!(info[format!("{architecture}.context_length")], context_length);
        assert_eq!(proxy.post("/api/show", &json!({"model": "other"})).status(), 200);
    }
}

#[test]
fn geminis_names_are_short_for_clients_and_whole_for_the_backend() {
    let list = json!({"object": "list", "data": [{"id": "models/gemini-2.5-flash", "object": "model", "owned_by": "google"}, {"id": "models/gemini-embedding-001"}]});
    let backend = listing(list);
    let proxy = Proxy::before(&backend);
    let tags = proxy.get("/api/tags").json();
    assert_eq!(tags["models"][0]["name"], "gemini-2.5-flash:latest");
    assert_eq!(tags["models"][1]["capabilities"], json!(["embedding"]));
    assert_eq!(name_sent(&proxy, &backend, "gemini-2.5-flash:latest"), "models/gemini-2.5-flash");
}
