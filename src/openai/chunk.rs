//! [`ChatCompletionChunk`]: one `chat.completion.chunk`, read in place.
//!
//! The same reader takes a whole `chat.completion` (`message` in the place of `delta`) and a `text_completion` (`text`):
//! backends send any of the three where another was asked for. Members that mean nothing here are passed over by their
//! structure, whatever they hold. Only choice 0 counts; of two equal members the last wins.

use crate::wire::{JsonError, KEY_BYTES, Kind, RawJson, RawStr, Scanner, are_equal};

/// Why the model stopped, as far as an Ollama client can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// `stop`, `tool_calls`, `content_filter`, `eos`, ... and every word that is not known.
    Stop,
    /// `length` or `max_tokens`.
    Length,
    /// `error` or `abort`: the answer is not whole.
    Failed,
}

/// Token counts; `None` where the backend gave none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// `prompt_tokens`
    pub prompt_tokens: Option<u64>,
    /// `completion_tokens`
    pub completion_tokens: Option<u64>,
}

/// llama.cpp's own clock, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// `prompt_ms`
    pub prompt_ns: Option<u64>,
    /// `predicted_ms`
    pub predicted_ns: Option<u64>,
}

/// What one chunk adds to the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta<'a> {
    /// `content` as a string (or `text` of a completion).
    pub content: RawStr<'a>,
    /// `content` as an array of parts.
    pub parts: Option<RawJson<'a>>,
    /// `refusal`: the model's words when it refuses.
    pub refusal: RawStr<'a>,
    /// `reasoning_content`, else `reasoning`.
    pub reasoning: RawStr<'a>,
    /// `reasoning_details`, an array, where neither of them has a text.
    pub reasoning_details: Option<RawJson<'a>>,
    /// `tool_calls`, an array.
    pub tool_calls: Option<RawJson<'a>>,
    /// The older `function_call`, an object.
    pub function_call: Option<RawJson<'a>>,
}

/// See the module's description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChatCompletionChunk<'a> {
    /// What choice 0 adds.
    pub delta: Delta<'a>,
    /// Given once, on the last chunk with a choice.
    pub finish_reason: Option<FinishReason>,
    /// `choices[0].logprobs.content`, an array.
    pub logprobs: Option<RawJson<'a>>,
    /// `usage`
    pub usage: Usage,
    /// `timings`
    pub timings: Timings,
    /// There is a choice 0.
    pub has_choice: bool,
    /// Its words came as a `message` or a `text`, not as a `delta`.
    pub is_message: bool,
    /// The backend reports a failure; [`ApiError`](super::ApiError) reads it.
    pub is_error: bool,
}

impl<'a> ChatCompletionChunk<'a> {
    /// Reads one JSON text.
    ///
    /// # Errors
    /// When it is not one complete JSON object.
    pub fn read(text: &'a [u8]) -> Result<Self, JsonError> {
        let mut scanner = Scanner::new(text);
        scanner.begin_object()?;
        let mut chunk = ChatCompletionChunk::default();
        chunk.read_members(scanner, false)?;
        Ok(chunk)
    }

    /// Reads the members that follow, from the value of `choices` on where that is what comes first. Gives where that
    /// value begins, when no member before it said anything.
    fn read_members(
        &mut self,
        mut scanner: Scanner<'a>,
        is_at_choices: bool,
    ) -> Result<Option<usize>, JsonError> {
        // Members that make an object without choices an error report.
        let (mut speaks, mut has_choices) = (false, false);
        let mut choices = FirstChoice::default();
        let mut choices_at = None;
        let mut scratch = [0; KEY_BYTES];
        if is_at_choices {
            has_choices = choices.read(&mut scanner)?;
        }
        while let Some(key) = scanner.next_key()? {
            match key.lookup(&mut scratch) {
                b"choices" => {
                    let says_nothing = !speaks && !has_choices && self.says_nothing();
                    choices_at = choices_at.or(says_nothing.then(|| scanner.offset()));
                    has_choices = choices.read(&mut scanner)?;
                }
                b"usage" => self.read_usage(scanner.value()?)?,
                b"timings" => self.timings = read_timings(scanner.value()?)?,
                b"error" => self.is_error |= says_error(scanner.value()?),
                b"message" | b"detail" => speaks |= scanner.value()?.kind() != Kind::Null,
                b"object" | b"type" => {
                    let value = scanner.value()?;
                    self.is_error |= value.bytes() == b"\"error\"";
                }
                _ => scanner.skip()?,
            }
        }
        scanner.end()?;
        self.is_error |= speaks && !has_choices;
        if choices.is_found {
            self.take_choice(&choices.choice);
        }
        Ok(choices_at)
    }

    /// Whether what was read of it so far is as if nothing was.
    fn says_nothing(&self) -> bool {
        !self.is_error && self.usage == Usage::default() && self.timings == Timings::default()
    }

    fn take_choice(&mut self, choice: &Choice<'a>) {
        self.has_choice = true;
        self.is_message = choice.delta.is_none() && (choice.message.is_some() || choice.text.is_some());
        self.delta = choice.delta.or(choice.message).unwrap_or_default();
        // A completion has its text beside them.
        if let Some(text) = choice.text {
            self.delta.content = text;
        }
        self.finish_reason = choice.finish_reason;
        self.logprobs = choice.logprobs;
        self.is_error |= choice.is_error;
        if choice.usage != Usage::default() {
            self.usage = choice.usage;
        }
    }

    fn read_usage(&mut self, value: RawJson<'_>) -> Result<(), JsonError> {
        if value.kind() == Kind::Object {
            self.usage = Usage::read(value)?;
        }
        Ok(())
    }
}

/// Reads the chunks of one stream: their beginnings are the same up to `choices`, and are read once.
///
/// Why this is sound: where the bytes are the same, the scanner is at the same place of the grammar behind them, and what
/// the members there say was read before: nothing.
#[derive(Debug, Default)]
pub struct ChunkReader {
    /// The beginning of the last chunk, up to the value of `choices`.
    head: Vec<u8>,
}

/// A longer beginning is not kept.
const MAX_HEAD_BYTES: usize = 2048;

impl ChunkReader {
    /// What [`ChatCompletionChunk::read`] gives. Its beginning is kept where others like it are expected.
    ///
    /// # Errors
    /// As that.
    pub fn read<'a>(
        &mut self,
        text: &'a [u8],
        expects_more: bool,
    ) -> Result<ChatCompletionChunk<'a>, JsonError> {
        let mut chunk = ChatCompletionChunk::default();
        if !self.head.is_empty()
            && text.get(..self.head.len()).is_some_and(|head| are_equal(head, &self.head))
        {
            chunk.read_members(Scanner::at_value(text, self.head.len(), 1), true)?;
            return Ok(chunk);
        }
        let mut scanner = Scanner::new(text);
        scanner.begin_object()?;
        let choices_at = chunk.read_members(scanner, false)?;
        if let Some(head) = choices_at
            .filter(|_| expects_more)
            .and_then(|at| text.get(..at))
            .filter(|head| head.len() <= MAX_HEAD_BYTES)
        {
            self.head.clear();
            self.head.extend_from_slice(head);
        }
        Ok(chunk)
    }
}

/// The choice with index 0, or the first that has none.
#[derive(Default)]
struct FirstChoice<'a> {
    choice: Choice<'a>,
    is_found: bool,
}

impl<'a> FirstChoice<'a> {
    /// Reads it out of the list that comes next. Whether that is one.
    fn read(&mut self, scanner: &mut Scanner<'a>) -> Result<bool, JsonError> {
        if std::mem::take(&mut self.is_found) {
            self.choice = Choice::default();
        }
        if scanner.kind()? != Kind::Array {
            scanner.value()?;
            return Ok(false);
        }
        scanner.begin_array()?;
        while scanner.next_element()? {
            if self.is_found || scanner.kind()? != Kind::Object {
                scanner.value()?;
                continue;
            }
            self.choice.read(scanner)?;
            self.is_found = self.choice.index == 0;
            if !self.is_found {
                self.choice = Choice::default();
            }
        }
        Ok(true)
    }
}

#[derive(Default)]
struct Choice<'a> {
    index: u64,
    delta: Option<Delta<'a>>,
    message: Option<Delta<'a>>,
    text: Option<RawStr<'a>>,
    finish_reason: Option<FinishReason>,
    logprobs: Option<RawJson<'a>>,
    usage: Usage,
    is_error: bool,
}

impl<'a> Choice<'a> {
    #[inline]
    fn read(&mut self, scanner: &mut Scanner<'a>) -> Result<(), JsonError> {
        let mut scratch = [0; KEY_BYTES];
        scanner.begin_object()?;
        while let Some(key) = scanner.next_key()? {
            match key.lookup(&mut scratch) {
                b"index" => self.index = number(scanner.value()?).unwrap_or(0),
                b"delta" => Delta::read(&mut self.delta, scanner)?,
                b"message" => Delta::read(&mut self.message, scanner)?,
                b"text" => self.text = scanner.value()?.as_str(),
                b"finish_reason" => self.finish_reason = FinishReason::read(scanner.value()?),
                b"logprobs" => self.logprobs = token_logprobs(scanner.value()?)?,
                b"usage" if scanner.kind()? == Kind::Object => self.usage = Usage::read(scanner.value()?)?,
                b"error" => self.is_error = says_error(scanner.value()?),
                _ => scanner.skip()?,
            }
        }
        Ok(())
    }
}

impl<'a> Delta<'a> {
    /// `None` where the member is no object. A member of another kind than expected is an absent one.
    #[inline]
    fn read(place: &mut Option<Self>, scanner: &mut Scanner<'a>) -> Result<(), JsonError> {
        if scanner.kind()? != Kind::Object {
            scanner.value()?;
            *place = None;
            return Ok(());
        }
        let delta = place.insert(Delta::default());
        let mut scratch = [0; KEY_BYTES];
        let mut reasoning = RawStr::default();
        scanner.begin_object()?;
        while let Some(key) = scanner.next_key()? {
            let name = key.lookup(&mut scratch);
            let of_kind = |value: RawJson<'a>, kind| Some(value).filter(|value| value.kind() == kind);
            match name {
                // Nearly always a string, which is then looked at once.
                b"content" if scanner.kind()? == Kind::String => {
                    (delta.content, delta.parts) = (scanner.string()?, None);
                }
                b"content" => {
                    delta.content = RawStr::default();
                    delta.parts = of_kind(scanner.value()?, Kind::Array);
                }
                b"reasoning_content" => delta.reasoning = scanner.value()?.as_str().unwrap_or_default(),
                b"reasoning" => reasoning = scanner.value()?.as_str().unwrap_or_default(),
                b"reasoning_details" => {
                    delta.reasoning_details = of_kind(scanner.value()?, Kind::Array);
                }
                b"refusal" => delta.refusal = scanner.value()?.as_str().unwrap_or_default(),
                b"tool_calls" => delta.tool_calls = of_kind(scanner.value()?, Kind::Array),
                b"function_call" => delta.function_call = of_kind(scanner.value()?, Kind::Object),
                _ => scanner.skip()?,
            }
        }
        // Gateways send the same text under both names.
        if delta.reasoning.is_empty() {
            delta.reasoning = reasoning;
        }
        let is_said = !delta.reasoning.is_empty();
        delta.reasoning_details =
            delta.reasoning_details.filter(|details| !is_said && !details.is_empty_container());
        Ok(())
    }
}

impl FinishReason {
    /// `null`, `""` and the text `"null"` mean that the model goes on.
    fn read(value: RawJson<'_>) -> Option<Self> {
        match value.as_str()?.decode().as_ref() {
            "" | "null" => None,
            "length" | "max_tokens" => Some(FinishReason::Length),
            "error" | "abort" => Some(FinishReason::Failed),
            _ => Some(FinishReason::Stop),
        }
    }
}

impl Usage {
    /// Reads the object.
    pub(super) fn read(value: RawJson<'_>) -> Result<Self, JsonError> {
        let mut usage = Usage::default();
        value.each_member(|name, value| {
            match name {
                b"prompt_tokens" => usage.prompt_tokens = number(value),
                b"completion_tokens" => usage.completion_tokens = number(value),
                _ => {}
            }
            Ok::<(), JsonError>(())
        })?;
        Ok(usage)
    }
}

fn read_timings(value: RawJson<'_>) -> Result<Timings, JsonError> {
    let mut timings = Timings::default();
    value.each_member(|name, value| {
        match name {
            b"prompt_ms" => timings.prompt_ns = milliseconds(value),
            b"predicted_ms" => timings.predicted_ns = milliseconds(value),
            _ => {}
        }
        Ok::<(), JsonError>(())
    })?;
    Ok(timings)
}

/// The `content` list of a `logprobs` object.
fn token_logprobs(value: RawJson<'_>) -> Result<Option<RawJson<'_>>, JsonError> {
    let mut found = None;
    value.each_member(|name, value| {
        if name == b"content" {
            found = Some(value).filter(|list| list.kind() == Kind::Array && !list.is_empty_container());
        }
        Ok::<(), JsonError>(())
    })?;
    Ok(found)
}

/// `error: null`, `false` and `""` say that there is none.
fn says_error(value: RawJson<'_>) -> bool {
    !matches!(value.bytes(), b"null" | b"false" | b"\"\"")
}

/// A count, as far as a signed 64-bit reader can take it. Some backends write `12.0`; a fraction is cut off.
fn number(value: RawJson<'_>) -> Option<u64> {
    if let [digit @ b'0'..=b'9'] = value.bytes() {
        return Some(u64::from(digit - b'0'));
    }
    let text = std::str::from_utf8(value.bytes()).ok().filter(|_| value.kind() == Kind::Number)?;
    let float = || text.parse::<f64>().ok().filter(|count| *count >= 0.0).map(|count| count as u64);
    text.parse().ok().or_else(float).map(|count: u64| count.min(i64::MAX as u64))
}

fn milliseconds(value: RawJson<'_>) -> Option<u64> {
    let text = std::str::from_utf8(value.bytes()).ok().filter(|_| value.kind() == Kind::Number)?;
    text.parse::<f64>().ok().filter(|ms| *ms >= 0.0).map(|ms| (ms * 1e6) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> ChatCompletionChunk<'_> {
        ChatCompletionChunk::read(text.as_bytes()).unwrap()
    }

    fn content(text: &str) -> String {
        read(text).delta.content.decode().into_owned()
    }

    #[test]
    fn the_usual_chunk() {
        let chunk = read(
            r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":"f",
            "choices":[{"index":0,"delta":{"role":"assistant","content":" Hi\n"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"x"}"#,
        );
        assert_eq!(chunk.delta.content.raw(), br" Hi\n");
        assert!(chunk.has_choice && !chunk.is_error && chunk.finish_reason.is_none());
        assert_eq!(chunk.usage, Usage::default());
    }

    #[test]
    fn whole_answers_and_completions_are_read_by_the_same_reader() {
        assert_eq!(content(r#"{"choices":[{"message":{"content":"a"}}]}"#), "a");
        assert_eq!(content(r#"{"choices":[{"text":"b"}]}"#), "b");
        assert_eq!(content(r#"{"ch\u006fices":[{"delta":{"c\u006fntent":"c"}}]}"#), "c");
    }

    #[test]
    fn what_is_null_missing_or_of_another_kind_is_absent() {
        for text in [
            r#"{"choices":[{"delta":{"content":null,"role":null,"reasoning":{"x":1},"tool_calls":null}}]}"#,
            r#"{"choices":[{"delta":null}]}"#,
            r#"{"choices":[{"delta":{}}]}"#,
            r#"{"choices":[{}]}"#,
            r#"{"choices":[null]}"#,
            r#"{"choices":[],"prompt_filter_results":[{"a":[]}]}"#,
            r#"{"choices":null,"usage":null}"#,
            "{}",
        ] {
            let chunk = read(text);
            assert!(!chunk.is_error, "{text}");
            assert_eq!((chunk.delta, chunk.finish_reason), (Delta::default(), None), "{text}");
        }
    }

    #[test]
    fn reasoning_details_count_only_where_no_reasoning_has_a_text() {
        let details = |more: &str| {
            let text =
                format!(r#"{{"choices":[{{"delta":{{"reasoning_details":[{{"text":"hm"}}]{more}}}}}]}}"#);
            read(&text).delta.reasoning_details.is_some()
        };
        assert!(details(""));
        assert!(details(r#","reasoning":"","reasoning_content":null"#));
        assert!(!details(r#","reasoning":"hm""#));
        assert!(!details(r#","reasoning_details":[]"#));
        assert!(!details(r#","reasoning_details":"hm""#));
    }

    #[test]
    fn only_choice_zero_counts_wherever_it_stands() {
        assert_eq!(
            content(
                r#"{"choices":[{"index":1,"delta":{"content":"b"}},{"delta":{"content":"a"},"index":0}]}"#
            ),
            "a"
        );
    }

    #[test]
    fn the_last_of_two_equal_members_wins() {
        assert_eq!(content(r#"{"choices":[{"delta":{"content":"a","content":"b"}}]}"#), "b");
    }

    /// Whatever a stream's chunk before was, each reads as it does alone.
    #[test]
    fn a_chunk_behind_another_reads_as_alone() {
        let choices = |text: &str| format!(r#""choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]"#);
        let mut texts = vec!["{}".to_string(), r#"{"choices":[]}"#.to_string(), r#"{"choices":"#.to_string()];
        for before in [
            r#""id":"a","#,
            r#""id":"b","object":"x","#,
            r#""object":"error","#,
            r#""usage":{"prompt_tokens":3},"#,
            r#""timings":{"prompt_ms":1},"#,
            r#""message":"m","#,
            r#""error":"e","#,
            r#""choices":[{"delta":{"content":"x"}}],"#,
            r#""choices":null,"#,
        ] {
            for behind in
                ["", r#","usage":{"prompt_tokens":4}"#, r#","error":1"#, r#","choices":null"#, "]", ","]
            {
                texts.extend(["a", "b"].map(|text| format!("{{{before}{}{behind}}}", choices(text))));
            }
            texts.push(format!("{{{before}\"choices\":null}}"));
            texts.push(format!(
                "{{{before}\"choices\":[{{\"index\":1}},7,{{\"text\":\"t\"}},{{\"text\":\"u\"}}]}}"
            ));
        }
        for first in &texts {
            let mut reader = ChunkReader::default();
            let _ = reader.read(first.as_bytes(), true);
            for text in &texts {
                let mut reader = ChunkReader { head: reader.head.clone() };
                let expected = ChatCompletionChunk::read(text.as_bytes());
                assert_eq!(reader.read(text.as_bytes(), true), expected, "{first} {text}");
                assert_eq!(reader.read(text.as_bytes(), true), expected, "{text} twice");
            }
        }
    }

    #[test]
    fn finish_reasons() {
        for (word, expected) in [
            ("null", None),
            (r#""""#, None),
            (r#""null""#, None),
            (r#""stop""#, Some(FinishReason::Stop)),
            (r#""tool_calls""#, Some(FinishReason::Stop)),
            (r#""content_filter""#, Some(FinishReason::Stop)),
            (r#""eos_token""#, Some(FinishReason::Stop)),
            (r#""length""#, Some(FinishReason::Length)),
            (r#""max_tokens""#, Some(FinishReason::Length)),
            (r#""error""#, Some(FinishReason::Failed)),
            (r#""abort""#, Some(FinishReason::Failed)),
        ] {
            let text = format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":{word}}}]}}"#);
            assert_eq!(read(&text).finish_reason, expected, "{word}");
        }
    }

    #[test]
    fn usage_takes_whole_floats_and_nothing_odd() {
        let usage = |text: &str| read(&format!(r#"{{"choices":[],"usage":{text}}}"#)).usage;
        let counts = |prompt, completion| Usage { prompt_tokens: prompt, completion_tokens: completion };
        assert_eq!(
            usage(r#"{"prompt_tokens":7,"completion_tokens":9.0,"total_tokens":16}"#),
            counts(Some(7), Some(9))
        );
        assert_eq!(usage(r#"{"prompt_tokens":"7","completion_tokens":-1}"#), counts(None, None));
        assert_eq!(usage(r#"{"completion_tokens":1e400}"#), counts(None, Some(i64::MAX as u64)));
        assert_eq!(
            usage(r#"{"prompt_tokens":1.5,"completion_tokens":18446744073709551615}"#),
            counts(Some(1), Some(i64::MAX as u64))
        );
    }

    #[test]
    fn timings_are_nanoseconds() {
        let chunk = read(r#"{"choices":[],"timings":{"prompt_ms":1.5,"predicted_ms":0.000001}}"#);
        assert_eq!(chunk.timings, Timings { prompt_ns: Some(1_500_000), predicted_ns: Some(1) });
    }

    #[test]
    fn reasoning_is_taken_once_under_either_name() {
        let reasoning = |text: &str| read(text).delta.reasoning.decode().into_owned();
        assert_eq!(reasoning(r#"{"choices":[{"delta":{"reasoning":"b"}}]}"#), "b");
        assert_eq!(reasoning(r#"{"choices":[{"delta":{"reasoning":"a","reasoning_content":"a"}}]}"#), "a");
    }

    #[test]
    fn every_shape_of_an_error_is_one() {
        for text in [
            r#"{"error":{"message":"m","code":500}}"#,
            r#"{"error":{"message":"m"},"choices":[]}"#,
            r#"{"choices":[{"error":{"message":"m"},"finish_reason":"error"}]}"#,
            r#"{"error":"text"}"#,
            r#"{"object":"error","message":"m"}"#,
            r#"{"error":{"x":1},"message":"m"}"#,
            r#"{"type":"error","error":{"message":"m"}}"#,
            r#"{"detail":"d"}"#,
            r#"{"code":400,"message":"m","type":"t"}"#,
        ] {
            assert!(read(text).is_error, "{text}");
        }
        for text in [r#"{"error":null,"choices":[]}"#, r#"{"error":"","choices":[{"delta":{}}]}"#] {
            assert!(!read(text).is_error, "{text}");
        }
    }

    #[test]
    fn what_is_no_complete_object_is_refused() {
        for text in ["", "[]", "{", r#"{"choices":[{"delta":{"content":"a}"#, "{} x", "hello"] {
            assert!(ChatCompletionChunk::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
