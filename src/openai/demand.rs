//! [`Demands`]: what a backend wants to read again of its own answers, beyond what OpenAI's API has a place for.
//!
//! Reasoning models that call tools go on where they were only with what they thought. DeepSeek and Moonshot want the
//! text back, in every message of the assistant's (the dialect catalogue's row T10); Gemini wants a signature on the
//! calls (T11). Both refuse a history without it, and say so, so that it can be learnt.

use super::ApiError;

/// A history's members that this backend refuses to do without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// `reasoning_content` on the assistant's messages.
    pub reasoning: bool,
    /// A thought signature on the first call of each turn.
    pub signatures: bool,
}

/// Stands in for a reasoning that is not known. DeepSeek refuses an assistant's message without one, and some of its
/// models an empty one.
pub(super) const NO_REASONING: &str = " ";

/// Stands in for a signature that is not known: Google's documentation names it for histories that Gemini did not make.
pub(super) const NO_SIGNATURE: &str = "skip_thought_signature_validator";

impl Demands {
    /// These with what a refusal asks for; `None` when that is nothing new.
    #[must_use]
    pub fn learn(self, error: &ApiError) -> Option<Self> {
        let message = error.message.to_ascii_lowercase();
        let is_missing = message.contains("missing") || message.contains("must be passed back");
        let names = |words: &str| is_missing && message.contains(words);
        let learnt = Demands {
            reasoning: self.reasoning || names("reasoning_content") || names("reasoning content"),
            signatures: self.signatures || names("thought_signature") || names("thought signature"),
        };
        (learnt != self).then_some(learnt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demands_as_backends_word_them() {
        let reasoning = Some(Demands { reasoning: true, signatures: false });
        let signatures = Some(Demands { reasoning: false, signatures: true });
        for (message, expected) in [
            ("Missing `reasoning_content` field in the assistant message at message index 2.", reasoning),
            ("The `reasoning_content` in the thinking mode must be passed back to the API.", reasoning),
            ("The reasoning content in the thinking mode must be passed back to the API.", reasoning),
            (
                "thinking is enabled but reasoning_content is missing in assistant tool call message at index 2",
                reasoning,
            ),
            ("Function call is missing a thought_signature in functionCall parts.", signatures),
            ("Extra inputs are not permitted: reasoning_content", None),
            ("missing field `messages`", None),
            ("", None),
        ] {
            let error = ApiError { message: message.to_string(), ..ApiError::default() };
            assert_eq!(Demands::default().learn(&error), expected, "{message}");
        }
    }

    #[test]
    fn a_demand_is_learnt_once() {
        let error = ApiError { message: "Missing `reasoning_content`".to_string(), ..ApiError::default() };
        let learnt = Demands::default().learn(&error).unwrap();
        assert_eq!(learnt.learn(&error), None);
    }
}
