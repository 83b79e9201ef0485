//! One response as it arrives: its head, the framing of its body, and the answer inside, read and checked together.
//!
//! It refuses a status other than 200 and bytes after the end, since no request was sent ahead.

use crate::answer::{Answer, Api};
use crate::http::{Body, head_len, head_text, status};
use crate::{request::Request, scenario::Scenario};
use hdrhistogram::Histogram;

/// The response being read.
#[derive(Debug)]
pub struct Incoming {
    answer: Answer,
    head: Vec<u8>,
    body: Option<Body>,
}

impl Incoming {
    /// The response to a request as it was last stamped.
    pub fn new(api: Api, scenario: Scenario, request: &Request) -> Self {
        Self { answer: Answer::new(api, scenario, request.expected()), head: Vec::new(), body: None }
    }

    /// Tokens checked so far.
    pub fn seen(&self) -> u32 {
        self.answer.seen()
    }

    /// True when the whole body is there.
    pub fn is_done(&self) -> bool {
        self.body.is_some_and(Body::is_done)
    }

    /// Takes what one read brought at `now_ns`; nothing read is a fault, since the end is known before it comes.
    pub fn push(&mut self, read: &[u8], now_ns: u64, delays: &mut Histogram<u64>) -> Result<(), String> {
        if read.is_empty() {
            return Err(format!("connection closed inside an answer, after {} tokens", self.seen()));
        }
        if let Some(body) = self.body.as_mut() {
            return content(body, &mut self.answer, read, now_ns, delays);
        }
        self.head.extend_from_slice(read);
        let Some(end) = head_len(&self.head) else { return Ok(()) };
        let text = head_text(self.head.get(..end).unwrap_or_default())?;
        if status(text)? != 200 {
            return Err(format!("answer: {}", String::from_utf8_lossy(&self.head)));
        }
        let body = self.body.insert(Body::from_head(text)?);
        content(body, &mut self.answer, self.head.get(end..).unwrap_or_default(), now_ns, delays)
    }

    /// Says whether the complete body was the complete answer.
    pub fn finish(self, now_ns: u64, delays: &mut Histogram<u64>) -> Result<(), String> {
        self.answer.finish(now_ns, delays)
    }
}

fn content(
    body: &mut Body,
    answer: &mut Answer,
    read: &[u8],
    now_ns: u64,
    delays: &mut Histogram<u64>,
) -> Result<(), String> {
    let used = body.read(read, |bytes| answer.push(bytes, now_ns, delays))?;
    match read.len() - used {
        0 => Ok(()),
        left => Err(format!("{left} bytes after the answer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{WHOLE_TOKENS, whole_text};
    use crate::report::histogram;

    fn read(wire: &str, cut: usize) -> Result<bool, String> {
        let mut request = Request::new(Api::Ollama, "whole", Scenario::Whole)?;
        request.stamp(1);
        let mut incoming = Incoming::new(Api::Ollama, Scenario::Whole, &request);
        for part in wire.as_bytes().chunks(cut) {
            incoming.push(part, 1, &mut histogram()?)?;
        }
        let is_done = incoming.is_done();
        if is_done { incoming.finish(1, &mut histogram()?).map(|()| true) } else { Ok(false) }
    }

    fn wire(status: &str) -> String {
        let text = whole_text("0000000000000001", None);
        let body =
            format!("{{\"message\":{{\"content\":\"{text}\"}},\"done\":true,\"eval_count\":{WHOLE_TOKENS}}}");
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    #[test]
    fn a_response_cut_anywhere_is_read() {
        let good = wire("200 OK");
        for cut in 1..=good.len() {
            assert_eq!(read(&good, cut), Ok(true), "cut {cut}");
        }
        assert_eq!(read(&good[..good.len() - 1], 50), Ok(false));
    }

    #[test]
    fn another_status_and_bytes_after_the_end_are_faults() {
        assert!(read(&wire("500 No"), 4000).is_err());
        assert!(read(&(wire("200 OK") + "x"), 4000).is_err());
        let mut request = Request::new(Api::Ollama, "whole", Scenario::Whole).unwrap();
        request.stamp(1);
        let mut incoming = Incoming::new(Api::Ollama, Scenario::Whole, &request);
        assert!(incoming.push(b"", 1, &mut histogram().unwrap()).is_err());
    }
}
