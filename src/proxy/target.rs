//! [`Target`]: what a request for `/v1/...` asks of the backend, below its base URL.
//!
//! Path and query go on as they stand, but for the name of a model in `/models/{id}`. A path that a reader on the way
//! could take for one outside of the base is refused, however it is encoded: the proxy's key opens the base, and a client
//! that may use it may not use it elsewhere.

use crate::ollama::RequestError;
use hyper::Uri;
use std::borrow::Cow;
use std::fmt::Write as _;

/// Where OpenAI's own API begins.
pub(super) const PREFIX: &str = "/v1";
const MODELS: &str = "/models/";

/// See the module's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Behind `/v1`, with its slash.
    path: String,
    query: Option<String>,
}

impl Target {
    /// Of a request's URI.
    ///
    /// # Errors
    /// When the path could leave the base.
    pub(super) fn new(uri: &Uri) -> Result<Self, RequestError> {
        let path = uri.path().strip_prefix(PREFIX).unwrap_or_default();
        // Once as the backend reads it, and once more as one behind another would.
        let once = decoded(path.as_bytes());
        let twice = decoded(&once);
        if !(stays(path.as_bytes()) && stays(&once) && stays(&twice)) {
            return Err(RequestError::new("the path has a segment that is empty, `.` or `..`"));
        }
        Ok(Target { path: path.to_string(), query: uri.query().map(str::to_string) })
    }

    /// Path and query, for [`BaseUrl::join`](crate::config::BaseUrl::join).
    pub(super) fn as_text(&self) -> Cow<'_, str> {
        match &self.query {
            Some(query) => Cow::Owned(format!("{}?{query}", self.path)),
            None => Cow::Borrowed(&self.path),
        }
    }

    /// The model that the path names: all that stands behind `/models/`, since some identifiers have slashes.
    pub(super) fn model(&self) -> Option<String> {
        let id = self.path.strip_prefix(MODELS).filter(|id| !id.is_empty())?;
        String::from_utf8(decoded(id.as_bytes()).into_owned()).ok()
    }

    /// The path with another name of the model. A slash in it is encoded unless the client wrote one as it is.
    pub(super) fn name_model(&mut self, id: &str) {
        if self.model().is_none_or(|named| named == id) {
            return;
        }
        let keeps_slashes = self.path.get(MODELS.len()..).is_some_and(|named| named.contains('/'));
        let mut path = MODELS.to_string();
        for byte in id.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'@' => {
                    path.push(char::from(byte));
                }
                b'/' if keeps_slashes => path.push('/'),
                // Writing to a String cannot fail.
                _ => drop(write!(path, "%{byte:02X}")),
            }
        }
        self.path = path;
    }
}

/// Whether no segment is empty (but the last), or says "here" or "above", for any reader: some take `\` for `/`, and some
/// cut a segment at its `;`.
fn stays(path: &[u8]) -> bool {
    let mut segments = path.split(|byte| matches!(byte, b'/' | b'\\')).skip(1).peekable();
    while let Some(segment) = segments.next() {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        let is_bad = matches!(name, b"." | b"..") || (name.is_empty() && segments.peek().is_some());
        if is_bad {
            return false;
        }
    }
    true
}

/// With each `%XX` as its byte; what is no such triple stays.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    Cow::Owned(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Result<Target, RequestError> {
        Target::new(&text.parse().unwrap())
    }

    #[test]
    fn path_and_query_stay_as_they_are() {
        for text in [
            "/chat/completions",
            "/files?limit=2&after=a%20b",
            "/models/",
            "/a%2Fb/c..d/...",
            "/x?next=../..//",
            "/x?",
        ] {
            assert_eq!(target(&format!("/v1{text}")).unwrap().as_text(), text);
        }
    }

    #[test]
    fn no_path_leaves_the_base() {
        for path in [
            "/..",
            "/../x",
            "/a/../../x",
            "/.",
            "/a/./b",
            "//x",
            "//evil.example/x",
            "/a//b",
            "/%2e%2e/x",
            "/%2E./x",
            "/a/%2e",
            "/a%2f..%2fb",
            "/%2F/x",
            "/a%2F%2Fb",
            "/..%5cx",
            "/a\\..\\x",
            "/..;a=b/x",
            "/%252e%252e/x",
            "/%25%32e%25%32e/x",
            "/models/..%2f..%2fadmin",
        ] {
            assert!(target(&format!("/v1{path}")).is_err(), "{path}");
        }
    }

    #[test]
    fn the_model_of_a_path_is_decoded_and_encoded_again() {
        let table = [
            ("/models/m", "m", "/models/other", "other"),
            ("/models/qwen3:8b", "qwen3:8b", "/models/a:b@c~d-e_f.g", "a:b@c~d-e_f.g"),
            ("/models/a%20b?x=1", "a b", "/models/c%20d%3F%23%25%C3%A9?x=1", "c d?#%é"),
            ("/models/a%2fb:latest", "a/b:latest", "/models/a%2Fb", "a/b"),
            ("/models/a/b:latest", "a/b:latest", "/models/a/b", "a/b"),
            ("/models/alias", "alias", "/models/a%2Fb", "a/b"),
            // What stays the same stays as it was written.
            ("/models/%61%2fb", "a/b", "/models/%61%2fb", "a/b"),
        ];
        for (path, model, expected, name) in table {
            let mut target = target(&format!("/v1{path}")).unwrap();
            assert_eq!(target.model().as_deref(), Some(model), "{path}");
            target.name_model(name);
            assert_eq!(target.as_text(), expected, "{path}");
        }
        for path in ["/models", "/models/", "/modelsx/m", "/models/%ff", "/files/m"] {
            let mut target = target(&format!("/v1{path}")).unwrap();
            assert_eq!(target.model(), None, "{path}");
            target.name_model("other");
            assert_eq!(target.as_text(), path);
        }
    }
}
