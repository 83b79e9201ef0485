//! The words of a backend: the chunks of a stream, and the list of models.

use serde_json::{Value, json};

/// The head of a chunked stream of events.
pub(crate) const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// The bytes of one event.
pub(crate) fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

/// The chunk that only says who speaks.
pub(crate) fn role() -> Value {
    json!({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": null}]})
}

pub(crate) fn delta(text: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]})
}

pub(crate) fn finish(reason: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

pub(crate) fn usage() -> Value {
    json!({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}})
}

/// The answer to `GET /models`, newest first.
pub(crate) fn model_list(ids: &[&str]) -> Value {
    let created = (0..ids.len()).map(|age| 1_700_000_000 - age);
    let models = ids.iter().zip(created);
    let data: Vec<Value> = models
        .map(|(id, created)| json!({"id": id, "object": "model", "created": created, "owned_by": "owner"}))
        .collect();
    json!({"object": "list", "data": data})
}
