//! [`Catalogue`]: the backend's models under the names Ollama clients know, and the way back.

use super::glob;
use crate::ollama::{Listed, Timestamp, canonical_name, same_model, without_latest};
use crate::openai::Model;

/// What the user set about models.
#[derive(Clone, Debug, Default)]
pub struct ModelSettings {
    /// Client's name to backend's name.
    pub aliases: Vec<(String, String)>,
    /// The backend's name for a client's name that nothing else matches.
    pub default_model: Option<String>,
    /// Names to list besides the backend's own.
    pub extra: Vec<String>,
    /// Globs of the backend's models to list; none for all. The others are known, but not listed.
    pub include: Vec<String>,
    /// Globs of the backend's models not to list; stronger than `include`.
    pub exclude: Vec<String>,
    /// Facts by glob, in the place of the backend's; of two that say as much the later counts.
    pub overrides: Vec<Override>,
    /// Tokens of context to report where nobody says.
    pub context_length: Option<u64>,
}

/// Facts that the user knows better.
#[derive(Clone, Debug, Default)]
pub struct Override {
    /// Of which models, by the backend's name or the client's.
    pub glob: String,
    /// `completion`, `tools`, ...
    pub capabilities: Option<Vec<String>>,
    /// Tokens of context.
    pub context_length: Option<u64>,
    /// Numbers in an embedding.
    pub embedding_length: Option<u64>,
    /// `llama`, ...
    pub family: Option<String>,
    /// `8.0B`, ...
    pub parameter_size: Option<String>,
    /// `Q4_K_M`, ...
    pub quantization_level: Option<String>,
}

/// The models of one moment.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    id: String,
    listed: Listed,
    /// Known by its name, and not among what is listed.
    is_hidden: bool,
}

impl Catalogue {
    /// From the backend's list. `digest` makes 64 hex digits of an identifier; it is a parameter because hashing is not
    /// this floor's work.
    pub fn new(models: &[Model], settings: &ModelSettings, digest: impl Fn(&str) -> String) -> Self {
        let mut entries: Vec<Entry> = Vec::with_capacity(models.len());
        for model in models {
            let listed = settings.listed(&model.id, &model.id, Some(model), &digest);
            add(&mut entries, listed, &model.id, settings.hides(&model.id));
        }
        for name in &settings.extra {
            match entries.iter_mut().find(|entry| entry.is_called(name)) {
                Some(entry) => entry.is_hidden = false,
                None => add(&mut entries, settings.listed(name, name, None, &digest), name, false),
            }
        }
        for (alias, id) in &settings.aliases {
            let target = models.iter().find(|model| model.id == *id);
            add(&mut entries, settings.listed(alias, id, target, &digest), id, false);
        }
        Catalogue { entries }
    }

    /// Every model, for `/api/tags`.
    #[must_use]
    pub fn listed(&self) -> Vec<Listed> {
        let shown = self.entries.iter().filter(|entry| !entry.is_hidden);
        shown.map(|entry| entry.listed.clone()).collect()
    }

    /// The entry of a client's name, in any case and with or without `:latest`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Listed> {
        self.entry(name).map(|entry| &entry.listed)
    }

    /// The backend's name for a client's name.
    #[must_use]
    pub fn backend_name(&self, name: &str) -> Option<&str> {
        self.entry(name).map(|entry| entry.id.as_str())
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        // The exact name comes first: a backend may own ids that differ only in case, or one that ends in `:latest`.
        let alike = |entry: &&Entry| same_model(&entry.listed.name, name);
        let exact = self.entries.iter().find(|entry| entry.is_called(name));
        exact.or_else(|| self.entries.iter().find(alike))
    }
}

impl Entry {
    fn is_called(&self, name: &str) -> bool {
        self.id == name || self.listed.name == name
    }
}

impl ModelSettings {
    /// The backend's name of an alias; what the user mapped comes before what the backend lists.
    #[must_use]
    pub fn alias(&self, name: &str) -> Option<&str> {
        let exact = self.aliases.iter().find(|(alias, _)| alias == name);
        exact
            .or_else(|| self.aliases.iter().find(|(alias, _)| same_model(alias, name)))
            .map(|(_, id)| id.as_str())
    }

    /// Whether there are models without the backend's list.
    #[must_use]
    pub fn names_any(&self) -> bool {
        !self.extra.is_empty() || !self.aliases.is_empty()
    }

    /// What to send for a name that no list knows: the default model, else the name without the `:latest` that Ollama's
    /// clients add.
    #[must_use]
    pub fn unlisted<'n>(&'n self, name: &'n str) -> &'n str {
        if let Some(default) = &self.default_model {
            return default;
        }
        without_latest(name)
    }

    /// The entry for a name where the backend has no list to look it up in.
    pub fn unlisted_entry(&self, name: &str, digest: impl Fn(&str) -> String) -> Listed {
        let name = self.unlisted(name);
        self.listed(name, name, None, &digest)
    }

    fn hides(&self, id: &str) -> bool {
        let is_of = |globs: &[String]| globs.iter().any(|glob| glob::matches(glob, id));
        is_of(&self.exclude) || !(self.include.is_empty() || is_of(&self.include))
    }

    /// The entry of a model under a client's name.
    fn listed(
        &self,
        name: &str,
        id: &str,
        model: Option<&Model>,
        digest: &impl Fn(&str) -> String,
    ) -> Listed {
        let canonical = canonical_name(name);
        let names = [name, canonical.as_str(), id];
        let context_length = self
            .said(&names, |it| it.context_length)
            .or_else(|| model.and_then(|model| model.context_length))
            .or(self.context_length);
        let family = self
            .said(&names, |it| it.family.clone())
            .or_else(|| model.and_then(|model| model.owned_by.clone()))
            .unwrap_or_else(|| "openai".to_string());
        let capabilities = self.said(&names, |it| it.capabilities.clone());
        Listed {
            digest: digest(name),
            modified_at: Timestamp::from_unix_seconds(model.and_then(|model| model.created).unwrap_or(0)),
            family,
            context_length,
            embedding_length: self.said(&names, |it| it.embedding_length),
            parameter_size: self.said(&names, |it| it.parameter_size.clone()).unwrap_or_default(),
            quantization_level: self.said(&names, |it| it.quantization_level.clone()).unwrap_or_default(),
            capabilities: capabilities.map_or_else(|| guessed_capabilities(id), with_completion),
            name: canonical,
        }
    }

    /// What the overrides say of a model of these names: the one whose glob says most counts.
    fn said<T>(&self, names: &[&str], fact: impl Fn(&Override) -> Option<T>) -> Option<T> {
        let of_it = self.overrides.iter().filter(|it| names.iter().any(|name| glob::matches(&it.glob, name)));
        let said = of_it.filter_map(|it| Some((glob::weight(&it.glob), fact(it)?)));
        said.max_by_key(|(weight, _)| *weight).map(|(_, fact)| fact)
    }
}

fn add(entries: &mut Vec<Entry>, listed: Listed, id: &str, is_hidden: bool) {
    if !entries.iter().any(|entry| entry.listed.name == listed.name) {
        entries.push(Entry { id: id.to_string(), listed, is_hidden });
    }
}

/// Ollama says `completion` of every model that answers, and clients look for it; who sets `tools` does not mean to take
/// it away. A model that embeds, or paints, does not chat.
fn with_completion(mut capabilities: Vec<String>) -> Vec<String> {
    if !capabilities.iter().any(|it| matches!(it.as_str(), "completion" | "embedding" | "image")) {
        capabilities.insert(0, "completion".to_string());
    }
    capabilities
}

/// A model that embeds does not chat, and clients take one that lists both for an embedding model.
fn guessed_capabilities(id: &str) -> Vec<String> {
    let capabilities: &[&str] =
        if id.to_ascii_lowercase().contains("embed") { &["embedding"] } else { &["completion", "tools"] };
    capabilities.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(id: &str) -> Model {
        Model { id: id.to_string(), created: Some(1), owned_by: None, context_length: None }
    }

    fn settings() -> ModelSettings {
        ModelSettings {
            aliases: vec![("llama2".to_string(), "gpt-4o".to_string())],
            extra: vec!["hidden".to_string()],
            ..ModelSettings::default()
        }
    }

    fn catalogue() -> Catalogue {
        let models = [
            model("gpt-4o"),
            model("Tiny"),
            model("tiny"),
            model("text-embedding-3-small"),
            model("a/b:free"),
        ];
        Catalogue::new(&models, &settings(), |id| id.to_string())
    }

    #[test]
    fn names_are_found_in_any_case_and_with_or_without_latest() {
        let catalogue = catalogue();
        for (name, id) in [
            ("gpt-4o", Some("gpt-4o")),
            ("GPT-4o:latest", Some("gpt-4o")),
            ("tiny", Some("tiny")),
            ("Tiny", Some("Tiny")),
            ("TINY", Some("Tiny")),
            ("A/B:Free", Some("a/b:free")),
            ("hidden:latest", Some("hidden")),
            ("Llama2", Some("gpt-4o")),
            ("nothing", None),
        ] {
            assert_eq!(catalogue.backend_name(name), id, "{name}");
        }
    }

    #[test]
    fn the_list_has_tags_and_every_source() {
        let names: Vec<String> = catalogue().listed().into_iter().map(|listed| listed.name).collect();
        let expected = [
            "gpt-4o:latest",
            "Tiny:latest",
            "tiny:latest",
            "text-embedding-3-small:latest",
            "a/b:free",
            "hidden:latest",
            "llama2:latest",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn an_embedding_model_lists_nothing_else() {
        let catalogue = catalogue();
        assert_eq!(catalogue.find("text-embedding-3-small").unwrap().capabilities, ["embedding"]);
        assert_eq!(catalogue.find("gpt-4o").unwrap().capabilities, ["completion", "tools"]);
    }

    #[test]
    fn a_name_that_no_list_knows_loses_its_latest_or_becomes_the_default() {
        let mut settings = settings();
        assert_eq!(settings.unlisted("x:latest"), "x");
        assert_eq!(settings.unlisted("x:8b"), "x:8b");
        settings.default_model = Some("d".to_string());
        assert_eq!(settings.unlisted("x"), "d");
        assert_eq!(settings.alias("LLAMA2:latest"), Some("gpt-4o"));
    }

    #[test]
    fn of_the_overrides_that_match_the_one_that_says_most_counts_fact_by_fact() {
        let set = |glob: &str, capabilities: Option<&str>, context_length| Override {
            glob: glob.to_string(),
            capabilities: capabilities.map(|list| list.split(',').map(str::to_string).collect()),
            context_length,
            ..Override::default()
        };
        let settings = ModelSettings {
            aliases: vec![("mine".to_string(), "gpt-4o".to_string())],
            overrides: vec![
                set("gpt-4o", None, Some(5)),
                set("gpt-4*", Some("vision"), Some(7)),
                set("*", Some("tools,completion"), None),
                set("GPT-4*", Some("vision,tools"), None),
                set("*small", Some("embedding"), None),
                set("mine:latest", None, Some(9)),
            ],
            ..ModelSettings::default()
        };
        let models = [model("gpt-4o"), model("gpt-4.1"), model("x"), model("text-small")];
        let catalogue = Catalogue::new(&models, &settings, str::to_string);
        let table: [(&str, &[&str], Option<u64>); 5] = [
            ("gpt-4o", &["completion", "vision", "tools"], Some(5)),
            ("gpt-4.1", &["completion", "vision", "tools"], Some(7)),
            ("x", &["tools", "completion"], None),
            ("text-small", &["embedding"], None),
            ("mine", &["completion", "vision", "tools"], Some(9)),
        ];
        for (name, capabilities, context_length) in table {
            let found = catalogue.find(name).unwrap();
            assert_eq!(found.context_length, context_length, "{name}");
            assert_eq!(found.capabilities, capabilities, "{name}");
        }
    }

    #[test]
    fn what_is_not_to_be_listed_is_known_all_the_same() {
        let names = |list: &str| list.split_whitespace().map(str::to_string).collect::<Vec<_>>();
        let listed = |include: &str, exclude: &str, extra: &str| {
            let settings = ModelSettings {
                include: names(include),
                exclude: names(exclude),
                extra: names(extra),
                ..ModelSettings::default()
            };
            let models = [model("openai/gpt-4o"), model("openai/tts-1"), model("a/b:free")];
            let catalogue = Catalogue::new(&models, &settings, str::to_string);
            assert_eq!(catalogue.backend_name("OpenAI/TTS-1:latest"), Some("openai/tts-1"));
            catalogue.listed().into_iter().map(|listed| listed.name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(listed("", "", ""), "openai/gpt-4o:latest openai/tts-1:latest a/b:free");
        assert_eq!(listed("openai/*", "*/tts-*", ""), "openai/gpt-4o:latest");
        assert_eq!(listed("*:free", "", ""), "a/b:free");
        assert_eq!(listed("*:free", "", "openai/tts-1 c"), "openai/tts-1:latest a/b:free c:latest");
    }
}
