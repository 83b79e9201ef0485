//! [`Dialect`]: which request parameters a kind of backend takes, as one table, and what this backend refused so far.
//!
//! A backend that is not known gets the parameters of OpenAI's own API and nothing else.

use super::ApiError;

/// The kinds of backends that differ in what they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// OpenAI's parameters only.
    #[default]
    Standard,
    /// api.openai.com itself: `max_completion_tokens`.
    OpenAi,
    /// openrouter.ai
    OpenRouter,
    /// vLLM, and SGLang with it.
    Vllm,
    /// llama.cpp's server.
    LlamaCpp,
}

/// A parameter that one backend takes and another refuses, by its name in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Parameter {
    StreamOptions,
    MaxTokens,
    MaxCompletionTokens,
    Temperature,
    TopP,
    TopK,
    MinP,
    TypicalP,
    RepeatPenalty,
    RepetitionPenalty,
    RepeatLastN,
    FrequencyPenalty,
    PresencePenalty,
    Seed,
    ReasoningEffort,
    ChatTemplateKwargs,
    EncodingFormat,
    Dimensions,
    TruncatePromptTokens,
}

impl Parameter {
    const ALL: [Parameter; 19] = [
        Parameter::StreamOptions,
        Parameter::MaxTokens,
        Parameter::MaxCompletionTokens,
        Parameter::Temperature,
        Parameter::TopP,
        Parameter::TopK,
        Parameter::MinP,
        Parameter::TypicalP,
        Parameter::RepeatPenalty,
        Parameter::RepetitionPenalty,
        Parameter::RepeatLastN,
        Parameter::FrequencyPenalty,
        Parameter::PresencePenalty,
        Parameter::Seed,
        Parameter::ReasoningEffort,
        Parameter::ChatTemplateKwargs,
        Parameter::EncodingFormat,
        Parameter::Dimensions,
        Parameter::TruncatePromptTokens,
    ];

    /// The name in the request.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Parameter::StreamOptions => "stream_options",
            Parameter::MaxTokens => "max_tokens",
            Parameter::MaxCompletionTokens => "max_completion_tokens",
            Parameter::Temperature => "temperature",
            Parameter::TopP => "top_p",
            Parameter::TopK => "top_k",
            Parameter::MinP => "min_p",
            Parameter::TypicalP => "typical_p",
            Parameter::RepeatPenalty => "repeat_penalty",
            Parameter::RepetitionPenalty => "repetition_penalty",
            Parameter::RepeatLastN => "repeat_last_n",
            Parameter::FrequencyPenalty => "frequency_penalty",
            Parameter::PresencePenalty => "presence_penalty",
            Parameter::Seed => "seed",
            Parameter::ReasoningEffort => "reasoning_effort",
            Parameter::ChatTemplateKwargs => "chat_template_kwargs",
            Parameter::EncodingFormat => "encoding_format",
            Parameter::Dimensions => "dimensions",
            Parameter::TruncatePromptTokens => "truncate_prompt_tokens",
        }
    }
}

/// A set of parameters, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused(pub u32);

impl Refused {
    /// Whether the parameter is in the set.
    #[must_use]
    pub fn contains(self, parameter: Parameter) -> bool {
        self.0 & (1 << parameter as u32) != 0
    }

    /// The set with what came into another between two moments.
    #[must_use]
    pub fn and_what_is_new(self, before: Self, after: Self) -> Self {
        Refused(self.0 | (after.0 & !before.0))
    }

    /// The set with the parameter that a 400 or 422 names as unknown; `None` when it names none of ours, or one that
    /// was refused before.
    #[must_use]
    pub fn learn(self, error: &ApiError) -> Option<Self> {
        // "max_completion_tokens" also stands in the advice of OpenAI's refusal of "max_tokens": the blamed parameter,
        // when it is given, comes before the words.
        let message = error.message.to_ascii_lowercase();
        let refuses = |words: &str| message.contains(words) || error.code.as_deref() == Some(words);
        let is_refusal = [
            "unsupported",
            "not support",
            "unrecognized",
            "unknown",
            "unexpected",
            "not permitted",
            "not allowed",
            "extra_forbidden",
            "extra inputs",
            "extra fields",
            "unsupported_parameter",
            "unsupported_value",
        ];
        let named = |parameter: &Parameter| match error.param.as_deref() {
            Some(param) => param == parameter.name() || param.starts_with(&format!("{}.", parameter.name())),
            None => names(&message, parameter.name()),
        };
        // Too many dimensions are none for Ollama, and vectors can be cut here: whatever is wrong with them, they go.
        if !is_refusal.into_iter().any(refuses) && !named(&Parameter::Dimensions) {
            return None;
        }
        let parameter =
            Parameter::ALL.into_iter().filter(|parameter| !self.contains(*parameter)).find(named)?;
        Some(Refused(self.0 | (1 << parameter as u32)))
    }
}

/// Whether the text names the parameter as a word of its own.
fn names(text: &str, parameter: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.match_indices(parameter).any(|(at, _)| {
        let before = text.get(..at).and_then(|head| head.chars().next_back());
        let after = text.get(at + parameter.len()..).and_then(|tail| tail.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

/// What to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// The kind of backend.
    pub profile: Profile,
    /// What this one refused.
    pub refused: Refused,
}

impl Dialect {
    /// Whether the backend takes the parameter.
    #[must_use]
    pub fn takes(&self, parameter: Parameter) -> bool {
        use Parameter as P;
        use Profile as K;
        let by_kind = match parameter {
            P::StreamOptions
            | P::Temperature
            | P::TopP
            | P::FrequencyPenalty
            | P::PresencePenalty
            | P::Seed => true,
            // One of the two is always meant: the other stands in when it was refused.
            P::MaxTokens => self.profile != K::OpenAi || self.refused.contains(P::MaxCompletionTokens),
            P::MaxCompletionTokens => self.profile == K::OpenAi || self.refused.contains(P::MaxTokens),
            P::TopK | P::MinP => matches!(self.profile, K::OpenRouter | K::Vllm | K::LlamaCpp),
            P::RepetitionPenalty => matches!(self.profile, K::OpenRouter | K::Vllm),
            P::TypicalP | P::RepeatPenalty | P::RepeatLastN => self.profile == K::LlamaCpp,
            P::ReasoningEffort => true,
            P::EncodingFormat | P::Dimensions => true,
            P::TruncatePromptTokens => self.profile == K::Vllm,
            P::ChatTemplateKwargs => matches!(self.profile, K::Vllm | K::LlamaCpp),
        };
        by_kind && !self.refused.contains(parameter)
    }

    /// How vectors are asked for. Base64 has four tenths of the bytes of the shortest digits and costs us the same time; it is
    /// asked for where it is what the vendor's own libraries ask for. Others ignore it, or claim to know it and do not.
    #[must_use]
    pub fn encoding_format(&self) -> &'static str {
        match self.profile {
            Profile::OpenAi => "base64",
            Profile::Standard | Profile::OpenRouter | Profile::Vllm | Profile::LlamaCpp => "float",
        }
    }

    /// The backend's word for a level of reasoning. Only OpenAI itself has one above `high`.
    #[must_use]
    pub fn effort(&self, level: &'static str) -> &'static str {
        match (level, self.profile) {
            ("max", Profile::OpenAi) => "xhigh",
            ("max", _) => "high",
            (level, _) => level,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(body: &str) -> Option<Refused> {
        Refused::default().learn(&ApiError::read(body.as_bytes()))
    }

    fn only(parameter: Parameter) -> Option<Refused> {
        Some(Refused(1 << parameter as u32))
    }

    #[test]
    fn refusals_as_backends_word_them() {
        let table = [
            (
                r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","param":"max_tokens","code":"unsupported_parameter"}}"#,
                only(Parameter::MaxTokens),
            ),
            (
                r#"{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted: stream_options"}]}"#,
                only(Parameter::StreamOptions),
            ),
            (
                r#"{"error":{"message":"Unrecognized request argument supplied: top_k"}}"#,
                only(Parameter::TopK),
            ),
            (
                r#"{"error":{"message":"Unsupported value: 'temperature' does not support 0.5 with this model.","param":"temperature","code":"unsupported_value"}}"#,
                only(Parameter::Temperature),
            ),
            (r#"{"error":{"message":"temperature must be at most 2","param":"temperature"}}"#, None),
            (r#"{"error":{"message":"Unsupported parameter: foo"}}"#, None),
            (
                r#"{"error":{"message":"This model does not support specifying dimensions."}}"#,
                only(Parameter::Dimensions),
            ),
            (
                r#"{"error":{"message":"Invalid value for 'dimensions' = 5000. Must be less than or equal to 1536."}}"#,
                only(Parameter::Dimensions),
            ),
            (
                r#"{"detail":[{"type":"extra_forbidden","loc":["body","encoding_format"],"msg":"Extra inputs are not permitted"}]}"#,
                only(Parameter::EncodingFormat),
            ),
        ];
        for (body, expected) in table {
            assert_eq!(learned(body), expected, "{body}");
        }
    }

    #[test]
    fn a_refusal_is_learnt_once() {
        let error = ApiError::read(br#"{"error":"unknown field stream_options"}"#);
        let refused = Refused::default().learn(&error).unwrap();
        assert_eq!(refused.learn(&error), None);
    }

    #[test]
    fn the_token_limit_goes_under_the_name_that_is_left() {
        let dialect = |profile, refused| Dialect { profile, refused };
        let none = Refused::default();
        assert!(dialect(Profile::OpenAi, none).takes(Parameter::MaxCompletionTokens));
        assert!(!dialect(Profile::OpenAi, none).takes(Parameter::MaxTokens));
        assert!(dialect(Profile::Standard, none).takes(Parameter::MaxTokens));
        let refused = only(Parameter::MaxTokens).unwrap();
        assert!(dialect(Profile::Standard, refused).takes(Parameter::MaxCompletionTokens));
        assert!(!dialect(Profile::Standard, refused).takes(Parameter::MaxTokens));
    }
}
