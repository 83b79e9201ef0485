//! [`Dialer`]: the way to the backend, straight or through a forward proxy.
//!
//! A backend behind TLS is reached by a tunnel (CONNECT, RFC 9110, section 9.3.6), in which the proxy sees nothing. For
//! one without, requests go to the proxy itself, in absolute form.

use super::client::innermost;
use super::resolve::Resolver;
use crate::config::ForwardProxy;
use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::http::uri::Scheme;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tower_service::Service;

/// Longest wait for a tunnel: the proxy has to resolve and connect in that time.
const TUNNEL_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer to a CONNECT; what proxies add to it fits many times.
const MAX_ANSWER_BYTES: usize = 8 << 10;

type BoxError = Box<dyn Error + Send + Sync>;

/// See the module's description.
#[derive(Clone)]
pub(super) struct Dialer {
    direct: HttpConnector<Resolver>,
    via: Option<Arc<ForwardProxy>>,
}

impl Dialer {
    pub(super) fn new(direct: HttpConnector<Resolver>, via: Option<ForwardProxy>) -> Self {
        Dialer { direct, via: via.map(Arc::new) }
    }
}

/// `Proxy-Authorization`, if the proxy wants one.
pub(super) fn authorization(proxy: &ForwardProxy) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Basic {}", proxy.basic()?.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<TcpStream>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.direct.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let Some(via) = self.via.clone() else {
            let connecting = self.direct.call(target);
            return Box::pin(async { Ok(connecting.await?) });
        };
        let connecting = self.direct.call(via.uri().clone());
        Box::pin(async move {
            let io = connecting.await.map_err(|error| format!("the proxy {via}: {}", innermost(&error)))?;
            if target.scheme() != Some(&Scheme::HTTPS) {
                return Ok(io);
            }
            let stream = io.into_inner();
            match tokio::time::timeout(TUNNEL_TIMEOUT, open_tunnel(&stream, &via, &target)).await {
                Ok(Ok(())) => Ok(TokioIo::new(stream)),
                Ok(Err(why)) => Err(format!("the proxy {via}: {why}").into()),
                Err(_) => Err(format!("the proxy {via} does not answer in time").into()),
            }
        })
    }
}

async fn open_tunnel(stream: &TcpStream, via: &ForwardProxy, target: &Uri) -> Result<(), String> {
    let (host, port) = (target.host().unwrap_or_default(), target.port_u16().unwrap_or(443));
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    if let Some(basic) = via.basic() {
        request += &format!("Proxy-Authorization: Basic {}\r\n", basic.expose());
    }
    request += "\r\n";
    write_all(stream, request.as_bytes()).await.map_err(|error| innermost(&error))?;
    let answer = read_head(stream).await.map_err(|error| innermost(&error))?;
    match status(&answer) {
        Some(200..=299) => Ok(()),
        Some(407) if via.basic().is_some() => Err("it refuses the user and password (407)".to_string()),
        Some(407) => Err("it wants a user and a password (407): http://user:password@host:port".to_string()),
        Some(status) => Err(format!("it refuses to connect to {host}:{port} ({status})")),
        None => Err("it does not speak HTTP".to_string()),
    }
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The head of the answer and nothing behind it: in TLS the client speaks first.
async fn read_head(stream: &TcpStream) -> io::Result<Vec<u8>> {
    let (mut head, mut piece) = (Vec::new(), [0; 1024]);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > MAX_ANSWER_BYTES || head.windows(4).any(|end| end == b"\r\n\r\n") {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its answer is too long"));
        }
        stream.readable().await?;
        match stream.try_read(&mut piece) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection")),
            Ok(read) => head.extend_from_slice(piece.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(head)
}

/// Of a status line of HTTP/1.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.strip_prefix(b"HTTP/1.")?;
    let digits = line.get(2..5).filter(|_| line.get(1) == Some(&b' '))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::status;

    #[test]
    fn the_status_of_an_answer() {
        for (head, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Some(200)),
            ("HTTP/1.0 407\r\n\r\n", Some(407)),
            ("HTTP/2 200\r\n\r\n", None),
            ("HTTP/1.1 2x0 OK\r\n\r\n", None),
            ("HTTP/1.1\r\n\r\n", None),
            ("SSH-2.0\r\n\r\n", None),
        ] {
            assert_eq!(status(head.as_bytes()), expected, "{head:?}");
        }
    }
}
