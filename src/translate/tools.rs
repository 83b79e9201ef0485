//! [`ToolCallAssembler`]: fragments of tool calls to whole calls.
//!
//! OpenAI streams the arguments of a call as pieces of a string; Ollama's clients want one object. Backends differ in
//! everything else about it (the dialect catalogue's rows C-1 to C-14): which call a fragment belongs to is told by its
//! index, else by its identifier, else by its place; names come once, again and again, or in pieces; arguments come as
//! text or as an object.

use super::Fault;
use super::keepsake::{self, Keepsake};
use crate::openai::{ChatCompletionChunk, Delta, EventShape};
use crate::wire::{JsonError, JsonWriter, Kind, RawJson, RawStr, Scanner};
use bytes::{Bytes, BytesMut};

/// Calls in one answer, bytes in one call and in all: far beyond what a model sends, and an end for one
/// that does not stop.
const MAX_CALLS: usize = 128;
const MAX_CALL_BYTES: usize = 1 << 20;
const MAX_BYTES: usize = 4 << 20;

/// Collects fragments until the answer is finished.
#[derive(Debug, Default)]
pub(super) struct ToolCallAssembler {
    slots: Vec<Slot>,
    bytes: usize,
    /// The last event that brought a piece of arguments and nothing else, and the index in it.
    shape: EventShape,
    shape_index: Option<u64>,
}

#[derive(Debug, Default)]
struct Slot {
    index: Option<u64>,
    id: String,
    name: String,
    /// The text of the arguments, decoded from the string it came in.
    arguments: Vec<u8>,
    /// Members that the backend wants to read again.
    kept: Vec<(&'static str, Bytes)>,
}

/// A whole call.
#[derive(Debug)]
pub(super) struct FinishedCall {
    /// An element of Ollama's `tool_calls`.
    pub(super) json: BytesMut,
    /// What no client brings back.
    pub(super) keepsake: Option<Keepsake>,
}

/// One element of a `tool_calls` delta.
#[derive(Default)]
struct Fragment<'a> {
    index: Option<u64>,
    id: RawStr<'a>,
    name: RawStr<'a>,
    /// Arguments as text, which is the inside of a string.
    text: RawStr<'a>,
    /// Arguments as anything else.
    arguments: Option<RawJson<'a>>,
    kept: Vec<(&'static str, RawJson<'a>)>,
}

impl ToolCallAssembler {
    /// Whether there is nothing to emit.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Takes an event that goes on with the arguments as the one before did. `false`: it is another event.
    pub(super) fn push_alike(&mut self, event: &[u8]) -> Result<bool, Fault> {
        let Some(text) = self.shape.read(event) else { return Ok(false) };
        let fragment = Fragment { index: self.shape_index, text, ..Fragment::default() };
        self.add(fragment, 0, true).map(|()| true)
    }

    /// Takes the `tool_calls` of a chunk, which `event` was read as.
    pub(super) fn push(
        &mut self,
        calls: RawJson<'_>,
        chunk: &ChatCompletionChunk<'_>,
        event: &[u8],
    ) -> Result<(), Fault> {
        let fragments =
            read_fragments(calls).map_err(|error| Fault::Malformed(format!("tool_calls: {error}")))?;
        let alone = fragments.len() == 1;
        if let [fragment] = &fragments[..]
            && fragment.is_text()
        {
            let delta = Delta { tool_calls: Some(calls), ..Delta::default() };
            let only = ChatCompletionChunk { delta, has_choice: true, ..ChatCompletionChunk::default() };
            if *chunk == only {
                self.shape.learn(event, fragment.text);
                self.shape_index = fragment.index;
            }
        }
        for (place, fragment) in fragments.into_iter().enumerate() {
            self.add(fragment, place, alone)?;
        }
        Ok(())
    }

    /// Takes the older `function_call` of a delta: there is only one.
    pub(super) fn push_function(&mut self, function: RawJson<'_>) -> Result<(), Fault> {
        let mut fragment = Fragment { index: Some(0), ..Fragment::default() };
        fragment
            .read_function(function)
            .map_err(|error| Fault::Malformed(format!("function_call: {error}")))?;
        self.add(fragment, 0, true)
    }

    fn add(&mut self, fragment: Fragment<'_>, place: usize, alone: bool) -> Result<(), Fault> {
        let at = match self.slot_of(&fragment, place, alone) {
            Some(at) => at,
            None if self.slots.len() == MAX_CALLS => return Err(Fault::TooMuch(MAX_CALLS, "tool calls")),
            None => {
                self.slots.push(Slot { index: fragment.index, ..Slot::default() });
                self.slots.len() - 1
            }
        };
        let Some(slot) = self.slots.get_mut(at) else { return Ok(()) };
        let before = slot.len();
        if slot.id.is_empty() {
            slot.id = fragment.id.decode().into_owned();
        }
        if !fragment.name.is_empty() {
            slot.add_name(&fragment.name.decode());
        }
        fragment.text.decode_to(&mut slot.arguments);
        if let Some(arguments) = fragment.arguments {
            slot.arguments.extend_from_slice(arguments.bytes());
        }
        for (name, value) in fragment.kept {
            slot.keep(name, value);
        }
        self.bytes = (self.bytes + slot.len()).saturating_sub(before);
        if slot.len() > MAX_CALL_BYTES {
            return Err(Fault::TooMuch(MAX_CALL_BYTES, "bytes in a tool call"));
        }
        if self.bytes > MAX_BYTES {
            return Err(Fault::TooMuch(MAX_BYTES, "bytes in tool calls"));
        }
        Ok(())
    }

    /// The call that a fragment goes on with; `None` begins one.
    fn slot_of(&self, fragment: &Fragment<'_>, place: usize, alone: bool) -> Option<usize> {
        let id = fragment.id.decode();
        if let Some(index) = fragment.index {
            let at = self.slots.iter().rposition(|slot| slot.index == Some(index))?;
            // Some backends number every call 0. Another identifier alone does not make another call (others change it
            // with each fragment); with a name behind whole arguments it does.
            let slot = self.slots.get(at)?;
            let is_next = !id.is_empty() && !slot.id.is_empty() && id != slot.id && !fragment.name.is_empty();
            return if is_next && slot.is_whole() { None } else { Some(at) };
        }
        let known = self.slots.iter().position(|slot| !id.is_empty() && slot.id == id);
        if known.is_some() {
            return known;
        }
        // Another identifier begins another call, unless it is one of those that change and the open call has not ended.
        let last = self.slots.len().checked_sub(1)?;
        if !id.is_empty() {
            let goes_on = fragment.name.is_empty() && !self.slots.get(last)?.is_whole();
            return goes_on.then_some(last);
        }
        let at = if alone { last } else { place };
        let open = self.slots.get(at)?;
        let is_next = !fragment.name.is_empty() && open.is_whole();
        if is_next { None } else { Some(at) }
    }

    /// The calls in order. `made_id` names a call that the backend did not.
    pub(super) fn finish(&mut self, made_id: impl Fn(usize) -> String) -> Result<Vec<FinishedCall>, Fault> {
        let mut slots = std::mem::take(&mut self.slots);
        self.bytes = 0;
        slots.sort_by_key(|slot| slot.index.unwrap_or(u64::MAX));
        let mut calls: Vec<(String, FinishedCall)> = Vec::new();
        for slot in slots.iter().filter(|slot| !slot.name.is_empty()) {
            for (nth, arguments) in slot.values()?.into_iter().enumerate() {
                let index = calls.len();
                if index == MAX_CALLS {
                    return Err(Fault::TooMuch(MAX_CALLS, "tool calls"));
                }
                let mut json = BytesMut::new();
                // Only the first of several objects under one identifier keeps it.
                let is_taken = slot.id.is_empty() || calls.iter().any(|(id, _)| *id == slot.id);
                let id = if is_taken { made_id(index) } else { slot.id.clone() };
                write_call(&id, index, &slot.name, &arguments, &mut json);
                let keepsake = if nth == 0 { slot.keepsake(&id, &arguments) } else { None };
                calls.push((id, FinishedCall { json, keepsake }));
            }
        }
        Ok(calls.into_iter().map(|(_, call)| call).collect())
    }
}

impl Slot {
    fn len(&self) -> usize {
        let kept: usize = self.kept.iter().map(|(_, value)| value.len()).sum();
        self.id.len() + self.name.len() + self.arguments.len() + kept
    }

    /// The last value of a member counts.
    fn keep(&mut self, name: &'static str, value: RawJson<'_>) {
        let value = Bytes::copy_from_slice(value.bytes());
        match self.kept.iter_mut().find(|(known, _)| *known == name) {
            Some((_, before)) => *before = value,
            None => self.kept.push((name, value)),
        }
    }

    fn keepsake(&self, id: &str, arguments: &[u8]) -> Option<Keepsake> {
        if self.kept.is_empty() {
            return None;
        }
        let mut members = BytesMut::new();
        let mut json = JsonWriter::new(&mut members);
        json.begin_object();
        for (name, value) in &self.kept {
            if let Ok(value) = Scanner::new(value).value() {
                json.key(name);
                json.raw(value);
            }
        }
        json.end_object();
        let call = keepsake::call(&self.name, Scanner::new(arguments).value().ok());
        Some(Keepsake { id: id.to_string(), call, members: members.freeze() })
    }

    /// The name comes once, or again with every fragment, or in pieces.
    fn add_name(&mut self, name: &str) {
        if !self.name.ends_with(name) {
            self.name.push_str(name);
        }
    }

    fn is_whole(&self) -> bool {
        let mut scanner = Scanner::new(&self.arguments);
        scanner.value().is_ok() && scanner.end().is_ok()
    }

    /// The arguments as objects: one, or several that a backend ran together.
    fn values(&self) -> Result<Vec<Vec<u8>>, Fault> {
        let broken =
            |what: &str| Fault::Malformed(format!("invalid tool call arguments for {:?}: {what}", self.name));
        let mut rest = self.arguments.trim_ascii();
        let mut values = Vec::new();
        while !rest.is_empty() {
            let mut scanner = Scanner::new(rest);
            let value = scanner.value().map_err(|error| broken(&error.to_string()))?;
            match value.kind() {
                Kind::Object => values.push(value.bytes().to_vec()),
                Kind::Null => {}
                // Encoded once too often.
                Kind::String => values
                    .push(inner_object(value).ok_or_else(|| broken("expected an object, found string"))?),
                other => return Err(broken(&format!("expected an object, found {}", other.name()))),
            }
            rest = rest.get(scanner.offset()..).unwrap_or_default().trim_ascii();
        }
        if values.is_empty() {
            values.push(b"{}".to_vec());
        }
        Ok(values)
    }
}

fn inner_object(text: RawJson<'_>) -> Option<Vec<u8>> {
    let inner = text.as_str()?.decode();
    if inner.trim().is_empty() {
        return Some(b"{}".to_vec());
    }
    let mut scanner = Scanner::new(inner.as_bytes());
    let value = scanner.value().ok().filter(|value| value.kind() == Kind::Object)?.bytes().to_vec();
    scanner.end().ok().map(|()| value)
}

fn write_call(id: &str, index: usize, name: &str, arguments: &[u8], out: &mut BytesMut) {
    let mut json = JsonWriter::new(out);
    json.begin_object();
    json.key("id");
    json.string(id);
    json.key("function");
    json.begin_object();
    json.key("index");
    json.uint(index as u64);
    json.key("name");
    json.string(name);
    json.key("arguments");
    if let Ok(value) = Scanner::new(arguments).value() {
        json.raw_compact(value);
    }
    json.end_object();
    json.end_object();
}

fn read_fragments(calls: RawJson<'_>) -> Result<Vec<Fragment<'_>>, JsonError> {
    let mut fragments = Vec::new();
    calls.each_element(|call| {
        if call.kind() == Kind::Object {
            fragments.push(Fragment::read(call)?);
        }
        Ok::<(), JsonError>(())
    })?;
    Ok(fragments)
}

impl<'a> Fragment<'a> {
    fn read(call: RawJson<'a>) -> Result<Self, JsonError> {
        let mut fragment = Fragment::default();
        call.each_member(|name, value| {
            match name {
                b"index" => {
                    fragment.index =
                        std::str::from_utf8(value.bytes()).ok().and_then(|text| text.parse().ok());
                }
                b"id" => fragment.id = value.as_str().unwrap_or_default(),
                b"function" => fragment.read_function(value)?,
                _ if value.kind() == Kind::Object => {
                    let member = keepsake::MEMBERS.into_iter().find(|member| member.as_bytes() == name);
                    fragment.kept.extend(member.map(|member| (member, value)));
                }
                _ => {}
            }
            Ok::<(), JsonError>(())
        })?;
        Ok(fragment)
    }

    /// Whether a piece of text is all that it brings.
    fn is_text(&self) -> bool {
        let names = self.id.is_empty() && self.name.is_empty();
        names && self.arguments.is_none() && self.kept.is_empty() && !self.text.is_empty()
    }

    fn read_function(&mut self, function: RawJson<'a>) -> Result<(), JsonError> {
        function.each_member(|name, value| {
            match name {
                b"name" => self.name = value.as_str().unwrap_or_default(),
                b"arguments" if value.kind() != Kind::Null => {
                    self.text = value.as_str().unwrap_or_default();
                    self.arguments = Some(value).filter(|value| value.kind() != Kind::String);
                }
                _ => {}
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The calls as "id name arguments", or the fault; the same whether events that are alike are known or not.
    fn assembled(deltas: &[&str]) -> Result<Vec<String>, String> {
        let calls = assembled_by(deltas, true);
        assert_eq!(calls, assembled_by(deltas, false));
        calls
    }

    /// Whether the event was known.
    fn take(assembler: &mut ToolCallAssembler, event: &[u8], knows_alike: bool) -> Result<bool, Fault> {
        if knows_alike && assembler.push_alike(event)? {
            return Ok(true);
        }
        let chunk = ChatCompletionChunk::read(event).unwrap();
        let calls = chunk.delta.tool_calls.unwrap();
        assembler.push(calls, &chunk, event).map(|()| false)
    }

    #[test]
    fn only_a_piece_of_arguments_and_nothing_else_is_known_again() {
        let event = |fragment: &str, more: &str| {
            format!(r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{fragment}]{more}}}}}]}}"#)
        };
        let piece = |text: &str| event(&format!(r#"{{"index":0,"function":{{"arguments":"{text}"}}}}"#), "");
        let mut assembler = ToolCallAssembler::default();
        for (event, is_known) in [
            (event(r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}"#, ""), false),
            (event(r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}"#, ""), false),
            (piece(r#"\"x\":"#), false),
            (piece(r#"\"\u00e9"#), true),
            (piece(""), false),
            (piece("b"), true),
            (event(r#"{"index":0,"function":{"arguments":"c"}}"#, r#","content":"d""#), false),
            (event(r#"{"index":0,"function":{"arguments":"c"}}"#, r#","content":"d""#), false),
            (
                event(
                    r#"{"index":0,"function":{"arguments":"c"}},{"index":0,"function":{"arguments":"d"}}"#,
                    "",
                ),
                false,
            ),
            (
                event(
                    r#"{"index":0,"function":{"arguments":"c"}},{"index":0,"function":{"arguments":"d"}}"#,
                    "",
                ),
                false,
            ),
            (piece("e"), true),
        ] {
            assert_eq!(take(&mut assembler, event.as_bytes(), true), Ok(is_known), "{event}");
        }
    }

    fn assembled_by(deltas: &[&str], knows_alike: bool) -> Result<Vec<String>, String> {
        let mut assembler = ToolCallAssembler::default();
        for delta in deltas {
            let event = format!(r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":{delta}}}}}]}}"#);
            take(&mut assembler, event.as_bytes(), knows_alike).map_err(|fault| fault.to_string())?;
        }
        let calls = assembler.finish(|n| format!("made{n}")).map_err(|fault| fault.to_string())?;
        Ok((0..)
            .zip(calls)
            .map(|(n, call)| {
                let call: serde_json::Value = serde_json::from_slice(&call.json).unwrap();
                assert_eq!(call["function"]["index"], n);
                let function = &call["function"];
                format!(
                    "{} {} {}",
                    call["id"].as_str().unwrap(),
                    function["name"].as_str().unwrap(),
                    function["arguments"]
                )
            })
            .collect())
    }

    #[test]
    fn fragments_as_backends_send_them() {
        let table: &[(&str, &[&str], &[&str])] = &[
            (
                "OpenAI: name first, then pieces, two calls interleaved",
                &[
                    r#"[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]"#,
                    r#"[{"index":1,"id":"b","function":{"name":"g","arguments":"{\"y\":"}}]"#,
                    r#"[{"index":0,"function":{"arguments":"{\"x\":\"\\u00e9\"}"}}]"#,
                    r#"[{"index":1,"function":{"arguments":" 2}"}}]"#,
                ],
                &[r#"a f {"x":"é"}"#, r#"b g {"y":2}"#],
            ),
            (
                "no index, whole calls in one delta",
                &[
                    r#"[{"id":"a","function":{"name":"f","arguments":"{}"}},{"id":"b","function":{"name":"f","arguments":"{}"}}]"#,
                ],
                &["a f {}", "b f {}"],
            ),
            (
                "null is absent; no index: the open call goes on",
                &[
                    r#"[{"index":null,"id":"a","function":{"name":"f","arguments":"{\"x\""}}]"#,
                    r#"[{"index":null,"id":null,"function":{"name":null,"arguments":":1}"}}]"#,
                ],
                &[r#"a f {"x":1}"#],
            ),
            (
                "no index, no identifier: a name behind whole arguments begins the next",
                &[
                    r#"[{"function":{"name":"f","arguments":"{}"}}]"#,
                    r#"[{"function":{"name":"g","arguments":"{}"}}]"#,
                ],
                &["made0 f {}", "made1 g {}"],
            ),
            (
                "no index, no identifier, several at a time: by their place, until they are whole",
                &[
                    r#"[{"function":{"name":"f","arguments":"{\"x\""}},{"function":{"name":"g","arguments":"{"}}]"#,
                    r#"[{"function":{"arguments":":1}"}},{"function":{"arguments":"}"}}]"#,
                    r#"[{"function":{"name":"f","arguments":"{}"}},{"function":{"name":"g","arguments":"{}"}}]"#,
                ],
                &[r#"made0 f {"x":1}"#, "made1 g {}", "made2 f {}", "made3 g {}"],
            ),
            (
                "no index, and an identifier that changes: without a name it is no other call",
                &[
                    r#"[{"id":"a","function":{"name":"f","arguments":"{"}}]"#,
                    r#"[{"id":"b","function":{"arguments":"}"}}]"#,
                    r#"[{"id":"c","function":{"name":"g","arguments":"{}"}}]"#,
                ],
                &["a f {}", "c g {}"],
            ),
            (
                "every call is number 0",
                &[
                    r#"[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]"#,
                    r#"[{"index":0,"id":"b","function":{"name":"f","arguments":"{}"}}]"#,
                ],
                &["a f {}", "b f {}"],
            ),
            (
                "the full name and another identifier with every fragment",
                &[
                    r#"[{"index":0,"id":"a","function":{"name":"get_x","arguments":"{"}}]"#,
                    r#"[{"index":0,"id":"b","function":{"name":"get_x","arguments":"}"}}]"#,
                ],
                &["a get_x {}"],
            ),
            (
                "the name in pieces, behind the arguments",
                &[
                    r#"[{"index":0,"function":{"arguments":"{}"}}]"#,
                    r#"[{"index":0,"function":{"name":"get_"}}]"#,
                    r#"[{"index":0,"function":{"name":"x"}}]"#,
                ],
                &["made0 get_x {}"],
            ),
            (
                "arguments as an object, absent, empty, null, encoded twice",
                &[
                    r#"[{"index":0,"function":{"name":"a","arguments":{"x":[1, 2]}}},{"index":1,"function":{"name":"b"}},
                        {"index":2,"function":{"name":"c","arguments":""}},{"index":3,"function":{"name":"d","arguments":"null"}},
                        {"index":4,"function":{"name":"e","arguments":"\"{\\\"x\\\":1}\""}}]"#,
                ],
                &[r#"made0 a {"x":[1,2]}"#, "made1 b {}", "made2 c {}", "made3 d {}", r#"made4 e {"x":1}"#],
            ),
            (
                "two objects under one index",
                &[r#"[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":1}{\"x\":2}"}}]"#],
                &[r#"a f {"x":1}"#, r#"made1 f {"x":2}"#],
            ),
            (
                "a call without a name is dropped",
                &[r#"[{"index":0,"id":"a","function":{"name":"","arguments":"{}"}}]"#],
                &[],
            ),
            (
                "the order is that of the indices",
                &[r#"[{"index":1,"function":{"name":"g"}}]"#, r#"[{"index":0,"function":{"name":"f"}}]"#],
                &["made0 f {}", "made1 g {}"],
            ),
        ];
        for (what, deltas, expected) in table {
            let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
            assert_eq!(assembled(deltas), Ok(expected), "{what}");
        }
    }

    #[test]
    fn arguments_that_are_no_object_are_a_fault() {
        for arguments in [r#""{\"x\":""#, r#""[]""#, r#""5""#, r#""\"x\"""#, "[]"] {
            let delta = format!(r#"[{{"index":0,"function":{{"name":"f","arguments":{arguments}}}}}]"#);
            let fault = assembled(&[&delta]).unwrap_err();
            assert!(fault.contains("invalid tool call arguments for \"f\": "), "{arguments}: {fault}");
        }
    }

    #[test]
    fn floods_come_to_an_end() {
        let many: Vec<String> =
            (0..=MAX_CALLS).map(|n| format!(r#"{{"index":{n},"function":{{"name":"f"}}}}"#)).collect();
        assert!(assembled(&[&format!("[{}]", many.join(","))]).is_err());
        let big = format!(
            r#"[{{"index":0,"function":{{"name":"f","arguments":"{}"}}}}]"#,
            " ".repeat(MAX_CALL_BYTES)
        );
        assert!(assembled(&[&big, &big]).is_err());
        let name = |letter: &str| {
            let name = letter.repeat(MAX_CALL_BYTES / 2);
            format!(r#"[{{"index":0,"function":{{"name":"{name}"}}}}]"#)
        };
        assert!(assembled(&[&name("n"), &name("m"), &name("n")]).is_err());
        let run_together = format!(
            r#"[{{"index":0,"function":{{"name":"f","arguments":"{}"}}}}]"#,
            "{}".repeat(MAX_CALLS + 1)
        );
        assert!(assembled(&[&run_together]).is_err());
    }

    #[test]
    fn the_older_function_call_is_one_call() {
        let mut assembler = ToolCallAssembler::default();
        for part in [r#"{"name":"f","arguments":"{\"x\""}"#, r#"{"arguments":":1}"}"#] {
            assembler.push_function(Scanner::new(part.as_bytes()).value().unwrap()).unwrap();
        }
        let calls = assembler.finish(|_| "made".to_string()).unwrap();
        let calls: Vec<_> = calls.iter().map(|call| &call.json[..]).collect();
        assert_eq!(calls, [&br#"{"id":"made","function":{"index":0,"name":"f","arguments":{"x":1}}}"#[..]]);
        assert!(assembler.is_empty());
    }
}
