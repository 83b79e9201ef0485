//! The probes: what a client sends, and what it must find in the answer.
//!
//! Each request is that of a client as the Ollama contract has it (its section 3), with a short question and, where the
//! client leaves the length open, a bound on the answer.

use super::call::Heard;
use super::judge;
use simd_json::OwnedValue;
use simd_json::prelude::*;

/// Where a body names the model, and where it names it with a tag.
const MODEL: &str = "$MODEL";
const TAGGED: &str = "$TAGGED";

/// What is asked, and the tokens an answer may take: enough for a model that thinks first, and no great cost.
macro_rules! question {
    () => {
        r#""messages": [{"role": "user", "content": "Reply with one word: yes"}]"#
    };
}
macro_rules! bound {
    () => {
        r#""options": {"num_predict": 512}"#
    };
}

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
    /// As text, for the code that builds such trees is larger by far than they are.
    body: &'static str,
    judge: fn(&Heard) -> Result<Verdict, String>,
}

impl Probe {
    const fn get(
        path: &'static str,
        name: &'static str,
        judge: fn(&Heard) -> Result<Verdict, String>,
    ) -> Self {
        Probe { name, method: "GET", path, body: "", judge }
    }

    const fn post(
        path: &'static str,
        name: &'static str,
        judge: fn(&Heard) -> Result<Verdict, String>,
        body: &'static str,
    ) -> Self {
        Probe { name, method: "POST", path, body, judge }
    }

    /// The body for this model; empty for none.
    pub(super) fn body(&self, model: &str) -> String {
        let fill = |before: &str, name: &str, after: &str| {
            let name = OwnedValue::from(name).encode();
            [before, &name, after].concat()
        };
        if let Some((before, after)) = self.body.split_once(MODEL) {
            return fill(before, model, after);
        }
        match self.body.split_once(TAGGED) {
            Some((before, after)) if model.contains(':') => fill(before, model, after),
            Some((before, after)) => fill(before, &format!("{model}:latest"), after),
            None => self.body.to_owned(),
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
    Probe { name: "HEAD /", method: "HEAD", path: "/", body: "", judge: judge::is_ok };
pub(super) static GREETING: Probe = Probe::get("/", "GET /", judge::greeting);
pub(super) static VERSION: Probe = Probe::get("/api/version", "GET /api/version", judge::version);
pub(super) static TAGS: Probe = Probe::get("/api/tags", "GET /api/tags", judge::tags);
pub(super) static RUNNING: Probe = Probe::get("/api/ps", "GET /api/ps", judge::running);

// ---------------------------------------------------------------------------------------------------------------------
// What is said of a model: one request, looked at by each for what it needs

pub(super) static SHOW: Probe = Probe::post("/api/show", "POST /api/show", judge::show, BY_MODEL);
/// The older spelling, which the `ollama` command and Continue send.
pub(super) static SHOW_BY_NAME: Probe =
    Probe::post("/api/show", "POST /api/show by name", judge::show, r#"{"name": $MODEL}"#);
pub(super) static SAYS_TOOLS: Probe =
    Probe::post("/api/show", "tools among the capabilities", judge::says_tools, BY_MODEL);
pub(super) static SAYS_CONTEXT: Probe =
    Probe::post("/api/show", "the context length", judge::says_context, BY_MODEL);

const BY_MODEL: &str = r#"{"model": $MODEL}"#;

// ---------------------------------------------------------------------------------------------------------------------
// Answers

/// `ollama run`, before the first question: the model is to be loaded, and nothing is to be said.
pub(super) static LOAD: Probe = Probe::post(
    "/api/generate",
    "POST /api/generate without a prompt",
    judge::loaded,
    r#"{"model": $MODEL, "keep_alive": "5m0s"}"#,
);
/// `ollama run MODEL PROMPT`.
pub(super) static GENERATE: Probe = Probe::post(
    "/api/generate",
    "POST /api/generate, streamed",
    judge::generated,
    concat!(r#"{"model": $MODEL, "prompt": "Reply with one word: yes", "#, bound!(), "}"),
);
/// The `ollama` command in a conversation, and every client that leaves `stream` to its default.
pub(super) static CHAT: Probe = Probe::post(
    "/api/chat",
    "POST /api/chat, streamed",
    judge::chatted,
    concat!(r#"{"model": $MODEL, "#, question!(), r#", "format": "", "#, bound!(), "}"),
);
/// The official Python library: no stream, and an empty list of tools.
pub(super) static CHAT_WHOLE: Probe = Probe::post(
    "/api/chat",
    "POST /api/chat, whole",
    judge::whole,
    concat!(r#"{"model": $MODEL, "#, question!(), r#", "tools": [], "stream": false, "#, bound!(), "}"),
);
/// LangChain drops the usage unless the last line has both counts.
pub(super) static CHAT_COUNTED: Probe = Probe::post(
    "/api/chat",
    "POST /api/chat, token counts",
    judge::counted,
    concat!(
        r#"{"model": $MODEL, "#,
        question!(),
        r#", "tools": [], "stream": true, "options": {"num_predict": 512, "temperature": 1.0}}"#
    ),
);
/// Open WebUI names every model with a tag.
pub(super) static CHAT_TAGGED: Probe = Probe::post(
    "/api/chat",
    "POST /api/chat with a tag",
    judge::short_lines,
    concat!(r#"{"model": $TAGGED, "#, question!(), r#", "stream": true, "#, bound!(), "}"),
);
/// Home Assistant: a window of its own, thinking switched off, kept for ever.
pub(super) static CHAT_ASSIST: Probe = Probe::post(
    "/api/chat",
    "POST /api/chat with num_ctx and think",
    judge::chatted,
    concat!(
        r#"{"model": $MODEL, "#,
        question!(),
        r#", "stream": true, "think": false, "keep_alive": -1, "options": {"num_ctx": 8192, "num_predict": 512}}"#
    ),
);

macro_rules! tools {
    () => {
        r#""tools": [{"type": "function", "function": {"name": "get_weather", "description": "The weather of a city",
        "parameters": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}}}]"#
    };
}
pub(super) static TOOL_CALL: Probe = Probe::post(
    "/api/chat",
    "a tool call",
    judge::tool_call,
    concat!(
        r#"{"model": $MODEL, "messages": [
            {"role": "user", "content": "Use the tool: what is the weather in Toronto?"}
        ], "stream": true, "#,
        bound!(),
        ", ",
        tools!(),
        "}"
    ),
);
/// The turn behind a call, as the libraries send it: neither the call nor its result has an id.
pub(super) static TOOL_RESULT: Probe = Probe::post(
    "/api/chat",
    "the result of a tool",
    judge::chatted,
    concat!(
        r#"{"model": $MODEL, "messages": [
            {"role": "user", "content": "What is the weather in Toronto?"},
            {"role": "assistant", "content": "", "tool_calls": [
                {"function": {"name": "get_weather", "arguments": {"city": "Toronto"}}}
            ]},
            {"role": "tool", "content": "11 degrees, light rain"}
        ], "stream": true, "#,
        bound!(),
        ", ",
        tools!(),
        "}"
    ),
);
pub(super) static SCHEMA: Probe = Probe::post(
    "/api/chat",
    "an answer by a JSON schema",
    judge::by_schema,
    concat!(
        r#"{"model": $MODEL, "stream": false,
        "messages": [{"role": "user", "content": "How many legs has a spider? Answer in JSON."}],
        "format": {"type": "object", "properties": {"legs": {"type": "integer"}}, "required": ["legs"]}, "#,
        bound!(),
        "}"
    ),
);
/// VS Code lists models by the Ollama API and talks to them by OpenAI's.
pub(super) static OPENAI_CHAT: Probe = Probe::post(
    "/v1/chat/completions",
    "POST /v1/chat/completions, streamed",
    judge::openai_stream,
    concat!(
        r#"{"model": $MODEL, "#,
        question!(),
        r#", "stream": true, "stream_options": {"include_usage": true}}"#
    ),
);
pub(super) static EMBED: Probe = Probe::post(
    "/api/embed",
    "POST /api/embed",
    judge::embedded,
    r#"{"model": $MODEL, "input": ["one", "two"]}"#,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_is_json_and_names_the_model() {
        let probes = [
            &SHOW,
            &SHOW_BY_NAME,
            &LOAD,
            &GENERATE,
            &CHAT,
            &CHAT_WHOLE,
            &CHAT_COUNTED,
            &CHAT_TAGGED,
            &CHAT_ASSIST,
            &TOOL_CALL,
            &TOOL_RESULT,
            &SCHEMA,
            &OPENAI_CHAT,
            &EMBED,
        ];
        for model in ["m\"\\ $MODEL $TAGGED", "a:b"] {
            for probe in probes {
                let body: serde_json::Value = serde_json::from_str(&probe.body(model)).expect(probe.name);
                let named = body.get("model").or(body.get("name")).and_then(|name| name.as_str()).unwrap();
                let tag = if probe.name.ends_with("with a tag") && model != "a:b" { ":latest" } else { "" };
                assert_eq!(named, format!("{model}{tag}"), "{}", probe.name);
            }
        }
        assert_eq!(TAGS.body("m"), "");
    }
}
