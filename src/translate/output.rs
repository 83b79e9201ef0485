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
    /// The beginning of the last line of text, up to its text, and room in which a short line is made whole.
    line: BytesMut,
    /// Where the text goes in it.
    text_at: usize,
    /// What it is the beginning of.
    begun_for: Option<(TextKind, Duration)>,
    /// Length of the `created_at` in it.
    created_at_len: usize,
    /// What follows a text that is all a line has, and its length.
    end: [u8; END_BYTES],
    end_len: usize,
}

/// A text up to this is copied in one piece of fixed size, which takes no call and no loop. Most tokens are shorter.
const SHORT_BYTES: usize = 16;
/// The same for the end of a line.
const END_BYTES: usize = 32;
/// `2026-11-22T00:00:00.123456789Z`
const LONGEST_TIME: usize = 30;
/// Behind a text up to this no line is too long, whatever its bytes grow to.
const PLAIN_BYTES: usize = 256;

/// Writes lines that have the same beginning and nothing but a text.
pub(super) struct PlainLines<'o> {
    line: &'o mut [u8],
    text_at: usize,
    end: &'o [u8; END_BYTES],
    end_len: usize,
}

impl PlainLines<'_> {
    /// What [`Output::text`] does; `false`: the text takes more than that. `from_text` is a slice that begins with it.
    #[inline(always)]
    pub(super) fn push(&mut self, text: RawStr<'_>, from_text: &[u8], out: &mut BytesMut) -> bool {
        let len = text.raw().len();
        // It may end with half a surrogate pair.
        let may_wait =
            text.is_escaped() && matches!(text.raw().last_chunk::<6>(), Some([b'\\', b'u', b'd' | b'D', ..]));
        if may_wait || len > PLAIN_BYTES {
            return false;
        }
        if text.is_ascii()
            && len <= SHORT_BYTES
            && let Some(short) = from_text.first_chunk::<SHORT_BYTES>()
            && let Some((_, room)) = self.line.split_at_mut_checked(self.text_at)
            && let Some(room) = room.first_chunk_mut::<{ SHORT_BYTES + END_BYTES }>()
        {
            // The end overwrites what was copied beyond the text.
            if let Some(place) = room.first_chunk_mut() {
                *place = *short;
            }
            if let Some(place) = room.get_mut(len..).and_then(|room| room.first_chunk_mut()) {
                *place = *self.end;
            }
            let line_len = self.text_at + len + self.end_len;
            out.extend_from_slice(self.line.get(..line_len).unwrap_or_default());
        } else {
            out.extend_from_slice(self.line.get(..self.text_at).unwrap_or_default());
            JsonWriter::append_raw_text(out, text);
            out.extend_from_slice(self.end.get(..self.end_len).unwrap_or_default());
        }
        true
    }
}

impl Output {
    pub(super) fn new(head: LineHead, is_whole: bool, clock: Clock) -> Self {
        let (mut end, text_end) = ([0; END_BYTES], head.text_end());
        if let Some(place) = end.get_mut(..text_end.len()) {
            place.copy_from_slice(text_end);
        }
        Output {
            head,
            whole: is_whole.then(Whole::default),
            halves: [None; 2],
            clock,
            line: BytesMut::new(),
            text_at: 0,
            begun_for: None,
            created_at_len: 0,
            end,
            end_len: text_end.len(),
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

    /// What writes lines of this kind in few steps, until time goes on; `None`: a text now takes more than that.
    #[inline]
    pub(super) fn plain_lines(&mut self, kind: TextKind) -> Option<PlainLines<'_>> {
        if self.whole.is_some() || self.halves != [None; 2] {
            return None;
        }
        if self.begun_for != Some((kind, self.clock.now)) {
            self.begin(kind);
        }
        Some(PlainLines {
            line: &mut self.line,
            text_at: self.text_at,
            end: &self.end,
            end_len: self.end_len,
        })
    }

    /// A piece of text or reasoning. `logprobs` is the inside of the array, empty when there is none.
    #[inline]
    pub(super) fn text(&mut self, kind: TextKind, text: RawStr<'_>, logprobs: &[u8], out: &mut BytesMut) {
        if logprobs.is_empty()
            && !text.is_empty()
            && let Some(mut lines) = self.plain_lines(kind)
            && lines.push(text, text.raw(), out)
        {
            return;
        }
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
            out.extend_from_slice(self.line.get(..self.text_at).unwrap_or_default());
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
        let place = self.line.get_mut(self.head.created_at(created_at.len()));
        match (self.begun_for, place) {
            (Some((before, _)), Some(place)) if before == kind && self.created_at_len == created_at.len() => {
                // Nearly always of this length, with which the copy takes no call.
                match (place.first_chunk_mut::<LONGEST_TIME>(), created_at.first_chunk()) {
                    (Some(place), Some(created_at)) => *place = *created_at,
                    _ => place.copy_from_slice(created_at),
                }
            }
            _ => {
                self.line.clear();
                self.line.reserve(self.head.overhead() + SHORT_BYTES + END_BYTES);
                self.created_at_len = created_at.len();
                match kind {
                    TextKind::Content => self.head.begin_text(created_at, &mut self.line),
                    TextKind::Reasoning => self.head.begin_thinking(created_at, &mut self.line),
                }
                self.text_at = self.line.len();
                self.line.extend_from_slice(&[0; SHORT_BYTES + END_BYTES]);
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
