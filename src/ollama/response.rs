//! The lines and objects of `/api/chat` and `/api/generate`, byte for byte in Ollama's field order.
//!
//! A streamed text line is laid by [`LineHead::begin_text`] and [`LineHead::end_text`] around text that is copied once;
//! everything with an end (the last line, a whole answer, a load reply) is one [`Answer`].

use super::{Timestamp, Timing};
use crate::wire::JsonWriter;
use bytes::{BufMut, BytesMut};
use std::ops::Range;

/// Which of the two text endpoints answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/api/chat`: text in `message.content`.
    Chat,
    /// `/api/generate`: text in `response`.
    Generate,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoneReason {
    /// The model was done, or a stop sequence came, or it calls tools.
    Stop,
    /// The token limit.
    Length,
    /// An empty prompt: the model is "loaded".
    Load,
    /// An empty prompt with `keep_alive` 0.
    Unload,
}

impl DoneReason {
    fn word(self) -> &'static str {
        match self {
            DoneReason::Stop => "stop",
            DoneReason::Length => "length",
            DoneReason::Load => "load",
            DoneReason::Unload => "unload",
        }
    }
}

/// The beginning that all lines of one answer share, up to the value of `created_at`.
#[derive(Clone, Debug)]
pub struct LineHead {
    endpoint: Endpoint,
    head: BytesMut,
}

/// What one object says. The texts are the insides of JSON strings, the lists the insides of JSON arrays.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer<'a> {
    /// `message.content` or `response`
    pub text: &'a [u8],
    /// `thinking`, left out when empty.
    pub thinking: &'a [u8],
    /// `message.tool_calls`, left out when empty.
    pub tool_calls: &'a [u8],
    /// `logprobs`, left out when empty.
    pub logprobs: &'a [u8],
}

impl LineHead {
    /// `model` is the name as the client spelt it.
    #[must_use]
    pub fn new(endpoint: Endpoint, model: &str) -> Self {
        // Room for what stands around the name: nearly always it is as long as it is written.
        let mut head = BytesMut::with_capacity(model.len() + 32);
        let mut json = JsonWriter::new(&mut head);
        json.begin_object();
        json.key("model");
        json.string(model);
        json.key("created_at");
        head.put_u8(b'"');
        LineHead { endpoint, head }
    }

    /// Bytes of a text line around its text, with the longest `created_at`.
    #[must_use]
    pub fn overhead(&self) -> usize {
        const LONGEST: usize =
            "2026-11-22T00:00:00.123456789Z\",\"message\":{\"role\":\"assistant\",\"content\":\"\
            \",\"thinking\":\"\"},\"done\":false}\n"
                .len();
        self.head.len() + LONGEST
    }

    /// Where in a line a `created_at` of this length stands.
    #[must_use]
    pub fn created_at(&self, len: usize) -> Range<usize> {
        self.head.len()..self.head.len() + len
    }

    /// A line with a piece of the answer, up to where its text goes.
    pub fn begin_text(&self, created_at: &[u8], out: &mut BytesMut) {
        self.begin(created_at, out);
        out.put_slice(match self.endpoint {
            Endpoint::Chat => br#"","message":{"role":"assistant","content":""#,
            Endpoint::Generate => br#"","response":""#,
        });
    }

    /// The same for a piece of reasoning.
    pub fn begin_thinking(&self, created_at: &[u8], out: &mut BytesMut) {
        self.begin(created_at, out);
        out.put_slice(match self.endpoint {
            Endpoint::Chat => br#"","message":{"role":"assistant","content":"","thinking":""#,
            Endpoint::Generate => br#"","response":"","thinking":""#,
        });
    }

    /// The rest of the line, behind the text. `logprobs` is the inside of the array, left out when empty.
    pub fn end_text(&self, logprobs: &[u8], out: &mut BytesMut) {
        let end = self.text_end();
        if logprobs.is_empty() {
            return out.put_slice(end);
        }
        out.put_slice(end.strip_suffix(b"}\n").unwrap_or(end));
        put_list(",\"logprobs\":", logprobs, out);
        out.put_slice(b"}\n");
    }

    /// The rest of a line that has no more than its text.
    #[must_use]
    pub fn text_end(&self) -> &'static [u8] {
        match self.endpoint {
            Endpoint::Chat => b"\"},\"done\":false}\n",
            Endpoint::Generate => b"\",\"done\":false}\n",
        }
    }

    /// A line that carries something but does not end the answer.
    pub fn write_part(&self, created_at: &[u8], answer: &Answer<'_>, out: &mut BytesMut) {
        self.write_body(created_at, answer, out);
        out.put_slice(b",\"done\":false");
        put_list(",\"logprobs\":", answer.logprobs, out);
        out.put_slice(b"}\n");
    }

    /// The object that ends the answer, without a line end.
    pub fn write_end(
        &self,
        created_at: &[u8],
        answer: &Answer<'_>,
        reason: DoneReason,
        timing: Option<&Timing>,
        out: &mut BytesMut,
    ) {
        self.write_body(created_at, answer, out);
        out.put_slice(b",\"done\":true,\"done_reason\":\"");
        out.put_slice(reason.word().as_bytes());
        out.put_u8(b'"');
        // The two endpoints have them on either side of the figures.
        if self.endpoint == Endpoint::Chat {
            put_list(",\"logprobs\":", answer.logprobs, out);
        }
        if let Some(timing) = timing {
            timing.write(&mut JsonWriter::resume(out));
        }
        if self.endpoint == Endpoint::Generate {
            put_list(",\"logprobs\":", answer.logprobs, out);
        }
        out.put_u8(b'}');
    }

    fn begin(&self, created_at: &[u8], out: &mut BytesMut) {
        out.put_slice(&self.head);
        out.put_slice(created_at);
    }

    fn write_body(&self, created_at: &[u8], answer: &Answer<'_>, out: &mut BytesMut) {
        self.begin_text(created_at, out);
        out.put_slice(answer.text);
        out.put_u8(b'"');
        if !answer.thinking.is_empty() {
            out.put_slice(b",\"thinking\":\"");
            out.put_slice(answer.thinking);
            out.put_u8(b'"');
        }
        put_list(",\"tool_calls\":", answer.tool_calls, out);
        if self.endpoint == Endpoint::Chat {
            out.put_u8(b'}');
        }
    }
}

fn put_list(name: &str, items: &[u8], out: &mut BytesMut) {
    if !items.is_empty() {
        out.put_slice(name.as_bytes());
        out.put_u8(b'[');
        out.put_slice(items);
        out.put_u8(b']');
    }
}

/// `{"error":"..."}`: the body of a failed request, and the last line of a stream that failed.
pub fn write_error(message: &str, out: &mut BytesMut) {
    let mut json = JsonWriter::new(out);
    json.begin_object();
    json.key("error");
    json.string(message);
    json.end_object();
}

/// The reply to an empty prompt: one object without figures, also when lines were asked for.
pub fn write_loaded(endpoint: Endpoint, model: &str, now: Timestamp, reason: DoneReason, out: &mut BytesMut) {
    let mut created_at = BytesMut::new();
    now.write(&mut created_at);
    LineHead::new(endpoint, model).write_end(&created_at, &Answer::default(), reason, None, out);
}

/// `/api/version`
pub fn write_version(version: &str, out: &mut BytesMut) {
    let mut json = JsonWriter::new(out);
    json.begin_object();
    json.key("version");
    json.string(version);
    json.end_object();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const AT: &[u8] = b"2026-08-21T10:00:00.123456789Z";

    fn text(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn text_line(head: &LineHead) -> String {
        text(|out| {
            head.begin_text(AT, out);
            out.put_slice(b"Hi");
            head.end_text(b"", out);
        })
    }

    #[test]
    fn lines_are_ollamas_to_the_byte() {
        let (chat, generate) = (LineHead::new(Endpoint::Chat, "m"), LineHead::new(Endpoint::Generate, "m"));
        assert_eq!(
            text_line(&chat),
            "{\"model\":\"m\",\"created_at\":\"2026-08-21T10:00:00.123456789Z\",\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"done\":false}\n"
        );
        assert_eq!(
            text_line(&generate),
            "{\"model\":\"m\",\"created_at\":\"2026-08-21T10:00:00.123456789Z\",\"response\":\"Hi\",\"done\":false}\n"
        );
        let thinking = |head: &LineHead| {
            text(|out| {
                head.begin_thinking(AT, out);
                out.put_slice(b"Hm");
                head.end_text(b"", out);
            })
        };
        assert!(thinking(&chat).ends_with(
            "\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"Hm\"},\"done\":false}\n"
        ));
        assert!(thinking(&generate).ends_with("\"response\":\"\",\"thinking\":\"Hm\",\"done\":false}\n"));
    }

    #[test]
    fn the_overhead_covers_the_longest_line() {
        let head = LineHead::new(Endpoint::Chat, "m");
        let line = text(|out| {
            head.begin_thinking(AT, out);
            head.end_text(b"", out);
        });
        assert_eq!(line.len(), head.overhead());
    }

    #[test]
    fn the_end_carries_the_reason_and_what_was_measured() {
        let timing = Timing {
            total: Duration::from_nanos(50),
            load: Duration::from_nanos(1),
            prompt_eval_count: Some(26),
            prompt_eval: Duration::ZERO,
            eval_count: Some(298),
            eval: Duration::ZERO,
        };
        let head = LineHead::new(Endpoint::Chat, "m\"");
        let end = text(|out| head.write_end(AT, &Answer::default(), DoneReason::Stop, Some(&timing), out));
        assert_eq!(
            end,
            "{\"model\":\"m\\\"\",\"created_at\":\"2026-08-21T10:00:00.123456789Z\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"total_duration\":50,\"load_duration\":1,\"prompt_eval_count\":26,\"prompt_eval_duration\":1,\"eval_count\":298,\"eval_duration\":1}"
        );
    }

    #[test]
    fn a_whole_answer_carries_everything_in_order() {
        let answer =
            Answer { text: b"t", thinking: b"th", tool_calls: b"{\"function\":1}", logprobs: b"1,2" };
        let head = LineHead::new(Endpoint::Chat, "m");
        let end = text(|out| head.write_end(b"x", &answer, DoneReason::Length, None, out));
        assert_eq!(
            end,
            "{\"model\":\"m\",\"created_at\":\"x\",\"message\":{\"role\":\"assistant\",\"content\":\"t\",\"thinking\":\"th\",\"tool_calls\":[{\"function\":1}]},\"done\":true,\"done_reason\":\"length\",\"logprobs\":[1,2]}"
        );
    }

    #[test]
    fn load_and_unload_are_one_object_without_figures() {
        let now = Timestamp::from_unix_seconds(0);
        let load = text(|out| write_loaded(Endpoint::Generate, "m", now, DoneReason::Load, out));
        assert_eq!(
            load,
            "{\"model\":\"m\",\"created_at\":\"1970-01-01T00:00:00Z\",\"response\":\"\",\"done\":true,\"done_reason\":\"load\"}"
        );
        let unload = text(|out| write_loaded(Endpoint::Chat, "m", now, DoneReason::Unload, out));
        assert!(unload.ends_with(
            "\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"unload\"}"
        ));
    }

    #[test]
    fn an_error_is_a_string() {
        assert_eq!(text(|out| write_error("say \"x\"\n", out)), "{\"error\":\"say \\\"x\\\"\\n\"}");
    }
}
