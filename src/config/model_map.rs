//! The model map: the one file of settings that is read beside the key and the certificates. Both shapes that are in
//! use are understood, the flat object of aliases and the one with `model_mappings`; beside either may stand
//! `default_model`, and `models`, an object of facts by glob. Keys that begin with `_` are comments. A map that is
//! wrong anywhere is refused as a whole.

use super::{Override, values};
use simd_json::prelude::*;
use simd_json::tape::{Object, Value};

/// Most aliases, since each is compared with those before it, and with every model, between two requests.
const MAX_ALIASES: usize = 2000;
const TOO_MANY: &str = "no more than";

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ModelMap {
    /// In the order of the file, which is the order in which they are listed.
    pub(super) aliases: Vec<(String, String)>,
    pub(super) default_model: Option<String>,
    /// In the order of the file.
    pub(super) overrides: Vec<Override>,
    /// Keys that mean nothing here.
    pub(super) unknown: Vec<String>,
}

/// Parses the file; the error is the list of what was expected instead.
pub(super) fn parse(text: &[u8]) -> Result<ModelMap, Vec<String>> {
    // Windows editors put a byte order mark before JSON, which has no place for it.
    let mut json = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text).to_vec();
    let tape = simd_json::to_tape(&mut json).map_err(|error| vec![format!("valid json ({error})")])?;
    let Some(top) = tape.as_value().as_object() else {
        return Err(vec!["a json object of model names".into()]);
    };
    let mut map = ModelMap::default();
    let mut faults = Vec::new();
    let nested =
        top.iter().find_map(|(key, value)| if key == "model_mappings" { value.as_object() } else { None });
    for (key, value) in top.iter().filter(|(key, _)| !key.starts_with('_')) {
        match (key, value.as_str(), nested.is_some()) {
            ("model_mappings", _, true) => {}
            ("default_model", Some(name), _) if !name.trim().is_empty() => {
                map.default_model = Some(name.trim().to_owned());
            }
            ("default_model", None, _) if value.is_null() => map.default_model = None,
            ("default_model", _, _) => faults.push("a model name under \"default_model\"".into()),
            ("models", None, _) => map.facts(value.as_object(), &mut faults),
            (key, _, true) => map.unknown.push(key.to_owned()),
            (key, name, false) => map.alias(key, name, &mut faults),
        }
    }
    for (key, value) in nested.iter().flat_map(|aliases| aliases.iter()) {
        if !key.starts_with('_') {
            map.alias(key, value.as_str(), &mut faults);
        }
    }
    if faults.is_empty() { Ok(map) } else { Err(faults) }
}

impl ModelMap {
    fn alias(&mut self, key: &str, name: Option<&str>, faults: &mut Vec<String>) {
        let key = key.trim();
        match name.map(str::trim) {
            Some(name) if !key.is_empty() && !name.is_empty() => {
                if self.aliases.len() == MAX_ALIASES {
                    if faults.last().is_none_or(|fault| !fault.starts_with(TOO_MANY)) {
                        faults.push(format!("{TOO_MANY} {MAX_ALIASES} model names"));
                    }
                    return;
                }
                // Of two equal keys the last counts, as in every JSON reader.
                self.aliases.retain(|(known, _)| known != key);
                self.aliases.push((key.to_owned(), name.to_owned()));
            }
            _ => faults.push(format!("a model name under {key:?}")),
        }
    }

    /// What stands under `models`.
    fn facts(&mut self, models: Option<Object<'_, '_>>, faults: &mut Vec<String>) {
        let Some(models) = models else {
            faults.push("an object of facts by glob under \"models\"".into());
            return;
        };
        for (glob, facts) in models.iter().filter(|(glob, _)| !glob.starts_with('_')) {
            let Some(facts) = facts.as_object().filter(|_| !glob.trim().is_empty()) else {
                faults.push(format!("an object of facts under \"models\", {glob:?}"));
                continue;
            };
            let mut read = Override { glob: glob.trim().to_owned(), ..Override::default() };
            for (key, value) in facts.iter().filter(|(key, _)| !key.starts_with('_')) {
                match take(&mut read, key, value) {
                    Some(true) => {}
                    Some(false) => self.unknown.push(format!("models.{glob}.{key}")),
                    None => faults.push(format!("{} under \"models\", {glob:?}, {key:?}", form(key))),
                }
            }
            self.overrides.push(read);
        }
    }
}

/// Takes one fact: `None` when it is not of its form, `false` when there is none of this name.
fn take(facts: &mut Override, key: &str, value: Value<'_, '_>) -> Option<bool> {
    let number = || value.as_u64().filter(|number| *number > 0);
    let text = || value.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    match key {
        "capabilities" => {
            let list = value.as_array()?;
            let known = list.iter().map(|entry| entry.as_str().and_then(values::capability));
            facts.capabilities = Some(known.collect::<Option<Vec<String>>>()?);
        }
        "context_length" => facts.context_length = Some(number()?),
        "embedding_length" => facts.embedding_length = Some(number()?),
        "family" => facts.family = Some(text()?),
        "parameter_size" => facts.parameter_size = Some(text()?),
        "quantization_level" => facts.quantization_level = Some(text()?),
        _ => return Some(false),
    }
    Some(true)
}

/// What must stand under a key.
fn form(key: &str) -> String {
    match key {
        "capabilities" => format!("a list of {}", values::CAPABILITIES.join(", ")),
        "context_length" | "embedding_length" => "a whole number from 1 up".to_owned(),
        _ => "a text".to_owned(),
    }
}
