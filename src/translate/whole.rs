//! [`Whole`]: what a streamed answer would have said in lines, kept for one object.

use crate::ollama::Answer;
use crate::openai::TextKind;
use crate::wire::{JsonWriter, RawStr};
use bytes::{BufMut, BytesMut};

/// The pieces of one answer, as the insides of JSON strings and arrays.
#[derive(Debug, Default)]
pub(super) struct Whole {
    text: BytesMut,
    thinking: BytesMut,
    tool_calls: BytesMut,
    logprobs: BytesMut,
}

impl Whole {
    /// Adds to the text or the reasoning.
    pub(super) fn add_text(&mut self, kind: TextKind, text: RawStr<'_>) {
        JsonWriter::append_raw_text(self.buffer(kind), text);
    }

    /// Adds bytes that need no mending: half a surrogate pair, or what stands in for its other half.
    pub(super) fn add_plain(&mut self, kind: TextKind, text: &[u8]) {
        self.buffer(kind).put_slice(text);
    }

    fn buffer(&mut self, kind: TextKind) -> &mut BytesMut {
        match kind {
            TextKind::Content => &mut self.text,
            TextKind::Reasoning => &mut self.thinking,
        }
    }

    /// Adds one call, already written.
    pub(super) fn add_call(&mut self, call: &[u8]) {
        add_item(&mut self.tool_calls, call);
    }

    /// Adds the inside of an array of token probabilities.
    pub(super) fn add_logprobs(&mut self, items: &[u8]) {
        if !items.is_empty() {
            add_item(&mut self.logprobs, items);
        }
    }

    /// Bytes kept so far.
    pub(super) fn len(&self) -> usize {
        self.text.len() + self.thinking.len() + self.tool_calls.len() + self.logprobs.len()
    }

    /// Everything.
    pub(super) fn answer(&self) -> Answer<'_> {
        Answer {
            text: &self.text,
            thinking: &self.thinking,
            tool_calls: &self.tool_calls,
            logprobs: &self.logprobs,
        }
    }
}

fn add_item(list: &mut BytesMut, item: &[u8]) {
    if !list.is_empty() {
        list.put_u8(b',');
    }
    list.put_slice(item);
}
