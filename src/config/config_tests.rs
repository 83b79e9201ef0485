//! Every variable, every flag, every rule of precedence, and what must never be shown.

use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

#[path = "backend_tests.rs"]
mod backend;
#[path = "command_tests.rs"]
mod command;
#[path = "listen_tests.rs"]
mod listen;

type Args<'a> = &'a [&'a str];
type Env<'a> = &'a [(&'a str, &'a str)];

/// What a run sees: arguments, variables, and files.
struct World<'a> {
    args: Args<'a>,
    env: Env<'a>,
    files: &'a [(&'a str, &'a str)],
}

impl World<'_> {
    fn parse(&self) -> Result<Invocation, ConfigErrors> {
        parse(
            self.args.iter().map(OsString::from),
            |name| self.env.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()),
            |path| match self.files.iter().find(|(known, _)| Path::new(known) == path) {
                Some((_, text)) => Ok(text.as_bytes().to_vec()),
                None => Err(io::ErrorKind::NotFound.into()),
            },
        )
    }

    fn config(&self) -> Config {
        match self.parse() {
            Ok(Invocation::Run { config, .. }) => *config,
            other => panic!("{:?} {:?}: {other:?}", self.args, self.env),
        }
    }

    fn faults(&self) -> Vec<String> {
        match self.parse() {
            Err(errors) => errors.iter().map(ConfigError::to_string).collect(),
            Ok(other) => panic!("{:?} {:?}: {other:?}", self.args, self.env),
        }
    }
}

fn with<'a>(args: Args<'a>, env: Env<'a>) -> World<'a> {
    World { args, env, files: &[] }
}

#[test]
fn nothing_given_is_a_whole_configuration() {
    let config = with(&[], &[]).config();
    assert_eq!(config.listen.to_string(), "127.0.0.1:11434");
    assert_eq!(config.backend.base.to_string(), "https://api.openai.com/v1");
    assert_eq!(config.backend.key, None);
    assert!(config.backend.verify_tls);
    assert_eq!(config.backend.ca_file, None);
    assert_eq!(config.backend.profile, None);
    assert_eq!((config.backend.think_tags, config.backend.echo_reasoning), (ThinkTags::Off, None));
    assert_eq!(config.models.aliases, []);
    assert_eq!(config.models.default_model, None);
    assert_eq!(config.models.extra, [""; 0]);
    assert_eq!((config.models.include.len(), config.models.exclude.len()), (0, 0));
    assert_eq!((&config.models.overrides, &config.models.map_overrides), (&vec![], &vec![]));
    assert_eq!(config.models.context_length, None);
    assert_eq!(config.models.ttl, Duration::from_secs(300));
    assert_eq!(config.models.map_file, None);
    assert_eq!(config.timeout, Duration::from_secs(300));
    assert_eq!(config.max_retries, 2);
    assert_eq!(config.max_body_bytes, 64 << 20);
    assert_eq!(config.shutdown_grace, Duration::from_secs(25));
    assert_eq!(config.threads, NonZero::new(1));
    assert_eq!(config.origins, [""; 0]);
    assert_eq!(config.log.level, Level::Info);
    assert_eq!(config.log.format, Format::Text);
    assert_eq!(config.log.environment, "production");
    assert_eq!(config.log.hostname, None);
    assert!(config.serves_metrics);
    assert_eq!(config.ollama_version, "0.17.6");
    assert_eq!(config.keep_alive, Some(Duration::from_secs(300)));
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    assert!(config.warnings[0].contains("OPENAI_API_KEY"));
}

/// One value read by every name of its setting: the shown value, the names, and how to see it in the configuration.
type Row = (&'static str, &'static [&'static str], fn(&Config) -> String, &'static str);

#[test]
fn every_flag_and_variable_reaches_its_field() {
    const ROWS: &[Row] = &[
        (
            "http://h:1/api",
            &["--base-url", "OPENAI_API_BASE_URL", "OPENAI_BASE_URL"],
            |c| c.backend.base.to_string(),
            "http://h:1/api",
        ),
        ("sk-1", &["OPENAI_API_KEY"], |c| c.backend.key.as_ref().unwrap().expose().into(), "sk-1"),
        (
            "key",
            &["--api-key-file", "OPENAI_API_KEY_FILE"],
            |c| c.backend.key.as_ref().unwrap().expose().into(),
            "sk-file",
        ),
        ("pk-1", &["PROXY_API_KEY"], |c| c.proxy_key.as_ref().unwrap().expose().into(), "pk-1"),
        (
            "key",
            &["--proxy-api-key-file", "PROXY_API_KEY_FILE"],
            |c| c.proxy_key.as_ref().unwrap().expose().into(),
            "sk-file",
        ),
        (
            "vLLM",
            &["--backend-profile", "BACKEND_PROFILE"],
            |c| format!("{:?}", c.backend.profile),
            "Some(\"vllm\")",
        ),
        ("open", &["--think-tags", "THINK_TAGS"], |c| format!("{:?}", c.backend.think_tags), "Open"),
        (
            "no",
            &["--echo-reasoning", "ECHO_REASONING"],
            |c| format!("{:?}", c.backend.echo_reasoning),
            "Some(false)",
        ),
        (
            "pem",
            &["--ca-file", "SSL_CA_FILE"],
            |c| c.backend.ca_file.as_ref().unwrap().0.display().to_string(),
            "pem",
        ),
        (
            "on",
            &["--disable-ssl-verification", "DISABLE_SSL_VERIFICATION"],
            |c| c.backend.verify_tls.to_string(),
            "false",
        ),
        (
            "http://u:p@h:1",
            &["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
            |c| c.backend.proxy.as_ref().unwrap().to_string(),
            "http://h:1",
        ),
        ("/certs", &["SSL_CERTS_PATH"], |c| c.warnings.join(" ").contains("--ca-file").to_string(), "true"),
        ("::", &["--host", "OLLAMA_HOST", "HOST"], |c| c.listen.to_string(), "[::]:11434"),
        ("80", &["--port", "PROXY_PORT", "PORT"], |c| c.listen.to_string(), "127.0.0.1:80"),
        (
            "a://b, c://*",
            &["--origins", "OLLAMA_ORIGINS", "CORS_ORIGINS"],
            |c| c.origins.join(" "),
            "a://b c://*",
        ),
        (
            "map",
            &["--model-map", "MODEL_MAPPING_FILE"],
            |c| format!("{:?}", c.models.aliases),
            r#"[("a", "b")]"#,
        ),
        (r#"["a", "b"]"#, &["--models", "-m", "MODELS"], |c| c.models.extra.join(" "), "a b"),
        (
            "Tools,vision",
            &["--capabilities", "-c", "CAPABILITIES", "CAPACITIES"],
            |c| capabilities(&c.models),
            "*=tools vision",
        ),
        ("a*, b", &["--models-include", "MODELS_INCLUDE"], |c| c.models.include.join(" "), "a* b"),
        ("a*, b", &["--models-exclude", "MODELS_EXCLUDE"], |c| c.models.exclude.join(" "), "a* b"),
        ("60", &["--models-ttl", "MODELS_TTL"], |c| format!("{:?}", c.models.ttl), "60s"),
        (
            "8192",
            &["--context-length", "OLLAMA_CONTEXT_LENGTH"],
            |c| format!("{:?}", c.models.context_length),
            "Some(8192)",
        ),
        ("0.5.0", &["--ollama-version", "OLLAMA_VERSION_REPORTED"], |c| c.ollama_version.clone(), "0.5.0"),
        ("24h", &["--keep-alive", "OLLAMA_KEEP_ALIVE"], |c| format!("{:?}", c.keep_alive), "Some(86400s)"),
        ("1.5", &["--request-timeout", "REQUEST_TIMEOUT"], |c| format!("{:?}", c.timeout), "1.5s"),
        ("0", &["--max-retries", "MAX_RETRIES"], |c| c.max_retries.to_string(), "0"),
        ("10MB", &["--request-max-size", "REQUEST_MAX_SIZE"], |c| c.max_body_bytes.to_string(), "10000000"),
        ("0", &["--shutdown-grace", "SHUTDOWN_GRACE"], |c| format!("{:?}", c.shutdown_grace), "0ns"),
        ("Auto", &["--threads", "PROXY_THREADS"], |c| format!("{:?}", c.threads), "None"),
        ("critical", &["--log-level", "LOG_LEVEL"], |c| format!("{:?}", c.log.level), "Error"),
        ("yes", &["--debug", "DEBUG", "OLLAMA_DEBUG"], |c| format!("{:?}", c.log.level), "Debug"),
        ("JSON", &["--log-format", "LOG_FORMAT"], |c| format!("{:?}", c.log.format), "Json"),
        ("staging", &["--environment", "ENV"], |c| c.log.environment.clone(), "staging"),
        (
            "off",
            &["--enable-metrics", "ENABLE_METRICS", "ENABLE_PROMETHEUS_METRICS"],
            |c| c.serves_metrics.to_string(),
            "false",
        ),
        ("box", &["HOSTNAME"], |c| format!("{:?}", c.log.hostname), r#"Some("box")"#),
    ];
    let files = &[("key", "sk-file\n"), ("pem", "-----BEGIN CERTIFICATE-----"), ("map", r#"{"a":"b"}"#)];
    // What these do takes two variables: backend_tests.rs has them.
    let mut names = HashSet::from(["HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"]);
    for &(value, forms, see, expected) in ROWS {
        for &form in forms {
            let joined = format!("{form}={value}");
            let split = [form, value];
            let ways: &[(Args, Env)] = match form.starts_with('-') {
                // A switch takes its value only after `=`.
                true if joined.contains("-ssl-") || ["--debug", "--enable-metrics"].contains(&form) => {
                    &[(&[&joined], &[])]
                }
                true => &[(&[&joined], &[]), (&split, &[])],
                false => &[(&[], &[(form, value)])],
            };
            for (args, env) in ways {
                let config = World { args, env, files }.config();
                assert_eq!(see(&config), expected, "{form}");
            }
            names.insert(form);
        }
    }
    for setting in SETTINGS {
        let short = setting.short.map(|short| format!("-{short}"));
        for name in [setting.name].into_iter().chain(setting.envs.iter().copied()).chain(short.as_deref()) {
            assert!(name.is_empty() || names.remove(name), "{name} has no row above");
        }
    }
    assert!(names.is_empty(), "{names:?} are in no setting");
}

#[test]
fn empty_values_count_as_not_given() {
    let names: Vec<_> = SETTINGS.iter().flat_map(|setting| setting.envs).collect();
    for blank in ["", " ", "\"\"", "\n"] {
        let env: Vec<_> = names.iter().map(|name| (**name, blank)).collect();
        let config = with(&["--models=", "--port", ""], &env).config();
        let plain = with(&[], &[]).config();
        assert_eq!(format!("{config:?}"), format!("{plain:?}"));
    }
    let config = with(&[], &[("OPENAI_API_BASE_URL", ""), ("OPENAI_BASE_URL", "http://b")]).config();
    assert_eq!(config.backend.base.to_string(), "http://b/v1", "the next name is asked");
}

#[test]
fn of_two_names_the_stronger_counts() {
    let base = |args: Args, env: Env| with(args, env).config().backend.base.uri().host().unwrap().to_owned();
    let (a, b) = (("OPENAI_API_BASE_URL", "http://a"), ("OPENAI_BASE_URL", "http://b"));
    assert_eq!(base(&[], &[b, a]), "a");
    assert_eq!(base(&["--base-url", "http://c"], &[a, b]), "c");
    assert_eq!(base(&["--base-url", "http://c", "--base-url=http://d"], &[a]), "d", "the last flag");
    // A value that loses is not looked at.
    assert_eq!(base(&["--base-url", "http://c"], &[("OPENAI_BASE_URL", "nonsense")]), "c");

    let models = |args: Args, env: Env| with(args, env).config().models;
    let listed = models(&["-m", "a,b", "--models=c", "-ma"], &[("MODELS", "z")]);
    assert_eq!(listed.extra, ["a", "b", "c"], "flags are joined, and beat the variable");
    let both = [("CAPACITIES", "tools"), ("CAPABILITIES", "vision")];
    assert_eq!(capabilities(&models(&[], &both)), "*=vision");
    assert_eq!(capabilities(&models(&["-c", "insert", "-c=audio"], &both)), "*=insert audio");
    assert_eq!(capabilities(&models(&[], &[("CAPABILITIES", "[]")])), "");

    let origins = |args: Args, env: Env| with(args, env).config().origins;
    let both = [("CORS_ORIGINS", r#"["http://b"]"#), ("OLLAMA_ORIGINS", "http://a/,http://b")];
    assert_eq!(origins(&[], &both), ["http://a", "http://b"], "both variables are joined");
    assert_eq!(origins(&["--origins=*"], &both), ["*"]);
}

/// What the settings say that models can do, glob by glob.
fn capabilities(models: &Models) -> String {
    let said = models.overrides.iter().filter_map(|it| Some((&it.glob, it.capabilities.as_ref()?)));
    said.map(|(glob, list)| format!("{glob}={}", list.join(" "))).collect::<Vec<_>>().join(";")
}

#[test]
fn facts_about_models_go_by_glob() {
    let models = |env: Env| with(&[], env).config().models;
    for (text, read) in [
        (
            "tools;gpt-4o* = Vision,tools,vision; *embed*=embedding",
            "*=tools;gpt-4o*=vision tools;*embed*=embedding",
        ),
        ("a=tools;a=vision;b=", "a=tools vision"),
        (r#"["tools"]; x:7b=["insert"]"#, "*=tools;x:7b=insert"),
    ] {
        assert_eq!(capabilities(&models(&[("CAPABILITIES", text)])), read, "{text}");
    }
    let lengths = models(&[("OLLAMA_CONTEXT_LENGTH", "8192, gpt-4o*=131072;a/b=5")]);
    assert_eq!(lengths.context_length, Some(8192));
    let by_glob: Vec<_> = lengths.overrides.iter().map(|it| (&*it.glob, it.context_length)).collect();
    assert_eq!(by_glob, [("gpt-4o*", Some(131_072)), ("a/b", Some(5))]);
    for (name, text) in [
        ("CAPABILITIES", "tools;a=flying"),
        ("CAPABILITIES", "=tools"),
        ("OLLAMA_CONTEXT_LENGTH", "a=0"),
        ("OLLAMA_CONTEXT_LENGTH", "5,a=4k"),
        ("MODELS_TTL", "-1"),
        ("MODELS_TTL", "soon"),
        ("MODELS_INCLUDE", "[1]"),
    ] {
        let faults = with(&[], &[(name, text)]).faults();
        assert!(faults.len() == 1 && faults[0].starts_with(&format!("{name} = ")), "{text}: {faults:?}");
    }
}

#[test]
fn the_level_is_the_strongest_word_about_it() {
    let rows: &[(Args, Env, Level)] = &[
        (&[], &[("LOG_LEVEL", "trace")], Level::Trace),
        (&[], &[("LOG_LEVEL", "Debug")], Level::Debug),
        (&[], &[("LOG_LEVEL", "INFO")], Level::Info),
        (&[], &[("LOG_LEVEL", "warn")], Level::Warn),
        (&[], &[("LOG_LEVEL", "WARNING")], Level::Warn),
        (&[], &[("LOG_LEVEL", "ERROR")], Level::Error),
        (&[], &[("DEBUG", "1")], Level::Debug),
        (&[], &[("DEBUG", "false")], Level::Info),
        (&["--debug"], &[], Level::Debug),
        (&["--debug"], &[("LOG_LEVEL", "ERROR")], Level::Debug),
        (&["--debug", "--log-level=error"], &[], Level::Error),
        (&["--debug=false"], &[("LOG_LEVEL", "ERROR"), ("DEBUG", "true")], Level::Error),
        (&["--debug=false"], &[("DEBUG", "true")], Level::Info),
        (&["--debug=false"], &[("LOG_LEVEL", "ERROR"), ("OLLAMA_DEBUG", "1")], Level::Error),
        (&[], &[("DEBUG", "true"), ("LOG_LEVEL", "ERROR")], Level::Error),
        (&[], &[("OLLAMA_DEBUG", "0")], Level::Info),
        (&[], &[("OLLAMA_DEBUG", "true")], Level::Debug),
        (&[], &[("OLLAMA_DEBUG", "2")], Level::Trace),
        (&[], &[("OLLAMA_DEBUG", "1"), ("DEBUG", "no")], Level::Debug),
        (&[], &[("OLLAMA_DEBUG", "2"), ("LOG_LEVEL", "INFO")], Level::Info),
    ];
    for (args, env, level) in rows {
        assert_eq!(with(args, env).config().log.level, *level, "{args:?} {env:?}");
    }
}

#[test]
fn values_that_are_not_of_the_accepted_form() {
    let rows: &[(&str, &[&str])] = &[
        (
            "OPENAI_API_BASE_URL",
            &["localhost:8000", "ftp://h", "http://", "http://h:x", "http://h:99999", "/v1", "http://h/#a"],
        ),
        ("OPENAI_API_KEY", &["sk 1", "sk-\u{e9}", "a\nb"]),
        ("OPENAI_API_KEY_FILE", &["absent", "blank", "words", "binary"]),
        ("BACKEND_PROFILE", &["anthropic", "vllm2"]),
        ("SSL_CA_FILE", &["absent", "blank", "words"]),
        ("DISABLE_SSL_VERIFICATION", &["2", "maybe"]),
        ("HOST", &["a b"]),
        ("PROXY_PORT", &["abc", "-1", "65536", "tcp://10.0.0.5:11434"]),
        ("PORT", &["80.0"]),
        ("OLLAMA_ORIGINS", &["localhost:3000", "null", "http://*.a.*", "[1]", "http://a b"]),
        ("CORS_ORIGINS", &["example.com"]),
        ("MODEL_MAPPING_FILE", &["absent", "blank", "words"]),
        ("MODELS", &["[", "[1]", r#"[["a"]]"#]),
        ("CAPABILITIES", &["flying", r#"["tools", "flying"]"#, "[null]"]),
        ("CAPACITIES", &["flying"]),
        ("OLLAMA_CONTEXT_LENGTH", &["0", "-1", "4k", "1.5"]),
        ("OLLAMA_VERSION_REPORTED", &["1.2", "v1.2.3", "1.2.3-x", "1..3", "1.2.3.4", "dev"]),
        ("OLLAMA_KEEP_ALIVE", &["5 m", "1.5", "-", "m", "5x", "1..5h", "1h2", "99999999999999999999"]),
        ("REQUEST_TIMEOUT", &["0", "0.5", "86401", "inf", "NaN", "5m", "-1"]),
        ("MAX_RETRIES", &["11", "-1", "1.0"]),
        (
            "REQUEST_MAX_SIZE",
            &["0", "0MB", "MB", "1.5MB", "-1", "10TB", "99999999999999999999", "18446744073709551615KB"],
        ),
        ("SHUTDOWN_GRACE", &["-1", "3601", "soon"]),
        ("PROXY_THREADS", &["0", "65", "-1", "1.5", "two", "99999999999999999999"]),
        ("LOG_LEVEL", &["loud"]),
        ("DEBUG", &["express:*"]),
        ("OLLAMA_DEBUG", &["loud", "-1"]),
        ("LOG_FORMAT", &["xml"]),
    ];
    let files = &[("blank", " \n"), ("words", "two words"), ("binary", "\u{1}")];
    for (name, values) in rows {
        for value in *values {
            let faults = World { args: &[], env: &[(name, value)], files }.faults();
            assert_eq!(faults.len(), 1, "{name}={value}: {faults:?}");
            assert!(faults[0].starts_with(&format!("{name} = ")), "{faults:?}");
            assert!(faults[0].contains(": expected "), "{faults:?}");
        }
    }
}

#[test]
fn a_time_to_keep_is_seconds_or_a_sum_and_for_ever_if_negative() {
    let rows = [
        ("300", "Some(300s)"),
        ("0", "Some(0ns)"),
        ("-0s", "Some(0ns)"),
        ("1h30m", "Some(5400s)"),
        ("1.5h.5s", "Some(5400.5s)"),
        ("500ms", "Some(500ms)"),
        ("-1", "None"),
        ("-1m", "None"),
    ];
    for (value, kept) in rows {
        let config = with(&[], &[("OLLAMA_KEEP_ALIVE", value)]).config();
        assert_eq!(format!("{:?}", config.keep_alive), kept, "{value}");
    }
}

#[test]
fn sizes_are_decimal_or_binary() {
    let rows = [
        ("1", 1),
        ("5b", 5),
        ("2KB", 2000),
        ("2 kb", 2000),
        ("3MB", 3_000_000),
        ("1GB", 1_000_000_000),
        ("1KiB", 1024),
        ("2mib", 2 << 20),
        ("1GiB", 1 << 30),
    ];
    for (text, bytes) in rows {
        assert_eq!(with(&[], &[("REQUEST_MAX_SIZE", text)]).config().max_body_bytes, bytes, "{text}");
    }
}

#[test]
fn all_faults_are_reported_at_once() {
    let env = [
        ("OPENAI_API_BASE_URL", "nowhere"),
        ("OPENAI_API_KEY", "a b"),
        ("PROXY_PORT", "x"),
        ("REQUEST_TIMEOUT", "0"),
        ("MAX_RETRIES", "99"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("DEBUG", "?"),
        ("CAPABILITIES", "flying,tools,swimming"),
        ("MODEL_MAPPING_FILE", "absent"),
    ];
    let args = ["--once", "--shutdown-grace=-1", "--nonsense", "value", "--ollama-version"];
    let faults = with(&args, &env).faults();
    let named: Vec<_> = faults.iter().filter_map(|fault| fault.split([' ', ':']).next()).collect();
    for name in env.iter().map(|(name, _)| *name).chain([
        "--once",
        "--shutdown-grace",
        "--nonsense",
        "--ollama-version",
    ]) {
        assert!(named.contains(&name), "{name} is missing in {faults:#?}");
    }
    assert_eq!(faults.len(), 15, "two of them for CAPABILITIES: {faults:#?}");
    let errors = with(&args, &env).parse().unwrap_err();
    assert_eq!(errors.to_string().lines().count(), 15, "one line a fault");
    assert_eq!(errors.to_string().lines().collect::<Vec<_>>(), faults);
}

#[test]
fn a_fault_tells_setting_value_and_form() {
    let fault = |env: Env| with(&[], env).faults().remove(0);
    assert_eq!(fault(&[("PROXY_PORT", "70000")]), r#"PROXY_PORT = "70000": expected a port from 0 to 65535"#);
    assert_eq!(
        fault(&[("LOG_FORMAT", "a\n\u{1b}[31m")]),
        r#"LOG_FORMAT = "a\n\u{1b}[31m": expected text or json"#
    );
    assert_eq!(
        fault(&[("SSL_CA_FILE", "absent")]),
        r#"SSL_CA_FILE = "absent": expected a readable file (entity not found)"#
    );
    assert!(fault(&[("LOG_FORMAT", &"x".repeat(10_000))]).len() < 200);
}

#[test]
fn demo_uses_no_key_but_refuses_a_malformed_setting() {
    let env = [("OPENAI_API_KEY", "sk-1"), ("OPENAI_BASE_URL", "http://h")];
    assert_eq!(with(&["demo"], &env).config().backend.key, None);
    assert!(with(&["serve"], &env).config().backend.key.is_some());
    assert!(with(&["demo"], &[]).config().warnings.is_empty());
    assert_eq!(with(&["demo"], &[("OPENAI_API_KEY", "a b")]).faults().len(), 1);
}

#[test]
fn what_the_user_is_told_at_the_start() {
    let told = |env: Env| with(&[], env).config().warnings;
    let key = ("OPENAI_API_KEY", "k");
    assert!(told(&[key]).is_empty());
    assert!(told(&[("OPENAI_BASE_URL", "http://localhost:1")]).is_empty(), "a local backend needs no key");
    let rows: &[(&str, &str, &str)] = &[
        ("DISABLE_SSL_VERIFICATION", "true", "DISABLE_SSL_VERIFICATION"),
        ("OLLAMA_HOST", "0.0.0.0", "0.0.0.0:11434"),
        ("OLLAMA_HOST", ":1", "0.0.0.0:1"),
        ("HOST", "::", "[::]:11434"),
        ("SSL_CERTS_PATH", "/certs", "--ca-file"),
        ("CAPACITIES", "tools", "CAPABILITIES"),
    ];
    for (name, value, word) in rows {
        let told = told(&[key, (name, value)]);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(word), "{told:?}");
    }
    let told = told(&[key, ("CAPACITIES", "tools"), ("CAPABILITIES", "vision")]);
    assert!(told[0].contains("ignored"), "{told:?}");
}

#[test]
fn help_and_version_are_printed() {
    let print = |args: &[&str]| match with(args, &[("PORT", "bad")]).parse() {
        Ok(Invocation::Print(text)) => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(print(&["-V"]), print(&["--port", "bad", "--version"]));
    assert!(print(&["-V"]).starts_with("ollama-openai-proxy "));
    let help = print(&["demo", "-h"]);
    assert_eq!(help, print(&["--help"]));
    for setting in SETTINGS {
        for name in [setting.name, setting.default, setting.value].iter().chain(setting.envs) {
            assert!(help.contains(name), "{name}");
        }
    }
    for line in help.lines() {
        assert!(line.chars().count() <= 100 && line.trim_end() == line, "{line:?}");
    }
}

#[test]
fn the_table_of_the_readme_is_a_table() {
    let table = settings_markdown();
    assert_eq!(table.lines().count(), SETTINGS.len() + 2);
    for line in table.lines() {
        assert_eq!(line.replace("\\|", "").matches('|').count(), 5, "{line}");
    }
    for setting in SETTINGS {
        assert!(!setting.help.is_empty() && setting.help.ends_with('.'), "{setting:?}");
        assert!(!setting.example.is_empty() && !setting.envs.is_empty(), "{setting:?}");
        assert!(
            table.contains(&format!("Example: `{}`", setting.example.replace('|', "\\|"))),
            "{setting:?}"
        );
    }
}

#[test]
fn every_example_is_accepted() {
    let files = &[
        ("/run/secrets/openai", "sk-1"),
        ("/run/secrets/proxy", "pk-1"),
        ("/etc/ssl/company.pem", "-----BEGIN CERTIFICATE-----"),
        ("models.json", "{}"),
    ];
    for setting in SETTINGS {
        for name in setting.envs.iter().filter(|name| **name != "HOST") {
            World { args: &[], env: &[(name, setting.example)], files }.config();
        }
    }
}

#[test]
#[cfg(unix)]
fn a_value_that_is_no_text_is_a_fault() {
    use std::os::unix::ffi::OsStringExt as _;
    let raw = || OsString::from_vec(b"sk-CANARY\xFF".to_vec());
    let parse = |args: Vec<OsString>, name: &'static str| {
        parse(args, |asked| (asked == name).then(raw), |_| Ok(Vec::new())).unwrap_err().to_string()
    };
    assert_eq!(parse(vec![], "OPENAI_API_KEY"), "OPENAI_API_KEY = <hidden>: expected text in utf-8");
    assert!(parse(vec![], "MODELS").starts_with("MODELS = "));
    assert!(parse(vec!["--models".into(), raw()], "").starts_with("--models = "));
    assert_eq!(
        parse(vec![raw()], ""),
        "command = <hidden>: expected at most one word: serve, demo, health or doctor"
    );
    let mut flag = OsString::from("--");
    flag.push(raw());
    parse(vec![flag], "");
}

#[test]
#[cfg(unix)]
fn settings_files_are_read_up_to_a_limit() {
    assert!(!read_file(Path::new("Cargo.toml")).unwrap().is_empty());
    assert!(read_file(Path::new("/dev/zero")).is_err());
    assert!(read_file(Path::new("does/not/exist")).is_err());
}

/// Text, text with control characters, what begins like a list, what looks like an address.
const ANYTHING: &str = r#"\PC{0,24}|(?s:.){0,9}|\[["a,]{0,6}\]|[0-9:./\[\]]{0,12}"#;

proptest! {
    /// Whatever the environment holds, the answer is a configuration or a list of faults in whole lines.
    #[test]
    fn no_value_breaks_the_reading(values in prop::collection::vec(ANYTHING, 40)) {
        let names = SETTINGS.iter().flat_map(|setting| setting.envs).copied();
        let env: Vec<_> = names.zip(values.iter().map(String::as_str)).collect();
        let world = World { args: &["--port", &values[0]], env: &env, files: &[] };
        if let Err(errors) = world.parse() {
            prop_assert!(errors.iter().count() > 0);
            prop_assert_eq!(errors.to_string().lines().count(), errors.iter().count());
            prop_assert!(!errors.to_string().contains(|char: char| char.is_control() && char != '\n'));
        }
    }
}
