//! [`SseDecoder`]: the event stream of the WHATWG HTML standard, section 9.2.6 ("Interpreting an event stream").
//!
//! It takes the bytes as they arrive, cut anywhere, and hands out whole events. It refuses to look into the data,
//! to keep an event identifier or to reconnect: the fields `id` and `retry` are skipped like unknown ones.
//!
//! Beyond the standard, because backends do it: a line that begins with `{` is an event of its own (servers that
//! forget `data:`), a field `error` is an event named `error`, and an event that the end of the stream cuts off is
//! still handed out by [`SseDecoder::finish`]; whoever reads its data sees whether it is complete.

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memchr2};
use std::fmt;

const BOM: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// One dispatched event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SseEvent {
    /// The `event` field; empty when the stream did not name the event.
    pub name: Bytes,
    /// The `data` field, its lines joined by LF. A slice of the pushed bytes unless the event was cut.
    pub data: Bytes,
}

/// Why a stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SseError {
    /// The cap that the event passed, in bytes.
    pub max_event_bytes: usize,
}

impl fmt::Display for SseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an event is larger than {} bytes", self.max_event_bytes)
    }
}

impl std::error::Error for SseError {}

/// Bytes in, events out. Every byte is looked at once, whatever the cuts.
///
/// Invariant: `at <= input.len()`; the bytes of `input` before `at` are done with, and `line` holds the start of the
/// line that `input[at..]` continues.
#[derive(Debug)]
pub struct SseDecoder {
    max_event_bytes: usize,
    input: Bytes,
    at: usize,
    /// The beginning of a line whose end has not arrived.
    line: BytesMut,
    /// Data lines of the event that no blank line has ended yet.
    data: Data,
    name: Bytes,
    /// A bare JSON line that waits behind the event it ended.
    bare: Option<Bytes>,
    /// The last line ended in CR: an LF that comes next belongs to it.
    after_cr: bool,
    /// How many bytes of a byte order mark have been seen at the very start; `None` past the start.
    bom: Option<usize>,
}

#[derive(Debug)]
enum Data {
    None,
    /// The usual event: one data line, still a slice of the input.
    One(Bytes),
    Joined(BytesMut),
}

impl Data {
    fn len(&self) -> usize {
        match self {
            Data::None => 0,
            Data::One(line) => line.len(),
            Data::Joined(lines) => lines.len(),
        }
    }

    fn add(&mut self, line: Bytes) {
        *self = match std::mem::replace(self, Data::None) {
            Data::None => Data::One(line),
            Data::One(first) => {
                let mut lines = BytesMut::with_capacity(first.len() + 1 + line.len());
                lines.extend_from_slice(&first);
                Data::Joined(join(lines, &line))
            }
            Data::Joined(lines) => Data::Joined(join(lines, &line)),
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        match std::mem::replace(self, Data::None) {
            Data::None => None,
            Data::One(line) => Some(line),
            Data::Joined(lines) => Some(lines.freeze()),
        }
    }
}

fn join(mut lines: BytesMut, line: &[u8]) -> BytesMut {
    lines.extend_from_slice(b"\n");
    lines.extend_from_slice(line);
    lines
}

impl SseDecoder {
    /// A decoder for one stream; an event (or a line) past `max_event_bytes` is an error.
    #[must_use]
    pub fn new(max_event_bytes: usize) -> Self {
        SseDecoder {
            max_event_bytes,
            input: Bytes::new(),
            at: 0,
            line: BytesMut::new(),
            data: Data::None,
            name: Bytes::new(),
            bare: None,
            after_cr: false,
            bom: Some(0),
        }
    }

    /// Gives the decoder the bytes that arrived. Pull with [`next_event`](Self::next_event) until it has nothing.
    pub fn push(&mut self, chunk: Bytes) {
        if self.at < self.input.len() {
            let mut both = BytesMut::from(self.rest());
            both.extend_from_slice(&chunk);
            self.input = both.freeze();
        } else {
            self.input = chunk;
        }
        self.at = 0;
    }

    /// The next event, or `None` until more bytes come.
    ///
    /// # Errors
    /// When one event or one line is larger than the cap. The stream cannot be read on after that.
    pub fn next_event(&mut self) -> Result<Option<SseEvent>, SseError> {
        if let Some(data) = self.bare.take() {
            return Ok(Some(SseEvent { name: Bytes::new(), data }));
        }
        while let Some(line) = self.next_line()? {
            if let Some(event) = self.take_line(line)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// The end of the stream: hands out what was cut off, one event a call, then `None`.
    ///
    /// # Errors
    /// As [`next_event`](Self::next_event).
    pub fn finish(&mut self) -> Result<Option<SseEvent>, SseError> {
        if let Some(event) = self.next_event()? {
            return Ok(Some(event));
        }
        if !self.line.is_empty() {
            let line = self.line.split().freeze();
            if let Some(event) = self.take_line(line)? {
                return Ok(Some(event));
            }
        }
        Ok(self.dispatch())
    }

    fn rest(&self) -> &[u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    /// The next line without its end. What is left of the input goes to `line` when there is no end in it.
    fn next_line(&mut self) -> Result<Option<Bytes>, SseError> {
        self.skip_bom();
        if self.after_cr {
            match self.rest().first() {
                None => return Ok(None),
                Some(b'\n') => self.at += 1,
                Some(_) => {}
            }
            self.after_cr = false;
        }
        let rest = self.rest();
        let found = match rest.first() {
            // The blank line behind every event, and the end of the input behind that, need no search.
            Some(b'\n' | b'\r') => Some(0),
            None => None,
            Some(_) => memchr2(b'\n', b'\r', rest),
        };
        let (len, end) = match found {
            Some(len) => (len, rest.get(len)),
            None => (rest.len(), None),
        };
        if self.line.len() + self.data.len() + len > self.max_event_bytes {
            return Err(SseError { max_event_bytes: self.max_event_bytes });
        }
        let Some(end) = end else {
            let rest = self.input.get(self.at..).unwrap_or_default();
            self.line.extend_from_slice(rest);
            self.input = Bytes::new();
            self.at = 0;
            return Ok(None);
        };
        self.after_cr = *end == b'\r';
        let start = self.at;
        self.at += len + 1;
        if self.line.is_empty() {
            return Ok(Some(self.input.slice(start..start + len)));
        }
        let tail = self.input.get(start..start + len).unwrap_or_default();
        self.line.extend_from_slice(tail);
        Ok(Some(self.line.split().freeze()))
    }

    /// One byte order mark is dropped at byte 0, also when it arrives in pieces.
    fn skip_bom(&mut self) {
        while let Some(seen) = self.bom {
            let Some(byte) = self.input.get(self.at) else { return };
            if BOM.get(seen) == Some(byte) {
                self.at += 1;
                self.bom = if seen + 1 == BOM.len() { None } else { Some(seen + 1) };
            } else {
                self.line.extend_from_slice(BOM.get(..seen).unwrap_or_default());
                self.bom = None;
            }
        }
    }

    /// Works one line into the event; an event comes back when the line ended one.
    fn take_line(&mut self, line: Bytes) -> Result<Option<SseEvent>, SseError> {
        match line.first() {
            None => return Ok(self.dispatch()),
            Some(b':') => return Ok(None),
            Some(b'{') => {
                let before = self.dispatch();
                if before.is_some() {
                    self.bare = Some(line);
                    return Ok(before);
                }
                return Ok(Some(SseEvent { name: Bytes::new(), data: line }));
            }
            Some(_) => {}
        }
        // Nearly every line is one of data.
        let colon = if line.starts_with(b"data:") { Some(4) } else { memchr(b':', &line) };
        let (name_len, mut value_at) = match colon {
            Some(colon) => (colon, colon + 1),
            None => (line.len(), line.len()),
        };
        if line.get(value_at) == Some(&b' ') {
            value_at += 1;
        }
        // The line becomes its value: another handle on the same bytes would have to be counted.
        let value = |mut line: Bytes| {
            line.advance(value_at);
            line
        };
        match line.get(..name_len) {
            Some(b"data") => self.data.add(value(line)),
            Some(b"event") => self.name = value(line),
            Some(b"error") => {
                self.name = Bytes::from_static(b"error");
                self.data.add(value(line));
            }
            _ => {}
        }
        Ok(None)
    }

    /// A blank line: the event is whole. One without data is dropped, as the standard says.
    fn dispatch(&mut self) -> Option<SseEvent> {
        let name = std::mem::take(&mut self.name);
        let data = self.data.take()?;
        Some(SseEvent { name, data })
    }
}

#[cfg(test)]
#[path = "sse_tests.rs"]
mod tests;
