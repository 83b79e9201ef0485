//! The heads of HTTP/1.1 (RFC 9112): a request's is written, a response's read.

use super::chunked::ChunkedDecoder;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::http::uri::Scheme;
use hyper::{HeaderMap, Method, StatusCode, Uri, Version};
use std::mem::MaybeUninit;

/// Most fields of a response's head.
const MAX_FIELDS: usize = 100;

/// A request's head being written.
pub(crate) struct RequestHead {
    text: Vec<u8>,
    method: Method,
}

impl RequestHead {
    /// The request line and `Host`. To a forward proxy the target is in absolute form (RFC 9112, section 3.2.2).
    pub(crate) fn new(method: Method, uri: &Uri, is_to_proxy: bool) -> Self {
        let mut text = Vec::with_capacity(512);
        let host = host(uri);
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        text.extend_from_slice(method.as_str().as_bytes());
        text.push(b' ');
        if is_to_proxy {
            text.extend_from_slice(b"http://");
            text.extend_from_slice(host.as_bytes());
        }
        text.extend_from_slice(target.as_bytes());
        text.extend_from_slice(b" HTTP/1.1\r\nhost: ");
        text.extend_from_slice(host.as_bytes());
        text.extend_from_slice(b"\r\n");
        RequestHead { text, method }
    }

    /// Adds a field.
    pub(crate) fn field(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.raw_field(name.as_str(), value.as_bytes());
    }

    /// Adds a field whose value has no line break.
    pub(crate) fn fixed_field(&mut self, name: &'static str, value: &'static str) {
        self.raw_field(name, value.as_bytes());
    }

    fn raw_field(&mut self, name: &str, value: &[u8]) {
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(b": ");
        self.text.extend_from_slice(value);
        self.text.extend_from_slice(b"\r\n");
    }

    /// Ends it, for a body of this length. One of none is named where servers wait for one otherwise.
    pub(super) fn finish(mut self, length: u64) -> Vec<u8> {
        if length > 0 || matches!(self.method, Method::POST | Method::PUT | Method::PATCH) {
            self.raw_field(CONTENT_LENGTH.as_str(), length.to_string().as_bytes());
        }
        self.text.extend_from_slice(b"\r\n");
        self.text
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }
}

/// The authority without a user, and without the scheme's own port.
fn host(uri: &Uri) -> &str {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit_once('@').map_or(authority, |(_user, host)| host);
    let own_port = if uri.scheme() == Some(&Scheme::HTTPS) { ":443" } else { ":80" };
    host.strip_suffix(own_port).unwrap_or(host)
}

/// How a response's body ends (RFC 9112, section 6.3).
#[derive(Debug)]
pub(super) enum Framing {
    /// After so many bytes more.
    Length(u64),
    Chunked(ChunkedDecoder),
    /// With the connection.
    Close,
}

/// What a response begins with.
#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) framing: Framing,
    /// Whether the connection stays open behind the body.
    pub(super) persists: bool,
}

impl ResponseHead {
    /// Reads a head of a response to a request of this method; gives how many bytes it takes. `None`: it is not whole.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(bytes: &[u8], method: &Method) -> Result<Option<(Self, usize)>, &'static str> {
        let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut head = httparse::Response::new(&mut []);
        let parser = httparse::ParserConfig::default();
        let len = match parser.parse_response_with_uninit_headers(&mut head, bytes, &mut fields) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err("its head has too many fields"),
            Err(_) => return Err("it does not speak HTTP/1"),
        };
        let status = head.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or("it does not speak HTTP/1")?;
        let mut headers = HeaderMap::with_capacity(head.headers.len());
        for field in head.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes());
            let value = HeaderValue::from_bytes(field.value);
            let (Ok(name), Ok(value)) = (name, value) else {
                return Err("its head has a field that is none");
            };
            headers.append(name, value);
        }
        let version = if head.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
        let has_no_body = method == Method::HEAD
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let framing = if has_no_body { Framing::Length(0) } else { framing(&headers)? };
        let persists = persists(&headers, version) && !matches!(framing, Framing::Close);
        Ok(Some((ResponseHead { status, headers, framing, persists }, len)))
    }
}

/// Both a coding and a length are the mark of a response that was put together by two (RFC 9112, section 6.1): the
/// coding counts, and the connection is not used again.
fn framing(headers: &HeaderMap) -> Result<Framing, &'static str> {
    if let Some(coding) = headers.get_all(TRANSFER_ENCODING).iter().next_back() {
        let last = coding.as_bytes().rsplit(|byte| *byte == b',').next().unwrap_or_default();
        let is_chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
        return Ok(if is_chunked { Framing::Chunked(ChunkedDecoder::default()) } else { Framing::Close });
    }
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for number in value.as_bytes().split(|byte| *byte == b',') {
            let number = digits(number.trim_ascii()).ok_or("its Content-Length is no number")?;
            if length.is_some_and(|length| length != number) {
                return Err("it has more than one Content-Length");
            }
            length = Some(number);
        }
    }
    Ok(length.map_or(Framing::Close, Framing::Length))
}

fn digits(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn persists(headers: &HeaderMap, version: Version) -> bool {
    let says = |word: &[u8]| {
        let mut words =
            headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        words.any(|found| found.trim_ascii().eq_ignore_ascii_case(word))
    };
    let has_both = headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH);
    !says(b"close") && !has_both && (version == Version::HTTP_11 || says(b"keep-alive"))
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
