//! [`Framing`]: what a backend's body is made of: events, lines of JSON, or one JSON document, whatever was asked for.
//!
//! The type that the backend gives is no proof: some send a document as an event stream, and lines of JSON as a document.
//! The first bytes tell, and where they are `{`, the first line: whole JSON with more behind it is a line, the beginning
//! of JSON a document. Lines of JSON go to the event decoder, which takes them.

use super::Fault;
use super::stream::BodyKind;
use crate::wire::Scanner;
use memchr::memchr2;
use std::borrow::Cow;

/// Longest document taken, and longest answer kept for one.
pub(super) const MAX_DOCUMENT_BYTES: usize = 64 << 20;

/// See the module's description.
#[derive(Debug)]
pub(super) enum Framing {
    /// Nothing but white space so far.
    Unknown(BodyKind),
    /// It begins with `{`; the first line has not ended yet. How many bytes of it were searched for the end.
    FirstLine(Vec<u8>, usize),
    /// Events.
    Events,
    /// Lines of JSON, which the event decoder takes too.
    Lines,
    /// One document, until the body ends.
    Document(Vec<u8>),
}

impl Framing {
    /// Whether all that arrives is for the event decoder.
    #[inline]
    pub(super) fn is_events(&self) -> bool {
        matches!(self, Framing::Events | Framing::Lines)
    }

    /// Takes what arrived and gives what is for the event decoder, if anything is.
    #[inline(never)]
    pub(super) fn push<'i>(&mut self, mut bytes: &'i [u8]) -> Result<Cow<'i, [u8]>, Fault> {
        const NOTHING: Cow<'static, [u8]> = Cow::Borrowed(&[]);
        if let Framing::Unknown(kind) = *self {
            // Some backends send white space for minutes to hold the connection.
            bytes = bytes.trim_ascii_start();
            *self = match bytes.first() {
                None => return Ok(NOTHING),
                Some(b'{') => Framing::FirstLine(Vec::new(), 0),
                // `data:`, `event:`, `error:`, `id:`, `retry:`, a comment, or a byte order mark.
                Some(b'd' | b'e' | b'i' | b'r' | b':' | 0xEF) => Framing::Events,
                Some(_) if kind == BodyKind::Events => Framing::Events,
                Some(_) => Framing::Document(Vec::new()),
            };
        }
        match self {
            Framing::Unknown(_) => Ok(NOTHING),
            Framing::Events | Framing::Lines => Ok(Cow::Borrowed(bytes)),
            Framing::Document(document) => keep(document, bytes).map(|()| NOTHING),
            Framing::FirstLine(text, searched) => {
                keep(text, bytes)?;
                let Some(end) = memchr2(b'\n', b'\r', text.get(*searched..).unwrap_or_default()) else {
                    *searched = text.len();
                    return Ok(NOTHING);
                };
                let is_line = is_json(text.get(..*searched + end).unwrap_or_default());
                let text = std::mem::take(text);
                if is_line {
                    *self = Framing::Lines;
                    return Ok(Cow::Owned(text));
                }
                *self = Framing::Document(text);
                Ok(NOTHING)
            }
        }
    }

    /// Whether the body is JSON and nothing around it.
    pub(super) fn is_json(&self) -> bool {
        matches!(self, Framing::Lines | Framing::Document(_))
    }

    /// The body ended: the document, where it was one.
    pub(super) fn finish(&mut self) -> Option<Vec<u8>> {
        match self {
            Framing::Document(document) | Framing::FirstLine(document, _) => {
                let document = std::mem::take(document);
                *self = Framing::Document(Vec::new());
                Some(document)
            }
            Framing::Unknown(_) | Framing::Events | Framing::Lines => None,
        }
    }
}

fn keep(document: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Fault> {
    if document.len() + bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(Fault::TooMuch(MAX_DOCUMENT_BYTES, "bytes in one document"));
    }
    document.extend_from_slice(bytes);
    Ok(())
}

fn is_json(line: &[u8]) -> bool {
    let mut scanner = Scanner::new(line);
    scanner.value().is_ok() && scanner.end().is_ok()
}
