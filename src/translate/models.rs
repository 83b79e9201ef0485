//! [`Catalogue`]: the backend's models under the names Ollama clients know, and the way back.

use super::glob;
use crate::ollama::{Listed, Timestamp, canonical_name, same_model, without_latest};
use crate::openai::{Abilities, Model};

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
            let name = without_prefix(&model.id, models);
            let listed = settings.listed(name, &model.id, Some(model), &digest);
            add(&mut entries, listed, &model.id, settings.hides(&[name, &model.id]));
        }
        for name in &settings.extra {
            let canonical = canonical_name(name);
            match entries.iter_mut().find(|entry| entry.is_called(name) || entry.is_called(&canonical)) {
                Some(entry) => entry.is_hidden = false,
                None => add(&mut entries, settings.listed(name, name, None, &digest), name, false),
            }
        }
        // As in a request, where an alias comes before a model of the same name.
        entries.retain(|entry| settings.alias(&entry.listed.name).is_none());
        for (alias, id) in &settings.aliases {
            // Looking for a shorter name costs a look at every model.
            let is_short =
                |model: &Model| model.id.ends_with(id.as_str()) && without_prefix(&model.id, models) == id;
            let is_it = |model: &&Model| model.id == *id || is_short(model);
            let target = models.iter().find(is_it);
            let id = target.map_or(id, |target| &target.id);
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
        // A name in the list comes before one that only stands behind another, as an alias's target does, and the exact
        // one before those alike: a backend may own ids that differ only in case.
        let canonical = canonical_name(name);
        let listed = self.entries.iter().find(|entry| entry.listed.name == canonical);
        let by_id = || self.entries.iter().find(|entry| entry.id == name);
        let alike = || self.entries.iter().find(|entry| same_model(&entry.listed.name, name));
        listed.or_else(by_id).or_else(alike)
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

    /// The name in `/api/tags` of the model that a client's name means; `None` where there is a list, and it has none.
    #[must_use]
    pub fn name_of(&self, list: Option<&Catalogue>, name: &str) -> Option<String> {
        let find = |name: &str| list.and_then(|list| list.find(name)).map(|listed| listed.name.clone());
        if let Some(listed) = find(name) {
            return Some(listed);
        }
        // An alias is in every list.
        let sent = if self.alias(name).is_some() { name } else { self.unlisted(name) };
        find(sent).or_else(|| (list.is_none() || self.default_model.is_some()).then(|| canonical_name(sent)))
    }

    /// The entry of a name in `/api/tags` while there is no list.
    pub fn unseen(&self, name: &str, digest: impl Fn(&str) -> String) -> Listed {
        let name = without_latest(name);
        self.listed(name, self.alias(name).unwrap_or(name), None, &digest)
    }

    /// The entry for a name where the backend has no list to look it up in.
    pub fn unlisted_entry(&self, name: &str, digest: impl Fn(&str) -> String) -> Listed {
        let name = self.unlisted(name);
        self.listed(name, name, None, &digest)
    }

    fn hides(&self, names: &[&str]) -> bool {
        let is_of =
            |globs: &[String]| globs.iter().any(|glob| names.iter().any(|name| glob::matches(glob, name)));
        is_of(&self.exclude) || !(self.include.is_empty() || is_of(&self.include))
    }

    /// The entry of a model under a client's name: what the user says, else what the backend says, else what is meant
    /// where nobody says.
    fn listed(
        &self,
        name: &str,
        id: &str,
        model: Option<&Model>,
        digest: &impl Fn(&str) -> String,
    ) -> Listed {
        let unknown = Model::default();
        let model = model.unwrap_or(&unknown);
        let canonical = canonical_name(name);
        let names = [name, canonical.as_str(), id];
        let text = |said: Option<String>, given: Option<String>| said.or(given).unwrap_or_default();
        let owner = model.architecture.clone().or_else(|| model.owned_by.clone());
        let size_text = model.parameter_count.map(human_number);
        let capabilities = self.said(&names, |it| it.capabilities.clone());
        Listed {
            digest: digest(name),
            modified_at: Timestamp::from_unix_seconds(model.created.unwrap_or(0)),
            size: model.size.unwrap_or(0),
            format: model.format.clone().unwrap_or_default(),
            family: text(self.said(&names, |it| it.family.clone()), owner.or_else(|| Some("openai".into()))),
            architecture: model.architecture.clone().unwrap_or_else(|| "openai".to_string()),
            parameter_count: model.parameter_count,
            context_length: self
                .said(&names, |it| it.context_length)
                .or(model.context_length)
                .or(self.context_length),
            embedding_length: self.said(&names, |it| it.embedding_length).or(model.embedding_length),
            parameter_size: text(self.said(&names, |it| it.parameter_size.clone()), size_text),
            quantization_level: text(
                self.said(&names, |it| it.quantization_level.clone()),
                model.quantization.clone(),
            ),
            capabilities: capabilities.map_or_else(|| capabilities_of(&model.abilities, id), with_completion),
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

/// A model that embeds does not chat, and clients take one that lists both for an embedding model. Tools are what nearly
/// every chat model can use, and agents leave out a model without them, so only a backend's word takes them away.
fn capabilities_of(able: &Abilities, id: &str) -> Vec<String> {
    let says = |ability: Option<bool>| ability == Some(true);
    let embeds = able.embedding.unwrap_or_else(|| !says(able.completion) && is_embedding_name(id));
    let completes = able.completion.unwrap_or(true);
    let all = [
        ("embedding", embeds),
        ("completion", !embeds && completes),
        ("tools", !embeds && completes && able.tools.unwrap_or(true)),
        ("insert", !embeds && says(able.insert)),
        ("vision", !embeds && completes && says(able.vision)),
        ("thinking", !embeds && completes && says(able.thinking)),
        ("audio", !embeds && completes && says(able.audio)),
        // The `ollama` command does not chat with what paints: it is said only of what does nothing else.
        ("image", !embeds && !completes && says(able.image)),
    ];
    all.iter().filter(|(_, is_able)| *is_able).map(|(name, _)| (*name).to_string()).collect()
}

/// Names that only embedding models have, where the backend says nothing of what a model is for.
fn is_embedding_name(id: &str) -> bool {
    const BEGINNINGS: [&str; 7] =
        ["bge-", "gte-", "e5-", "all-minilm", "all-mpnet", "text2vec", "paraphrase-"];
    let id = id.to_ascii_lowercase();
    let last = id.rsplit('/').next().unwrap_or_default();
    let embeds =
        id.contains("embed") || last.contains("-e5-") || BEGINNINGS.iter().any(|it| last.starts_with(it));
    embeds && !last.contains("rerank")
}

/// Gemini's identifiers begin with `models/`, which no client of it writes.
fn without_prefix<'i>(id: &'i str, models: &[Model]) -> &'i str {
    match id.strip_prefix("models/") {
        Some(short) if !short.is_empty() && !models.iter().any(|model| model.id == short) => short,
        _ => id,
    }
}

/// A count as Ollama writes it: `8.0B` is what it makes of 8,030,261,248.
fn human_number(count: u64) -> String {
    let of = |unit: f64, digits: usize, letter: char| {
        let number = count as f64 / unit;
        if number.fract() == 0.0 { format!("{number}{letter}") } else { format!("{number:.digits$}{letter}") }
    };
    match count {
        1_000_000_000.. => of(1e9, 1, 'B'),
        1_000_000.. => of(1e6, 2, 'M'),
        1_000.. => format!("{}K", count / 1000),
        _ => count.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(id: &str) -> Model {
        Model { id: id.to_string(), created: Some(1), ..Model::default() }
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
    fn an_alias_takes_the_place_of_a_model_of_its_name_and_of_a_target() {
        let named = |(alias, id): (&str, &str)| (alias.to_string(), id.to_string());
        let settings = ModelSettings {
            aliases: [("Small", "large"), ("llama3", "large"), ("nested", "llama3")].map(named).to_vec(),
            extra: vec!["small:latest".to_string()],
            ..ModelSettings::default()
        };
        let mut models = [model("small"), model("large")];
        models[1].context_length = Some(9);
        let catalogue = Catalogue::new(&models, &settings, str::to_string);
        let names: Vec<_> = catalogue.listed().into_iter().map(|listed| listed.name).collect();
        assert_eq!(names, ["large:latest", "Small:latest", "llama3:latest", "nested:latest"]);
        for (name, id, context_length) in [
            ("small", "large", Some(9)),
            ("Small:latest", "large", Some(9)),
            ("llama3", "large", Some(9)),
            ("LLAMA3:latest", "large", Some(9)),
            ("nested", "llama3", None),
        ] {
            assert_eq!(settings.alias(name), Some(id), "a request goes there: {name}");
            assert_eq!(catalogue.backend_name(name), Some(id), "{name}");
            assert_eq!(catalogue.find(name).unwrap().context_length, context_length, "{name}");
        }
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
    fn the_name_in_the_list_is_known_where_there_is_a_list_and_guessed_where_there_is_none() {
        let (with_list, mut settings) = (catalogue(), settings());
        for (name, listed, guessed) in [
            ("GPT-4O", Some("gpt-4o:latest"), "GPT-4O:latest"),
            ("A/B:free", Some("a/b:free"), "A/B:free"),
            ("llama2:latest", Some("llama2:latest"), "llama2:latest"),
            ("none", None, "none:latest"),
        ] {
            assert_eq!(settings.name_of(Some(&with_list), name).as_deref(), listed, "{name}");
            assert_eq!(settings.name_of(None, name).as_deref(), Some(guessed), "{name}");
        }
        settings.default_model = Some("TINY".to_string());
        assert_eq!(settings.name_of(Some(&with_list), "none").as_deref(), Some("Tiny:latest"));
        assert_eq!(settings.name_of(None, "none").as_deref(), Some("TINY:latest"));
        assert_eq!(settings.name_of(None, "llama2").as_deref(), Some("llama2:latest"), "an alias is none");
        settings.default_model = Some("secret".to_string());
        assert_eq!(settings.name_of(Some(&with_list), "none").as_deref(), Some("secret:latest"));
        let unseen = settings.unseen("llama2:latest", str::to_string);
        assert_eq!(
            (unseen.name.as_str(), unseen.digest.as_str()),
            ("llama2:latest", "llama2"),
            "as in a list"
        );
        assert_eq!(Some(&unseen.digest), with_list.find("llama2").map(|listed| &listed.digest));
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

    #[test]
    fn capabilities_are_what_the_backend_says_and_tools_where_it_says_nothing() {
        let table: [(&str, Abilities, &[&str]); 12] = [
            ("m", Abilities::default(), &["completion", "tools"]),
            (
                "m",
                Abilities { tools: Some(false), thinking: Some(true), ..Abilities::default() },
                &["completion", "thinking"],
            ),
            (
                "m",
                Abilities {
                    vision: Some(true),
                    audio: Some(true),
                    insert: Some(true),
                    ..Abilities::default()
                },
                &["completion", "tools", "insert", "vision", "audio"],
            ),
            (
                "m",
                Abilities { embedding: Some(true), vision: Some(true), ..Abilities::default() },
                &["embedding"],
            ),
            (
                "m",
                Abilities { completion: Some(false), image: Some(true), ..Abilities::default() },
                &["image"],
            ),
            (
                "m",
                Abilities { completion: Some(true), image: Some(true), ..Abilities::default() },
                &["completion", "tools"],
            ),
            ("rerank", Abilities { completion: Some(false), ..Abilities::default() }, &[]),
            (
                "embed-talk",
                Abilities { completion: Some(true), ..Abilities::default() },
                &["completion", "tools"],
            ),
            ("mistral-embed", Abilities { completion: Some(false), ..Abilities::default() }, &["embedding"]),
            ("intfloat/multilingual-E5-large", Abilities::default(), &["embedding"]),
            ("all-minilm:22m", Abilities::default(), &["embedding"]),
            ("BAAI/bge-reranker-v2-m3", Abilities::default(), &["completion", "tools"]),
        ];
        for (id, abilities, expected) in table {
            assert_eq!(capabilities_of(&abilities, id), expected, "{id} {abilities:?}");
        }
    }

    #[test]
    fn geminis_prefix_is_taken_off_for_clients_and_put_back_for_it() {
        let models = [model("models/gemini-2.5-flash"), model("models/x"), model("x"), model("models/")];
        let settings = ModelSettings {
            aliases: vec![("fast".to_string(), "gemini-2.5-flash".to_string())],
            extra: vec!["gemini-2.5-flash".to_string()],
            exclude: vec!["gemini*".to_string()],
            ..ModelSettings::default()
        };
        let catalogue = Catalogue::new(&models, &settings, str::to_string);
        let names: Vec<_> = catalogue.listed().into_iter().map(|listed| listed.name).collect();
        let expected =
            ["gemini-2.5-flash:latest", "models/x:latest", "x:latest", "models/:latest", "fast:latest"];
        assert_eq!(names, expected, "by its short name it is excluded, and asked for again");
        for name in ["gemini-2.5-flash", "Gemini-2.5-Flash:latest", "models/gemini-2.5-flash"] {
            assert_eq!(catalogue.backend_name(name), Some("models/gemini-2.5-flash"), "{name}");
        }
        assert_eq!(catalogue.backend_name("models/x"), Some("models/x"));
        assert_eq!(
            catalogue.find("fast").unwrap().modified_at,
            Timestamp::from_unix_seconds(1),
            "its target's"
        );
    }

    #[test]
    fn counts_are_written_as_ollama_writes_them() {
        for (count, text) in [
            (999, "999"),
            (22_700, "22K"),
            (494_032_768, "494.03M"),
            (2_000_000, "2M"),
            (8_030_261_248, "8.0B"),
            (70_000_000_000, "70B"),
        ] {
            assert_eq!(human_number(count), text);
        }
    }
}
