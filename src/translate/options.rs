//! Ollama's `options` to OpenAI's sampling parameters.
//!
//! Nothing is sent that the client did not set: Ollama's defaults are not OpenAI's, and reasoning models refuse any
//! temperature but their own. Without a counterpart anywhere: `num_ctx`, `num_keep`, `num_batch`, `num_gpu` and the
//! rest that is about loading a model.

use crate::ollama::{Format, Options, Think};
use crate::openai::{Parameter, RequestWriter, Sampling, Thought};
use crate::wire::RawJson;

/// The sampling parameters of a request.
pub(super) fn sampling<'a>(options: &Options<'a>) -> Sampling<'a> {
    Sampling {
        numbers: [
            (Parameter::Temperature, options.temperature),
            (Parameter::TopP, options.top_p),
            (Parameter::MinP, options.min_p),
            (Parameter::TypicalP, options.typical_p),
            (Parameter::FrequencyPenalty, options.frequency_penalty),
            (Parameter::PresencePenalty, options.presence_penalty),
            (Parameter::RepeatPenalty, options.repeat_penalty),
            (Parameter::RepetitionPenalty, options.repeat_penalty),
        ],
        // Zero and less mean "no limit" to Ollama, which is what OpenAI means by leaving it out.
        max_tokens: options.num_predict.filter(|count| *count > 0),
        top_k: options.top_k,
        repeat_last_n: options.repeat_last_n,
        seed: options.seed.filter(|seed| *seed >= 0),
        stop: options.stop,
    }
}

/// The schema of a `format`, or that it is any JSON; nothing when it is text.
fn schema(format: Format<'_>) -> Option<Option<RawJson<'_>>> {
    match format {
        Format::Text => None,
        Format::Json => Some(None),
        Format::Schema(schema) => Some(Some(schema)),
    }
}

/// `format`, before the messages of a chat: some backends want it in words.
pub(super) fn ask_for_format(format: Format<'_>, writer: &mut RequestWriter<'_>) {
    if let Some(schema) = schema(format) {
        writer.ask_for_json(schema);
    }
}

/// `format`, on a chat.
pub(super) fn format(format: Format<'_>, writer: &mut RequestWriter<'_>) {
    if let Some(schema) = schema(format) {
        writer.format(schema);
    }
}

/// `think`, on a chat.
pub(super) fn think(think: Think, writer: &mut RequestWriter<'_>) {
    writer.think(match think {
        Think::Unset => return,
        Think::Off => Thought::Off,
        Think::On => Thought::On,
        Think::Level("low") => Thought::Low,
        Think::Level("medium") => Thought::Medium,
        Think::Level("max") => Thought::Max,
        Think::Level(_) => Thought::High,
    });
}
