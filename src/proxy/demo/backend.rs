//! The demonstration's backend: the OpenAI routes a client needs, answered from a script, with no key and no model.
//!
//! It owns neither listener nor task; whoever serves connections calls `answer` for each request. Shapes and error
//! bodies are OpenAI's own (API reference: models, chat, completions, embeddings), so that the proxy in front of it
//! does exactly what it does for a real backend. It reads no `Authorization` header and logs nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use simd_json::prelude::*;
use simd_json::{OwnedValue, json};

use super::body::{DemoBody, Pace};
use super::embedding;
use super::envelope::{Envelope, usage};
use super::field::{self, Fault};
use super::request::{self, ChatRequest, CompletionRequest, Delivery, EmbeddingRequest};
use super::script::{self, Answer};

/// A chat with a dozen large images fits; past it the answer is 413.
const MAX_REQUEST: usize = 64 * 1024 * 1024;

/// Time for a request body to arrive over loopback; past it the answer is 408.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// When the script was written, in the place of a model's date: 2026-01-01. Fixed, so that lists look the same again.
const CREATED: u64 = 1_767_225_600;

/// The OpenAI-compatible server behind `ollama-openai-proxy demo`.
#[derive(Debug)]
pub(crate) struct DemoBackend {
    pace: Pace,
    answers: AtomicU64,
}

impl DemoBackend {
    /// A backend that takes the given time over its words.
    #[must_use]
    pub(crate) fn new(pace: Pace) -> Self {
        Self { pace, answers: AtomicU64::new(0) }
    }

    /// Answers one request. What goes wrong is an answer too, in OpenAI's words.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<DemoBody> {
        self.route(request).await.unwrap_or_else(|fault| refusal(&fault))
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Response<DemoBody>, Fault> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        let expected = match path {
            "/v1/chat/completions" | "/v1/completions" | "/v1/embeddings" => Method::POST,
            _ if path == "/v1/models" || path.starts_with("/v1/models/") => Method::GET,
            _ => {
                return Err(Fault::new(
                    StatusCode::NOT_FOUND,
                    format!("Invalid URL ({} {path})", head.method),
                ));
            }
        };
        if head.method != expected {
            let message = format!("Not allowed to {} on {path} (perhaps you meant {expected})", head.method);
            let mut response = refusal(&Fault::new(StatusCode::METHOD_NOT_ALLOWED, message));
            let allowed = if expected == Method::GET { "GET" } else { "POST" };
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            return Ok(response);
        }
        if expected == Method::GET {
            return models(path);
        }
        let root = field::document(collect(body).await?)?;
        match path {
            "/v1/chat/completions" => self.chat(&ChatRequest::read(&root)?).await,
            "/v1/completions" => self.completion(&CompletionRequest::read(&root)?).await,
            _ => Ok(embeddings(&EmbeddingRequest::read(&root)?)),
        }
    }

    async fn chat(&self, request: &ChatRequest) -> Result<Response<DemoBody>, Fault> {
        let number = self.answers.fetch_add(1, Ordering::Relaxed);
        let envelope = Envelope { id: format!("chatcmpl-demo{number}"), created: now(), is_chat: true };
        self.deliver(envelope, script::chat(request), &request.delivery, request.extent.words).await
    }

    async fn completion(&self, request: &CompletionRequest) -> Result<Response<DemoBody>, Fault> {
        let number = self.answers.fetch_add(1, Ordering::Relaxed);
        let envelope = Envelope { id: format!("cmpl-demo{number}"), created: now(), is_chat: false };
        self.deliver(envelope, script::completion(request), &request.delivery, request.extent.words).await
    }

    async fn deliver(
        &self,
        envelope: Envelope,
        answer: Answer,
        delivery: &Delivery,
        prompt_tokens: usize,
    ) -> Result<Response<DemoBody>, Fault> {
        let usage = usage(prompt_tokens, answer.tokens());
        if delivery.is_stream {
            let steps = envelope.stream(answer, delivery.include_usage.then_some(usage));
            let body = DemoBody::paced(self.pace, steps);
            return Ok(respond(StatusCode::OK, "text/event-stream; charset=utf-8", body));
        }
        tokio::time::sleep(self.pace.of(answer.tokens())).await;
        Ok(document(StatusCode::OK, &envelope.whole(answer, usage)))
    }
}

async fn collect(body: Incoming) -> Result<Vec<u8>, Fault> {
    let whole = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_REQUEST).collect()).await;
    let whole = whole
        .map_err(|_| Fault::new(StatusCode::REQUEST_TIMEOUT, "The request body did not arrive in time."))?;
    match whole {
        Ok(whole) => Ok(whole.to_bytes().into()),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = format!("The request body is larger than {MAX_REQUEST} bytes.");
            Err(Fault::new(StatusCode::PAYLOAD_TOO_LARGE, message))
        }
        Err(error) => {
            Err(Fault::new(StatusCode::BAD_REQUEST, format!("The request body broke off: {error}.")))
        }
    }
}

fn models(path: &str) -> Result<Response<DemoBody>, Fault> {
    let entry = |id: &str| json!({"id": id, "object": "model", "created": CREATED, "owned_by": "ollama-openai-proxy"});
    let found = match path.strip_prefix("/v1/models/") {
        None => json!({"object": "list", "data": [entry(request::TALKS), entry(request::EMBEDS)]}),
        Some(name @ (request::TALKS | request::EMBEDS)) => entry(name),
        Some(name) => return Err(Fault::unknown_model(name)),
    };
    Ok(document(StatusCode::OK, &found))
}

fn embeddings(request: &EmbeddingRequest) -> Response<DemoBody> {
    let dimensions = request.dimensions.unwrap_or(embedding::DIMENSIONS);
    let data = request.input.iter().enumerate().map(|(index, text)| {
        let vector = embedding::vector(text, dimensions);
        let vector = if request.is_base64 {
            OwnedValue::from(embedding::base64(&vector))
        } else {
            vector.into_iter().map(shortest).collect()
        };
        json!({"object": "embedding", "index": index, "embedding": vector})
    });
    let tokens: usize = request.input.iter().map(|text| text.split_whitespace().count()).sum();
    let found = json!({
        "object": "list",
        "data": data.collect::<OwnedValue>(),
        "model": request.model.as_str(),
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    });
    document(StatusCode::OK, &found)
}

/// The number with no more digits than a 32-bit float has.
fn shortest(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| f64::from(number))
}

fn refusal(fault: &Fault) -> Response<DemoBody> {
    let error = json!({
        "message": fault.message.as_str(),
        "type": "invalid_request_error",
        "param": fault.param.as_deref(),
        "code": fault.code,
    });
    document(fault.status, &json!({"error": error}))
}

fn document(status: StatusCode, document: &OwnedValue) -> Response<DemoBody> {
    respond(status, "application/json", DemoBody::whole(document.encode()))
}

fn respond(status: StatusCode, content_type: &'static str, body: DemoBody) -> Response<DemoBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Seconds since 1970; zero on a machine whose clock stands before that.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
#[path = "backend_tests.rs"]
mod tests;
