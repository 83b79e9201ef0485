//! [`Whole`]: what a streamed answer would have said in lines, kept for one object.

use crate::ollama::Answer;
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
    pub(super) fn add_text(&mut self, is_thinking: bool, text: RawStr<'_>) {
        let out = if is_thinking { &mut self.thinking } else { &mut self.text };
        JsonWriter::append_raw_text(out, text);
    }

    /// Adds bytes that need no mending: half a surrogate pair, or what stands in for its other half.
    pub(super) fn add_half(&mut self, is_thinking: bool, half: &[u8]) {
        let out = if is_thinking { &mut self.thinking } else { &mut self.text };
        out.put_slice(half);
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
