//! [`HttpClient`]: HTTP/1.1 (RFC 9112) towards one server, over hyper-rustls' connections.
//!
//! It is the proxy's own for one reason: a stream's body can be polled where it is wanted, with no task, no channel and no
//! buffer between the socket and who reads. What a request costs beside its bytes is in `perf/`.

mod body;
mod chunked;
mod connection;
mod head;
mod pool;
mod sending;

pub(super) use body::{Came, ResponseBody};
pub(super) use head::RequestHead;

use super::request_body::RequestBody;
use super::tunnel::Dialer;
use bytes::Bytes;
use connection::{Connection, ExchangeError};
use hyper::{HeaderMap, Method, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use pool::Pool;
use sending::Sending;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tower_service::Service;

/// A head, then bytes.
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: ResponseBody,
}

/// Why there is no response.
#[derive(Debug)]
pub(super) enum ClientError {
    /// There is no connection: nobody can have read anything.
    Connect(Box<dyn Error + Send + Sync>),
    /// It broke off.
    BrokenOff(String),
}

impl fmt::Display for ClientError {
    /// The innermost reason, which is the one a person can act on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Connect(error) => f.write_str(&innermost(error.as_ref())),
            ClientError::BrokenOff(reason) => f.write_str(reason),
        }
    }
}

impl From<ExchangeError> for ClientError {
    fn from(error: ExchangeError) -> Self {
        ClientError::BrokenOff(match &error {
            ExchangeError::Io(error) => innermost(error),
            ExchangeError::Closed { .. } | ExchangeError::Malformed(_) | ExchangeError::BodyCut(_) => {
                error.to_string()
            }
        })
    }
}

/// The cause of the causes, in words.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_ascii_lowercase(),
        None => text,
    }
}

/// See the module's description.
pub(super) struct HttpClient {
    connector: HttpsConnector<Dialer>,
    pool: Arc<Pool>,
}

impl HttpClient {
    /// A client that keeps idle connections so long.
    pub(super) fn new(connector: HttpsConnector<Dialer>, keep_idle: Duration) -> Self {
        HttpClient { connector, pool: Arc::new(Pool::new(keep_idle)) }
    }

    /// A client of the same server, with connections of its own. A connection belongs to the thread that opened it.
    pub(super) fn with_own_connections(&self) -> Self {
        HttpClient { connector: self.connector.clone(), pool: Arc::new(self.pool.empty_again()) }
    }

    /// Closes idle connections in time, for ever.
    pub(super) async fn tidy(&self) -> Infallible {
        self.pool.tidy().await
    }

    /// Sends a request to the server of this URI and waits for the head of its response. A connection that was closed while
    /// it was idle is no failure: the request is sent on another, if nobody can have read it or it may be repeated.
    pub(super) async fn request(
        &self,
        server: &Uri,
        head: RequestHead,
        body: &RequestBody,
    ) -> Result<Response, ClientError> {
        let method = head.method().clone();
        let head = Bytes::from(head.finish(body.len()));
        loop {
            let idle = poll_fn(|cx| Poll::Ready(self.pool.take(cx))).await;
            let was_idle = idle.is_some();
            let connection = match idle {
                Some(connection) => connection,
                None => self.connect(server).await?,
            };
            match self.exchange(connection, Sending::new(head.clone(), body.clone()), &method).await {
                Err(ExchangeError::Closed { may_be_read })
                    if was_idle && (!may_be_read || (method.is_safe() && body.is_empty())) => {}
                response => return Ok(response?),
            }
        }
    }

    /// Sends a request with all that it says, and reads the whole response, of up to so many bytes.
    pub(super) async fn ask(
        &self,
        request: hyper::Request<Bytes>,
        max_bytes: usize,
    ) -> Result<hyper::Response<Bytes>, String> {
        let (parts, body) = request.into_parts();
        let mut head = RequestHead::new(parts.method, &parts.uri, false);
        for (name, value) in &parts.headers {
            head.field(name, value);
        }
        let response = self.request(&parts.uri, head, &RequestBody::of(body)).await;
        let response = response.map_err(|error| format!("no answer came: {error}"))?;
        let body = response.body.read_to_end(max_bytes).await;
        let mut whole = hyper::Response::new(body.map_err(|error| format!("the answer broke off: {error}"))?);
        *whole.status_mut() = response.status;
        Ok(whole)
    }

    async fn connect(&self, server: &Uri) -> Result<Connection, ClientError> {
        let mut connector = self.connector.clone();
        poll_fn(|cx| connector.poll_ready(cx)).await.map_err(ClientError::Connect)?;
        Ok(Connection::new(connector.call(server.clone()).await.map_err(ClientError::Connect)?))
    }

    async fn exchange(
        &self,
        mut connection: Connection,
        mut sending: Sending,
        method: &Method,
    ) -> Result<Response, ExchangeError> {
        let head = match poll_fn(|cx| connection.poll_exchange(cx, &mut sending, method)).await {
            Ok(head) => head,
            Err(error) => return Err(sending.refused().unwrap_or(error)),
        };
        let body =
            ResponseBody::new(connection, head.framing, head.persists, sending, Arc::clone(&self.pool));
        Ok(Response { status: head.status, headers: head.headers, body })
    }
}
