//! The scripted backend: an OpenAI-compatible server on loopback whose model names are scenarios (`perf::scenario`).
//!
//! It decides which bytes leave in which write: one event, one write, which is what separates the costs of system calls
//! from those of bytes. Hand-written over tokio, one thread, no allocation per event. It is no general server: requests
//! it does not know get an error body, and it ends by itself after `--seconds`.

use perf::answer::{WHOLE_TOKENS, whole_text};
use perf::args::Args;
use perf::http::{Body, field, head_len, head_text};
use perf::request::nonce_in;
use perf::scenario::Scenario;
use perf::token;
use std::io;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, sleep_until};

const USAGE: &str = "perf-backend [--port 0] [--models NAME,NAME...] [--seconds 900]";
/// What `/v1/models` lists unless told otherwise.
const MODELS: &str = "whole,stream-16,stream-10000,paced-2-1000,paced-600-10";
/// Bytes of one token's event, line ends included: what a hosted backend sends for a short token.
const EVENT_LEN: usize = 258;
/// Room for any request a measured run sends; a longer head or body ends the connection.
const MAX_REQUEST: usize = 16 * 1024 * 1024;

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
    let args = Args::parse(std::env::args().skip(1), &["port", "models", "seconds"])?;
    let (port, seconds) = (args.or("port", 0_u16)?, args.or("seconds", 900_u64)?);
    let models = model_list(&args.or("models", MODELS.to_owned())?);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|e| format!("--port: {e}"))?;
        println!("{}", listener.local_addr().map_err(|e| e.to_string())?);
        tokio::select! {
            fault = accept(&listener, models.into()) => Err(format!("accept: {fault}")),
            () = sleep(Duration::from_secs(seconds)) => Ok(()),
        }
    })
}

async fn accept(listener: &TcpListener, models: std::sync::Arc<str>) -> io::Error {
    loop {
        let (socket, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(fault) => return fault,
        };
        let models = models.clone();
        // A connection's end is the caller's doing and its to report.
        drop(tokio::spawn(async move { serve(socket, &models).await }));
    }
}

fn model_list(names: &str) -> String {
    let one = |name: &str| {
        format!("{{\"id\":\"{name}\",\"object\":\"model\",\"created\":1754000000,\"owned_by\":\"perf\"}}")
    };
    let all: Vec<_> = names.split(',').map(one).collect();
    format!("{{\"object\":\"list\",\"data\":[{}]}}", all.join(","))
}

async fn serve(mut socket: TcpStream, models: &str) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut buf = Vec::with_capacity(1024);
    while let Some((head, body)) = read_request(&mut socket, &mut buf).await? {
        let mut words = head.split(' ');
        match (words.next(), words.next()) {
            (Some("GET"), Some("/v1/models")) => whole(&mut socket, "200 OK", models).await?,
            (Some("POST"), Some("/v1/chat/completions")) => chat(&mut socket, &body).await?,
            _ => whole(&mut socket, "404 Not Found", &error("no such route")).await?,
        }
        if field(&head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            break;
        }
    }
    Ok(())
}

/// The next request's head and body; none when the caller has closed.
async fn read_request(socket: &mut TcpStream, buf: &mut Vec<u8>) -> io::Result<Option<(String, String)>> {
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
        if socket.read_buf(buf).await? == 0 {
            return Ok(None);
        }
    }
}

async fn chat(socket: &mut TcpStream, body: &str) -> io::Result<()> {
    let model = text_after(body, "\"model\":").unwrap_or_default();
    let is_streamed = body.contains("\"stream\":true");
    match (Scenario::from_model(model), is_streamed) {
        (Ok(Scenario::Whole), false) => {
            let text = whole_text(nonce_in(body).unwrap_or("no nonce"));
            whole(socket, "200 OK", &completion(model, &text)).await
        }
        (Ok(Scenario::Stream { tokens }), true) => {
            stream(socket, model, tokens, Duration::ZERO, wants_usage(body)).await
        }
        (Ok(Scenario::Paced { tokens, gap }), true) => {
            stream(socket, model, tokens, gap, wants_usage(body)).await
        }
        (Ok(_), _) => {
            whole(socket, "400 Bad Request", &error("only whole is not streamed, and whole only so")).await
        }
        (Err(fault), _) => whole(socket, "404 Not Found", &error(&fault.replace('"', "'"))).await,
    }
}

fn wants_usage(body: &str) -> bool {
    body.contains("\"include_usage\":true")
}

/// The string that follows a key; enough for model names, which hold no escapes.
fn text_after<'a>(body: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(key)?;
    rest.trim_start().strip_prefix('"')?.split('"').next()
}

fn completion(model: &str, text: &str) -> String {
    format!(
        "{{\"id\":\"chatcmpl-perf\",\"object\":\"chat.completion\",\"created\":1754000000,\"model\":\"{model}\",\
         \"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"{text}\"}},\
         \"finish_reason\":\"stop\"}}],\"usage\":{{\"prompt_tokens\":9,\"completion_tokens\":{WHOLE_TOKENS},\
         \"total_tokens\":{}}}}}",
        9 + WHOLE_TOKENS
    )
}

fn error(message: &str) -> String {
    format!(
        "{{\"error\":{{\"message\":\"{message}\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}}}"
    )
}

async fn whole(socket: &mut TcpStream, status: &str, body: &str) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all((head + body).as_bytes()).await
}

async fn stream(
    socket: &mut TcpStream,
    model: &str,
    tokens: u32,
    gap: Duration,
    has_usage: bool,
) -> io::Result<()> {
    let mut head =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    head.extend(chunk(&event(model, "{\"role\":\"assistant\",\"content\":\"\"}", "null", 0)));
    socket.write_all(&head).await?;
    let mut plain = TokenEvent::new(model, 0);
    let mut escaped = TokenEvent::new(model, 7);
    let begin = Instant::now();
    for number in 0..tokens {
        // The first token never waits: a timer would add its own millisecond to the very figure that is asked for.
        if number > 0 && !gap.is_zero() {
            sleep_until(begin + gap * number).await;
        }
        let event = if number % 8 == 7 { &mut escaped } else { &mut plain };
        socket.write_all(event.stamped(number)).await?;
    }
    socket.write_all(&chunk(&event(model, "{}", "\"stop\"", 0))).await?;
    let mut end = Vec::new();
    if has_usage {
        let usage = format!(
            "\"usage\":{{\"prompt_tokens\":9,\"completion_tokens\":{tokens},\"total_tokens\":{}}}",
            9 + u64::from(tokens)
        );
        let object = "\"id\":\"chatcmpl-perf\",\"object\":\"chat.completion.chunk\",\"created\":1754000000";
        end =
            chunk(format!("data: {{{object},\"model\":\"{model}\",\"choices\":[],{usage}}}\n\n").as_bytes());
    }
    end.extend(chunk(b"data: [DONE]\n\n"));
    end.extend(b"0\r\n\r\n");
    socket.write_all(&end).await
}

/// One event; its id is padded with `pad` letters.
fn event(model: &str, delta: &str, finish_reason: &str, pad: usize) -> Vec<u8> {
    let id = "a".repeat(pad);
    let object = "\"object\":\"chat.completion.chunk\",\"created\":1754000000";
    let choice = format!("{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish_reason}}}");
    format!("data: {{\"id\":\"chatcmpl-{id}\",{object},\"model\":\"{model}\",\"choices\":[{choice}]}}\n\n")
        .into_bytes()
}

fn chunk(content: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", content.len()).into_bytes();
    chunk.extend_from_slice(content);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// One token's chunk, laid out once; only time and number change.
struct TokenEvent {
    chunk: Vec<u8>,
    text_at: usize,
}

impl TokenEvent {
    fn new(model: &str, number: u32) -> Self {
        let mark = "#".repeat(token::TIME_LEN + token::NUMBER_LEN);
        let delta = format!("{{\"content\":\"{mark}{}\"}}", token::word_in_json(number));
        let bare = event(model, &delta, "null", 0).len();
        let chunk = chunk(&event(model, &delta, "null", EVENT_LEN.saturating_sub(bare)));
        let text_at = chunk.iter().position(|byte| *byte == b'#').unwrap_or(chunk.len());
        Self { chunk, text_at }
    }

    fn stamped(&mut self, number: u32) -> &[u8] {
        token::stamp(self.chunk.get_mut(self.text_at..).unwrap_or_default(), number);
        &self.chunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_events_have_the_length_they_claim() {
        for number in [0, 7] {
            let event = TokenEvent::new("stream-10000", number);
            assert!(event.chunk.starts_with(b"102\r\n"));
            assert_eq!(event.chunk.len(), EVENT_LEN + 7);
        }
    }

    #[test]
    fn model_is_found_with_and_without_a_space() {
        assert_eq!(text_after("{\"model\": \"a\"}", "\"model\":"), Some("a"));
        assert_eq!(text_after("{\"stream\":true,\"model\":\"b\"}", "\"model\":"), Some("b"));
    }
}
