//! [`Model`]: what backends say of a model, each under names of its own, brought to one set of facts. What none says
//! stays unknown; nothing is guessed here.
//!
//! The kinds are those of the dialect catalogue's rows M4 to M6: vLLM (`max_model_len`), llama.cpp (`meta`, `/props`),
//! OpenRouter (`architecture`, `supported_parameters`), Mistral and Azure (`capabilities` as an object), Infinity and LM
//! Studio (as a list), Groq (`context_window`), Together (`type`, `organization`), Fireworks (`supports_tools`), LiteLLM
//! (`/model/info`).

use crate::wire::Scanner;
use simd_json::BorrowedValue;
use simd_json::prelude::{ValueAsArray, ValueAsObject, ValueAsScalar, ValueObjectAccess};

/// Longest identifier taken from a list, in bytes.
const MAX_ID_BYTES: usize = 256;
/// Longest other word taken, in bytes.
const MAX_WORD_BYTES: usize = 64;

/// One model of the backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// What the backend wants to read in `model`; opaque.
    pub id: String,
    /// Seconds since 1970; some backends do not say.
    pub created: Option<u64>,
    /// Who owns it; some backends do not say.
    pub owned_by: Option<String>,
    /// Tokens of context.
    pub context_length: Option<u64>,
    /// Numbers in an embedding.
    pub embedding_length: Option<u64>,
    /// How many parameters it has.
    pub parameter_count: Option<u64>,
    /// Bytes of its file.
    pub size: Option<u64>,
    /// `qwen2`, ...
    pub architecture: Option<String>,
    /// `gguf`, `mlx`, ...
    pub format: Option<String>,
    /// `Q4_K_M`, ...
    pub quantization: Option<String>,
    /// What it can do.
    pub abilities: Abilities,
}

/// What a model can do and cannot do, as far as the backend says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are Ollama's capabilities")]
pub struct Abilities {
    pub completion: Option<bool>,
    pub tools: Option<bool>,
    pub insert: Option<bool>,
    pub vision: Option<bool>,
    pub thinking: Option<bool>,
    pub embedding: Option<bool>,
    pub audio: Option<bool>,
    pub image: Option<bool>,
}

impl Model {
    /// Reads one entry of a list; `None` when it has no identifier.
    pub(super) fn read(entry: &BorrowedValue<'_>) -> Option<Self> {
        let text = |name: &str| entry.get(name).and_then(|value| value.as_str());
        let id = text("id").or_else(|| text("name")).or_else(|| text("model"))?;
        if id.is_empty() || id.len() > MAX_ID_BYTES || id.chars().any(char::is_control) {
            return None;
        }
        let meta = entry.get("meta");
        let of_meta = |name: &str| meta.and_then(|meta| number(meta, &[name]));
        // What is loaded counts before what could be.
        let context_names = [
            "loaded_context_length",
            "context_length",
            "max_model_len",
            "context_window",
            "max_context_length",
        ];
        let top = entry.get("top_provider");
        Some(Model {
            id: id.to_string(),
            created: number(entry, &["created"]),
            owned_by: word(entry, "owned_by").or_else(|| word(entry, "organization")),
            context_length: number(entry, &context_names)
                .or_else(|| top.and_then(|top| number(top, &["context_length"])))
                .or_else(|| of_meta("n_ctx"))
                .or_else(|| of_meta("n_ctx_train")),
            embedding_length: of_meta("n_embd"),
            parameter_count: of_meta("n_params"),
            size: of_meta("size"),
            architecture: word(entry, "arch"),
            // llama.cpp reads nothing else.
            format: word(entry, "compatibility_type").or_else(|| of_meta("n_params").map(|_| "gguf".into())),
            quantization: word(entry, "quantization"),
            abilities: Abilities::read(entry),
        })
    }

    /// Takes the facts of another report of the same model, which count before those that are known.
    pub(super) fn learn(&mut self, more: Model) {
        self.created = self.created.or(more.created);
        self.owned_by = self.owned_by.take().or(more.owned_by);
        self.context_length = more.context_length.or(self.context_length);
        self.embedding_length = more.embedding_length.or(self.embedding_length);
        self.parameter_count = more.parameter_count.or(self.parameter_count);
        self.size = more.size.or(self.size);
        self.architecture = more.architecture.or(self.architecture.take());
        self.format = more.format.or(self.format.take());
        self.quantization = more.quantization.or(self.quantization.take());
        for ability in Ability::ALL {
            let known = self.abilities.of(ability);
            *known = (*{ more.abilities }.of(ability)).or(*known);
        }
    }
}

#[derive(Clone, Copy)]
enum Ability {
    Completion,
    Tools,
    Insert,
    Vision,
    Thinking,
    Embedding,
    Audio,
    Image,
}

impl Ability {
    const ALL: [Ability; 8] = [
        Ability::Completion,
        Ability::Tools,
        Ability::Insert,
        Ability::Vision,
        Ability::Thinking,
        Ability::Embedding,
        Ability::Audio,
        Ability::Image,
    ];

    /// Under the words of lists, and the names of truth values.
    fn named(word: &str) -> Option<Self> {
        Some(match word {
            "completion" | "completion_chat" | "chat_completion" | "chat" | "supports_chat" | "generate" => {
                Ability::Completion
            }
            "tools" | "tool_use" | "function_calling" | "supports_tools" => Ability::Tools,
            "insert" | "completion_fim" => Ability::Insert,
            "vision" | "multimodal" | "supports_image_input" => Ability::Vision,
            "thinking" | "reasoning" | "include_reasoning" => Ability::Thinking,
            "embed" | "embedding" | "embeddings" => Ability::Embedding,
            "audio" => Ability::Audio,
            _ => return None,
        })
    }
}

impl Abilities {
    fn of(&mut self, ability: Ability) -> &mut Option<bool> {
        match ability {
            Ability::Completion => &mut self.completion,
            Ability::Tools => &mut self.tools,
            Ability::Insert => &mut self.insert,
            Ability::Vision => &mut self.vision,
            Ability::Thinking => &mut self.thinking,
            Ability::Embedding => &mut self.embedding,
            Ability::Audio => &mut self.audio,
            Ability::Image => &mut self.image,
        }
    }

    fn read(entry: &BorrowedValue<'_>) -> Self {
        let mut abilities = Abilities::default();
        abilities.take_type(entry.get("type").and_then(|value| value.as_str()).unwrap_or_default());
        abilities.take_capabilities(entry.get("capabilities"));
        for name in ["supports_chat", "supports_tools", "supports_image_input"] {
            if let (Some(ability), Some(value)) =
                (Ability::named(name), entry.get(name).and_then(|it| it.as_bool()))
            {
                *abilities.of(ability) = Some(value);
            }
        }
        // OpenRouter: what is not in these lists is not there.
        if let Some(parameters) = words(entry.get("supported_parameters")) {
            let has = |names: &[&str]| parameters.iter().any(|word| names.contains(word));
            abilities.tools = Some(has(&["tools"]));
            abilities.thinking = Some(has(&["reasoning", "include_reasoning"]));
        }
        let architecture = entry.get("architecture");
        let modalities = |name: &str| words(architecture.and_then(|architecture| architecture.get(name)));
        if let Some(inputs) = modalities("input_modalities") {
            abilities.vision = Some(inputs.contains(&"image"));
            abilities.audio = Some(inputs.contains(&"audio"));
        }
        if let Some(outputs) = modalities("output_modalities") {
            abilities.completion = Some(outputs.contains(&"text"));
            abilities.embedding = Some(outputs.contains(&"embeddings"));
            abilities.image = Some(outputs.contains(&"image"));
        }
        abilities
    }

    /// Together and LM Studio say of what kind a model is. Other words mean other things elsewhere (`base`, `model`).
    fn take_type(&mut self, kind: &str) {
        match kind {
            "chat" | "llm" | "language" | "code" => self.completion = Some(true),
            "vlm" => (self.completion, self.vision) = (Some(true), Some(true)),
            "embedding" | "embeddings" => (self.completion, self.embedding) = (Some(false), Some(true)),
            "image" => (self.completion, self.image) = (Some(false), Some(true)),
            "rerank" | "moderation" | "audio" | "transcribe" | "video" => self.completion = Some(false),
            _ => {}
        }
    }

    fn take_capabilities(&mut self, capabilities: Option<&BorrowedValue<'_>>) {
        for word in words(capabilities).unwrap_or_default() {
            if let Some(ability) = Ability::named(word) {
                *self.of(ability) = Some(true);
            }
        }
        let Some(object) = capabilities.and_then(|it| it.as_object()) else { return };
        // Azure has both, and `completion` is the older API: either will do.
        let mut completes = None;
        for (name, value) in object.iter() {
            match (Ability::named(name), value.as_bool()) {
                (Some(Ability::Completion), Some(value)) => {
                    completes = Some(completes.unwrap_or(false) || value)
                }
                (Some(ability), Some(value)) => *self.of(ability) = Some(value),
                _ => {}
            }
        }
        self.completion = completes.or(self.completion);
    }
}

fn word(entry: &BorrowedValue<'_>, name: &str) -> Option<String> {
    let word = entry.get(name)?.as_str()?;
    let is_word = !word.is_empty() && word.len() <= MAX_WORD_BYTES && !word.chars().any(char::is_control);
    is_word.then(|| word.to_string())
}

fn words<'v>(value: Option<&'v BorrowedValue<'_>>) -> Option<Vec<&'v str>> {
    Some(value?.as_array()?.iter().filter_map(|word| word.as_str()).collect())
}

/// The first of these that is more than nothing.
fn number(entry: &BorrowedValue<'_>, names: &[&str]) -> Option<u64> {
    let numbers = names.iter().filter_map(|name| entry.get(*name).and_then(|value| value.cast_f64()));
    numbers.map(|number| number as u64).find(|number| *number > 0)
}

/// Where a backend says more of its models than in the list of OpenAI's API: an endpoint beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NativeFacts {
    /// llama.cpp's server: what it was started with, of its one model.
    LlamaCppProps,
    /// LM Studio's own list.
    LmStudioModels,
    /// LiteLLM's, of what its table and its settings say of each model.
    LiteLlmModelInfo,
}

/// When every model of LiteLLM's list was made.
const LITELLM_CREATED: u64 = 1_677_610_602;

impl NativeFacts {
    /// Told by the list: each names its owner in a way of its own.
    #[must_use]
    pub fn of(models: &[Model]) -> Option<Self> {
        let all_by = |owner: &str| {
            !models.is_empty() && models.iter().all(|model| model.owned_by.as_deref() == Some(owner))
        };
        match models.len() {
            1 if all_by("llamacpp") => Some(NativeFacts::LlamaCppProps),
            _ if all_by("organization_owner") => Some(NativeFacts::LmStudioModels),
            _ if all_by("openai") && models.iter().all(|model| model.created == Some(LITELLM_CREATED)) => {
                Some(NativeFacts::LiteLlmModelInfo)
            }
            _ => None,
        }
    }

    /// The path, from where the API's own `/v1` begins.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            NativeFacts::LlamaCppProps => "/props",
            NativeFacts::LmStudioModels => "/api/v0/models",
            NativeFacts::LiteLlmModelInfo => "/model/info",
        }
    }

    /// Adds what the answer says. One that cannot be read says nothing.
    pub fn add(self, body: &[u8], models: &mut [Model]) {
        match self {
            NativeFacts::LlamaCppProps => {
                if let (Some(model), Some(facts)) = (models.first_mut(), read_props(body)) {
                    model.learn(facts);
                }
            }
            NativeFacts::LmStudioModels => learn_all(super::parse_models(body).unwrap_or_default(), models),
            NativeFacts::LiteLlmModelInfo => learn_all(read_model_info(body).unwrap_or_default(), models),
        }
    }
}

fn learn_all(facts: Vec<Model>, models: &mut [Model]) {
    for facts in facts {
        if let Some(model) = models.iter_mut().find(|model| model.id == facts.id) {
            model.learn(facts);
        }
    }
}

/// LiteLLM's `/model/info`: an entry for each deployment, of which several may serve one name; the first counts.
fn read_model_info(body: &[u8]) -> Option<Vec<Model>> {
    // The scanner's depth limit comes before the parser that builds a tree.
    let mut copy = Scanner::new(body.trim_ascii()).value().ok()?.bytes().to_vec();
    let tree = simd_json::to_borrowed_value(&mut copy).ok()?;
    let entry = |entry: &BorrowedValue<'_>| {
        let (name, info) = (entry.get("model_name")?.as_str()?, entry.get("model_info")?);
        let says = |name: &str| info.get(name).and_then(|value| value.as_bool());
        let mut abilities = Abilities {
            tools: says("supports_function_calling"),
            vision: says("supports_vision"),
            thinking: says("supports_reasoning"),
            audio: says("supports_audio_input"),
            ..Abilities::default()
        };
        match info.get("mode").and_then(|mode| mode.as_str()) {
            Some("chat" | "completion" | "responses") => abilities.completion = Some(true),
            Some("embedding") => abilities.take_type("embedding"),
            Some("image_generation") => abilities.take_type("image"),
            Some("rerank" | "moderation" | "audio_transcription" | "audio_speech" | "video_generation") => {
                abilities.completion = Some(false);
            }
            _ => {}
        }
        Some(Model {
            id: name.to_string(),
            context_length: number(info, &["max_input_tokens"]),
            embedding_length: number(info, &["output_vector_size"]),
            abilities,
            ..Model::default()
        })
    };
    // What is learnt last counts.
    Some(tree.get("data")?.as_array()?.iter().rev().filter_map(entry).collect())
}

/// llama.cpp's `/props`: the context that each slot really has, and what can be shown to the model.
fn read_props(body: &[u8]) -> Option<Model> {
    // The scanner's depth limit comes before the parser that builds a tree.
    let mut copy = Scanner::new(body.trim_ascii()).value().ok()?.bytes().to_vec();
    let props = simd_json::to_borrowed_value(&mut copy).ok()?;
    let modality =
        |name: &str| props.get("modalities").and_then(|it| it.get(name)).and_then(|value| value.as_bool());
    let settings = props.get("default_generation_settings");
    Some(Model {
        context_length: settings.and_then(|settings| number(settings, &["n_ctx"])),
        abilities: Abilities { vision: modality("vision"), audio: modality("audio"), ..Abilities::default() },
        ..Model::default()
    })
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
