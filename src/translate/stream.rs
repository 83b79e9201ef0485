//! [`StreamTranslator`]: the bytes of a backend's answer in, an Ollama answer out, as one state machine.
//!
//! ```text
//!   Opening ──chunk──► Answering ──finish reason──► Finishing ──usage, [DONE] or end──► Done
//! ```
//! The usage comes behind the finish reason, so the last line waits in `Finishing`. What the bytes are (events, lines of
//! JSON, or one JSON document although a stream was asked for) is told by their type and their beginning. The result
//! does not depend on where the bytes were cut.

use super::Fault;
use super::tools::ToolCallAssembler;
use super::whole::Whole;
use crate::ollama::{Answer, DoneReason, Endpoint, LineHead, Think, Timestamp, Timing};
use crate::openai::{ApiError, ChatCompletionChunk, FinishReason, Timings, Usage};
use crate::wire::{
    JsonError, JsonErrorKind, JsonWriter, KEY_BYTES, Kind, RawJson, RawStr, Scanner, SseDecoder, SseEvent,
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::time::Duration;

/// Longest event taken from a backend: a whole answer or a picture fits; what is longer is no event.
const MAX_EVENT_BYTES: usize = 4 << 20;
/// Longest document taken where events were expected or none were.
const MAX_DOCUMENT_BYTES: usize = 64 << 20;
/// Longest line sent: some clients read lines into buffers of 128 KiB, and none needs more at once.
const MAX_LINE_BYTES: usize = 64 << 10;

/// What the client asked for and the request began with.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The model's name as the client spelt it.
    pub model: &'a str,
    /// Lines, or one object.
    pub stream: bool,
    /// Reasoning is left out when the client said that it does not want it.
    pub think: Think,
    /// Token probabilities were asked for; with how many alternatives.
    pub logprobs: Option<u64>,
    /// When the request began.
    pub started_at: Timestamp,
    /// How long it took until the backend had the request.
    pub load: Duration,
}

/// What the backend says its body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// `text/event-stream` or NDJSON.
    Events,
    /// Anything else: the first byte decides.
    Unsaid,
}

/// How far an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering {
    /// More must come.
    Open,
    /// The finish reason is known; only the usage is waited for.
    Finishing,
    /// The last line is written.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Opening,
    Answering,
    Finishing(DoneReason),
    Done,
}

#[derive(Debug)]
enum Framing {
    Unknown,
    Events,
    Document(BytesMut),
}

/// See the module's description.
#[derive(Debug)]
pub struct StreamTranslator {
    head: LineHead,
    framing: Framing,
    decoder: SseDecoder,
    state: State,
    /// The one object, when no lines were asked for.
    whole: Option<Whole>,
    tools: ToolCallAssembler,
    drops_thinking: bool,
    logprobs: Option<u64>,
    /// The first half of a surrogate pair that the backend cut between two deltas, of text and of reasoning.
    halves: [Option<[u8; 6]>; 2],
    clock: Clock,
    usage: Usage,
    timings: Timings,
    /// Deltas with text: the count of tokens where the backend gives none.
    deltas: u64,
}

/// Time as the lines show it.
#[derive(Debug)]
struct Clock {
    started_at: Timestamp,
    load: Duration,
    now: Duration,
    first_token: Option<Duration>,
    last_token: Duration,
    /// `created_at` of `now`; empty until a line needs it.
    text: BytesMut,
}

impl Clock {
    fn set(&mut self, now: Duration) {
        self.now = now;
        self.text.clear();
    }

    fn text(&mut self) -> &[u8] {
        if self.text.is_empty() {
            self.started_at.after(self.now).write(&mut self.text);
        }
        &self.text
    }

    fn token(&mut self) {
        self.first_token.get_or_insert(self.now);
        self.last_token = self.now;
    }
}

impl StreamTranslator {
    /// A translator for one answer.
    #[must_use]
    pub fn new(wanted: &Wanted<'_>, body: BodyKind) -> Self {
        StreamTranslator {
            head: LineHead::new(wanted.endpoint, wanted.model),
            framing: if body == BodyKind::Events { Framing::Events } else { Framing::Unknown },
            decoder: SseDecoder::new(MAX_EVENT_BYTES),
            state: State::Opening,
            whole: (!wanted.stream).then(Whole::default),
            tools: ToolCallAssembler::default(),
            drops_thinking: wanted.think == Think::Off,
            logprobs: wanted.logprobs,
            halves: [None; 2],
            clock: Clock {
                started_at: wanted.started_at,
                load: wanted.load,
                now: wanted.load,
                first_token: None,
                last_token: wanted.load,
                text: BytesMut::with_capacity(32),
            },
            usage: Usage::default(),
            timings: Timings::default(),
            deltas: 0,
        }
    }

    /// Takes what arrived at `now` (since the request began) and appends the lines that it makes. After
    /// [`Answering::Done`] bytes are ignored.
    ///
    /// # Errors
    /// When the answer cannot be read on. What `out` holds is still good; the caller ends the answer.
    pub fn push(&mut self, mut bytes: Bytes, now: Duration, out: &mut BytesMut) -> Result<Answering, Fault> {
        self.clock.set(now);
        if matches!(self.framing, Framing::Unknown) {
            self.tell_framing(&mut bytes);
        }
        match &mut self.framing {
            Framing::Unknown => {}
            Framing::Document(document) => {
                if document.len() + bytes.len() > MAX_DOCUMENT_BYTES {
                    return Err(Fault::TooLarge("a document", MAX_DOCUMENT_BYTES));
                }
                document.extend_from_slice(&bytes);
            }
            Framing::Events => {
                self.decoder.push(bytes);
                self.take_events(out)?;
            }
        }
        Ok(self.answering())
    }

    /// The backend's body ended.
    ///
    /// # Errors
    /// When the answer was not finished.
    pub fn finish(&mut self, now: Duration, out: &mut BytesMut) -> Result<(), Fault> {
        self.clock.set(now);
        if let Framing::Document(document) = &mut self.framing {
            let document = document.split().freeze();
            self.take_document(document, out)?;
        }
        while self.state != State::Done {
            match self.decoder.finish()? {
                Some(event) => self.take_last_event(event, out)?,
                None => break,
            }
        }
        match self.state {
            State::Done => Ok(()),
            State::Finishing(reason) => self.end(reason, out),
            State::Opening | State::Answering => Err(Fault::Truncated),
        }
    }

    /// How far the answer is.
    #[must_use]
    pub fn answering(&self) -> Answering {
        match self.state {
            State::Opening | State::Answering => Answering::Open,
            State::Finishing(_) => Answering::Finishing,
            State::Done => Answering::Done,
        }
    }

    /// White space before the body tells nothing: some backends send it for minutes to hold the connection.
    fn tell_framing(&mut self, bytes: &mut Bytes) {
        let blank = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        bytes.advance(blank);
        self.framing = match bytes.first() {
            None => return,
            // `data:`, `event:`, `error:`, `id:`, `retry:`, a comment, or a byte order mark.
            Some(b'd' | b'e' | b'i' | b'r' | b':' | 0xEF) => Framing::Events,
            Some(_) => Framing::Document(BytesMut::new()),
        };
    }

    fn take_events(&mut self, out: &mut BytesMut) -> Result<(), Fault> {
        while self.state != State::Done {
            let Some(event) = self.decoder.next_event()? else { break };
            self.take_event(&event, out)?;
        }
        Ok(())
    }

    fn take_event(&mut self, event: &SseEvent, out: &mut BytesMut) -> Result<(), Fault> {
        let data = event.data.trim_ascii();
        if event.name.as_ref() == b"error" {
            return Err(Fault::Backend(ApiError::read(data)));
        }
        match data {
            // Keep-alives that a gateway wrapped into data.
            b"" | b"\"\"" => Ok(()),
            [b':', ..] => Ok(()),
            b"[DONE]" => self.done(out),
            _ => {
                let chunk = ChatCompletionChunk::read(data).map_err(|error| not_a_chunk(data, error))?;
                self.take_chunk(&chunk, data, out)
            }
        }
    }

    /// An event that the end of the body may have cut: one that is not whole says only that the answer is not.
    fn take_last_event(&mut self, event: SseEvent, out: &mut BytesMut) -> Result<(), Fault> {
        let data = event.data.trim_ascii();
        let is_cut = data.first() == Some(&b'{')
            && matches!(Scanner::new(data).value(), Err(JsonError { kind: JsonErrorKind::Truncated, .. }))
            || data.first() == Some(&b'[') && data != b"[DONE]";
        if is_cut { Ok(()) } else { self.take_event(&event, out) }
    }

    /// A body that is one JSON document, although events were asked for or because none were.
    fn take_document(&mut self, document: Bytes, out: &mut BytesMut) -> Result<(), Fault> {
        self.framing = Framing::Events;
        let text = document.trim_ascii();
        let chunk = match ChatCompletionChunk::read(text) {
            Ok(chunk) => chunk,
            Err(JsonError { kind: JsonErrorKind::Truncated, .. }) if text.first() == Some(&b'{') => {
                return Err(Fault::Truncated);
            }
            // Lines of JSON under another type, or no JSON object at all.
            Err(_) if text.first() == Some(&b'{') => {
                self.decoder.push(document);
                return self.take_events(out);
            }
            Err(_) => {
                let error = ApiError::read(text);
                return Err(if error.message.is_empty() { Fault::Truncated } else { Fault::Backend(error) });
            }
        };
        if !chunk.has_choice && !chunk.is_error {
            return Err(Fault::Malformed("no choices".to_string()));
        }
        self.take_chunk(&chunk, text, out)?;
        // A document is whole without a word about why it ended.
        if self.state == State::Answering { self.done(out) } else { Ok(()) }
    }

    fn take_chunk(
        &mut self,
        chunk: &ChatCompletionChunk<'_>,
        data: &[u8],
        out: &mut BytesMut,
    ) -> Result<(), Fault> {
        if chunk.is_error || chunk.finish_reason == Some(FinishReason::Failed) {
            return Err(Fault::Backend(ApiError::read(data)));
        }
        if self.state == State::Opening {
            self.state = State::Answering;
        }
        // The last one that says something wins: some backends count along with every chunk.
        if chunk.usage != Usage::default() {
            self.usage = chunk.usage;
        }
        if chunk.timings != Timings::default() {
            self.timings = chunk.timings;
        }
        // Behind the finish reason only figures are expected; text there would follow tool calls that are out.
        if self.state != State::Answering {
            return Ok(());
        }
        let delta = &chunk.delta;
        self.thinking(delta.reasoning, out);
        if let Some(parts) = delta.parts {
            self.parts(parts, out).map_err(|error| not_a_chunk(data, error))?;
        }
        self.text(delta.content, chunk.logprobs, out);
        self.text(delta.refusal, None, out);
        if let Some(calls) = delta.tool_calls {
            self.tools.push(calls)?;
        }
        if let Some(function) = delta.function_call {
            self.tools.push_function(function)?;
        }
        if let Some(reason) = chunk.finish_reason {
            self.flush_halves(out);
            self.flush_tools(out)?;
            let length = reason == FinishReason::Length;
            self.state = State::Finishing(if length { DoneReason::Length } else { DoneReason::Stop });
        }
        Ok(())
    }

    /// `[DONE]`, or the end of a whole document.
    fn done(&mut self, out: &mut BytesMut) -> Result<(), Fault> {
        match self.state {
            State::Done => Ok(()),
            State::Finishing(reason) => self.end(reason, out),
            // Some backends never give a reason.
            State::Answering => {
                self.flush_halves(out);
                self.flush_tools(out)?;
                self.end(DoneReason::Stop, out)
            }
            State::Opening => Err(Fault::Malformed("no choices".to_string())),
        }
    }

    fn text(&mut self, text: RawStr<'_>, logprobs: Option<RawJson<'_>>, out: &mut BytesMut) {
        let mut items = BytesMut::new();
        if let (Some(top), Some(list)) = (self.logprobs, logprobs) {
            write_logprobs(list, top, &mut items);
        }
        self.emit(false, text, &items, out);
    }

    fn thinking(&mut self, text: RawStr<'_>, out: &mut BytesMut) {
        self.emit(true, text, b"", out);
    }

    /// The parts of a `content` array: `{"type":"text","text":..}` and `{"type":"thinking","thinking":[..]}`.
    fn parts(&mut self, parts: RawJson<'_>, out: &mut BytesMut) -> Result<(), JsonError> {
        let mut scanner = Scanner::new(parts.bytes());
        scanner.begin_array()?;
        while scanner.next_element()? {
            let part = scanner.value()?;
            if part.kind() != Kind::Object {
                continue;
            }
            let mut members = Scanner::new(part.bytes());
            let mut scratch = [0; KEY_BYTES];
            members.begin_object()?;
            while let Some(key) = members.next_key()? {
                let name = key.lookup(&mut scratch);
                let (is_text, is_thinking) = (name == b"text", name == b"thinking");
                let value = members.value()?;
                if is_text {
                    self.text(value.as_str().unwrap_or_default(), None, out);
                } else if is_thinking {
                    self.thinking_part(value, out)?;
                }
            }
        }
        Ok(())
    }

    /// The inside of a thinking part: a string, or an array of text parts.
    fn thinking_part(&mut self, value: RawJson<'_>, out: &mut BytesMut) -> Result<(), JsonError> {
        if let Some(text) = value.as_str() {
            self.thinking(text, out);
        }
        if value.kind() != Kind::Array {
            return Ok(());
        }
        let mut scanner = Scanner::new(value.bytes());
        scanner.begin_array()?;
        while scanner.next_element()? {
            let part = scanner.value()?;
            if part.kind() != Kind::Object {
                continue;
            }
            let mut members = Scanner::new(part.bytes());
            let mut scratch = [0; KEY_BYTES];
            members.begin_object()?;
            while let Some(key) = members.next_key()? {
                let is_text = key.lookup(&mut scratch) == b"text";
                let value = members.value()?;
                if is_text {
                    self.thinking(value.as_str().unwrap_or_default(), out);
                }
            }
        }
        Ok(())
    }

    fn emit(&mut self, is_thinking: bool, text: RawStr<'_>, logprobs: &[u8], out: &mut BytesMut) {
        if text.is_empty() && logprobs.is_empty() {
            return;
        }
        self.clock.token();
        self.deltas += 1;
        if is_thinking && self.drops_thinking {
            return;
        }
        let (text, half) = text.split_trailing_high_surrogate();
        let Some(held) = self.halves.get_mut(usize::from(is_thinking)) else { return };
        let before = std::mem::replace(held, half);
        let before = before.as_ref().map_or(&b""[..], |half| half);
        if let Some(whole) = &mut self.whole {
            whole.add_half(is_thinking, before);
            whole.add_text(is_thinking, text);
            whole.add_logprobs(logprobs);
            return;
        }
        if text.is_empty() && before.is_empty() && logprobs.is_empty() {
            return;
        }
        self.lines(is_thinking, before, text, logprobs, out);
    }

    /// One line, or several where one would be too long.
    fn lines(
        &mut self,
        is_thinking: bool,
        before: &[u8],
        text: RawStr<'_>,
        logprobs: &[u8],
        out: &mut BytesMut,
    ) {
        let room =
            MAX_LINE_BYTES.saturating_sub(self.head.overhead() + before.len() + logprobs.len()).max(1024);
        let created_at = self.clock.text();
        let (mut before, mut logprobs, mut rest) = (before, logprobs, text);
        loop {
            // No byte grows more than threefold.
            let fits = rest.raw().len() <= if rest.is_ascii() { room } else { room / 3 };
            let (piece, more) = if fits { (rest, RawStr::default()) } else { rest.split_at_cost(room) };
            if is_thinking {
                self.head.begin_thinking(created_at, out);
            } else {
                self.head.begin_text(created_at, out);
            }
            out.put_slice(before);
            JsonWriter::append_raw_text(out, piece);
            self.head.end_text(logprobs, out);
            if more.is_empty() {
                return;
            }
            (before, logprobs, rest) = (b"", b"", more);
        }
    }

    /// The other half of a character never came.
    fn flush_halves(&mut self, out: &mut BytesMut) {
        for is_thinking in [true, false] {
            let held = self.halves.get_mut(usize::from(is_thinking)).and_then(Option::take);
            if held.is_none() {
                continue;
            }
            let replacement = "\u{fffd}".as_bytes();
            match &mut self.whole {
                Some(whole) => whole.add_half(is_thinking, replacement),
                None => self.lines(is_thinking, replacement, RawStr::default(), b"", out),
            }
        }
    }

    /// Whole calls, one a line: some clients read only the first of a line.
    fn flush_tools(&mut self, out: &mut BytesMut) -> Result<(), Fault> {
        if self.tools.is_empty() {
            return Ok(());
        }
        let started_at = self.clock.started_at;
        for call in self.tools.finish(|index| made_call_id(started_at, index))? {
            match &mut self.whole {
                Some(whole) => whole.add_call(&call),
                None => {
                    let answer = Answer { tool_calls: &call, ..Answer::default() };
                    self.head.write_part(self.clock.text(), &answer, out);
                }
            }
        }
        self.clock.token();
        Ok(())
    }

    fn end(&mut self, reason: DoneReason, out: &mut BytesMut) -> Result<(), Fault> {
        let timing = self.timing();
        self.state = State::Done;
        let created_at = self.clock.text();
        match self.whole.take() {
            Some(whole) => self.head.write_end(created_at, &whole.answer(), reason, Some(&timing), out),
            None => {
                self.head.write_end(created_at, &Answer::default(), reason, Some(&timing), out);
                out.put_u8(b'\n');
            }
        }
        Ok(())
    }

    fn timing(&self) -> Timing {
        let clock = &self.clock;
        let since_load = |time: Duration| time.saturating_sub(clock.load);
        let nanoseconds = |ns: Option<u64>| ns.map(Duration::from_nanos);
        // A whole answer comes at once: nobody saw its first token.
        let first = clock.first_token.filter(|_| self.whole.is_none());
        let eval = match first {
            Some(first) => clock.last_token.saturating_sub(first),
            None => since_load(clock.now),
        };
        Timing {
            total: clock.now,
            load: clock.load,
            prompt_eval_count: self.usage.prompt_tokens,
            prompt_eval: nanoseconds(self.timings.prompt_ns).or(first.map(since_load)).unwrap_or_default(),
            eval_count: self.usage.completion_tokens.or_else(|| self.whole.is_none().then_some(self.deltas)),
            eval: nanoseconds(self.timings.predicted_ns).unwrap_or(eval),
        }
    }
}

fn not_a_chunk(data: &[u8], error: JsonError) -> Fault {
    let shown: String = String::from_utf8_lossy(data).chars().take(80).collect();
    Fault::Malformed(format!("{error} in {shown:?}"))
}

/// Nine letters and digits, which every backend takes back: five of the request's time, four of the call's number.
fn made_call_id(started_at: Timestamp, index: usize) -> String {
    let mut text = BytesMut::new();
    started_at.write(&mut text);
    let mut hash = text.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut number = index as u64;
    (0..9)
        .map(|place| {
            let from = if place < 5 { &mut hash } else { &mut number };
            let digit = u32::try_from(*from % 36).unwrap_or(0);
            *from /= 36;
            char::from_digit(digit, 36).unwrap_or('0')
        })
        .collect()
}

/// The inside of the list, without `bytes: null`, and without the alternatives when none were asked for.
fn write_logprobs(list: RawJson<'_>, top: u64, out: &mut BytesMut) {
    let mut json = JsonWriter::new(out);
    let mut scanner = Scanner::new(list.bytes());
    let mut write = || -> Result<(), JsonError> {
        scanner.begin_array()?;
        while scanner.next_element()? {
            let token = scanner.value()?;
            if token.kind() == Kind::Object {
                write_token(token, top > 0, &mut json)?;
            }
        }
        Ok(())
    };
    // The list was checked when the chunk was read.
    let _checked = write();
}

fn write_token(token: RawJson<'_>, with_top: bool, json: &mut JsonWriter<'_>) -> Result<(), JsonError> {
    let mut members = Scanner::new(token.bytes());
    let mut scratch = [0; KEY_BYTES];
    members.begin_object()?;
    json.begin_object();
    while let Some(key) = members.next_key()? {
        let name: &'static str = match key.lookup(&mut scratch) {
            b"token" => "token",
            b"logprob" => "logprob",
            b"bytes" => "bytes",
            b"top_logprobs" => "top_logprobs",
            _ => "",
        };
        let value = members.value()?;
        if name.is_empty() || value.kind() == Kind::Null || (name == "top_logprobs" && !with_top) {
            continue;
        }
        json.key(name);
        if name == "top_logprobs" && value.kind() == Kind::Array {
            json.begin_array();
            let mut alternatives = Scanner::new(value.bytes());
            alternatives.begin_array()?;
            while alternatives.next_element()? {
                let alternative = alternatives.value()?;
                if alternative.kind() == Kind::Object {
                    write_token(alternative, false, json)?;
                }
            }
            json.end_array();
        } else {
            json.raw_compact(value);
        }
    }
    json.end_object();
    Ok(())
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
