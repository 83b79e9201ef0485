//! [`serve_connection`]: one client's connection from its first request to its end, by turns hyper's and a stream's.

use super::app::CutOff;
use super::client_io::{ClientIo, Handover};
use super::server::Service;
use super::streaming::Streaming;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Version};
use hyper_util::rt::TokioTimer;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpStream;

/// Longest wait for a request's head, which for hyper begins when the answer before it ended: so it is how long an idle
/// connection is kept as well. Shorter, and the pools of clients (aiohttp's 15 s, Go's 90 s) would meet a connection
/// that is just being closed; nginx waits as long. hyper has no limit unless it is given one, and none without a timer.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// Bytes of a request's head, and of what is read and written at once.
const MAX_BUFFER_BYTES: usize = 32 << 10;

/// Answers requests until the connection ends; once `stopping` has come, only the one that runs.
pub(super) async fn serve_connection(stream: TcpStream, service: Service, stopping: &CutOff) {
    let handover = Handover::default();
    let mut io = ClientIo::new(stream, handover.clone());
    let mut stopped = pin!(stopping.notified());
    loop {
        let answers = service_fn(|request: Request<Incoming>| {
            // Chunks came with that version.
            let is_chunked = request.version() == Version::HTTP_11;
            let (answering, handover) = (service.clone().answer(request), handover.clone());
            async move {
                let reply = answering.await;
                Ok::<_, Infallible>(if is_chunked { handover.take_over(reply) } else { reply })
            }
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_BUFFER_BYTES)
            .serve_connection(io, answers);
        let mut is_told = false;
        let ended = poll_fn(|cx| {
            if !is_told && (stopping.is_now() || stopped.as_mut().poll(cx).is_ready()) {
                is_told = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            match Pin::new(&mut connection).poll(cx) {
                Poll::Ready(ended) => Poll::Ready(Some(ended)),
                Poll::Pending if handover.is_waiting() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        });
        match ended.await {
            Some(Ok(())) => return,
            Some(Err(error)) => return tracing::debug!(%error, "a connection ended"),
            None => {}
        }
        let parts = connection.into_parts();
        io = parts.io;
        io.unread().extend_from_slice(&parts.read_buf);
        drop(parts.read_buf);
        let closes = io.held_says_close();
        let Some(mut body) = handover.take() else { return };
        let mut streaming = Streaming::new(&mut io, body.as_mut());
        if let Err(error) = poll_fn(|cx| streaming.poll(cx)).await {
            return tracing::debug!(%error, "a stream ended early");
        }
        if closes || stopping.is_now() {
            return;
        }
    }
}
