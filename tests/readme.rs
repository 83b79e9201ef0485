//! README.md says of the settings what the program says: its table is printed from the one table in the code.
//!
//! `BLESS=1 cargo test --test readme` writes the table between the two markers anew.
#![cfg(feature = "net")]

use ollama_openai_proxy::config::settings_markdown;
use std::fs;
use std::path::Path;

const BEGIN: &str = "<!-- settings -->\n";
const END: &str = "<!-- /settings -->";

#[test]
fn the_settings_table_is_the_programs_own() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let expected = settings_markdown();
    let Some((before, found, after)) = between(&readme) else {
        panic!("README.md: no {BEGIN:?} with {END:?} behind it, once each");
    };
    if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
        fs::write(path, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
        return;
    }
    let mut pairs = found.lines().zip(expected.lines());
    if let Some((found, expected)) = pairs.find(|(found, expected)| found != expected) {
        panic!("README.md has\n  {found}\nand the program\n  {expected}");
    }
    assert_eq!(found, expected, "rows are missing in README.md, or there are too many");
}

/// What stands before, between and behind the markers.
fn between(readme: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = readme.split_once(BEGIN)?;
    let (found, after) = rest.split_once(END)?;
    (!after.contains(BEGIN) && !after.contains(END)).then_some((before, found, after))
}
