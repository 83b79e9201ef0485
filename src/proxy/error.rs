//! [`ProxyError`]: every failure of a request, and the one table of what each becomes for the client.
//!
//! Statuses are chosen by what Ollama's clients do with them: 401 sends the `ollama` command into its sign-in flow, so a
//! backend that refuses the proxy's own key is a 502 (only what is about that sign-in answers 401); 404 means that the model does not exist, so a wrong base URL is a
//! 502 as well. The words "upstream error" are avoided: that command hides a message that contains them.

use super::retry_after;
use crate::ollama::{EmbedEndpoint, NO_SUCH_MANIFEST, RequestError};
use crate::openai::{ApiError, Cause, Demands, Dialect, Parameter};
use crate::translate::Fault;
use hyper::StatusCode;
use std::fmt;
use std::time::Duration;

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum ProxyError {
    /// The client's request is wrong.
    Request(RequestError),
    /// It is larger than REQUEST_MAX_SIZE.
    BodyTooLarge(usize),
    /// Its headers are larger than this.
    HeadersTooLarge(usize),
    /// The client stopped sending it.
    BodyCut,
    /// It does not show the key of PROXY_API_KEY.
    Unauthorized,
    /// No such path.
    NotFound,
    /// The path has another method.
    MethodNotAllowed,
    /// The model is not among the backend's.
    UnknownModel(String),
    /// The same, of a pull that must succeed at once: a failure of the pull.
    NoSuchManifest,
    /// The backend cannot be reached; the words say how.
    Unreachable(String),
    /// It answered nothing, or nothing more, for this long.
    TimedOut(Duration),
    /// It broke off before its head was whole.
    BrokenOff(String),
    /// It broke off in the middle of its answer.
    AnswerCut(String),
    /// It answered with a status that is no success.
    Status {
        /// Its status.
        status: StatusCode,
        /// Its words, apart: they would make every other failure as large.
        error: Box<ApiError>,
        /// Whole seconds, when it said how long to wait.
        retry_after: Option<u64>,
        /// The client's own key was sent, not the proxy's.
        with_client_key: bool,
        /// The name in the request.
        model: String,
    },
    /// A text to embed is longer than the model takes; the words are the backend's.
    InputTooLong(EmbedEndpoint, String),
    /// The model cannot call tools or fill in the middle, or the server was not started for it.
    Lacks {
        /// Ollama's name of what it cannot do.
        what: &'static str,
        /// The name in the request.
        model: String,
        /// The backend's words.
        reason: String,
    },
    /// It points elsewhere. Redirects are not followed: the key would go along.
    Redirect(String),
    /// It compressed an answer that was asked for as it is.
    Encoded(String),
    /// Its answer cannot be translated.
    Fault(Fault),
    /// The proxy is told to stop, and the time for running answers is over.
    Stopping,
    /// Another request met this a moment ago, in the same wait.
    Again(StatusCode, String),
    /// The list of models is no list.
    ModelList(&'static str),
    /// Something that can only be done where the models are; the words name it.
    NotSupported(&'static str),
    /// Something that only Ollama's own cloud does.
    NoCloud(&'static str),
    /// Nobody can be signed in here.
    NotSignedIn(&'static str),
}

impl ProxyError {
    /// The status, as long as one can be sent.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            ProxyError::Request(error) if error.is_not_found => StatusCode::NOT_FOUND,
            ProxyError::Request(_) | ProxyError::BodyCut | ProxyError::Lacks { .. } => {
                StatusCode::BAD_REQUEST
            }
            ProxyError::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            ProxyError::HeadersTooLarge(_) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            ProxyError::NotFound | ProxyError::UnknownModel(_) => StatusCode::NOT_FOUND,
            ProxyError::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            ProxyError::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
            ProxyError::InputTooLong(EmbedEndpoint::Embed, _) => StatusCode::BAD_REQUEST,
            // As Ollama, whose older endpoint knows no better.
            ProxyError::InputTooLong(EmbedEndpoint::Embeddings, _) => StatusCode::INTERNAL_SERVER_ERROR,
            ProxyError::Again(status, _) => *status,
            ProxyError::NoSuchManifest => StatusCode::INTERNAL_SERVER_ERROR,
            ProxyError::NotSupported(_) => StatusCode::NOT_IMPLEMENTED,
            ProxyError::NoCloud(_) => StatusCode::FORBIDDEN,
            ProxyError::Unauthorized | ProxyError::NotSignedIn(_) => StatusCode::UNAUTHORIZED,
            ProxyError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            ProxyError::Unreachable(_)
            | ProxyError::BrokenOff(_)
            | ProxyError::AnswerCut(_)
            | ProxyError::Redirect(_)
            | ProxyError::Encoded(_)
            | ProxyError::ModelList(_) => StatusCode::BAD_GATEWAY,
            ProxyError::Status { status, error, with_client_key, .. } => {
                client_status(status.as_u16(), error, *with_client_key)
            }
            ProxyError::Fault(_) => StatusCode::BAD_GATEWAY,
        }
    }

    /// Under which name it is counted.
    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            ProxyError::Request(_)
            | ProxyError::BodyTooLarge(_)
            | ProxyError::HeadersTooLarge(_)
            | ProxyError::BodyCut => ErrorKind::Request,
            ProxyError::Unauthorized => ErrorKind::Unauthorized,
            ProxyError::NotFound
            | ProxyError::MethodNotAllowed
            | ProxyError::UnknownModel(_)
            | ProxyError::NoSuchManifest => ErrorKind::NotFound,
            ProxyError::NotSupported(_) | ProxyError::NoCloud(_) | ProxyError::NotSignedIn(_) => {
                ErrorKind::NotSupported
            }
            ProxyError::Unreachable(_) => ErrorKind::Unreachable,
            ProxyError::TimedOut(_) => ErrorKind::Timeout,
            ProxyError::BrokenOff(_) | ProxyError::AnswerCut(_) => ErrorKind::BrokenOff,
            ProxyError::Status { .. }
            | ProxyError::Lacks { .. }
            | ProxyError::InputTooLong(..)
            | ProxyError::Redirect(_)
            | ProxyError::Again(..)
            | ProxyError::Fault(Fault::Backend(_)) => ErrorKind::Backend,
            ProxyError::Encoded(_) | ProxyError::Fault(_) | ProxyError::ModelList(_) => ErrorKind::Answer,
            ProxyError::Stopping => ErrorKind::Stopping,
        }
    }

    /// What the backend's refusal asks to be changed in the request, in the order to try.
    pub(super) fn candidates(&self, dialect: &Dialect) -> Vec<Parameter> {
        match self {
            ProxyError::Status { status, error, .. } => dialect.candidates(status.as_u16(), error),
            _ => Vec::new(),
        }
    }

    /// What the backend wants to read from now on, when it refuses a history without it.
    pub(super) fn demanded(&self, before: Demands) -> Option<Demands> {
        match self {
            ProxyError::Status { status, error, .. } if matches!(status.as_u16(), 400 | 422) => {
                before.learn(error)
            }
            _ => None,
        }
    }

    /// Whether it would refuse the parameter in the next request too.
    pub(super) fn is_for_good(&self, parameter: Parameter) -> bool {
        matches!(self, ProxyError::Status { error, .. } if error.refuses_for_good(parameter))
    }

    /// The same, where nothing was answered yet: what a backend says in the body of a success it means as a refusal.
    pub(super) fn into_refusal(self, model: &str, with_client_key: bool) -> Self {
        match self {
            ProxyError::Fault(Fault::Backend(error)) if !error.message.is_empty() => {
                let status = error.status.and_then(|status| StatusCode::from_u16(status).ok());
                ProxyError::Status {
                    status: status.unwrap_or(StatusCode::BAD_GATEWAY),
                    retry_after: retry_after::of_error(&error),
                    error: Box::new(error),
                    with_client_key,
                    model: model.to_string(),
                }
            }
            other => other,
        }
    }

    /// The same for a request that had tools: a model that cannot call them is known by these words.
    pub(super) fn of_tools(self) -> Self {
        match self {
            ProxyError::Status { error, model, .. } if error.refuses_tools() => {
                ProxyError::Lacks { what: "tools", model, reason: error.message }
            }
            other => other,
        }
    }

    /// The same for a request that had a suffix.
    pub(super) fn of_suffix(self) -> Self {
        match self {
            ProxyError::Status { status, error, model, .. }
                if matches!(status.as_u16(), 400 | 422 | 501) && error.refuses_suffix() =>
            {
                ProxyError::Lacks { what: "insert", model, reason: error.message }
            }
            other => other,
        }
    }

    /// The same where vectors were asked for: Ollama has words of its own for two refusals there.
    pub(super) fn of_embedding(self, endpoint: EmbedEndpoint) -> Self {
        match self {
            ProxyError::Status { status, error, model, .. }
                if error.cause(status.as_u16()) == Cause::Model =>
            {
                RequestError::not_found(format!("model {model:?} not found, try pulling it first")).into()
            }
            ProxyError::Status { status, error, .. } if error.cause(status.as_u16()) == Cause::Length => {
                ProxyError::InputTooLong(endpoint, error.message)
            }
            other => other,
        }
    }

    /// How long the client is to wait, in seconds.
    pub(super) fn retry_after(&self) -> Option<u64> {
        match self {
            ProxyError::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// The kinds of failures that are counted apart: whose fault it is, and what to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorKind {
    /// The request cannot be read.
    Request,
    /// The key of the proxy is missing or wrong.
    Unauthorized,
    /// No such path, method or model.
    NotFound,
    /// Nothing that is done here.
    NotSupported,
    /// No connection to the backend.
    Unreachable,
    /// The backend was silent for too long.
    Timeout,
    /// It closed the connection before it answered.
    BrokenOff,
    /// It answered with an error.
    Backend,
    /// What it answered cannot be translated, or is not whole.
    Answer,
    /// The proxy is stopping.
    Stopping,
}

impl ErrorKind {
    /// In the order of their declaration.
    pub(super) const ALL: [ErrorKind; 10] = [
        ErrorKind::Request,
        ErrorKind::Unauthorized,
        ErrorKind::NotFound,
        ErrorKind::NotSupported,
        ErrorKind::Unreachable,
        ErrorKind::Timeout,
        ErrorKind::BrokenOff,
        ErrorKind::Backend,
        ErrorKind::Answer,
        ErrorKind::Stopping,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            ErrorKind::Request => "request",
            ErrorKind::Unauthorized => "unauthorized",
            ErrorKind::NotFound => "not_found",
            ErrorKind::NotSupported => "not_supported",
            ErrorKind::Unreachable => "unreachable",
            ErrorKind::Timeout => "timeout",
            ErrorKind::BrokenOff => "broken_off",
            ErrorKind::Backend => "backend",
            ErrorKind::Answer => "answer",
            ErrorKind::Stopping => "stopping",
        }
    }
}

/// What a client is told of a backend's status.
fn client_status(status: u16, error: &ApiError, with_client_key: bool) -> StatusCode {
    match error.cause(status) {
        Cause::Key if with_client_key => StatusCode::UNAUTHORIZED,
        Cause::Denied if with_client_key => StatusCode::FORBIDDEN,
        Cause::Key | Cause::Denied | Cause::Endpoint => StatusCode::BAD_GATEWAY,
        Cause::Model => StatusCode::NOT_FOUND,
        Cause::Length | Cause::Unserved => StatusCode::BAD_REQUEST,
        Cause::Other => match status {
            408 => StatusCode::GATEWAY_TIMEOUT,
            422 => StatusCode::BAD_REQUEST,
            529 => StatusCode::SERVICE_UNAVAILABLE,
            // A forward proxy's own: the client has no key for it.
            407 => StatusCode::BAD_GATEWAY,
            400..=599 => StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY),
            _ => StatusCode::BAD_GATEWAY,
        },
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyError::Request(error) => error.fmt(f),
            ProxyError::BodyTooLarge(max) => {
                write!(f, "the request body is larger than {max} bytes (REQUEST_MAX_SIZE)")
            }
            ProxyError::HeadersTooLarge(max) => write!(f, "the request headers are larger than {max} bytes"),
            ProxyError::BodyCut => f.write_str("the request body ended early"),
            ProxyError::Unauthorized => f.write_str(
                "unauthorized: show the key of this proxy (PROXY_API_KEY) as Authorization: Bearer KEY",
            ),
            ProxyError::NotFound => f.write_str("404 page not found"),
            ProxyError::MethodNotAllowed => f.write_str("405 method not allowed"),
            ProxyError::UnknownModel(model) => write!(f, "model '{model}' not found"),
            ProxyError::Unreachable(why) => write!(f, "cannot reach the backend: {why}"),
            ProxyError::TimedOut(limit) => {
                write!(f, "the backend sent nothing for {} s (REQUEST_TIMEOUT)", limit.as_secs_f64())
            }
            ProxyError::BrokenOff(why) => write!(f, "the backend broke off before it answered: {why}"),
            ProxyError::AnswerCut(why) => write!(f, "the backend's answer broke off: {why}"),
            ProxyError::Status { status, error, model, with_client_key, .. } => {
                write_status(f, *status, error, model, *with_client_key)
            }
            ProxyError::InputTooLong(_, why) => {
                write!(f, "the input length exceeds the context length: {why}")
            }
            // Clients look for these words.
            ProxyError::Lacks { what, reason, .. }
                if reason.contains(&format!("does not support {what}")) =>
            {
                f.write_str(reason)
            }
            ProxyError::Lacks { what, model, reason } => {
                write!(f, "\"{model}\" does not support {what}: {reason}")
            }
            ProxyError::Redirect(location) => write!(
                f,
                "the backend redirects to {location}; set OPENAI_API_BASE_URL to where it really is"
            ),
            ProxyError::Encoded(coding) => {
                write!(
                    f,
                    "the backend sent its answer with content-encoding {coding}, which was not asked for"
                )
            }
            ProxyError::Fault(fault) => fault.fmt(f),
            ProxyError::Again(_, message) => f.write_str(message),
            ProxyError::NoSuchManifest => f.write_str(NO_SUCH_MANIFEST),
            ProxyError::NotSupported(what) => {
                write!(f, "{what} is not supported by this proxy: the models are the backend's own")
            }
            ProxyError::NoCloud(what) => write!(f, "ollama cloud is disabled: {what} is unavailable"),
            ProxyError::NotSignedIn(words) => f.write_str(words),
            ProxyError::Stopping => f.write_str("the proxy is stopping; the answer is cut off"),
            ProxyError::ModelList(why) => write!(f, "the backend cannot list its models: {why}"),
        }
    }
}

fn write_status(
    f: &mut fmt::Formatter<'_>,
    status: StatusCode,
    error: &ApiError,
    model: &str,
    with_client_key: bool,
) -> fmt::Result {
    let message = if error.message.is_empty() {
        status.canonical_reason().unwrap_or("no reason given")
    } else {
        error.message.as_str()
    };
    let who = if with_client_key { "the key of this request" } else { "the proxy's key (OPENAI_API_KEY)" };
    match error.cause(status.as_u16()) {
        Cause::Key => write!(f, "the backend refused {who}: {message}"),
        // It may be about a region, a policy or a page of a firewall as well.
        Cause::Denied => write!(f, "the backend forbids this to {who}: {message}"),
        Cause::Model => write!(f, "model '{model}' not found"),
        Cause::Endpoint => write!(
            f,
            "the backend has no such endpoint ({}: {message}); check OPENAI_API_BASE_URL",
            status.as_u16()
        ),
        Cause::Length | Cause::Unserved | Cause::Other => f.write_str(message),
    }
}

impl std::error::Error for ProxyError {}

impl From<RequestError> for ProxyError {
    fn from(error: RequestError) -> Self {
        ProxyError::Request(error)
    }
}

impl From<Fault> for ProxyError {
    fn from(fault: Fault) -> Self {
        ProxyError::Fault(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str, with_client_key: bool) -> (u16, String) {
        let error = ProxyError::Status {
            status: StatusCode::from_u16(status).unwrap(),
            error: Box::new(ApiError::read(body.as_bytes())),
            retry_after: None,
            with_client_key,
            model: "M".to_string(),
        };
        (error.status().as_u16(), error.to_string())
    }

    #[test]
    fn statuses_of_the_backend_as_clients_understand_them() {
        let table = [
            (400, r#"{"error":"bad"}"#, 400, "bad"),
            (422, r#"{"detail":"bad"}"#, 400, "bad"),
            (
                401,
                r#"{"error":{"message":"no"}}"#,
                502,
                "the backend refused the proxy's key (OPENAI_API_KEY): no",
            ),
            (403, "", 502, "the backend forbids this to the proxy's key (OPENAI_API_KEY): Forbidden"),
            (404, r#"{"error":{"message":"x","code":"model_not_found"}}"#, 404, "model 'M' not found"),
            (
                404,
                r#"{"detail":"Not Found"}"#,
                502,
                "the backend has no such endpoint (404: Not Found); check OPENAI_API_BASE_URL",
            ),
            (408, "", 504, "Request Timeout"),
            (413, "big", 413, "big"),
            (429, r#"{"error":{"message":"slow down"}}"#, 429, "slow down"),
            (500, r#"{"error":"boom"}"#, 500, "boom"),
            (503, "", 503, "Service Unavailable"),
            (529, "busy", 503, "busy"),
        ];
        for (status, body, expected, message) in table {
            assert_eq!(refused(status, body, false), (expected, message.to_string()), "{status} {body}");
        }
        assert_eq!(
            refused(401, "no", true),
            (401, "the backend refused the key of this request: no".to_string())
        );
    }

    #[test]
    fn kinds_stand_in_their_order() {
        for (at, kind) in ErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at, "{}", kind.name());
        }
    }

    #[test]
    fn a_failure_inside_a_200_takes_its_own_status() {
        let refused = |body: &str, with_client_key| {
            let fault = ProxyError::Fault(Fault::Backend(ApiError::read(body.as_bytes())));
            let error = fault.into_refusal("M", with_client_key);
            (error.status().as_u16(), error.to_string())
        };
        let said = |status: u16, text: &str| (status, text.to_string());
        assert_eq!(refused(r#"{"error":{"message":"m","code":429}}"#, false), said(429, "m"));
        assert_eq!(refused(r#"{"error":{"message":"m","code":"rate_limit"}}"#, false), said(502, "m"));
        let key = "the backend refused the proxy's key (OPENAI_API_KEY): m";
        assert_eq!(refused(r#"{"error":{"message":"m","code":401}}"#, false), said(502, key));
        let key = "the backend refused the key of this request: m";
        assert_eq!(refused(r#"{"error":{"message":"m","code":401}}"#, true), said(401, key));
        let missing = r#"{"error":{"message":"No endpoints found for a/b.","code":404}}"#;
        assert_eq!(refused(missing, false), said(404, "model 'M' not found"));
        let silent = "the backend reported an error without a message: x";
        assert_eq!(refused(r#"{"error":{"code":"x"}}"#, false), said(502, silent));
    }
}
