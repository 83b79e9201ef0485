//! [`TagReader`]: reasoning that a model writes into its answer, between `<think>` and `</think>`.
//!
//! Only for backends that are said to do so (the dialect catalogue's rows T6 to T8): an answer may talk about these tags.
//! They count before the first visible word and nowhere else; behind the closing one all is content, whatever it holds.
//! A closing tag without an opening one (some chat templates write that one themselves) is left out, and what came
//! before it has gone out as content and stays that.
//!
//! A text that may yet become a tag is held back, with the white space before it, and nothing else is: what goes out
//! does not depend on where the backend cut its deltas. White space around the tags is not part of either text.

use crate::openai::TextKind;
use crate::wire::RawStr;

const OPEN: &[u8] = b"<think>";
const CLOSE: &[u8] = b"</think>";

/// Most white space that is held back before a tag; a text that goes on longer than this without a word is let go.
const MAX_HELD_BYTES: usize = 256;

/// Whether the backend's texts hold such tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ThinkTags {
    /// They are text like any other.
    #[default]
    Off,
    /// An answer may begin with `<think>`.
    On,
    /// Every answer begins behind a `<think>` that the chat template has written.
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No visible word yet.
    Start,
    /// Content without a tag so far.
    Unopened,
    /// Behind the opening tag, before the first word of the reasoning.
    Opened,
    /// In the reasoning.
    Thinking,
    /// Behind the closing tag, before the first word of the answer.
    Closed,
    /// In the answer: nothing is a tag any more.
    Literal,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct TagReader {
    state: State,
    /// White space and the beginning of a tag, as they came.
    held: Vec<u8>,
}

/// What stands at a place.
enum Found {
    Tag(&'static [u8], usize),
    /// The beginning of one, and the end of the text.
    Beginning,
    Space(usize),
    Word(usize),
}

impl TagReader {
    pub(super) fn new(tags: ThinkTags) -> Self {
        let state = match tags {
            ThinkTags::Off => State::Literal,
            ThinkTags::On => State::Start,
            ThinkTags::Open => State::Opened,
        };
        TagReader { state, held: Vec::new() }
    }

    /// Whether content has to come by here.
    #[inline]
    pub(super) fn reads(&self) -> bool {
        self.state != State::Literal
    }

    /// Calls `take` with what a piece of content says, and of which kind it is.
    pub(super) fn push(&mut self, text: RawStr<'_>, take: &mut dyn FnMut(TextKind, RawStr<'_>)) {
        if self.held.is_empty() {
            let rest = self.read(text.raw(), take);
            self.held.extend_from_slice(text.raw().get(rest..).unwrap_or_default());
            return;
        }
        let mut joined = std::mem::take(&mut self.held);
        joined.extend_from_slice(text.raw());
        let rest = self.read(&joined, take);
        joined.drain(..rest);
        self.held = joined;
    }

    /// The answer is over: what was held back is no tag.
    pub(super) fn finish(&mut self, take: &mut dyn FnMut(TextKind, RawStr<'_>)) {
        let held = std::mem::take(&mut self.held);
        self.say(&held, take);
        self.state = State::Literal;
    }

    /// Gives out what is certain, and says from where on the text is not.
    fn read(&mut self, text: &[u8], take: &mut dyn FnMut(TextKind, RawStr<'_>)) -> usize {
        // What is before `from` is out or dropped; behind `word` only white space came.
        let (mut from, mut word, mut at) = (0, 0, 0);
        while self.state != State::Literal {
            let rest = text.get(at..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            match (found(rest), self.state) {
                (Found::Beginning, _) => break,
                (Found::Space(len), State::Opened | State::Closed) => {
                    at += len;
                    (from, word) = (at, at);
                }
                (Found::Space(len), State::Start | State::Thinking) if at + len - word <= MAX_HELD_BYTES => {
                    at += len;
                }
                (Found::Tag(OPEN, len), State::Start | State::Opened) => {
                    at += len;
                    (from, word) = (at, at);
                    self.state = State::Opened;
                }
                (
                    Found::Tag(CLOSE, len),
                    State::Start | State::Unopened | State::Opened | State::Thinking,
                ) => {
                    let said = text.get(from..word).unwrap_or_default();
                    self.say(said, take);
                    at += len;
                    (from, word) = (at, at);
                    // An orphan in the middle of a text: the white space around it is the text's own.
                    let is_orphan = self.state == State::Unopened;
                    self.state = if is_orphan { State::Literal } else { State::Closed };
                }
                (Found::Tag(_, len) | Found::Space(len) | Found::Word(len), state) => {
                    self.state = match state {
                        State::Start => State::Unopened,
                        State::Opened => State::Thinking,
                        State::Closed => State::Literal,
                        // A text about the tags.
                        State::Unopened if text.get(at..).is_some_and(is_opening) => State::Literal,
                        other => other,
                    };
                    at += len;
                    word = at;
                }
            }
        }
        if self.state == State::Literal {
            word = text.len();
        }
        let said = text.get(from..word).unwrap_or_default();
        self.say(said, take);
        word
    }

    fn say(&self, text: &[u8], take: &mut dyn FnMut(TextKind, RawStr<'_>)) {
        let kind = match self.state {
            State::Opened | State::Thinking => TextKind::Reasoning,
            State::Start | State::Unopened | State::Closed | State::Literal => TextKind::Content,
        };
        // Cut between two letters or escapes, so it is the inside of a string again.
        if let Some(text) = RawStr::from_inside(text).filter(|text| !text.is_empty()) {
            take(kind, text);
        }
    }
}

fn is_opening(text: &[u8]) -> bool {
    matches!(found(text), Found::Tag(OPEN, _))
}

/// What a text that is not empty begins with.
fn found(text: &[u8]) -> Found {
    let (first, len) = letter(text);
    match first {
        Some(b' ' | b'\n' | b'\r' | b'\t') => return Found::Space(len),
        Some(b'<') => {}
        _ => return Found::Word(len),
    }
    for tag in [OPEN, CLOSE] {
        let mut at = 0;
        let fits = tag.iter().take_while(|expected| {
            let (found, len) = letter(text.get(at..).unwrap_or_default());
            let is_next = found == Some(**expected);
            at += if is_next { len } else { 0 };
            is_next
        });
        match (fits.count() == tag.len(), at == text.len()) {
            (true, _) => return Found::Tag(tag, at),
            (false, true) => return Found::Beginning,
            (false, false) => {}
        }
    }
    Found::Word(len)
}

/// The first letter, where it is ASCII, and how many bytes it takes: some backends escape `<`, others `/`.
fn letter(text: &[u8]) -> (Option<u8>, usize) {
    match text {
        [] => (None, 0),
        [b'\\', b'u', a, b, c, d, ..] => {
            let digits = [*a, *b, *c, *d];
            let unit = std::str::from_utf8(&digits).ok().and_then(|hex| u16::from_str_radix(hex, 16).ok());
            (unit.and_then(|unit| u8::try_from(unit).ok()), 6)
        }
        [b'\\', short, ..] => {
            let letter = match short {
                b'n' => Some(b'\n'),
                b'r' => Some(b'\r'),
                b't' => Some(b'\t'),
                b'/' => Some(b'/'),
                _ => None,
            };
            (letter, 2)
        }
        [byte, ..] => (Some(*byte), 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The runs of reasoning ("T:") and content ("C:") that these deltas make.
    fn runs(tags: ThinkTags, deltas: &[&str]) -> Vec<String> {
        let mut reader = TagReader::new(tags);
        let mut runs: Vec<(TextKind, Vec<u8>)> = Vec::new();
        let mut take = |kind, text: RawStr<'_>| match runs.last_mut() {
            _ if text.is_empty() => {}
            Some((last, run)) if *last == kind => run.extend_from_slice(text.raw()),
            _ => runs.push((kind, text.raw().to_vec())),
        };
        for delta in deltas {
            let text = RawStr::from_inside(delta.as_bytes()).unwrap();
            if reader.reads() { reader.push(text, &mut take) } else { take(TextKind::Content, text) }
        }
        reader.finish(&mut take);
        let letter = |kind| if kind == TextKind::Content { 'C' } else { 'T' };
        // Joined as they came: a cut may be between the halves of a pair.
        let text = |run: &[u8]| RawStr::from_inside(run).unwrap().decode().into_owned();
        runs.into_iter().map(|(kind, run)| format!("{}:{}", letter(kind), text(&run))).collect()
    }

    #[test]
    fn texts_with_tags() {
        let table: &[(&str, &[&str])] = &[
            ("<think>hm</think>Hi", &["T:hm", "C:Hi"]),
            (r"\n <think>\nhm\n</think>\n\nHi \n", &["T:hm", "C:Hi \n"]),
            (r"\u003cthink\u003Ehm<\/think>Hi", &["T:hm", "C:Hi"]),
            ("<think></think>Hi", &["C:Hi"]),
            (r"<think>\n\n</think>\n\nHi", &["C:Hi"]),
            ("<think>hm", &["T:hm"]),
            (r"<think>a\n\nb < c</think", &["T:a\n\nb < c</think"]),
            ("<think>a <think> b</think>c</think>d", &["T:a <think> b", "C:c</think>d"]),
            ("Hi <think>no</think> there", &["C:Hi <think>no</think> there"]),
            ("</think>Hi", &["C:Hi"]),
            (r"so far\n</think>\nHi </think>", &["C:so far\n\nHi </think>"]),
            ("<thin king", &["C:<thin king"]),
            ("<<think>a</think>", &["C:<<think>a</think>"]),
            ("<THINK>a", &["C:<THINK>a"]),
            (r" \n ", &["C: \n "]),
            ("<", &["C:<"]),
            ("", &[]),
        ];
        for (text, expected) in table {
            assert_eq!(runs(ThinkTags::On, &[text]), *expected, "{text}");
        }
    }

    #[test]
    fn an_answer_that_begins_in_its_reasoning() {
        let table: &[(&str, &[&str])] = &[
            (r"\nhm\n</think>\n\nHi", &["T:hm", "C:Hi"]),
            ("<think>hm</think>Hi", &["T:hm", "C:Hi"]),
            ("</think>Hi", &["C:Hi"]),
            ("hm", &["T:hm"]),
        ];
        for (text, expected) in table {
            assert_eq!(runs(ThinkTags::Open, &[text]), *expected, "{text}");
        }
    }

    #[test]
    fn without_the_setting_a_tag_is_text() {
        assert_eq!(runs(ThinkTags::Off, &["<think>hm</think>Hi"]), ["C:<think>hm</think>Hi"]);
    }

    #[test]
    fn only_what_may_be_a_tag_is_held_back() {
        let mut reader = TagReader::new(ThinkTags::On);
        let mut said = String::new();
        for (delta, expected) in [
            (" ", ""),
            ("<thi", ""),
            ("nk> ", ""),
            ("so", "so"),
            (" <", "so"),
            ("/", "so"),
            ("b ", "so </b"),
            ("</think>", "so </b"),
            (" ok", "so </bok"),
            (" <think>", "so </bok <think>"),
        ] {
            let text = RawStr::from_inside(delta.as_bytes()).unwrap();
            let mut take = |_, text: RawStr<'_>| said.push_str(&text.decode());
            if reader.reads() {
                reader.push(text, &mut take)
            } else {
                take(TextKind::Content, text)
            }
            assert_eq!(said, expected, "{delta:?}");
        }
    }

    #[test]
    fn endless_white_space_is_let_go() {
        let mut reader = TagReader::new(ThinkTags::On);
        let mut said = 0;
        for _ in 0..10 * MAX_HELD_BYTES {
            let text = RawStr::from_inside(br"\n").unwrap();
            if reader.reads() {
                reader.push(text, &mut |_, text| said += text.raw().len())
            } else {
                said += 2
            }
            assert!(reader.held.len() <= MAX_HELD_BYTES);
        }
        assert!(said > 0);
    }

    proptest! {
        #[test]
        fn a_text_cut_anywhere_says_the_same(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "<think>", "</think>", r"<\/think>", r"\u003cthink>", r"\u003C/think\u003e", "<", "</", "think", ">", " ",
                r"\n", r"\t", r"\u0020", "a", "\u{e9}", r#"\""#, r"\\", r"\ud83d\ude00", "<thin", "k>",
            ]), 0..12),
            cuts in prop::collection::vec(any::<bool>(), 40),
            tags in prop::sample::select(vec![ThinkTags::Off, ThinkTags::On, ThinkTags::Open]),
        ) {
            let text = pieces.concat();
            // A backend cuts between characters, which escapes are.
            let (mut parts, mut from, mut at) = (Vec::new(), 0, 0);
            let mut cuts = cuts.into_iter().cycle();
            while at < text.len() {
                let (_, len) = letter(&text.as_bytes()[at..]);
                at += len;
                if text.is_char_boundary(at) && cuts.next().unwrap() {
                    parts.push(&text[from..at]);
                    from = at;
                }
            }
            parts.push(&text[from..]);
            prop_assert_eq!(runs(tags, &parts), runs(tags, &[&text]), "{:?}", parts);
        }
    }
}
