//! Stage 2: from text to a [`Config`]. Which value of a setting wins is decided here; a value that loses is not looked
//! at. A fault does not end the reading: whoever has three settings wrong is told of three.

use super::gather::Stage;
use super::models::contents;
use super::{
    Backend, BaseUrl, Command, Config, ForwardProxy, HIDDEN, Level, Listen, Log, PROFILES, Secret, Setting,
    backend, forward_proxy, settings, values,
};
use std::io;
use std::path::{Path, PathBuf};

const BOOLEAN: &str = "true or false";
const ORIGIN: &str = "web origins with commas between, as in https://chat.example, one * each";

impl<R: Fn(&Path) -> io::Result<Vec<u8>>> Stage<R> {
    /// `None` only after a fault.
    pub(super) fn config(&mut self, command: &Command) -> Option<Config> {
        let listen = self.listen();
        let base = self.base_url();
        let is_demo = matches!(command, Command::Demo { .. });
        let key = self.key(&settings::API_KEY, &settings::API_KEY_FILE).filter(|_| !is_demo);
        // The demo is there to be asked by everyone on this machine, its own tour first.
        let proxy_key = self.key(&settings::PROXY_KEY, &settings::PROXY_KEY_FILE).filter(|_| !is_demo);
        let trust_all = self.take(&settings::NO_TLS_CHECK, BOOLEAN, values::boolean);
        let ca_file = self.ca_file();
        let proxy = base.as_ref().filter(|_| !is_demo).and_then(|base| self.forward_proxy(base));
        let known = format!("auto or one of {}", PROFILES.join(", "));
        let profile = self.take(&settings::BACKEND_PROFILE, &known, values::profile);
        let think_tags = self.take(&settings::THINK_TAGS, "off, on or open", values::think_tags);
        let echo_reasoning =
            self.take(&settings::ECHO_REASONING, "auto, true or false", values::auto_or_boolean);
        let models = self.models();
        let timeout = self.take(&settings::REQUEST_TIMEOUT, "seconds from 1 to 86400", |text| {
            values::seconds(text, 1.0, 86_400.0)
        });
        let retries = self.take(&settings::MAX_RETRIES, "a whole number from 0 to 10", |text| {
            values::whole(text, 0, 10).and_then(|count| u32::try_from(count).ok())
        });
        let max_body_bytes = self.take(
            &settings::REQUEST_MAX_SIZE,
            "bytes, or a number with KB, MB, GB, KiB, MiB or GiB, more than 0",
            values::bytes,
        );
        let grace = self.take(&settings::SHUTDOWN_GRACE, "seconds from 0 to 3600", |text| {
            values::seconds(text, 0.0, 3600.0)
        });
        let threads = self.take(&settings::THREADS, "auto or a whole number from 1 to 64", values::threads);
        let origins = self.entries(&settings::ORIGINS, ORIGIN, values::origin);
        let log = self.log(command);
        let serves_metrics = self.take(&settings::METRICS, BOOLEAN, values::boolean);
        let ollama_version = self.take(
            &settings::OLLAMA_VERSION,
            "three numbers with dots between, as in 0.17.6",
            values::version,
        );
        let keep_alive = self.take(
            &settings::KEEP_ALIVE,
            "seconds, or a time as in 24h, 1h30m or 500ms; negative for ever",
            values::keep_alive,
        );
        let (listen, base, trust_all) = (listen?, base?, trust_all?);
        self.warn(command, &listen, &base, (key.is_some(), proxy_key.is_some()), trust_all);
        Some(Config {
            listen,
            backend: Backend {
                base,
                key,
                verify_tls: !trust_all,
                ca_file,
                profile: profile?,
                think_tags: think_tags?,
                echo_reasoning: echo_reasoning?,
                proxy,
            },
            models: models?,
            timeout: timeout?,
            max_retries: retries?,
            max_body_bytes: max_body_bytes?,
            shutdown_grace: grace?,
            threads: threads?,
            origins: origins.unwrap_or_default(),
            proxy_key,
            log: log?,
            serves_metrics: serves_metrics?,
            ollama_version: ollama_version?,
            keep_alive: keep_alive?,
            warnings: Vec::new(),
        })
    }

    /// PROXY_PORT beats a port in OLLAMA_HOST because the image itself sets `OLLAMA_HOST=0.0.0.0:11434`, and those who
    /// come from the Python service set PROXY_PORT. PORT is what platforms set for every program, so it is the weakest.
    fn listen(&mut self) -> Option<Listen> {
        const ADDRESS: &str = "an address as in 127.0.0.1, 0.0.0.0:11434, [::1]:11434 or :11434";
        const NUMBER: &str = "a port from 0 to 65535";
        let flag = self.named("--host", ADDRESS, values::address);
        let ollama = self.named("OLLAMA_HOST", ADDRESS, values::address);
        let flag_port = flag.as_ref().and_then(|address| address.port);
        let ollama_port = ollama.as_ref().and_then(|address| address.port);
        let host = match flag.or(ollama) {
            Some(address) => Some(address.host),
            None => {
                let bare = |text: &str| values::address(text).filter(|it| it.port.is_none());
                let bare = self.named("HOST", "an address without a port (see PORT)", bare);
                bare.map(|address| address.host)
            }
        };
        let port = self
            .named("--port", NUMBER, values::port)
            .or(flag_port)
            .or_else(|| self.named("PROXY_PORT", NUMBER, values::port))
            .or(ollama_port)
            .or_else(|| self.named("PORT", NUMBER, values::port))
            .or_else(|| values::port(settings::PORT.default));
        Some(Listen { host: host.unwrap_or_else(|| settings::HOST.default.into()), port: port? })
    }

    fn base_url(&mut self) -> Option<BaseUrl> {
        let (name, text) = self.winner(&settings::BASE_URL)?;
        let base = BaseUrl::new(&text);
        if base.is_none() {
            self.fault(
                name,
                &backend::shown(&text),
                "an http:// or https:// url without user, password and fragment",
            );
        }
        base
    }

    /// A key that may be given itself or in a file.
    fn key(&mut self, setting: &Setting, file: &Setting) -> Option<Secret> {
        const KEY: &str = "visible ascii characters without blanks between them";
        let direct = self.take(setting, KEY, Secret::new);
        let Some((name, _, bytes)) = self.file(file) else {
            return direct;
        };
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
        let Some(key) = std::str::from_utf8(bytes).ok().and_then(Secret::new) else {
            self.fault(name, HIDDEN, format!("a file that holds a key alone: {KEY}"));
            return None;
        };
        if direct.is_some_and(|direct| direct != key) {
            let expected = format!("the same key as in {name}, or only one of the two");
            self.fault(setting.envs.first().copied().unwrap_or_default(), HIDDEN, expected);
        }
        Some(key)
    }

    /// The proxy on the way to the backend. Variables of proxies are set for whole machines, so one that this backend
    /// does not need is not looked at.
    fn forward_proxy(&mut self, base: &BaseUrl) -> Option<ForwardProxy> {
        const PROXY: &str = "an http:// url as in http://user:password@host:port (NO_PROXY=* goes without)";
        let port = base.uri().port_u16().unwrap_or(if base.is_tls() { 443 } else { 80 });
        let exempt = self.winner(&settings::NO_PROXY).map(|(_, list)| list).unwrap_or_default();
        if forward_proxy::is_loopback(base.host()) || forward_proxy::is_exempt(&exempt, base.host(), port) {
            return None;
        }
        let own = if base.is_tls() { &settings::HTTPS_PROXY } else { &settings::HTTP_PROXY };
        let setting = if self.winner(own).is_some() { own } else { &settings::ALL_PROXY };
        self.take(setting, PROXY, ForwardProxy::new)
    }

    fn ca_file(&mut self) -> Option<(PathBuf, Vec<u8>)> {
        let (name, path, bytes) = self.file(&settings::CA_FILE)?;
        const BEGIN: &[u8] = b"-----BEGIN ";
        if !bytes.windows(BEGIN.len()).any(|window| window == BEGIN) {
            self.fault(name, &path, "a pem file (-----BEGIN CERTIFICATE-----)");
        }
        Some((path.into(), bytes))
    }

    fn log(&mut self, command: &Command) -> Option<Log> {
        const LEVEL: &str = "TRACE, DEBUG, INFO, WARNING, ERROR or CRITICAL";
        let level = self.take(&settings::LOG_LEVEL, LEVEL, values::level);
        let debug = self.take(&settings::DEBUG, BOOLEAN, values::boolean);
        let rank = self.take(&settings::OLLAMA_DEBUG, "0, 1 or 2", values::debug_rank).flatten();
        let format = self.take(&settings::LOG_FORMAT, "text or json", values::format);
        let (debug, debug_flag) = (debug.unwrap_or_default(), self.is_given("--debug"));
        let is_said = self.is_given("--log-level") || (self.is_given("LOG_LEVEL") && !(debug && debug_flag));
        Some(Log {
            level: match rank {
                _ if is_said => level?,
                _ if debug => Level::Debug,
                // A line about each request would stand among what these two show.
                None if matches!(command, Command::Demo { .. }) => Level::Warn,
                None if matches!(command, Command::Doctor { .. }) => Level::Error,
                rank => rank.or(level)?,
            },
            format: format?,
            environment: self.winner(&settings::ENVIRONMENT)?.1,
            hostname: self.winner(&settings::HOSTNAME).map(|(_, name)| name),
        })
    }

    fn warn(
        &mut self,
        command: &Command,
        listen: &Listen,
        base: &BaseUrl,
        (key, proxy_key): (bool, bool),
        all: bool,
    ) {
        let mut warn = |text: String| self.warnings.push(text);
        if all {
            warn(
                "DISABLE_SSL_VERIFICATION is on: anyone between here and the backend can read and \
                 change every request, the key included"
                    .into(),
            );
        }
        if !listen.is_loopback() && !proxy_key {
            warn(format!(
                "{listen} takes requests from other machines, and clients need no key: set PROXY_API_KEY"
            ));
        }
        if *command == Command::Serve && !key && base.uri().host() == Some("api.openai.com") {
            warn(format!("no key is set, and {base} wants one: set OPENAI_API_KEY"));
        }
        if self.is_given("SSL_CERTS_PATH") {
            self.warnings
                .push("SSL_CERTS_PATH is ignored: name a PEM file with --ca-file or SSL_CA_FILE".into());
        }
        if self.is_given("CAPACITIES") {
            let loses = self.is_given("--capabilities") || self.is_given("CAPABILITIES");
            let fate = if loses { "and is ignored beside it" } else { "and still read; please rename it" };
            self.warnings.push(format!("CAPACITIES is an old spelling of CAPABILITIES, {fate}"));
        }
    }

    /// The value that wins: the last flag, else the first variable, else the default.
    pub(super) fn winner(&self, setting: &Setting) -> Option<(&'static str, String)> {
        let default = (!setting.default.is_empty())
            .then(|| (setting.envs.first().copied().unwrap_or_default(), setting.default.into()));
        names(setting).find_map(|name| self.text(name).map(|text| (name, text))).or(default)
    }

    pub(super) fn take<T>(
        &mut self,
        setting: &Setting,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let (name, text) = self.winner(setting)?;
        self.parsed(name, &text, expected, parse)
    }

    /// The value under one name alone.
    fn named<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(name)?;
        self.parsed(name, &text, expected, parse)
    }

    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        text: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = parse(text);
        if value.is_none() {
            self.fault(name, text, expected);
        }
        value
    }

    /// The entries of a list, each once. Repeated flags are joined, and so are the two variables of the origins.
    pub(super) fn entries(
        &mut self,
        setting: &Setting,
        expected: &str,
        parse: impl Fn(&str) -> Option<String>,
    ) -> Option<Vec<String>> {
        let given = self.texts(setting);
        let mut entries = Vec::new();
        for (name, text) in &given {
            for entry in self.parsed(name, text, expected, values::list).unwrap_or_default() {
                match self.parsed(name, &entry, expected, &parse) {
                    Some(entry) if !entries.contains(&entry) => entries.push(entry),
                    _ => {}
                }
            }
        }
        (!given.is_empty()).then_some(entries)
    }

    /// The texts that count, each with the name it was given by.
    pub(super) fn texts(&self, setting: &Setting) -> Vec<(&'static str, String)> {
        let mut read: Vec<&str> = names(setting).filter(|name| self.is_given(name)).collect();
        let is_flag = read.first() == Some(&setting.name);
        if is_flag || setting.name != settings::ORIGINS.name {
            read.truncate(1);
        }
        self.given.iter().filter(|(name, _)| read.contains(name)).cloned().collect()
    }

    /// The file that a setting names: the name it was given by, its path and what is in it.
    pub(super) fn file(&mut self, setting: &Setting) -> Option<(&'static str, String, Vec<u8>)> {
        let (name, path) = self.winner(setting)?;
        match contents(&self.read, Path::new(&path)) {
            Ok(bytes) => Some((name, path, bytes)),
            Err(expected) => {
                self.fault(name, &path, expected);
                None
            }
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        self.given.iter().rev().find(|(given, _)| *given == name).map(|(_, text)| text.clone())
    }

    fn is_given(&self, name: &str) -> bool {
        self.given.iter().any(|(given, _)| *given == name)
    }
}

/// The names of a setting, the strongest first.
fn names(setting: &Setting) -> impl Iterator<Item = &'static str> {
    std::iter::once(setting.name).chain(setting.envs.iter().copied())
}
