//! A raw HTTP/1 client: the status, the headers and every chunk as they stood on the wire, and lines as they come.
//!
//! It knows just enough of HTTP to end a body where it ends, and forgives nothing: a body that is cut is an error. It
//! does not reconnect, follow or decode anything. No read is longer than [`PATIENCE`].

use super::signal::PATIENCE;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// One connection.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
    body: Framing,
    /// Of the body, read but not yet given out as a line.
    pending: Vec<u8>,
    no_body: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) version: String,
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn content_type(&self) -> &str {
        self.header("content-type").unwrap_or_default()
    }
}

/// A head with its whole body.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.status
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("the body is UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The lines of a stream, each of which must be JSON and end in a line feed.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = self.text();
        assert!(text.ends_with('\n'), "the last line is not ended: {text:?}");
        text.split_terminator('\n').map(json_line).collect()
    }

    /// The text of `{"error": "..."}`, which must be all there is.
    pub(crate) fn error(&self) -> String {
        error_of(&self.json())
    }
}

/// The text of an object that is nothing but an error.
pub(crate) fn error_of(value: &Value) -> String {
    let members = value.as_object().unwrap_or_else(|| panic!("an error is an object: {value}"));
    assert_eq!(members.len(), 1, "an error has one member: {value}");
    let text = value["error"].as_str().unwrap_or_else(|| panic!("`error` is a string: {value}"));
    assert!(!text.is_empty(), "an error says something");
    assert!(!text.to_lowercase().contains("upstream error"), "`ollama run` hides this text: {text}");
    text.to_string()
}

pub(crate) fn json_line(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

/// All text of a streamed chat.
pub(crate) fn content(lines: &[Value]) -> String {
    lines.iter().map(|line| line["message"]["content"].as_str().expect("`content` is a string")).collect()
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let reader = BufReader::new(stream);
        Client { reader, body: Framing::Length(0), pending: Vec::new(), no_body: false }
    }

    /// Exactly these bytes.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes.as_ref())
    }

    /// A request with a `Host`, a length where there is a body, and these headers.
    pub(crate) fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) {
        let named = |name: &str| headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !named("host") {
            head += &format!("host: {}\r\n", self.reader.get_ref().peer_addr().unwrap());
        }
        if let Some(body) = body {
            head += &format!("content-length: {}\r\n", body.len());
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        self.no_body = method == "HEAD";
        self.send([head.as_bytes(), b"\r\n", body.unwrap_or_default()].concat()).unwrap();
    }

    pub(crate) fn post(&mut self, target: &str, body: &Value) {
        let headers = [("content-type", "application/json")];
        self.request("POST", target, &headers, Some(body.to_string().as_bytes()));
    }

    /// The next head; `None` when the server closed instead.
    pub(crate) fn try_head(&mut self) -> io::Result<Option<Head>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            match self.reader.read_line(&mut line)? {
                0 if lines.is_empty() => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ if line == "\r\n" => break,
                _ => lines.push(line.trim_end().to_string()),
            }
        }
        let mut lines = lines.into_iter();
        let start = lines.next().unwrap_or_default();
        let (version, rest) = start.split_once(' ').expect("a status line");
        let status = rest.get(..3).and_then(|status| status.parse().ok()).expect("a status");
        let headers: Vec<_> = lines
            .filter_map(|line| {
                line.split_once(':').map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_string()))
            })
            .collect();
        let head = Head { version: version.to_string(), status, headers };
        self.body = match (head.header("transfer-encoding"), head.header("content-length")) {
            _ if self.no_body || matches!(status, 204 | 304) => Framing::Length(0),
            (Some("chunked"), None) => Framing::Chunked,
            (None, Some(length)) => Framing::Length(length.parse().expect("a length")),
            (None, None) => Framing::UntilClose,
            (encoding, length) => panic!("framing: {encoding:?} {length:?}"),
        };
        Ok(Some(head))
    }

    pub(crate) fn head(&mut self) -> Head {
        self.try_head().expect("a head comes").expect("the server answers")
    }

    /// The next piece of the body: one chunk as it was framed, or what is there. `None`: the end.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.body {
            Framing::Length(0) => Ok(None),
            Framing::Length(length) => {
                let mut bytes = vec![0; length];
                self.reader.read_exact(&mut bytes)?;
                self.body = Framing::Length(0);
                Ok(Some(bytes))
            }
            Framing::UntilClose => {
                // All there will ever be: nobody reads these lines as they come.
                let mut bytes = Vec::new();
                self.reader.read_to_end(&mut bytes)?;
                Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
            }
            Framing::Chunked => {
                let mut size = String::new();
                self.reader.read_line(&mut size)?;
                let size = usize::from_str_radix(size.trim_end(), 16)
                    .map_err(|_| io::Error::new(io::ErrorKind::UnexpectedEof, "no chunk size"))?;
                let mut bytes = vec![0; size + 2];
                self.reader.read_exact(&mut bytes)?;
                assert_eq!(bytes.split_off(size), b"\r\n", "a chunk ends in CRLF");
                if size == 0 {
                    self.body = Framing::Length(0);
                }
                Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
            }
        }
    }

    /// The next line of the body, without its line feed, as soon as it is there.
    pub(crate) fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(at) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=at).collect();
                return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_string()));
            }
            match self.chunk()? {
                Some(bytes) => self.pending.extend(bytes),
                None if self.pending.is_empty() => return Ok(None),
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a line without end")),
            }
        }
    }

    /// The next line, which must come and be JSON.
    pub(crate) fn json_line(&mut self) -> Value {
        json_line(&self.line().expect("a line comes").expect("the answer goes on"))
    }

    /// The head of a stream, and its first line.
    pub(crate) fn json_line_after_head(&mut self) -> Value {
        assert_eq!(self.head().status, 200);
        self.json_line()
    }

    /// What is left of the body, which must end as HTTP says.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = std::mem::take(&mut self.pending);
        while let Some(chunk) = self.chunk()? {
            bytes.extend(chunk);
        }
        Ok(bytes)
    }

    pub(crate) fn answer(&mut self) -> Answer {
        let head = self.head();
        let body = self.rest().expect("the body is whole");
        Answer { head, body }
    }

    /// Nothing comes for this long. That something does not happen can only be seen by waiting.
    pub(crate) fn assert_silence(&mut self, wait: Duration) {
        assert!(self.reader.buffer().is_empty() && self.pending.is_empty());
        let stream = self.reader.get_ref();
        stream.set_read_timeout(Some(wait)).unwrap();
        let mut bytes = [0; 1000];
        let peeked = loop {
            match stream.peek(&mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                peeked => break peeked,
            }
        };
        match peeked {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => panic!("the connection broke: {error}"),
            Ok(count) => panic!("something came: {:?}", String::from_utf8_lossy(&bytes[..count])),
        }
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }

    /// Whether the server closes the connection without a further word.
    pub(crate) fn is_closed_by_server(&mut self) -> bool {
        match self.reader.read_exact(&mut [0]) {
            Ok(()) => false,
            Err(error) => {
                matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
            }
        }
    }

    /// Ends the sending side, and goes on listening.
    pub(crate) fn close_write(&mut self) {
        // The server may be gone already.
        let _ = self.reader.get_ref().shutdown(Shutdown::Write);
    }
}
