//! The bytes of one request in either dialect, built once and stamped per call with a nonce.

use crate::answer::{Api, whole_text};
use crate::scenario::Scenario;
use crate::token::write_hex;
use crate::{digest, vectors};
use std::fmt::Write as _;

/// A request ready to be written.
#[derive(Clone, Debug)]
pub struct Request {
    bytes: Vec<u8>,
    nonce_at: usize,
    nonce: String,
    /// Of what it says, where the answer repeats it.
    digest: Option<u64>,
}

/// What stands before the nonce in the user's message.
pub const NONCE_MARK: &str = "perf nonce ";
/// Hex digits of the nonce.
pub const NONCE_LEN: usize = 16;
/// Bytes of one message of a history, about what people write.
const MESSAGE_LEN: usize = 2000;

impl Request {
    /// The request a scenario asks for, in a dialect.
    pub fn new(api: Api, model: &str, scenario: Scenario) -> Result<Self, String> {
        let path = match (api, scenario) {
            (Api::OpenAi, Scenario::Embed { .. }) => "/v1/embeddings",
            (Api::OpenAi, _) => "/v1/chat/completions",
            (Api::Ollama | Api::Ollama07, Scenario::Embed { .. }) => "/api/embed",
            (Api::Ollama | Api::Ollama07, _) => "/api/chat",
        };
        let body = match scenario {
            Scenario::Embed { inputs, .. } => {
                format!("{{\"model\":\"{model}\",\"input\":[{}]}}", vectors::inputs(inputs))
            }
            _ => chat(api, model, scenario),
        };
        let repeats = matches!(scenario, Scenario::History { .. } | Scenario::Image { .. });
        let digest = if repeats { Some(digest::of_body(body.as_bytes())?) } else { None };
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let bytes = head + &body;
        let nonce_at = bytes.rfind(NONCE_MARK).map_or(bytes.len(), |at| at + NONCE_MARK.len());
        Ok(Self { bytes: bytes.into_bytes(), nonce_at, nonce: String::new(), digest })
    }

    /// What a whole answer must say to the request as it was last stamped.
    pub fn expected(&self) -> String {
        whole_text(&self.nonce, self.digest)
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

fn chat(api: Api, model: &str, scenario: Scenario) -> String {
    let is_streamed = scenario.is_streamed();
    let nonce = format!("{NONCE_MARK}{}", "0".repeat(NONCE_LEN));
    let mut body = format!("{{\"model\":\"{model}\",\"messages\":[");
    if let Scenario::History { bytes } = scenario {
        for n in 0..bytes.div_ceil(MESSAGE_LEN as u32) {
            let role = if n % 2 == 0 { "user" } else { "assistant" };
            let _infallible = write!(body, "{{\"role\":\"{role}\",\"content\":\"{}\"}},", message(n));
        }
    }
    let _infallible = match (scenario, api) {
        (Scenario::Image { bytes }, Api::OpenAi) => write!(
            body,
            "{{\"role\":\"user\",\"content\":[{{\"type\":\"text\",\"text\":\"{nonce}\"}},{{\"type\":\"image_url\",\
             \"image_url\":{{\"url\":\"data:image/png;base64,{}\"}}}}]}}",
            picture(bytes)
        ),
        (Scenario::Image { bytes }, Api::Ollama | Api::Ollama07) => {
            write!(body, "{{\"role\":\"user\",\"content\":\"{nonce}\",\"images\":[\"{}\"]}}", picture(bytes))
        }
        _ => write!(body, "{{\"role\":\"user\",\"content\":\"{nonce}\"}}"),
    };
    let usage = match api {
        Api::OpenAi if is_streamed => ",\"stream_options\":{\"include_usage\":true}",
        _ => "",
    };
    let _infallible = write!(body, "],\"stream\":{is_streamed}{usage}}}");
    body
}

/// One message of a history, as it stands in a JSON string: prose, code and another script, with what needs escapes.
fn message(n: u32) -> String {
    let mut text = String::new();
    while text.len() < MESSAGE_LEN {
        let at = text.len();
        let _infallible = write!(
            text,
            "Message {n}, byte {at}: the quick brown fox jumps over the lazy dog.\\n    \
             if (a[\\\"{at}\\\"] != b) {{ return; }}\\n\u{fc}ber \u{65e5}\u{672c}\u{8a9e}\\t"
        );
    }
    text
}

/// A picture in base64: the signature of a PNG, then bytes that do not repeat.
fn picture(len: u32) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    while bytes.len() < len as usize {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    let mut out = String::with_capacity(bytes.len() * 4 / 3 + 4);
    // Whole groups of three only, so there is no padding to write.
    let (groups, _) = bytes.as_chunks::<3>();
    for [a, b, c] in groups {
        let group = u32::from(*a) << 16 | u32::from(*b) << 8 | u32::from(*c);
        for shift in [18, 12, 6, 0] {
            let letter = LETTERS.get((group >> shift & 63) as usize).copied().unwrap_or(b'A');
            out.push(char::from(letter));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_dialects_of_a_large_request_have_one_digest() {
        for scenario in [Scenario::History { bytes: 9000 }, Scenario::Image { bytes: 9000 }] {
            let one = |api| {
                let mut request = Request::new(api, "m", scenario).unwrap();
                request.stamp(7);
                assert!(request.bytes().len() > 9000);
                request.expected()
            };
            assert_eq!(one(Api::OpenAi), one(Api::Ollama));
            assert!(one(Api::Ollama).contains("0000000000000007"));
        }
    }

    #[test]
    fn a_picture_is_base64_of_a_png() {
        let text = picture(3000);
        assert!(text.starts_with("iVBORw0KGgoAAAANSUhEU"), "{}", &text[..40]);
        assert!(text.len() >= 4000 && text.len().is_multiple_of(4));
    }
}
