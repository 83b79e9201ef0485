//! The scripted backend: an OpenAI-compatible server on loopback whose model names are scenarios (`perf::scenario`).
//!
//! It decides which bytes leave in which write: one event, one write, which is what separates the costs of system calls
//! from those of bytes. Hand-written over tokio, one thread, no allocation per event. It is no general server: requests
//! it does not know get an error body, and it ends by itself after `--seconds`. With `--tls-cert` and `--tls-key` it
//! listens a second time, for TLS.

use perf::answer::whole_text;
use perf::args::Args;
use perf::clock::unix_ns;
use perf::events::{self, Tokens};
use perf::http::{Body, field, head_len, head_text};
use perf::request::nonce_in;
use perf::scenario::{Scenario, Writes};
use perf::{digest, vectors};
use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

const USAGE: &str =
    "perf-backend [--port 0] [--models NAME,NAME...] [--seconds 900] [--tls-cert PEM --tls-key PEM]";
/// What `/v1/models` lists unless told otherwise.
const MODELS: &str = "whole,stream-16,stream-10000,paced-2-1000,paced-600-10";
/// Room for any request a measured run sends; a longer head or body ends the connection.
const MAX_REQUEST: usize = 16 * 1024 * 1024;
/// Who has not closed its connection by then has not passed on that its caller went.
const GONE_LIMIT: Duration = Duration::from_secs(2);

/// What all connections share.
#[derive(Debug, Default)]
struct Shared {
    models: String,
    /// When the connection of a `hang` request was seen to close, by nonce.
    gone_ns: Mutex<HashMap<String, u64>>,
    /// Answers to embedding requests, by model: a hundred thousand numbers are written once.
    vectors: Mutex<HashMap<String, Arc<str>>>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("perf-backend: {fault}\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let args = Args::parse(std::env::args().skip(1), &["port", "models", "seconds", "tls-cert", "tls-key"])?;
    let (port, seconds) = (args.or("port", 0_u16)?, args.or("seconds", 900_u64)?);
    let tls = match (args.maybe::<String>("tls-cert")?, args.maybe::<String>("tls-key")?) {
        (Some(cert), Some(key)) => Some(acceptor(&cert, &key)?),
        (None, None) => None,
        _ => return Err("--tls-cert and --tls-key go together".to_owned()),
    };
    let models = model_list(&args.or("models", MODELS.to_owned())?);
    let shared = Arc::new(Shared { models, ..Shared::default() });
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let plain = listen(port).await?;
        let secured = match tls {
            Some(acceptor) => Some((listen(0).await?, acceptor)),
            None => None,
        };
        tokio::select! {
            fault = accept(&plain, None, &shared) => Err(format!("accept: {fault}")),
            fault = accept_tls(secured, &shared) => Err(format!("accept: {fault}")),
            () = sleep(Duration::from_secs(seconds)) => Ok(()),
        }
    })
}

/// Listens and says where, one line each: plain first, then TLS.
async fn listen(port: u16) -> Result<TcpListener, String> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|e| format!("--port: {e}"))?;
    println!("{}", listener.local_addr().map_err(|e| e.to_string())?);
    Ok(listener)
}

fn acceptor(cert: &str, key: &str) -> Result<TlsAcceptor, String> {
    let certs: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certs = certs.map_err(|e| format!("--tls-cert: {e}"))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|e| format!("--tls-key: {e}"))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(certs, key);
    Ok(TlsAcceptor::from(Arc::new(config.map_err(|e| format!("--tls-cert: {e}"))?)))
}

async fn accept_tls(secured: Option<(TcpListener, TlsAcceptor)>, shared: &Arc<Shared>) -> io::Error {
    match secured {
        Some((listener, acceptor)) => accept(&listener, Some(acceptor), shared).await,
        None => std::future::pending().await,
    }
}

async fn accept(listener: &TcpListener, tls: Option<TlsAcceptor>, shared: &Arc<Shared>) -> io::Error {
    loop {
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(fault) => return fault,
        };
        let (tls, shared) = (tls.clone(), Arc::clone(shared));
        // A connection's end is the caller's doing and its to report.
        drop(tokio::spawn(async move {
            socket.set_nodelay(true)?;
            match tls {
                Some(tls) => serve(tls.accept(socket).await?, &shared).await,
                None => serve(socket, &shared).await,
            }
        }));
    }
}

fn model_list(names: &str) -> String {
    let one = |name: &str| {
        format!("{{\"id\":\"{name}\",\"object\":\"model\",\"created\":1754000000,\"owned_by\":\"perf\"}}")
    };
    let all: Vec<_> = names.split(',').map(one).collect();
    format!("{{\"object\":\"list\",\"data\":[{}]}}", all.join(","))
}

/// A caller's connection, with or without TLS.
trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

async fn serve(mut socket: impl Socket, shared: &Shared) -> io::Result<()> {
    let mut buf = Vec::with_capacity(1024);
    while let Some((head, body)) = read_request(&mut socket, &mut buf).await? {
        let mut words = head.split(' ');
        match (words.next(), words.next()) {
            (Some("GET"), Some("/v1/models")) => whole(&mut socket, "200 OK", &shared.models).await?,
            (Some("GET"), Some(path)) => match path.strip_prefix("/perf/gone/") {
                Some(nonce) => gone(&mut socket, nonce, shared).await?,
                None => refuse(&mut socket, "404 Not Found", "no such route").await?,
            },
            (Some("POST"), Some("/v1/chat/completions")) => chat(&mut socket, &body, shared).await?,
            (Some("POST"), Some("/v1/embeddings")) => embed(&mut socket, &body, shared).await?,
            _ => refuse(&mut socket, "404 Not Found", "no such route").await?,
        }
        if field(&head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            break;
        }
    }
    Ok(())
}

/// The next request's head and body; none when the caller has closed.
async fn read_request(socket: &mut impl Socket, buf: &mut Vec<u8>) -> io::Result<Option<(String, String)>> {
    let wrong = |fault: String| io::Error::new(io::ErrorKind::InvalidData, fault);
    let mut content = Vec::new();
    let mut head = None;
    loop {
        if head.is_none()
            && let Some(end) = head_len(buf)
        {
            let text = head_text(buf.get(..end).unwrap_or_default()).map_err(wrong)?.to_owned();
            let body = Body::from_head(&text).map_err(wrong)?;
            buf.drain(..end);
            head = Some((text, body));
        }
        if let Some((_, body)) = head.as_mut() {
            let used = body.read(buf, |bytes| {
                content.extend_from_slice(bytes);
                Ok(())
            });
            buf.drain(..used.map_err(wrong)?);
        }
        if let Some((text, _)) = head.take_if(|(_, body)| body.is_done()) {
            let body = String::from_utf8(content).map_err(|_| wrong("body is not UTF-8".to_owned()))?;
            return Ok(Some((text, body)));
        }
        if buf.len() + content.len() > MAX_REQUEST {
            return Err(wrong("request too large".to_owned()));
        }
        if head.is_some() {
            buf.reserve(64 * 1024);
        }
        if socket.read_buf(buf).await? == 0 {
            return Ok(None);
        }
    }
}

async fn chat(socket: &mut impl Socket, body: &str, shared: &Shared) -> io::Result<()> {
    let model = text_after(body, "\"model\":").unwrap_or_default();
    let is_streamed = has(body, "\"stream\":", "true");
    let has_usage = has(body, "\"include_usage\":", "true");
    let nonce = nonce_in(body).unwrap_or("no nonce");
    let scenario = match Scenario::from_model(model) {
        Ok(scenario) if scenario.is_streamed() == is_streamed => scenario,
        Ok(_) => return refuse(socket, "400 Bad Request", "stream: not what the model does").await,
        Err(fault) => return refuse(socket, "404 Not Found", &fault).await,
    };
    match scenario {
        Scenario::Whole => {
            let text = whole_text(nonce, None);
            whole(socket, "200 OK", &events::completion(model, &text)).await
        }
        Scenario::History { .. } | Scenario::Image { .. } => match digest::of_body(body.as_bytes()) {
            Ok(digest) => {
                let text = whole_text(nonce, Some(digest));
                whole(socket, "200 OK", &events::completion(model, &text)).await
            }
            Err(fault) => refuse(socket, "400 Bad Request", &fault).await,
        },
        Scenario::Stream { tokens, writes } => stream(socket, model, tokens, writes, has_usage).await,
        Scenario::Paced { tokens, gap } => paced(socket, model, tokens, gap, has_usage).await,
        Scenario::Hang => hang(socket, model, nonce, shared).await,
        Scenario::Embed { .. } => refuse(socket, "400 Bad Request", "a model for embeddings").await,
    }
}

/// True when a key has this value; Python's writer puts a space between them.
fn has(body: &str, key: &str, value: &str) -> bool {
    body.split(key).skip(1).any(|rest| rest.trim_start().starts_with(value))
}

/// The string that follows a key; enough for model names, which hold no escapes.
fn text_after<'a>(body: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(key)?;
    rest.trim_start().strip_prefix('"')?.split('"').next()
}

async fn whole(socket: &mut impl Socket, status: &str, body: &str) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all((head + body).as_bytes()).await?;
    socket.flush().await
}

async fn refuse(socket: &mut impl Socket, status: &str, message: &str) -> io::Result<()> {
    whole(socket, status, &events::error(message)).await
}

async fn embed(socket: &mut impl Socket, body: &str, shared: &Shared) -> io::Result<()> {
    let model = text_after(body, "\"model\":").unwrap_or_default();
    let Ok(Scenario::Embed { inputs, dims }) = Scenario::from_model(model) else {
        return refuse(socket, "404 Not Found", "expected a model embed-N-D").await;
    };
    if !vectors::asks_for(body, inputs) {
        return refuse(socket, "400 Bad Request", "input: not the texts that were sent").await;
    }
    let answer = {
        let mut cache = shared.vectors.lock().unwrap_or_else(PoisonError::into_inner);
        let answer =
            cache.entry(model.to_owned()).or_insert_with(|| vectors::answer(model, inputs, dims).into());
        Arc::clone(answer)
    };
    whole(socket, "200 OK", &answer).await
}

async fn paced(
    socket: &mut impl Socket,
    model: &str,
    tokens: u32,
    gap: Duration,
    has_usage: bool,
) -> io::Result<()> {
    socket.write_all(&events::stream_head(model)).await?;
    let mut events = Tokens::new(model);
    let begin = Instant::now();
    for number in 0..tokens {
        // The first token never waits: a timer would add its own millisecond to the very figure that is asked for.
        if number > 0 {
            sleep_until(begin + gap * number).await;
        }
        socket.write_all(events.stamped(number)).await?;
        socket.flush().await?;
    }
    finish(socket, model, tokens, has_usage).await
}

async fn stream(
    socket: &mut impl Socket,
    model: &str,
    tokens: u32,
    writes: Writes,
    has_usage: bool,
) -> io::Result<()> {
    socket.write_all(&events::stream_head(model)).await?;
    let mut events = Tokens::new(model);
    let mut pending = Vec::new();
    for number in 0..tokens {
        let event = events.stamped(number);
        match writes {
            Writes::Events(1) => socket.write_all(event).await?,
            Writes::Events(each) => {
                pending.extend_from_slice(event);
                if (number + 1) % each == 0 {
                    socket.write_all(&pending).await?;
                    pending.clear();
                }
            }
            Writes::Bytes(each) => {
                pending.extend_from_slice(event);
                let whole = pending.len() - pending.len() % each as usize;
                for part in pending.get(..whole).unwrap_or_default().chunks(each as usize) {
                    socket.write_all(part).await?;
                }
                pending.drain(..whole);
            }
        }
    }
    socket.write_all(&pending).await?;
    finish(socket, model, tokens, has_usage).await
}

async fn finish(socket: &mut impl Socket, model: &str, tokens: u32, has_usage: bool) -> io::Result<()> {
    socket.write_all(&events::stop(model)).await?;
    socket.write_all(&events::stream_end(model, tokens, has_usage)).await?;
    socket.flush().await
}

/// One token, then nothing until the other side closes; keeps when that was.
async fn hang(socket: &mut impl Socket, model: &str, nonce: &str, shared: &Shared) -> io::Result<()> {
    socket.write_all(&events::stream_head(model)).await?;
    socket.write_all(Tokens::new(model).stamped(0)).await?;
    socket.flush().await?;
    let closed = socket.read(&mut [0; 1]).await;
    let gone_ns = unix_ns();
    // A reset closes as well as an end does.
    if !matches!(closed, Ok(1..)) {
        shared.gone_ns.lock().unwrap_or_else(PoisonError::into_inner).insert(nonce.to_owned(), gone_ns);
    }
    Err(io::ErrorKind::ConnectionAborted.into())
}

/// Says when a hanging request was seen to be gone, and waits for that.
async fn gone(socket: &mut impl Socket, nonce: &str, shared: &Shared) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        let seen = shared.gone_ns.lock().unwrap_or_else(PoisonError::into_inner).remove(nonce);
        if let Some(gone_ns) = seen {
            return whole(socket, "200 OK", &gone_ns.to_string()).await;
        }
        if begun.elapsed() > GONE_LIMIT {
            return refuse(socket, "504 Gateway Timeout", "the connection is still open").await;
        }
        sleep(Duration::from_millis(2)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_is_found_with_and_without_a_space() {
        assert_eq!(text_after("{\"model\": \"a\"}", "\"model\":"), Some("a"));
        assert_eq!(text_after("{\"stream\":true,\"model\":\"b\"}", "\"model\":"), Some("b"));
        assert!(has("{\"stream\": true}", "\"stream\":", "true"));
        assert!(!has("{\"stream\":false,\"x\":true}", "\"stream\":", "true"));
    }

    /// What a caller reads of a stream, write by write.
    fn writes(model: &str, tokens: u32, writes: Writes) -> Vec<usize> {
        let (mut ours, mut theirs) = tokio::io::duplex(1 << 20);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let model = model.to_owned();
            let write = async { stream(&mut ours, &model, tokens, writes, true).await.unwrap() };
            write.await;
            drop(ours);
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).await.unwrap();
            vec![all.len()]
        })
    }

    #[test]
    fn every_cut_of_a_stream_has_the_same_length() {
        let one = writes("stream-9", 9, Writes::Events(1));
        assert_eq!(writes("stream-9", 9, Writes::Events(4)), one);
        assert_eq!(writes("stream-9", 9, Writes::Bytes(7)), one);
    }
}
