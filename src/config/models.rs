//! What is set about models: aliases, overrides by glob, which of the backend's models to list. It comes from the
//! settings and from the model map, which can be read again while the proxy runs.

use super::gather::{Stage, fault};
use super::model_map::{self, ModelMap};
use super::{ConfigErrors, settings, values};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What clients are told about models beside what the backend says.
#[derive(Clone, Debug)]
pub struct Models {
    /// Name for clients, name at the backend; in the order of the file.
    pub aliases: Vec<(String, String)>,
    /// The backend's model for names that nobody knows.
    pub default_model: Option<String>,
    /// What the model map says of some models.
    pub map_overrides: Vec<Override>,
    /// What the settings say of some models; before what the map says of the same ones.
    pub overrides: Vec<Override>,
    /// Further names to list.
    pub extra: Vec<String>,
    /// Globs of the backend's models to list; none for all.
    pub include: Vec<String>,
    /// Globs of the backend's models not to list.
    pub exclude: Vec<String>,
    /// The context length of models that do not tell theirs.
    pub context_length: Option<u64>,
    /// How long the backend's list is good.
    pub ttl: Duration,
    /// Where the model map is.
    pub map_file: Option<MapFile>,
}

/// A model map's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapFile {
    /// The flag or variable that names it.
    pub setting: &'static str,
    /// Its path.
    pub path: PathBuf,
}

/// Facts about the models that a glob matches, in the place of what the backend says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Override {
    /// `*` stands for any text, `?` for one character.
    pub glob: String,
    /// `completion`, `tools`, ...
    pub capabilities: Option<Vec<String>>,
    /// Tokens of context.
    pub context_length: Option<u64>,
    /// Numbers in an embedding.
    pub embedding_length: Option<u64>,
    /// `llama`, `qwen2`, ...
    pub family: Option<String>,
    /// `8.0B`, ...
    pub parameter_size: Option<String>,
    /// `Q4_K_M`, ...
    pub quantization_level: Option<String>,
}

impl Models {
    /// The same beside the model map as it is in its file now, and what to tell the user about that.
    ///
    /// # Errors
    /// When the file cannot be read, or is wrong anywhere.
    pub fn with_map_read_again(
        &self,
        read: impl Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<(Self, Vec<String>), ConfigErrors> {
        let Some(file) = &self.map_file else { return Ok((self.clone(), Vec::new())) };
        let map = contents(&read, &file.path).map_err(|expected| vec![expected]).and_then(|bytes| {
            let mut map = model_map::parse(&bytes)?;
            let warnings = unknown_keys(file.setting, &mut map);
            Ok((map, warnings))
        });
        let path = file.path.to_string_lossy();
        match map {
            Ok((map, warnings)) => {
                let mut models = self.clone();
                models.take(map);
                Ok((models, warnings))
            }
            Err(expected) => {
                let faults = expected.into_iter().map(|expected| fault(file.setting, &path, expected));
                Err(ConfigErrors(faults.collect()))
            }
        }
    }

    fn take(&mut self, map: ModelMap) {
        self.aliases = map.aliases;
        self.default_model = map.default_model;
        self.map_overrides = map.overrides;
    }
}

/// What is in a file; the error says what was expected instead.
pub(super) fn contents(read: impl Fn(&Path) -> io::Result<Vec<u8>>, path: &Path) -> Result<Vec<u8>, String> {
    match read(path) {
        Ok(bytes) if bytes.trim_ascii().is_empty() => Err("a file with something in it".into()),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(format!("a readable file ({error})")),
    }
}

fn unknown_keys(setting: &str, map: &mut ModelMap) -> Vec<String> {
    let unknown = std::mem::take(&mut map.unknown);
    unknown.into_iter().map(|key| format!("{setting}: the key {key:?} means nothing")).collect()
}

impl<R: Fn(&Path) -> io::Result<Vec<u8>>> Stage<R> {
    /// `None` only after a fault.
    pub(super) fn models(&mut self) -> Option<Models> {
        const NAMES: &str = "a json list of names, or names with commas between";
        let (map_file, map) = self.model_map();
        let mut overrides = self.capabilities();
        let (context_length, lengths) = self.context_lengths();
        overrides.extend(lengths);
        let ttl = self.take(&settings::MODELS_TTL, "seconds from 0 to 604800", |text| {
            values::seconds(text, 0.0, 604_800.0)
        });
        let mut names = |setting| self.entries(setting, NAMES, |name| Some(name.to_owned()));
        let mut models = Models {
            aliases: Vec::new(),
            default_model: None,
            map_overrides: Vec::new(),
            overrides,
            extra: names(&settings::MODELS).unwrap_or_default(),
            include: names(&settings::MODELS_INCLUDE).unwrap_or_default(),
            exclude: names(&settings::MODELS_EXCLUDE).unwrap_or_default(),
            context_length,
            ttl: ttl?,
            map_file,
        };
        models.take(map);
        Some(models)
    }

    fn model_map(&mut self) -> (Option<MapFile>, ModelMap) {
        let Some((name, path, bytes)) = self.file(&settings::MODEL_MAP) else {
            return Default::default();
        };
        match model_map::parse(&bytes) {
            Ok(mut map) => {
                self.warnings.extend(unknown_keys(name, &mut map));
                (Some(MapFile { setting: name, path: path.into() }), map)
            }
            Err(faults) => {
                for expected in faults {
                    self.fault(name, &path, expected);
                }
                Default::default()
            }
        }
    }

    /// `tools,vision` of every model, `GLOB=tools,vision` of some, with semicolons between.
    fn capabilities(&mut self) -> Vec<Override> {
        let expected =
            format!("a list of {}, or GLOB=LIST with semicolons between", values::CAPABILITIES.join(", "));
        let mut overrides: Vec<Override> = Vec::new();
        for (name, text) in self.texts(&settings::CAPABILITIES) {
            for (glob, list) in by_glob(&text, &[';']) {
                let entries = self.parsed(name, list, &expected, values::list).unwrap_or_default();
                let known = |entry: &String| self.parsed(name, entry, &expected, values::capability);
                let known: Vec<String> = entries.iter().filter_map(known).collect();
                // An empty list says no more than none: `[]` was the default where this variable comes from.
                if known.is_empty() {
                    continue;
                }
                let at = overrides.iter().position(|it| it.glob == glob).unwrap_or_else(|| {
                    overrides.push(Override { glob: glob.to_owned(), ..Override::default() });
                    overrides.len() - 1
                });
                if let Some(it) = overrides.get_mut(at) {
                    let list = it.capabilities.get_or_insert_default();
                    known.into_iter().for_each(|entry| push_new(list, entry));
                }
            }
        }
        overrides
    }

    /// A number for the models that do not tell theirs, and `GLOB=NUMBER` for some, whatever the backend says.
    fn context_lengths(&mut self) -> (Option<u64>, Vec<Override>) {
        const EXPECTED: &str = "a whole number from 1 up, or GLOB=NUMBER with commas between";
        let (mut others, mut overrides) = (None, Vec::new());
        let Some((name, text)) = self.winner(&settings::CONTEXT_LENGTH) else { return (None, overrides) };
        for (glob, number) in by_glob(&text, &[';', ',']) {
            let tokens = self.parsed(name, number.trim(), EXPECTED, |text| values::whole(text, 1, u64::MAX));
            match glob {
                "*" => others = tokens.or(others),
                glob => overrides.push(Override {
                    glob: glob.to_owned(),
                    context_length: tokens,
                    ..Override::default()
                }),
            }
        }
        (others, overrides)
    }
}

/// `GLOB=VALUE` with separators between; a value without a glob is for `*`.
fn by_glob<'t>(text: &'t str, separators: &'t [char]) -> impl Iterator<Item = (&'t str, &'t str)> {
    let pieces = text.split(separators).map(str::trim).filter(|piece| !piece.is_empty());
    pieces.map(|piece| match piece.split_once('=') {
        Some((glob, value)) if !glob.trim().is_empty() => (glob.trim(), value.trim()),
        _ => ("*", piece),
    })
}

fn push_new(list: &mut Vec<String>, entry: String) {
    if !list.contains(&entry) {
        list.push(entry);
    }
}
