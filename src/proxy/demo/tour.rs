//! What a person sees of the demonstration: one real question asked of the proxy, and what to try next.
//!
//! It is an Ollama client like any other: one `POST /api/chat` over TCP, the lines of the answer shown as they come. It
//! starts and stops nothing, and prints to the writer it is given; it fails rather than show what did not happen.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use simd_json::OwnedValue;
use simd_json::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::body::Pace;
use super::wrap::Wrap;

const QUESTION: &str = "Why is the sky blue?";

/// The whole conversation, some three seconds long; past it something hangs.
const TOUR_LIMIT: Duration = Duration::from_secs(60);

/// One line of the answer holds one word; a longer one is not ours.
const MAX_LINE: usize = 1024 * 1024;

/// As much of an error body as is read.
const MAX_ERROR: usize = 64 * 1024;

/// Why the tour ended early.
#[derive(Debug)]
pub(crate) enum DemoError {
    /// The proxy's port did not take a connection.
    Connect(SocketAddr, io::Error),
    /// The connection broke.
    Broken(io::Error),
    /// What came is not HTTP.
    NotHttp,
    /// The proxy answered with an error status; the text is its own.
    Refused(u16, String),
    /// The answer ended in an error line; the text is its own.
    Failed(String),
    /// A line of the answer is not what Ollama sends.
    Line(&'static str),
    /// The answer ended without its last line.
    Cut,
    /// Nothing more came.
    Slow,
    /// The words could not be shown.
    Output(io::Error),
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(proxy, _) => write!(f, "could not connect to the proxy at {proxy}"),
            Self::Broken(_) => f.write_str("the connection to the proxy broke"),
            Self::NotHttp => f.write_str("what answers does not speak HTTP"),
            Self::Refused(status, text) => write!(f, "the proxy answered {status}: {text}"),
            Self::Failed(text) => write!(f, "the answer ended in an error: {text}"),
            Self::Line(what) => write!(f, "a line of the answer {what}"),
            Self::Cut => f.write_str("the answer ended before its last line"),
            Self::Slow => write!(f, "the answer took more than {} s", TOUR_LIMIT.as_secs()),
            Self::Output(_) => f.write_str("could not write the answer out"),
        }
    }
}

impl Error for DemoError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect(_, error) | Self::Output(error) | Self::Broken(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for DemoError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Shows the demonstration: what runs where, one question, its answer as it comes, and what it took.
///
/// # Errors
/// Whatever keeps the answer from coming whole; see [`DemoError`].
pub(crate) async fn tour(
    proxy: SocketAddr,
    backend: SocketAddr,
    out: &mut dyn Write,
    colour: bool,
) -> Result<(), DemoError> {
    let paint = Paint(colour);
    let proxy = reachable(proxy);
    welcome(proxy, backend, out, paint)?;
    let told = tokio::time::timeout(TOUR_LIMIT, ask(proxy, out)).await;
    writeln!(out)?; // whatever comes next, the answer's last line is ended
    summary(&told.map_err(|_| DemoError::Slow)??, out, paint)?;
    Ok(())
}

/// Shows what to try while the demonstration goes on serving, how to end it, and how to get real answers.
///
/// # Errors
/// When `out` cannot be written to.
pub(crate) fn next_steps(proxy: SocketAddr, out: &mut dyn Write, colour: bool) -> io::Result<()> {
    let paint = Paint(colour);
    let proxy = reachable(proxy);
    let command = |text: &str| paint.command(text);
    writeln!(out, "\n{}", paint.heading("Your turn, while this goes on running:"))?;
    writeln!(out, "\n  with curl")?;
    writeln!(out, "    {}", command(&format!("curl http://{proxy}/api/chat -d '{{\"model\": \"demo\",")))?;
    writeln!(out, "    {}", command("  \"messages\": [{\"role\": \"user\", \"content\": \"Hello!\"}]}'"))?;
    writeln!(out, "\n  with Ollama's own command")?;
    writeln!(out, "    {}", command(&format!("OLLAMA_HOST={proxy} ollama run demo")))?;
    writeln!(out, "\n  with its Python client (pip install ollama)")?;
    writeln!(out, "    {}", command("from ollama import Client"))?;
    let call = format!("print(Client(\"http://{proxy}\").generate(\"demo\", \"Hello!\").response)");
    writeln!(out, "    {}", command(&call))?;
    writeln!(
        out,
        "\n{}",
        paint.heading("For real answers, press Ctrl-C and start the proxy on a real backend:")
    )?;
    writeln!(out)?;
    writeln!(out, "    {}", command("export OPENAI_API_BASE_URL=https://api.openai.com/v1"))?;
    writeln!(out, "    {}", command("export OPENAI_API_KEY=..."))?;
    writeln!(out, "    {}\n", command("ollama-openai-proxy"))?;
    out.flush()
}

fn welcome(proxy: SocketAddr, backend: SocketAddr, out: &mut dyn Write, paint: Paint) -> io::Result<()> {
    writeln!(
        out,
        "{}",
        paint.heading("ollama-openai-proxy: a demonstration that needs no key and no network")
    )?;
    writeln!(out)?;
    writeln!(out, "  client   this tour, which speaks Ollama's API like any Ollama client")?;
    writeln!(out, "  proxy    http://{proxy}, from Ollama's API to OpenAI's and back")?;
    writeln!(out, "  backend  http://{backend}, OpenAI-compatible and built in: a script")?;
    writeln!(out, "\n{}", paint.aside("POST /api/chat, model demo, streamed:"))?;
    writeln!(out, "\n{} {QUESTION}\n", paint.command(">"))?;
    out.flush()
}

/// What the answer came to: the counts of its last line, and what was measured here.
#[derive(Debug)]
struct Told {
    tokens: u64,
    /// As the last line has it: from the first word to the last.
    answering: Duration,
    to_first_word: Duration,
    total: Duration,
}

fn summary(told: &Told, out: &mut dyn Write, paint: Paint) -> io::Result<()> {
    let rate = told.tokens as f64 / told.answering.as_secs_f64().max(0.001);
    let facts = format!(
        "{} tokens in {}, {rate:.0} a second; the first word after {}",
        told.tokens,
        seconds(told.total),
        seconds(told.to_first_word)
    );
    let pace = Pace::realistic();
    let note = format!(
        "(the script takes its time on purpose: {}, then {} a word)",
        seconds(pace.first),
        seconds(pace.word)
    );
    writeln!(out, "\n{}\n{}", paint.good(&facts), paint.aside(&note))?;
    out.flush()
}

/// By HTTP/1.0 (RFC 1945): such an answer is not chunked and ends with the connection, so there is nothing to decode.
async fn ask(proxy: SocketAddr, out: &mut dyn Write) -> Result<Told, DemoError> {
    let mut stream = TcpStream::connect(proxy).await.map_err(|error| DemoError::Connect(proxy, error))?;
    let question =
        format!(r#"{{"model":"demo","messages":[{{"role":"user","content":"{QUESTION}"}}],"stream":true}}"#);
    let request = format!(
        "POST /api/chat HTTP/1.0\r\nHost: {proxy}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{question}",
        question.len()
    );
    let begun = Instant::now();
    stream.write_all(request.as_bytes()).await.map_err(DemoError::Broken)?;
    let (status, body) = head(&mut stream).await?;
    match status {
        200 => answer(&mut stream, body, begun, out).await,
        status => Err(refused(&mut stream, status, body).await),
    }
}

/// The status of the answer, and what came of its body together with the head.
async fn head(stream: &mut TcpStream) -> Result<(u16, Vec<u8>), DemoError> {
    let mut head = Vec::new();
    loop {
        let end = head.windows(4).position(|end| end == b"\r\n\r\n");
        if let Some(end) = end {
            let line = String::from_utf8_lossy(&head);
            let status = line.strip_prefix("HTTP/1.").and_then(|line| line.get(2..5)?.parse().ok());
            return Ok((status.ok_or(DemoError::NotHttp)?, head.split_off(end + 4)));
        }
        if head.len() > MAX_ERROR {
            return Err(DemoError::NotHttp);
        }
        if stream.read_buf(&mut head).await.map_err(DemoError::Broken)? == 0 {
            return Err(DemoError::NotHttp);
        }
    }
}

/// Reads the answer line by line, and shows the words of each as it comes.
async fn answer(
    stream: &mut TcpStream,
    mut pending: Vec<u8>,
    begun: Instant,
    out: &mut dyn Write,
) -> Result<Told, DemoError> {
    let mut wrap = Wrap::default();
    let mut first_word = None;
    loop {
        while let Some(end) = memchr::memchr(b'\n', &pending) {
            let mut line: Vec<u8> = pending.drain(..=end).collect();
            let line = simd_json::to_owned_value(&mut line).map_err(|_| DemoError::Line("is not JSON"))?;
            if let Some(error) = line.get("error") {
                return Err(DemoError::Failed(plain(error.as_str().unwrap_or("no text"))));
            }
            let message = line.get("message").ok_or(DemoError::Line("has no message"))?;
            let words = message.get_str("content").unwrap_or_default();
            if !words.is_empty() {
                first_word.get_or_insert_with(|| begun.elapsed());
                wrap.push(words, out)?;
            }
            if line.get_bool("done") == Some(true) {
                return Ok(told(&line, first_word, begun.elapsed()));
            }
        }
        if pending.len() > MAX_LINE {
            return Err(DemoError::Line("is longer than 1 MiB"));
        }
        if stream.read_buf(&mut pending).await.map_err(DemoError::Broken)? == 0 {
            return Err(DemoError::Cut);
        }
    }
}

fn told(last: &OwnedValue, first_word: Option<Duration>, total: Duration) -> Told {
    let to_first_word = first_word.unwrap_or(total);
    let measured = total.saturating_sub(to_first_word);
    let answering = last.get_u64("eval_duration").map_or(measured, Duration::from_nanos);
    Told { tokens: last.get_u64("eval_count").unwrap_or(0), answering, to_first_word, total }
}

async fn refused(stream: &mut TcpStream, status: u16, mut body: Vec<u8>) -> DemoError {
    while body.len() < MAX_ERROR {
        match stream.read_buf(&mut body).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(_) => return DemoError::Refused(status, "its text could not be read".to_owned()),
        }
    }
    let document = simd_json::to_owned_value(&mut body.clone()).ok();
    let text = document.as_ref().and_then(|document| document.get_str("error"));
    DemoError::Refused(status, plain(text.unwrap_or(&String::from_utf8_lossy(&body))))
}

/// A peer's text on one line of the person's terminal.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(1000)
        .collect::<String>()
        .trim()
        .to_owned()
}

/// An address to connect to: a wildcard that is listened on is reached through loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}

fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

/// Colours, where the terminal has them.
#[derive(Debug, Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn heading(self, text: &str) -> String {
        self.dress("1", text)
    }

    fn command(self, text: &str) -> String {
        self.dress("36", text)
    }

    fn good(self, text: &str) -> String {
        self.dress("32", text)
    }

    fn aside(self, text: &str) -> String {
        self.dress("2", text)
    }

    fn dress(self, code: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
#[path = "tour_tests.rs"]
mod tests;
