//! [`StreamTranslator`]: the bytes of a backend's answer in, an Ollama answer out, as one state machine.
//!
//! ```text
//!   Opening ──chunk──► Answering ──finish reason──► Finishing ──usage, [DONE] or end──► Done
//! ```
//! The usage comes behind the finish reason, so the last line waits in `Finishing`. What the bytes are (events, lines of
//! JSON, or one JSON document although a stream was asked for) is told by their type and their beginning. The result
//! does not depend on where the bytes were cut.

use super::Fault;
use super::clock::Clock;
use super::framing::{Framing, MAX_DOCUMENT_BYTES};
use super::keepsake::Keepsake;
use super::logprobs::write_logprobs;
use super::output::Output;
use super::parts::{each_reasoning, each_text};
use super::think_tags::{TagReader, ThinkTags};
use super::tools::ToolCallAssembler;
use crate::ollama::{DoneReason, Endpoint, LineHead, Think, Timestamp, Timing};
use crate::openai::{
    ApiError, ChatCompletionChunk, ChunkReader, FinishReason, TextKind, TextShape, Timings, Usage,
};
use crate::wire::{JsonError, JsonErrorKind, RawJson, RawStr, Scanner, SseDecoder, SseEvent};
use bytes::BytesMut;
use std::time::Duration;

/// Longest event taken from a backend: a whole answer or a picture fits; what is longer is no event.
const MAX_EVENT_BYTES: usize = 4 << 20;

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
    /// Whether the backend's texts hold their reasoning.
    pub think_tags: ThinkTags,
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

/// See the module's description.
#[derive(Debug)]
pub struct StreamTranslator {
    framing: Framing,
    decoder: SseDecoder,
    answer: Translation,
}

/// The answer behind the decoder, from which events are borrowed while they are taken in here.
#[derive(Debug)]
struct Translation {
    state: State,
    reader: ChunkReader,
    shape: TextShape,
    /// The last event of text was alike to the one before: the next is expected to be. Padded events never are.
    repeats: bool,
    /// How many events one after the other had to be read in full.
    misses: u32,
    tags: TagReader,
    tools: ToolCallAssembler,
    keepsakes: Vec<Keepsake>,
    output: Output,
    drops_thinking: bool,
    logprobs: Option<u64>,
    usage: Usage,
    timings: Timings,
    /// Deltas with text: the count of tokens where the backend gives none.
    deltas: u64,
    /// The body is JSON and nothing around it.
    is_json: bool,
    /// The body is JSON and all that came is one message: it needs no word about why it ended.
    is_whole_message: bool,
}

impl StreamTranslator {
    /// A translator for one answer.
    #[must_use]
    pub fn new(wanted: &Wanted<'_>, body: BodyKind) -> Self {
        let head = LineHead::new(wanted.endpoint, wanted.model);
        let answer = Translation {
            state: State::Opening,
            reader: ChunkReader::default(),
            shape: TextShape::default(),
            repeats: false,
            misses: 0,
            tags: TagReader::new(wanted.think_tags),
            tools: ToolCallAssembler::default(),
            keepsakes: Vec::new(),
            output: Output::new(head, !wanted.stream, Clock::new(wanted.started_at, wanted.load)),
            drops_thinking: wanted.think == Think::Off,
            logprobs: wanted.logprobs,
            usage: Usage::default(),
            timings: Timings::default(),
            deltas: 0,
            is_json: false,
            is_whole_message: false,
        };
        StreamTranslator {
            framing: Framing::Unknown(body),
            decoder: SseDecoder::new(MAX_EVENT_BYTES),
            answer,
        }
    }

    /// Takes what arrived at `now` (since the request began) and appends the lines that it makes. What is incomplete at
    /// the end of `bytes` is copied: they are free again behind this. After [`Answering::Done`] bytes are ignored.
    ///
    /// # Errors
    /// When the answer cannot be read on. What `out` holds is still good; the caller ends the answer.
    pub fn push(&mut self, bytes: &[u8], now: Duration, out: &mut BytesMut) -> Result<Answering, Fault> {
        self.answer.output.clock.set(now);
        if self.answer.state == State::Done {
            return Ok(Answering::Done);
        }
        if self.framing.is_events() {
            self.take_events(bytes, out)?;
        } else {
            let events = self.framing.push(bytes)?;
            self.answer.is_json = self.framing.is_json();
            self.take_events(&events, out)?;
        }
        Ok(self.answering())
    }

    /// The backend's body ended.
    ///
    /// # Errors
    /// When the answer was not finished.
    pub fn finish(&mut self, now: Duration, out: &mut BytesMut) -> Result<(), Fault> {
        let answer = &mut self.answer;
        answer.output.clock.set(now);
        if let Some(document) = self.framing.finish() {
            answer.is_json = true;
            answer.take_document(&document, out)?;
        }
        while answer.state != State::Done {
            match self.decoder.finish()? {
                Some(event) => answer.take_last_event(event, out)?,
                None => break,
            }
        }
        match answer.state {
            State::Done => Ok(()),
            State::Finishing(reason) => {
                answer.end(reason, out);
                Ok(())
            }
            State::Answering if answer.is_whole_message => answer.done(out),
            State::Opening | State::Answering => Err(Fault::Truncated),
        }
    }

    /// What the backend put on the calls that have gone out, for its next request.
    #[must_use]
    pub fn take_keepsakes(&mut self) -> Vec<Keepsake> {
        std::mem::take(&mut self.answer.keepsakes)
    }

    /// How far the answer is.
    #[must_use]
    pub fn answering(&self) -> Answering {
        match self.answer.state {
            State::Opening | State::Answering => Answering::Open,
            State::Finishing(_) => Answering::Finishing,
            State::Done => Answering::Done,
        }
    }

    /// What the backend counted so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.answer.usage
    }

    fn take_events(&mut self, mut events: &[u8], out: &mut BytesMut) -> Result<(), Fault> {
        while self.answer.state != State::Done {
            if self.decoder.is_between_events() {
                if self.answer.take_alike(&mut events, out)? {
                    continue;
                }
                if events.is_empty() {
                    break;
                }
            }
            let Some(event) = self.decoder.next_event(&mut events)? else { break };
            self.answer.take_event(event, out)?;
            self.answer.check_kept()?;
        }
        Ok(())
    }
}

impl Translation {
    /// Takes the events that `events` begins with, as long as nothing but their texts tells them from the last one. Gives
    /// whether it stopped at a text that asked for more than a line with it, so that others like the last may follow.
    #[inline(never)]
    fn take_alike(&mut self, events: &mut &[u8], out: &mut BytesMut) -> Result<bool, Fault> {
        let learnt = self.shape.kind().filter(|_| self.repeats && self.state == State::Answering);
        let Some(kind) = learnt else { return Ok(false) };
        let is_tagged = kind == TextKind::Content && self.tags.reads();
        let is_dropped = kind == TextKind::Reasoning && self.drops_thinking;
        let lines = if is_tagged || is_dropped { None } else { self.output.plain_lines(kind) };
        let Some(mut lines) = lines else {
            while let Some((text, _, rest)) = self.shape.read_next(events) {
                *events = rest;
                self.text(kind, text, b"", out);
                self.check_kept()?;
            }
            return Ok(false);
        };
        let (mut left, mut count) = (*events, 0);
        let mut asks_more = None;
        while let Some((text, from_text, rest)) = self.shape.read_next(left) {
            left = rest;
            if !lines.push(text, from_text, out) {
                asks_more = Some(text);
                break;
            }
            count += 1;
        }
        *events = left;
        if count > 0 {
            self.output.clock.token();
            self.deltas += count;
        }
        if let Some(text) = asks_more {
            self.text(kind, text, b"", out);
            self.check_kept()?;
        }
        Ok(asks_more.is_some())
    }

    fn check_kept(&self) -> Result<(), Fault> {
        if self.output.kept_bytes() > MAX_DOCUMENT_BYTES {
            return Err(Fault::TooMuch(MAX_DOCUMENT_BYTES, "bytes in one answer"));
        }
        Ok(())
    }

    fn take_event(&mut self, event: SseEvent<'_>, out: &mut BytesMut) -> Result<(), Fault> {
        let data = event.data.trim_ascii();
        if event.name == b"error" {
            return Err(Fault::Backend(ApiError::read(data)));
        }
        match data {
            // Keep-alives that a gateway wrapped into data.
            b"" | b"\"\"" => Ok(()),
            [b':', ..] => Ok(()),
            b"[DONE]" => self.done(out),
            _ => self.take_data(data, out),
        }
    }

    fn take_data(&mut self, data: &[u8], out: &mut BytesMut) -> Result<(), Fault> {
        if self.state == State::Answering
            && let Some((kind, text)) = self.shape.read(data)
        {
            self.repeats = true;
            self.misses = 0;
            self.text(kind, text, b"", out);
            return Ok(());
        }
        if self.state == State::Answering && self.tools.push_alike(data)? {
            return Ok(());
        }
        let chunk = self
            .reader
            .read(data, self.misses >= 2)
            .map_err(|error| reported_in_a_list(data).unwrap_or_else(|| not_a_chunk(error)))?;
        self.take_chunk(&chunk, data, out)?;
        // Where the last ones were learnt in vain, the next will be too: only now and then one is tried again.
        if self.misses < 4 || self.misses.is_multiple_of(32) {
            self.shape.learn(data, &chunk);
        }
        self.misses = self.misses.saturating_add(1);
        self.repeats = false;
        Ok(())
    }

    /// An event that the end of the body may have cut: one that is not whole says only that the answer is not.
    fn take_last_event(&mut self, event: SseEvent<'_>, out: &mut BytesMut) -> Result<(), Fault> {
        let data = event.data.trim_ascii();
        let is_cut = match data.first() {
            Some(b'{') => {
                Scanner::new(data).value().is_err_and(|error| error.kind == JsonErrorKind::Truncated)
            }
            Some(b'[') => data != b"[DONE]" && Scanner::new(data).value().is_err(),
            _ => false,
        };
        if is_cut { Ok(()) } else { self.take_event(event, out) }
    }

    /// A body that is one JSON document, although events were asked for or because none were.
    fn take_document(&mut self, document: &[u8], out: &mut BytesMut) -> Result<(), Fault> {
        let text = document.trim_ascii();
        let is_object = text.first() == Some(&b'{');
        match ChatCompletionChunk::read(text) {
            Ok(chunk) if !chunk.has_choice && !chunk.is_error => {
                Err(Fault::Malformed("no choices".to_string()))
            }
            Ok(chunk) => self.take_chunk(&chunk, text, out),
            Err(JsonError { kind: JsonErrorKind::Truncated, .. }) if is_object => Err(Fault::Truncated),
            Err(error) if is_object => Err(not_a_chunk(error)),
            Err(_) => {
                let error = ApiError::read(text);
                Err(if error.message.is_empty() { Fault::Truncated } else { Fault::Backend(error) })
            }
        }
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
        if chunk.has_choice {
            self.is_whole_message = chunk.is_message && self.state == State::Opening && self.is_json;
        }
        if self.state == State::Opening && chunk.has_choice {
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
        self.text(TextKind::Reasoning, delta.reasoning, b"", out);
        if let Some(details) = delta.reasoning_details {
            each_reasoning(details, &mut |text| self.text(TextKind::Reasoning, text, b"", out))
                .map_err(not_a_chunk)?;
        }
        if let Some(parts) = delta.parts {
            let mut take = |kind, text: RawStr<'_>| self.text(kind, text, b"", out);
            each_text(parts, TextKind::Content, &mut take).map_err(not_a_chunk)?;
        }
        let logprobs = self.logprobs(chunk.logprobs).map_err(not_a_chunk)?;
        self.text(TextKind::Content, delta.content, &logprobs, out);
        self.text(TextKind::Content, delta.refusal, b"", out);
        if let Some(calls) = delta.tool_calls {
            self.tools.push(calls, chunk, data)?;
        }
        if let Some(function) = delta.function_call {
            self.tools.push_function(function)?;
        }
        if let Some(reason) = chunk.finish_reason {
            self.flush_text(out);
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
            State::Finishing(reason) => {
                self.end(reason, out);
                Ok(())
            }
            // Some backends never give a reason.
            State::Answering => {
                self.flush_text(out);
                self.flush_tools(out)?;
                self.end(DoneReason::Stop, out);
                Ok(())
            }
            State::Opening => Err(Fault::Malformed("no choices".to_string())),
        }
    }

    fn text(&mut self, kind: TextKind, text: RawStr<'_>, logprobs: &[u8], out: &mut BytesMut) {
        if text.is_empty() && logprobs.is_empty() {
            return;
        }
        self.output.clock.token();
        self.deltas += 1;
        if kind == TextKind::Content && self.tags.reads() {
            self.tagged_text(text, logprobs, out);
        } else if kind == TextKind::Content || !self.drops_thinking {
            self.output.text(kind, text, logprobs, out);
        }
    }

    /// Content that may be reasoning between tags. The probabilities of its tokens go with the first piece of it.
    fn tagged_text(&mut self, text: RawStr<'_>, mut logprobs: &[u8], out: &mut BytesMut) {
        let Translation { tags, output, drops_thinking, .. } = self;
        tags.push(text, &mut |kind, piece| {
            if kind == TextKind::Content || !*drops_thinking {
                output.text(kind, piece, std::mem::take(&mut logprobs), out);
            }
        });
        if !logprobs.is_empty() {
            output.text(TextKind::Content, RawStr::default(), logprobs, out);
        }
    }

    /// Nothing more is said: what was held back for what might follow goes out.
    fn flush_text(&mut self, out: &mut BytesMut) {
        let Translation { tags, output, drops_thinking, .. } = self;
        tags.finish(&mut |kind, piece| {
            if kind == TextKind::Content || !*drops_thinking {
                output.text(kind, piece, b"", out);
            }
        });
        output.flush_halves(out);
    }

    /// The inside of Ollama's list, where one was asked for.
    fn logprobs(&self, list: Option<RawJson<'_>>) -> Result<BytesMut, JsonError> {
        let mut items = BytesMut::new();
        if let (Some(top), Some(list)) = (self.logprobs, list) {
            write_logprobs(list, top, &mut items)?;
        }
        Ok(items)
    }

    fn flush_tools(&mut self, out: &mut BytesMut) -> Result<(), Fault> {
        if self.tools.is_empty() {
            return Ok(());
        }
        self.output.clock.token();
        let started_at = self.output.clock.started_at;
        for call in self.tools.finish(|index| made_call_id(started_at, index))? {
            self.output.call(&call.json, out);
            self.keepsakes.extend(call.keepsake);
        }
        Ok(())
    }

    fn end(&mut self, reason: DoneReason, out: &mut BytesMut) {
        self.output.end(reason, &self.timing(), out);
        self.state = State::Done;
    }

    fn timing(&self) -> Timing {
        let (clock, is_whole) = (&self.output.clock, self.output.is_whole());
        let since_load = |time: Duration| time.saturating_sub(clock.load);
        let nanoseconds = |ns: Option<u64>| ns.map(Duration::from_nanos);
        // A whole answer comes at once: nobody saw its first token.
        let first = clock.first_token.filter(|_| !is_whole);
        let eval = match first {
            Some(first) => clock.last_token.saturating_sub(first),
            None => since_load(clock.now),
        };
        Timing {
            total: clock.now,
            load: clock.load,
            prompt_eval_count: self.usage.prompt_tokens,
            prompt_eval: nanoseconds(self.timings.prompt_ns).or(first.map(since_load)).unwrap_or_default(),
            eval_count: self.usage.completion_tokens.or_else(|| (!is_whole).then_some(self.deltas)),
            eval: nanoseconds(self.timings.predicted_ns).unwrap_or(eval),
        }
    }
}

/// A failure that is the first of a list: Google's way to report one.
fn reported_in_a_list(data: &[u8]) -> Option<Fault> {
    let is_list = data.first() == Some(&b'[') && Scanner::new(data).value().is_ok();
    let error = ApiError::read(data);
    (is_list && !error.message.is_empty()).then_some(Fault::Backend(error))
}

/// Without the bytes themselves: they are somebody's answer, and errors are logged.
fn not_a_chunk(error: JsonError) -> Fault {
    Fault::Malformed(error.to_string())
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

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
