//! [`RequestWriter`]: lays a request for `/chat/completions` or `/completions` into one buffer.
//!
//! Keys are OpenAI's own; which of them go out is the [`Dialect`]'s word. Texts and numbers are spliced as the client
//! wrote them. Here are the messages; what stands beside them is in `members.rs`.

use super::demand::{NO_REASONING, NO_SIGNATURE};
use super::{Dialect, Parameter};
use crate::wire::{JsonError, JsonWriter, RawJson, RawStr, Scanner};
use bytes::BytesMut;

const SYSTEM: &str = "system";

/// A piece of a message that is more than text.
#[derive(Clone, Debug)]
pub enum ContentPart<'a> {
    /// Text.
    Text(RawStr<'a>),
    /// A picture.
    Image(MediaSource<'a>),
    /// Sound, and its format: `wav` or `mp3`.
    Audio(MediaSource<'a>, &'static str),
}

/// Base64 text of a picture or a sound, with its media type.
#[derive(Clone, Debug)]
pub struct MediaSource<'a> {
    /// Such as `image/png`.
    pub media_type: &'static str,
    /// Standard base64, padded or not.
    pub base64: std::borrow::Cow<'a, [u8]>,
}

/// A call in the history.
#[derive(Clone, Copy, Debug)]
pub struct ToolCallRef<'a> {
    /// What the result will name.
    pub id: &'a str,
    /// The function.
    pub name: RawStr<'a>,
    /// An object, or a string that holds one; absent is `{}`.
    pub arguments: Option<RawJson<'a>>,
    /// A JSON object: what the backend put on the call itself.
    pub members: Option<&'a [u8]>,
}

/// See the module's description. The model and the prompt or messages come first, the rest in any order.
#[derive(Debug)]
pub struct RequestWriter<'o> {
    pub(super) json: JsonWriter<'o>,
    dialect: Dialect,
    /// The inside of a string that waits for the message it belongs to: a wish for JSON that `response_format` cannot
    /// carry, and the system's words where the backend has no such role.
    lead: BytesMut,
}

impl<'o> RequestWriter<'o> {
    /// Begins a request for the backend's name of a model.
    pub fn new(model: &str, dialect: Dialect, out: &'o mut BytesMut) -> Self {
        let mut json = JsonWriter::new(out);
        json.begin_object();
        json.key("model");
        json.string(model);
        RequestWriter { json, dialect, lead: BytesMut::new() }
    }

    /// What the backend takes.
    #[must_use]
    pub fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// `prompt` and, for fill in the middle, `suffix` of `/completions`.
    pub fn prompt(&mut self, prompt: RawStr<'_>, suffix: RawStr<'_>) {
        self.json.key("prompt");
        self.json.raw_str(prompt);
        if !suffix.is_empty() {
            self.json.key("suffix");
            self.json.raw_str(suffix);
        }
    }

    /// Opens `messages`.
    pub fn begin_messages(&mut self) {
        self.json.key("messages");
        self.json.begin_array();
    }

    /// Closes `messages`.
    pub fn end_messages(&mut self) {
        if !self.lead.is_empty() {
            self.write_lead();
        }
        self.json.end_array();
    }

    /// A message of text. The system's words are put before the user's where the backend has no such role.
    pub fn text_message(&mut self, role: &str, content: RawStr<'_>) {
        let is_system = role == SYSTEM;
        if is_system && !self.takes(Parameter::SystemRole) {
            return self.lead_with(content);
        }
        if !self.lead.is_empty() && role == self.lead_role() {
            self.lead_with(content);
            return self.write_lead();
        }
        self.begin_message(role);
        self.json.key("content");
        self.json.raw_str(content);
        self.json.end_object();
    }

    /// What the assistant said, and thought.
    pub fn assistant_message(&mut self, content: RawStr<'_>, reasoning: RawStr<'_>) {
        self.begin_message("assistant");
        self.json.key("content");
        self.json.raw_str(content);
        self.thought(reasoning);
        self.json.end_object();
    }

    /// A message of parts.
    pub fn parts_message(&mut self, role: &str, parts: &[ContentPart<'_>]) {
        let lead = if role == self.lead_role() { self.lead.split() } else { BytesMut::new() };
        self.begin_message(role);
        self.json.key("content");
        self.json.begin_array();
        if let Some(text) = RawStr::from_inside(&lead).filter(|text| !text.is_empty()) {
            self.part(&ContentPart::Text(text));
        }
        for part in parts {
            self.part(part);
        }
        self.json.end_array();
        self.json.end_object();
    }

    /// What the assistant said, thought and called.
    pub fn calls_message(&mut self, content: RawStr<'_>, reasoning: RawStr<'_>, calls: &[ToolCallRef<'_>]) {
        self.begin_message("assistant");
        self.json.key("content");
        if content.is_empty() {
            self.json.null();
        } else {
            self.json.raw_str(content);
        }
        self.thought(reasoning);
        self.json.key("tool_calls");
        self.json.begin_array();
        for (nth, call) in calls.iter().enumerate() {
            self.call(call, nth == 0);
        }
        self.json.end_array();
        self.json.end_object();
    }

    /// The result of a call.
    pub fn result_message(&mut self, call_id: &str, content: RawStr<'_>) {
        self.begin_message("tool");
        self.json.key("tool_call_id");
        self.json.string(call_id);
        self.json.key("content");
        self.json.raw_str(content);
        self.json.end_object();
    }

    pub(super) fn takes(&self, parameter: Parameter) -> bool {
        self.dialect.takes(parameter)
    }

    /// Puts a text before what comes next from the [lead's role](Self::lead_role).
    pub(super) fn lead_with(&mut self, text: RawStr<'_>) {
        if !self.lead.is_empty() {
            self.lead.extend_from_slice(br"\n\n");
        }
        JsonWriter::append_raw_text(&mut self.lead, text);
    }

    fn lead_role(&self) -> &'static str {
        if self.takes(Parameter::SystemRole) { SYSTEM } else { "user" }
    }

    /// The lead as a message of its own.
    fn write_lead(&mut self) {
        let (role, lead) = (self.lead_role(), self.lead.split());
        // What was put together out of insides of strings is one.
        if let Some(text) = RawStr::from_inside(&lead).filter(|text| !text.is_empty()) {
            self.begin_message(role);
            self.json.key("content");
            self.json.raw_str(text);
            self.json.end_object();
        }
    }

    fn begin_message(&mut self, role: &str) {
        if !self.lead.is_empty() {
            self.write_lead();
        }
        self.json.begin_object();
        self.json.key("role");
        self.json.string(role);
    }

    /// For a backend that wants it, in every message: one without it would be refused.
    fn thought(&mut self, reasoning: RawStr<'_>) {
        if !self.dialect.demands.reasoning {
            return;
        }
        self.json.key("reasoning_content");
        if reasoning.is_empty() {
            self.json.string(NO_REASONING);
        } else {
            self.json.raw_str(reasoning);
        }
    }

    fn part(&mut self, part: &ContentPart<'_>) {
        self.json.begin_object();
        self.json.key("type");
        match part {
            ContentPart::Text(text) => {
                self.json.string("text");
                self.json.key("text");
                self.json.raw_str(*text);
            }
            ContentPart::Image(image) => {
                self.json.string("image_url");
                self.json.key("image_url");
                self.json.begin_object();
                self.json.key("url");
                self.json.plain_string(&[b"data:", image.media_type.as_bytes(), b";base64,", &image.base64]);
                self.json.end_object();
            }
            ContentPart::Audio(audio, format) => {
                self.json.string("input_audio");
                self.json.key("input_audio");
                self.json.begin_object();
                self.json.key("data");
                self.json.plain_string(&[&audio.base64]);
                self.json.key("format");
                self.json.string(format);
                self.json.end_object();
            }
        }
        self.json.end_object();
    }

    fn call(&mut self, call: &ToolCallRef<'_>, is_first: bool) {
        self.json.begin_object();
        self.json.key("id");
        self.json.string(call.id);
        self.json.key("type");
        self.json.string("function");
        self.json.key("function");
        self.json.begin_object();
        self.json.key("name");
        self.json.raw_str(call.name);
        self.json.key("arguments");
        match call.arguments {
            None => self.json.string("{}"),
            Some(arguments) => match arguments.as_str() {
                Some(text) => self.json.raw_str(text),
                None => self.json.raw_as_string(arguments),
            },
        }
        self.json.end_object();
        match call.members.and_then(|members| Scanner::new(members).value().ok()) {
            Some(members) => self.members(members),
            // Of the calls of one turn only the first is signed.
            None if is_first && self.dialect.demands.signatures => self.no_signature(),
            None => {}
        }
        self.json.end_object();
    }

    fn members(&mut self, members: RawJson<'_>) {
        // What the program itself wrote reads back.
        let _ = members.each_member(|name, value| {
            self.json.key_text(&String::from_utf8_lossy(name));
            self.json.raw(value);
            Ok::<(), JsonError>(())
        });
    }

    fn no_signature(&mut self) {
        self.json.key("extra_content");
        self.json.begin_object();
        self.json.key("google");
        self.json.begin_object();
        self.json.key("thought_signature");
        self.json.string(NO_SIGNATURE);
        self.json.end_object();
        self.json.end_object();
    }
}
