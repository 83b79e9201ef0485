//! [`Upstream`]: the one backend, and the only place that knows how it is reached.
//!
//! It hands on a head and then bytes. A request is built anew for the backend: nothing of the client's framing goes along,
//! and of its headers its id, those that `pass.rs` lets through and, where no key is configured, its `Authorization`.
//! Redirects are not followed. A request is tried again only when it cannot have been read: the connection failed, or a
//! pooled one was closed before it was written.

use super::app::profile;
use super::client::{ClientError, HttpClient, RequestHead, Response, ResponseBody};
use super::error::ProxyError;
use super::metrics::Metrics;
use super::request_body::RequestBody;
use super::request_id::RequestId;
use super::retry_after;
use super::{resolve::Resolver, tls, tunnel, tunnel::Dialer};
use crate::config::{BaseUrl, Config, ForwardProxy};
use crate::openai::{ApiError, KeyHeader};
use crate::translate::{CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS};
use bytes::Bytes;
use hyper::header::{
    AUTHORIZATION, CONTENT_ENCODING, HeaderName, HeaderValue, LOCATION, PROXY_AUTHORIZATION,
};
use hyper::{HeaderMap, Method, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::ClientConfig;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Longest wait for one address to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept: less than the server keeps it, so that none is used while it is being closed.
/// Local servers are often uvicorn, which closes after 5 s; behind TLS stand gateways with 60 s and more, and a new
/// connection costs more.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
const TLS_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Between the tries to connect: doubled each time, up to the second.
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(100);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(2);
/// Most of an error body that is read, and the longest wait for it.
const MAX_ERROR_BYTES: usize = 64 << 10;
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(5);

const AGENT: &str = concat!("ollama-openai-proxy/", env!("CARGO_PKG_VERSION"));

/// A client for this machine, without a forward proxy.
///
/// # Errors
/// When TLS has none of the protocols' versions.
pub(super) fn local_client() -> Result<HttpClient, String> {
    Ok(HttpClient::new(connector(tls::client_config(true, None)?, None), IDLE_TIMEOUT))
}

fn connector(tls: ClientConfig, via: Option<ForwardProxy>) -> HttpsConnector<Dialer> {
    let mut http = HttpConnector::new_with_resolver(Resolver::new());
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(Dialer::new(http, via))
}

/// See the module's description.
pub(super) struct Upstream {
    client: HttpClient,
    base: BaseUrl,
    /// The endpoints that are asked all the time, by their paths. A URI is parsed once.
    endpoints: [(&'static str, Uri); 3],
    key: Option<HeaderValue>,
    key_header: HeaderName,
    /// A forward proxy is sent the requests themselves.
    is_to_proxy: bool,
    proxy_authorization: Option<HeaderValue>,
    timeout: Duration,
    max_retries: u32,
    metrics: Arc<Metrics>,
}

impl Upstream {
    /// The backend of a configuration.
    ///
    /// # Errors
    /// When the CA file cannot be used.
    pub(super) fn new(config: &Config, metrics: &Arc<Metrics>) -> Result<Self, String> {
        let ca_pem = config.backend.ca_file.as_ref().map(|(_, pem)| pem.as_slice());
        let tls = tls::client_config(config.backend.verify_tls, ca_pem)?;
        let connector = connector(tls, config.backend.proxy.clone());
        let is_tls = config.backend.base.is_tls();
        let client = HttpClient::new(connector, if is_tls { TLS_IDLE_TIMEOUT } else { IDLE_TIMEOUT });
        // With TLS the proxy only sees a tunnel.
        let proxy = config.backend.proxy.as_ref().filter(|_| !is_tls);
        let key_header = profile(config).unwrap_or_default().key_header();
        Ok(Upstream {
            client,
            base: config.backend.base.clone(),
            endpoints: [CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS]
                .map(|path| (path, config.backend.base.join(path))),
            key: config.backend.key.as_ref().and_then(|key| key_value(key_header, key.expose())),
            key_header: match key_header {
                KeyHeader::Bearer => AUTHORIZATION,
                KeyHeader::ApiKey => HeaderName::from_static("api-key"),
            },
            is_to_proxy: proxy.is_some(),
            proxy_authorization: proxy.and_then(tunnel::authorization),
            timeout: config.timeout,
            max_retries: config.max_retries,
            metrics: Arc::clone(metrics),
        })
    }

    /// The same backend, with connections of its own.
    pub(super) fn with_own_connections(&self) -> Self {
        Upstream {
            client: self.client.with_own_connections(),
            base: self.base.clone(),
            endpoints: self.endpoints.clone(),
            key: self.key.clone(),
            key_header: self.key_header.clone(),
            is_to_proxy: self.is_to_proxy,
            proxy_authorization: self.proxy_authorization.clone(),
            timeout: self.timeout,
            max_retries: self.max_retries,
            metrics: Arc::clone(&self.metrics),
        }
    }

    /// Whether the client's own key goes along.
    pub(super) fn forwards_client_key(&self) -> bool {
        self.key.is_none()
    }

    /// How long the backend may be silent.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Closes idle connections in time, for ever.
    pub(super) async fn tidy(&self) -> Infallible {
        self.client.tidy().await
    }

    /// Asks for `GET path`.
    pub(super) async fn get(
        &self,
        path: &str,
        client_key: Option<&HeaderValue>,
    ) -> Result<Response, ProxyError> {
        self.ask(Method::GET, &self.base.join(path), &RequestBody::of(Bytes::new()), client_key).await
    }

    /// Asks for `GET path` beside the API, where some backends have one of their own.
    pub(super) async fn get_beside(
        &self,
        path: &str,
        client_key: Option<&HeaderValue>,
    ) -> Result<Response, ProxyError> {
        self.ask(Method::GET, &self.base.join_beside(path), &RequestBody::of(Bytes::new()), client_key).await
    }

    /// Asks for `POST path` with a JSON body; gives the head as soon as it is there, whatever its status.
    pub(super) async fn post(
        &self,
        path: &str,
        body: Bytes,
        client_key: Option<&HeaderValue>,
    ) -> Result<Response, ProxyError> {
        let joined;
        let uri = match self.endpoints.iter().find(|(known, _)| *known == path) {
            Some((_, uri)) => uri,
            None => {
                joined = self.base.join(path);
                &joined
            }
        };
        self.ask(Method::POST, uri, &RequestBody::of(body), client_key).await
    }

    /// A request that the proxy itself makes, and an answer that can be read as it comes.
    async fn ask(
        &self,
        method: Method,
        uri: &Uri,
        body: &RequestBody,
        client_key: Option<&HeaderValue>,
    ) -> Result<Response, ProxyError> {
        let fields = |head: &mut RequestHead| {
            if !body.is_empty() {
                head.fixed_field("content-type", "application/json");
            }
            head.fixed_field("accept", "application/json, text/event-stream");
        };
        let answer = self.send(method, uri, &fields, body, client_key).await?;
        match answer.headers.get(CONTENT_ENCODING) {
            Some(coding) if coding != "identity" => {
                Err(ProxyError::Encoded(String::from_utf8_lossy(coding.as_bytes()).into_owned()))
            }
            _ => Ok(answer),
        }
    }

    /// Asks for what the client asks for in the backend's own words; gives whatever the backend answers. None of the
    /// headers may be one that every request has.
    pub(super) async fn pass(
        &self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        body: &RequestBody,
        client_key: Option<&HeaderValue>,
    ) -> Result<Response, ProxyError> {
        let fields = |head: &mut RequestHead| {
            for (name, value) in headers {
                head.field(name, value);
            }
        };
        self.send(method, &self.base.join(path), &fields, body, client_key).await
    }

    async fn send(
        &self,
        method: Method,
        uri: &Uri,
        fields: &(dyn Fn(&mut RequestHead) + Sync),
        body: &RequestBody,
        client_key: Option<&HeaderValue>,
    ) -> Result<Response, ProxyError> {
        let mut delay = FIRST_RETRY_DELAY;
        let mut retries = self.max_retries;
        loop {
            let mut head = RequestHead::new(method.clone(), uri, self.is_to_proxy);
            fields(&mut head);
            self.own_fields(&mut head, client_key);
            let cause = match self.answer(uri, head, body).await? {
                Ok(response) => return Ok(response),
                Err(error) if body.is_cut() => {
                    tracing::debug!(%error, "the client's body broke off");
                    return Err(ProxyError::BodyCut);
                }
                Err(ClientError::BrokenOff(why)) => return Err(ProxyError::BrokenOff(why)),
                Err(error @ ClientError::Connect(_)) => error.to_string(),
            };
            if retries == 0 {
                return Err(ProxyError::Unreachable(format!("{}: {cause}", self.base.origin())));
            }
            retries -= 1;
            self.metrics.retried();
            tracing::debug!(cause, retries_left = retries, "connecting to the backend failed");
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(MAX_RETRY_DELAY);
        }
    }

    /// Waits for the head. While the request is still coming the backend has nothing to answer.
    async fn answer(
        &self,
        uri: &Uri,
        head: RequestHead,
        body: &RequestBody,
    ) -> Result<Result<Response, ClientError>, ProxyError> {
        let mut response = pin!(self.client.request(uri, head, body));
        let mut deadline = Instant::now() + self.timeout;
        loop {
            if let Ok(response) = tokio::time::timeout_at(deadline, &mut response).await {
                return Ok(response);
            }
            match body.moved().map(|moved| moved + self.timeout).filter(|later| *later > deadline) {
                Some(later) => deadline = later,
                None => return Err(ProxyError::TimedOut(self.timeout)),
            }
        }
    }

    /// What every request says.
    fn own_fields(&self, head: &mut RequestHead, client_key: Option<&HeaderValue>) {
        // A compressed stream could not be translated as it comes.
        head.fixed_field("accept-encoding", "identity");
        head.fixed_field("user-agent", AGENT);
        RequestId::put_on_question(|name, value| head.field(name, value));
        if let Some(value) = &self.proxy_authorization {
            head.field(&PROXY_AUTHORIZATION, value);
        }
        if let Some(key) = &self.key {
            head.field(&self.key_header, key);
        } else if let Some(key) = client_key {
            head.field(&AUTHORIZATION, key);
        }
    }

    /// Reads the words of an answer that is no success.
    pub(super) async fn refusal(&self, answer: Response, model: &str, client_key: bool) -> ProxyError {
        let Response { status, headers, body } = answer;
        if status.is_redirection() {
            return ProxyError::Redirect(origin(headers.get(LOCATION)));
        }
        let body = error_bytes(body).await.unwrap_or_default();
        let error = ApiError::read(&body);
        ProxyError::Status {
            status,
            retry_after: retry_after::of_answer(status, &headers, &error),
            error: Box::new(error),
            with_client_key: client_key && self.forwards_client_key(),
            model: model.to_string(),
        }
    }

    /// The body of an error, without the configured key, which no client is to learn. `None`: it is too long, or does not
    /// come.
    pub(super) async fn error_body(&self, body: ResponseBody) -> Option<Bytes> {
        let body = error_bytes(body).await?;
        let text = String::from_utf8_lossy(&body);
        let clean = self.redacted(&text, None);
        Some(if clean == text { body } else { clean.into() })
    }

    /// A text without the key that was sent, the configured one or the client's: some backends repeat it in their errors.
    pub(super) fn redacted(&self, text: &str, client_key: Option<&HeaderValue>) -> String {
        let sent = self.key.as_ref().or(client_key).and_then(|key| key.to_str().ok());
        match sent {
            Some(sent) => redacted(text, sent.strip_prefix("Bearer ").unwrap_or(sent).trim()),
            None => text.to_string(),
        }
    }
}

async fn error_bytes(body: ResponseBody) -> Option<Bytes> {
    tokio::time::timeout(ERROR_BODY_TIMEOUT, body.read_to_end(MAX_ERROR_BYTES)).await.ok()?.ok()
}

/// Where a redirect points to, without path and query: a query may hold a key.
fn origin(location: Option<&HeaderValue>) -> String {
    let uri = location.and_then(|location| location.to_str().ok()?.parse::<Uri>().ok());
    match uri.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.host()?, uri.port_u16()))) {
        Some((scheme, host, Some(port))) => format!("{scheme}://{host}:{port}"),
        Some((scheme, host, None)) => format!("{scheme}://{host}"),
        None => "another path".to_string(),
    }
}

/// The text without the key, and without a longer beginning of it: texts are cut.
fn redacted(text: &str, key: &str) -> String {
    /// What a beginning must have to be one: less is a word that many keys begin with.
    const TELLTALE: usize = 8;
    let Some(beginning) = key.get(..key.len().min(TELLTALE)).filter(|beginning| !beginning.is_empty()) else {
        return text.to_string();
    };
    let (mut clean, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(beginning) {
        let (before, from) = rest.split_at(at);
        let len = from.bytes().zip(key.bytes()).take_while(|(a, b)| a == b).count();
        clean.push_str(before);
        clean.push_str("[redacted]");
        // The key is ASCII, so this is between two characters.
        rest = from.get(len..).unwrap_or_default();
    }
    clean.push_str(rest);
    clean
}

/// The key as its header carries it.
pub(super) fn key_value(header: KeyHeader, key: &str) -> Option<HeaderValue> {
    let mut value = match header {
        KeyHeader::Bearer => HeaderValue::from_str(&format!("Bearer {key}")),
        KeyHeader::ApiKey => HeaderValue::from_str(key),
    }
    .ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn a_key_and_what_is_left_of_one_are_struck_out() {
        let key = "sk-0123456789";
        for (text, expected) in [
            ("no key here", "no key here"),
            ("a sk-0123456789 b sk-0123456789", "a [redacted] b [redacted]"),
            ("cut: sk-012345678", "cut: [redacted]"),
            ("cut: sk-01234…", "cut: [redacted]…"),
            ("a beginning of many: sk-0123", "a beginning of many: sk-0123"),
            ("another: sk-0123x", "another: sk-0123x"),
        ] {
            assert_eq!(redacted(text, key), expected);
        }
        assert_eq!(redacted("x", "x"), "[redacted]");
        assert_eq!(redacted("x", ""), "x");
    }
}
