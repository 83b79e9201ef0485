//! [`Dialect`]: what one backend takes for one model: its kind's row in the table of [profiles](Profile), less what it
//! [refused](Dialect::milder) so far.

mod profile;
mod refusal;

use super::Demands;

pub(super) use profile::Switch;
pub use profile::{KeyHeader, Profile, profiles_markdown};

macro_rules! parameters {
    ($($variant:ident $name:literal,)*) => {
        /// What one backend takes and another refuses: a member of a request, or a value of one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the names are the documentation")]
        pub enum Parameter {
            $($variant,)*
        }

        impl Parameter {
            const ALL: &'static [Parameter] = &[$(Parameter::$variant,)*];

            /// The name of the member in the request; of a value, the value itself.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Parameter::$variant => $name,)*
                }
            }
        }
    };
}

parameters! {
    IncludeObfuscation "include_obfuscation",
    StreamOptions "stream_options",
    MaxTokens "max_tokens",
    MaxCompletionTokens "max_completion_tokens",
    Temperature "temperature",
    TopP "top_p",
    TopK "top_k",
    MinP "min_p",
    TypicalP "typical_p",
    RepeatPenalty "repeat_penalty",
    RepetitionPenalty "repetition_penalty",
    RepeatLastN "repeat_last_n",
    FrequencyPenalty "frequency_penalty",
    PresencePenalty "presence_penalty",
    Seed "seed",
    RandomSeed "random_seed",
    // More than four sequences in `stop`.
    LongStop "stop",
    Stop "stop",
    TopLogprobs "top_logprobs",
    Logprobs "logprobs",
    JsonSchema "json_schema",
    JsonObject "json_object",
    // A `response_format` without a word about JSON among the messages.
    WordlessJson "json",
    SystemRole "system",
    EffortNone "none",
    EffortMinimal "minimal",
    EffortLow "low",
    EffortMedium "medium",
    EffortHigh "high",
    EffortXhigh "xhigh",
    EffortMax "max",
    ReasoningEffort "reasoning_effort",
    ReasoningFormat "reasoning_format",
    Reasoning "reasoning",
    Thinking "thinking",
    ChatTemplateKwargs "chat_template_kwargs",
    EncodingFormat "encoding_format",
    Dimensions "dimensions",
    TruncatePromptTokens "truncate_prompt_tokens",
}

/// A set of parameters, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters(u64);

impl Parameters {
    /// The set with these too.
    #[must_use]
    pub const fn with(self, more: &[Parameter]) -> Self {
        let mut bits = self.0;
        let mut rest = more;
        while let [first, others @ ..] = rest {
            bits |= 1 << *first as u64;
            rest = others;
        }
        Parameters(bits)
    }

    /// The set without these.
    #[must_use]
    pub const fn without(self, less: &[Parameter]) -> Self {
        Parameters(self.0 & !Parameters(0).with(less).0)
    }

    /// Whether the parameter is in the set.
    #[must_use]
    pub const fn contains(self, parameter: Parameter) -> bool {
        self.0 & (1 << parameter as u64) != 0
    }

    /// What is in either set.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Parameters(self.0 | other.0)
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// How much the client wants a model to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Thought {
    Off,
    On,
    Low,
    Medium,
    High,
    Max,
}

/// What to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// The kind of backend.
    pub profile: Profile,
    /// What this one refused.
    pub refused: Parameters,
    /// What this one wants to read again.
    pub demands: Demands,
}

impl Dialect {
    /// Whether the backend takes the parameter.
    #[must_use]
    pub fn takes(&self, parameter: Parameter) -> bool {
        // One of these two is always meant: the other stands in when it was refused.
        let stands_in = match parameter {
            Parameter::MaxTokens => self.refused.contains(Parameter::MaxCompletionTokens),
            Parameter::MaxCompletionTokens => self.refused.contains(Parameter::MaxTokens),
            _ => false,
        };
        (stands_in || self.profile.takes(parameter)) && !self.refused.contains(parameter)
    }

    /// The backend's word for how much to think: the first that it has not refused.
    #[must_use]
    pub fn effort(&self, thought: Thought) -> Option<&'static str> {
        let words = self.profile.efforts(thought);
        words.iter().find(|word| !self.refused.contains(**word)).map(|word| word.name())
    }

    /// How vectors are asked for.
    #[must_use]
    pub fn encoding_format(&self) -> &'static str {
        self.profile.encoding_format()
    }

    /// The most sequences that `stop` may hold.
    #[must_use]
    pub fn max_stops(&self) -> usize {
        /// OpenAI's own, and with it what a backend that says "too many" most likely means.
        const FEW: usize = 4;
        let most = self.profile.max_stops();
        if self.takes(Parameter::LongStop) { most } else { most.min(FEW) }
    }
}

impl Demands {
    /// What the backend at a host is known to want.
    #[must_use]
    pub fn of_host(host: &str) -> Self {
        let is_of = |domain: &str| {
            host.strip_suffix(domain).is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        let reasoning = ["deepseek.com", "moonshot.ai", "moonshot.cn"].into_iter().any(is_of);
        Demands { reasoning, signatures: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Parameters = Parameters(0);

    fn dialect(profile: &str, refused: &[Parameter]) -> Dialect {
        Dialect {
            profile: Profile::named(profile).unwrap(),
            refused: NONE.with(refused),
            ..Dialect::default()
        }
    }

    #[test]
    fn every_parameter_has_a_bit_of_its_own() {
        let mut all = NONE;
        for parameter in Parameter::ALL {
            assert!(!all.contains(*parameter), "{parameter:?}");
            all = all.with(&[*parameter]);
            assert!(all.contains(*parameter), "{parameter:?}");
        }
        assert_eq!(all.without(Parameter::ALL), NONE);
    }

    #[test]
    fn the_token_limit_goes_under_the_name_that_is_left() {
        use Parameter::{MaxCompletionTokens, MaxTokens};
        let limits = |dialect: Dialect| (dialect.takes(MaxTokens), dialect.takes(MaxCompletionTokens));
        assert_eq!(limits(dialect("openai", &[])), (false, true));
        assert_eq!(limits(dialect("standard", &[])), (true, false));
        assert_eq!(limits(dialect("openai", &[MaxCompletionTokens])), (true, false));
        assert_eq!(limits(dialect("standard", &[MaxTokens])), (false, true));
        assert_eq!(limits(dialect("standard", &[MaxTokens, MaxCompletionTokens])), (false, false));
    }

    #[test]
    fn the_effort_is_the_next_word_when_one_was_refused() {
        use Parameter::{EffortLow, EffortMinimal, EffortNone, EffortXhigh};
        let effort = |refused: &[Parameter], thought| dialect("openai", refused).effort(thought);
        assert_eq!(effort(&[], Thought::Off), Some("none"));
        assert_eq!(effort(&[EffortNone], Thought::Off), Some("minimal"));
        assert_eq!(effort(&[EffortNone, EffortMinimal], Thought::Off), Some("low"));
        assert_eq!(effort(&[EffortNone, EffortMinimal, EffortLow], Thought::Off), None);
        assert_eq!(effort(&[EffortXhigh], Thought::Max), Some("high"));
        assert_eq!(effort(&[], Thought::On), None);
    }

    #[test]
    fn stop_lists_are_as_long_as_the_backend_takes_them() {
        assert_eq!(dialect("openai", &[]).max_stops(), 4);
        assert_eq!(dialect("deepseek", &[]).max_stops(), 16);
        assert_eq!(dialect("deepseek", &[Parameter::LongStop]).max_stops(), 4);
    }

    #[test]
    fn hosts_that_want_the_reasoning_back() {
        for (host, expected) in [
            ("api.deepseek.com", true),
            ("deepseek.com", true),
            ("api.moonshot.ai", true),
            ("notdeepseek.com", false),
            ("deepseek.com.example", false),
            ("api.openai.com", false),
            ("", false),
        ] {
            assert_eq!(Demands::of_host(host).reasoning, expected, "{host}");
        }
    }
}
