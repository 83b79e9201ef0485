//! [`SseDecoder`]: the event stream of the WHATWG HTML standard, section 9.2.6 ("Interpreting an event stream").
//!
//! It takes the bytes as they arrive, cut anywhere, and hands out whole events. It refuses to look into the data,
//! to keep an event identifier or to reconnect: the fields `id` and `retry` are skipped like unknown ones.
//!
//! Beyond the standard, because backends do it: a line that begins with `{` is an event of its own (servers that
//! forget `data:`), a field `error` is an event named `error`, and an event that the end of the stream cuts off is
//! still handed out by [`SseDecoder::finish`]; whoever reads its data sees whether it is complete.

use memchr::{memchr, memchr2};
use std::fmt;

const BOM: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// Room that is kept for the next cut: an event of text fits. What was larger is given back.
const KEPT_BYTES: usize = 1024;

/// One dispatched event, on loan until the next is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SseEvent<'a> {
    /// The `event` field; empty when the stream did not name the event.
    pub name: &'a [u8],
    /// The `data` field, its lines joined by LF. A slice of the input unless the event was cut or has several lines.
    pub data: &'a [u8],
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
/// The input is only borrowed: what is incomplete at its end is copied into `kept`, which is empty between events.
///
/// Invariant: `kept` is the data of the open event up to `data_end`, its lines joined, and behind that the beginning of
/// a line whose end has not arrived.
#[derive(Debug)]
pub struct SseDecoder {
    max_event_bytes: usize,
    kept: Vec<u8>,
    /// `None` while no data of the open event is in `kept`.
    data_end: Option<usize>,
    /// The name of the open event.
    name: Vec<u8>,
    /// `kept` and `name` are those of the event handed out last.
    is_lent: bool,
    /// The last line ended in CR: an LF that comes next belongs to it.
    after_cr: bool,
    /// How many bytes of a byte order mark have been seen at the very start; `None` past the start.
    bom: Option<usize>,
    /// Nothing of all that: the next byte begins an event.
    is_between: bool,
}

/// What a line says. The values are the ends of their lines.
enum Field<'l> {
    /// A blank line ends the event.
    End,
    /// A line of JSON, an event of its own.
    Bare,
    Data(&'l [u8]),
    Name(&'l [u8]),
    /// Names the event `error` and is its data.
    Error(&'l [u8]),
    Other,
}

impl<'l> Field<'l> {
    fn read(line: &'l [u8]) -> Self {
        match line.first() {
            None => return Field::End,
            Some(b':') => return Field::Other,
            Some(b'{') => return Field::Bare,
            Some(_) => {}
        }
        // Nearly every line is one of data.
        let colon = if line.starts_with(b"data:") { Some(4) } else { memchr(b':', line) };
        let (name, value) = match colon {
            Some(colon) => (line.get(..colon), line.get(colon + 1..).unwrap_or_default()),
            None => (Some(line), &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            Some(b"data") => Field::Data(value),
            Some(b"event") => Field::Name(value),
            Some(b"error") => Field::Error(value),
            _ => Field::Other,
        }
    }
}

impl SseDecoder {
    /// A decoder for one stream; an event (or a line) past `max_event_bytes` is an error.
    #[must_use]
    pub fn new(max_event_bytes: usize) -> Self {
        SseDecoder {
            max_event_bytes,
            kept: Vec::new(),
            data_end: None,
            name: Vec::new(),
            is_lent: false,
            after_cr: false,
            bom: Some(0),
            is_between: false,
        }
    }

    /// The next event of `input`, which is left at what follows it. `None`: all was taken, and more bytes must come.
    ///
    /// # Errors
    /// When one event or one line is larger than the cap. The stream cannot be read on after that.
    #[inline]
    pub fn next_event<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<SseEvent<'a>>, SseError> {
        // Nearly every event is one line of data, and in the input as a whole.
        if self.is_between
            && let Some((data, rest)) = whole_event(input)
            && input.len() - rest.len() <= self.max_event_bytes
        {
            *input = rest;
            return Ok(Some(SseEvent { name: b"", data }));
        }
        if self.goes_on(input) {
            return Ok(None);
        }
        self.read_lines(input)
    }

    /// Takes an input that only goes on with the line whose beginning is kept; `false`: none of it was taken. Past the
    /// cap it takes none either, which [`read_lines`](Self::read_lines) says then.
    #[inline]
    fn goes_on(&mut self, input: &mut &[u8]) -> bool {
        // Behind the first bytes of a line there is neither a byte order mark nor the LF of a CR to come.
        let is_taken = !self.is_between
            && !self.is_lent
            && self.has_line()
            && self.kept.len().saturating_add(input.len()) <= self.max_event_bytes
            && !has_line_end(input);
        if is_taken {
            self.kept.extend_from_slice(input);
            *input = &[];
        }
        is_taken
    }

    /// Whether nothing of what came is held: the next byte begins an event.
    #[must_use]
    #[inline]
    pub fn is_between_events(&self) -> bool {
        self.is_between
    }

    /// The end of the stream: hands out what was cut off, one event a call, then `None`.
    ///
    /// # Errors
    /// As [`next_event`](Self::next_event).
    pub fn finish(&mut self) -> Result<Option<SseEvent<'_>>, SseError> {
        self.take_back();
        let is_event = self.has_line() && self.take_kept_line();
        Ok((is_event || self.data_end.is_some()).then(|| self.dispatch(None)))
    }

    #[inline(never)]
    fn read_lines<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Result<Option<SseEvent<'a>>, SseError> {
        self.take_back();
        self.skip_bom(input);
        // The data of the open event, as long as it is one line of the input.
        let mut only: Option<&'i [u8]> = None;
        loop {
            self.skip_line_feed(input);
            let is_open = only.is_some() || self.data_end.is_some();
            if is_open && !self.has_line() && input.first() == Some(&b'{') {
                return Ok(Some(self.dispatch(only)));
            }
            let Some(line) = self.next_line(input, only.map_or(0, <[u8]>::len))? else { break };
            if self.has_line() {
                self.kept.extend_from_slice(line);
                if self.take_kept_line() {
                    return Ok(Some(self.dispatch(None)));
                }
                continue;
            }
            match Field::read(line) {
                Field::End if is_open => return Ok(Some(self.dispatch(only))),
                // The standard drops an event without data.
                Field::End => self.name.clear(),
                Field::Bare => {
                    self.name.clear();
                    return Ok(Some(self.dispatch(Some(line))));
                }
                Field::Name(value) => self.set_name(value),
                Field::Data(value) => only = self.add(only, value),
                Field::Error(value) => {
                    self.set_name(b"error");
                    only = self.add(only, value);
                }
                Field::Other => {}
            }
        }
        if let Some(line) = only {
            self.keep(line);
        }
        self.kept.extend_from_slice(input);
        *input = &[];
        self.is_between = self.data_end.is_none() && self.bom.is_none() && self.holds_nothing();
        Ok(None)
    }

    /// Lends the event: its data is in the input, or in `kept`.
    fn dispatch<'a>(&'a mut self, data: Option<&'a [u8]>) -> SseEvent<'a> {
        self.is_lent = true;
        self.is_between = data.is_some() && self.holds_nothing();
        SseEvent { name: &self.name, data: data.unwrap_or(&self.kept) }
    }

    fn holds_nothing(&self) -> bool {
        self.kept.is_empty() && self.name.is_empty() && !self.after_cr
    }

    /// The last event is done with. What a large one took is given back: most streams are idle most of the time.
    fn take_back(&mut self) {
        if std::mem::take(&mut self.is_lent) {
            self.data_end = None;
            for buffer in [&mut self.kept, &mut self.name] {
                buffer.clear();
                buffer.shrink_to(KEPT_BYTES);
            }
        }
    }

    /// One byte order mark is dropped at byte 0, also when it arrives in pieces.
    fn skip_bom(&mut self, input: &mut &[u8]) {
        while let (Some(seen), Some((byte, rest))) = (self.bom, input.split_first()) {
            if BOM.get(seen) == Some(byte) {
                *input = rest;
                self.bom = if seen + 1 == BOM.len() { None } else { Some(seen + 1) };
            } else {
                self.kept.extend_from_slice(BOM.get(..seen).unwrap_or_default());
                self.bom = None;
            }
        }
    }

    fn skip_line_feed(&mut self, input: &mut &[u8]) {
        if self.after_cr && !input.is_empty() {
            *input = input.strip_prefix(b"\n").unwrap_or(input);
            self.after_cr = false;
        }
    }

    /// The next line without its end; `None` when there is no end in the input.
    fn next_line<'i>(&mut self, input: &mut &'i [u8], data_len: usize) -> Result<Option<&'i [u8]>, SseError> {
        let found = match input.first() {
            // The blank line behind every event, and the end of the input behind that, need no search.
            Some(b'\n' | b'\r') => Some(0),
            None => None,
            Some(_) => memchr2(b'\n', b'\r', input),
        };
        if self.kept.len() + data_len + found.unwrap_or(input.len()) > self.max_event_bytes {
            return Err(SseError { max_event_bytes: self.max_event_bytes });
        }
        let Some((line, [end, rest @ ..])) = found.and_then(|len| input.split_at_checked(len)) else {
            return Ok(None);
        };
        self.after_cr = *end == b'\r';
        *input = rest;
        Ok(Some(line))
    }

    fn set_name(&mut self, name: &[u8]) {
        self.name.clear();
        self.name.extend_from_slice(name);
    }

    /// A line of data more. Gives it back when it is the only one so far.
    fn add<'i>(&mut self, only: Option<&'i [u8]>, line: &'i [u8]) -> Option<&'i [u8]> {
        if only.is_none() && self.data_end.is_none() {
            return Some(line);
        }
        if let Some(first) = only {
            self.keep(first);
        }
        self.keep(line);
        None
    }

    /// Adds a line of data to `kept`, where no beginning of a line is.
    fn keep(&mut self, line: &[u8]) {
        if self.data_end.is_some() {
            self.kept.push(b'\n');
        }
        self.kept.extend_from_slice(line);
        self.data_end = Some(self.kept.len());
    }

    /// Whether the beginning of a line is kept.
    fn has_line(&self) -> bool {
        self.kept.len() > self.data_end.unwrap_or(0)
    }

    /// Works the line that is kept, and whole now, into the event. Whether it is an event of its own; such a line ended
    /// the event before it when its first byte came.
    fn take_kept_line(&mut self) -> bool {
        let start = self.data_end.unwrap_or(0);
        let value_len = match Field::read(self.kept.get(start..).unwrap_or_default()) {
            Field::Bare => {
                self.name.clear();
                return true;
            }
            Field::Data(value) => Some(value.len()),
            Field::Error(value) => {
                let len = value.len();
                self.set_name(b"error");
                Some(len)
            }
            Field::Name(name) => {
                self.name.clear();
                self.name.extend_from_slice(name);
                None
            }
            Field::End | Field::Other => None,
        };
        let Some(value_len) = value_len else {
            self.kept.truncate(start);
            return false;
        };
        // The value moves to where its line begins, or behind the LF that joins it: the field's name was there.
        let value_at = self.kept.len() - value_len;
        let to = if self.data_end.is_some() { start + 1 } else { start };
        if let (true, Some(joint)) = (to > start, self.kept.get_mut(start)) {
            *joint = b'\n';
        }
        self.kept.copy_within(value_at.., to);
        self.kept.truncate(to + value_len);
        self.data_end = Some(self.kept.len());
        false
    }
}

/// Whether a line ends in `input`, which is a few bytes where anybody asks: too few for a search to pay its call.
#[inline]
fn has_line_end(input: &[u8]) -> bool {
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    if input.len() < 16 { input.iter().any(is_end) } else { memchr2(b'\n', b'\r', input).is_some() }
}

/// An event of one line of data that `input` begins with, and what follows it.
#[inline]
fn whole_event(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = input.strip_prefix(b"data:")?;
    let (line, rest) = line.split_at_checked(memchr2(b'\n', b'\r', line)?)?;
    let rest = rest.strip_prefix(b"\n\n").or_else(|| rest.strip_prefix(b"\r\n\r\n"))?;
    Some((line.strip_prefix(b" ").unwrap_or(line), rest))
}

#[cfg(test)]
#[path = "sse_tests.rs"]
mod tests;
