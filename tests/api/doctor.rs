//! `doctor`: every client played against a backend that can everything, one that lacks something, and none.

use crate::backend::{Backend, Peer, Request};
use crate::chunks::{delta, event, finish, model_list, role, usage};
use crate::proxy::run;
use serde_json::{Value, json};

/// A backend that does all that is asked of it.
fn able() -> Backend {
    Backend::with_models(|_, peer| peer.json(200, &model_list(&["writer", "text-embedder"])), answer)
}

fn answer(request: &Request, peer: &mut Peer) {
    let body = request.json();
    if request.target.ends_with("/embeddings") {
        let one = |index: usize| json!({"object": "embedding", "index": index, "embedding": [0.6, 0.8]});
        let count = body["input"].as_array().map_or(1, Vec::len);
        let data: Vec<Value> = (0..count).map(one).collect();
        return peer.json(
            200,
            &json!({"object": "list", "data": data, "model": "text-embedder",
            "usage": {"prompt_tokens": 2, "total_tokens": 2}}),
        );
    }
    let asks_for_call = !body["tools"].is_null() && body["messages"].as_array().map(Vec::len) == Some(1);
    if asks_for_call {
        let call = json!({"index": 0, "id": "call_1", "type": "function",
            "function": {"name": "get_weather", "arguments": "{\"city\":\"Toronto\"}"}});
        let mut chunk = delta("");
        chunk["choices"][0]["delta"] = json!({"tool_calls": [call]});
        peer.begin();
        for data in [role(), chunk, finish("tool_calls"), usage()] {
            peer.chunk(event(&data));
        }
        return peer.done();
    }
    match body["response_format"].is_null() {
        true => peer.say(request, &["yes"]),
        false => peer.say(request, &[r#"{"legs": 8}"#]),
    }
}

fn examined(backend: &Backend, arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, Value) {
    let url = backend.url();
    let variables = [&[("OPENAI_API_BASE_URL", url.as_str())], variables].concat();
    let ended = run(&[&["doctor", "--json"], arguments].concat(), &variables);
    let report =
        serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}{}", ended.stdout, ended.stderr));
    (ended.code, report)
}

/// What the report says of a client with a model: the word and the reasons.
fn found<'a>(report: &'a Value, client: &str, model: &str) -> (&'a str, String) {
    let rows = report["clients"].as_array().unwrap();
    let row = rows.iter().find(|row| row["client"] == client && row["model"] == model);
    let row = row.unwrap_or_else(|| panic!("{client} with {model} is not in {report:#}"));
    (row["works"].as_str().unwrap(), row["reasons"].to_string())
}

const CLIENTS: &[&str] = &[
    "ollama (command)",
    "ollama (Python)",
    "ollama (JavaScript)",
    "LangChain",
    "Open WebUI",
    "Home Assistant",
    "VS Code",
    "Zed",
    "n8n",
];

#[test]
fn all_is_well_with_a_backend_that_does_what_is_asked() {
    let backend = able();
    let (code, report) = examined(&backend, &[], &[("OLLAMA_CONTEXT_LENGTH", "8192")]);
    assert_eq!((code, &report["ok"]), (Some(0), &json!(true)), "{report:#}");
    assert_eq!(report["models_asked"], json!(["writer:latest", "text-embedder:latest"]));
    for client in CLIENTS {
        assert_eq!(found(&report, client, "writer:latest"), ("yes", "[]".to_owned()), "{client}");
    }
    assert_eq!(found(&report, "LangChain", "text-embedder:latest").0, "yes");
    assert_eq!(found(&report, "VS Code", "text-embedder:latest").0, "not-for-this-model");
    let posts = backend.posts();
    assert_eq!(posts.len(), 11, "ten questions and one text to embed; what is the same is asked once");
    assert!(
        posts.iter().all(|post| post.json()["model"] == "writer" || post.json()["model"] == "text-embedder")
    );
}

#[test]
fn what_a_backend_lacks_is_told_with_the_way_out() {
    let backend = Backend::with_models(
        |_, peer| peer.json(200, &model_list(&["writer"])),
        |request, peer| match request.json()["tools"].is_null() {
            true => peer.say(request, &["no"]),
            false => peer.json(400, &json!({"error": {"message": "tools are not for this model"}})),
        },
    );
    let url = backend.url();
    let ended = run(&["doctor"], &[("OPENAI_API_BASE_URL", &url), ("CAPABILITIES", "completion")]);
    // Less is not nothing.
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    for words in [
        "writer:latest: tools is not among its capabilities",
        "-> set CAPABILITIES=completion,tools",
        "-> set OLLAMA_CONTEXT_LENGTH",
        "writer:latest: a tool call: status 400: ",
        "does not keep to the JSON schema",
    ] {
        assert!(ended.stdout.contains(words), "{words:?} is not in\n{}", ended.stdout);
    }
    assert!(!ended.stdout.contains('\u{1b}'), "no colours in a pipe");
    assert!(ended.stdout.lines().all(|line| line.trim_end() == line), "{}", ended.stdout);
    let row = |client: &str| ended.stdout.lines().find(|line| line.starts_with(client)).unwrap().to_owned();
    assert!(row("Home Assistant").contains("partly ["), "{}", ended.stdout);
    assert!(row("ollama (command)").trim_end().ends_with("yes"), "{}", ended.stdout);
}

#[test]
fn named_models_are_asked_and_no_others() {
    let backend = able();
    let (code, report) = examined(&backend, &["text-embedder"], &[]);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["models_asked"], json!(["text-embedder"]));
    assert_eq!(found(&report, "n8n", "text-embedder").0, "yes");
    assert_eq!(backend.posts().len(), 1);

    let (code, report) = examined(&backend, &["absent"], &[]);
    assert_eq!((code, &report["ok"]), (Some(1), &json!(false)));
    let (worth, reasons) = found(&report, "VS Code", "absent");
    assert!(
        worth == "no" && reasons.contains("not found") && reasons.contains("MODEL_MAPPING_FILE"),
        "{reasons}"
    );
}

#[test]
fn a_backend_that_is_not_there_or_refuses_the_key_fails_the_command() {
    let ended = run(&["doctor"], &[("OPENAI_API_BASE_URL", "http://127.0.0.1:1/v1"), ("MAX_RETRIES", "0")]);
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    assert!(ended.stdout.contains("set OPENAI_API_BASE_URL"), "{}", ended.stdout);
    assert!(ended.stderr.contains("will not work"), "{}", ended.stderr);

    let refused = |_: &Request, peer: &mut Peer| {
        peer.json(401, &json!({"error": {"message": "Incorrect API key provided: sk-CANARY"}}));
    };
    let backend = Backend::with_models(refused, refused);
    let ended = run(&["doctor"], &[("OPENAI_API_BASE_URL", &backend.url()), ("OPENAI_API_KEY", "sk-CANARY")]);
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    assert!(ended.stdout.contains("set OPENAI_API_KEY"), "{}", ended.stdout);
    assert!(!(ended.stdout + &ended.stderr).contains("CANARY"), "no key is shown");
}

#[test]
fn a_key_that_clients_must_show_shuts_out_those_that_send_none() {
    let backend = able();
    let (code, report) = examined(&backend, &["writer"], &[("PROXY_API_KEY", "sk-CANARY")]);
    assert_eq!(code, Some(1));
    for client in CLIENTS {
        let (worth, reasons) = found(&report, client, "writer");
        let is_shut_out = ["VS Code", "ollama (command)"].contains(client);
        assert_eq!(worth == "no", is_shut_out, "{client}: {reasons}");
        assert_eq!(reasons.contains("PROXY_API_KEY"), is_shut_out, "{client}: {reasons}");
    }
    assert!(!report.to_string().contains("CANARY"));
}

#[test]
fn json_belongs_to_the_doctor() {
    for arguments in
        [&["--json"][..], &["health", "--json"], &["doctor", "--json=yes"], &["doctor", "--once"]]
    {
        assert_eq!(run(arguments, &[]).code, Some(64), "{arguments:?}");
    }
}
