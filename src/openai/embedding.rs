//! [`Embedding`]: one vector of a backend's answer, and the request that asks for it.
//!
//! A vector stays as the backend wrote it, as digits or as base64 of little-endian 32-bit floats, and is read number by
//! number when it is needed: nothing is lost, and nothing is held twice. Every number was read once before anybody is
//! told that there is a vector: all are finite.

use super::{Dialect, Parameter};
use crate::wire::{JsonError, JsonWriter, Kind, Number, RawJson, RawStr, Scanner};
use bytes::{Bytes, BytesMut};

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
    /// How long it is.
    pub norm: Norm,
}

/// The numbers of a vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Values {
    /// The inside of a JSON array of numbers.
    Digits(Bytes),
    /// Base64 of 32-bit floats, the lowest byte first.
    Base64(Bytes),
}

impl Values {
    /// Every number, in order.
    pub fn iter(&self) -> impl Iterator<Item = Number<'_>> {
        let (digits, packed) = match self {
            Values::Digits(inside) => (Some(inside.split(|byte| *byte == b',')), None),
            Values::Base64(text) => (None, Some(Floats { text, bits: 0, count: 0 })),
        };
        let digits = digits.into_iter().flatten().map(|text| Number::Digits(text.trim_ascii()));
        digits.chain(packed.into_iter().flatten().map(Number::Single))
    }

    /// The numbers as they stand, with a comma between two and nothing else, where the backend wrote them so.
    #[must_use]
    pub fn compact(&self) -> Option<&[u8]> {
        match self {
            Values::Digits(text) => Some(text.as_ref()).filter(|text| {
                text.iter().fold(true, |all, byte| all & !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'))
            }),
            Values::Base64(_) => None,
        }
    }

    /// The bytes that are held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Values::Digits(text) | Values::Base64(text) => text.len(),
        }
    }
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
    /// Of these numbers, all of them finite.
    pub fn of(numbers: impl Iterator<Item = f64> + Clone) -> Self {
        let sum: f64 = numbers.clone().map(|x| x * x).sum();
        Self::with_sum(sum, numbers)
    }

    /// When the sum of the squares is known.
    fn with_sum(sum: f64, numbers: impl Iterator<Item = f64> + Clone) -> Self {
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
        const NEAR: f64 = 1e-6;
        self.root == 0.0 || (self.scale * self.root - 1.0).abs() < NEAR
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
    /// Reads one element of `data`, all of it.
    pub(super) fn read(text: &[u8]) -> Result<Self, BadEmbedding> {
        let mut scanner = Scanner::new(text);
        let element = Self::read_object(text, &mut scanner);
        element.map_err(|error| match error {
            Unread::Json(error) if is_not_a_number(text, error.offset) => BadEmbedding::NotFinite,
            Unread::Json(error) => BadEmbedding::Malformed(format!(": {error}")),
            Unread::Bad(bad) => bad,
        })
    }

    fn read_object(text: &[u8], scanner: &mut Scanner<'_>) -> Result<Self, Unread> {
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
                        Kind::Array => read_digits(text, scanner)?,
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
            Some((values, len, norm)) if len > 0 => Ok(Embedding { index, values, len, norm }),
            Some(_) => Err(malformed(".embedding is empty")),
            None => Err(malformed(" has no `embedding`")),
        }
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

type Vector = (Values, usize, Norm);

fn read_digits(text: &[u8], scanner: &mut Scanner<'_>) -> Result<Vector, Unread> {
    let start = scanner.offset() + 1;
    let (mut len, mut sum) = (0, 0.0);
    scanner.begin_array()?;
    while scanner.next_element()? {
        let value = scanner.value()?;
        let number = match value.kind() {
            Kind::Number => Number::Digits(value.bytes()).value(),
            // What serde and JavaScript write for NaN.
            Kind::Null => f64::NAN,
            other => return Err(expected(&format!(".embedding[{len}]"), "a number", other)),
        };
        if !number.is_finite() {
            return Err(Unread::Bad(BadEmbedding::NotFinite));
        }
        sum += number * number;
        len += 1;
    }
    let inside = text.get(start..scanner.offset().saturating_sub(1)).unwrap_or_default();
    let values = Values::Digits(Bytes::copy_from_slice(inside));
    let norm = Norm::with_sum(sum, inside.split(|byte| *byte == b',').map(value_of));
    Ok((values, len, norm))
}

fn value_of(digits: &[u8]) -> f64 {
    Number::Digits(digits.trim_ascii()).value()
}

fn read_base64(text: RawStr<'_>) -> Result<Vector, Unread> {
    // Some encoders write every slash as `\/`.
    let text = text.decode();
    let text = text.trim_end_matches('=').as_bytes();
    let bytes = text.len() * 6 / 8;
    if text.iter().any(|letter| sextet(*letter).is_none()) || text.len() % 4 == 1 {
        return Err(malformed(".embedding is no base64"));
    }
    if !bytes.is_multiple_of(4) {
        return Err(malformed(&format!(".embedding has {bytes} bytes, which are no 32-bit floats")));
    }
    let floats = Floats { text, bits: 0, count: 0 };
    let (mut len, mut sum) = (0, 0.0);
    for number in floats {
        if !number.is_finite() {
            return Err(Unread::Bad(BadEmbedding::NotFinite));
        }
        sum += f64::from(number) * f64::from(number);
        len += 1;
    }
    Ok((Values::Base64(Bytes::copy_from_slice(text)), len, Norm::with_sum(sum, floats.map(f64::from))))
}

/// The 32-bit floats that a base64 text holds.
#[derive(Clone, Copy, Debug)]
struct Floats<'a> {
    text: &'a [u8],
    /// What was read and not given out: the lowest `count` bits.
    bits: u64,
    count: u32,
}

impl Iterator for Floats<'_> {
    type Item = f32;

    #[inline]
    fn next(&mut self) -> Option<f32> {
        while self.count < u32::BITS {
            let (letter, rest) = self.text.split_first()?;
            self.bits = (self.bits << 6) | u64::from(sextet(*letter)?);
            self.count += 6;
            self.text = rest;
        }
        self.count -= u32::BITS;
        // The bytes came highest first into the word, and the float's lowest byte came first.
        Some(f32::from_bits(((self.bits >> self.count) as u32).swap_bytes()))
    }
}

/// RFC 4648, section 4.
#[inline]
fn sextet(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
#[path = "embedding_tests.rs"]
mod tests;
