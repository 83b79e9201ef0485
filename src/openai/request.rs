//! [`RequestWriter`]: lays a request for `/chat/completions` or `/completions` into one buffer.
//!
//! Keys are OpenAI's own; which of them go out is the [`Dialect`]'s word. Texts and numbers are spliced as the client
//! wrote them.

use super::{Dialect, Parameter};
use crate::wire::{JsonWriter, RawJson, RawStr};
use bytes::BytesMut;

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
}

/// The sampling parameters, under OpenAI's names.
#[derive(Clone, Copy, Debug)]
pub struct Sampling<'a> {
    /// Values that are only moved.
    pub numbers: [(Parameter, Option<RawJson<'a>>); 8],
    /// `max_tokens`, under the name that the backend takes.
    pub max_tokens: Option<i64>,
    /// `top_k`
    pub top_k: Option<i64>,
    /// `repeat_last_n`
    pub repeat_last_n: Option<i64>,
    /// `seed`
    pub seed: Option<i64>,
    /// A string or an array of strings.
    pub stop: Option<RawJson<'a>>,
}

/// See the module's description. The model and the prompt or messages come first, the rest in any order.
#[derive(Debug)]
pub struct RequestWriter<'o> {
    json: JsonWriter<'o>,
    dialect: Dialect,
}

impl<'o> RequestWriter<'o> {
    /// Begins a request for the backend's name of a model.
    pub fn new(model: &str, dialect: Dialect, out: &'o mut BytesMut) -> Self {
        let mut json = JsonWriter::new(out);
        json.begin_object();
        json.key("model");
        json.string(model);
        RequestWriter { json, dialect }
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
        self.json.end_array();
    }

    /// A message of text.
    pub fn text_message(&mut self, role: &str, content: RawStr<'_>) {
        self.begin_message(role);
        self.json.key("content");
        self.json.raw_str(content);
        self.json.end_object();
    }

    /// A message of parts.
    pub fn parts_message(&mut self, role: &str, parts: &[ContentPart<'_>]) {
        self.begin_message(role);
        self.json.key("content");
        self.json.begin_array();
        for part in parts {
            self.part(part);
        }
        self.json.end_array();
        self.json.end_object();
    }

    /// What the assistant said and called.
    pub fn calls_message(&mut self, content: RawStr<'_>, calls: &[ToolCallRef<'_>]) {
        self.begin_message("assistant");
        self.json.key("content");
        if content.is_empty() {
            self.json.null();
        } else {
            self.json.raw_str(content);
        }
        self.json.key("tool_calls");
        self.json.begin_array();
        for call in calls {
            self.call(call);
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

    /// `tools`, as the client gave them.
    pub fn tools(&mut self, tools: RawJson<'_>) {
        self.json.key("tools");
        self.json.raw(tools);
    }

    /// The sampling parameters that the backend takes.
    pub fn sampling(&mut self, sampling: &Sampling<'_>) {
        for (parameter, value) in sampling.numbers {
            if let Some(value) = value.filter(|_| self.takes(parameter)) {
                self.json.key(parameter.name());
                self.json.raw(value);
            }
        }
        let integers = [
            (Parameter::MaxTokens, sampling.max_tokens),
            (Parameter::MaxCompletionTokens, sampling.max_tokens),
            (Parameter::TopK, sampling.top_k),
            (Parameter::RepeatLastN, sampling.repeat_last_n),
            (Parameter::Seed, sampling.seed),
        ];
        for (parameter, value) in integers {
            if let Some(value) = value.filter(|_| self.takes(parameter)) {
                self.json.key(parameter.name());
                self.json.int(value);
            }
        }
        if let Some(stop) = sampling.stop {
            self.json.key("stop");
            self.json.raw(stop);
        }
    }

    /// `response_format` of any JSON.
    pub fn json_format(&mut self) {
        self.json.key("response_format");
        self.json.begin_object();
        self.json.key("type");
        self.json.string("json_object");
        self.json.end_object();
    }

    /// `response_format` of one schema. Not `strict`: OpenAI would then refuse the schemas that clients generate.
    pub fn schema_format(&mut self, schema: RawJson<'_>) {
        self.json.key("response_format");
        self.json.begin_object();
        self.json.key("type");
        self.json.string("json_schema");
        self.json.key("json_schema");
        self.json.begin_object();
        self.json.key("name");
        self.json.string("schema");
        self.json.key("schema");
        self.json.raw(schema);
        self.json.end_object();
        self.json.end_object();
    }

    /// `reasoning_effort`
    pub fn reasoning_effort(&mut self, effort: &str) {
        if self.takes(Parameter::ReasoningEffort) {
            self.json.key(Parameter::ReasoningEffort.name());
            self.json.string(effort);
        }
    }

    /// The switch of the chat templates that can think or not.
    pub fn enable_thinking(&mut self, on: bool) {
        if self.takes(Parameter::ChatTemplateKwargs) {
            self.json.key(Parameter::ChatTemplateKwargs.name());
            self.json.begin_object();
            self.json.key("enable_thinking");
            self.json.bool(on);
            self.json.end_object();
        }
    }

    /// Token probabilities, of a chat.
    pub fn logprobs(&mut self, top: u64) {
        self.json.key("logprobs");
        self.json.bool(true);
        if top > 0 {
            self.json.key("top_logprobs");
            self.json.uint(top);
        }
    }

    /// Ends the request. A stream is asked for its usage, where the backend takes that.
    pub fn finish(mut self, stream: bool) {
        self.json.key("stream");
        self.json.bool(stream);
        if stream && self.takes(Parameter::StreamOptions) {
            self.json.key(Parameter::StreamOptions.name());
            self.json.begin_object();
            self.json.key("include_usage");
            self.json.bool(true);
            self.json.end_object();
        }
        self.json.end_object();
    }

    fn takes(&self, parameter: Parameter) -> bool {
        self.dialect.takes(parameter)
    }

    fn begin_message(&mut self, role: &str) {
        self.json.begin_object();
        self.json.key("role");
        self.json.string(role);
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

    fn call(&mut self, call: &ToolCallRef<'_>) {
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
        self.json.end_object();
    }
}
