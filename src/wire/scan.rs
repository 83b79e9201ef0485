//! [`Scanner`]: a pull reader over one JSON text (RFC 8259) that copies nothing.
//!
//! It hands out strings as they stand between their quotes ([`RawStr`], still escaped) and values as the range they
//! occupy ([`RawJson`]), so that what is only moved is never decoded. Everything it passes over is checked: structure,
//! escapes, number grammar, control bytes, depth. Two things are left to whoever copies the text: UTF-8, which is
//! mended there so that one bad byte does not lose an event, and the pairing of surrogate escapes, which backends cut
//! between deltas.
//!
//! The caller drives: after [`Scanner::next_key`] or [`Scanner::next_element`] said there is a value, exactly one value
//! must be taken.

use super::text::RawStr;
use std::fmt;

/// How many containers may stand inside each other: what serde_json allows, more than any schema in the field needs,
/// and far below what could overflow a stack in a parser behind us.
pub const MAX_DEPTH: u32 = 128;

/// What a value is, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `"`
    String,
    /// `-` or a digit
    Number,
    /// `true` or `false`
    Bool,
    /// `null`
    Null,
}

impl Kind {
    /// The word for error texts: "found string".
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Object => "object",
            Kind::Array => "array",
            Kind::String => "string",
            Kind::Number => "number",
            Kind::Bool => "boolean",
            Kind::Null => "null",
        }
    }
}

/// What is wrong with a JSON text, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// What was met.
    pub kind: JsonErrorKind,
    /// Byte offset from the start of the text.
    pub offset: usize,
}

/// The kinds of [`JsonError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonErrorKind {
    /// The text ends inside a value.
    Truncated,
    /// A byte that the grammar does not allow there.
    Unexpected,
    /// A backslash that begins no escape.
    BadEscape,
    /// More than [`MAX_DEPTH`] containers inside each other.
    TooDeep,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            JsonErrorKind::Truncated => "unexpected end of JSON input",
            JsonErrorKind::Unexpected => "invalid character",
            JsonErrorKind::BadEscape => "invalid escape",
            JsonErrorKind::TooDeep => "nested too deeply",
        };
        write!(f, "{what} at offset {}", self.offset)
    }
}

impl std::error::Error for JsonError {}

/// The range of one checked value, as it stands in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawJson<'a> {
    pub(super) bytes: &'a [u8],
}

impl<'a> RawJson<'a> {
    /// The bytes of the value.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// What the value is.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self.bytes.first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') | None => Kind::Null,
            Some(_) => Kind::Number,
        }
    }

    /// The string without its quotes, when the value is one.
    #[must_use]
    pub fn as_str(self) -> Option<RawStr<'a>> {
        if self.kind() == Kind::String { Scanner::new(self.bytes).string().ok() } else { None }
    }

    /// Whether the value is a container with nothing in it.
    #[must_use]
    pub fn is_empty_container(self) -> bool {
        let inner = self.bytes.get(1..self.bytes.len().saturating_sub(1)).unwrap_or_default();
        matches!(self.kind(), Kind::Array | Kind::Object) && inner.iter().all(u8::is_ascii_whitespace)
    }
}

/// See the module's description.
///
/// Invariant: `at <= text.len()`; `depth` is the number of containers open at `at`; `fresh` says that the last token
/// was the opening of the innermost one.
#[derive(Clone, Debug)]
pub struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    depth: u32,
    fresh: bool,
}

impl<'a> Scanner<'a> {
    /// A reader at the start of `text`.
    #[must_use]
    pub fn new(text: &'a [u8]) -> Self {
        Scanner { text, at: 0, depth: 0, fresh: false }
    }

    /// How many bytes have been read.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.at
    }

    /// What the next value is, without taking it.
    ///
    /// # Errors
    /// When no value begins here.
    #[inline]
    pub fn kind(&mut self) -> Result<Kind, JsonError> {
        match self.peek() {
            Some(b'"') => Ok(Kind::String),
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            _ => Err(self.unexpected()),
        }
    }

    /// Enters an object; its members follow by [`next_key`](Self::next_key).
    ///
    /// # Errors
    /// When no object begins here or it would be too deep.
    #[inline]
    pub fn begin_object(&mut self) -> Result<(), JsonError> {
        self.open(b'{')
    }

    /// Enters an array; its elements follow by [`next_element`](Self::next_element).
    ///
    /// # Errors
    /// When no array begins here or it would be too deep.
    #[inline]
    pub fn begin_array(&mut self) -> Result<(), JsonError> {
        self.open(b'[')
    }

    /// The next member's key, the reader standing at its value; `None` when the object ended.
    ///
    /// # Errors
    /// When neither a member nor the end follows.
    #[inline]
    pub fn next_key(&mut self) -> Result<Option<RawStr<'a>>, JsonError> {
        if !self.next_in(b'}')? {
            return Ok(None);
        }
        self.key().map(Some)
    }

    /// Whether another element follows; `false` when the array ended.
    ///
    /// # Errors
    /// When neither an element nor the end follows.
    #[inline]
    pub fn next_element(&mut self) -> Result<bool, JsonError> {
        self.next_in(b']')
    }

    /// Takes a string.
    ///
    /// # Errors
    /// When no complete, valid string stands here.
    #[inline]
    pub fn string(&mut self) -> Result<RawStr<'a>, JsonError> {
        self.peek();
        let text = self.string_here()?;
        self.fresh = false;
        Ok(text)
    }

    /// Takes any value and gives the range it occupies.
    ///
    /// # Errors
    /// When no complete, valid value stands here.
    #[inline]
    pub fn value(&mut self) -> Result<RawJson<'a>, JsonError> {
        self.peek();
        let start = self.at;
        self.skip()?;
        self.fresh = false;
        Ok(RawJson { bytes: self.text.get(start..self.at).unwrap_or_default() })
    }

    /// Nothing but white space may follow.
    ///
    /// # Errors
    /// When something does.
    pub fn end(&mut self) -> Result<(), JsonError> {
        if self.peek().is_none() { Ok(()) } else { Err(self.unexpected()) }
    }

    /// The next byte that is not white space, which is passed over.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.get(self.at)?;
            if byte > b' ' || !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    #[inline]
    fn open(&mut self, bracket: u8) -> Result<(), JsonError> {
        if self.peek() != Some(bracket) {
            return Err(self.unexpected());
        }
        if self.depth == MAX_DEPTH {
            return Err(self.error(JsonErrorKind::TooDeep));
        }
        self.at += 1;
        self.depth += 1;
        self.fresh = true;
        Ok(())
    }

    /// Passes the comma before the next item, or the `close` bracket.
    #[inline]
    fn next_in(&mut self, close: u8) -> Result<bool, JsonError> {
        match self.peek() {
            Some(byte) if byte == close && self.depth > 0 => {
                self.at += 1;
                self.depth -= 1;
                self.fresh = false;
                Ok(false)
            }
            Some(b',') if !self.fresh => {
                self.at += 1;
                Ok(true)
            }
            Some(_) if self.fresh => Ok(true),
            _ => Err(self.unexpected()),
        }
    }

    #[inline]
    fn key(&mut self) -> Result<RawStr<'a>, JsonError> {
        self.peek();
        let key = self.string_here()?;
        if self.peek() != Some(b':') {
            return Err(self.unexpected());
        }
        self.at += 1;
        self.fresh = false;
        Ok(key)
    }

    /// A string whose opening quote stands at `at`.
    #[inline]
    fn string_here(&mut self) -> Result<RawStr<'a>, JsonError> {
        if self.text.get(self.at) != Some(&b'"') {
            return Err(self.unexpected());
        }
        self.at += 1;
        let start = self.at;
        let (mut escaped, mut high_bits) = (false, 0u64);
        loop {
            high_bits |= self.skip_plain();
            match self.text.get(self.at) {
                Some(b'"') => {
                    let raw = self.text.get(start..self.at).unwrap_or_default();
                    self.at += 1;
                    return Ok(RawStr::checked(raw, escaped, high_bits & HIGH == 0));
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(byte) if *byte >= b' ' => {
                    high_bits |= u64::from(*byte);
                    self.at += 1;
                }
                _ => return Err(self.unexpected()),
            }
        }
    }

    /// Passes eight bytes at a time over what needs no look inside a string; returns the OR of what it passed, so that
    /// the caller knows whether all of it was ASCII. It stops at the first word with a quote, a backslash or a control
    /// byte, on that very byte.
    ///
    /// The test for one byte value is the classic "is there a zero byte": `(x - ONES) & !x & HIGH` has the high bit set
    /// in the lowest zero byte of `x`, and may have false ones only above it, which the lowest bit hides.
    #[inline]
    fn skip_plain(&mut self) -> u64 {
        const fn zero_bytes(x: u64) -> u64 {
            x.wrapping_sub(ONES) & !x & HIGH
        }
        let mut seen = 0;
        while let Some(word) = self.text.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) {
            let x = u64::from_le_bytes(*word);
            let control = x.wrapping_sub(ONES * 0x20) & !x & HIGH;
            let stop = control | zero_bytes(x ^ (ONES * b'"' as u64)) | zero_bytes(x ^ (ONES * b'\\' as u64));
            if stop != 0 {
                let plain = stop.trailing_zeros() / 8;
                self.at += plain as usize;
                // Only the bytes before the stop count: those above it are not part of this run.
                return seen | (x & ((1u64 << (plain * 8)) - 1));
            }
            seen |= x;
            self.at += 8;
        }
        seen
    }

    /// An escape whose backslash stands at `at`.
    fn escape(&mut self) -> Result<(), JsonError> {
        let len = match self.text.get(self.at + 1) {
            None => return Err(self.truncated()),
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => 6,
            Some(_) => return Err(self.error(JsonErrorKind::BadEscape)),
        };
        let Some(digits) = self.text.get(self.at + 2..self.at + len) else { return Err(self.truncated()) };
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(self.error(JsonErrorKind::BadEscape));
        }
        self.at += len;
        Ok(())
    }

    fn number(&mut self) -> Result<(), JsonError> {
        if self.text.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        match self.text.get(self.at) {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.text.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.text.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), JsonError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return Err(self.unexpected());
        }
        self.at += count;
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Result<(), JsonError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if rest.starts_with(word) {
            self.at += word.len();
            return Ok(());
        }
        self.at += rest.iter().zip(word).take_while(|(a, b)| a == b).count();
        Err(self.unexpected())
    }

    /// Passes one value that begins at `at`, containers without recursion: bit `n` of `objects` says whether the
    /// `n`-th container opened here, counted from the innermost, is an object.
    #[inline]
    fn skip(&mut self) -> Result<(), JsonError> {
        let base = self.depth;
        let mut objects = 0u128;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.string_here()?;
                }
                Some(open @ (b'{' | b'[')) => {
                    self.open(open)?;
                    let object = open == b'{';
                    objects = (objects << 1) | u128::from(object);
                    let close = if object { b'}' } else { b']' };
                    if self.next_in(close)? {
                        if object {
                            self.key()?;
                        }
                        self.fresh = false;
                        continue;
                    }
                    objects >>= 1;
                }
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.word(b"true")?,
                Some(b'f') => self.word(b"false")?,
                Some(b'n') => self.word(b"null")?,
                _ => return Err(self.unexpected()),
            }
            // A value ended: so may containers around it, until one goes on or the outermost is done.
            loop {
                if self.depth == base {
                    return Ok(());
                }
                let object = objects & 1 == 1;
                if self.next_in(if object { b'}' } else { b']' })? {
                    if object {
                        self.key()?;
                    }
                    break;
                }
                objects >>= 1;
            }
        }
    }

    fn error(&self, kind: JsonErrorKind) -> JsonError {
        JsonError { kind, offset: self.at }
    }

    fn truncated(&self) -> JsonError {
        JsonError { kind: JsonErrorKind::Truncated, offset: self.text.len() }
    }

    #[cold]
    fn unexpected(&self) -> JsonError {
        if self.at >= self.text.len() { self.truncated() } else { self.error(JsonErrorKind::Unexpected) }
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
