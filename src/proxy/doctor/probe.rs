//! The probes: what a client sends, and what it must find in the answer.
//!
//! Each request is that of a client as the Ollama contract has it (its section 3), with a short question and, where the
//! client leaves the length open, a bound on the answer.

use super::call::Heard;
use super::judge;
use simd_json::prelude::*;
use simd_json::{OwnedValue, json};

/// Tokens an answer may take: enough for a model that thinks first, and no great cost.
const MAX_TOKENS: u32 = 512;
const QUESTION: &str = "Reply with one word: yes";

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As the client needs it.
    Works,
    /// The client goes on, with less.
    Partly(Finding),
    /// The client stops there.
    Fails(Finding),
}

/// Why something is not as it should be, and the way out where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) why: String,
    pub(super) way_out: Option<&'static str>,
}

impl Verdict {
    pub(super) fn partly(why: &str, way_out: Option<&'static str>) -> Self {
        Verdict::Partly(Finding { why: why.to_owned(), way_out })
    }
}

/// One request of a client and its judge.
pub(super) struct Probe {
    /// What is asked, in a few words.
    pub(super) name: &'static str,
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    body: fn(&str) -> OwnedValue,
    judge: fn(&Heard) -> Result<Verdict, String>,
}

impl Probe {
    const fn get(
        path: &'static str,
        name: &'static str,
        judge: fn(&Heard) -> Result<Verdict, String>,
    ) -> Self {
        Probe { name, method: "GET", path, body: |_| OwnedValue::null(), judge }
    }

    const fn post(
        path: &'static str,
        name: &'static str,
        judge: fn(&Heard) -> Result<Verdict, String>,
        body: fn(&str) -> OwnedValue,
    ) -> Self {
        Probe { name, method: "POST", path, body, judge }
    }

    /// The body for this model; empty for none.
    pub(super) fn body(&self, model: &str) -> String {
        match (self.body)(model) {
            body if body.is_null() => String::new(),
            body => body.encode(),
        }
    }

    pub(super) fn judged(&self, heard: &Result<Heard, String>) -> Verdict {
        let judged = heard.as_ref().map_err(Clone::clone).and_then(|heard| (self.judge)(heard));
        judged.unwrap_or_else(|why| {
            let way_out = advice(&why);
            Verdict::Fails(Finding { why: format!("{}: {why}", self.name), way_out })
        })
    }
}

/// What helps against a failure that the proxy itself has words for.
fn advice(why: &str) -> Option<&'static str> {
    let says = |words: &str| why.contains(words);
    if says("key") {
        return Some("set OPENAI_API_KEY to a key that the backend takes");
    }
    if says("certificate") {
        return Some("set SSL_CA_FILE to the certificates that the backend's is signed with");
    }
    if says("cannot reach the backend") {
        return Some(
            "set OPENAI_API_BASE_URL to where the backend listens, as this machine or container sees it",
        );
    }
    if says("model") && says("not found") {
        return Some("name the model as the backend does, or give it this name with MODEL_MAPPING_FILE");
    }
    None
}

// ---------------------------------------------------------------------------------------------------------------------
// The server itself

pub(super) static ALIVE: Probe =
    Probe { name: "HEAD /", method: "HEAD", path: "/", body: |_| OwnedValue::null(), judge: judge::is_ok };
pub(super) static GREETING: Probe = Probe::get("/", "GET /", judge::greeting);
pub(super) static VERSION: Probe = Probe::get("/api/version", "GET /api/version", judge::version);
pub(super) static TAGS: Probe = Probe::get("/api/tags", "GET /api/tags", judge::tags);
pub(super) static RUNNING: Probe = Probe::get("/api/ps", "GET /api/ps", judge::running);

// ---------------------------------------------------------------------------------------------------------------------
// What is said of a model: one request, looked at by each for what it needs

pub(super) static SHOW: Probe = Probe::post("/api/show", "POST /api/show", judge::show, by_model);
/// The older spelling, which the `ollama` command and Continue send.
pub(super) static SHOW_BY_NAME: Probe =
    Probe::post("/api/show", "POST /api/show by name", judge::show, |model| json!({"name": model}));
pub(super) static SAYS_TOOLS: Probe =
    Probe::post("/api/show", "tools among the capabilities", judge::says_tools, by_model);
pub(super) static SAYS_CONTEXT: Probe =
    Probe::post("/api/show", "the context length", judge::says_context, by_model);

fn by_model(model: &str) -> OwnedValue {
    json!({"model": model})
}

// ---------------------------------------------------------------------------------------------------------------------
// Answers

/// `ollama run`, before the first question: the model is to be loaded, and nothing is to be said.
pub(super) static LOAD: Probe = Probe::post(
    "/api/generate",
    "POST /api/generate without a prompt",
    judge::loaded,
    |model| json!({"model": model, "keep_alive": "5m0s"}),
);
/// `ollama run MODEL PROMPT`.
pub(super) static GENERATE: Probe = Probe::post(
    "/api/generate",
    "POST /api/generate, streamed",
    judge::generated,
    |model| json!({"model": model, "prompt": QUESTION, "options": {"num_predict": MAX_TOKENS}}),
);
/// The `ollama` command in a conversation, and every client that leaves `stream` to its default.
pub(super) static CHAT: Probe =
    Probe::post("/api/chat", "POST /api/chat, streamed", judge::chatted, |model| {
        json!({
            "model": model, "messages": question(), "format": "", "options": {"num_predict": MAX_TOKENS}
        })
    });
/// The official Python library: no stream, and an empty list of tools.
pub(super) static CHAT_WHOLE: Probe =
    Probe::post("/api/chat", "POST /api/chat, whole", judge::whole, |model| {
        json!({
            "model": model, "messages": question(), "tools": [], "stream": false,
            "options": {"num_predict": MAX_TOKENS}
        })
    });
/// LangChain drops the usage unless the last line has both counts.
pub(super) static CHAT_COUNTED: Probe =
    Probe::post("/api/chat", "POST /api/chat, token counts", judge::counted, |model| {
        json!({
            "model": model, "messages": question(), "tools": [], "stream": true,
            "options": {"num_predict": MAX_TOKENS, "temperature": 1.0}
        })
    });
/// Open WebUI names every model with a tag.
pub(super) static CHAT_TAGGED: Probe =
    Probe::post("/api/chat", "POST /api/chat with a tag", judge::short_lines, |model| {
        let tagged = if model.contains(':') { model.to_owned() } else { format!("{model}:latest") };
        json!({
            "model": tagged, "messages": question(), "stream": true, "options": {"num_predict": MAX_TOKENS}
        })
    });
/// Home Assistant: a window of its own, thinking switched off, kept for ever.
pub(super) static CHAT_ASSIST: Probe =
    Probe::post("/api/chat", "POST /api/chat with num_ctx and think", judge::chatted, |model| {
        json!({
            "model": model, "messages": question(), "stream": true, "think": false, "keep_alive": -1,
            "options": {"num_ctx": 8192, "num_predict": MAX_TOKENS}
        })
    });
pub(super) static TOOL_CALL: Probe = Probe::post("/api/chat", "a tool call", judge::tool_call, |model| {
    with_tool(model, json!([{"role": "user", "content": "Use the tool: what is the weather in Toronto?"}]))
});
/// The turn behind a call, as the libraries send it: neither the call nor its result has an id.
pub(super) static TOOL_RESULT: Probe =
    Probe::post("/api/chat", "the result of a tool", judge::chatted, |model| {
        let call = json!({"function": {"name": "get_weather", "arguments": {"city": "Toronto"}}});
        with_tool(
            model,
            json!([
                {"role": "user", "content": "What is the weather in Toronto?"},
                {"role": "assistant", "content": "", "tool_calls": [call]},
                {"role": "tool", "content": "11 degrees, light rain"}
            ]),
        )
    });
pub(super) static SCHEMA: Probe =
    Probe::post("/api/chat", "an answer by a JSON schema", judge::by_schema, |model| {
        json!({
            "model": model, "stream": false, "options": {"num_predict": MAX_TOKENS},
            "messages": [{"role": "user", "content": "How many legs has a spider? Answer in JSON."}],
            "format": {"type": "object", "properties": {"legs": {"type": "integer"}}, "required": ["legs"]}
        })
    });
/// VS Code lists models by the Ollama API and talks to them by OpenAI's.
pub(super) static OPENAI_CHAT: Probe = Probe::post(
    "/v1/chat/completions",
    "POST /v1/chat/completions, streamed",
    judge::openai_stream,
    |model| {
        json!({
            "model": model, "messages": question(), "stream": true, "stream_options": {"include_usage": true}
        })
    },
);
pub(super) static EMBED: Probe = Probe::post(
    "/api/embed",
    "POST /api/embed",
    judge::embedded,
    |model| json!({"model": model, "input": ["one", "two"]}),
);

fn question() -> OwnedValue {
    json!([{"role": "user", "content": QUESTION}])
}

fn with_tool(model: &str, messages: OwnedValue) -> OwnedValue {
    let city = json!({"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}});
    let weather = json!({"name": "get_weather", "description": "The weather of a city", "parameters": city});
    json!({
        "model": model, "messages": messages, "stream": true, "options": {"num_predict": MAX_TOKENS},
        "tools": [{"type": "function", "function": weather}]
    })
}
