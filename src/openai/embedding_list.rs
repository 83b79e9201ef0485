//! [`EmbeddingList`]: the answer of `POST /embeddings`, read as it comes, cut anywhere.
//!
//! Of the body only the vectors are kept, each once and in the memory in which its bytes came together; every other member
//! is read and let go. What is wrong is known as soon as it is there, and nothing is handed out before the whole answer was read: an
//! error can still be a status then.

use super::embedding::BadEmbedding;
use super::{ApiError, Embedding, Usage};
use crate::wire::{JsonError, Kind, Scanner, ValueEnd};

/// Longest vector, as text, and longest other member: 40,000 numbers of 25 digits, five times the longest in the field.
const MAX_VALUE_BYTES: usize = 1 << 20;
/// Longest answer: 2,048 texts, which is OpenAI's limit, with 4,096 numbers each take less. Past it nothing is kept.
const MAX_LIST_BYTES: usize = 256 << 20;
/// What a vector takes beside its numbers, at most: in memory a million of the smallest ones are no small answer.
const VECTOR_BYTES: usize = 512;
/// How much of an answer that is no list is looked at for what it says.
const MAX_LEAD_BYTES: usize = 4096;

/// Why there is no list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmbeddingFault {
    /// The backend said so itself.
    Backend(ApiError),
    /// It ended before it was finished.
    Truncated,
    /// It is no answer; the words say what is wrong with it.
    Malformed(String),
    /// There is more of something than the given number.
    TooMuch(usize, &'static str),
}

/// See the module's description.
#[derive(Debug)]
pub struct EmbeddingList {
    at: At,
    /// The value that has begun: what came of it, and where it ends.
    text: Vec<u8>,
    end: ValueEnd,
    /// How long the last vector's element was: the next one is hardly longer.
    room: usize,
    /// The beginning of the answer, until a vector comes.
    lead: Vec<u8>,
    /// How many bytes came, and what the vectors take beside them.
    len: usize,
    /// How many vectors there must be.
    wanted: usize,
    has_data: bool,
    embeddings: Vec<Embedding>,
    usage: Usage,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// The first brace.
    Start,
    /// The first key, or the end of the object.
    FirstKey,
    /// Another key.
    NextKey,
    /// The rest of a key.
    Key,
    Colon(Member),
    /// A member's value.
    Value(Member),
    /// The rest of it.
    InValue(Member),
    /// A comma or the end of the object.
    BehindValue,
    /// The first element of `data`, or its end.
    FirstElement,
    /// Another element.
    NextElement,
    /// The rest of one.
    InElement,
    /// A comma or the end of `data`.
    BehindElement,
    /// Nothing.
    End,
    /// It is no JSON object.
    Foreign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Data,
    Usage,
    Error,
    Other,
}

impl EmbeddingList {
    /// For the answer to so many texts.
    #[must_use]
    pub fn new(wanted: usize) -> Self {
        EmbeddingList {
            at: At::Start,
            text: Vec::new(),
            end: ValueEnd::default(),
            room: 0,
            lead: Vec::new(),
            len: 0,
            wanted,
            has_data: false,
            embeddings: Vec::new(),
            usage: Usage::default(),
        }
    }

    /// Takes the next bytes of the body.
    ///
    /// # Errors
    /// When they cannot be part of an answer.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), EmbeddingFault> {
        self.len = self.len.saturating_add(bytes.len());
        if self.len > MAX_LIST_BYTES {
            return Err(EmbeddingFault::TooMuch(MAX_LIST_BYTES, "bytes of embeddings"));
        }
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            let used = match self.at {
                At::Key | At::InValue(_) | At::InElement => self.take_value(rest)?,
                At::Foreign => rest.len(),
                _ if first.is_ascii_whitespace() => {
                    rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
                }
                _ => self.take_mark(*first)?,
            };
            let (taken, behind) = rest.split_at(used);
            self.note_lead(taken);
            rest = behind;
        }
        Ok(())
    }

    /// Whether the answer is whole.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.at == At::End
    }

    /// The body ended: the vectors in the order of the texts, and the usage.
    ///
    /// # Errors
    /// When it is not whole, or the vectors are not those of the texts.
    pub fn finish(self) -> Result<(Vec<Embedding>, Usage), EmbeddingFault> {
        if self.at == At::Foreign || (self.is_complete() && !self.has_data) {
            let error = ApiError::read(&self.lead);
            return Err(if error.message.is_empty() {
                EmbeddingFault::Malformed("it has no `data`".to_string())
            } else {
                EmbeddingFault::Backend(error)
            });
        }
        if !self.is_complete() {
            return Err(EmbeddingFault::Truncated);
        }
        let embeddings = in_order(self.embeddings, self.wanted)?;
        Ok((embeddings, self.usage))
    }

    /// Takes a byte between values; gives how many bytes it used, which is none where a value begins.
    fn take_mark(&mut self, byte: u8) -> Result<usize, EmbeddingFault> {
        let (next, used) = match (self.at, byte) {
            (At::Start, b'{') => (At::FirstKey, 1),
            // A byte order mark.
            (At::Start, 0xEF | 0xBB | 0xBF) => (At::Start, 1),
            (At::Start, _) => (At::Foreign, 0),
            (At::FirstKey | At::NextKey, b'"') => (At::Key, 0),
            (At::FirstKey | At::BehindValue, b'}') => (At::End, 1),
            (At::Colon(member), b':') => (At::Value(member), 1),
            (At::Value(Member::Data), b'[') => {
                self.has_data = true;
                (At::FirstElement, 1)
            }
            (At::FirstElement | At::BehindElement, b']') => (At::BehindValue, 1),
            (At::BehindElement, b',') => (At::NextElement, 1),
            (At::BehindValue, b',') => (At::NextKey, 1),
            (_, b',' | b':' | b']' | b'}') => return Err(unexpected(byte)),
            (At::Value(member), _) => (At::InValue(member), 0),
            (At::FirstElement | At::NextElement, _) => (At::InElement, 0),
            _ => return Err(unexpected(byte)),
        };
        self.at = next;
        Ok(used)
    }

    /// Takes bytes of a value, and reads it where it ends.
    fn take_value(&mut self, rest: &[u8]) -> Result<usize, EmbeddingFault> {
        let (used, has_ended) = self.end.push(rest);
        if self.text.len() + used > MAX_VALUE_BYTES {
            return Err(EmbeddingFault::TooMuch(MAX_VALUE_BYTES, "bytes in one embedding"));
        }
        if self.at == At::InElement && self.text.is_empty() {
            self.text.reserve(self.room);
        }
        self.text.extend_from_slice(rest.get(..used).unwrap_or_default());
        if !has_ended {
            return Ok(used);
        }
        let text = std::mem::take(&mut self.text);
        self.end = ValueEnd::default();
        self.at = match self.at {
            At::Key => At::Colon(member(&text)?),
            At::InElement => {
                self.room = text.len() + text.len() / 64 + 64;
                self.take_element(text)?;
                At::BehindElement
            }
            At::InValue(member) => {
                self.take_member(member, &text)?;
                At::BehindValue
            }
            at => at,
        };
        Ok(used)
    }

    fn take_element(&mut self, text: Vec<u8>) -> Result<(), EmbeddingFault> {
        let at = self.embeddings.len();
        if at == self.wanted {
            return Err(EmbeddingFault::Malformed(more_or_less(at, &"more")));
        }
        let embedding = Embedding::read(text).map_err(|bad| {
            EmbeddingFault::Malformed(match bad {
                BadEmbedding::Malformed(what) => format!("data[{at}]{what}"),
                // Ollama's own words.
                BadEmbedding::NotFinite => format!("data[{at}]: embedding contains NaN or Inf values"),
            })
        })?;
        self.embeddings.push(embedding);
        self.len = self.len.saturating_add(VECTOR_BYTES);
        Ok(())
    }

    fn take_member(&mut self, member: Member, text: &[u8]) -> Result<(), EmbeddingFault> {
        let mut scanner = Scanner::new(text);
        let value = scanner.value().map_err(not_json)?;
        scanner.end().map_err(not_json)?;
        let says_something = || match value.kind() {
            Kind::Null => false,
            Kind::String => value.as_str().is_some_and(|text| !text.is_empty()),
            Kind::Object | Kind::Array => !value.is_empty_container(),
            Kind::Bool => value.bytes() == b"true",
            Kind::Number => true,
        };
        match member {
            Member::Usage if value.kind() == Kind::Object => {
                self.usage = Usage::read(value).map_err(not_json)?;
            }
            Member::Error if says_something() => {
                return Err(EmbeddingFault::Backend(ApiError::read(text)));
            }
            Member::Data | Member::Usage | Member::Error | Member::Other => {}
        }
        Ok(())
    }

    /// Keeps the beginning for the case that it is all there is to say.
    fn note_lead(&mut self, taken: &[u8]) {
        if self.embeddings.is_empty() && self.lead.len() < MAX_LEAD_BYTES {
            let room = MAX_LEAD_BYTES - self.lead.len();
            self.lead.extend_from_slice(taken.get(..room).unwrap_or(taken));
        }
    }
}

fn member(key: &[u8]) -> Result<Member, EmbeddingFault> {
    let key = Scanner::new(key).string().map_err(not_json)?;
    Ok(match key.decode().as_ref() {
        "data" => Member::Data,
        "usage" => Member::Usage,
        "error" => Member::Error,
        _ => Member::Other,
    })
}

/// The vectors by their `index`; where none is given, by their place.
fn in_order(embeddings: Vec<Embedding>, wanted: usize) -> Result<Vec<Embedding>, EmbeddingFault> {
    let count = embeddings.len();
    if count != wanted {
        return Err(EmbeddingFault::Malformed(more_or_less(wanted, &count)));
    }
    let mut places: Vec<Option<Embedding>> = Vec::new();
    places.resize_with(wanted, || None);
    for (at, embedding) in embeddings.into_iter().enumerate() {
        let index = embedding.index.map_or(Some(at), |index| usize::try_from(index).ok());
        let Some(place) = index.and_then(|index| places.get_mut(index)) else {
            let index = embedding.index.unwrap_or_default();
            return Err(EmbeddingFault::Malformed(format!("data[{at}].index is {index} of {wanted} texts")));
        };
        if place.is_some() {
            let index = index.unwrap_or_default();
            return Err(EmbeddingFault::Malformed(format!("there are two embeddings with index {index}")));
        }
        *place = Some(embedding);
    }
    // As many as there are places, and none twice: none is missing.
    Ok(places.into_iter().flatten().collect())
}

fn more_or_less(wanted: usize, found: &dyn std::fmt::Display) -> String {
    format!("expected an embedding for each of {wanted} texts, found {found}")
}

fn unexpected(byte: u8) -> EmbeddingFault {
    EmbeddingFault::Malformed(format!("unexpected '{}' in JSON", byte.escape_ascii()))
}

fn not_json(error: JsonError) -> EmbeddingFault {
    EmbeddingFault::Malformed(error.to_string())
}

#[cfg(test)]
#[path = "embedding_list_tests.rs"]
mod tests;
