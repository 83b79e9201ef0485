//! What is written beside the program says what the program says: README.md's tables are those in the code,
//! docker-compose.yml hands on every variable of it, and the workflow runs every word of `tests/run`.
//!
//! `BLESS=1 cargo test --test readme` writes the tables between their markers anew.
#![cfg(feature = "net")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "the code around the tests is test code too")]

use ollama_openai_proxy::config::{SETTINGS, settings_markdown};
use ollama_openai_proxy::openai::profiles_markdown;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

/// One at a time: the tests write one file.
static BLESSING: Mutex<()> = Mutex::new(());

#[test]
fn the_settings_table_is_the_programs_own() {
    check("settings", &settings_markdown());
}

#[test]
fn the_table_of_profiles_is_the_programs_own() {
    check("profiles", &profiles_markdown());
}

fn check(name: &str, expected: &str) {
    let _blessing = BLESSING.lock().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let Some((before, found, after)) = between(&readme, &begin, &end) else {
        panic!("README.md: no {begin:?} with {end:?} behind it, once each");
    };
    if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
        fs::write(path, format!("{before}{begin}{expected}{end}{after}")).unwrap();
        return;
    }
    let mut pairs = found.lines().zip(expected.lines());
    if let Some((found, expected)) = pairs.find(|(found, expected)| found != expected) {
        panic!("README.md has\n  {found}\nand the program\n  {expected}");
    }
    assert_eq!(found, expected, "rows are missing in README.md, or there are too many");
}

/// What stands before, between and behind the markers.
fn between<'a>(readme: &'a str, begin: &str, end: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let (before, rest) = readme.split_once(begin)?;
    let (found, after) = rest.split_once(end)?;
    (!after.contains(begin) && !after.contains(end)).then_some((before, found, after))
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn compose_hands_on_every_variable() {
    // In the container the address is fixed; which one is published is PROXY_BIND's and PROXY_PORT's. The name is the
    // container's own.
    let fixed = ["OLLAMA_HOST", "HOST", "PROXY_PORT", "PORT", "HOSTNAME"];
    let compose = read("docker-compose.yml");
    let handed_on: Vec<&str> = compose.lines().filter_map(|line| line.trim().strip_prefix("- ")).collect();
    let variables = SETTINGS.iter().flat_map(|setting| setting.envs).filter(|name| !fixed.contains(name));
    let missing: Vec<_> = variables.filter(|name| !handed_on.contains(name)).collect();
    assert!(missing.is_empty(), "docker-compose.yml does not hand on {missing:?}");
}

#[test]
fn the_workflow_runs_every_word() {
    let script = read("tests/run");
    let words: Vec<&str> = script
        .lines()
        .filter_map(|line| line.strip_prefix("word_")?.split_once("()"))
        .map(|(word, _)| word)
        .collect();
    assert!(words.contains(&"lint") && words.contains(&"doc"), "the words of tests/run: {words:?}");
    let workflow = read(".github/workflows/ci.yml");
    let matrix = workflow.lines().find_map(|line| line.trim().strip_prefix("word: [")?.strip_suffix(']'));
    let run: Vec<&str> = matrix.expect("ci.yml has a matrix of words").split(", ").collect();
    assert_eq!(run, words);
}
