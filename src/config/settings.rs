//! The one table of settings. Its rows feed the flag loop, the reading of the environment, `--help` and the table in
//! README.md, so that the four cannot disagree. It says how a setting is called and what it means; what a value must
//! look like is the business of [`super::values`].

use std::fmt::Write as _;

/// One setting: how it is called, and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The long flag with its dashes; empty when only variables carry the setting.
    pub name: &'static str,
    /// The short flag.
    pub short: Option<char>,
    /// The variables that carry it, the strongest first. A flag beats them all.
    pub envs: &'static [&'static str],
    /// What the help calls the value; empty for a switch, which needs none.
    pub value: &'static str,
    /// The value when nothing is given, in the same text form; empty when there is none.
    pub default: &'static str,
    /// A value someone may want.
    pub example: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Whether a value must never be shown, not even in a fault.
    pub secret: bool,
}

impl Setting {
    const fn new(name: &'static str, envs: &'static [&'static str], value: &'static str) -> Self {
        let (default, example, help) = ("", "", "");
        Self { name, short: None, envs, value, default, example, help, secret: false }
    }

    const fn short(self, short: char) -> Self {
        Self { short: Some(short), ..self }
    }

    const fn default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    const fn says(self, example: &'static str, help: &'static str) -> Self {
        Self { example, help, ..self }
    }
}

pub(super) const BASE_URL: Setting =
    Setting::new("--base-url", &["OPENAI_API_BASE_URL", "OPENAI_BASE_URL"], "URL")
        .default("https://api.openai.com/v1")
        .says(
            "http://localhost:8000/v1",
            "Where the backend is; `/v1` is added only if the URL has no path, and a query such as \
             `?api-version=2024-10-21` is kept.",
        );
pub(super) const API_KEY: Setting = Setting::new("", &["OPENAI_API_KEY"], "KEY")
    .secret()
    .says("sk-...", "The backend's key; a local backend may need none, and no flag takes one.");
// Secret although it is a path: who puts the key itself here by mistake must not find it in the log.
pub(super) const API_KEY_FILE: Setting = Setting::new("--api-key-file", &["OPENAI_API_KEY_FILE"], "PATH")
    .secret()
    .says("/run/secrets/openai", "A file that holds the backend's key, read once at the start.");
pub(super) const BACKEND_PROFILE: Setting = Setting::new("--backend-profile", &["BACKEND_PROFILE"], "NAME")
    .default("auto")
    .says(
        "vllm",
        "Which kind of backend it is, out of the table of profiles; `auto` tells by its host, else by its list of models.",
    );
pub(super) const THINK_TAGS: Setting =
    Setting::new("--think-tags", &["THINK_TAGS"], "off|on|open").default("off").says(
        "on",
        "Take reasoning out of texts that begin with `<think>`; `open` where the chat template writes that tag \
         and only `</think>` comes.",
    );
pub(super) const ECHO_REASONING: Setting = Setting::new(
    "--echo-reasoning",
    &["ECHO_REASONING"],
    "auto|true|false",
)
.default("auto")
.says(
    "true",
    "Send the `thinking` of earlier answers back as `reasoning_content`; `auto`: to backends that want it.",
);
pub(super) const CA_FILE: Setting = Setting::new("--ca-file", &["SSL_CA_FILE"], "PATH").says(
    "/etc/ssl/company.pem",
    "A PEM file of certificates to trust for the backend beside the public ones.",
);
pub(super) const NO_TLS_CHECK: Setting =
    Setting::new("--disable-ssl-verification", &["DISABLE_SSL_VERIFICATION"], "")
        .default("false")
        .says("true", "Do not check the backend's certificate; for a test, never for real use.");
pub(super) const SSL_CERTS_PATH: Setting = Setting::new("", &["SSL_CERTS_PATH"], "PATH")
    .says("/certs", "Ignored with a warning; name a PEM file with `--ca-file` instead.");

pub(super) const HTTPS_PROXY: Setting =
    Setting::new("", &["HTTPS_PROXY", "https_proxy"], "URL").secret().says(
        "http://user:password@proxy.example:3128",
        "The proxy through which a backend with an https:// URL is reached, by a tunnel; `http://` only.",
    );
pub(super) const HTTP_PROXY: Setting = Setting::new("", &["HTTP_PROXY", "http_proxy"], "URL").secret().says(
    "http://proxy.example:3128",
    "The same for a backend with an http:// URL, whose requests it can read.",
);
pub(super) const ALL_PROXY: Setting = Setting::new("", &["ALL_PROXY", "all_proxy"], "URL")
    .secret()
    .says("http://proxy.example:3128", "The proxy where the one of the two above that counts is not set.");
pub(super) const NO_PROXY: Setting = Setting::new("", &["NO_PROXY", "no_proxy"], "LIST").says(
    "localhost,.example.com,10.0.0.0/8",
    "Hosts reached without a proxy: names and all below them, addresses, networks, `*`; this machine always is.",
);

pub(super) const HOST: Setting =
    Setting::new("--host", &["OLLAMA_HOST", "HOST"], "ADDRESS").default("127.0.0.1").says(
        "0.0.0.0:11434",
        "The address to listen on, also as `:PORT` or `http://ADDRESS:PORT`; HOST takes no port.",
    );
pub(super) const PORT: Setting =
    Setting::new("--port", &["PROXY_PORT", "PORT"], "PORT").default("11434").says(
        "8080",
        "The port to listen on, 0 for any free one; PROXY_PORT beats a port in OLLAMA_HOST, which \
         beats PORT.",
    );
pub(super) const ORIGINS: Setting = Setting::new("--origins", &["OLLAMA_ORIGINS", "CORS_ORIGINS"], "LIST")
    .says(
        "https://chat.example,chrome-extension://*",
        "Web origins to allow beside the local ones, one `*` each; both variables are joined.",
    );

pub(super) const PROXY_KEY: Setting = Setting::new("", &["PROXY_API_KEY"], "KEY").secret().says(
    "pk-...",
    "The key that clients must show, as `Authorization: Bearer KEY`; without it everyone may ask.",
);
pub(super) const PROXY_KEY_FILE: Setting =
    Setting::new("--proxy-api-key-file", &["PROXY_API_KEY_FILE"], "PATH").secret().says(
        "/run/secrets/proxy",
        "A file that holds the key that clients must show, read once at the start.",
    );

pub(super) const MODEL_MAP: Setting = Setting::new("--model-map", &["MODEL_MAPPING_FILE"], "PATH").says(
    "models.json",
    "A JSON file of aliases: `{\"llama3\": \"gpt-4o\"}`, or the same under `model_mappings`; beside them \
         `default_model`, and facts by glob under `models`. Read again on SIGHUP.",
);
pub(super) const MODELS: Setting = Setting::new("--models", &["MODELS"], "LIST")
    .short('m')
    .says("gpt-4o,o3-mini", "Models to list beside those the backend lists.");
pub(super) const MODELS_INCLUDE: Setting = Setting::new("--models-include", &["MODELS_INCLUDE"], "GLOBS")
    .says(
        "openai/*,*/*:free",
        "Which of the backend's models to list; the others can still be asked by name.",
    );
pub(super) const MODELS_EXCLUDE: Setting = Setting::new("--models-exclude", &["MODELS_EXCLUDE"], "GLOBS")
    .says("whisper-*,tts-*,dall-e-*", "Which of the backend's models not to list; beats MODELS_INCLUDE.");
pub(super) const MODELS_TTL: Setting =
    Setting::new("--models-ttl", &["MODELS_TTL"], "SECONDS").default("300").says(
        "60",
        "How long the backend's list of models is good; an older one is still answered at once, and asked for anew \
         behind that.",
    );
pub(super) const CAPABILITIES: Setting = Setting::new(
    "--capabilities",
    &["CAPABILITIES", "CAPACITIES"],
    "LIST",
)
.short('c')
.says(
    "tools;gpt-4o*=tools,vision",
    "What every model is said to be capable of, or GLOB=LIST for some: completion, tools, insert, vision, \
         embedding, thinking, audio, image; of the globs that match, the one with most letters counts.",
);
pub(super) const CONTEXT_LENGTH: Setting = Setting::new(
    "--context-length",
    &["OLLAMA_CONTEXT_LENGTH"],
    "TOKENS",
)
.says(
    "32768,gpt-4o*=131072",
    "The context length to report for models whose own is not known, and GLOB=TOKENS for some whatever the \
         backend says.",
);
pub(super) const OLLAMA_VERSION: Setting =
    Setting::new("--ollama-version", &["OLLAMA_VERSION_REPORTED"], "N.N.N")
        .default("0.17.6")
        .says("0.12.3", "The Ollama version that clients are told.");

pub(super) const KEEP_ALIVE: Setting =
    Setting::new("--keep-alive", &["OLLAMA_KEEP_ALIVE"], "TIME").default("5m").says(
        "24h",
        "How long `/api/ps` shows a model after its last use where a request says nothing of `keep_alive`: seconds, or \
         as in 1h30m; for ever if negative.",
    );

pub(super) const REQUEST_TIMEOUT: Setting =
    Setting::new("--request-timeout", &["REQUEST_TIMEOUT"], "SECONDS").default("300").says(
        "900",
        "How long the backend may take to its first byte, and be silent after it; not the total.",
    );
pub(super) const MAX_RETRIES: Setting = Setting::new("--max-retries", &["MAX_RETRIES"], "COUNT")
    .default("2")
    .says("0", "How often connecting to the backend is tried again, 0 to 10; a request that may have been read never is.");
pub(super) const REQUEST_MAX_SIZE: Setting =
    Setting::new("--request-max-size", &["REQUEST_MAX_SIZE"], "SIZE")
        .default("64MiB")
        .says("10MB", "The largest request body, in bytes or with KB, MB, GB, KiB, MiB or GiB.");
pub(super) const SHUTDOWN_GRACE: Setting = Setting::new("--shutdown-grace", &["SHUTDOWN_GRACE"], "SECONDS")
    .default("25")
    .says("5", "How long running answers may go on after a signal to stop.");
pub(super) const THREADS: Setting =
    Setting::new("--threads", &["PROXY_THREADS"], "COUNT|auto").default("1").says(
        "2",
        "How many threads serve, 1 to 64, each with connections of its own to the backend; `auto`: as many as the \
         process may use processors.",
    );

pub(super) const LOG_LEVEL: Setting = Setting::new("--log-level", &["LOG_LEVEL"], "LEVEL")
    .default("INFO")
    .says("DEBUG", "The least level to log: TRACE, DEBUG, INFO, WARNING, ERROR or CRITICAL.");
pub(super) const DEBUG: Setting = Setting::new("--debug", &["DEBUG"], "")
    .default("false")
    .says("true", "The same as the level DEBUG; LOG_LEVEL beats the variable.");
pub(super) const OLLAMA_DEBUG: Setting = Setting::new("", &["OLLAMA_DEBUG"], "0|1|2")
    .default("0")
    .says("1", "1 for the level DEBUG, 2 for TRACE; LOG_LEVEL and DEBUG beat it.");
pub(super) const LOG_FORMAT: Setting = Setting::new("--log-format", &["LOG_FORMAT"], "text|json")
    .default("text")
    .says("json", "Log lines to read, or one JSON object a line.");
pub(super) const ENVIRONMENT: Setting = Setting::new("--environment", &["ENV"], "NAME")
    .default("production")
    .says("staging", "The `environment` of every JSON log line.");
pub(super) const HOSTNAME: Setting = Setting::new("", &["HOSTNAME"], "NAME")
    .says("proxy-1", "The machine's own name: the `host` of every JSON log line, and a `Host` to answer to.");

pub(super) const METRICS: Setting =
    Setting::new("--enable-metrics", &["ENABLE_METRICS", "ENABLE_PROMETHEUS_METRICS"], "")
        .default("true")
        .says("false", "Whether `/metrics` answers; 404 if not.");

/// Every setting, in the order of the help.
pub const SETTINGS: &[Setting] = &[
    BASE_URL,
    API_KEY,
    API_KEY_FILE,
    BACKEND_PROFILE,
    THINK_TAGS,
    ECHO_REASONING,
    CA_FILE,
    NO_TLS_CHECK,
    SSL_CERTS_PATH,
    HTTPS_PROXY,
    HTTP_PROXY,
    ALL_PROXY,
    NO_PROXY,
    HOST,
    PORT,
    ORIGINS,
    PROXY_KEY,
    PROXY_KEY_FILE,
    MODEL_MAP,
    MODELS,
    MODELS_INCLUDE,
    MODELS_EXCLUDE,
    MODELS_TTL,
    CAPABILITIES,
    CONTEXT_LENGTH,
    OLLAMA_VERSION,
    KEEP_ALIVE,
    REQUEST_TIMEOUT,
    MAX_RETRIES,
    REQUEST_MAX_SIZE,
    SHUTDOWN_GRACE,
    THREADS,
    LOG_LEVEL,
    DEBUG,
    OLLAMA_DEBUG,
    LOG_FORMAT,
    ENVIRONMENT,
    HOSTNAME,
    METRICS,
];

/// Whether a value given under this flag or variable must not be shown.
pub(super) fn is_secret(name: &str) -> bool {
    SETTINGS.iter().any(|s| s.secret && (s.name == name || s.envs.contains(&name)))
}

/// The settings as a Markdown table, the one in README.md.
pub fn settings_markdown() -> String {
    let mut out =
        String::from("| Flag | Variables | Default | Meaning |\n|------|-----------|---------|---------|\n");
    for setting in SETTINGS {
        // A `|` would end the cell, also between backticks.
        let cell = |text: &str| text.replace('|', "\\|");
        let code = |text: &str| {
            if text.is_empty() { "–".into() } else { format!("`{}`", cell(text)) }
        };
        let envs = setting.envs.iter().map(|env| code(env)).collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            out,
            "| {} | {envs} | {} | {} Example: {} |",
            flags(setting).map_or("–".into(), |flags| code(&flags)),
            code(setting.default),
            cell(setting.help),
            code(setting.example),
        );
    }
    out
}

/// What `--version` prints.
pub(super) fn version() -> String {
    format!("{} {}\n", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
}

/// What `--help` prints.
pub(super) fn help() -> String {
    let mut out = version();
    wrap(&mut out, "", concat!(env!("CARGO_PKG_DESCRIPTION"), "."));
    out.push_str(concat!(
        "\nUsage:\n",
        "  ollama-openai-proxy [serve] [SETTINGS]        serve the configured backend\n",
        "  ollama-openai-proxy demo [--once] [SETTINGS]  ask a built-in backend one question, without\n",
        "                                                a key, and go on serving it; --once: end then\n",
        "  ollama-openai-proxy health [SETTINGS]         ask the running proxy how it is; exit 0 or 1\n",
        "  ollama-openai-proxy doctor [--json] [MODEL...] [SETTINGS]\n",
        "                                                play every client against the backend and tell\n",
        "                                                which will work; a model costs ten questions\n",
        "  ollama-openai-proxy -h, --help                print this\n",
        "  ollama-openai-proxy -V, --version             print the version\n",
        "\nSettings, as flags or as variables. A flag beats a variable, the variable named first beats\n",
        "the others, and an empty value counts as not given.\n",
    ));
    for setting in SETTINGS {
        let envs = setting.envs.join(", ");
        let head = match flags(setting) {
            Some(flags) => format!("{flags}  ({envs})"),
            None => format!("{envs}={}", setting.value),
        };
        let _ = write!(out, "\n  {head}\n");
        let mut text = setting.help.to_owned();
        if !setting.default.is_empty() {
            let _ = write!(text, " [default: {}]", setting.default);
        }
        wrap(&mut out, "      ", &text);
    }
    out
}

/// `-m, --models LIST`, or nothing for a setting without a flag.
fn flags(setting: &Setting) -> Option<String> {
    if setting.name.is_empty() {
        return None;
    }
    let short = setting.short.map_or(String::new(), |short| format!("-{short}, "));
    let value = if setting.value.is_empty() { "" } else { " " };
    Some(format!("{short}{}{value}{}", setting.name, setting.value))
}

/// Appends `text` in lines of at most 100 columns.
fn wrap(out: &mut String, indent: &str, text: &str) {
    const COLUMNS: usize = 100;
    let mut column = 0;
    for word in text.split_whitespace() {
        if column > 0 && column + 1 + word.len() > COLUMNS {
            out.push('\n');
            column = 0;
        }
        let gap = if column == 0 { indent } else { " " };
        out.push_str(gap);
        out.push_str(word);
        column += gap.len() + word.len();
    }
    out.push('\n');
}
