//! The model map: the one file of settings that is read beside the key and the certificates. Both shapes that are in
//! use are understood, the flat object of aliases and the one with `model_mappings`; keys that begin with `_` are
//! comments. A map that is wrong anywhere is refused as a whole.

use simd_json::prelude::*;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ModelMap {
    /// In the order of the file, which is the order in which they are listed.
    pub(super) aliases: Vec<(String, String)>,
    pub(super) default_model: Option<String>,
    /// Keys beside `model_mappings` that mean nothing here.
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
                // Of two equal keys the last counts, as in every JSON reader.
                self.aliases.retain(|(known, _)| known != key);
                self.aliases.push((key.to_owned(), name.to_owned()));
            }
            _ => faults.push(format!("a model name under {key:?}")),
        }
    }
}
