//! [`Catalogue`]: the backend's models under the names Ollama clients know, and the way back.

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
    /// Capabilities to report for every model instead of the guess.
    pub capabilities: Option<Vec<String>>,
    /// Tokens of context to report where the backend does not say.
    pub context_length: Option<u64>,
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
}

impl Catalogue {
    /// From the backend's list. `digest` makes 64 hex digits of an identifier; it is a parameter because hashing is not
    /// this floor's work.
    pub fn new(models: &[Model], settings: &ModelSettings, digest: impl Fn(&str) -> String) -> Self {
        let mut entries: Vec<Entry> = Vec::with_capacity(models.len());
        for model in models {
            add(&mut entries, listed(&model.id, Some(model), settings, &digest), &model.id);
        }
        for name in &settings.extra {
            add(&mut entries, listed(name, None, settings, &digest), name);
        }
        for (alias, id) in &settings.aliases {
            let target = models.iter().find(|model| model.id == *id);
            let mut entry = listed(alias, target, settings, &digest);
            if settings.capabilities.is_none() {
                entry.capabilities = guessed_capabilities(id);
            }
            add(&mut entries, entry, id);
        }
        Catalogue { entries }
    }

    /// Every model, for `/api/tags`.
    #[must_use]
    pub fn listed(&self) -> Vec<Listed> {
        self.entries.iter().map(|entry| entry.listed.clone()).collect()
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
        let exact = |entry: &&Entry| entry.id == name || entry.listed.name == name;
        let alike = |entry: &&Entry| same_model(&entry.listed.name, name);
        self.entries.iter().find(exact).or_else(|| self.entries.iter().find(alike))
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
        listed(self.unlisted(name), None, self, &digest)
    }
}

fn add(entries: &mut Vec<Entry>, listed: Listed, id: &str) {
    if !entries.iter().any(|entry| entry.listed.name == listed.name) {
        entries.push(Entry { id: id.to_string(), listed });
    }
}

fn listed(
    name: &str,
    model: Option<&Model>,
    settings: &ModelSettings,
    digest: &impl Fn(&str) -> String,
) -> Listed {
    let context_length = model.and_then(|model| model.context_length).or(settings.context_length);
    Listed {
        name: canonical_name(name),
        digest: digest(name),
        modified_at: Timestamp::from_unix_seconds(model.and_then(|model| model.created).unwrap_or(0)),
        family: model.and_then(|model| model.owned_by.clone()).unwrap_or_else(|| "openai".to_string()),
        context_length,
        capabilities: settings.capabilities.clone().unwrap_or_else(|| guessed_capabilities(name)),
    }
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
}
