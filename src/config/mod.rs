//! The configuration: what was given on the command line and in the environment, as types that cannot be wrong.
//!
//! Stage 1 (`gather.rs`) collects text through closures, so nothing here touches the process environment and a test
//! needs none. Stage 2 (`resolve.rs`) turns the text into a [`Config`] and reports every fault it meets, not only the
//! first.
//!
//! There is no settings file but the model map, no flag for the key, and no logging: what the user should be told at
//! the start is handed out as [`Config::warnings`].

mod backend;
mod forward_proxy;
mod gather;
mod model_map;
mod models;
mod resolve;
mod settings;
mod values;

pub use backend::{BaseUrl, Secret};
pub use forward_proxy::ForwardProxy;
pub use models::{MapFile, Models, Override};
pub use settings::{SETTINGS, Setting, settings_markdown};

use gather::{Asked, Stage};
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Most threads that serve.
pub const MAX_THREADS: usize = 64;

/// What the command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Do this, configured so.
    Run {
        /// What to do.
        command: Command,
        /// How.
        config: Box<Config>,
    },
    /// Print this and end: `--help`, `--version`.
    Print(String),
}

/// The first word of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve the configured backend; also when no word is given.
    Serve,
    /// Ask the built-in backend, which needs no key, one question, and go on serving it.
    Demo {
        /// End after the question.
        once: bool,
    },
    /// Ask the running proxy how it is.
    Health,
    /// Play every client against the configured backend, and tell which will work.
    Doctor {
        /// The models to ask; empty for the first ones that the backend lists.
        models: Vec<String>,
        /// Tell it as one JSON object.
        json: bool,
    },
}

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: Listen,
    /// Whom to ask.
    pub backend: Backend,
    /// What to tell clients about models.
    pub models: Models,
    /// Time to the backend's first byte, and the longest silence after it; never the total.
    pub timeout: Duration,
    /// How often connecting to the backend is tried again.
    pub max_retries: u32,
    /// The largest request body.
    pub max_body_bytes: usize,
    /// How long running answers may go on after a signal to stop.
    pub shutdown_grace: Duration,
    /// How many threads serve; `None`: as many as there are processors for, up to [`MAX_THREADS`].
    pub threads: Option<NonZero<usize>>,
    /// Web origins to allow beside the local ones, each with at most one `*`.
    pub origins: Vec<String>,
    /// What clients must show, if anything. Never set for [`Command::Demo`].
    pub proxy_key: Option<Secret>,
    /// What to log, and how.
    pub log: Log,
    /// Whether `/metrics` answers.
    pub serves_metrics: bool,
    /// The Ollama version that clients are told, `N.N.N`.
    pub ollama_version: String,
    /// How long `/api/ps` shows a model where the request does not say; `None` for ever.
    pub keep_alive: Option<Duration>,
    /// What to tell the user once, at the start.
    pub warnings: Vec<String>,
}

impl Config {
    /// Puts the embedded backend at `address` in the place of the configured one, and its models in that of the
    /// configured ones.
    pub fn use_demo_backend(&mut self, address: SocketAddr) {
        self.backend.base = BaseUrl::loopback(address);
        self.backend.key = None;
        self.backend.proxy = None;
        self.backend.profile = Some("standard");
        self.backend.think_tags = ThinkTags::Off;
        self.backend.echo_reasoning = None;
        let models = &mut self.models;
        models.aliases.clear();
        models.default_model = None;
        for names in [&mut models.extra, &mut models.include, &mut models.exclude] {
            names.clear();
        }
        models.map_overrides.clear();
        models.overrides.clear();
        models.map_file = None;
    }
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// A name, or an address without brackets; never empty.
    pub host: String,
    /// 0 for any free port.
    pub port: u16,
}

impl Listen {
    /// Whether only this machine can reach the listener.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }

    /// The host by which this machine reaches the listener: the unspecified addresses are none to connect to.
    #[must_use]
    pub fn reachable_host(&self) -> &str {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) if address.is_unspecified() => "127.0.0.1",
            Ok(IpAddr::V6(address)) if address.is_unspecified() => "::1",
            Err(_) if self.host.eq_ignore_ascii_case("localhost") => "127.0.0.1",
            _ => &self.host,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The backend.
#[derive(Clone, Debug)]
pub struct Backend {
    /// The URL its endpoints are under.
    pub base: BaseUrl,
    /// What opens it; a local backend may need nothing. Never set for [`Command::Demo`].
    pub key: Option<Secret>,
    /// Whether its certificate is checked.
    pub verify_tls: bool,
    /// A PEM file of further roots: its path for messages, and what was in it.
    pub ca_file: Option<(PathBuf, Vec<u8>)>,
    /// Which kind of backend it is, one of [`PROFILES`]; `None` when that is to be found out.
    pub profile: Option<&'static str>,
    /// The proxy on the way to it.
    pub proxy: Option<ForwardProxy>,
    /// Whether its texts hold their reasoning between tags.
    pub think_tags: ThinkTags,
    /// Whether the history's reasoning goes back to it; `None`: to those that want it.
    pub echo_reasoning: Option<bool>,
}

/// How a backend marks reasoning in its texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThinkTags {
    /// Not at all.
    Off,
    /// `<think>` and `</think>`.
    On,
    /// `</think>` alone: the chat template wrote the other.
    Open,
}

/// The kinds of backends that can be named; each is a row of the program's table of profiles.
pub const PROFILES: &[&str] = &[
    "openai",
    "azure",
    "openrouter",
    "groq",
    "deepseek",
    "mistral",
    "gemini",
    "together",
    "xai",
    "vllm",
    "sglang",
    "llama.cpp",
    "lmstudio",
    "ollama",
    "standard",
];

/// What to log, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least level that is logged.
    pub level: Level,
    /// The shape of a line.
    pub format: Format,
    /// A label such as `production`.
    pub environment: String,
    /// The machine's own name, if the environment tells it.
    pub hostname: Option<String>,
}

/// The least level that is logged, from much to little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Every step; not in a release build.
    Trace,
    /// What is of use when something is wrong.
    Debug,
    /// One line per request, and the life of the process.
    Info,
    /// What a user should look at.
    Warn,
    /// What failed.
    Error,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// One setting that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The flag or the variable it was given by.
    pub setting: String,
    /// What was given; empty when it does not matter, hidden when it may be secret.
    pub value: String,
    /// The accepted form.
    pub expected: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.setting)?;
        match self.value.as_str() {
            "" => {}
            HIDDEN => write!(f, " = {HIDDEN}")?,
            // Debug escapes control bytes: a value from the environment must not forge lines.
            value => write!(f, " = {value:?}")?,
        }
        write!(f, ": expected {}", self.expected)
    }
}

impl std::error::Error for ConfigError {}

/// All that is wrong, one line each when printed. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// One fault after the other.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.iter().enumerate() {
            let gap = if at == 0 { "" } else { "\n" };
            write!(f, "{gap}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

const HIDDEN: &str = "<hidden>";

/// Reads the command line `args` (without the program's own name) and the variables that `env` knows. `read` opens the
/// files that are named there; [`read_file`] is the one for real use.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    env: impl Fn(&str) -> Option<OsString>,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Invocation, ConfigErrors> {
    let mut stage = Stage { given: Vec::new(), faults: Vec::new(), warnings: Vec::new(), read };
    let command = match stage.gather_flags(args.into_iter().collect()) {
        Asked::Print(text) => return Ok(Invocation::Print(text)),
        Asked::Run(command) => command,
    };
    stage.gather_variables(env);
    let config = stage.config(&command);
    match config {
        Some(config) if stage.faults.is_empty() => {
            let config = Box::new(Config { warnings: stage.warnings, ..config });
            Ok(Invocation::Run { command, config })
        }
        _ => Err(ConfigErrors(stage.faults)),
    }
}

/// Reads a file of settings. The largest that makes sense is a bundle of certificates, a quarter of a megabyte; past
/// 4 MiB it is the wrong file, and `/dev/zero` must not fill the memory.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    const MAX_BYTES: u64 = 4 << 20;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it is larger than 4 MiB"));
    }
    Ok(bytes)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
