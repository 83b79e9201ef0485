//! [`RawStr`]: the inside of a JSON string as it stands in the text, still escaped.
//!
//! Comparing and taking it apart is done here; copying it to a client or a backend is the writer's work.

use std::borrow::Cow;

/// Longest key that [`RawStr::lookup`] decodes: longer than any field name of either API.
pub const KEY_BYTES: usize = 40;

/// A checked JSON string without its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RawStr<'a> {
    raw: &'a [u8],
    escaped: bool,
    ascii: bool,
}

impl<'a> RawStr<'a> {
    pub(super) fn checked(raw: &'a [u8], escaped: bool, ascii: bool) -> Self {
        RawStr { raw, escaped, ascii }
    }

    /// A part of a checked string that begins and ends between two characters.
    pub(super) fn part(self, raw: &'a [u8]) -> Self {
        RawStr { raw, ..self }
    }

    /// The bytes between the quotes.
    #[must_use]
    pub fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// Whether the string is `""`.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.raw.is_empty()
    }

    /// Whether a backslash stands in it.
    #[must_use]
    pub fn is_escaped(self) -> bool {
        self.escaped
    }

    /// Whether every byte is ASCII.
    #[must_use]
    pub fn is_ascii(self) -> bool {
        self.ascii
    }

    /// The string as a name to `match` on: as it stands when it has no escape, else decoded into `scratch`. A name too
    /// long for `scratch` matches nothing.
    #[inline]
    #[must_use]
    pub fn lookup<'s>(self, scratch: &'s mut [u8; KEY_BYTES]) -> &'s [u8]
    where
        'a: 's,
    {
        if !self.escaped {
            return self.raw;
        }
        let text = self.decode();
        match scratch.get_mut(..text.len()) {
            Some(room) => {
                room.copy_from_slice(text.as_bytes());
                room
            }
            None => b"",
        }
    }

    /// [`lookup`](Self::lookup) in lower case: Ollama's own decoder takes field names in any case.
    #[must_use]
    pub fn lookup_lowercase<'s>(self, scratch: &'s mut [u8; KEY_BYTES]) -> &'s [u8]
    where
        'a: 's,
    {
        // As nearly all clients write it: nothing to make of it.
        if !self.escaped && !self.raw.iter().any(u8::is_ascii_uppercase) {
            return if self.raw.len() > KEY_BYTES { b"" } else { self.raw };
        }
        let text = if self.escaped { self.decode().into_owned().into_bytes() } else { Vec::new() };
        let raw = if self.escaped { &text } else { self.raw };
        match scratch.get_mut(..raw.len()) {
            Some(room) => {
                room.copy_from_slice(raw);
                room.make_ascii_lowercase();
                room
            }
            None => b"",
        }
    }

    /// The string as text: escapes resolved, invalid UTF-8 and unpaired surrogates as U+FFFD.
    #[must_use]
    pub fn decode(self) -> Cow<'a, str> {
        if !self.escaped {
            return String::from_utf8_lossy(self.raw);
        }
        let mut text = Vec::with_capacity(self.raw.len());
        self.unescape_to(&mut text);
        Cow::Owned(match String::from_utf8(text) {
            Ok(text) => text,
            Err(bad) => String::from_utf8_lossy(bad.as_bytes()).into_owned(),
        })
    }

    /// Appends what [`decode`](Self::decode) gives.
    pub fn decode_to(self, out: &mut Vec<u8>) {
        match (self.ascii, self.escaped) {
            (true, false) => out.extend_from_slice(self.raw),
            (true, true) => self.unescape_to(out),
            (false, _) => out.extend_from_slice(self.decode().as_bytes()),
        }
    }

    fn unescape_to(self, text: &mut Vec<u8>) {
        let mut rest = self.raw;
        while let Some(backslash) = memchr::memchr(b'\\', rest) {
            text.extend_from_slice(rest.get(..backslash).unwrap_or_default());
            rest = rest.get(backslash..).unwrap_or_default();
            let (letter, len) = unescape(rest);
            text.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            rest = rest.get(len..).unwrap_or_default();
        }
        text.extend_from_slice(rest);
    }

    /// Cuts off the escape of a high surrogate at the end: its other half comes with the next delta, and half a
    /// character is nothing a client can show.
    #[must_use]
    pub fn split_trailing_high_surrogate(self) -> (Self, Option<[u8; 6]>) {
        let Some((head, tail)) = self.raw.split_last_chunk::<6>() else { return (self, None) };
        // `\\ud83d` is a backslash and five letters: the backslash that counts has an even number before it.
        let backslashes = head.iter().rev().take_while(|byte| **byte == b'\\').count();
        match unit(tail) {
            Some(0xD800..=0xDBFF) if backslashes % 2 == 0 => (self.part(head), Some(*tail)),
            _ => (self, None),
        }
    }

    /// Cuts the string where its first part takes at most `max` bytes in an NDJSON line, between two characters (an
    /// escape, a surrogate pair and a UTF-8 sequence stay whole).
    #[must_use]
    pub fn split_at_cost(self, max: usize) -> (Self, Self) {
        let (mut at, mut cost) = (0, 0);
        while let Some(rest) = self.raw.get(at..).filter(|rest| !rest.is_empty()) {
            let (len, unit_cost) = first_unit(rest);
            if cost + unit_cost > max && at > 0 {
                break;
            }
            at += len;
            cost += unit_cost;
        }
        let (head, tail) = self.raw.split_at(at.min(self.raw.len()));
        (self.part(head), self.part(tail))
    }
}

/// The code unit of a `\uXXXX` escape.
fn unit(escape: &[u8]) -> Option<u32> {
    let digits = escape.strip_prefix(b"\\u")?.get(..4)?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The character of the escape that `text` begins with, and how many bytes it takes.
fn unescape(text: &[u8]) -> (char, usize) {
    let short = match text.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unescape_unicode(text),
        Some(other) => char::from(*other),
        None => char::REPLACEMENT_CHARACTER,
    };
    (short, 2)
}

fn unescape_unicode(text: &[u8]) -> (char, usize) {
    let Some(first) = unit(text) else { return (char::REPLACEMENT_CHARACTER, 6) };
    if let (0xD800..=0xDBFF, Some(second @ 0xDC00..=0xDFFF)) = (first, text.get(6..).and_then(unit)) {
        let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 6)
}

/// Length and NDJSON cost of the first unit that may not be cut: an escape (a pair of them for a surrogate pair), one
/// character, or one invalid byte, which becomes U+FFFD.
fn first_unit(text: &[u8]) -> (usize, usize) {
    match text.first() {
        Some(b'\\') => {
            let len = if text.get(1) == Some(&b'u') { unescape_unicode(text).1 } else { 2 };
            (len.min(text.len()), len)
        }
        Some(byte) if byte.is_ascii() => (1, 1),
        _ => {
            let head = text.get(..4).unwrap_or(text);
            match head.utf8_chunks().next() {
                Some(chunk) if !chunk.valid().is_empty() => {
                    let len = chunk.valid().chars().next().map_or(1, char::len_utf8);
                    (len, len.max(6))
                }
                Some(chunk) => (chunk.invalid().len().max(1), 3),
                None => (1, 1),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Scanner;
    use super::*;
    use proptest::prelude::*;

    fn raw(json: &str) -> RawStr<'_> {
        Scanner::new(json.as_bytes()).string().unwrap()
    }

    #[test]
    fn decode_agrees_with_serde_json() {
        for json in
            [r#""""#, r#""plain""#, r#""\"\\\/\b\f\n\r\t""#, r#""é😀\u00e9\ud83d\ude00""#, r#""\\ud83d""#]
        {
            let expected = serde_json::from_str::<String>(json).unwrap();
            assert_eq!(raw(json).decode(), expected, "{json}");
            let mut text = b"x".to_vec();
            raw(json).decode_to(&mut text);
            assert_eq!(text, format!("x{expected}").into_bytes(), "{json}");
        }
    }

    #[test]
    fn an_unpaired_surrogate_decodes_as_the_replacement_character() {
        assert_eq!(raw(r#""a\ud83d""#).decode(), "a\u{fffd}");
        assert_eq!(raw(r#""\ude00\ud83dx""#).decode(), "\u{fffd}\u{fffd}x");
    }

    #[test]
    fn names_match_escaped_and_in_lower_case() {
        let mut scratch = [0; KEY_BYTES];
        assert_eq!(raw(r#""ch\u006fices""#).lookup(&mut scratch), b"choices");
        assert_eq!(raw(r#""Mod\u0045l""#).lookup_lowercase(&mut scratch), b"model");
        assert_eq!(raw(r#""modeL""#).lookup_lowercase(&mut scratch), b"model");
        assert_eq!(raw(r#""model""#).lookup_lowercase(&mut scratch), b"model");
        let plain = format!("\"{}\"", "x".repeat(KEY_BYTES + 1));
        assert_eq!(raw(&plain).lookup_lowercase(&mut scratch), b"");
        let long = format!("\"\\u0061{}\"", "x".repeat(KEY_BYTES));
        assert_eq!(raw(&long).lookup(&mut scratch), b"");
        assert_eq!(raw(&long).lookup_lowercase(&mut scratch), b"");
    }

    #[test]
    fn a_high_surrogate_at_the_end_waits_for_its_other_half() {
        let (head, held) = raw(r#""ab\ud83d""#).split_trailing_high_surrogate();
        assert_eq!((head.raw(), held), (&b"ab"[..], Some(*br"\ud83d")));
        for whole in [r#""ab\ud83d\ude00""#, r#""\\ud83d""#, r#""\ude00""#, r#""x""#] {
            assert_eq!(raw(whole).split_trailing_high_surrogate().1, None, "{whole}");
        }
        assert!(raw(r#""\\\ud83d""#).split_trailing_high_surrogate().1.is_some());
    }

    proptest! {
        #[test]
        fn a_split_keeps_every_character(text in r#"[a\\"\u{2028}\u{85}é😀\n]{0,40}"#, max in 1usize..30) {
            for json in [serde_json::to_string(&text).unwrap(), ascii_json(&text)] {
                let mut rest = raw(&json);
                let mut joined = String::new();
                while !rest.is_empty() {
                    let (head, tail) = rest.split_at_cost(max);
                    prop_assert!(!head.is_empty());
                    joined.push_str(&head.decode());
                    rest = tail;
                }
                prop_assert_eq!(&joined, &text);
            }
        }
    }

    /// All escapes, as Python's `json.dumps` writes them.
    fn ascii_json(text: &str) -> String {
        let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        format!("\"{escaped}\"")
    }
}
