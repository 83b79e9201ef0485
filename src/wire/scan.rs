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

use super::Squares;
use super::inside::{escape_end, plain_blocks, string_end};
use super::json_error::{JsonError, JsonErrorKind};
use super::text::{KEY_BYTES, RawStr};
use std::ops::ControlFlow;

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

    /// Calls `take` with each member of an object, by name and value; a value of another kind has none.
    ///
    /// # Errors
    /// What `take` returns. A checked value has no fault of its own.
    pub fn each_member<E: From<JsonError>>(
        self,
        mut take: impl FnMut(&[u8], RawJson<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.kind() != Kind::Object {
            return Ok(());
        }
        let mut scanner = Scanner::new(self.bytes);
        let mut scratch = [0; KEY_BYTES];
        scanner.begin_object()?;
        while let Some(key) = scanner.next_key()? {
            let value = scanner.value()?;
            take(key.lookup(&mut scratch), value)?;
        }
        Ok(())
    }

    /// Calls `take` with each element of an array; a value of another kind has none.
    ///
    /// # Errors
    /// As [`each_member`](Self::each_member).
    pub fn each_element<E: From<JsonError>>(
        self,
        mut take: impl FnMut(RawJson<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.kind() != Kind::Array {
            return Ok(());
        }
        let mut scanner = Scanner::new(self.bytes);
        scanner.begin_array()?;
        while scanner.next_element()? {
            take(scanner.value()?)?;
        }
        Ok(())
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
///
/// The methods are inlined and hand what they need to the functions below by value: so the position stays in a register
/// from token to token instead of going through memory, which is most of the speed (`benches/event.rs`).
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
    #[inline(always)]
    pub fn new(text: &'a [u8]) -> Self {
        Scanner { text, at: 0, depth: 0, fresh: false }
    }

    /// A reader at the value that begins at `at` inside of `depth` containers: good where one that read `text` from its
    /// start would be there.
    #[must_use]
    #[inline(always)]
    pub fn at_value(text: &'a [u8], at: usize, depth: u32) -> Self {
        Scanner { text, at, depth, fresh: false }
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
    #[inline(always)]
    pub fn kind(&mut self) -> Result<Kind, JsonError> {
        match self.peek() {
            b'"' => Ok(Kind::String),
            b'{' => Ok(Kind::Object),
            b'[' => Ok(Kind::Array),
            b'-' | b'0'..=b'9' => Ok(Kind::Number),
            b't' | b'f' => Ok(Kind::Bool),
            b'n' => Ok(Kind::Null),
            _ => Err(unexpected(self.text, self.at)),
        }
    }

    /// Enters an object; its members follow by [`next_key`](Self::next_key).
    ///
    /// # Errors
    /// When no object begins here or it would be too deep.
    #[inline(always)]
    pub fn begin_object(&mut self) -> Result<(), JsonError> {
        self.open(b'{')
    }

    /// Enters an array; its elements follow by [`next_element`](Self::next_element).
    ///
    /// # Errors
    /// When no array begins here or it would be too deep.
    #[inline(always)]
    pub fn begin_array(&mut self) -> Result<(), JsonError> {
        self.open(b'[')
    }

    /// The next member's key, the reader standing at its value; `None` when the object ended.
    ///
    /// # Errors
    /// When neither a member nor the end follows.
    #[inline(always)]
    pub fn next_key(&mut self) -> Result<Option<RawStr<'a>>, JsonError> {
        if !self.next_in(b'}')? {
            return Ok(None);
        }
        let key = self.string()?;
        if self.peek() != b':' {
            return Err(unexpected(self.text, self.at));
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// Whether another element follows; `false` when the array ended.
    ///
    /// # Errors
    /// When neither an element nor the end follows.
    #[inline(always)]
    pub fn next_element(&mut self) -> Result<bool, JsonError> {
        self.next_in(b']')
    }

    /// Takes a string.
    ///
    /// # Errors
    /// When no complete, valid string stands here.
    #[inline(always)]
    pub fn string(&mut self) -> Result<RawStr<'a>, JsonError> {
        if self.peek() != b'"' {
            return Err(unexpected(self.text, self.at));
        }
        let start = self.at + 1;
        let (end, seen) = plain_end(self.text, start);
        self.fresh = false;
        if byte_at(self.text, end) == b'"' {
            self.at = end + 1;
            let raw = self.text.get(start..end).unwrap_or_default();
            return Ok(RawStr::checked(raw, false, seen & HIGH == 0));
        }
        let (end, seen) = string_end(self.text, end, seen)?;
        self.at = end + 1;
        let raw = self.text.get(start..end).unwrap_or_default();
        Ok(RawStr::checked(raw, true, seen & HIGH == 0))
    }

    /// Takes any value and gives the range it occupies.
    ///
    /// # Errors
    /// When no complete, valid value stands here.
    #[inline(always)]
    pub fn value(&mut self) -> Result<RawJson<'a>, JsonError> {
        self.peek();
        let start = self.at;
        self.at = value_end(self.text, start, self.depth)?;
        self.fresh = false;
        Ok(RawJson { bytes: self.text.get(start..self.at).unwrap_or_default() })
    }

    /// Passes any value. Its code stands in its caller, unlike that of [`value`](Self::value): for the members of an
    /// event that nobody asks for.
    ///
    /// # Errors
    /// When no complete, valid value stands here.
    #[inline(always)]
    pub fn skip(&mut self) -> Result<(), JsonError> {
        self.peek();
        self.at = inlined_value_end(self.text, self.at, self.depth)?;
        self.fresh = false;
        Ok(())
    }

    /// Behind an element of an array: passes, all in one, the numbers that follow and are written as most are.
    #[inline(always)]
    pub fn pass_numbers(&mut self, squares: &mut Squares) {
        self.at += squares.pass(self.text.get(self.at..).unwrap_or_default());
    }

    /// Nothing but white space may follow.
    ///
    /// # Errors
    /// When something does.
    #[inline(always)]
    pub fn end(&mut self) -> Result<(), JsonError> {
        self.peek();
        if self.at >= self.text.len() { Ok(()) } else { Err(unexpected(self.text, self.at)) }
    }

    /// The next byte that is not white space, which is passed over; 0 at the end, which no token begins with.
    #[inline(always)]
    fn peek(&mut self) -> u8 {
        let byte = byte_at(self.text, self.at);
        if byte > b' ' {
            return byte;
        }
        self.at = skip_blank(self.text, self.at);
        byte_at(self.text, self.at)
    }

    #[inline(always)]
    fn open(&mut self, bracket: u8) -> Result<(), JsonError> {
        if self.peek() != bracket {
            return Err(unexpected(self.text, self.at));
        }
        if self.depth == MAX_DEPTH {
            return Err(too_deep(self.at));
        }
        self.at += 1;
        self.depth += 1;
        self.fresh = true;
        Ok(())
    }

    /// Passes the comma before the next item, or the `close` bracket.
    #[inline(always)]
    fn next_in(&mut self, close: u8) -> Result<bool, JsonError> {
        let byte = self.peek();
        if byte == b',' && !self.fresh {
            self.at += 1;
            return Ok(true);
        }
        if byte == close && self.depth > 0 {
            self.at += 1;
            self.depth -= 1;
            self.fresh = false;
            return Ok(false);
        }
        if self.fresh && self.at < self.text.len() {
            return Ok(true);
        }
        Err(unexpected(self.text, self.at))
    }
}

impl<'a> RawStr<'a> {
    /// The string whose inside `text` begins with, and what follows, from its closing quote on.
    #[must_use]
    #[inline]
    pub fn before_quote(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (plain, seen) = plain_end(text, 0);
        let is_plain = byte_at(text, plain) == b'"';
        let (end, seen) = if is_plain { (plain, seen) } else { string_end(text, plain, seen).ok()? };
        let (inside, rest) = text.split_at_checked(end)?;
        Some((RawStr::checked(inside, !is_plain, seen & HIGH == 0), rest))
    }

    /// A string out of what would stand between its quotes; `None` when that is not the inside of one string.
    #[must_use]
    #[inline]
    pub fn from_inside(inside: &'a [u8]) -> Option<Self> {
        let (mut at, mut seen) = plain_end(inside, 0);
        let escaped = at < inside.len();
        while at < inside.len() {
            if byte_at(inside, at) != b'\\' {
                return None;
            }
            let (end, more) = plain_end(inside, escape_end(inside, at).ok()?);
            (at, seen) = (end, seen | more);
        }
        Some(RawStr::checked(inside, escaped, seen & HIGH == 0))
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
pub(super) const HIGH: u64 = 0x8080_8080_8080_8080;

/// How much of a string is looked at by words: nearly all strings end there, and a block is dear for them.
const NEAR: usize = 64;

/// The byte there; 0 behind the end, which the grammar allows nowhere.
#[inline(always)]
pub(super) fn byte_at(text: &[u8], at: usize) -> u8 {
    match text.get(at) {
        Some(byte) => *byte,
        None => 0,
    }
}

#[inline(never)]
fn skip_blank(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count()
}

/// Passes, eight bytes at a time, what needs no look inside a string; behind the first [`NEAR`] whole blocks. Returns
/// the position of the first quote, backslash or control byte, or of the end, and the OR of what was passed, so that
/// the caller knows whether all of it was ASCII.
///
/// The test for one byte value is the classic "is there a zero byte": `(x - ONES) & !x & HIGH` has the high bit set in
/// the lowest zero byte of `x`, and may have false ones only above it, which the lowest bit hides.
#[inline(always)]
pub(super) fn plain_end(text: &[u8], from: usize) -> (usize, u64) {
    let rest = text.get(from..).unwrap_or_default();
    match plain_words(rest.get(..NEAR).unwrap_or(rest), from, 0) {
        ControlFlow::Break(stopped) => stopped,
        ControlFlow::Continue((at, seen)) => far(text, at, seen),
    }
}

/// Passes the whole words of what stands at `at`, up to one that needs a look.
#[inline(always)]
fn plain_words(text: &[u8], mut at: usize, mut seen: u64) -> ControlFlow<(usize, u64), (usize, u64)> {
    for word in text.as_chunks::<8>().0 {
        let x = u64::from_le_bytes(*word);
        let stop = stops_of(x);
        if stop != 0 {
            return ControlFlow::Break(end_in_word(x, stop, at, seen));
        }
        seen |= x;
        at += 8;
    }
    ControlFlow::Continue((at, seen))
}

/// Has a high bit in the lowest byte of the word that needs a look, and none below it.
#[inline(always)]
fn stops_of(x: u64) -> u64 {
    const fn zero_bytes(x: u64) -> u64 {
        x.wrapping_sub(ONES) & !x & HIGH
    }
    let control = x.wrapping_sub(ONES * 0x20) & !x & HIGH;
    control | zero_bytes(x ^ (ONES * b'"' as u64)) | zero_bytes(x ^ (ONES * b'\\' as u64))
}

/// Only the bytes before the stop count: those above it are not part of this run.
#[inline(always)]
fn end_in_word(x: u64, stop: u64, at: usize, seen: u64) -> (usize, u64) {
    let plain = stop.trailing_zeros() / 8;
    (at + plain as usize, seen | (x & ((1u64 << (plain * 8)) - 1)))
}

/// [`plain_end`] behind what is near.
#[inline(never)]
fn far(text: &[u8], at: usize, seen: u64) -> (usize, u64) {
    let (len, is_ascii) = plain_blocks(text.get(at..).unwrap_or_default());
    let at = at + len;
    let words = plain_words(text.get(at..).unwrap_or_default(), at, if is_ascii { seen } else { HIGH });
    let (mut at, mut seen) = match words {
        ControlFlow::Break(stopped) => return stopped,
        ControlFlow::Continue(behind) => behind,
    };
    while let Some(byte) = text.get(at).filter(|byte| **byte >= b' ' && **byte != b'"' && **byte != b'\\') {
        seen |= u64::from(*byte);
        at += 1;
    }
    (at, seen)
}

/// Behind the value that begins at `at`. Out of line: it is asked for in eighty places, and its code is 2 kB.
#[inline(never)]
fn value_end(text: &[u8], at: usize, depth: u32) -> Result<usize, JsonError> {
    inlined_value_end(text, at, depth)
}

#[inline(always)]
fn inlined_value_end(text: &[u8], at: usize, depth: u32) -> Result<usize, JsonError> {
    match byte_at(text, at) {
        b'{' | b'[' => container_end(text, at, depth),
        _ => scalar_end(text, at),
    }
}

/// Behind the string whose opening quote stands at `at`.
#[inline(always)]
fn text_end(text: &[u8], at: usize) -> Result<usize, JsonError> {
    let (end, seen) = plain_end(text, at + 1);
    if byte_at(text, end) == b'"' {
        return Ok(end + 1);
    }
    string_end(text, end, seen).map(|(end, _)| end + 1)
}

/// Behind the container that begins at `at`, without recursion: bit `n` of `objects` says whether the `n`-th container
/// opened here, counted from the innermost, is an object.
#[inline(never)]
fn container_end(text: &[u8], at: usize, base: u32) -> Result<usize, JsonError> {
    let mut scanner = Scanner { text, at, depth: base, fresh: false };
    let mut objects = 0u128;
    loop {
        match scanner.peek() {
            bracket @ (b'{' | b'[') => {
                scanner.open(bracket)?;
                objects = (objects << 1) | u128::from(bracket == b'{');
            }
            _ => {
                scanner.at = scalar_end(text, scanner.at)?;
                scanner.fresh = false;
            }
        }
        // Go on to the next value; containers that end here are left, and with the outermost one the work is done.
        loop {
            let is_object = objects & 1 == 1;
            let goes_on = if is_object { scanner.next_key()?.is_some() } else { scanner.next_element()? };
            if goes_on {
                break;
            }
            objects >>= 1;
            if scanner.depth == base {
                return Ok(scanner.at);
            }
        }
    }
}

#[inline(always)]
fn scalar_end(text: &[u8], at: usize) -> Result<usize, JsonError> {
    match byte_at(text, at) {
        b'"' => text_end(text, at),
        b'n' => word_end(text, at, b"null"),
        b't' => word_end(text, at, b"true"),
        b'f' => word_end(text, at, b"false"),
        _ => number_end(text, at),
    }
}

#[inline(always)]
fn word_end(text: &[u8], at: usize, word: &[u8]) -> Result<usize, JsonError> {
    if text.get(at..at + word.len()) == Some(word) {
        Ok(at + word.len())
    } else {
        Err(not_a_word(text, at, word))
    }
}

#[cold]
fn not_a_word(text: &[u8], at: usize, word: &[u8]) -> JsonError {
    let rest = text.get(at..).unwrap_or_default();
    unexpected(text, at + rest.iter().zip(word).take_while(|(a, b)| a == b).count())
}

#[inline(never)]
fn number_end(text: &[u8], mut at: usize) -> Result<usize, JsonError> {
    if byte_at(text, at) == b'-' {
        at += 1;
    }
    at = if byte_at(text, at) == b'0' { at + 1 } else { digits_end(text, at)? };
    if byte_at(text, at) == b'.' {
        at = digits_end(text, at + 1)?;
    }
    if matches!(byte_at(text, at), b'e' | b'E') {
        at += 1;
        if matches!(byte_at(text, at), b'+' | b'-') {
            at += 1;
        }
        at = digits_end(text, at)?;
    }
    Ok(at)
}

/// Behind one digit or more.
#[inline(always)]
fn digits_end(text: &[u8], from: usize) -> Result<usize, JsonError> {
    let mut at = from;
    while byte_at(text, at).is_ascii_digit() {
        at += 1;
    }
    if at == from { Err(unexpected(text, at)) } else { Ok(at) }
}

#[cold]
pub(super) fn unexpected(text: &[u8], at: usize) -> JsonError {
    if at >= text.len() { truncated(text) } else { JsonError { kind: JsonErrorKind::Unexpected, offset: at } }
}

#[cold]
pub(super) fn truncated(text: &[u8]) -> JsonError {
    JsonError { kind: JsonErrorKind::Truncated, offset: text.len() }
}

#[cold]
fn too_deep(at: usize) -> JsonError {
    JsonError { kind: JsonErrorKind::TooDeep, offset: at }
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
