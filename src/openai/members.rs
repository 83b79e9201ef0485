//! What stands beside the messages of a request: each member where the [`Dialect`](super::Dialect) has it, in its form.

use super::dialect::Switch;
use super::{Parameter, RequestWriter, Thought};
use crate::wire::{JsonError, JsonWriter, RawJson, RawStr};
use bytes::BytesMut;

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

impl RequestWriter<'_> {
    /// `tools`, as the client gave them, but for a `type` that Ollama does without and other servers demand.
    pub fn tools(&mut self, tools: RawJson<'_>) {
        self.json.key("tools");
        let mut are_typed = true;
        // A checked value has no fault of its own.
        let _ = tools.each_element(|tool| {
            are_typed &= untyped(tool).is_none();
            Ok::<(), JsonError>(())
        });
        if are_typed {
            return self.json.raw(tools);
        }
        self.json.begin_array();
        let _ = tools.each_element(|tool| {
            match untyped(tool) {
                None => self.json.raw(tool),
                Some(function) => {
                    self.json.begin_object();
                    self.json.key("type");
                    self.json.string("function");
                    self.json.key("function");
                    self.json.raw(function);
                    self.json.end_object();
                }
            }
            Ok::<(), JsonError>(())
        });
        self.json.end_array();
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
            (Parameter::RandomSeed, sampling.seed),
        ];
        for (parameter, value) in integers {
            if let Some(value) = value.filter(|_| self.takes(parameter)) {
                self.json.key(parameter.name());
                self.json.int(value);
            }
        }
        if let Some(stop) = sampling.stop.filter(|_| self.takes(Parameter::Stop)) {
            self.stop(stop);
        }
    }

    /// The first of too many sequences: most answers end at one of them, and a refused request has none.
    fn stop(&mut self, stop: RawJson<'_>) {
        let max = self.dialect().max_stops();
        self.json.key(Parameter::Stop.name());
        let mut list = Vec::new();
        let read = stop.each_element(|element| {
            // One more than goes out tells that there are too many.
            if list.len() <= max {
                list.push(element);
            }
            Ok::<(), JsonError>(())
        });
        if read.is_err() || list.len() <= max {
            return self.json.raw(stop);
        }
        self.json.begin_array();
        for element in list.into_iter().take(max) {
            self.json.raw(element);
        }
        self.json.end_array();
    }

    /// Before the messages: says in words among them what [`format`](Self::format) cannot say beside them.
    pub fn ask_for_json(&mut self, schema: Option<RawJson<'_>>) {
        let by_format = self.takes(Parameter::JsonSchema) || self.takes(Parameter::JsonObject);
        let mut line = BytesMut::new();
        match schema.filter(|_| !self.takes(Parameter::JsonSchema)) {
            Some(schema) => {
                // The schema is text within a text: it is escaped once more.
                let mut quoted = BytesMut::new();
                JsonWriter::new(&mut quoted).raw_as_string(schema);
                line.extend_from_slice(
                    b"Answer with one JSON value that matches this JSON schema, and with nothing else: ",
                );
                line.extend_from_slice(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default());
            }
            None if !by_format || !self.takes(Parameter::WordlessJson) => {
                line.extend_from_slice(b"Answer with one JSON object and with nothing else.");
            }
            None => {}
        }
        if let Some(line) = RawStr::from_inside(&line).filter(|line| !line.is_empty()) {
            self.lead_with(line);
        }
    }

    /// `response_format`, of one schema or of any JSON. Not `strict`: OpenAI would then refuse the schemas that clients
    /// generate.
    pub fn format(&mut self, schema: Option<RawJson<'_>>) {
        let by_object = self.takes(Parameter::JsonObject);
        let by_schema = self.takes(Parameter::JsonSchema) && (schema.is_some() || !by_object);
        if !by_schema && !by_object {
            return;
        }
        self.json.key("response_format");
        self.json.begin_object();
        self.json.key("type");
        if by_schema {
            self.json.string(Parameter::JsonSchema.name());
            self.json.key(Parameter::JsonSchema.name());
            self.json.begin_object();
            self.json.key("name");
            self.json.string("schema");
            self.json.key("schema");
            match schema {
                Some(schema) => self.json.raw(schema),
                None => {
                    self.json.begin_object();
                    self.json.key("type");
                    self.json.string("object");
                    self.json.end_object();
                }
            }
            self.json.end_object();
        } else {
            self.json.string(Parameter::JsonObject.name());
        }
        self.json.end_object();
    }

    /// Whether to think, and how much.
    pub fn think(&mut self, thought: Thought) {
        let on = thought != Thought::Off;
        let effort = self.dialect().effort(thought);
        match self.dialect().profile.switch() {
            Switch::Nowhere => self.effort(effort),
            Switch::ReasoningEffort => self.reasoning(effort.is_none().then_some(on), effort),
            Switch::ReasoningEnabled => {
                self.reasoning(Some(on), None);
                self.effort(effort);
            }
            Switch::ThinkingType => {
                if self.takes(Parameter::Thinking) {
                    self.json.key(Parameter::Thinking.name());
                    self.json.begin_object();
                    self.json.key("type");
                    self.json.string(if on { "enabled" } else { "disabled" });
                    self.json.end_object();
                }
                self.effort(effort);
            }
            Switch::Template(names) => {
                self.template(names, on, None);
                self.effort(effort);
            }
            Switch::TemplateWithEffort(names) => self.template(names, on, effort),
            Switch::Parsed => {
                if thought == Thought::On && self.takes(Parameter::ReasoningFormat) {
                    self.json.key(Parameter::ReasoningFormat.name());
                    self.json.string("parsed");
                }
                self.effort(effort);
            }
        }
    }

    fn effort(&mut self, effort: Option<&'static str>) {
        if let Some(effort) = effort.filter(|_| self.takes(Parameter::ReasoningEffort)) {
            self.json.key(Parameter::ReasoningEffort.name());
            self.json.string(effort);
        }
    }

    fn reasoning(&mut self, enabled: Option<bool>, effort: Option<&'static str>) {
        if !self.takes(Parameter::Reasoning) {
            return;
        }
        self.json.key(Parameter::Reasoning.name());
        self.json.begin_object();
        if let Some(enabled) = enabled {
            self.json.key("enabled");
            self.json.bool(enabled);
        }
        if let Some(effort) = effort {
            self.json.key("effort");
            self.json.string(effort);
        }
        self.json.end_object();
    }

    /// The switches of the chat templates that can think or not.
    fn template(&mut self, names: &'static [&'static str], on: bool, effort: Option<&'static str>) {
        if !self.takes(Parameter::ChatTemplateKwargs) {
            return;
        }
        self.json.key(Parameter::ChatTemplateKwargs.name());
        self.json.begin_object();
        for name in names {
            self.json.key(name);
            self.json.bool(on);
        }
        if let Some(effort) = effort {
            self.json.key(Parameter::ReasoningEffort.name());
            self.json.string(effort);
        }
        self.json.end_object();
    }

    /// Token probabilities, of a chat.
    pub fn logprobs(&mut self, top: u64) {
        if !self.takes(Parameter::Logprobs) {
            return;
        }
        self.json.key(Parameter::Logprobs.name());
        self.json.bool(true);
        if top > 0 && self.takes(Parameter::TopLogprobs) {
            self.json.key(Parameter::TopLogprobs.name());
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
            if self.takes(Parameter::IncludeObfuscation) {
                self.json.key(Parameter::IncludeObfuscation.name());
                self.json.bool(false);
            }
            self.json.end_object();
        }
        self.json.end_object();
    }
}

/// The function of a tool that does not say that it is one.
fn untyped<'a>(tool: RawJson<'a>) -> Option<RawJson<'a>> {
    let (mut function, mut is_typed) = (None, false);
    let read = tool.each_member(|name, value| {
        match name {
            b"function" => function = Some(value),
            b"type" => is_typed = value.as_str().is_some_and(|name| !name.is_empty()),
            _ => {}
        }
        Ok::<(), JsonError>(())
    });
    function.filter(|_| read.is_ok() && !is_typed)
}
