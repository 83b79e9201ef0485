//! [`Caller`]: one request of a client, and everything that came back.

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response};
use simd_json::OwnedValue;
use simd_json::prelude::*;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

/// A short answer takes seconds; a model that has to be loaded first, a minute or two.
const LIMIT: Duration = Duration::from_secs(180);
/// The longest answer is a list of models, some hundred bytes each; all answers are held until the end.
const MAX_BODY: usize = 4 << 20;

/// A whole answer on its way, or why none comes.
pub(crate) type Asking = Pin<Box<dyn Future<Output = Result<Response<Bytes>, String>> + Send>>;
/// How a request is sent, and an answer of up to so many bytes read. It is given to the doctor, so that there is one HTTP
/// client in the program.
pub(crate) type Asks = Box<dyn Fn(Request<Bytes>, usize) -> Asking + Send + Sync>;

/// Sends requests to the proxy.
pub(crate) struct Caller {
    asks: Asks,
    proxy: SocketAddr,
    key: Option<HeaderValue>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Caller {
    /// Calls the proxy at this address; `key` is the value of `Authorization`, where clients must send one.
    pub(crate) fn new(asks: Asks, proxy: SocketAddr, key: Option<HeaderValue>) -> Self {
        Caller { asks, proxy, key }
    }

    /// Whether clients must show a key.
    pub(super) fn shows_key(&self) -> bool {
        self.key.is_some()
    }

    /// Sends one request and reads the answer to its end.
    ///
    /// # Errors
    /// Why there is no answer, or no whole one, in words.
    pub(super) async fn call(&self, method: &str, path: &str, body: String) -> Result<Heard, String> {
        match tokio::time::timeout(LIMIT, self.exchange(method, path, body)).await {
            Ok(heard) => heard,
            Err(_) => Err(format!("no whole answer within {} s", LIMIT.as_secs())),
        }
    }

    async fn exchange(&self, method: &str, path: &str, body: String) -> Result<Heard, String> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.proxy));
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, key);
        }
        let request = request.body(body.into()).map_err(|error| error.to_string())?;
        let answer = (self.asks)(request, MAX_BODY).await?;
        Ok(Heard { status: answer.status().as_u16(), body: answer.into_body().into() })
    }
}

impl Heard {
    /// The one object of the answer.
    ///
    /// # Errors
    /// What a client would show: the error's own text, else what is wrong with the answer.
    pub(super) fn object(&self) -> Result<OwnedValue, String> {
        let value = read(&self.body);
        if self.status != 200 {
            return Err(self.refusal(value.as_ref()));
        }
        match value {
            Some(value) if value.is_object() => match error_text(&value) {
                Some(text) => Err(text),
                None => Ok(value),
            },
            _ => Err("the answer is not a JSON object".to_owned()),
        }
    }

    /// The objects of the answer's lines.
    ///
    /// # Errors
    /// As of [`Heard::object`], and for a line that is blank, broken or an error.
    pub(super) fn lines(&self) -> Result<Vec<OwnedValue>, String> {
        if self.status != 200 {
            return Err(self.refusal(read(&self.body).as_ref()));
        }
        let body = self.body.strip_suffix(b"\n").unwrap_or(&self.body);
        let lines = body.split(|&byte| byte == b'\n').map(|line| {
            let line = read(line).ok_or("a line of the answer is not JSON")?;
            match error_text(&line) {
                Some(text) => Err(text),
                None => Ok(line),
            }
        });
        lines.collect()
    }

    fn refusal(&self, body: Option<&OwnedValue>) -> String {
        let text = body.and_then(error_text).unwrap_or_else(|| plain(&String::from_utf8_lossy(&self.body)));
        match text.is_empty() {
            true => format!("status {}", self.status),
            false => format!("status {}: {text}", self.status),
        }
    }
}

/// Reads JSON of a peer's.
pub(super) fn read(text: &[u8]) -> Option<OwnedValue> {
    if is_deep(text) { None } else { simd_json::to_owned_value(&mut text.to_vec()).ok() }
}

/// Whether it nests deeper than any answer does: a tree of it is let go by recursion.
fn is_deep(text: &[u8]) -> bool {
    const DEEPEST: usize = 128;
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'[' | b'{' if !is_text => depth += 1,
            b']' | b'}' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return true;
        }
    }
    false
}

/// The text of an error, in Ollama's shape or in OpenAI's.
fn error_text(body: &OwnedValue) -> Option<String> {
    let error = body.get("error")?;
    let text = error.as_str().or_else(|| error.get_str("message"));
    Some(plain(text.unwrap_or("an error without a text")))
}

/// A peer's text on one line of a person's terminal.
pub(super) fn plain(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    clean.trim().to_owned()
}
