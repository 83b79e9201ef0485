//! The real binary, started with chosen variables and nothing else of the environment, on a free port of loopback.
//!
//! It refuses to leave anything running: dropped, the process is killed. No wait is longer than [`PATIENCE`] but where
//! a whole command is run.

use super::backend::Backend;
use super::client::{Answer, Client};
use super::signal::PATIENCE;
use serde_json::Value;
use std::io::Read;
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_ollama-openai-proxy");

/// What a process writes, while it writes it.
#[derive(Default)]
struct Output {
    text: Mutex<(String, bool)>,
    changed: Condvar,
}

impl Output {
    fn of(mut pipe: impl Read + Send + 'static) -> Arc<Self> {
        let output = Arc::new(Output::default());
        let writer = Arc::clone(&output);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let count = pipe.read(&mut buffer).unwrap_or(0);
                let mut text = writer.text.lock().unwrap();
                text.0.push_str(&String::from_utf8_lossy(&buffer[..count]));
                text.1 = count == 0;
                writer.changed.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        output
    }

    /// Waits until the text is as wanted, or has ended.
    fn wait(&self, patience: Duration, is_so: impl Fn(&str) -> bool) -> Option<String> {
        let text = self.text.lock().unwrap();
        let (text, _) = self
            .changed
            .wait_timeout_while(text, patience, |(text, has_ended)| !is_so(text) && !*has_ended)
            .unwrap();
        is_so(&text.0).then(|| text.0.clone())
    }

    /// Waits until the process closed it, which it does at its end.
    fn wait_end(&self, patience: Duration) -> bool {
        let text = self.text.lock().unwrap();
        let waited = self.changed.wait_timeout_while(text, patience, |(_, has_ended)| !*has_ended);
        !waited.unwrap().1.timed_out()
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().0.clone()
    }
}

/// A running proxy.
pub(crate) struct Proxy {
    child: Child,
    stderr: Arc<Output>,
    pub(crate) address: SocketAddr,
}

impl Proxy {
    /// In front of a backend, with defaults.
    pub(crate) fn before(backend: &Backend) -> Self {
        Self::with(backend, &[])
    }

    /// In front of a backend, with these variables too.
    pub(crate) fn with(backend: &Backend, variables: &[(&str, &str)]) -> Self {
        let url = backend.url();
        Self::start(&[&[("OPENAI_API_BASE_URL", url.as_str())], variables].concat())
    }

    /// With these variables alone, and a free port where they name none.
    pub(crate) fn start(variables: &[(&str, &str)]) -> Self {
        Self::spawn(&mut Command::new(BINARY), variables)
    }

    /// With no more than so many open files.
    pub(crate) fn with_file_limit(backend: &Backend, files: u32) -> Self {
        let limited = format!("ulimit -n {files} && exec \"$0\"");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &limited, BINARY]);
        Self::spawn(&mut command, &[("OPENAI_API_BASE_URL", &backend.url())])
    }

    fn spawn(command: &mut Command, variables: &[(&str, &str)]) -> Self {
        command.env_clear().env("OLLAMA_HOST", "127.0.0.1:0").envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = Output::of(child.stderr.take().unwrap());
        let said = stderr.wait(PATIENCE, |text| listening(text).is_some());
        let Some(address) = said.as_deref().and_then(listening) else {
            let _ = child.kill();
            panic!("the proxy does not listen: {}", stderr.text());
        };
        Proxy { child, stderr, address }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    pub(crate) fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Answer {
        let mut client = self.client();
        client.request(method, target, headers, body);
        client.answer()
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, &[], None)
    }

    pub(crate) fn post(&self, target: &str, body: &Value) -> Answer {
        self.ask("POST", target, &[("content-type", "application/json")], Some(body.to_string().as_bytes()))
    }

    /// A streamed chat of one message.
    pub(crate) fn chat(&self, prompt: &str) -> Answer {
        self.post("/api/chat", &chat(prompt))
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        self.stderr.text()
    }

    /// Waits until the log is as wanted.
    pub(crate) fn wait_for_log(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let said = self.stderr.wait(PATIENCE, is_so);
        said.unwrap_or_else(|| panic!("waited in vain for {what} in the log: {}", self.log()))
    }

    /// Everything it logged in its life, which must end by itself.
    pub(crate) fn wait_for_end_of_log(&self) -> String {
        assert!(self.stderr.wait_end(PATIENCE), "the proxy goes on: {}", self.log());
        self.log()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("/bin/sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &pid]).status();
        assert!(sent.unwrap().success(), "kill -s {name} {pid}");
    }

    /// Waits for its end.
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        self.wait_for_end_of_log();
        self.child.wait().unwrap()
    }

    /// Whether the process still lives.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Processor time used so far, in hundredths of a second: of user and of system.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        self.stat(14) + self.stat(15)
    }

    /// Pages that the system had to give it, or to show it where they are.
    pub(crate) fn page_faults(&self) -> u64 {
        self.stat(10)
    }

    /// A field of `/proc/PID/stat`, by its number in proc(5).
    fn stat(&self, number: usize) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The second is a name in brackets, which may hold anything.
        let mut behind = stat.rsplit(')').next().unwrap().split_whitespace();
        behind.nth(number - 3).unwrap().parse().unwrap()
    }

    /// The names of its threads.
    pub(crate) fn thread_names(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        // One may end meanwhile.
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
        names.map(|name| name.trim_end().to_string()).collect()
    }

    /// Memory in use, in KiB.
    pub(crate) fn rss_kib(&self) -> u64 {
        self.memory_kib("VmRSS:")
    }

    /// The most memory that was ever in use, in KiB.
    pub(crate) fn peak_rss_kib(&self) -> u64 {
        self.memory_kib("VmHWM:")
    }

    fn memory_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in the log's line about listening, in either format, once that line is whole.
fn listening(log: &str) -> Option<SocketAddr> {
    let line = log.split_inclusive('\n').find(|line| line.contains("listening") && line.ends_with('\n'))?;
    let (_, rest) = line.split_once("address=").or_else(|| line.split_once("\"address\":\""))?;
    rest.split([' ', '"', '\n']).next()?.parse().ok()
}

/// An address at which nobody listens. It stays taken, so that no other test or proxy is given it; who listens at just
/// this one can.
pub(crate) fn nobody() -> SocketAddr {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = socket.local_addr().unwrap();
    std::mem::forget(socket);
    address
}

/// The body of a streamed chat of one message, for the model `m`.
pub(crate) fn chat(prompt: &str) -> Value {
    serde_json::json!({"model": "m", "messages": [{"role": "user", "content": prompt}]})
}

/// How a command ended that ends by itself.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the binary to its end, which must come within half a minute.
pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
    let mut command = Command::new(BINARY);
    command.args(arguments).env_clear().envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (stdout, stderr) =
        (Output::of(child.stdout.take().unwrap()), Output::of(child.stderr.take().unwrap()));
    let patience = Duration::from_secs(30);
    if !(stdout.wait_end(patience) && stderr.wait_end(patience)) {
        let _ = child.kill();
    }
    let code = child.wait().unwrap().code();
    Finished { code, stdout: stdout.text(), stderr: stderr.text() }
}
