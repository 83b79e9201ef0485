//! Stage 1: the text of the settings, as flags and variables give it. What is wrong with the command line itself is
//! found here; what a value must look like is not known yet.

use super::{Command, ConfigError, HIDDEN, SETTINGS, Setting, settings, values};
use lexopt::Arg;
use std::ffi::OsString;

/// What the command line asks for.
pub(super) enum Asked {
    Run(Command),
    Print(String),
}

/// What is known so far: the text that was given, and what is wrong with it.
pub(super) struct Stage<R> {
    /// Flag or variable, and its value, trimmed and not empty; flags first, repeated ones in their order.
    pub(super) given: Vec<(&'static str, String)>,
    pub(super) faults: Vec<ConfigError>,
    pub(super) warnings: Vec<String>,
    /// Opens the files that settings name.
    pub(super) read: R,
}

impl<R> Stage<R> {
    pub(super) fn gather_flags(&mut self, args: Vec<OsString>) -> Asked {
        let mut parser = lexopt::Parser::from_args(args);
        let (mut command, mut once, mut json) = (None, false, false);
        // The word after an unknown flag is most likely its value, and may be a key: it is not shown.
        let mut swallow = false;
        loop {
            let name = match parser.next() {
                Ok(None) => break,
                Ok(Some(Arg::Long(name))) => format!("--{name}"),
                Ok(Some(Arg::Short(name))) => format!("-{name}"),
                Ok(Some(Arg::Value(_))) if swallow => {
                    swallow = false;
                    continue;
                }
                Ok(Some(Arg::Value(word))) => {
                    if let Some(Command::Doctor { models, .. }) = &mut command {
                        match word.to_str().map(values::trimmed) {
                            Some(model) if !model.is_empty() => models.push(model.to_owned()),
                            _ => self.fault("doctor", "", "names of models in utf-8"),
                        }
                        continue;
                    }
                    let known = match word.to_str() {
                        Some("serve") => Some(Command::Serve),
                        Some("demo") => Some(Command::Demo { once: false }),
                        Some("health") => Some(Command::Health),
                        Some("doctor") => Some(Command::Doctor { models: Vec::new(), json: false }),
                        _ => None,
                    };
                    match known {
                        Some(known) if command.is_none() => command = Some(known),
                        _ => self.fault(
                            "command",
                            shown_word(&word),
                            "at most one word: serve, demo, health or doctor",
                        ),
                    }
                    continue;
                }
                Err(_) => {
                    self.fault("command line", "", "flags as --help lists them");
                    continue;
                }
            };
            swallow = false;
            match name.as_str() {
                "-h" | "--help" => return Asked::Print(settings::help()),
                "-V" | "--version" => return Asked::Print(settings::version()),
                "--once" => {
                    once = true;
                    if parser.optional_value().is_some() {
                        self.fault("--once", "", "no value");
                    }
                }
                "--json" => {
                    json = true;
                    if parser.optional_value().is_some() {
                        self.fault("--json", "", "no value");
                    }
                }
                "--api-key" => {
                    // Taken so that it is not mistaken for a command, and dropped unseen.
                    let _ = parser.value();
                    self.fault(
                        "--api-key",
                        HIDDEN,
                        "the key in OPENAI_API_KEY, or in a file named by OPENAI_API_KEY_FILE or \
                         --api-key-file: the command line is visible to every user of the machine",
                    );
                }
                _ => swallow = !self.gather_flag(&name, &mut parser),
            }
        }
        let command = command.unwrap_or(Command::Serve);
        if once && !matches!(command, Command::Demo { .. }) {
            self.fault("--once", "", "the command demo before it");
        }
        if json && !matches!(command, Command::Doctor { .. }) {
            self.fault("--json", "", "the command doctor before it");
        }
        Asked::Run(match command {
            Command::Demo { .. } => Command::Demo { once },
            Command::Doctor { models, .. } => Command::Doctor { models, json },
            command => command,
        })
    }

    /// Whether the flag is known.
    fn gather_flag(&mut self, name: &str, parser: &mut lexopt::Parser) -> bool {
        let named = |setting: &&Setting| {
            setting.name == name || setting.short.is_some_and(|short| name == format!("-{short}"))
        };
        let Some(setting) = SETTINGS.iter().find(named) else {
            let _ = parser.optional_value();
            self.fault(name, "", "a flag that --help lists");
            return false;
        };
        let value = match setting.value {
            "" => Ok(parser.optional_value().unwrap_or_else(|| "true".into())),
            _ => parser.value(),
        };
        match value {
            Ok(value) => self.give(setting.name, value),
            Err(_) => self.fault(setting.name, "", format!("a value, {}", setting.value)),
        }
        true
    }

    pub(super) fn gather_variables(&mut self, env: impl Fn(&str) -> Option<OsString>) {
        for name in SETTINGS.iter().flat_map(|setting| setting.envs) {
            if let Some(value) = env(name) {
                self.give(name, value);
            }
        }
    }

    fn give(&mut self, name: &'static str, value: OsString) {
        match value.to_str().map(values::trimmed) {
            Some("") => {}
            Some(text) => self.given.push((name, text.to_owned())),
            None => self.fault(name, &value.to_string_lossy(), "text in utf-8"),
        }
    }

    pub(super) fn fault(&mut self, setting: &str, value: &str, expected: impl Into<String>) {
        self.faults.push(fault(setting, value, expected));
    }
}

/// One fault, without what must not be shown.
#[cold]
pub(super) fn fault(setting: &str, value: &str, expected: impl Into<String>) -> ConfigError {
    let value = if settings::is_secret(setting) { HIDDEN } else { value };
    ConfigError {
        setting: setting.to_owned(),
        // Enough to recognise it by.
        value: value.chars().take(80).collect(),
        expected: expected.into(),
    }
}

/// A mistyped command is shown. Anything else is not: other proxies of this kind take the key as a bare word.
fn shown_word(word: &OsString) -> &str {
    let is_plain = |word: &&str| word.len() <= 12 && word.bytes().all(|b| b.is_ascii_lowercase());
    word.to_str().filter(is_plain).unwrap_or(HIDDEN)
}
