//! [`Profile`]: the kinds of backends as one table, a row each: by what they are known, and what they take.
//!
//! A backend that is not known gets the parameters of OpenAI's own API and nothing else. A row need not be right about
//! every model: what one refuses is learnt, what one silently ignores costs nothing.

use super::Parameter::{self, *};
use super::{Dialect, Parameters, Thought};
use crate::openai::RequestWriter;
use bytes::BytesMut;
use std::fmt;
use std::fmt::Write as _;

/// One kind of backend.
struct Row {
    name: &'static str,
    /// Its host, or what its host ends in behind a dot.
    hosts: &'static [&'static str],
    /// What its list of models says in `owned_by`.
    owners: &'static [&'static str],
    takes: Parameters,
    max_stops: usize,
    /// Where it is told to think or not.
    switch: Switch,
    /// Its words for how much.
    efforts: Efforts,
    /// How vectors are asked for. Base64 has four tenths of the bytes of the shortest digits and costs us the same time; it
    /// is asked for where it is what the vendor's own libraries ask for. Others ignore it, or claim to know it and do not.
    encoding_format: &'static str,
    /// The header that carries the key.
    key_header: KeyHeader,
}

/// Where a backend is told to think or not, beside [`Efforts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::openai) enum Switch {
    /// Nowhere; the effort is all there is.
    Nowhere,
    /// `reasoning: {"effort": ...}`, or `{"enabled": true}` without one.
    ReasoningEffort,
    /// `reasoning: {"enabled": ...}`
    ReasoningEnabled,
    /// `thinking: {"type": "enabled"}`
    ThinkingType,
    /// `chat_template_kwargs`, by these names: what the templates of different models look at.
    Template(&'static [&'static str]),
    /// The same, and the effort in it too.
    TemplateWithEffort(&'static [&'static str]),
    /// `reasoning_format: "parsed"`, which keeps what is thought out of the answer; to think is the habit.
    Parsed,
}

/// For each degree of thought the words for it, the best first: the next one stands in for one that was refused.
struct Efforts {
    off: &'static [Parameter],
    on: &'static [Parameter],
    low: &'static [Parameter],
    medium: &'static [Parameter],
    high: &'static [Parameter],
    max: &'static [Parameter],
}

/// The header that carries the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyHeader {
    /// `Authorization: Bearer KEY`
    Bearer,
    /// `api-key: KEY`
    ApiKey,
}

/// What OpenAI's API documents, but for the name of the token limit.
const COMMON: Parameters = Parameters(0).with(&[
    StreamOptions,
    Temperature,
    TopP,
    FrequencyPenalty,
    PresencePenalty,
    Seed,
    Stop,
    LongStop,
    Logprobs,
    TopLogprobs,
    JsonObject,
    JsonSchema,
    WordlessJson,
    SystemRole,
    ReasoningEffort,
    EncodingFormat,
    Dimensions,
]);
const STANDARD: Parameters = COMMON.with(&[MaxTokens]);

/// The three levels, and nothing to switch it off: a backend that cannot think must still answer a client that asks it
/// not to.
const LEVELS: Efforts = Efforts {
    off: &[],
    on: &[],
    low: &[EffortLow],
    medium: &[EffortMedium],
    high: &[EffortHigh],
    max: &[EffortHigh],
};
/// With a word for off; models that always think refuse it, and take the least they can.
const LEVELS_AND_NONE: Efforts = Efforts { off: &[EffortNone, EffortMinimal, EffortLow], ..LEVELS };
const OPENAI_EFFORTS: Efforts = Efforts { max: &[EffortXhigh, EffortHigh], ..LEVELS_AND_NONE };

const ANY: usize = usize::MAX;

/// The row of whom nothing is known; the others differ from it.
const UNKNOWN: Row = Row {
    name: "standard",
    hosts: &[],
    owners: &[],
    takes: STANDARD,
    max_stops: ANY,
    switch: Switch::Nowhere,
    efforts: LEVELS,
    encoding_format: "float",
    key_header: KeyHeader::Bearer,
};

static TABLE: &[Row] = &[
    UNKNOWN,
    Row {
        name: "openai",
        hosts: &["api.openai.com"],
        takes: COMMON.with(&[MaxCompletionTokens, IncludeObfuscation]),
        max_stops: 4,
        efforts: OPENAI_EFFORTS,
        encoding_format: "base64",
        ..UNKNOWN
    },
    Row {
        name: "azure",
        hosts: &["openai.azure.com", "cognitiveservices.azure.com", "services.ai.azure.com"],
        takes: COMMON.with(&[MaxCompletionTokens]),
        max_stops: 4,
        efforts: OPENAI_EFFORTS,
        key_header: KeyHeader::ApiKey,
        ..UNKNOWN
    },
    Row {
        name: "openrouter",
        hosts: &["openrouter.ai"],
        takes: STANDARD.with(&[TopK, MinP, RepetitionPenalty, Reasoning]),
        switch: Switch::ReasoningEffort,
        efforts: Efforts { off: &[EffortNone, EffortMinimal, EffortLow], ..OPENAI_EFFORTS },
        ..UNKNOWN
    },
    Row {
        // No logprobs: it answers 400 to them.
        name: "groq",
        hosts: &["api.groq.com"],
        takes: COMMON.with(&[MaxCompletionTokens, ReasoningFormat]).without(&[Logprobs, TopLogprobs]),
        max_stops: 4,
        switch: Switch::Parsed,
        efforts: LEVELS_AND_NONE,
        ..UNKNOWN
    },
    Row {
        // No schemas: "This response_format type is unavailable now". Its efforts are low, high and max.
        name: "deepseek",
        hosts: &["api.deepseek.com"],
        takes: STANDARD.with(&[Thinking]).without(&[Seed, JsonSchema]),
        max_stops: 16,
        switch: Switch::ThinkingType,
        efforts: Efforts { medium: &[EffortHigh], max: &[EffortMax, EffortHigh], ..LEVELS },
        ..UNKNOWN
    },
    Row {
        // It refuses members that it does not know; its only effort is high, and not to think is the habit.
        name: "mistral",
        hosts: &["api.mistral.ai", "codestral.mistral.ai"],
        takes: STANDARD.with(&[RandomSeed]).without(&[Seed, StreamOptions, Logprobs, TopLogprobs]),
        efforts: Efforts { on: &[EffortHigh], low: &[EffortHigh], medium: &[EffortHigh], ..LEVELS },
        ..UNKNOWN
    },
    Row {
        // "Unknown name \"seed\": Cannot find field", and so for logprobs.
        name: "gemini",
        hosts: &["generativelanguage.googleapis.com"],
        takes: STANDARD.without(&[Seed, Logprobs, TopLogprobs]),
        max_stops: 5,
        efforts: LEVELS_AND_NONE,
        ..UNKNOWN
    },
    Row {
        // Its logprobs is a number, and what it answers has another shape.
        name: "together",
        hosts: &["api.together.xyz", "api.together.ai"],
        takes: STANDARD.with(&[TopK, MinP, RepetitionPenalty, Reasoning]).without(&[Logprobs, TopLogprobs]),
        switch: Switch::ReasoningEnabled,
        ..UNKNOWN
    },
    Row {
        name: "xai",
        hosts: &["api.x.ai"],
        takes: COMMON.with(&[MaxCompletionTokens]),
        efforts: LEVELS_AND_NONE,
        ..UNKNOWN
    },
    Row {
        name: "vllm",
        owners: &["vllm"],
        takes: STANDARD.with(&[TopK, MinP, RepetitionPenalty, ChatTemplateKwargs, TruncatePromptTokens]),
        switch: Switch::Template(&["enable_thinking", "thinking"]),
        ..UNKNOWN
    },
    Row {
        name: "sglang",
        owners: &["sglang"],
        takes: STANDARD.with(&[TopK, MinP, RepetitionPenalty, ChatTemplateKwargs]),
        switch: Switch::Template(&["enable_thinking", "thinking"]),
        ..UNKNOWN
    },
    Row {
        name: "llama.cpp",
        owners: &["llamacpp"],
        takes: STANDARD
            .with(&[TopK, MinP, TypicalP, RepeatPenalty, RepeatLastN, ChatTemplateKwargs])
            .without(&[ReasoningEffort]),
        switch: Switch::TemplateWithEffort(&["enable_thinking"]),
        ..UNKNOWN
    },
    Row {
        // "'response_format.type' must be 'json_schema' or 'text'"
        name: "lmstudio",
        owners: &["organization_owner"],
        takes: STANDARD.with(&[TopK, MinP, RepeatPenalty]).without(&[JsonObject]),
        ..UNKNOWN
    },
    Row {
        name: "ollama",
        owners: &["library"],
        takes: STANDARD,
        efforts: Efforts { off: &[EffortNone], max: &[EffortMax, EffortHigh], ..LEVELS },
        ..UNKNOWN
    },
];

/// A row of the table.
#[derive(Clone, Copy)]
pub struct Profile(&'static Row);

impl Profile {
    /// Every kind, the unknown one first.
    pub fn all() -> impl Iterator<Item = Profile> {
        TABLE.iter().map(Profile)
    }

    /// The kind with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|profile| profile.name() == name)
    }

    /// The kind that is known by its host.
    #[must_use]
    pub fn of_host(host: &str) -> Option<Self> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let is_below =
            |known: &str| host.strip_suffix(known).is_some_and(|head| head.is_empty() || head.ends_with('.'));
        Self::all().find(|profile| profile.0.hosts.iter().any(|known| is_below(known)))
    }

    /// The kind that is known by what its list of models says in `owned_by`.
    #[must_use]
    pub fn of_owner(owner: &str) -> Option<Self> {
        Self::all().find(|profile| profile.0.owners.contains(&owner))
    }

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name
    }

    pub(super) fn encoding_format(self) -> &'static str {
        self.0.encoding_format
    }

    /// The header that carries the key.
    #[must_use]
    pub fn key_header(self) -> KeyHeader {
        self.0.key_header
    }

    pub(super) fn takes(self, parameter: Parameter) -> bool {
        self.0.takes.contains(parameter)
    }

    pub(super) fn max_stops(self) -> usize {
        self.0.max_stops
    }

    pub(in crate::openai) fn switch(self) -> Switch {
        self.0.switch
    }

    pub(super) fn efforts(self, thought: Thought) -> &'static [Parameter] {
        let efforts = &self.0.efforts;
        match thought {
            Thought::Off => efforts.off,
            Thought::On => efforts.on,
            Thought::Low => efforts.low,
            Thought::Medium => efforts.medium,
            Thought::High => efforts.high,
            Thought::Max => efforts.max,
        }
    }
}

impl Default for Profile {
    fn default() -> Self {
        Profile(const { &UNKNOWN })
    }
}

impl PartialEq for Profile {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Profile {}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The two tables of README.md: what goes where, and what `think` becomes.
#[must_use]
pub fn profiles_markdown() -> String {
    let mut out = String::from(
        "| Profile | Known by | `num_predict` | Sent beside the usual | Of the usual not sent | `stop` | `format` |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for profile in Profile::all() {
        let row = profile.0;
        let names = |set: Parameters, of: &[Parameter]| {
            let names = of.iter().filter(|parameter| set.contains(**parameter));
            listed(names.map(|parameter| parameter.name()))
        };
        let missing = COMMON.0 & !row.takes.0;
        // Writing to a String cannot fail.
        let _written = writeln!(
            out,
            "| `{}` | {} | {} | {} | {} | {} | {} |",
            row.name,
            known_by(row),
            names(row.takes, &[MaxTokens, MaxCompletionTokens]),
            names(
                row.takes,
                &[TopK, MinP, TypicalP, RepeatPenalty, RepetitionPenalty, RepeatLastN, RandomSeed],
            ),
            names(Parameters(missing), &[Seed, Logprobs, StreamOptions]),
            if row.max_stops == ANY { "all".to_string() } else { format!("{} at most", row.max_stops) },
            formats(row.takes),
        );
    }
    out.push_str(
        "\n| `think` | `false` | `true` | `\"low\"` | `\"high\"` | `\"max\"` |\n|---|---|---|---|---|---|\n",
    );
    for profile in Profile::all() {
        let thoughts = [Thought::Off, Thought::On, Thought::Low, Thought::High, Thought::Max];
        let cells = thoughts.map(|thought| thinking(profile, thought));
        let _written = writeln!(out, "| `{}` | {} |", profile.name(), cells.join(" | "));
    }
    out
}

fn listed(names: impl Iterator<Item = &'static str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "–".to_string() } else { names.join(", ") }
}

fn known_by(row: &Row) -> String {
    match (row.hosts, row.owners) {
        ([], []) => "nothing".to_string(),
        ([], owners) => format!("`owned_by` {}", listed(owners.iter().copied())),
        (hosts, _) => listed(hosts.iter().copied()),
    }
}

fn formats(takes: Parameters) -> &'static str {
    match (takes.contains(JsonObject), takes.contains(JsonSchema)) {
        (true, true) => "`json_object`, `json_schema`",
        (true, false) => "`json_object`; a schema in the prompt",
        (false, true) => "`json_schema` for both",
        (false, false) => "both in the prompt",
    }
}

/// The members that the writer makes of it.
fn thinking(profile: Profile, thought: Thought) -> String {
    let mut out = BytesMut::new();
    let mut writer = RequestWriter::new("", Dialect { profile, ..Dialect::default() }, &mut out);
    writer.think(thought);
    let text = String::from_utf8_lossy(&out);
    match text.split_once(',') {
        Some((_, members)) => format!("`{members}`"),
        None => "–".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_known_by_its_host() {
        let table = [
            ("api.openai.com", Some("openai")),
            ("eu.api.openai.com", Some("openai")),
            ("API.OpenAI.com.", Some("openai")),
            ("notapi.openai.com.example", None),
            ("xapi.openai.com", None),
            ("me.openai.azure.com", Some("azure")),
            ("me.services.ai.azure.com", Some("azure")),
            ("openrouter.ai", Some("openrouter")),
            ("api.groq.com", Some("groq")),
            ("api.deepseek.com", Some("deepseek")),
            ("api.mistral.ai", Some("mistral")),
            ("generativelanguage.googleapis.com", Some("gemini")),
            ("api.together.xyz", Some("together")),
            ("api.x.ai", Some("xai")),
            ("localhost", None),
            ("127.0.0.1", None),
            ("", None),
        ];
        for (host, expected) in table {
            assert_eq!(Profile::of_host(host).map(Profile::name), expected, "{host}");
        }
    }

    #[test]
    fn a_local_server_is_known_by_the_owner_of_its_models() {
        for name in ["vllm", "sglang"] {
            assert_eq!(Profile::of_owner(name).map(Profile::name), Some(name));
        }
        assert_eq!(Profile::of_owner("llamacpp").map(Profile::name), Some("llama.cpp"));
        assert_eq!(Profile::of_owner("organization_owner").map(Profile::name), Some("lmstudio"));
        assert_eq!(Profile::of_owner("library").map(Profile::name), Some("ollama"));
        for owner in ["", "openai", "system", "me"] {
            assert_eq!(Profile::of_owner(owner), None, "{owner}");
        }
    }

    #[test]
    fn names_are_unique_and_the_unknown_kind_is_the_default() {
        for profile in Profile::all() {
            assert_eq!(Profile::named(profile.name()), Some(profile));
            let same = Profile::all().filter(|other| *other == profile).count();
            assert_eq!(same, 1, "{profile:?}");
        }
        assert_eq!(Profile::default(), Profile::named("standard").unwrap());
        assert_eq!(Profile::named("no"), None);
    }

    #[test]
    fn every_kind_has_one_name_for_the_token_limit_and_one_at_most_for_the_seed() {
        for profile in Profile::all() {
            assert!(profile.takes(MaxTokens) != profile.takes(MaxCompletionTokens), "{profile:?}");
            assert!(!(profile.takes(Seed) && profile.takes(RandomSeed)), "{profile:?}");
            assert!(!(profile.takes(RepeatPenalty) && profile.takes(RepetitionPenalty)), "{profile:?}");
        }
    }
}
