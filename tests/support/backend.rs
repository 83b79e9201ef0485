//! A scripted backend: a test says byte by byte what it answers, when, and how the connection ends.
//!
//! Every connection has a thread of its own; a script waits for a [`Signal`] of the test where a real backend would
//! think, so nothing here sleeps. Every request is kept, and so is the moment at which the proxy closed a connection.
//! Bodies are read by their length only: the proxy knows what it sends, so another framing is a fault. `GET /models`
//! is answered here unless a test says otherwise. No wait is longer than [`PATIENCE`].

use super::chunks::{STREAM_HEAD, delta, event, finish, model_list, role, usage};
use super::signal::PATIENCE;
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Any free port of loopback.
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What the proxy asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Which connection it came on, counted from 1.
    pub(crate) connection: usize,
    pub(crate) method: String,
    /// Path and query, as they stood.
    pub(crate) target: String,
    /// Names in lower case, in their order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the proxy sends JSON")
    }

    /// The last message: tests choose a script by it.
    pub(crate) fn prompt(&self) -> String {
        let body = self.json();
        let last = body["messages"].as_array().and_then(|messages| messages.last());
        last.and_then(|message| message["content"].as_str()).unwrap_or_default().to_string()
    }
}

type Script = dyn Fn(&Request, &mut Peer) + Send + Sync;

/// What happened so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) connections: usize,
    pub(crate) requests: Vec<Request>,
    /// The connections that the proxy closed, and when.
    pub(crate) closed: Vec<(usize, Instant)>,
    /// What the proxy sent that no HTTP client of ours should.
    faults: Vec<String>,
}

impl Seen {
    pub(crate) fn posts(&self) -> Vec<&Request> {
        self.requests.iter().filter(|request| request.method == "POST").collect()
    }

    fn closed_at(&self, connection: usize) -> Option<Instant> {
        self.closed.iter().find(|(closed, _)| *closed == connection).map(|(_, at)| *at)
    }
}

struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
    stop: AtomicBool,
    models: Option<Box<Script>>,
    script: Box<Script>,
}

impl Shared {
    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap());
        self.changed.notify_all();
    }
}

/// See the module's description. Dropped, it takes no more connections.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

impl Backend {
    /// Answers every request but `GET /models` by the script.
    pub(crate) fn new(script: impl Fn(&Request, &mut Peer) + Send + Sync + 'static) -> Self {
        Self::bind(ANY, None, Box::new(script))
    }

    /// Says "Hello world" to everyone, at this address.
    pub(crate) fn hello_at(address: SocketAddr) -> Self {
        Self::bind(address, None, Box::new(|request, peer| peer.say(request, &["Hello", " world"])))
    }

    /// Answers `GET /models` by a script of its own.
    pub(crate) fn with_models(
        models: impl Fn(&Request, &mut Peer) + Send + Sync + 'static,
        script: impl Fn(&Request, &mut Peer) + Send + Sync + 'static,
    ) -> Self {
        Self::bind(ANY, Some(Box::new(models)), Box::new(script))
    }

    /// Says "Hello world", streamed or whole, to everyone.
    pub(crate) fn hello() -> Self {
        Self::hello_at(ANY)
    }

    fn bind(address: SocketAddr, models: Option<Box<Script>>, script: Box<Script>) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, changed, stop) = (Mutex::default(), Condvar::new(), AtomicBool::new(false));
        let shared = Arc::new(Shared { seen, changed, stop, models, script });
        let backend = Backend { address, shared: Arc::clone(&shared) };
        std::thread::spawn(move || {
            for connection in 1.. {
                let Ok((stream, _)) = listener.accept() else { return };
                if shared.stop.load(Ordering::Relaxed) {
                    return;
                }
                shared.note(|seen| seen.connections = connection);
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(&shared, connection, stream));
            }
        });
        backend
    }

    /// The base URL for the proxy.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub(crate) fn seen(&self) -> Seen {
        let seen = self.shared.seen.lock().unwrap().clone();
        assert!(seen.faults.is_empty(), "the proxy speaks bad HTTP: {:?}", seen.faults);
        seen
    }

    /// The requests that are not for the list of models.
    pub(crate) fn posts(&self) -> Vec<Request> {
        self.seen().posts().into_iter().cloned().collect()
    }

    /// Waits until what happened is as wanted.
    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn(&Seen) -> bool) -> Seen {
        let seen = self.shared.seen.lock().unwrap();
        let (seen, waited) =
            self.shared.changed.wait_timeout_while(seen, PATIENCE, |seen| !is_so(seen)).unwrap();
        assert!(!waited.timed_out(), "the backend waited in vain until {what}: {seen:#?}");
        seen.clone()
    }

    /// Waits for the given number of POSTs and gives the last.
    pub(crate) fn wait_for_posts(&self, count: usize) -> Request {
        let seen = self.wait_until(&format!("{count} POSTs came"), |seen| seen.posts().len() >= count);
        (*seen.posts()[count - 1]).clone()
    }

    /// Waits until the proxy closed the connection, and tells when that was.
    pub(crate) fn wait_closed(&self, connection: usize) -> Instant {
        let what = format!("connection {connection} was closed");
        let seen = self.wait_until(&what, |seen| seen.closed_at(connection).is_some());
        seen.closed_at(connection).unwrap()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes the accept.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(shared: &Shared, connection: usize, stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut peer = Peer { reader: BufReader::new(stream), reset: false };
    loop {
        match peer.read_request(connection) {
            Ok(Some(request)) => {
                shared.note(|seen| seen.requests.push(request.clone()));
                match &shared.models {
                    Some(models) if request.method == "GET" => models(&request, &mut peer),
                    None if request.method == "GET" => peer.json(200, &model_list(&["m"])),
                    _ => (shared.script)(&request, &mut peer),
                }
            }
            Ok(None) => return shared.note(|seen| seen.closed.push((connection, Instant::now()))),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return shared.note(|seen| seen.faults.push(error.to_string()));
            }
            Err(_) => return,
        }
        if peer.reset {
            return drop_with_reset(peer.reader.into_inner());
        }
    }
}

/// The proxy's end of one connection.
pub(crate) struct Peer {
    reader: BufReader<TcpStream>,
    reset: bool,
}

impl Peer {
    /// Exactly these bytes, at once. The proxy may be gone: that is the test's own business.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.reader.get_mut().write_all(bytes.as_ref()).is_ok()
    }

    /// A whole answer.
    pub(crate) fn respond(&mut self, status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        let mut answer = format!("HTTP/1.1 {status} Scripted\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            answer += &format!("{name}: {value}\r\n");
        }
        self.write([answer.as_bytes(), b"\r\n", body].concat());
    }

    pub(crate) fn json(&mut self, status: u16, body: &Value) {
        self.respond(status, &[("content-type", "application/json")], body.to_string());
    }

    /// The head of a stream of events.
    pub(crate) fn begin(&mut self) {
        self.write(STREAM_HEAD);
    }

    /// One HTTP chunk of these bytes.
    pub(crate) fn chunk(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let bytes = bytes.as_ref();
        self.write([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat())
    }

    /// One HTTP chunk of one event.
    pub(crate) fn event(&mut self, data: &Value) -> bool {
        self.chunk(event(data))
    }

    /// `[DONE]` and the end of the body.
    pub(crate) fn done(&mut self) {
        self.chunk("data: [DONE]\n\n");
        self.write("0\r\n\r\n");
    }

    /// A whole good answer, in the manner that was asked for.
    pub(crate) fn say(&mut self, request: &Request, texts: &[&str]) {
        if request.json()["stream"] == json!(false) {
            let choice = json!({"index": 0, "message": {"role": "assistant", "content": texts.concat()}, "finish_reason": "stop"});
            return self.json(200, &json!({"choices": [choice], "usage": usage()["usage"]}));
        }
        self.begin();
        self.event(&role());
        for text in texts {
            self.event(&delta(text));
        }
        self.event(&finish("stop"));
        self.event(&usage());
        self.done();
    }

    /// Closes this side (FIN); what the proxy still sends is read.
    pub(crate) fn close(&mut self) {
        let _ = self.reader.get_ref().shutdown(Shutdown::Write);
    }

    /// Closes this side, and waits until the proxy's kernel knows, whatever the proxy itself is doing: its
    /// acknowledgement takes this end from FIN_WAIT1 (4) to FIN_WAIT2 (5), and its own end to TIME_WAIT (6).
    pub(crate) fn close_acknowledged(&mut self) {
        let stream = self.reader.get_ref();
        let ports = [stream.local_addr(), stream.peer_addr()]
            .map(|address| format!(":{:04X}", address.unwrap().port()));
        self.close();
        let began = Instant::now();
        let is_acknowledged = || {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            table.lines().any(|line| {
                let fields: Vec<&str> = line.split_whitespace().take(4).collect();
                matches!(fields[..], [_, local, remote, "05" | "06"] if local.ends_with(&ports[0]) && remote.ends_with(&ports[1]))
            })
        };
        while !is_acknowledged() {
            assert!(began.elapsed() < PATIENCE, "nobody acknowledged the end of a connection");
            std::thread::yield_now();
        }
    }

    /// Breaks the connection (RST) as soon as the script ends.
    pub(crate) fn reset(&mut self) {
        self.reset = true;
    }

    /// Waits until the proxy closes the connection. `false`: it did not.
    pub(crate) fn wait_closed(&mut self) -> bool {
        // Nobody pipelines here, so any read is the end.
        match self.reader.read_exact(&mut [0]) {
            Ok(()) => false,
            Err(error) => is_gone(&error) || error.kind() == io::ErrorKind::UnexpectedEof,
        }
    }

    /// Writes the piece again and again, up to so many bytes, until nobody takes it for `stall`, or the proxy is gone.
    pub(crate) fn flood(&mut self, piece: &[u8], max: usize, stall: Duration) -> usize {
        let stream = self.reader.get_mut();
        stream.set_write_timeout(Some(stall)).unwrap();
        let mut written = 0;
        while written < max {
            match stream.write(piece.get(written % piece.len()..).unwrap()) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        written
    }

    /// `None`: the proxy closed the connection.
    fn read_request(&mut self, connection: usize) -> io::Result<Option<Request>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            match self.reader.read_line(&mut line) {
                Ok(0) if lines.is_empty() => return Ok(None),
                Ok(0) => return Err(invalid("a request was cut in its head")),
                Ok(_) if line == "\r\n" => break,
                Ok(_) => lines.push(line),
                Err(error) if is_gone(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let mut lines = lines.iter().map(|line| line.trim_end_matches("\r\n"));
        let mut start = lines.next().unwrap_or_default().split(' ');
        let [Some(method), Some(target), Some("HTTP/1.1"), None] = [(); 4].map(|()| start.next()) else {
            return Err(invalid("a request line is not `METHOD TARGET HTTP/1.1`"));
        };
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(':').expect("a header has a colon"))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_string()))
            .collect();
        let (method, target) = (method.to_string(), target.to_string());
        let mut request = Request { connection, method, target, headers, body: Vec::new() };
        if request.header("transfer-encoding").is_some() {
            return Err(invalid("a request has a transfer-encoding"));
        }
        let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
        request.body.resize(length, 0);
        self.reader.read_exact(&mut request.body)?;
        Ok(Some(request))
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// The standard library cannot set SO_LINGER to zero, which is what makes closing a reset.
fn drop_with_reset(stream: TcpStream) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let _context = runtime.enter();
    stream.set_nonblocking(true).unwrap();
    tokio::net::TcpStream::from_std(stream).unwrap().set_zero_linger().unwrap();
}
