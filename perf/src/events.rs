//! The bytes of the backend's answers: events of nearly one length, whole completions, error bodies.
//!
//! Laid out once and stamped, so that writing a token costs the backend no allocation.

use crate::answer::WHOLE_TOKENS;
use crate::token;

/// Bytes of the event of a plain token, line ends included: what a hosted backend sends for a short token. One whose word
/// needs escapes is some bytes longer.
pub const EVENT_LEN: usize = 258;

/// The head of a streamed answer and the event that names the role.
pub fn stream_head(model: &str) -> Vec<u8> {
    let mut head =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    head.extend(chunk(&event(model, "{\"role\":\"assistant\",\"content\":\"\"}", "null", id_len(model))));
    head
}

/// The event with the reason why a stream stops.
pub fn stop(model: &str) -> Vec<u8> {
    chunk(&event(model, "{}", "\"stop\"", id_len(model)))
}

/// What follows it: the usage if it was asked for, the end marks of both protocols.
pub fn stream_end(model: &str, tokens: u32, has_usage: bool) -> Vec<u8> {
    let mut end = Vec::new();
    if has_usage {
        let usage = format!(
            "\"usage\":{{\"prompt_tokens\":9,\"completion_tokens\":{tokens},\"total_tokens\":{}}}",
            9 + u64::from(tokens)
        );
        let id = "a".repeat(id_len(model));
        let object =
            format!("\"id\":\"chatcmpl-{id}\",\"object\":\"chat.completion.chunk\",\"created\":1754000000");
        end =
            chunk(format!("data: {{{object},\"model\":\"{model}\",\"choices\":[],{usage}}}\n\n").as_bytes());
    }
    end.extend(chunk(b"data: [DONE]\n\n"));
    end.extend(b"0\r\n\r\n");
    end
}

/// The body of a whole answer.
pub fn completion(model: &str, text: &str) -> String {
    format!(
        "{{\"id\":\"chatcmpl-perf\",\"object\":\"chat.completion\",\"created\":1754000000,\"model\":\"{model}\",\
         \"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"{text}\"}},\
         \"finish_reason\":\"stop\"}}],\"usage\":{{\"prompt_tokens\":9,\"completion_tokens\":{WHOLE_TOKENS},\
         \"total_tokens\":{}}}}}",
        9 + WHOLE_TOKENS
    )
}

/// The body of a refusal.
pub fn error(message: &str) -> String {
    let message = message.replace(['"', '\\'], "'");
    format!(
        "{{\"error\":{{\"message\":\"{message}\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}}}"
    )
}

/// The tokens of one stream, one after the other.
#[derive(Debug)]
pub struct Tokens {
    plain: TokenEvent,
    escaped: TokenEvent,
}

impl Tokens {
    /// For one model's stream.
    pub fn new(model: &str) -> Self {
        Self { plain: TokenEvent::new(model, 0), escaped: TokenEvent::new(model, 7) }
    }

    /// The chunk of token `number`, written now.
    pub fn stamped(&mut self, number: u32) -> &[u8] {
        let event = if number % 8 == 7 { &mut self.escaped } else { &mut self.plain };
        event.stamped(number)
    }
}

/// How long the id of a stream is beside its beginning, so that the event of a plain token has [`EVENT_LEN`]. It is the
/// same in all events of a stream, as the API says.
fn id_len(model: &str) -> usize {
    EVENT_LEN.saturating_sub(event(model, &delta(0), "null", 0).len())
}

/// What token `number` adds, with a mark where its time and number will stand.
fn delta(number: u32) -> String {
    let mark = "#".repeat(token::TIME_LEN + token::NUMBER_LEN);
    format!("{{\"content\":\"{mark}{}\"}}", token::word_in_json(number))
}

/// One event; its id ends in so many letters.
fn event(model: &str, delta: &str, finish_reason: &str, id_len: usize) -> Vec<u8> {
    let id = "a".repeat(id_len);
    let object = "\"object\":\"chat.completion.chunk\",\"created\":1754000000";
    let choice = format!("{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish_reason}}}");
    format!("data: {{\"id\":\"chatcmpl-{id}\",{object},\"model\":\"{model}\",\"choices\":[{choice}]}}\n\n")
        .into_bytes()
}

fn chunk(content: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", content.len()).into_bytes();
    chunk.extend_from_slice(content);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// One token's chunk, laid out once; only time and number change.
#[derive(Debug)]
struct TokenEvent {
    chunk: Vec<u8>,
    text_at: usize,
}

impl TokenEvent {
    fn new(model: &str, number: u32) -> Self {
        let chunk = chunk(&event(model, &delta(number), "null", id_len(model)));
        let text_at = chunk.iter().position(|byte| *byte == b'#').unwrap_or(chunk.len());
        Self { chunk, text_at }
    }

    fn stamped(&mut self, number: u32) -> &[u8] {
        token::stamp(self.chunk.get_mut(self.text_at..).unwrap_or_default(), number);
        &self.chunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_events_have_the_length_they_claim() {
        let mut tokens = Tokens::new("stream-10000");
        let escapes = token::word_in_json(7).len() - token::word_in_json(0).len();
        for (number, size, longer) in [(0, "102\r\n", 0), (7, "105\r\n", escapes)] {
            let event = tokens.stamped(number);
            assert!(event.starts_with(size.as_bytes()));
            assert_eq!(event.len(), EVENT_LEN + 7 + longer);
        }
    }

    #[test]
    fn all_events_of_a_stream_have_one_id() {
        let model = "stream-10000";
        let mut tokens = Tokens::new(model);
        let events = [
            stream_head(model),
            tokens.stamped(0).to_vec(),
            tokens.stamped(7).to_vec(),
            stop(model),
            stream_end(model, 2, true),
        ];
        let ids = events.map(|event| {
            let event = String::from_utf8(event).unwrap();
            let (_, id) = event.split_once("\"id\":\"").unwrap();
            id.split_once('"').unwrap().0.to_string()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }
}
