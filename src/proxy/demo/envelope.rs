//! The demonstration's answers in OpenAI's shapes: one document, or the events of a stream.
//!
//! Fields and their order are those of OpenAI's API reference, "The chat completion object", "The chat completion chunk
//! object" and "The completion object". What is said is `script`'s, when it is sent is `body`'s.

use std::iter;

use bytes::Bytes;
use simd_json::prelude::*;
use simd_json::{OwnedValue, json};

use super::body::{Step, Steps};
use super::request::TALKS;
use super::script::Answer;

/// What all the chunks of one answer have in common.
pub(super) struct Envelope {
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) is_chat: bool,
}

impl Envelope {
    fn wrap(&self, object: &str, choices: OwnedValue) -> OwnedValue {
        json!({
            "id": self.id.as_str(),
            "object": object,
            "created": self.created,
            "model": TALKS,
            "system_fingerprint": "fp_demo",
            "choices": choices,
        })
    }

    /// The whole answer, for a request that does not stream.
    pub(super) fn whole(&self, answer: Answer, usage: OwnedValue) -> OwnedValue {
        let object = if self.is_chat { "chat.completion" } else { "text_completion" };
        let mut document = self.wrap(object, json!([self.choice(answer)]));
        document.try_insert("usage", usage);
        document
    }

    fn choice(&self, answer: Answer) -> OwnedValue {
        match answer {
            Answer::Text { words, finish_reason } if self.is_chat => json!({
                "index": 0,
                "message": {"role": "assistant", "content": words.concat(), "refusal": null},
                "logprobs": null,
                "finish_reason": finish_reason,
            }),
            Answer::Text { words, finish_reason } => {
                json!({"text": words.concat(), "index": 0, "logprobs": null, "finish_reason": finish_reason})
            }
            Answer::ToolCall { name, arguments } => {
                let function = json!({"name": name, "arguments": arguments.concat()});
                let call = json!({"id": self.call_id(), "type": "function", "function": function});
                json!({
                    "index": 0,
                    "message": {"role": "assistant", "content": null, "tool_calls": [call], "refusal": null},
                    "logprobs": null,
                    "finish_reason": "tool_calls",
                })
            }
        }
    }

    /// The events of a streamed answer: the opening (chat only), one a word, the finish, usage if asked for, the end.
    pub(super) fn stream(self, answer: Answer, usage: Option<OwnedValue>) -> Steps {
        let (opening, words, finish_reason) = match answer {
            Answer::Text { words, finish_reason } => {
                let opening =
                    self.is_chat.then(|| json!({"role": "assistant", "content": "", "refusal": null}));
                (opening, words, finish_reason)
            }
            Answer::ToolCall { name, arguments } => {
                let function = json!({"name": name, "arguments": ""});
                let call =
                    json!({"index": 0, "id": self.call_id(), "type": "function", "function": function});
                let opening =
                    json!({"role": "assistant", "content": null, "tool_calls": [call], "refusal": null});
                (Some(opening), arguments, "tool_calls")
            }
        };
        let is_call = finish_reason == "tool_calls";
        let counts = usage.is_some();
        let delta = move |envelope: &Self, word: String| match (envelope.is_chat, is_call) {
            (false, _) => envelope.text_chunk(&word, None, counts),
            (true, false) => envelope.chat_chunk(json!({"content": word}), None, counts),
            (true, true) => {
                let fragment = json!({"tool_calls": [{"index": 0, "function": {"arguments": word}}]});
                envelope.chat_chunk(fragment, None, counts)
            }
        };
        let opening = opening.map(|opening| self.chat_chunk(opening, None, counts));
        let finish = if self.is_chat {
            self.chat_chunk(json!({}), Some(finish_reason), counts)
        } else {
            self.text_chunk("", Some(finish_reason), counts)
        };
        let usage = usage.map(|usage| {
            let mut chunk = self.wrap(self.chunk_object(), json!([]));
            chunk.try_insert("usage", usage);
            event(&chunk)
        });
        // OpenAI opens with the role at the moment the first word is ready; the wait before it is the first word's.
        let opening = opening.map(|event| Step { is_word: true, event });
        let mut is_first = opening.is_some();
        let words = words.into_iter().map(move |word| {
            let is_word = !std::mem::take(&mut is_first);
            Step { is_word, event: delta(&self, word) }
        });
        let done = Bytes::from_static(b"data: [DONE]\n\n");
        let rest = iter::once(finish)
            .chain(usage)
            .chain(iter::once(done))
            .map(|event| Step { is_word: false, event });
        Box::new(opening.into_iter().chain(words).chain(rest))
    }

    fn chat_chunk(&self, delta: OwnedValue, finish_reason: Option<&str>, counts: bool) -> Bytes {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason});
        self.chunk(choice, counts)
    }

    fn text_chunk(&self, text: &str, finish_reason: Option<&str>, counts: bool) -> Bytes {
        self.chunk(
            json!({"text": text, "index": 0, "logprobs": null, "finish_reason": finish_reason}),
            counts,
        )
    }

    /// With usage asked for, every chunk has the field: null on all but the last.
    fn chunk(&self, choice: OwnedValue, counts: bool) -> Bytes {
        let mut chunk = self.wrap(self.chunk_object(), json!([choice]));
        if counts {
            chunk.try_insert("usage", OwnedValue::null());
        }
        event(&chunk)
    }

    fn chunk_object(&self) -> &'static str {
        if self.is_chat { "chat.completion.chunk" } else { "text_completion" }
    }

    fn call_id(&self) -> String {
        format!("call_{}", self.id)
    }
}

/// Words stand in for tokens.
pub(super) fn usage(prompt: usize, completion: usize) -> OwnedValue {
    json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion})
}

fn event(chunk: &OwnedValue) -> Bytes {
    format!("data: {}\n\n", chunk.encode()).into()
}
