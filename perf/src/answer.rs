//! Reads one answer as it arrives, in either dialect, and checks its every token; gives each token's delay.
//!
//! The text is checked as one run of bytes, so a proxy may merge or split events. It refuses an error line, a line that
//! is no object, a text that differs, too few or too many tokens, a usage that does not fit, and anything after the end.

use crate::{scenario::Scenario, token, vectors};
use hdrhistogram::Histogram;
use std::str::FromStr;

/// Which dialect the answer is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// The backend's: SSE, `data: {...}`.
    OpenAi,
    /// The proxy's: one JSON object a line.
    Ollama,
    /// The predecessor's: Ollama's, but its streamed chats have their text in `response`, end twice and count nothing.
    Ollama07,
}

impl Api {
    /// Before the number of tokens the answer says it cost.
    fn usage(self) -> &'static [u8] {
        match self {
            Self::OpenAi => b"\"completion_tokens\":",
            Self::Ollama | Self::Ollama07 => b"\"eval_count\":",
        }
    }

    /// Before the text of a line.
    fn content(self, expected: &Expected) -> &'static [u8] {
        match (self, expected) {
            (Self::Ollama07, Expected::Tokens(_)) => b"\"response\":",
            _ => b"\"content\":",
        }
    }
}

impl FromStr for Api {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "openai" => Ok(Self::OpenAi),
            "ollama" => Ok(Self::Ollama),
            "ollama-0.7" => Ok(Self::Ollama07),
            _ => Err(()),
        }
    }
}

/// The text of a whole answer to the question with this nonce; after a large request it holds the digest of what came.
pub fn whole_text(nonce: &str, digest: Option<u64>) -> String {
    match digest {
        None => format!("Answer {nonce}: the quick brown fox jumps over the lazy dog."),
        Some(digest) => format!("Answer {nonce}: digest {digest:016x}"),
    }
}

/// What the answer must hold.
#[derive(Debug)]
enum Expected {
    /// So many numbered tokens.
    Tokens(u32),
    /// This text, in one object.
    Text(String),
    /// So many vectors of so many numbers.
    Vectors(u32, u32),
}

/// The answer being read.
#[derive(Debug)]
pub struct Answer {
    api: Api,
    expected: Expected,
    /// A line cut by the end of a read.
    line: Vec<u8>,
    /// Unescaped text not yet checked: less than one token between two lines.
    text: Vec<u8>,
    seen: u32,
    /// Where the last line had its content: the next one most often has it there too.
    content_at: usize,
    saw_usage: bool,
    is_done: bool,
}

impl Answer {
    /// An answer to `scenario`; one that is not streamed must say `text`.
    pub fn new(api: Api, scenario: Scenario, text: String) -> Self {
        let expected = match scenario {
            Scenario::Whole | Scenario::History { .. } | Scenario::Image { .. } => Expected::Text(text),
            Scenario::Embed { inputs, dims } => Expected::Vectors(inputs, dims),
            Scenario::Stream { .. } | Scenario::Paced { .. } | Scenario::Hang => {
                Expected::Tokens(scenario.tokens())
            }
        };
        let (line, text) = (Vec::new(), Vec::new());
        Self { api, expected, line, text, seen: 0, content_at: 0, saw_usage: false, is_done: false }
    }

    /// Tokens checked so far.
    pub fn seen(&self) -> u32 {
        self.seen
    }

    /// Takes body bytes that arrived at `now_ns`; delays of the tokens in them go into `delays`.
    pub fn push(&mut self, mut bytes: &[u8], now_ns: u64, delays: &mut Histogram<u64>) -> Result<(), String> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (head, rest) = bytes.split_at(end);
            if self.line.is_empty() {
                self.take_line(head, now_ns, delays)?;
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(head);
                self.take_line(&line, now_ns, delays)?;
                line.clear();
                self.line = line;
            }
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    /// Says whether the complete body was the complete answer.
    pub fn finish(mut self, now_ns: u64, delays: &mut Histogram<u64>) -> Result<(), String> {
        let line = std::mem::take(&mut self.line);
        self.take_line(&line, now_ns, delays)?;
        if !self.is_done {
            return Err(format!("answer ends after {} tokens without its last line", self.seen));
        }
        let left = String::from_utf8_lossy(&self.text);
        match &self.expected {
            Expected::Text(expected) if left != *expected => {
                return Err(format!("whole answer says {left:?}, expected {expected:?}"));
            }
            Expected::Tokens(tokens) if self.seen != *tokens || !left.is_empty() => {
                return Err(format!("{} of {tokens} tokens, then {left:?}", self.seen));
            }
            Expected::Text(_) | Expected::Tokens(_) | Expected::Vectors(..) => {}
        }
        if !self.saw_usage {
            return Err("answer without usage".to_owned());
        }
        Ok(())
    }

    fn take_line(&mut self, line: &[u8], now_ns: u64, delays: &mut Histogram<u64>) -> Result<(), String> {
        let fault = |what: &str| {
            Err(format!("{what}: {:?}", String::from_utf8_lossy(line.get(..300).unwrap_or(line))))
        };
        let object = match (self.api, &self.expected) {
            (_, _) if line.is_empty() => return Ok(()),
            (Api::Ollama07, Expected::Tokens(_)) if self.is_done && is_last(line) => return Ok(()),
            _ if self.is_done => return fault("a line after the last"),
            (Api::OpenAi, Expected::Tokens(_)) => match line.strip_prefix(b"data: ") {
                Some(b"[DONE]") => {
                    self.is_done = true;
                    return Ok(());
                }
                Some(data) => data,
                None => return fault("not an event"),
            },
            _ => line,
        };
        if !object.starts_with(b"{") || !object.ends_with(b"}") || object.starts_with(b"{\"error\"") {
            return fault("not an answer");
        }
        match self.expected {
            Expected::Vectors(inputs, dims) => {
                vectors::check(object, inputs, dims)?;
                (self.is_done, self.saw_usage) = (true, true);
            }
            Expected::Text(_) => {
                self.take_content(object)?;
                self.is_done = self.api == Api::OpenAi || is_last(object);
                self.saw_usage = number_after(object, self.api.usage()) == Some(WHOLE_TOKENS);
            }
            Expected::Tokens(tokens) => {
                self.take_content(object)?;
                self.check_tokens(now_ns, delays)?;
                // Only the lines after the last token can hold these; the others are not searched for them.
                if self.seen == tokens {
                    self.is_done = self.api != Api::OpenAi && is_last(object);
                    self.saw_usage |= self.is_done && self.api == Api::Ollama07;
                    if let Some(count) = number_after(object, self.api.usage()) {
                        self.saw_usage = count == u64::from(tokens);
                    }
                }
            }
        }
        Ok(())
    }

    /// Unescapes the line's content onto `text`.
    fn take_content(&mut self, object: &[u8]) -> Result<(), String> {
        let key = self.api.content(&self.expected);
        let at_last = object.get(self.content_at..).is_some_and(|rest| rest.starts_with(key));
        if !at_last {
            let Some(at) = find(object, key) else { return Ok(()) };
            self.content_at = at;
        }
        let value = object.get(self.content_at + key.len()..).unwrap_or_default();
        // Null is no content; Python's writer puts a space after the colon.
        match value.strip_prefix(b" ").unwrap_or(value).strip_prefix(b"\"") {
            Some(string) => unescape(string, &mut self.text),
            None => Ok(()),
        }
    }

    fn check_tokens(&mut self, now_ns: u64, delays: &mut Histogram<u64>) -> Result<(), String> {
        let mut at = 0;
        while let Some(text) = self.text.get(at..at + token::TEXT_LEN) {
            let delay_ns = token::check(text, self.seen, now_ns)?;
            delays.saturating_record(delay_ns.max(1));
            self.seen += 1;
            at += token::TEXT_LEN;
        }
        self.text.drain(..at);
        Ok(())
    }
}

/// The completion tokens a whole answer is said to have cost.
pub const WHOLE_TOKENS: u64 = 12;

fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|window| window == needle)
}

fn is_last(object: &[u8]) -> bool {
    find(object, b"\"done\":true").or_else(|| find(object, b"\"done\": true")).is_some()
}

fn number_after(object: &[u8], key: &[u8]) -> Option<u64> {
    let rest = object.get(find(object, key)? + key.len()..)?;
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()
}

/// Appends a JSON string's text, from after its opening quote to its closing one.
pub(crate) fn unescape(mut rest: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let fault = || Err("content is not a JSON string".to_owned());
    loop {
        let Some(plain) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')) else { return fault() };
        let (head, tail) = rest.split_at(plain);
        out.extend_from_slice(head);
        rest = match tail {
            [b'"', ..] => return Ok(()),
            [b'\\', b'u', tail @ ..] => {
                let Some((unit, mut after)) = code_unit(tail) else { return fault() };
                let mut units = vec![unit];
                if let (0xd800..0xdc00, [b'\\', b'u', low @ ..]) = (unit, after)
                    && let Some((low, end)) = code_unit(low)
                {
                    units.push(low);
                    after = end;
                }
                let Ok(text) = String::from_utf16(&units) else { return fault() };
                out.extend_from_slice(text.as_bytes());
                after
            }
            [b'\\', letter, tail @ ..] => {
                out.push(match letter {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'b' => 8,
                    b'f' => 12,
                    b'"' | b'\\' | b'/' => *letter,
                    _ => return fault(),
                });
                tail
            }
            _ => return fault(),
        };
    }
}

fn code_unit(rest: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, rest) = rest.split_at_checked(4)?;
    Some((u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::unix_ns, report::histogram, scenario::Writes};

    fn content(number: u32) -> String {
        let mut text = vec![b'0'; token::TIME_LEN + token::NUMBER_LEN];
        token::stamp(&mut text, number);
        String::from_utf8(text).unwrap() + token::word_in_json(number)
    }

    fn stream(tokens: u32) -> Scenario {
        Scenario::Stream { tokens, writes: Writes::Events(1) }
    }

    fn ollama(tokens: u32, usage: u32) -> String {
        let line = |n| {
            format!(
                "{{\"message\":{{\"role\":\"assistant\",\"content\":\"{}\"}},\"done\":false}}\n",
                content(n)
            )
        };
        let lines: String = (0..tokens).map(line).collect();
        format!("{lines}{{\"message\":{{\"content\":\"\"}},\"done\":true,\"eval_count\":{usage}}}\n")
    }

    fn read(api: Api, scenario: Scenario, wire: &[u8], cut: usize) -> Result<u64, String> {
        let (mut answer, mut delays) = (Answer::new(api, scenario, whole_text("n", None)), histogram()?);
        for part in wire.chunks(cut) {
            answer.push(part, unix_ns(), &mut delays)?;
        }
        answer.finish(unix_ns(), &mut delays)?;
        Ok(delays.len())
    }

    #[test]
    fn an_ollama_stream_cut_anywhere_passes() {
        let wire = ollama(9, 9);
        for cut in 1..wire.len() {
            assert_eq!(read(Api::Ollama, stream(9), wire.as_bytes(), cut), Ok(9), "cut {cut}");
        }
    }

    #[test]
    fn a_stream_written_with_spaces_passes() {
        let wire = ollama(9, 9).replace("\":", "\": ");
        assert_eq!(read(Api::Ollama, stream(9), wire.as_bytes(), 50), Ok(9));
    }

    #[test]
    fn the_predecessor_s_stream_passes_in_its_own_dialect_only_and_not_with_a_lost_token() {
        let line = |n| format!("{{\"response\": \"{}\", \"done\": false}}\n", content(n));
        let last = "{\"response\": \"\", \"done\": true}\n".repeat(2);
        let wire = |tokens: std::ops::Range<u32>| tokens.map(line).collect::<String>() + &last;
        assert_eq!(read(Api::Ollama07, stream(9), wire(0..9).as_bytes(), 50), Ok(9));
        assert!(read(Api::Ollama, stream(9), wire(0..9).as_bytes(), 50).is_err());
        assert!(read(Api::Ollama07, stream(9), wire(0..8).as_bytes(), 50).is_err());
        assert!(read(Api::Ollama07, stream(9), wire(1..9).as_bytes(), 50).is_err());
    }

    #[test]
    fn an_openai_stream_passes_and_its_prefix_does_not() {
        let event =
            |n| format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", content(n));
        let events: String = (0..9).map(event).collect();
        let wire = format!("{events}data: {{\"usage\":{{\"completion_tokens\":9}}}}\n\ndata: [DONE]\n\n");
        let scenario = stream(9);
        assert_eq!(read(Api::OpenAi, scenario, wire.as_bytes(), 7), Ok(9));
        for end in 0..wire.len() - 3 {
            assert!(read(Api::OpenAi, scenario, &wire.as_bytes()[..end], 50).is_err(), "prefix {end}");
        }
    }

    #[test]
    fn wrong_answers_are_faults() {
        let scenario = stream(9);
        for wrong in [
            ollama(8, 9),
            ollama(9, 8),
            ollama(10, 10),
            ollama(9, 9).replace(" token", " tokem"),
            ollama(9, 9) + "{\"done\":true}\n",
            "{\"error\":\"no\"}\n".to_owned(),
        ] {
            assert!(read(Api::Ollama, scenario, wrong.as_bytes(), 64).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_whole_answer_must_say_its_nonce() {
        let body = |nonce| {
            let text = whole_text(nonce, None);
            format!("{{\"message\":{{\"content\":\"{text}\"}},\"done\":true,\"eval_count\":{WHOLE_TOKENS}}}")
        };
        assert_eq!(read(Api::Ollama, Scenario::Whole, body("n").as_bytes(), 9), Ok(0));
        assert!(read(Api::Ollama, Scenario::Whole, body("m").as_bytes(), 9).is_err());
    }

    #[test]
    fn escapes_of_every_kind_are_read() {
        let mut out = Vec::new();
        unescape(br#"a\u00e9\ud83d\ude00\n\t\"\\\/" rest"#, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "a\u{e9}\u{1f600}\n\t\"\\/");
        assert!(unescape(br"\x", &mut Vec::new()).is_err());
        assert!(unescape(b"no end", &mut Vec::new()).is_err());
    }
}
