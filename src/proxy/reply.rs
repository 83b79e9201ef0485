//! [`ReplyBody`] and the small replies: one buffer with its type, or an answer that is being translated or passed on.

use super::body::TranslatedBody;
use super::demo::DemoBody;
use super::embed::EmbeddedBody;
use super::error::ProxyError;
use super::passed::{CutShort, PassedBody};
use super::target;
use crate::{ollama, openai};
use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Response, StatusCode};
use std::pin::Pin;
use std::task::{Context, Poll};

pub(super) const JSON: &str = "application/json; charset=utf-8";
/// What Ollama sends when a stream fails before its first line.
const JSON_OF_A_STREAM: &str = "application/json";
pub(super) const NDJSON: &str = "application/x-ndjson";
const TEXT: &str = "text/plain; charset=utf-8";
/// The text format of Prometheus.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const PLAIN: &str = "text/plain";

/// What a client is sent.
pub(super) enum ReplyBody {
    /// One buffer, until it is sent.
    Full(Option<Bytes>),
    /// Lines as the backend's answer comes.
    Translated(Box<TranslatedBody>),
    /// Vectors, as many at once as the client takes.
    Embedded(Box<EmbeddedBody>),
    /// The backend's answer as it comes.
    Passed(Box<PassedBody>),
    /// The lines are written past hyper: it has the head, and waits for a body that never comes.
    TakenOver,
    /// The demonstration's backend speaks.
    Shown(Box<DemoBody>),
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        match self.get_mut() {
            ReplyBody::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            ReplyBody::Translated(body) => {
                body.poll_frame(cx).map(|frame| frame.map(|bytes| Ok(Frame::data(bytes))))
            }
            ReplyBody::Embedded(body) => Poll::Ready(body.next_frame().map(|bytes| Ok(Frame::data(bytes)))),
            ReplyBody::Passed(body) => {
                body.poll_frame(cx).map(|frame| frame.map(|bytes| bytes.map(Frame::data)))
            }
            ReplyBody::TakenOver => Poll::Pending,
            ReplyBody::Shown(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ReplyBody::Full(bytes) => bytes.is_none(),
            ReplyBody::Translated(body) => body.is_end(),
            ReplyBody::Embedded(body) => body.is_end(),
            ReplyBody::Passed(body) => body.is_end(),
            ReplyBody::TakenOver => false,
            ReplyBody::Shown(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ReplyBody::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            ReplyBody::Translated(_) | ReplyBody::Embedded(_) | ReplyBody::TakenOver => SizeHint::default(),
            ReplyBody::Passed(body) => body.size_hint(),
            ReplyBody::Shown(body) => body.size_hint(),
        }
    }
}

pub(super) type Reply = Response<ReplyBody>;

fn full(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let body = Some(body.into()).filter(|body| !body.is_empty());
    let mut reply = Response::new(ReplyBody::Full(body));
    *reply.status_mut() = status;
    if !content_type.is_empty() {
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    reply
}

/// A status and nothing else.
pub(super) fn empty(status: StatusCode) -> Reply {
    full(status, "", Bytes::new())
}

/// 200 with text.
pub(super) fn text(words: &'static str) -> Reply {
    full(StatusCode::OK, TEXT, words)
}

/// 200 with counts.
pub(super) fn metrics(text: String) -> Reply {
    full(StatusCode::OK, METRICS, text)
}

/// 200 with one JSON object.
pub(super) fn json(body: impl Into<Bytes>) -> Reply {
    full(StatusCode::OK, JSON, body)
}

/// 200 with lines.
pub(super) fn lines(body: Box<TranslatedBody>) -> Reply {
    let mut reply = Response::new(ReplyBody::Translated(body));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    reply
}

/// 200 with lines that are all there.
pub(super) fn ready_lines(body: BytesMut) -> Reply {
    full(StatusCode::OK, NDJSON, body.freeze())
}

/// 200 with vectors.
pub(super) fn embedded(body: EmbeddedBody) -> Reply {
    let mut reply = Response::new(ReplyBody::Embedded(Box::new(body)));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    reply
}

/// The backend's own status and headers, and what follows them.
pub(super) fn passed(status: StatusCode, headers: HeaderMap, body: ReplyBody) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    *reply.headers_mut() = headers;
    reply
}

/// The bytes of a body that is all there.
pub(super) fn whole(body: Bytes) -> ReplyBody {
    ReplyBody::Full(Some(body).filter(|body| !body.is_empty()))
}

/// The path without its trailing slash.
pub(super) fn redirect(is_get: bool, to: &str) -> Reply {
    let mut reply =
        empty(if is_get { StatusCode::MOVED_PERMANENTLY } else { StatusCode::TEMPORARY_REDIRECT });
    if let Ok(to) = HeaderValue::from_str(to) {
        reply.headers_mut().insert(hyper::header::LOCATION, to);
    }
    reply
}

/// Whose form an error has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// Clients of `/api`.
    Ollama,
    /// Clients of `/v1`.
    OpenAi,
    /// Those of `/v1/messages`.
    Anthropic,
}

impl Reader {
    pub(super) fn of(path: &str) -> Self {
        match path.strip_prefix(target::PREFIX) {
            Some(below) if below.starts_with("/messages") => Reader::Anthropic,
            Some(below) if below.starts_with('/') => Reader::OpenAi,
            _ => Reader::Ollama,
        }
    }
}

/// A failure in the form that its reader knows.
pub(super) fn error_for(reader: Reader, failure: &ProxyError, message: &str, of_a_stream: bool) -> Reply {
    let status = failure.status();
    let mut body = BytesMut::new();
    match reader {
        Reader::Ollama => return error(failure, message, of_a_stream),
        Reader::OpenAi => openai::write_error(message, status.as_u16(), &mut body),
        Reader::Anthropic => openai::write_messages_error(message, status.as_u16(), &mut body),
    }
    full(status, JSON_OF_A_STREAM, body.freeze())
}

/// A failure; `message` is its text with secrets struck out.
pub(super) fn error(error: &ProxyError, message: &str, of_a_stream: bool) -> Reply {
    if matches!(error, ProxyError::NotFound | ProxyError::MethodNotAllowed) {
        return full(error.status(), PLAIN, message.to_string());
    }
    let mut body = BytesMut::new();
    ollama::write_error(message, &mut body);
    let content_type = if of_a_stream { JSON_OF_A_STREAM } else { JSON };
    let mut reply = full(error.status(), content_type, body.freeze());
    if let Some(seconds) = error.retry_after() {
        reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    reply
}
