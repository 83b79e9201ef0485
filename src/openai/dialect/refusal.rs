//! What a backend's refusal of a request asks to be changed in it (rows R1 to R8 of the dialect catalogue).
//!
//! A refusal is known by its words beside the name of a parameter, or by a phrase that names none. It gives candidates,
//! in order: the caller makes the first change that changes the request, so what was not sent is never blamed. A text
//! that only mentions a parameter ("max_tokens is too large") asks for no change.

use super::Parameter::{self, *};
use super::{Dialect, Parameters};
use crate::openai::ApiError;

/// Words that say that something is not known or not taken.
const UNKNOWN: &[&str] = &[
    "unsupported",
    "not support",
    "unrecognized",
    "unknown",
    "unexpected",
    "not permitted",
    "not allowed",
    "not enabled",
    "extra_forbidden",
    "extra inputs",
    "extra fields",
    "only the default",
];

/// Words that say that a value is not taken, where that is about the kind of the value and not about its size.
const VALUE: &[&str] = &[
    "unsupported_value",
    "unsupported value",
    "must be one of",
    "must be 'json_schema'",
    "supported values are",
    "invalid value",
    "invalid reasoning",
    "array too long",
    "array_above_max_length",
    "too many",
];

/// Texts that name no parameter.
const PHRASES: &[(&str, &[Parameter])] = &[
    ("response_format type is unavailable", &[JsonSchema, JsonObject]),
    ("contain the word 'json'", &[WordlessJson]),
    ("contain the word json", &[WordlessJson]),
    ("only works in thinking mode", EFFORTS),
    ("penalty is not enabled", &[FrequencyPenalty, PresencePenalty]),
    ("chat_template is not supported", &[ChatTemplateKwargs]),
    ("system role not supported", &[SystemRole]),
    ("system role is not supported", &[SystemRole]),
    ("does not support 'system'", &[SystemRole]),
    ("developer instruction is not enabled", &[SystemRole]),
    ("does not support reasoning", THINKING),
    ("does not support thinking", THINKING),
    ("thinking is not enabled", THINKING),
    ("reasoning is not enabled", THINKING),
];

const EFFORTS: &[Parameter] =
    &[EffortNone, EffortMinimal, EffortLow, EffortMedium, EffortHigh, EffortXhigh, EffortMax];
const THINKING: &[Parameter] = &[ReasoningEffort, Reasoning, Thinking, ReasoningFormat, ChatTemplateKwargs];

/// Texts of backends that cannot call tools, or not for this model.
const NO_TOOLS: &[&str] = &[
    "does not support tool",
    "not support function call",
    "not support function-call",
    "support tool use",
    "tool choice requires",
    "tools param requires",
    "function calling is not enabled",
    "function calling is not supported",
    "function call is not supported",
    "tool calling is not supported",
    "`tool calling` is not supported",
    "tool use is not supported",
    "'tools' is not supported",
];

impl Dialect {
    /// What may be left out or put otherwise after this refusal, in the order to try; empty when it is about something
    /// else. Nothing is in it that was refused before.
    #[must_use]
    pub fn candidates(&self, status: u16, error: &ApiError) -> Vec<Parameter> {
        let message = error.message.to_ascii_lowercase();
        let phrased = PHRASES.iter().filter(|(phrase, _)| message.contains(phrase));
        let mut candidates: Vec<Parameter> = phrased.flat_map(|(_, found)| *found).copied().collect();
        match status {
            400 | 422 => candidates.extend(named(error, &message)),
            // The chat template's own words: some servers call that an error of theirs.
            500 => candidates.retain(|parameter| *parameter == SystemRole),
            _ => candidates.clear(),
        }
        candidates.retain(|parameter| !self.refused.contains(*parameter));
        candidates
    }

    /// The dialect without one of its parameters.
    #[must_use]
    pub fn without(self, parameter: Parameter) -> Self {
        Dialect { refused: self.refused.with(&[parameter]), ..self }
    }
}

impl ApiError {
    /// Whether what it refuses is refused whatever the next request brings. A value of a sampling parameter is the
    /// request's own, unless no other than the default is taken.
    #[must_use]
    pub fn refuses_for_good(&self, parameter: Parameter) -> bool {
        let is_sampling =
            Parameters::default().with(&[Temperature, TopP, FrequencyPenalty, PresencePenalty, Seed]);
        !is_sampling.contains(parameter)
            || self.code.as_deref() != Some("unsupported_value")
            || self.message.to_ascii_lowercase().contains("only the default")
    }

    /// Whether the backend says that the model cannot call tools.
    #[must_use]
    pub fn refuses_tools(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        NO_TOOLS.iter().any(|phrase| message.contains(phrase))
            || (self.code.as_deref() == Some("unsupported_parameter")
                && self.param.as_deref() == Some("tools"))
    }

    /// Whether the backend says that the model, or the server, does not fill in the middle.
    #[must_use]
    pub fn refuses_suffix(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        let refuses = |text: &str| {
            // vLLM's words.
            text.contains("not currently supported") || UNKNOWN.iter().any(|words| text.contains(words))
        };
        let is_blamed = self.param.as_deref().is_some_and(|param| matches!(param, "suffix" | "body.suffix"));
        let is_named = clauses(&message).any(|clause| is_word(clause, "suffix") && refuses(clause));
        is_named || (is_blamed && (refuses(&message) || self.code.as_deref().is_some_and(refuses)))
    }
}

/// The parameters that a refusal names.
fn named(error: &ApiError, message: &str) -> Vec<Parameter> {
    let code = error.code.as_deref().unwrap_or_default();
    let says =
        |words: &[&str], text: &str| words.iter().any(|words| text.contains(words) || code.contains(words));
    let refuses = |parameter: Parameter, text: &str| {
        // The words about values may stand in the sentence behind the name.
        let of_a_value = knows_values(parameter) && says(VALUE, message);
        // Too many dimensions are none for Ollama, and vectors can be cut here: whatever is wrong with them, they go.
        parameter == Dimensions || of_a_value || (!is_value(parameter) && says(UNKNOWN, text))
    };
    let all = Parameter::ALL.iter().copied();
    // The blamed field, when it is given, comes before the words: OpenAI's refusal of "max_tokens" advises
    // "max_completion_tokens". Without one the name must stand in the sentence that refuses.
    let blamed = error.param.as_deref().map(str::to_ascii_lowercase).unwrap_or_default();
    if Parameter::ALL.iter().any(|parameter| is_field(&blamed, *parameter)) {
        return all.filter(|it| is_field(&blamed, *it) && refuses(*it, message)).collect();
    }
    all.filter(|parameter| {
        clauses(message).any(|clause| {
            names(*parameter).iter().any(|name| is_word(clause, name)) && refuses(*parameter, clause)
        })
    })
    .collect()
}

/// Whether it stands for values of a member, not for the member.
fn is_value(parameter: Parameter) -> bool {
    EFFORTS.contains(&parameter) || parameter == LongStop
}

/// Whether it is about the kind of a value, so that another value, or none, may be taken.
fn knows_values(parameter: Parameter) -> bool {
    is_value(parameter) || matches!(parameter, ReasoningEffort | JsonSchema | JsonObject | Stop)
}

/// What refusals call it, in lower case.
fn names(parameter: Parameter) -> &'static [&'static str] {
    match parameter {
        IncludeObfuscation => &["include_obfuscation"],
        StreamOptions => &["stream_options", "streamoptions"],
        MaxTokens => &["max_tokens", "maxtokens"],
        MaxCompletionTokens => &["max_completion_tokens", "maxcompletiontokens"],
        Temperature => &["temperature"],
        TopP => &["top_p", "topp"],
        TopK => &["top_k", "topk"],
        MinP => &["min_p"],
        TypicalP => &["typical_p"],
        RepeatPenalty => &["repeat_penalty"],
        RepetitionPenalty => &["repetition_penalty"],
        RepeatLastN => &["repeat_last_n"],
        FrequencyPenalty => &["frequency_penalty", "frequencypenalty"],
        PresencePenalty => &["presence_penalty", "presencepenalty"],
        Seed => &["seed"],
        RandomSeed => &["random_seed"],
        LongStop | Stop => &["stop"],
        TopLogprobs => &["top_logprobs", "toplogprobs"],
        Logprobs => &["logprobs"],
        JsonSchema => &["json_schema", "response_format", "response format", "response_format.type"],
        JsonObject => &["json_object", "response_format", "response format", "response_format.type"],
        EffortNone | EffortMinimal | EffortLow | EffortMedium | EffortHigh | EffortXhigh | EffortMax
        | ReasoningEffort => &["reasoning_effort", "reasoningeffort", "reasoning.effort", "reasoning effort"],
        ReasoningFormat => &["reasoning_format"],
        Reasoning => &["reasoning"],
        Thinking => &["thinking"],
        ChatTemplateKwargs => &["chat_template_kwargs"],
        EncodingFormat => &["encoding_format"],
        Dimensions => &["dimensions"],
        TruncatePromptTokens => &["truncate_prompt_tokens"],
        // By phrases only: the words stand in too many other texts.
        WordlessJson | SystemRole => &[],
    }
}

/// Whether the path in `param` leads to the parameter: `top_k`, `body.top_k`, `stream_options.include_usage`.
fn is_field(param: &str, parameter: Parameter) -> bool {
    let param = param.strip_prefix("body.").unwrap_or(param);
    names(parameter).iter().any(|name| {
        param.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }) || (parameter == IncludeObfuscation && param.ends_with(".include_obfuscation"))
}

/// The sentences of a message.
fn clauses(message: &str) -> impl Iterator<Item = &str> {
    message.split(['\n', ';']).flat_map(|line| line.split(". "))
}

/// Whether the text names the parameter as a word of its own.
fn is_word(text: &str, name: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.match_indices(name).any(|(at, _)| {
        let before = text.get(..at).and_then(|head| head.chars().next_back());
        let after = text.get(at + name.len()..).and_then(|tail| tail.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
#[path = "refusal_tests.rs"]
mod tests;
