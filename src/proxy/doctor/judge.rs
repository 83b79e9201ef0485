//! The judges: what a client must find in an answer, and what it makes of less.
//!
//! A judge returns what was found, or in words why the client stops there.

use super::call::{Heard, plain, read};
use super::probe::{Finding, Verdict};
use simd_json::OwnedValue;
use simd_json::prelude::*;

pub(super) fn is_ok(heard: &Heard) -> Result<Verdict, String> {
    match heard.status {
        200 => Ok(Verdict::Works),
        status => Err(format!("status {status}")),
    }
}

pub(super) fn greeting(heard: &Heard) -> Result<Verdict, String> {
    is_ok(heard)?;
    match heard.body == b"Ollama is running" {
        true => Ok(Verdict::Works),
        false => Err("the answer is not \"Ollama is running\"".to_owned()),
    }
}

pub(super) fn running(heard: &Heard) -> Result<Verdict, String> {
    heard.object()?.get_array("models").ok_or("there is no list under models")?;
    Ok(Verdict::Works)
}

pub(super) fn version(heard: &Heard) -> Result<Verdict, String> {
    /// VS Code refuses less.
    const LEAST: [u64; 3] = [0, 6, 4];
    let object = heard.object()?;
    let text = object.get_str("version").ok_or("there is no version")?;
    let numbers: Option<Vec<u64>> = text.split('.').map(|number| number.parse().ok()).collect();
    match numbers {
        Some(numbers) if numbers.len() == 3 && numbers.as_slice() >= LEAST.as_slice() => Ok(Verdict::Works),
        Some(numbers) if numbers.len() == 3 => Ok(Verdict::Fails(Finding {
            why: format!("the version {text} is less than the 0.6.4 that VS Code wants"),
            way_out: Some("leave OLLAMA_VERSION_REPORTED at its default"),
        })),
        _ => Err(format!("the version {text} is not three numbers")),
    }
}

pub(super) fn tags(heard: &Heard) -> Result<Verdict, String> {
    /// The `ollama` command cuts it there.
    const LEAST_DIGEST: usize = 12;
    let object = heard.object()?;
    let models = object.get_array("models").ok_or("there is no list under models")?;
    for model in models {
        let name = model.get_str("name").ok_or("a model has no name")?;
        let has = |is_so: bool, what: &str| if is_so { Ok(()) } else { Err(format!("{name} has no {what}")) };
        has(model.get_str("model").is_some(), "model")?;
        has(model.get_str("digest").is_some_and(|digest| digest.len() >= LEAST_DIGEST), "digest")?;
        has(model.get_str("modified_at").is_some_and(|time| !time.is_empty()), "modified_at")?;
        has(model.get_u64("size").is_some(), "size")?;
        has(model.get_object("details").is_some(), "details")?;
    }
    match models.is_empty() {
        true => Ok(Verdict::Fails(Finding {
            why: "the backend lists no models, so the client has none to choose".to_owned(),
            way_out: Some("name them with MODELS"),
        })),
        false => Ok(Verdict::Works),
    }
}

pub(super) fn show(heard: &Heard) -> Result<Verdict, String> {
    let object = heard.object()?;
    object.get_array("capabilities").ok_or("there is no list of capabilities")?;
    let info = object.get_object("model_info").ok_or("there is no model_info")?;
    let family = info.get("general.architecture").and_then(ValueAsScalar::as_str);
    family.ok_or("model_info has no general.architecture")?;
    Ok(Verdict::Works)
}

pub(super) fn says_tools(heard: &Heard) -> Result<Verdict, String> {
    Ok(match capabilities(&heard.object()?).any(|name| name == "tools") {
        true => Verdict::Works,
        false => Verdict::partly(
            "tools is not among its capabilities, so the client offers it none",
            Some("set CAPABILITIES=completion,tools if the model has them"),
        ),
    })
}

pub(super) fn says_context(heard: &Heard) -> Result<Verdict, String> {
    Ok(match context_length(&heard.object()?) {
        Some(_) => Verdict::Works,
        None => Verdict::partly(
            "its context length is not known, so the client assumes one",
            Some("set OLLAMA_CONTEXT_LENGTH"),
        ),
    })
}

/// The capabilities that `/api/show` gives.
pub(super) fn capabilities(shown: &OwnedValue) -> impl Iterator<Item = &str> {
    shown.get_array("capabilities").into_iter().flatten().filter_map(|name| name.as_str())
}

fn context_length(shown: &OwnedValue) -> Option<u64> {
    let info = shown.get_object("model_info")?;
    let family = info.get("general.architecture")?.as_str()?;
    info.get(format!("{family}.context_length").as_str())?.as_u64()
}

pub(super) fn loaded(heard: &Heard) -> Result<Verdict, String> {
    match heard.object()?.get_str("done_reason") {
        Some("load") => Ok(Verdict::Works),
        _ => Err("done_reason is not load".to_owned()),
    }
}

pub(super) fn generated(heard: &Heard) -> Result<Verdict, String> {
    streamed(heard, |line| line.get_str("response"))
}

pub(super) fn chatted(heard: &Heard) -> Result<Verdict, String> {
    streamed(heard, content)
}

pub(super) fn whole(heard: &Heard) -> Result<Verdict, String> {
    finished(&heard.object()?, content)?;
    Ok(Verdict::Works)
}

pub(super) fn short_lines(heard: &Heard) -> Result<Verdict, String> {
    /// Past it the stream reader of Open WebUI gives up.
    const MAX_LINE_BYTES: usize = 128 << 10;
    if heard.body.split(|&byte| byte == b'\n').any(|line| line.len() > MAX_LINE_BYTES) {
        return Err(format!("a line is longer than {} KiB", MAX_LINE_BYTES >> 10));
    }
    chatted(heard)
}

fn content(line: &OwnedValue) -> Option<&str> {
    line.get("message")?.get_str("content")
}

/// A stream: words in every line, one last line, and nothing behind it.
fn streamed(heard: &Heard, words: fn(&OwnedValue) -> Option<&str>) -> Result<Verdict, String> {
    let lines = heard.lines()?;
    let (last, before) = lines.split_last().ok_or("the answer is empty")?;
    for line in before {
        words(line).ok_or("a line has no text")?;
        if line.get_bool("done") != Some(false) {
            return Err("a line before the last is not done: false".to_owned());
        }
    }
    finished(last, words).map(|()| Verdict::Works)
}

fn finished(last: &OwnedValue, words: fn(&OwnedValue) -> Option<&str>) -> Result<(), String> {
    words(last).ok_or("the last line has no text")?;
    last.get_str("created_at").ok_or("the last line has no created_at")?;
    last.get_u64("total_duration").ok_or("total_duration is not a whole number")?;
    match (last.get_bool("done"), last.get_str("done_reason")) {
        (Some(true), Some("stop" | "length")) => Ok(()),
        (Some(true), reason) => Err(format!("done_reason is {}", reason.unwrap_or("missing"))),
        _ => Err("the last line is not done: true".to_owned()),
    }
}

pub(super) fn counted(heard: &Heard) -> Result<Verdict, String> {
    streamed(heard, content)?;
    let lines = heard.lines()?;
    let has = |count: &str| lines.last().is_some_and(|line| line.get_u64(count).is_some());
    match has("prompt_eval_count") && has("eval_count") {
        true => Ok(Verdict::Works),
        false => Ok(Verdict::partly("the backend gives no usage in a stream: no token counts", None)),
    }
}

pub(super) fn tool_call(heard: &Heard) -> Result<Verdict, String> {
    streamed(heard, content)?;
    let lines = heard.lines()?;
    let messages = lines.iter().filter_map(|line| line.get("message"));
    let mut calls = messages.filter_map(|message| message.get_array("tool_calls")).flatten();
    let Some(call) = calls.next() else {
        return Ok(Verdict::partly(
            "it answers in words where a tool was to be called",
            Some("choose a model that calls tools, and a server that was started to read its calls"),
        ));
    };
    let function = call.get("function").ok_or("a tool call has no function")?;
    function.get_str("name").ok_or("a tool call has no name")?;
    function.get_object("arguments").ok_or("the arguments of a tool call are not an object")?;
    Ok(Verdict::Works)
}

pub(super) fn by_schema(heard: &Heard) -> Result<Verdict, String> {
    let object = heard.object()?;
    finished(&object, content)?;
    let text = content(&object).unwrap_or_default().as_bytes();
    let legs = read(text).and_then(|answer| answer.get_i64("legs"));
    Ok(match legs {
        Some(_) => Verdict::Works,
        None => Verdict::partly(
            "its answer does not keep to the JSON schema it was given",
            Some("choose a backend that takes response_format, or a model that follows instructions"),
        ),
    })
}

pub(super) fn openai_stream(heard: &Heard) -> Result<Verdict, String> {
    if heard.status != 200 {
        heard.object()?;
    }
    let text = String::from_utf8_lossy(&heard.body);
    let mut has_chunks = false;
    for data in text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim) {
        if data == "[DONE]" {
            return if has_chunks { Ok(Verdict::Works) } else { Err("the stream has no chunk".to_owned()) };
        }
        let chunk = read(data.as_bytes()).ok_or("a chunk of the stream is not JSON")?;
        if let Some(error) = chunk.get("error") {
            return Err(plain(error.get_str("message").unwrap_or("the stream ends in an error")));
        }
        has_chunks = true;
    }
    Err("the stream does not end in [DONE]".to_owned())
}

pub(super) fn embedded(heard: &Heard) -> Result<Verdict, String> {
    /// How far from 1 a length may be: clients compare directions, and 32-bit numbers have seven digits.
    const NEAR: f64 = 1e-3;
    let object = heard.object()?;
    let vectors = object.get_array("embeddings").ok_or("there are no embeddings")?;
    if vectors.len() != 2 {
        return Err(format!("{} vectors came for two texts", vectors.len()));
    }
    for vector in vectors {
        let numbers = vector.as_array().ok_or("an embedding is not a list")?;
        let numbers: Option<Vec<f64>> = numbers.iter().map(ValueAsScalar::cast_f64).collect();
        let numbers = numbers.ok_or("an embedding has something else than numbers")?;
        let length = numbers.iter().map(|number| number * number).sum::<f64>().sqrt();
        if (length - 1.0).abs() > NEAR {
            return Err(format!("an embedding has the length {length}, not 1"));
        }
    }
    Ok(Verdict::Works)
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
