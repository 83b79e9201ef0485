//! [`EmbedTranslator`]: both embedding endpoints. The backend's answer is read as it comes and its vectors are held once;
//! the client's is made of them vector by vector ([`EmbedReply`]), and each is let go as it is written.
//!
//! For `/api/embed` a vector is cut to the `dimensions` that were asked for, where the backend did not, and made of unit
//! length. One that is so already keeps the backend's own digits; another is scaled in 64-bit floats.

use super::Fault;
use crate::ollama::{EmbedEndpoint, EmbedFigures, EmbedRequest, EmbedWriter, Texts};
use crate::openai::{
    Dialect, Embedding, EmbeddingFault, EmbeddingInput, EmbeddingList, EmbeddingRequest, Norm, Usage,
};
use crate::wire::Number;
use bytes::BytesMut;
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
        Ok(EmbedReply {
            endpoint: self.endpoint,
            model: self.model,
            dimensions: self.dimensions,
            figures: EmbedFigures { total, load, prompt_eval_count: usage.prompt_tokens },
            usage,
            embeddings: embeddings.into_iter(),
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
    embeddings: std::vec::IntoIter<Embedding>,
    /// `None` before the first piece.
    writer: Option<EmbedWriter>,
    is_over: bool,
}

impl EmbedReply {
    /// Appends the next vector, with what stands before the first and behind the last.
    pub fn write_next(&mut self, out: &mut BytesMut) {
        if self.is_over {
            return;
        }
        let mut writer = match self.writer {
            Some(writer) => writer,
            None => EmbedWriter::begin(self.endpoint, &self.model, out),
        };
        if let Some(embedding) = self.embeddings.next() {
            self.write_vector(&embedding, &mut writer, out);
        }
        if self.embeddings.as_slice().is_empty() {
            writer.end(Some(&self.figures), out);
            self.is_over = true;
        }
        self.writer = Some(writer);
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

    fn write_vector(&self, embedding: &Embedding, writer: &mut EmbedWriter, out: &mut BytesMut) {
        // Digits and their commas take as much room as they have; packed numbers take some ten digits.
        out.reserve(embedding.values.bytes().max(embedding.len.min(self.dimensions) * 12));
        let is_kept = embedding.len <= self.dimensions && embedding.norm.is_unit();
        if (is_kept || self.endpoint == EmbedEndpoint::Embeddings)
            && let Some(numbers) = embedding.values.compact()
        {
            return writer.laid_vector(numbers, out);
        }
        let numbers = embedding.values.iter();
        if self.endpoint == EmbedEndpoint::Embeddings {
            return writer.vector(numbers, out);
        }
        let numbers = numbers.take(self.dimensions);
        let norm = if embedding.len > self.dimensions {
            let values: Vec<f64> = embedding.values.iter().take(self.dimensions).map(Number::value).collect();
            Norm::of(values.into_iter())
        } else {
            embedding.norm
        };
        if norm.is_unit() {
            return writer.vector(numbers, out);
        }
        writer.vector(numbers.map(|number| Number::Double(norm.scaled(number.value()))), out);
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
