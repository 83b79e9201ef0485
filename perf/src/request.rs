//! The bytes of one chat request in either dialect, built once and stamped per call with a nonce.

use crate::{answer::Api, scenario::Scenario, token::write_hex};

/// A request ready to be written.
#[derive(Clone, Debug)]
pub struct Request {
    bytes: Vec<u8>,
    nonce_at: usize,
    nonce: String,
}

/// What stands before the nonce in the user's message.
pub const NONCE_MARK: &str = "perf nonce ";
/// Hex digits of the nonce.
pub const NONCE_LEN: usize = 16;

impl Request {
    /// A chat request for `model`, streamed unless the scenario is a whole answer.
    pub fn new(api: Api, model: &str, scenario: Scenario) -> Self {
        let is_streamed = scenario != Scenario::Whole;
        let (path, usage) = match api {
            Api::OpenAi if is_streamed => {
                ("/v1/chat/completions", ",\"stream_options\":{\"include_usage\":true}")
            }
            Api::OpenAi => ("/v1/chat/completions", ""),
            Api::Ollama => ("/api/chat", ""),
        };
        let message = format!("{{\"role\":\"user\",\"content\":\"{NONCE_MARK}{}\"}}", "0".repeat(NONCE_LEN));
        let body =
            format!("{{\"model\":\"{model}\",\"messages\":[{message}],\"stream\":{is_streamed}{usage}}}");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let bytes = head + &body;
        let nonce_at = bytes.find(NONCE_MARK).map_or(bytes.len(), |at| at + NONCE_MARK.len());
        Self { bytes: bytes.into_bytes(), nonce_at, nonce: String::new() }
    }

    /// Stamps the nonce, by which a whole answer shows that it belongs to this very request.
    pub fn stamp(&mut self, nonce: u64) {
        if let Some(digits) = self.bytes.get_mut(self.nonce_at..self.nonce_at + NONCE_LEN) {
            write_hex(nonce, digits);
            self.nonce = String::from_utf8_lossy(digits).into_owned();
        }
    }

    /// The bytes to write.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The nonce last stamped.
    pub fn nonce(&self) -> &str {
        &self.nonce
    }
}

/// The nonce in a request body, if there is one.
pub fn nonce_in(body: &str) -> Option<&str> {
    let (_, rest) = body.rsplit_once(NONCE_MARK)?;
    rest.get(..NONCE_LEN)
}
