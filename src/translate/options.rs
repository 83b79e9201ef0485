//! Ollama's `options` to OpenAI's sampling parameters.
//!
//! Nothing is sent that the client did not set: Ollama's defaults are not OpenAI's, and reasoning models refuse any
//! temperature but their own. Without a counterpart anywhere: `num_ctx`, `num_keep`, `num_batch`, `num_gpu` and the
//! rest that is about loading a model.

use crate::ollama::{Format, Options, Think};
use crate::openai::{Parameter, RequestWriter, Sampling};

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

/// `format`, on a chat.
pub(super) fn format(format: Format<'_>, writer: &mut RequestWriter<'_>) {
    match format {
        Format::Text => {}
        Format::Json => writer.json_format(),
        Format::Schema(schema) => writer.schema_format(schema),
    }
}

/// `think`, on a chat. A level is the backend's effort; on and off are switches that only some chat templates have, and
/// a backend that cannot think must still answer a client that says `false`.
pub(super) fn think(think: Think, writer: &mut RequestWriter<'_>) {
    match think {
        Think::Unset => {}
        Think::Level(level) => writer.reasoning_effort(writer.dialect().effort(level)),
        Think::On => writer.enable_thinking(true),
        Think::Off => writer.enable_thinking(false),
    }
}
