//! [`Cause`]: what a backend's error is about, as far as an Ollama client has to be told apart.
//!
//! A status alone does not say it: an unknown model is a 400 with one backend and a 503 with another, a refused key is a
//! 400 with Google, and a 404 may be the model, the path, or that no provider takes the request. The words are those that
//! the backends were seen to use (rows E11 to E13 of the dialect catalogue).

use super::ApiError;

/// See the module's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// There is no such model, or not for this key.
    Model,
    /// The texts are longer than the model takes.
    Length,
    /// The key is missing or wrong.
    Key,
    /// The key is known, and this is not for it.
    Denied,
    /// The model is there, but nobody behind the gateway, or not this endpoint, takes the request as it is.
    Unserved,
    /// There is no such endpoint: the base URL is wrong.
    Endpoint,
    /// What the status says.
    Other,
}

/// `code` or `type` of an error that is about the model's name.
const MODEL_CODES: &[&str] = &["model_not_found", "deploymentnotfound", "unknown_model", "invalid_model"];

/// Words that say so with any status that blames the request: OpenRouter (twice), DeepSeek, LiteLLM, Mistral, Perplexity,
/// GitHub, Cloudflare, llama-swap, LM Studio and Bedrock.
const MODEL_WORDS: &[&str] = &[
    "not a valid model",
    "no endpoints found for",
    "model not exist",
    "invalid model name",
    "invalid model:",
    "invalid model '",
    "unknown model",
    "no such model",
    "could not find real modelid",
    "invalid model identifier",
    "model identifier is invalid",
];

/// Words that, beside "model", say so with a 404.
const MISSING_WORDS: &[&str] = &["not found", "not exist", "not available", "unable to access"];

/// A 404 that is about neither the model's name nor the path: OpenRouter's, and OpenAI's of a model with another endpoint.
const UNSERVED_WORDS: &[&str] = &[
    "no endpoints found",
    "no endpoints available",
    "no allowed providers",
    "all providers have been ignored",
    "no models match your request",
    "not a chat model",
    "only supported in v1/",
    "does not support image",
];

/// A refused key that comes as a 400: Google's (twice) and xAI's.
const KEY_WORDS: &[&str] = &["api key not valid", "api key expired", "incorrect api key"];

/// `code` or `type` of a text that is too long.
const LENGTH_CODES: &[&str] = &["context_length_exceeded", "exceed_context_size_error"];

/// The words for it of OpenAI and vLLM, llama.cpp (twice), TEI, Mistral, Cohere, Anthropic and Bedrock, Ollama (twice),
/// SGLang, LM Studio, xAI, Google and TGI. Not "too long" alone: a request may take that.
const LENGTH_WORDS: &[&str] = &[
    "maximum context length",
    "context size",
    "too large to process",
    "must have less than",
    "exceeds model limit",
    "too many tokens",
    "is too long",
    "prompt too long",
    "exceeds the context length",
    "longer than the model's context length",
    "when context the overflows",
    "maximum prompt length",
    "exceeds the maximum number of tokens",
    "`max_new_tokens` must be <=",
];

impl ApiError {
    /// What an error with this status is about.
    #[must_use]
    pub fn cause(&self, status: u16) -> Cause {
        let message = self.message.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
        let code = self.code.as_deref().unwrap_or_default();
        let is_coded = |codes: &[&str]| codes.iter().any(|known| code.eq_ignore_ascii_case(known));
        match status {
            401 => Cause::Key,
            _ if is_coded(MODEL_CODES) => Cause::Model,
            403 => Cause::Denied,
            400 | 404 | 422 if says(MODEL_WORDS) => Cause::Model,
            // "The model `x` does not exist.", "model 'x' not found": with a 400 only where they begin the text.
            400 | 422 if names_missing_model(&message) => Cause::Model,
            400 if says(KEY_WORDS) => Cause::Key,
            // LM Studio's, with a 200.
            _ if message.starts_with("unexpected endpoint") => Cause::Endpoint,
            404 if says(UNSERVED_WORDS) => Cause::Unserved,
            404 if message.contains("model") && says(MISSING_WORDS) => Cause::Model,
            404 | 405 => Cause::Endpoint,
            // The words stand in other texts too, about an account's limits or a server that is busy.
            408 | 429 | 503 | 529 => Cause::Other,
            _ if is_coded(LENGTH_CODES) || says(LENGTH_WORDS) => Cause::Length,
            _ => Cause::Other,
        }
    }
}

/// Whether the text begins with the model and says in its first sentence that it is not there.
fn names_missing_model(message: &str) -> bool {
    let starts = ["model ", "the model ", "the requested model "];
    let sentence = message.split(". ").next().unwrap_or_default();
    starts.iter().any(|start| sentence.starts_with(start))
        && ["not found", "does not exist"].iter().any(|words| sentence.contains(words))
}

#[cfg(test)]
#[path = "cause_tests.rs"]
mod tests;
