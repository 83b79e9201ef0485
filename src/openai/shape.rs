//! [`TextShape`]: the events of a stream that say the same but for a text, known by their other bytes; [`EventShape`] is
//! what it has of them, and serves for any other string.
//!
//! Most events of an answer are alike to the byte before and behind the text they bring. Once one has been read in full
//! and said a text and nothing else, the next that begins and ends as it did can only differ in that text: two
//! comparisons and a look at the inside of the string replace reading it. What differs anywhere else is read in full.
//!
//! Why this is sound: the event read in full was `before`, a string's inside, `after`. Another valid inside in that
//! place gives the same members with the same values, but for that string. `benches/event.rs` fails without it.

use super::{ChatCompletionChunk, Delta};
use crate::wire::{RawStr, are_equal};
use memchr::{memchr2, memrchr};

/// Past this the comparisons cost what they save, and the copies are kept for the whole answer.
const MAX_SHAPE_BYTES: usize = 2048;

/// OpenAI pads its events to hide how long their texts are: a member that nobody reads, at the end of the event, holds
/// another string each time.
const BEFORE_PADDING: &[u8] = br#","obfuscation":"#;
const BEHIND_PADDING: &[u8] = b"\"}\n\n";

/// What stands around an event that is one line in a stream.
const FIELD: &[u8] = b"data: ";
const BLANK_LINE: &[u8] = b"\n\n";

/// Which member brings the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextKind {
    /// `content`
    Content,
    /// `reasoning_content` or `reasoning`
    Reasoning,
}

/// An event but for the inside of one string, as it stands in a stream.
#[derive(Debug, Default)]
pub struct EventShape {
    /// Begins with `FIELD`.
    before: Vec<u8>,
    /// Empty while there is none. Ends with `BLANK_LINE`, or with the opening quote of the padding.
    after: Vec<u8>,
    /// What follows the padding in a stream, where there is one: it ends with `BLANK_LINE` then.
    behind_padding: &'static [u8],
    /// The event is one line of data, so that it can be told from the stream itself.
    is_line: bool,
}

impl EventShape {
    /// The string of an event that is otherwise equal to the last one learnt; an empty one is not known.
    #[must_use]
    #[inline]
    pub fn read<'a>(&self, event: &'a [u8]) -> Option<RawStr<'a>> {
        let before = self.before.strip_prefix(FIELD)?;
        let (after, behind) = match self.behind_padding.strip_suffix(BLANK_LINE) {
            Some(behind) => (&self.after[..], behind),
            None => (self.after.strip_suffix(BLANK_LINE)?, &b""[..]),
        };
        // The end first: what differs from event to event stands there, behind the text.
        let end = after.last_chunk::<16>().filter(|_| behind.is_empty());
        if end.is_some_and(|end| event.last_chunk() != Some(end)) {
            return None;
        }
        let (text, _, rest) = read_beginning(event, before, after, behind)?;
        rest.is_empty().then_some(text)
    }

    /// The same for an event that a stream goes on with: the string, the stream from it on, and behind the event, whose
    /// end need not be searched for. Only good where `stream` begins with an event.
    #[must_use]
    #[inline(always)]
    pub fn read_next<'a>(&self, stream: &'a [u8]) -> Option<(RawStr<'a>, &'a [u8], &'a [u8])> {
        if !self.is_line {
            return None;
        }
        read_beginning(stream, &self.before, &self.after, self.behind_padding)
    }

    /// Remembers `event` but for `text`, which is a slice of it and the inside of a string there.
    pub fn learn(&mut self, event: &[u8], text: RawStr<'_>) {
        self.forget();
        let at = (text.raw().as_ptr() as usize).wrapping_sub(event.as_ptr() as usize);
        let end = at.wrapping_add(text.raw().len());
        if let (Some(before), Some(after)) = (event.get(..at), event.get(end..))
            && before.len() + after.len() <= MAX_SHAPE_BYTES
        {
            self.before.reserve(FIELD.len() + before.len());
            self.before.extend_from_slice(FIELD);
            self.before.extend_from_slice(before);
            if let Some(padded) = before_padding(after) {
                self.after.extend_from_slice(padded);
                self.behind_padding = BEHIND_PADDING;
            } else {
                self.after.reserve(after.len() + BLANK_LINE.len());
                self.after.extend_from_slice(after);
                self.after.extend_from_slice(BLANK_LINE);
                self.behind_padding = b"";
            }
            // Between its tokens JSON may have line ends, where the lines of an event were joined.
            self.is_line = memchr2(b'\n', b'\r', event).is_none();
        }
    }

    fn forget(&mut self) {
        self.before.clear();
        self.after.clear();
        self.is_line = false;
    }
}

/// The end of an event up to the inside of its padding. A quote behind a comma opens a string, so what stands there is the
/// member and its string.
fn before_padding(after: &[u8]) -> Option<&[u8]> {
    let inside = after.strip_suffix(BEHIND_PADDING.strip_suffix(BLANK_LINE)?)?;
    let (before, _) = inside.split_at_checked(memrchr(b'"', inside)? + 1)?;
    before.strip_suffix(b"\"")?.ends_with(BEFORE_PADDING).then_some(before)
}

/// The string between `before` and `after`, the text from it on, and what follows `after`, or the padding and what is
/// `behind_padding` where that is not empty.
#[inline(always)]
fn read_beginning<'a>(
    event: &'a [u8],
    before: &[u8],
    after: &[u8],
    behind_padding: &[u8],
) -> Option<(RawStr<'a>, &'a [u8], &'a [u8])> {
    let from_text = skip(event, before)?;
    let (text, rest) = RawStr::before_quote(from_text)?;
    let mut rest = skip(rest, after)?;
    if !behind_padding.is_empty() {
        rest = skip_padding(rest, behind_padding)?;
    }
    // Without a text another member may speak in its place: that takes reading in full.
    (!text.is_empty()).then_some((text, from_text, rest))
}

/// Apart, so that the usual way has the registers to itself.
#[inline(never)]
fn skip_padding<'a>(rest: &'a [u8], behind: &[u8]) -> Option<&'a [u8]> {
    skip(RawStr::before_quote(rest)?.1, behind)
}

/// What follows `expected` in a text that begins with it.
#[inline(always)]
fn skip<'a>(text: &'a [u8], expected: &[u8]) -> Option<&'a [u8]> {
    let (beginning, rest) = text.split_at_checked(expected.len())?;
    are_equal(beginning, expected).then_some(rest)
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct TextShape {
    shape: EventShape,
    kind: Option<TextKind>,
}

impl TextShape {
    /// The text of an event that is otherwise equal to the last one learnt.
    #[must_use]
    #[inline]
    pub fn read<'a>(&self, event: &'a [u8]) -> Option<(TextKind, RawStr<'a>)> {
        let kind = self.kind?;
        Some((kind, self.shape.read(event)?))
    }

    /// The same for an event that a stream goes on with, as [`EventShape::read_next`] takes it.
    #[must_use]
    #[inline(always)]
    pub fn read_next<'a>(&self, stream: &'a [u8]) -> Option<(RawStr<'a>, &'a [u8], &'a [u8])> {
        self.kind.and_then(|_| self.shape.read_next(stream))
    }

    /// Which member brings the text of such an event; `None` while none was learnt.
    #[must_use]
    #[inline]
    pub fn kind(&self) -> Option<TextKind> {
        self.kind
    }

    /// Remembers an event that was read in full, when a text was all it said.
    pub fn learn(&mut self, event: &[u8], chunk: &ChatCompletionChunk<'_>) {
        self.kind = None;
        let (kind, text) = match (chunk.delta.content.is_empty(), chunk.delta.reasoning.is_empty()) {
            (false, true) => (TextKind::Content, chunk.delta.content),
            (true, false) => (TextKind::Reasoning, chunk.delta.reasoning),
            _ => return,
        };
        let delta = match kind {
            TextKind::Content => Delta { content: text, ..Delta::default() },
            TextKind::Reasoning => Delta { reasoning: text, ..Delta::default() },
        };
        let only_text = ChatCompletionChunk { delta, has_choice: true, ..ChatCompletionChunk::default() };
        if *chunk == only_text {
            self.shape.learn(event, text);
            self.kind = Some(kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(member: &str, text: &str, more: &str) -> String {
        format!(
            r#"{{"id":"x","choices":[{{"index":0,"delta":{{"{member}":"{text}"}},"finish_reason":null}}]{more}}}"#
        )
    }

    fn learnt(event: &str) -> TextShape {
        let mut shape = TextShape::default();
        shape.learn(event.as_bytes(), &ChatCompletionChunk::read(event.as_bytes()).unwrap());
        shape
    }

    #[test]
    fn an_event_with_another_text_is_known() {
        let shape = learnt(&event("content", " a", ""));
        let next = event("content", r"\n\u00e9 \ud83d", "");
        let (kind, text) = shape.read(next.as_bytes()).unwrap();
        assert_eq!((kind, text.raw()), (TextKind::Content, &br"\n\u00e9 \ud83d"[..]));
        let shape = learnt(&event("reasoning", "a", ""));
        assert_eq!(shape.read(event("reasoning", "b", "").as_bytes()).unwrap().0, TextKind::Reasoning);
        assert_eq!(shape.read(event("reasoning", "", "").as_bytes()), None);
    }

    #[test]
    fn what_differs_elsewhere_or_is_no_string_is_not() {
        let shape = learnt(&event("content", "a", ""));
        for other in [
            event("content", "a", r#","usage":{}"#),
            event("reasoning", "a", ""),
            event("content", "a", "").replace("null", "\"stop\""),
            event("content", r#"a","x":"b"#, ""),
            event("content", r"a\", ""),
            event("content", r"a\x", ""),
            event("content", "a\n", ""),
            String::new(),
        ] {
            assert_eq!(shape.read(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn an_event_that_says_more_than_a_text_is_not_learnt() {
        for said in [
            event("content", "", ""),
            event("content", "a", r#","usage":{"prompt_tokens":1}"#),
            event("content", "a", r#","error":{"message":"m"}"#),
            event("content", "a", "").replace("null", "\"stop\""),
            event("content", r#"a","reasoning":"b"#, ""),
        ] {
            assert_eq!(learnt(&said).read(said.as_bytes()), None, "{said}");
        }
    }

    #[test]
    fn an_event_is_known_in_the_stream_by_its_line_alone() {
        let known = event("content", "a", "");
        let shape = learnt(&known);
        let stream = |event: &str| format!("data: {event}\n\ndata: more");
        let next = stream(&event("content", r#"\n\u00e9\"b"#, ""));
        let (text, from_text, rest) = shape.read_next(next.as_bytes()).unwrap();
        assert_eq!((shape.kind(), text.raw()), (Some(TextKind::Content), &br#"\n\u00e9\"b"#[..]));
        assert!(from_text.starts_with(text.raw()) && from_text.ends_with(rest));
        assert_eq!(rest, b"data: more");
        for other in [
            stream(&event("content", "b", "\n")),
            stream(&event("content", "b\n", "")),
            stream(&event("content", "", "")),
            stream(&event("content", r#"b","x":"c"#, "")),
            stream(&event("reasoning", "b", "")),
            stream(&known).replace("\n\n", "\n"),
            stream(&known).replace("data: ", "data:"),
            format!("data: {known}\n"),
            format!("data: {known}\ndata: 1\n\n"),
            format!("data: {}", &known[..known.len() - 3]),
        ] {
            assert_eq!(shape.read_next(other.as_bytes()), None, "{other:?}");
        }
        // Its data has two lines: in a stream that would be another event.
        let joined = event("content", "a", "\n");
        assert_eq!(learnt(&joined).read_next(stream(&joined).as_bytes()), None);
    }

    #[test]
    fn padding_may_differ() {
        let padded =
            |text: &str, padding: &str| event("content", text, &format!(r#","obfuscation":"{padding}""#));
        let shape = learnt(&padded("a", "xyz"));
        for padding in ["", "1", "0123456789", r#"\"\u00e9"#] {
            let event = padded("b", padding);
            assert_eq!(shape.read(event.as_bytes()).unwrap().1.raw(), b"b", "{padding}");
            let stream = format!("data: {event}\n\nmore");
            assert_eq!(shape.read_next(stream.as_bytes()).unwrap().2, b"more", "{padding}");
        }
        for other in [
            padded("b", r"\"),
            padded("b", "\n"),
            padded("b", r#"","error":""#),
            padded("b", "x").replace("obfuscation", "service_tie"),
            event("content", "b", ""),
        ] {
            assert_eq!(shape.read(other.as_bytes()), None, "{other}");
        }
        // Of another member the string may mean something.
        let object = |word: &str| event("content", "a", &format!(r#","object":"{word}""#));
        assert_eq!(learnt(&object("x")).read(object("error").as_bytes()), None);
    }

    proptest! {
        #[test]
        fn what_is_known_reads_as_when_read_in_full(
            first in "[a-z\"\\\\{}é]{0,6}",
            second in "[a-z\"\\\\{},:n\u{0}é]{0,12}",
            more in prop::sample::select(vec!["", r#","obfuscation":"x""#, r#","usage":null"#, r#","choices":[]"#, r#","content":"a""#]),
        ) {
            let (first, second) = (event("content", &first, more), event("content", &second, more));
            let mut shape = TextShape::default();
            if let Ok(chunk) = ChatCompletionChunk::read(first.as_bytes()) {
                shape.learn(first.as_bytes(), &chunk);
            }
            if let Some((_, text)) = shape.read(second.as_bytes()) {
                let chunk = ChatCompletionChunk::read(second.as_bytes()).unwrap();
                prop_assert_eq!(chunk.delta.content, text);
                let expected = ChatCompletionChunk { delta: Delta { content: text, ..Delta::default() }, has_choice: true, ..ChatCompletionChunk::default() };
                prop_assert_eq!(chunk, expected);
            }
        }
    }
}
