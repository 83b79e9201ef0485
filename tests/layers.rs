//! Who may import whom: the table of CONTRIBUTING.md's floors, checked on every path that a file of `src/` names, in a
//! `use` or in the middle of the code. Comments and texts are not read, macros are read like code.
//!
//! Arrows point down only. Unit tests may use two crates more, and nothing else that their file may not. What the lints
//! of Cargo.toml and clippy.toml check is not checked here again, but for the one task and the threads that may be
//! spawned.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test stops where it fails")]

#[path = "layers/paths.rs"]
mod paths;

use paths::{Named, Token, named, test_module_start, tokens};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const MAX_FILE_LINES: usize = 600;
const MAX_MAIN_LINES: usize = 60;

/// A top-level module and what its code may name. A path matches an entry that it begins with.
struct Floor {
    name: &'static str,
    modules: &'static [&'static str],
    crates: &'static [&'static str],
    /// Paths that are refused although an entry of `crates` allows them.
    never: &'static [&'static str],
}

/// Sockets, the clock and the surroundings, as the standard library has them: the pure core knows none of them.
const SURROUNDINGS: &[&str] = &[
    "std::net",
    "std::env",
    "std::fs",
    "std::process",
    "std::thread",
    "std::io",
    "std::time::SystemTime",
    "std::time::Instant",
    "std::time::UNIX_EPOCH",
];

const FLOORS: &[Floor] = &[
    Floor {
        name: "wire",
        modules: &["wire"],
        crates: &["bytes", "memchr", "simdutf8", "zmij", "core", "std"],
        never: &["std::net", "std::env", "std::fs", "std::process", "std::thread", "std::io", "std::time"],
    },
    Floor {
        name: "ollama",
        modules: &["ollama", "wire"],
        crates: &["bytes", "memchr", "simd_json", "core", "std"],
        never: SURROUNDINGS,
    },
    Floor {
        name: "openai",
        modules: &["openai", "wire"],
        crates: &["bytes", "memchr", "simd_json", "core", "std"],
        never: SURROUNDINGS,
    },
    Floor {
        name: "translate",
        modules: &["translate", "ollama", "openai", "wire"],
        crates: &["bytes", "memchr", "core", "std"],
        never: SURROUNDINGS,
    },
    // It reads the file of model names, and keeps the backend's address in the type that the client takes.
    Floor {
        name: "config",
        modules: &["config"],
        crates: &["lexopt", "simd_json", "hyper::Uri", "hyper::http::uri", "core", "std"],
        never: &["std::net::TcpListener", "std::net::TcpStream", "std::net::UdpSocket", "std::thread"],
    },
    Floor {
        name: "log",
        modules: &["log", "config"],
        crates: &["tracing", "core", "std"],
        never: &["std::net", "std::env", "std::process", "std::thread"],
    },
    // Raw JSON only through `translate` and its neighbours: no scanner, no writer, no tree.
    Floor {
        name: "proxy",
        modules: &["proxy", "config", "translate", "ollama", "openai"],
        crates: PROXY_CRATES,
        never: &[],
    },
    // The demonstration's backend is a server of its own: it speaks JSON itself, and none of the proxy's code.
    Floor { name: "proxy::demo", modules: &["proxy::demo"], crates: DEMO_CRATES, never: &[] },
    // So is the doctor a client of its own.
    Floor { name: "proxy::doctor", modules: &["proxy::doctor"], crates: DEMO_CRATES, never: &[] },
    Floor {
        name: "main",
        modules: &["config", "log", "proxy"],
        crates: &["ollama_openai_proxy", "libmimalloc_sys", "mimalloc", "core", "std"],
        never: &["std::net", "std::thread"],
    },
    Floor { name: "lib", modules: &[], crates: &[], never: &[] },
];

const PROXY_CRATES: &[&str] = &[
    "bytes",
    "http_body_util",
    "httparse",
    "hyper",
    "hyper_rustls",
    "hyper_util",
    "ring",
    "rustls",
    "tokio",
    "tower_service",
    "tracing",
    "webpki_roots",
    "core",
    "std",
];
const DEMO_CRATES: &[&str] = &[
    "bytes",
    "http_body_util",
    "hyper",
    "hyper_util",
    "memchr",
    "simd_json",
    "tokio",
    "tracing",
    "core",
    "std",
];

/// The crates of unit tests.
const TEST_CRATES: &[&str] = &["proptest", "serde_json"];
/// Where the only task may be spawned: one for a connection.
const SPAWNS: &str = "proxy/server.rs";
/// Where the only threads are begun: those that serve.
const THREADS: &str = "proxy/threads.rs";
/// Kinds of backends are told apart where they are a row of the table, a word of the configuration, and where the one
/// becomes the other. Everywhere else a backend has properties, not a name.
const KNOWS_VENDORS: &[&str] = &["openai/dialect/", "openai/header.rs", "openai/mod.rs", "config/"];
const VENDORS: &[&str] = &[
    "anthropic",
    "azure",
    "deepseek",
    "fireworks",
    "gemini",
    "groq",
    "koboldcpp",
    "llama.cpp",
    "lmstudio",
    "lm studio",
    "mistral",
    "openrouter",
    "sglang",
    "vllm",
];

// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn arrows_point_down_only() {
    let faults: Vec<String> =
        sources().iter().flat_map(|source| check_imports(&source.path, &source.text)).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn only_a_connection_is_a_task_of_its_own_and_threads_are_begun_in_one_place() {
    let faults: Vec<String> =
        sources().iter().flat_map(|source| check_spawns(&source.path, &source.text)).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn backends_have_properties_not_names() {
    let faults: Vec<String> =
        sources().iter().flat_map(|source| check_vendors(&source.path, &source.text)).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let mut faults = Vec::new();
    for Source { path, text } in sources() {
        let lines = text.lines().count();
        let max = if path == "main.rs" { MAX_MAIN_LINES - 1 } else { MAX_FILE_LINES };
        if lines > max {
            faults.push(format!("{path}: {lines} lines, at most {max}"));
        }
        if !text.starts_with("//! ") {
            faults.push(format!("{path}: does not begin with //! and what it is for"));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_dependency_is_known_to_the_table() {
    let known: BTreeSet<&str> = FLOORS.iter().flat_map(|floor| floor.crates).map(|path| root(path)).collect();
    let unknown: Vec<String> =
        packages("dependencies").into_iter().filter(|name| !known.contains(name.as_str())).collect();
    assert_eq!(unknown, Vec::<String>::new(), "which floor may use them?");
}

/// The checks find what they are there to find.
#[test]
fn a_violation_is_caught() {
    let caught = |path: &str, text: &str| check_imports(path, text).len();
    for (path, text) in [
        ("wire/sse.rs", "use crate::ollama::Route;"),
        ("wire/sse.rs", "fn f() { crate::openai::x() }"),
        ("wire/sse.rs", "use super::super::translate;"),
        ("wire/sse.rs", "use std::{fmt, net::{IpAddr, SocketAddr}};"),
        ("wire/sse.rs", "use std::time::Duration;"),
        ("wire/sse.rs", "use simd_json;"),
        ("wire/scan.rs", "mod inner { fn f() { super::super::super::ollama::x() } }"),
        ("wire/scan.rs", "macro_rules! m { () => { $crate::proxy::x() } }"),
        ("ollama/request.rs", "use crate::{wire::Scanner, openai::Dialect};"),
        ("openai/chunk.rs", "pub use crate::ollama as o;"),
        ("openai/chunk.rs", "use hyper::Uri;"),
        ("translate/stream.rs", "use std::time::{Duration, Instant};"),
        ("translate/stream.rs", "let now = std::time::SystemTime::now();"),
        ("translate/stream.rs", "use std::time::*;"),
        ("translate/stream.rs", "use std::*;"),
        ("translate/stream.rs", "use crate::config::Config;"),
        ("translate/stream.rs", "use simd_json::OwnedValue;"),
        ("translate/stream.rs", "use r#tokio::time;"),
        ("config/values.rs", "use hyper::{Uri, Request};"),
        ("config/values.rs", "use crate::proxy;"),
        ("log.rs", "use crate::proxy::App;"),
        ("proxy/handler.rs", "use simd_json::json;"),
        ("proxy/handler.rs", "use crate::wire::Scanner;"),
        ("proxy/demo/script.rs", "use crate::openai::ApiError;"),
        ("proxy/demo/script.rs", "use super::super::upstream::Upstream;"),
        ("main.rs", "use ollama_openai_proxy::translate;"),
        ("main.rs", "use hyper::Uri;"),
        ("lib.rs", "use crate::wire::Scanner;"),
        ("wire/text.rs", "#[cfg(test)]\nmod tests { use crate::ollama::Route; }"),
        ("wire/text.rs", "use serde_json::Value;\n#[cfg(test)]\nmod tests {}"),
        ("new/floor.rs", "use std::fmt;"),
    ] {
        assert!(caught(path, text) > 0, "{path}: {text}");
    }
    for (path, text) in [
        (
            "wire/sse.rs",
            "// use crate::ollama::Route;\n/* crate::openai /* nested */ crate::proxy */ use std::fmt;",
        ),
        (
            "wire/sse.rs",
            "//! [`crate::ollama`]\nlet a = \"crate::openai\"; let b = r#\"use \"hyper\"::x\"#; let c = '\"'; let d = b\"\\\"std::net\";",
        ),
        ("wire/sse.rs", "use self::inner::net; fn f<'a>(net: &'a net::X) { net::f() }"),
        ("wire/text.rs", "#[cfg(test)]\nmod tests { use super::super::Scanner; use proptest::prelude::*; }"),
        ("wire/scan_tests.rs", "use super::*; use serde_json::Value;"),
        (
            "translate/stream.rs",
            "use super::{Fault, tools::X}; use std::time::Duration; use crate::wire::{self, Bytes};",
        ),
        ("config/backend.rs", "use hyper::Uri; use std::net::SocketAddr;"),
        ("proxy/body.rs", "use crate::{ollama, translate::Fault}; use tokio::time::Instant;"),
        ("proxy/demo/script.rs", "use super::request::X; use simd_json::json;"),
        ("main.rs", "use ollama_openai_proxy::{log, proxy}; mimalloc::MiMalloc;"),
    ] {
        assert_eq!(check_imports(path, text), Vec::<String>::new(), "{path}: {text}");
    }

    let spawn = "use tokio::task::{self, spawn_local}; fn f() { tokio::spawn(x) }";
    assert_eq!(check_spawns("proxy/body.rs", spawn).len(), 2);
    assert_eq!(check_spawns("proxy/server.rs", spawn).len(), 0);
    assert_eq!(check_spawns("proxy/body_tests.rs", spawn).len(), 0);
    let thread = "use std::{io, thread::Builder}; fn f() { std::thread::spawn(x) }";
    assert_eq!(check_spawns("proxy/server.rs", thread).len(), 2);
    assert_eq!(check_spawns("proxy/threads.rs", thread).len(), 0);

    assert_eq!(check_vendors("proxy/upstream.rs", "if host == \"openrouter.ai\" {}").len(), 1);
    assert_eq!(check_vendors("translate/chat.rs", "if profile == Profile::Vllm {}").len(), 1);
    assert_eq!(check_vendors("translate/chat.rs", "// Azure does so\nlet x = Profile::default();").len(), 0);
    assert_eq!(check_vendors("openai/dialect/profile.rs", "Profile::Vllm; \"vllm\"").len(), 0);
}

// ---------------------------------------------------------------------------------------------------------------------
// The checks.

/// What a file names that its floor may not.
fn check_imports(path: &str, text: &str) -> Vec<String> {
    let module = module_of(path);
    let Some(floor) = floor_of(&module) else { return vec![format!("{path}: no floor is called so")] };
    let dev_only = TEST_CRATES;
    let externals: BTreeSet<String> = [packages("dependencies"), packages("dev-dependencies")]
        .concat()
        .into_iter()
        .chain(builtin())
        .collect();
    let mut faults = BTreeSet::new();
    for Named { segments, is_test } in named(&tokens(text), &module, is_test_file(path)) {
        let shown = segments.join("::");
        let allowed = match segments.first().map(String::as_str) {
            Some("crate") => may_see(floor, &segments),
            Some(name) if externals.contains(name) => {
                let is_allowed = floor.crates.iter().any(|entry| begins_with(&shown, entry))
                    && !floor.never.iter().any(|entry| reaches(&shown, entry));
                is_allowed && is_module_of_main(&segments, floor) || is_test && dev_only.contains(&name)
            }
            _ => true,
        };
        if !allowed {
            faults.insert(format!("{path}: {} may not name {shown}", floor.name));
        }
    }
    faults.into_iter().collect()
}

/// Names of this crate: a floor's own list, and what stands in the crate's root, which is modules only.
fn may_see(floor: &Floor, segments: &[String]) -> bool {
    let inner = segments.get(1..).unwrap_or_default().join("::");
    // `use super::*` of a file in the root, and the bare word `crate` of a visibility.
    if inner.is_empty() {
        return true;
    }
    floor.modules.iter().any(|module| begins_with(&inner, module))
}

fn is_module_of_main(segments: &[String], floor: &Floor) -> bool {
    match segments {
        [root, module, ..] if root == "ollama_openai_proxy" => floor.modules.contains(&module.as_str()),
        _ => true,
    }
}

fn check_spawns(path: &str, text: &str) -> Vec<String> {
    let named = named(&tokens(text), &module_of(path), is_test_file(path));
    let spawns = named.into_iter().filter(|name| !name.is_test).filter_map(|name| {
        let spawns = |word: &String| word.starts_with("spawn") || word == "JoinSet" || word == "LocalSet";
        let shown = name.segments.join("::");
        let place = match name.segments.first().map(String::as_str) {
            Some("tokio") if name.segments.iter().any(spawns) => SPAWNS,
            Some("std") if reaches(&shown, "std::thread") => THREADS,
            _ => return None,
        };
        (path != place).then(|| format!("{path}: {shown} belongs in {place}"))
    });
    spawns.collect()
}

fn check_vendors(path: &str, text: &str) -> Vec<String> {
    if KNOWS_VENDORS.iter().any(|place| path.starts_with(place)) || is_test_file(path) {
        return Vec::new();
    }
    let tokens = tokens(text);
    let code = &tokens[..test_module_start(&tokens).unwrap_or(tokens.len())];
    let mut faults = Vec::new();
    for (at, token) in code.iter().enumerate() {
        let is_vendor = match token {
            Token::Text(text) => VENDORS.iter().any(|vendor| text.to_ascii_lowercase().contains(vendor)),
            Token::Word(word) if word == "Profile" => {
                let variant = match code.get(at + 1..at + 3) {
                    Some([Token::PathSep, Token::Word(variant)]) => variant.as_str(),
                    _ => "",
                };
                variant.starts_with(|letter: char| letter.is_ascii_uppercase())
            }
            _ => false,
        };
        if is_vendor {
            faults.push(format!(
                "{path}: {token:?} is about one kind of backend; make it a row of openai/dialect"
            ));
        }
    }
    faults
}

fn root(path: &str) -> &str {
    path.split("::").next().unwrap_or(path)
}

fn begins_with(path: &str, entry: &str) -> bool {
    path == entry || path.strip_prefix(entry).is_some_and(|rest| rest.starts_with("::"))
}

/// Whether the path is the entry, lies below it, or is a glob that brings it along.
fn reaches(path: &str, entry: &str) -> bool {
    begins_with(path, entry) || path.strip_suffix("*").is_some_and(|from| entry.starts_with(from))
}

// ---------------------------------------------------------------------------------------------------------------------
// Files and modules.

struct Source {
    /// Below `src`, with slashes.
    path: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let parts: Vec<&str> =
                    path.strip_prefix(&root).unwrap().iter().map(|part| part.to_str().unwrap()).collect();
                sources.push(Source { path: parts.join("/"), text });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 20, "{} files below {}", sources.len(), root.display());
    sources
}

/// `["wire", "sse"]` of `wire/sse.rs`, `["wire"]` of `wire/mod.rs`; a file of tests is the module `tests` of its file.
fn module_of(path: &str) -> Vec<String> {
    let stem = path.strip_suffix(".rs").unwrap_or(path);
    let mut module: Vec<String> = stem.split('/').map(str::to_string).collect();
    let last = module.pop().unwrap_or_default();
    match last.strip_suffix("_tests") {
        // `config/config_tests.rs` belongs to `config/mod.rs`.
        Some(of) if module.last().is_some_and(|directory| directory == of) => {
            module.push("tests".to_string())
        }
        Some(of) => module.extend([of.to_string(), "tests".to_string()]),
        None if last == "mod" => {}
        None => module.push(last),
    }
    module
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("_tests.rs")
}

/// The longest name of a floor that the module's path begins with.
fn floor_of(module: &[String]) -> Option<&'static Floor> {
    let path = module.join("::");
    FLOORS.iter().filter(|floor| begins_with(&path, floor.name)).max_by_key(|floor| floor.name.len())
}

/// The names of a table of Cargo.toml, as Rust spells them.
fn packages(table: &str) -> Vec<String> {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let lines = manifest.lines().skip_while(|line| *line != format!("[{table}]")).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim().replace('-', "_"));
    names.filter(|name| !name.starts_with('#')).collect()
}

fn builtin() -> [String; 5] {
    ["std", "core", "alloc", "proc_macro", "ollama_openai_proxy"].map(str::to_string)
}
