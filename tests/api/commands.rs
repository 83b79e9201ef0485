//! The binary as a command: help, version, bad settings, `health`, `demo`.

use crate::backend::Backend;
use crate::client::content;
use crate::proxy::{Proxy, run};
use ollama_openai_proxy::config::SETTINGS;
use std::net::TcpListener;

/// The variables that users of the projects before this one already have (product facts, 1.5).
const VARIABLES: &[&str] = &[
    "OPENAI_API_BASE_URL",
    "OPENAI_BASE_URL",
    "OPENAI_API_KEY",
    "OPENAI_API_KEY_FILE",
    "PROXY_PORT",
    "PORT",
    "HOST",
    "OLLAMA_HOST",
    "OLLAMA_ORIGINS",
    "CORS_ORIGINS",
    "LOG_LEVEL",
    "REQUEST_TIMEOUT",
    "MAX_RETRIES",
    "MODEL_MAPPING_FILE",
    "DEBUG",
    "DISABLE_SSL_VERIFICATION",
    "SSL_CERTS_PATH",
    "CAPABILITIES",
    "CAPACITIES",
    "MODELS",
    "ENV",
    "HOSTNAME",
    "REQUEST_MAX_SIZE",
];

#[test]
fn help_names_every_setting_and_version_is_the_packages() {
    let helped = run(&["--help"], &[("OPENAI_API_BASE_URL", "nonsense")]);
    assert_eq!((helped.code, helped.stderr.as_str()), (Some(0), ""), "help is given whatever the settings");
    let names = SETTINGS.iter().flat_map(|setting| setting.envs.iter().chain([&setting.name]));
    for name in names.chain(VARIABLES).chain(&[
        "serve",
        "demo",
        "health",
        "doctor",
        "--once",
        "--json",
        "--help",
        "--version",
    ]) {
        assert!(helped.stdout.contains(name), "{name} is not in the help");
    }
    assert!(helped.stdout.lines().all(|line| line.chars().count() <= 100));
    let version = run(&["--version"], &[]);
    let expected = concat!("ollama-openai-proxy ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!((version.code, version.stdout.trim_end()), (Some(0), expected.trim_end()));
    for short in ["-h", "-V"] {
        assert_eq!(run(&[short], &[]).code, Some(0), "{short}");
    }
}

#[test]
fn bad_settings_are_all_named_at_once_and_nothing_is_bound() {
    // Whoever binds first would be told that the port is taken, and the code would be another.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let faults = [
        ("OPENAI_API_BASE_URL", "ftp://backend.example"),
        ("OPENAI_API_KEY", "sk-CANARY in two words"),
        ("REQUEST_TIMEOUT", "soon"),
        ("MAX_RETRIES", "-1"),
        ("REQUEST_MAX_SIZE", "0"),
        ("SHUTDOWN_GRACE", "never"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_FORMAT", "xml"),
        ("MODEL_MAPPING_FILE", "/nowhere/models.json"),
        ("CAPABILITIES", "flying"),
        ("OLLAMA_CONTEXT_LENGTH", "many"),
        ("OLLAMA_VERSION_REPORTED", "1.0-dev"),
        ("BACKEND_PROFILE", "clippy"),
        ("DISABLE_SSL_VERIFICATION", "maybe"),
        ("SSL_CA_FILE", "/nowhere/ca.pem"),
        ("OLLAMA_ORIGINS", "not an origin"),
    ];
    let variables = [&faults[..], &[("OLLAMA_HOST", "127.0.0.1"), ("PROXY_PORT", port.as_str())]].concat();
    for command in [&[][..], &["serve"]] {
        let ended = run(command, &variables);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(64), ""), "{}", ended.stderr);
        for (name, _) in faults {
            let lines: Vec<_> = ended.stderr.lines().filter(|line| line.starts_with(name)).collect();
            assert_eq!(lines.len(), 1, "{name} in {}", ended.stderr);
            assert!(lines[0].contains(": expected "), "the accepted form: {}", lines[0]);
        }
        assert_eq!(ended.stderr.lines().count(), faults.len(), "{}", ended.stderr);
        assert!(!ended.stderr.contains("CANARY"));
    }
    for bad in [("PROXY_PORT", "99999"), ("OLLAMA_HOST", "127.0.0.1:http"), ("PORT", "x"), ("HOST", "a b")] {
        let ended = run(&[], &[bad]);
        assert_eq!(ended.code, Some(64), "{bad:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(bad.0), "{}", ended.stderr);
    }
}

#[test]
fn bad_flags_and_words_are_told_and_a_key_is_never_taken_from_the_command_line() {
    for arguments in [&["--nonsense"][..], &["sing"], &["serve", "demo"], &["--port"], &["--once"]] {
        let ended = run(arguments, &[]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(64), ""), "{arguments:?}: {}", ended.stderr);
        assert!(!ended.stderr.is_empty());
    }
    let ended = run(&["--api-key", "sk-CANARY"], &[]);
    assert_eq!(ended.code, Some(64));
    assert!(ended.stderr.contains("OPENAI_API_KEY") && !ended.stderr.contains("CANARY"), "{}", ended.stderr);
}

#[test]
fn a_port_that_is_taken_is_told_with_the_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = run(&[], &[("OLLAMA_HOST", &address)]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains(&address) && ended.stderr.contains("OLLAMA_HOST"), "{}", ended.stderr);
}

#[test]
fn health_is_0_in_front_of_a_running_proxy_and_1_elsewhere() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    let (address, port) = (proxy.address.to_string(), proxy.address.port().to_string());
    let everywhere = format!("0.0.0.0:{port}");
    for variables in [
        &[("OLLAMA_HOST", address.as_str())][..],
        &[("OLLAMA_HOST", &everywhere)],
        &[("PROXY_PORT", &port)],
        &[("HOST", "localhost"), ("PORT", &port)],
    ] {
        let ended = run(&["health"], variables);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{variables:?}");
    }
    assert_eq!(backend.seen().connections, 0, "a probe costs the backend nothing");

    let nobody = crate::proxy::nobody().to_string();
    // A backend is no proxy: it does not answer `GET /` as one.
    let other = Backend::with_models(|_, peer| peer.respond(500, &[], ""), |_, _| {});
    for address in [nobody, other.address.to_string()] {
        let ended = run(&["health"], &[("OLLAMA_HOST", &address)]);
        assert_eq!(ended.code, Some(1), "{address}");
        assert!(ended.stderr.contains("not healthy"), "{}", ended.stderr);
    }
}

#[test]
fn the_demo_shows_an_answer_and_ends_when_told_once() {
    // The settings of a real backend, the key above all, are not for the demo.
    let variables = [
        ("PROXY_PORT", "0"),
        ("OPENAI_API_BASE_URL", "http://127.0.0.1:9/v1"),
        ("OPENAI_API_KEY", "sk-CANARY"),
        ("NO_COLOR", "1"),
    ];
    let ended = run(&["demo", "--once"], &variables);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    // Whatever the width of the lines.
    let words: Vec<_> = ended.stdout.split_whitespace().collect();
    let text = words.join(" ");
    assert!(text.contains("Why is the sky blue?"), "{text}");
    assert!(text.contains("which are far smaller than a wavelength of light"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours in a pipe");
    assert!(!(ended.stdout + &ended.stderr).contains("CANARY"));
}

#[test]
fn variables_reach_the_proxy_under_each_of_their_names() {
    let backend = Backend::hello();
    let url = backend.url();
    for variables in [
        &[("OPENAI_API_BASE_URL", url.as_str())][..],
        &[("OPENAI_BASE_URL", &url)],
        &[("OPENAI_API_BASE_URL", &url), ("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")],
        &[("OPENAI_API_BASE_URL", &url), ("OLLAMA_HOST", "http://127.0.0.1:0")],
        &[("OPENAI_API_BASE_URL", &url), ("OLLAMA_HOST", ""), ("HOST", "localhost"), ("PORT", "0")],
        &[("OPENAI_API_BASE_URL", &url), ("OLLAMA_HOST", "127.0.0.1:9"), ("PROXY_PORT", "0")],
        &[("OPENAI_API_BASE_URL", &url), ("OLLAMA_HOST", "0.0.0.0:0")],
    ] {
        let proxy = Proxy::start(variables);
        assert_eq!(content(&proxy.chat("q").lines()), "Hello world", "{variables:?}");
    }
}
