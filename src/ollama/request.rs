//! [`ChatRequest`], [`GenerateRequest`], [`ShowRequest`]: what the client said, borrowed from the body.
//!
//! As in Ollama's decoder: field names match in any case, unknown fields are passed over, `null` is the zero value, the
//! last of two equal fields wins, and what follows the first JSON value is not read.

use super::{KeepAlive, Options, RequestError};
use crate::wire::{KEY_BYTES, Kind, RawJson, RawStr, Scanner};
use std::borrow::Cow;
use std::fmt;

/// `think`: whether the model is to reason first, and how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Think {
    /// Not said: the model's own habit.
    #[default]
    Unset,
    /// `false`
    Off,
    /// `true`
    On,
    /// `"low"`, `"medium"`, `"high"` or `"max"`
    Level(&'static str),
}

/// `format`: what the answer must look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format<'a> {
    /// Absent, `null` or `""`.
    #[default]
    Text,
    /// `"json"`
    Json,
    /// A JSON schema.
    Schema(RawJson<'a>),
}

/// What chat and generate share.
#[derive(Clone, Debug)]
pub struct Common<'a> {
    /// The name as the client spelt it.
    pub model: Cow<'a, str>,
    /// Lines as they come, or one object. Ollama's default is lines.
    pub stream: bool,
    /// See [`Format`].
    pub format: Format<'a>,
    /// See [`KeepAlive`]; `None` when absent.
    pub keep_alive: Option<KeepAlive>,
    /// See [`Options`].
    pub options: Options<'a>,
    /// See [`Think`].
    pub think: Think,
    /// Whether token probabilities were asked for.
    pub logprobs: bool,
    /// How many alternatives a token, 0 to 20.
    pub top_logprobs: u64,
}

/// `POST /api/chat`
#[derive(Clone, Debug)]
pub struct ChatRequest<'a> {
    /// The fields of both text endpoints.
    pub common: Common<'a>,
    /// The conversation. Empty: load or unload.
    pub messages: Vec<Message<'a>>,
    /// The `tools` array, forwarded as it stands; `None` when absent or empty.
    pub tools: Option<RawJson<'a>>,
}

/// One message of a conversation.
#[derive(Clone, Debug, Default)]
pub struct Message<'a> {
    /// In lower case, as Ollama makes it.
    pub role: Cow<'a, str>,
    /// Absent and `null` are empty.
    pub content: RawStr<'a>,
    /// Earlier reasoning.
    pub thinking: RawStr<'a>,
    /// Base64 texts.
    pub images: Vec<RawStr<'a>>,
    /// Calls that the assistant made.
    pub tool_calls: Vec<ToolCall<'a>>,
    /// On role `tool`: which function answered.
    pub tool_name: RawStr<'a>,
    /// On role `tool`: which call was answered.
    pub tool_call_id: RawStr<'a>,
}

/// A call in the history.
#[derive(Clone, Copy, Debug)]
pub struct ToolCall<'a> {
    /// Usually lost by the client.
    pub id: RawStr<'a>,
    /// The function.
    pub name: RawStr<'a>,
    /// An object; a string that holds one is taken too.
    pub arguments: Option<RawJson<'a>>,
}

/// `POST /api/generate`
#[derive(Clone, Debug)]
pub struct GenerateRequest<'a> {
    /// The fields of both text endpoints.
    pub common: Common<'a>,
    /// Empty: load or unload.
    pub prompt: RawStr<'a>,
    /// What comes after the insertion, for fill in the middle.
    pub suffix: RawStr<'a>,
    /// The system message.
    pub system: RawStr<'a>,
    /// The prompt goes to the model without a chat template.
    pub raw: bool,
    /// Base64 texts.
    pub images: Vec<RawStr<'a>>,
}

/// `POST /api/show`
#[derive(Clone, Debug)]
pub struct ShowRequest<'a> {
    /// `model`, else the deprecated `name`.
    pub model: Cow<'a, str>,
}

/// The fields of [`Common`] while they are being read.
#[derive(Default)]
struct Fields<'a> {
    model: RawStr<'a>,
    stream: Option<bool>,
    format: Format<'a>,
    keep_alive: Option<KeepAlive>,
    options: Options<'a>,
    think: Think,
    logprobs: bool,
    top_logprobs: u64,
}

impl<'a> Fields<'a> {
    /// Takes the value when the field is one of these.
    fn take(&mut self, name: &[u8], value: &mut Scanner<'a>) -> Result<(), RequestError> {
        match name {
            b"model" => self.model = string("model", value)?,
            b"stream" => self.stream = boolean("stream", value)?,
            b"format" => self.format = format(value.value()?)?,
            b"keep_alive" => self.keep_alive = KeepAlive::read(value.value()?)?,
            b"options" => self.options = Options::read(value.value()?)?,
            b"think" => self.think = think(value.value()?)?,
            b"logprobs" => self.logprobs = boolean("logprobs", value)?.unwrap_or(false),
            b"top_logprobs" => self.top_logprobs = top_logprobs(value.value()?)?,
            _ => {}
        }
        Ok(())
    }

    fn done(self, model_missing: RequestError) -> Result<Common<'a>, RequestError> {
        if self.model.is_empty() {
            return Err(model_missing);
        }
        Ok(Common {
            model: model_name(self.model)?,
            stream: self.stream.unwrap_or(true),
            format: self.format,
            keep_alive: self.keep_alive,
            options: self.options,
            think: self.think,
            logprobs: self.logprobs,
            top_logprobs: self.top_logprobs,
        })
    }
}

impl<'a> ChatRequest<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// When it is missing, no JSON object, or a field has a value of another type.
    pub fn parse(body: &'a [u8]) -> Result<Self, RequestError> {
        let mut fields = Fields::default();
        let (mut messages, mut tools, mut room) = (Vec::new(), None, Room::default());
        members(body, |name, value| {
            match name {
                b"messages" => messages = list("messages", value, &mut room, Message::read)?,
                b"tools" => tools = array("tools", value)?.filter(|tools| !tools.is_empty_container()),
                _ => fields.take(name, value)?,
            }
            Ok(())
        })?;
        let common = fields.done(RequestError::new("model is required"))?;
        Ok(ChatRequest { common, messages, tools })
    }
}

impl<'a> GenerateRequest<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// As [`ChatRequest::parse`], and when `raw` stands beside what it excludes.
    pub fn parse(body: &'a [u8]) -> Result<Self, RequestError> {
        let mut fields = Fields::default();
        let (mut prompt, mut suffix, mut system) = (RawStr::default(), RawStr::default(), RawStr::default());
        let (mut raw, mut shaped, mut images, mut room) = (false, false, Vec::new(), Room::default());
        members(body, |name, value| {
            match name {
                b"prompt" => prompt = string("prompt", value)?,
                b"suffix" => suffix = string("suffix", value)?,
                b"system" => system = string("system", value)?,
                b"template" => shaped |= !string("template", value)?.is_empty(),
                b"context" => shaped |= array("context", value)?.is_some_and(|ids| !ids.is_empty_container()),
                b"raw" => raw = boolean("raw", value)?.unwrap_or(false),
                b"images" => {
                    images = list("images", value, &mut room, |field, value, _| string(field, value))?
                }
                _ => fields.take(name, value)?,
            }
            Ok(())
        })?;
        let common = fields.done(RequestError::not_found("model '' not found"))?;
        if raw && !prompt.is_empty() && (shaped || !system.is_empty()) {
            return Err(RequestError::new("raw mode does not support template, system, or context"));
        }
        Ok(GenerateRequest { common, prompt, suffix, system, raw, images })
    }
}

impl<'a> ShowRequest<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// When it is missing, no JSON object, or names no model.
    pub fn parse(body: &'a [u8]) -> Result<Self, RequestError> {
        let (mut model, mut name) = (RawStr::default(), RawStr::default());
        members(body, |field, value| {
            match field {
                b"model" => model = string("model", value)?,
                b"name" => name = string("name", value)?,
                _ => {}
            }
            Ok(())
        })?;
        let model = if model.is_empty() { name } else { model };
        if model.is_empty() {
            return Err(RequestError::new("model is required"));
        }
        Ok(ShowRequest { model: model_name(model)? })
    }
}

impl<'a> Message<'a> {
    fn read(
        field: fmt::Arguments<'_>,
        value: &mut Scanner<'a>,
        room: &mut Room,
    ) -> Result<Self, RequestError> {
        let mut message = Message::default();
        object(field, value, |name, value| {
            match name {
                b"role" => message.role = lowercase(string(format_args!("{field}.role"), value)?),
                b"content" => message.content = string(format_args!("{field}.content"), value)?,
                b"thinking" => message.thinking = string(format_args!("{field}.thinking"), value)?,
                b"images" => {
                    message.images = list(format_args!("{field}.images"), value, room, |field, value, _| {
                        string(field, value)
                    })?
                }
                b"tool_calls" => {
                    message.tool_calls =
                        list(format_args!("{field}.tool_calls"), value, room, ToolCall::read)?
                }
                b"tool_name" => message.tool_name = string(format_args!("{field}.tool_name"), value)?,
                b"tool_call_id" => {
                    message.tool_call_id = string(format_args!("{field}.tool_call_id"), value)?
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(message)
    }
}

impl<'a> ToolCall<'a> {
    fn read(field: fmt::Arguments<'_>, value: &mut Scanner<'a>, _: &mut Room) -> Result<Self, RequestError> {
        let mut call = ToolCall { id: RawStr::default(), name: RawStr::default(), arguments: None };
        object(field, value, |name, value| {
            match name {
                b"id" => call.id = string(format_args!("{field}.id"), value)?,
                b"function" => object(format_args!("{field}.function"), value, |name, value| {
                    match name {
                        b"name" => call.name = string(format_args!("{field}.function.name"), value)?,
                        b"arguments" => {
                            call.arguments = arguments(format_args!("{field}.function.arguments"), value)?
                        }
                        _ => {}
                    }
                    Ok(())
                })?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(call)
    }
}

/// Calls `take` with the name of each member of the body's object, in lower case, and the scanner at its value. What
/// `take` leaves there is passed over.
pub(super) fn members<'a>(
    body: &'a [u8],
    take: impl FnMut(&[u8], &mut Scanner<'a>) -> Result<(), RequestError>,
) -> Result<(), RequestError> {
    if body.trim_ascii().is_empty() {
        return Err(RequestError::new("missing request body"));
    }
    // Ollama reads the whole value before any field: where something is no JSON, that is what is wrong.
    object("the request body", &mut Scanner::new(body), take)
        .map_err(|error| Scanner::new(body).value().map_or_else(RequestError::from, |_| error))
}

fn object<'a>(
    field: impl fmt::Display,
    value: &mut Scanner<'a>,
    mut take: impl FnMut(&[u8], &mut Scanner<'a>) -> Result<(), RequestError>,
) -> Result<(), RequestError> {
    match value.kind()? {
        Kind::Object => value.begin_object()?,
        other => return null(field, "an object", other, value),
    }
    while let Some(key) = value.next_key()? {
        let mut scratch = [0; KEY_BYTES];
        let at = value.offset();
        take(key.lookup_lowercase(&mut scratch), value)?;
        if value.offset() == at {
            value.value()?;
        }
    }
    Ok(())
}

/// How many more messages, pictures and calls a request may have, all lists together. One is three bytes of a body and
/// far more once it is read: without an end to them a body under its cap would take gigabytes. No conversation that a
/// model can read comes near.
#[derive(Debug)]
pub(super) struct Room(usize);

impl Room {
    pub(super) const MOST: usize = 1 << 15;

    fn take(&mut self, field: impl fmt::Display) -> Result<(), RequestError> {
        match self.0.checked_sub(1) {
            Some(left) => self.0 = left,
            None => {
                let most = Room::MOST;
                let what = "messages, images and tool calls in one request";
                return Err(RequestError::new(format!("{field}: more than {most} {what}")));
            }
        }
        Ok(())
    }
}

impl Default for Room {
    fn default() -> Self {
        Room(Room::MOST)
    }
}

/// `read` takes each item.
pub(super) fn list<'a, T>(
    field: impl fmt::Display,
    value: &mut Scanner<'a>,
    room: &mut Room,
    mut read: impl FnMut(fmt::Arguments<'_>, &mut Scanner<'a>, &mut Room) -> Result<T, RequestError>,
) -> Result<Vec<T>, RequestError> {
    let mut items = Vec::new();
    match value.kind()? {
        Kind::Array => value.begin_array()?,
        other => return null(field, "an array", other, value).map(|()| items),
    }
    while value.next_element()? {
        room.take(&field)?;
        let item = read(format_args!("{field}[{}]", items.len()), value, room)?;
        items.push(item);
    }
    Ok(items)
}

/// `null`, which is taken in the place of every kind.
fn null(
    field: impl fmt::Display,
    expected: &str,
    found: Kind,
    value: &mut Scanner<'_>,
) -> Result<(), RequestError> {
    if found != Kind::Null {
        return Err(RequestError::expected(field, expected, found));
    }
    value.value()?;
    Ok(())
}

fn array<'a>(field: &str, value: &mut Scanner<'a>) -> Result<Option<RawJson<'a>>, RequestError> {
    match value.kind()? {
        Kind::Array => Ok(Some(value.value()?)),
        other => null(field, "an array", other, value).map(|()| None),
    }
}

pub(super) fn string<'a>(
    field: impl fmt::Display,
    value: &mut Scanner<'a>,
) -> Result<RawStr<'a>, RequestError> {
    match value.kind()? {
        Kind::String => Ok(value.string()?),
        other => null(field, "a string", other, value).map(|()| RawStr::default()),
    }
}

pub(super) fn boolean(field: &str, value: &mut Scanner<'_>) -> Result<Option<bool>, RequestError> {
    match value.kind()? {
        Kind::Bool => Ok(Some(value.value()?.bytes() == b"true")),
        other => null(field, "a boolean", other, value).map(|()| None),
    }
}

fn arguments<'a>(
    field: impl fmt::Display,
    value: &mut Scanner<'a>,
) -> Result<Option<RawJson<'a>>, RequestError> {
    match value.kind()? {
        Kind::Object | Kind::String => Ok(Some(value.value()?)),
        other => null(field, "an object", other, value).map(|()| None),
    }
}

fn lowercase(text: RawStr<'_>) -> Cow<'_, str> {
    match text.raw() {
        b"user" => return Cow::Borrowed("user"),
        b"assistant" => return Cow::Borrowed("assistant"),
        b"tool" => return Cow::Borrowed("tool"),
        b"system" => return Cow::Borrowed("system"),
        _ => {}
    }
    let text = text.decode();
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        text
    }
}

/// A name that can be a model's: any text without control characters, up to the length Ollama's own names can have.
pub(super) fn model_name(name: RawStr<'_>) -> Result<Cow<'_, str>, RequestError> {
    let name = name.decode();
    if name.len() > super::MAX_NAME_BYTES || name.chars().any(char::is_control) {
        return Err(RequestError::new("invalid model name"));
    }
    Ok(name)
}

fn format(value: RawJson<'_>) -> Result<Format<'_>, RequestError> {
    let invalid = |shown: &str| {
        RequestError::new(format!("invalid format: {shown}; expected \"json\" or a valid JSON Schema object"))
    };
    match value.kind() {
        Kind::Null => Ok(Format::Text),
        Kind::Object => Ok(Format::Schema(value)),
        Kind::String => match value.as_str().unwrap_or_default().decode().as_ref() {
            "" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            other => Err(invalid(&format!("{other:?}"))),
        },
        other => Err(invalid(other.name())),
    }
}

fn think(value: RawJson<'_>) -> Result<Think, RequestError> {
    match value.kind() {
        Kind::Null => Ok(Think::Unset),
        Kind::Bool => Ok(if value.bytes() == b"true" { Think::On } else { Think::Off }),
        Kind::String => match value.as_str().unwrap_or_default().decode().as_ref() {
            "" => Ok(Think::Unset),
            "low" => Ok(Think::Level("low")),
            "medium" => Ok(Think::Level("medium")),
            "high" => Ok(Think::Level("high")),
            "max" => Ok(Think::Level("max")),
            other => Err(RequestError::new(format!(
                "invalid think value: {other:?} (must be \"high\", \"medium\", \"low\", \"max\", true, or false)"
            ))),
        },
        _ => Err(RequestError::new(
            "think must be a boolean or string (\"high\", \"medium\", \"low\", \"max\", true, or false)",
        )),
    }
}

fn top_logprobs(value: RawJson<'_>) -> Result<u64, RequestError> {
    match value.kind() {
        Kind::Null => Ok(0),
        Kind::Number => std::str::from_utf8(value.bytes())
            .ok()
            .and_then(|digits| digits.parse().ok())
            .filter(|count| *count <= 20)
            .ok_or_else(|| RequestError::new("top_logprobs must be between 0 and 20")),
        other => Err(RequestError::expected("top_logprobs", "an integer", other)),
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
