//! [`Embedding`]: one vector of a backend's answer, and the request that asks for it.
//!
//! A vector stays as the backend wrote it, as digits in the memory in which they came together or as the 32-bit floats
//! that base64 packed, and is read number by number when it is needed: nothing is lost, and nothing is held twice. Every
//! number was looked at before anybody is told that there is a vector: all are finite.

use super::{Dialect, Parameter};
use crate::wire::{JsonError, JsonWriter, Kind, Number, RawJson, RawStr, Scanner, Squares};
use bytes::{Bytes, BytesMut};
use std::ops::Range;

/// What to embed.
#[derive(Clone, Copy, Debug)]
pub enum EmbeddingInput<'a> {
    /// One text.
    Text(RawStr<'a>),
    /// An array of texts.
    Texts(RawJson<'a>),
}

/// `POST /embeddings`
#[derive(Clone, Copy, Debug)]
pub struct EmbeddingRequest<'a> {
    /// What to embed.
    pub input: EmbeddingInput<'a>,
    /// How many numbers a vector is to have.
    pub dimensions: Option<u64>,
    /// Whether a text that is too long is to be cut by the backend.
    pub truncates: bool,
}

impl EmbeddingRequest<'_> {
    /// Writes the request for the backend's name of a model.
    pub fn write(&self, model: &str, dialect: Dialect, out: &mut BytesMut) {
        let mut json = JsonWriter::new(out);
        json.begin_object();
        json.key("model");
        json.string(model);
        json.key("input");
        match self.input {
            EmbeddingInput::Text(text) => json.raw_str(text),
            EmbeddingInput::Texts(texts) => json.raw(texts),
        }
        if dialect.takes(Parameter::EncodingFormat) {
            json.key(Parameter::EncodingFormat.name());
            json.string(dialect.encoding_format());
        }
        if let Some(dimensions) = self.dimensions.filter(|_| dialect.takes(Parameter::Dimensions)) {
            json.key(Parameter::Dimensions.name());
            json.uint(dimensions);
        }
        if self.truncates && dialect.takes(Parameter::TruncatePromptTokens) {
            // To what the model takes.
            json.key(Parameter::TruncatePromptTokens.name());
            json.int(-1);
        }
        json.end_object();
    }
}

/// See the module's description.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// Which of the texts it belongs to, where the backend says so.
    pub index: Option<u64>,
    /// Its numbers, at least one.
    pub values: Values,
    /// How many those are.
    pub len: usize,
    /// Whether it is of unit length for certain ([`Norm::is_unit`]). Where not, the [`Norm`] of all its numbers tells.
    pub is_unit: bool,
}

/// The numbers of a vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Values {
    /// A JSON array of numbers without white space, and before it a comma: a further element of an array.
    Digits(Bytes),
    /// 32-bit floats, the lowest byte first.
    Singles(Bytes),
}

impl Values {
    /// Every number, in order.
    pub fn iter(&self) -> impl Iterator<Item = Number<'_>> {
        let (digits, floats) = match self {
            Values::Digits(array) => (Some(inside(array).split(',')), &[][..]),
            Values::Singles(floats) => (None, floats.as_ref()),
        };
        digits.into_iter().flatten().map(Number::Digits).chain(singles(floats).map(Number::Single))
    }

    /// The numbers as they stand.
    #[must_use]
    pub fn digits(&self) -> Option<&Bytes> {
        match self {
            Values::Digits(array) => Some(array),
            Values::Singles(_) => None,
        }
    }

    /// The bytes that are held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Values::Digits(held) | Values::Singles(held) => held.len(),
        }
    }
}

/// The numbers of [`Values::Digits`] with the commas between them.
fn inside(array: &[u8]) -> &str {
    let inside = array.get(2..array.len().saturating_sub(1)).unwrap_or_default();
    std::str::from_utf8(inside).unwrap_or_default()
}

fn singles(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes)
}

/// The Euclidean norm of a vector, as a product of two factors: the square of a number may be past what a float holds
/// when the number is not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// The first factor: 1, unless the squares overflow or vanish.
    pub scale: f64,
    /// The second; 0 for a vector of zeros.
    pub root: f64,
}

impl Norm {
    /// How near to 1 that is: as far as 32-bit floats can tell.
    const NEAR: f64 = 1e-6;

    /// Of these numbers, all of them finite.
    pub fn of(numbers: impl Iterator<Item = f64> + Clone) -> Self {
        let sum: f64 = numbers.clone().map(|x| x * x).sum();
        if sum.is_normal() {
            return Norm { scale: 1.0, root: sum.sqrt() };
        }
        let largest = numbers.clone().fold(0.0, |largest: f64, x| largest.max(x.abs()));
        if largest == 0.0 {
            return Norm { scale: 1.0, root: 0.0 };
        }
        let sum: f64 = numbers.map(|x| (x / largest) * (x / largest)).sum();
        Norm { scale: largest, root: sum.sqrt() }
    }

    /// Whether the vector needs no scaling: it is of unit length already, as far as 32-bit floats can tell, or all
    /// zeros, which have no direction.
    #[must_use]
    pub fn is_unit(self) -> bool {
        self.root == 0.0 || (self.scale * self.root - 1.0).abs() < Self::NEAR
    }

    /// A number of the vector, once that is made of unit length.
    #[must_use]
    #[inline]
    pub fn scaled(self, number: f64) -> f64 {
        number / self.scale / self.root
    }
}

/// What is wrong with an element of `data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BadEmbedding {
    /// The words, behind the element's name.
    Malformed(String),
    /// A number is none, or infinite.
    NotFinite,
}

impl Embedding {
    /// Reads one element of `data`, all of it, and keeps its memory for the vector.
    pub(super) fn read(text: Vec<u8>) -> Result<Self, BadEmbedding> {
        let mut scanner = Scanner::new(&text);
        let (index, vector) = read_object(&mut scanner).map_err(|error| match error {
            Unread::Json(error) if is_not_a_number(&text, error.offset) => BadEmbedding::NotFinite,
            Unread::Json(error) => BadEmbedding::Malformed(format!(": {error}")),
            Unread::Bad(bad) => bad,
        })?;
        let Vector { place, len, is_unit } = vector;
        let values = match place {
            Place::Array(range, has_blanks) => Values::Digits(kept_array(text, range, has_blanks)),
            Place::Floats(floats) => Values::Singles(floats),
        };
        Ok(Embedding { index, values, len, is_unit })
    }
}

struct Vector {
    place: Place,
    len: usize,
    is_unit: bool,
}

/// Where the numbers are.
enum Place {
    /// In an array, the brackets included, in which there is white space or not.
    Array(Range<usize>, bool),
    /// Unpacked, in memory of their own.
    Floats(Bytes),
}

/// Only that part of the text, in the text's own memory, unless that holds much more.
fn kept(text: Vec<u8>, range: Range<usize>) -> Bytes {
    const SLACK: usize = 256;
    if text.capacity() > range.len() + range.len() / 8 + SLACK {
        return Bytes::copy_from_slice(text.get(range).unwrap_or_default());
    }
    Bytes::from(text).slice(range)
}

/// The array, with a comma before it and without white space.
fn kept_array(mut text: Vec<u8>, range: Range<usize>, has_blanks: bool) -> Bytes {
    // Its key stands before it.
    let range = range.start.saturating_sub(1)..range.end;
    if let Some(before) = text.get_mut(range.start) {
        *before = b',';
    }
    if !has_blanks {
        return kept(text, range);
    }
    text.truncate(range.end);
    text.drain(..range.start);
    text.retain(|byte| !byte.is_ascii_whitespace());
    let range = 0..text.len();
    kept(text, range)
}

fn read_object(scanner: &mut Scanner<'_>) -> Result<(Option<u64>, Vector), Unread> {
    if scanner.kind()? != Kind::Object {
        return Err(expected("", "an object", scanner.kind()?));
    }
    let (mut index, mut vector) = (None, None);
    scanner.begin_object()?;
    while let Some(key) = scanner.next_key()? {
        match key.decode().as_ref() {
            "index" => index = read_index(scanner.value()?)?,
            "embedding" => {
                vector = Some(match scanner.kind()? {
                    Kind::Array => read_digits(scanner)?,
                    Kind::String => read_base64(scanner.string()?)?,
                    other => return Err(expected(".embedding", "an array or a base64 string", other)),
                });
            }
            _ => {
                scanner.value()?;
            }
        }
    }
    scanner.end()?;
    match vector {
        Some(vector) if vector.len > 0 => Ok((index, vector)),
        Some(_) => Err(malformed(".embedding is empty")),
        None => Err(malformed(" has no `embedding`")),
    }
}

enum Unread {
    Json(JsonError),
    Bad(BadEmbedding),
}

impl From<JsonError> for Unread {
    fn from(error: JsonError) -> Self {
        Unread::Json(error)
    }
}

fn malformed(what: &str) -> Unread {
    Unread::Bad(BadEmbedding::Malformed(what.to_string()))
}

fn expected(field: &str, expected: &str, found: Kind) -> Unread {
    malformed(&format!("{field}: expected {expected}, found {}", found.name()))
}

/// Python and C++ write `NaN`, `Infinity`, `nan`, `inf` where a number must stand; the scanner stops within the word.
fn is_not_a_number(text: &[u8], offset: usize) -> bool {
    let word = text.get(offset.saturating_sub(1)..).unwrap_or_default();
    let word = word.get(..4).unwrap_or(word).to_ascii_lowercase();
    [&b"nan"[..], b"inf"].iter().any(|name| word.windows(name.len()).any(|part| part == *name))
}

fn read_index(value: RawJson<'_>) -> Result<Option<u64>, Unread> {
    let digits = std::str::from_utf8(value.bytes()).unwrap_or_default();
    match value.kind() {
        Kind::Null => Ok(None),
        // Some backends write whole numbers as `1.0`.
        Kind::Number => match digits.parse::<f64>() {
            Ok(index) if index >= 0.0 && index.fract() == 0.0 => Ok(Some(index as u64)),
            _ => Err(malformed(&format!(".index is {digits}"))),
        },
        other => Err(expected(".index", "an integer", other)),
    }
}

fn read_digits(scanner: &mut Scanner<'_>) -> Result<Vector, Unread> {
    let mut squares = Squares::default();
    scanner.begin_array()?;
    let start = scanner.offset();
    while scanner.next_element()? {
        let value = scanner.value()?;
        let number = match value.kind() {
            Kind::Number => Number::Digits(std::str::from_utf8(value.bytes()).unwrap_or_default()).value(),
            // What serde and JavaScript write for NaN.
            Kind::Null => f64::NAN,
            other => {
                let field = format!(".embedding[{}]", squares.count);
                return Err(expected(&field, "a number", other));
            }
        };
        if !number.is_finite() {
            return Err(Unread::Bad(BadEmbedding::NotFinite));
        }
        squares.add(number, value.bytes().len());
        scanner.pass_numbers(&mut squares);
    }
    let end = scanner.offset().saturating_sub(1);
    // Behind the last number stands a bracket, behind the others a comma.
    let has_blanks = squares.bytes != end + 1 - start;
    let is_unit = squares.are_unit(Norm::NEAR);
    Ok(Vector { place: Place::Array(start - 1..end + 1, has_blanks), len: squares.count, is_unit })
}

fn read_base64(text: RawStr<'_>) -> Result<Vector, Unread> {
    // Some encoders write every slash as `\/`.
    let decoded = text.raw().contains(&b'\\').then(|| text.decode());
    let mut text = decoded.as_ref().map_or(text.raw(), |text| text.as_bytes());
    while let Some(shorter) = text.strip_suffix(b"=") {
        text = shorter;
    }
    let Some(floats) = unpacked(text) else {
        return Err(malformed(".embedding is no base64"));
    };
    if !floats.len().is_multiple_of(4) {
        let len = floats.len();
        return Err(malformed(&format!(".embedding has {len} bytes, which are no 32-bit floats")));
    }
    if !singles(&floats).fold(true, |all, float| all & float.is_finite()) {
        return Err(Unread::Bad(BadEmbedding::NotFinite));
    }
    let len = floats.len() / 4;
    Ok(Vector { place: Place::Floats(Bytes::from(floats)), len, is_unit: false })
}

/// What base64 without padding packs; `None` for what is none (RFC 4648, section 4).
fn unpacked(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = vec![0; text.len() * 6 / 8];
    let (groups, rest) = text.as_chunks::<4>();
    let (triples, behind) = bytes.as_chunks_mut::<3>();
    let mut seen = 0;
    for (triple, group) in triples.iter_mut().zip(groups) {
        let [a, b, c, d] = group.map(sextet);
        seen |= a | b | c | d;
        *triple = [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d];
    }
    // Two or three letters that hold one or two bytes; one holds none.
    let [a, b, c] = [0, 1, 2].map(|at| rest.get(at).map_or(0, |letter| sextet(*letter)));
    seen |= a | b | c;
    behind.iter_mut().zip([a << 2 | b >> 4, b << 4 | c >> 2]).for_each(|(byte, value)| *byte = value);
    (rest.len() != 1 && seen < NO_SEXTET).then_some(bytes)
}

/// What [`sextet`] gives for what is no letter.
const NO_SEXTET: u8 = 64;

#[inline]
fn sextet(letter: u8) -> u8 {
    const SEXTETS: [u8; 256] = {
        let mut table = [NO_SEXTET; 256];
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut value = 0;
        while value < letters.len() {
            #[expect(clippy::indexing_slicing, reason = "computed while compiling")]
            {
                table[letters[value] as usize] = value as u8;
            }
            value += 1;
        }
        table
    };
    SEXTETS.get(usize::from(letter)).copied().unwrap_or(NO_SEXTET)
}

#[cfg(test)]
#[path = "embedding_tests.rs"]
mod tests;
