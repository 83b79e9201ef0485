//! [`Output`]: lays what an answer says into lines, or keeps it for one object.

use super::clock::Clock;
use super::whole::Whole;
use crate::ollama::{Answer, DoneReason, LineHead, Timing};
use crate::openai::TextKind;
use crate::wire::{JsonWriter, RawStr};
use bytes::{BufMut, BytesMut};
use std::time::Duration;

/// Longest line sent: some clients read lines into buffers of 128 KiB, and none needs more at once.
pub(super) const MAX_LINE_BYTES: usize = 64 << 10;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Output {
    head: LineHead,
    /// The one object, when no lines were asked for.
    whole: Option<Whole>,
    /// The first half of a surrogate pair that the backend cut between two deltas, of text and of reasoning.
    halves: [Option<[u8; 6]>; 2],
    pub(super) clock: Clock,
    /// The beginning of the last line of text, up to its text, and what it is the beginning of.
    begun: BytesMut,
    begun_for: Option<(TextKind, Duration)>,
    /// Length of the `created_at` in it.
    begun_len: usize,
}

impl Output {
    pub(super) fn new(head: LineHead, is_whole: bool, clock: Clock) -> Self {
        Output {
            head,
            whole: is_whole.then(Whole::default),
            halves: [None; 2],
            clock,
            begun: BytesMut::new(),
            begun_for: None,
            begun_len: 0,
        }
    }

    /// Whether it is kept for one object.
    pub(super) fn is_whole(&self) -> bool {
        self.whole.is_some()
    }

    /// Bytes kept for the one object.
    pub(super) fn kept_bytes(&self) -> usize {
        self.whole.as_ref().map_or(0, Whole::len)
    }

    /// A piece of text or reasoning. `logprobs` is the inside of the array, empty when there is none.
    #[inline]
    pub(super) fn text(&mut self, kind: TextKind, text: RawStr<'_>, logprobs: &[u8], out: &mut BytesMut) {
        let (text, half) = text.split_trailing_high_surrogate();
        let held = match &mut self.halves {
            [content, _] if kind == TextKind::Content => content,
            [_, reasoning] => reasoning,
        };
        let before = std::mem::replace(held, half);
        let before = before.as_ref().map_or(&b""[..], |half| half);
        if let Some(whole) = &mut self.whole {
            whole.add_plain(kind, before);
            whole.add_text(kind, text);
            whole.add_logprobs(logprobs);
            return;
        }
        if !(text.is_empty() && before.is_empty() && logprobs.is_empty()) {
            self.lines(kind, before, text, logprobs, out);
        }
    }

    /// One line, or several where one would be too long.
    fn lines(
        &mut self,
        kind: TextKind,
        before: &[u8],
        text: RawStr<'_>,
        logprobs: &[u8],
        out: &mut BytesMut,
    ) {
        let room =
            MAX_LINE_BYTES.saturating_sub(self.head.overhead() + before.len() + logprobs.len()).max(1024);
        if self.begun_for != Some((kind, self.clock.now)) {
            self.begin(kind);
        }
        let (mut before, mut logprobs, mut rest) = (before, logprobs, text);
        loop {
            // No byte grows more than threefold.
            let fits = rest.raw().len() <= if rest.is_ascii() { room } else { room / 3 };
            let (piece, more) = if fits { (rest, RawStr::default()) } else { rest.split_at_cost(room) };
            out.extend_from_slice(&self.begun);
            if !before.is_empty() {
                out.put_slice(before);
            }
            JsonWriter::append_raw_text(out, piece);
            self.head.end_text(logprobs, out);
            if more.is_empty() {
                return;
            }
            (before, logprobs, rest) = (b"", b"", more);
        }
    }

    /// Lays the beginning that the lines of this kind share until time goes on: then only `created_at` changes.
    fn begin(&mut self, kind: TextKind) {
        let created_at = self.clock.text();
        let place = self.begun.get_mut(self.head.created_at(created_at.len()));
        match (self.begun_for, place) {
            (Some((before, _)), Some(place)) if before == kind && self.begun_len == created_at.len() => {
                place.copy_from_slice(created_at);
            }
            _ => {
                self.begun.clear();
                self.begun.reserve(self.head.overhead());
                self.begun_len = created_at.len();
                match kind {
                    TextKind::Content => self.head.begin_text(created_at, &mut self.begun),
                    TextKind::Reasoning => self.head.begin_thinking(created_at, &mut self.begun),
                }
            }
        }
        self.begun_for = Some((kind, self.clock.now));
    }

    /// The other half of a character never came.
    pub(super) fn flush_halves(&mut self, out: &mut BytesMut) {
        let replacement = "\u{fffd}".as_bytes();
        for (held, kind) in
            std::mem::take(&mut self.halves).iter().zip([TextKind::Content, TextKind::Reasoning])
        {
            match &mut self.whole {
                _ if held.is_none() => {}
                Some(whole) => whole.add_plain(kind, replacement),
                None => self.lines(kind, replacement, RawStr::default(), b"", out),
            }
        }
    }

    /// A whole call, in a line of its own: some clients read only the first of a line.
    pub(super) fn call(&mut self, call: &[u8], out: &mut BytesMut) {
        match &mut self.whole {
            Some(whole) => whole.add_call(call),
            None => {
                let answer = Answer { tool_calls: call, ..Answer::default() };
                self.head.write_part(self.clock.text(), &answer, out);
            }
        }
    }

    /// The last line, or the one object.
    pub(super) fn end(&mut self, reason: DoneReason, timing: &Timing, out: &mut BytesMut) {
        let created_at = self.clock.text();
        match self.whole.take() {
            Some(whole) => self.head.write_end(created_at, &whole.answer(), reason, Some(timing), out),
            None => {
                self.head.write_end(created_at, &Answer::default(), reason, Some(timing), out);
                out.put_u8(b'\n');
            }
        }
    }
}
