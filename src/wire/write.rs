//! [`JsonWriter`]: lays JSON into one output buffer, append-only.
//!
//! It writes what it is told in that order and puts the commas. What it copies comes out as it went in, with three
//! exceptions that real clients need (measured with ollama-python, whose HTTP library ends a line wherever Python's
//! `splitlines` does): U+2028, U+2029 and U+0085 leave as escapes, and bytes that are not UTF-8 leave as U+FFFD.

use super::scan::{HIGH, plain_end};
use super::{Number, RawJson, RawStr};
use bytes::{BufMut, BytesMut};

/// An append-only writer of JSON texts.
///
/// The caller keeps the structure right: every `begin` has its `end`, every key its value.
#[derive(Debug)]
pub struct JsonWriter<'o> {
    out: &'o mut BytesMut,
    /// Something stands before in this container: the next item needs a comma.
    comma: bool,
}

impl<'o> JsonWriter<'o> {
    /// Appends to `out`.
    pub fn new(out: &'o mut BytesMut) -> Self {
        JsonWriter { out, comma: false }
    }

    /// Goes on inside a container to which `out` already has members.
    pub fn resume(out: &'o mut BytesMut) -> Self {
        JsonWriter { out, comma: true }
    }

    /// `{`
    pub fn begin_object(&mut self) {
        self.open(b",{");
        self.comma = false;
    }

    /// `}`
    pub fn end_object(&mut self) {
        put(self.out, b'}');
        self.comma = true;
    }

    /// `[`
    pub fn begin_array(&mut self) {
        self.open(b",[");
        self.comma = false;
    }

    /// `]`
    pub fn end_array(&mut self) {
        put(self.out, b']');
        self.comma = true;
    }

    /// The key of the next value. Keys are the program's own words and need no escaping; others go by
    /// [`key_text`](Self::key_text).
    #[inline]
    pub fn key(&mut self, name: &'static str) {
        // Put together before it is appended: appending takes longer than all the rest.
        let mut token = [b'"'; KEY_TOKEN];
        let room = token.split_at_mut_checked(2).and_then(|(_, room)| room.split_at_mut_checked(name.len()));
        if let Some((room, [_, colon, ..])) = room {
            room.copy_from_slice(name.as_bytes());
            *colon = b':';
            token[0] = b',';
            let from = usize::from(!self.comma);
            self.out.put_slice(token.get(from..name.len() + 4).unwrap_or_default());
        } else {
            self.open(b",\"");
            self.out.put_slice(name.as_bytes());
            self.out.put_slice(b"\":");
        }
        self.comma = false;
    }

    /// A key that is known only at run time.
    pub fn key_text(&mut self, name: &str) {
        self.string(name);
        put(self.out, b':');
        self.comma = false;
    }

    /// A string from text.
    pub fn string(&mut self, text: &str) {
        self.open(b",\"");
        escape(text.as_bytes(), self.out);
        put(self.out, b'"');
    }

    /// A string that is already escaped.
    pub fn raw_str(&mut self, text: RawStr<'_>) {
        self.open(b",\"");
        copy(text.raw(), text.is_ascii(), self.out);
        put(self.out, b'"');
    }

    /// A value that already is JSON, as it stands.
    pub fn raw(&mut self, value: RawJson<'_>) {
        self.item();
        copy(value.bytes(), false, self.out);
    }

    /// A value that already is JSON, without the white space between its tokens: it may hold line ends, and a line of
    /// NDJSON may not.
    pub fn raw_compact(&mut self, value: RawJson<'_>) {
        self.item();
        let mut rest = value.bytes();
        while let Some(quote) = memchr::memchr(b'"', rest) {
            let (between, string) = rest.split_at(quote);
            self.out.extend(between.iter().filter(|byte| !byte.is_ascii_whitespace()));
            let len = string_len(string);
            copy(string.get(..len).unwrap_or(string), false, self.out);
            rest = string.get(len..).unwrap_or_default();
        }
        self.out.extend(rest.iter().filter(|byte| !byte.is_ascii_whitespace()));
    }

    /// A string that holds a JSON text: the value's own bytes, escaped once more.
    pub fn raw_as_string(&mut self, value: RawJson<'_>) {
        self.open(b",\"");
        escape(value.bytes(), self.out);
        put(self.out, b'"');
    }

    /// A string of ASCII pieces that need no escaping (base64 and what stands before it): megabytes that need no look.
    pub fn plain_string(&mut self, pieces: &[&[u8]]) {
        self.open(b",\"");
        for piece in pieces {
            self.out.put_slice(piece);
        }
        put(self.out, b'"');
    }

    /// A whole number.
    pub fn uint(&mut self, number: u64) {
        self.item();
        let mut digits = [0u8; 20];
        let mut rest = number;
        let mut len = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            len += 1;
            if rest == 0 {
                break;
            }
        }
        self.out.put_slice(digits.get(20 - len..).unwrap_or_default());
    }

    /// A whole number with a sign.
    pub fn int(&mut self, number: i64) {
        self.item();
        if number < 0 {
            put(self.out, b'-');
        }
        self.comma = false;
        self.uint(number.unsigned_abs());
    }

    /// Any number.
    #[inline]
    pub fn number(&mut self, number: Number<'_>) {
        self.item();
        number.write(self.out);
    }

    /// `true` or `false`
    pub fn bool(&mut self, value: bool) {
        self.item();
        self.out.put_slice(if value { b"true" } else { b"false" });
    }

    /// `null`
    pub fn null(&mut self) {
        self.item();
        self.out.put_slice(b"null");
    }

    /// Ends one line of NDJSON.
    pub fn end_line(&mut self) {
        put(self.out, b'\n');
        self.comma = false;
    }

    /// Copies the inside of an escaped string to the end of `out`, mended, without quotes.
    pub fn append_raw_text(out: &mut BytesMut, text: RawStr<'_>) {
        copy(text.raw(), text.is_ascii(), out);
    }

    fn item(&mut self) {
        if self.comma {
            put(self.out, b',');
        }
        self.comma = true;
    }

    /// [`item`](Self::item), and what it begins with.
    #[inline]
    fn open(&mut self, [comma, begin]: &[u8; 2]) {
        if self.comma {
            put(self.out, *comma);
        }
        put(self.out, *begin);
        self.comma = true;
    }
}

/// Room for a key with its comma, quotes and colon: longer ones are written piece by piece.
const KEY_TOKEN: usize = 48;

/// Appends one byte, by a store where `put_u8` copies a piece.
#[inline]
fn put(out: &mut BytesMut, byte: u8) {
    out.put_bytes(byte, 1);
}

/// Length of the string literal that `text` begins with, quotes included.
fn string_len(text: &[u8]) -> usize {
    let mut at = 1;
    loop {
        match text.get(at) {
            None => return text.len(),
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
        }
    }
}

/// Copies JSON bytes, with the three separators escaped and invalid UTF-8 replaced.
#[inline]
fn copy(bytes: &[u8], known_ascii: bool, out: &mut BytesMut) {
    if known_ascii || bytes.is_ascii() {
        out.put_slice(bytes);
        return;
    }
    // Nearly always so, and told faster than chunk by chunk.
    if simdutf8::basic::from_utf8(bytes).is_ok() {
        return copy_valid(bytes, out);
    }
    for chunk in bytes.utf8_chunks() {
        copy_valid(chunk.valid().as_bytes(), out);
        if !chunk.invalid().is_empty() {
            out.put_slice("\u{fffd}".as_bytes());
        }
    }
}

/// U+0085 begins with C2, U+2028 and U+2029 with E2: only behind those two bytes is a look needed.
fn copy_valid(text: &[u8], out: &mut BytesMut) {
    let mut copied = 0;
    for at in memchr::memchr2_iter(0xC2, 0xE2, text) {
        let (written, len): (&[u8], usize) = match text.get(at..).unwrap_or_default() {
            [0xC2, 0x85, ..] => (b"\\u0085", 2),
            [0xE2, 0x80, 0xA8, ..] => (b"\\u2028", 3),
            [0xE2, 0x80, 0xA9, ..] => (b"\\u2029", 3),
            // Another character, such as a dash or a curled quote, which prose has many of.
            _ => continue,
        };
        out.put_slice(text.get(copied..at).unwrap_or_default());
        out.put_slice(written);
        copied = at + len;
    }
    out.put_slice(text.get(copied..).unwrap_or_default());
}

/// Text to the inside of a JSON string: quotes, backslashes and control characters escaped.
fn escape(text: &[u8], out: &mut BytesMut) {
    let mut rest = text;
    loop {
        let (len, seen) = plain_end(rest, 0);
        let (plain, from) = rest.split_at(len);
        if !plain.is_empty() {
            copy(plain, seen & HIGH == 0, out);
        }
        let Some((stop, behind)) = from.split_first() else { return };
        match stop {
            b'"' => out.put_slice(b"\\\""),
            b'\\' => out.put_slice(b"\\\\"),
            b'\n' => out.put_slice(b"\\n"),
            b'\r' => out.put_slice(b"\\r"),
            b'\t' => out.put_slice(b"\\t"),
            control => {
                out.put_slice(b"\\u00");
                for digit in [control >> 4, control & 15] {
                    out.put_u8(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
                }
            }
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Scanner;
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut JsonWriter<'_>)) -> String {
        let mut out = BytesMut::new();
        write(&mut JsonWriter::new(&mut out));
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn commas_stand_between_items_only() {
        let text = written(|w| {
            w.begin_object();
            w.key("a");
            w.begin_array();
            w.uint(0);
            w.int(-12);
            w.uint(u64::MAX);
            w.begin_object();
            w.end_object();
            w.end_array();
            w.key_text("\"");
            w.null();
            w.key("c");
            w.bool(true);
            w.end_object();
            w.end_line();
            w.bool(false);
        });
        assert_eq!(text, "{\"a\":[0,-12,18446744073709551615,{}],\"\\\"\":null,\"c\":true}\nfalse");
    }

    #[test]
    fn what_was_escaped_stays_as_it_was() {
        let json = br#""\/\u003c\ud83d\ude00\u0000 \n""#;
        let raw = Scanner::new(json).string().unwrap();
        assert_eq!(written(|w| w.raw_str(raw)).as_bytes(), json);
    }

    #[test]
    fn the_three_separators_leave_as_escapes_and_bad_utf8_as_replacement() {
        let json = "\"a\u{2028}b\u{2029}c\u{85}d\u{2027}é\u{e2}\"";
        let raw = Scanner::new(json.as_bytes()).string().unwrap();
        assert_eq!(written(|w| w.raw_str(raw)), "\"a\\u2028b\\u2029c\\u0085d\u{2027}é\u{e2}\"");
        let raw = Scanner::new(b"\"\xff\xe2\x80\xc2x\xed\xa0\x80\"").string().unwrap();
        let text = written(|w| w.raw_str(raw));
        assert_eq!(text, String::from_utf8_lossy(b"\"\xff\xe2\x80\xc2x\xed\xa0\x80\""));
    }

    #[test]
    fn compact_drops_white_space_between_tokens_only() {
        let json = b"{ \"a b\" : [ 1 ,\n \"x \\\" \\\\\" ] }";
        let raw = Scanner::new(json).value().unwrap();
        assert_eq!(written(|w| w.raw_compact(raw)), r#"{"a b":[1,"x \" \\"]}"#);
    }

    #[test]
    fn a_value_as_a_string_reads_back_as_the_value() {
        let json = "{\"a\":\"\\n\u{2028}\",\n\t\"b\":1}";
        let raw = Scanner::new(json.as_bytes()).value().unwrap();
        let text = written(|w| w.raw_as_string(raw));
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), json);
    }

    #[test]
    fn a_key_of_any_length_is_written_whole() {
        let names = "n".repeat(100);
        for len in 0..=names.len() {
            let name: &'static str = names[..len].to_string().leak();
            let text = written(|w| {
                w.begin_object();
                w.key(name);
                w.null();
                w.key(name);
                w.null();
                w.end_object();
            });
            assert_eq!(text, format!("{{\"{name}\":null,\"{name}\":null}}"));
        }
    }

    proptest! {
        /// Long enough for all that is taken by blocks, and with many of what needs a look.
        #[test]
        fn bytes_leave_as_their_lossy_text_but_for_the_separators(
            units in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(vec!["plain and long enough for a word", "é", "\u{2019}", "你", "😀"])
                        .prop_map(|text| text.as_bytes().to_vec()),
                    prop::sample::select(vec!["\u{85}", "\u{2028}", "\u{2029}", "\u{a0}"])
                        .prop_map(|text| text.as_bytes().to_vec()),
                    prop::collection::vec(0x80u8..=0xff, 1..4),
                ],
                0..40,
            ),
        ) {
            let bytes = units.concat();
            let json = [b"\"".as_slice(), &bytes, b"\""].concat();
            let raw = Scanner::new(&json).string().unwrap();
            let expected = String::from_utf8_lossy(&bytes)
                .replace('\u{85}', "\\u0085")
                .replace('\u{2028}', "\\u2028")
                .replace('\u{2029}', "\\u2029");
            prop_assert_eq!(written(|w| w.raw_str(raw)), format!("\"{expected}\""));
        }

        #[test]
        fn any_text_reads_back(text in any::<String>()) {
            let json = written(|w| w.string(&text));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
            let raw = json.contains(['\u{2028}', '\u{2029}', '\u{85}', '\n']);
            prop_assert!(!raw);
        }
    }
}
