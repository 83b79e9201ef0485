//! [`ApiError`]: what backends put in error bodies, brought to one text.
//!
//! The shapes (OpenAI, vLLM, FastAPI, Mistral, Gemini, TGI, llama.cpp, problem+json, HTML from a gateway, plain text,
//! nothing) are those of the dialect catalogue's rows E8, E9 and E11.

use super::Wait;
use crate::wire::{Kind, Scanner};
use simd_json::BorrowedValue;
use simd_json::prelude::{TypedScalarValue, ValueAsArray, ValueAsScalar, ValueObjectAccess};

/// Longest text handed on, in bytes: more is a page, not a message.
const MAX_MESSAGE_BYTES: usize = 4096;
/// Longest text taken from an HTML page.
const MAX_PAGE_BYTES: usize = 200;

/// What a backend said went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiError {
    /// The first useful text; empty when there was none.
    pub message: String,
    /// A status in the body, 400 to 599.
    pub status: Option<u16>,
    /// `code` or `type`, where it is a word.
    pub code: Option<String>,
    /// `param`: the request field that is to blame.
    pub param: Option<String>,
    /// For how long the backend wants to be left alone.
    pub wait: Option<Wait>,
}

impl ApiError {
    /// Reads a body, or the data of an error event.
    #[must_use]
    pub fn read(body: &[u8]) -> Self {
        let mut error = Self::read_json(body).unwrap_or_else(|| Self::read_text(body));
        truncate(&mut error.message, MAX_MESSAGE_BYTES);
        error
    }

    fn read_json(body: &[u8]) -> Option<Self> {
        // The scanner's depth limit comes before any parser that builds a tree.
        let value = Scanner::new(body.trim_ascii()).value().ok()?;
        if !matches!(value.kind(), Kind::Object | Kind::Array | Kind::String) {
            return None;
        }
        // simd-json refuses bad UTF-8, which the scanner leaves to whoever copies: it is mended first.
        let mut copy = String::from_utf8_lossy(value.bytes()).into_owned().into_bytes();
        let mut error = ApiError::default();
        match simd_json::to_borrowed_value(&mut copy) {
            Ok(tree) => error.collect(&tree),
            // Numbers past 64 bits and half surrogates it refuses too: then the JSON itself is the text.
            Err(_) => error.message = String::from_utf8_lossy(value.bytes()).into_owned(),
        }
        Some(error)
    }

    fn collect(&mut self, value: &BorrowedValue<'_>) {
        if let Some(list) = value.as_array() {
            if let Some(first) = list.first() {
                self.collect(first);
            }
            return;
        }
        if let Some(text) = value.as_str() {
            self.say(text);
            return;
        }
        // A gateway's own words say no more than that there was an error; it hands on the provider's beside them.
        let raw = value.get("metadata").and_then(|metadata| metadata.get("raw"));
        if let Some(raw) = raw.and_then(|raw| raw.as_str()) {
            let inner = Self::read(raw.as_bytes());
            self.say(&inner.message);
            self.param = self.param.take().or(inner.param);
            self.code = self.code.take().or(inner.code);
            self.wait = self.wait.or(inner.wait);
        }
        self.wait = self.wait.or_else(|| Wait::of_error(value));
        // The innermost report is the most telling; what it leaves open the outer members may fill in.
        for name in ["error", "message", "detail", "msg", "title", "error_description"] {
            if let Some(inner) = value.get(name) {
                self.collect(inner);
            }
        }
        let choices = value.get("choices").and_then(|choices| choices.as_array());
        if let Some(inner) = choices.and_then(|list| list.first()).and_then(|choice| choice.get("error")) {
            self.collect(inner);
        }
        for name in ["code", "status", "type"] {
            self.note_code(value.get(name));
        }
        // FastAPI names the field by its path: ["body", "stream_options"].
        let last = value.get("loc").and_then(|path| path.as_array()).and_then(|path| path.last());
        if let (None, Some(field)) = (&self.param, last.and_then(|field| field.as_str())) {
            self.param = Some(field.to_string());
        }
        if self.param.is_none() {
            self.param = value.get("param").and_then(|param| param.as_str()).map(str::to_string);
        }
    }

    fn say(&mut self, text: &str) {
        let text = text.trim();
        if self.message.is_empty() && !text.is_empty() {
            self.message = text.to_string();
        }
    }

    fn note_code(&mut self, code: Option<&BorrowedValue<'_>>) {
        let Some(code) = code else { return };
        let number = code.as_u64().or_else(|| code.as_str().and_then(|text| text.parse().ok()));
        match number.and_then(|number| u16::try_from(number).ok()) {
            Some(status @ 400..=599) if self.status.is_none() => self.status = Some(status),
            Some(_) => {}
            None if self.code.is_none() && code.is_str() => self.code = code.as_str().map(str::to_string),
            None => {}
        }
    }

    fn read_text(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let mut message = text.trim().to_string();
        if message.starts_with('<') {
            message = page_text(&message);
            truncate(&mut message, MAX_PAGE_BYTES);
        }
        ApiError { message, ..ApiError::default() }
    }
}

/// The title of an HTML page, else its text without tags.
fn page_text(page: &str) -> String {
    let lower = page.to_ascii_lowercase();
    let title = lower.find("<title>").and_then(|start| {
        let from = start + "<title>".len();
        let len = lower.get(from..)?.find("</title>")?;
        page.get(from..from + len)
    });
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some(title) = title.map(words).filter(|title| !title.is_empty()) {
        return title;
    }
    let mut text = String::new();
    let mut in_tag = false;
    for letter in page.chars() {
        match letter {
            '<' => in_tag = true,
            '>' => {
                in_tag = false;
                text.push(' ');
            }
            _ if !in_tag => text.push(letter),
            _ => {}
        }
    }
    words(&text)
}

fn truncate(text: &mut String, max: usize) {
    if text.len() > max {
        let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_becomes_its_text() {
        let table: &[(&str, &str, Option<u16>)] = &[
            (
                r#"{"error":{"message":"m","type":"invalid_request_error","param":null,"code":null}}"#,
                "m",
                None,
            ),
            (r#"{"error":{"message":"m","code":429}}"#, "m", Some(429)),
            (r#"{"error":{"message":"m","code":"503"},"choices":[]}"#, "m", Some(503)),
            (r#"{"choices":[{"finish_reason":"error","error":{"message":"m","code":502}}]}"#, "m", Some(502)),
            (r#"{"error":"text"}"#, "text", None),
            (r#"{"object":"error","message":"m","type":"BadRequestError","code":400}"#, "m", Some(400)),
            (r#"{"error":{"x":1},"message":"m"}"#, "m", None),
            (r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#, "m", None),
            (r#"{"detail":"d"}"#, "d", None),
            (
                r#"{"detail":[{"loc":["body","x"],"msg":"field required","type":"missing"}]}"#,
                "field required",
                None,
            ),
            (r#"{"object":"error","message":{"detail":[{"msg":"extra"}]},"code":422}"#, "extra", Some(422)),
            (r#"[{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}]"#, "m", Some(400)),
            (r#"{"type":"about:blank","title":"Bad Request","status":400,"detail":"d"}"#, "d", Some(400)),
            (r#"{"error":"e","error_type":"validation"}"#, "e", None),
            (r#"{"code":500,"message":"m","type":"server_error"}"#, "m", Some(500)),
            (r#"{"error":{"message":"m","innererror":{"code":"x"}}}"#, "m", None),
            (
                r#"{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\"error\":{\"message\":\"m\"}}","provider_name":"P"}}}"#,
                "m",
                Some(400),
            ),
            (r#"{"error":{"message":"m","metadata":{"raw":""}}}"#, "m", None),
            (r#"{"error":{"message":"m","metadata":{"raw":{"x":1}}}}"#, "m", None),
            (r#""just text""#, "just text", None),
            ("plain text\n", "plain text", None),
            (
                "<html><head><title>502 Bad\n Gateway</title></head><body>x</body></html>",
                "502 Bad Gateway",
                None,
            ),
            ("<html><body><h1>Oh</h1>\n<p>no</p></body></html>", "Oh no", None),
            ("", "", None),
            ("{}", "", None),
            (
                r#"{"error":{"message":"m","code":18446744073709551616}}"#,
                r#"{"error":{"message":"m","code":18446744073709551616}}"#,
                None,
            ),
            ("{\"error\":{\"message\":\"cut", "{\"error\":{\"message\":\"cut", None),
        ];
        for (body, message, status) in table {
            let error = ApiError::read(body.as_bytes());
            assert_eq!((error.message.as_str(), error.status), (*message, *status), "{body}");
        }
    }

    #[test]
    fn bad_utf8_costs_a_character_and_not_the_report() {
        let error = ApiError::read(b"{\"error\":{\"message\":\"caf\xc3 x\",\"code\":429}}");
        assert_eq!((error.message.as_str(), error.status), ("caf\u{fffd} x", Some(429)));
    }

    #[test]
    fn the_blamed_parameter_is_kept() {
        let body = br#"{"error":{"message":"Unsupported parameter","param":"max_tokens","code":"unsupported_parameter"}}"#;
        let error = ApiError::read(body);
        assert_eq!(error.param.as_deref(), Some("max_tokens"));
        assert_eq!(error.code.as_deref(), Some("unsupported_parameter"));
    }

    #[test]
    fn a_page_is_not_a_message() {
        assert!(ApiError::read("é".repeat(4000).as_bytes()).message.len() <= MAX_MESSAGE_BYTES + 3);
        let deep = [b"{\"error\":".to_vec(), vec![b'['; 100_000]].concat();
        assert!(ApiError::read(&deep).message.len() <= MAX_MESSAGE_BYTES + 3);
    }
}
