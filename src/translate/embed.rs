//! [`EmbedTranslator`]: both embedding endpoints. The backend's answer is read as it comes and its vectors are held once;
//! the client's is made of them vector by vector ([`EmbedReply`]), and each is let go as it is written, or goes out in the memory in which it came.
//!
//! For `/api/embed` a vector is cut to the `dimensions` that were asked for, where the backend did not, and made of unit
//! length. One that is so already keeps the backend's own digits; another is scaled in 64-bit floats.

use super::Fault;
use crate::ollama::{EmbedEndpoint, EmbedFigures, EmbedRequest, EmbedWriter, Texts};
use crate::openai::{
    Dialect, Embedding, EmbeddingFault, EmbeddingInput, EmbeddingList, EmbeddingRequest, Norm, Usage,
};
use crate::wire::Number;
use bytes::{Bytes, BytesMut};
use std::time::Duration;

/// Writes the request to the backend, for its name of the model. Nothing is written where there is nothing to embed.
pub fn write_embed(request: &EmbedRequest<'_>, model: &str, dialect: Dialect, out: &mut BytesMut) {
    let input = match request.texts {
        Texts::None => return,
        Texts::One(text) => EmbeddingInput::Text(text),
        Texts::Many(texts, _) => EmbeddingInput::Texts(texts),
    };
    EmbeddingRequest { input, dimensions: request.dimensions, truncates: request.truncate }
        .write(model, dialect, out);
}

/// How many bytes of vectors go out at once, at least: what is smaller than this is one body with its length.
pub const PIECE_BYTES: usize = 32 << 10;
/// How long a vector must be that goes out in its own memory: below, a copy costs less than one more piece.
const GIVEN_OUT_BYTES: usize = 4 << 10;

/// See the module's description.
#[derive(Debug)]
pub struct EmbedTranslator {
    endpoint: EmbedEndpoint,
    model: String,
    dimensions: usize,
    list: EmbeddingList,
}

impl EmbedTranslator {
    /// For the answer to a request.
    #[must_use]
    pub fn new(request: &EmbedRequest<'_>) -> Self {
        let dimensions = request.dimensions.and_then(|count| usize::try_from(count).ok());
        EmbedTranslator {
            endpoint: request.endpoint,
            model: request.model.to_string(),
            dimensions: dimensions.unwrap_or(usize::MAX),
            list: EmbeddingList::new(request.texts.count()),
        }
    }

    /// Takes what arrived.
    ///
    /// # Errors
    /// When it cannot be part of an answer.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        Ok(self.list.push(bytes)?)
    }

    /// Whether the answer is whole.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.list.is_complete()
    }

    /// The backend's body ended, so long after the request came and so long after it was sent.
    ///
    /// # Errors
    /// When the answer is not whole, or is none.
    pub fn finish(self, total: Duration, load: Duration) -> Result<EmbedReply, Fault> {
        let (embeddings, usage) = self.list.finish()?;
        let bytes: usize = embeddings.iter().map(|embedding| embedding.values.bytes()).sum();
        Ok(EmbedReply {
            endpoint: self.endpoint,
            model: self.model,
            dimensions: self.dimensions,
            figures: EmbedFigures { total, load, prompt_eval_count: usage.prompt_tokens },
            usage,
            gives_out: bytes >= PIECE_BYTES,
            embeddings: embeddings.into_iter(),
            numbers: Vec::new(),
            writer: None,
            is_over: false,
        })
    }
}

/// The client's answer, written a piece at a time.
#[derive(Debug)]
pub struct EmbedReply {
    endpoint: EmbedEndpoint,
    model: String,
    dimensions: usize,
    figures: EmbedFigures,
    usage: Usage,
    /// Long vectors are given out as they are.
    gives_out: bool,
    embeddings: std::vec::IntoIter<Embedding>,
    /// Of the vector that is written, where it may have to be scaled; the room is used again.
    numbers: Vec<f64>,
    /// `None` before the first piece.
    writer: Option<EmbedWriter>,
    is_over: bool,
}

impl EmbedReply {
    /// Appends the next vector, with what stands before the first and behind the last. A long one that stays as it is
    /// is not copied but given out: it comes behind what was appended.
    #[must_use]
    pub fn write_next(&mut self, out: &mut BytesMut) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        let mut writer = match self.writer {
            Some(writer) => writer,
            None => EmbedWriter::begin(self.endpoint, &self.model, out),
        };
        let embedding = self.embeddings.next();
        let whole = embedding.and_then(|embedding| self.write_vector(&embedding, &mut writer, out));
        if whole.is_none() && self.embeddings.as_slice().is_empty() {
            writer.end(Some(&self.figures), out);
            self.is_over = true;
        }
        self.writer = Some(writer);
        whole
    }

    /// What the backend counted.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Whether all of it is written.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    fn write_vector(
        &mut self,
        embedding: &Embedding,
        writer: &mut EmbedWriter,
        out: &mut BytesMut,
    ) -> Option<Bytes> {
        let is_kept = embedding.len <= self.dimensions && embedding.is_unit;
        if (is_kept || self.endpoint == EmbedEndpoint::Embeddings)
            && let Some(array) = embedding.values.digits()
        {
            let array = writer.laid_vector(array);
            if self.gives_out && array.len() >= GIVEN_OUT_BYTES {
                return Some(array);
            }
            out.extend_from_slice(&array);
            return None;
        }
        self.write_numbers(embedding, writer, out);
        None
    }

    fn write_numbers(&mut self, embedding: &Embedding, writer: &mut EmbedWriter, out: &mut BytesMut) {
        let len = embedding.len.min(self.dimensions);
        // Digits and their commas take as much room as they have; others take some ten or twenty digits.
        out.reserve(embedding.values.bytes().max(len * 12));
        if self.endpoint == EmbedEndpoint::Embeddings {
            return writer.vector(embedding.values.iter(), out);
        }
        self.numbers.clear();
        self.numbers.reserve_exact(len);
        self.numbers.extend(embedding.values.iter().take(len).map(Number::value));
        let norm = Norm::of(self.numbers.iter().copied());
        if norm.is_unit() {
            return writer.vector(embedding.values.iter().take(len), out);
        }
        writer.vector(self.numbers.iter().map(|number| Number::Double(norm.scaled(*number))), out);
    }
}

impl From<EmbeddingFault> for Fault {
    fn from(fault: EmbeddingFault) -> Self {
        match fault {
            EmbeddingFault::Backend(error) => Fault::Backend(error),
            EmbeddingFault::Truncated => Fault::Truncated,
            EmbeddingFault::Malformed(what) => Fault::Malformed(what),
            EmbeddingFault::TooMuch(max, what) => Fault::TooMuch(max, what),
        }
    }
}

#[cfg(test)]
#[path = "embed_tests.rs"]
mod tests;
