//! [`Timing`]: the six figures of a final line, all measured, in whole nanoseconds.

use crate::wire::JsonWriter;
use std::time::Duration;

/// What a final line tells of time and tokens. A figure that nobody measured is absent, as Ollama leaves out zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// From the request's arrival to its end.
    pub total: Duration,
    /// Until the request was on its way to the backend: there is no model to load here.
    pub load: Duration,
    /// Tokens of the prompt, from the backend's usage.
    pub prompt_eval_count: Option<u64>,
    /// Until the first token.
    pub prompt_eval: Duration,
    /// Tokens of the answer.
    pub eval_count: Option<u64>,
    /// From the first token to the last.
    pub eval: Duration,
}

impl Timing {
    /// Appends the members, in Ollama's order.
    pub fn write(&self, json: &mut JsonWriter<'_>) {
        let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        // Beside a count a time is never zero, which would leave it out: clients divide the one by the other, and
        // ollama-rs drops all six figures when one is missing. Nobody sees the first token of a whole answer.
        let beside =
            |count: Option<u64>, time: Duration| ns(time).max(u64::from(count.is_some_and(|n| n > 0)));
        let members = [
            ("total_duration", ns(self.total)),
            ("load_duration", ns(self.load)),
            ("prompt_eval_count", self.prompt_eval_count.unwrap_or(0)),
            ("prompt_eval_duration", beside(self.prompt_eval_count, self.prompt_eval)),
            ("eval_count", self.eval_count.unwrap_or(0)),
            ("eval_duration", beside(self.eval_count, self.eval)),
        ];
        for (name, value) in members.into_iter().filter(|(_, value)| *value > 0) {
            json.key(name);
            json.uint(value);
        }
    }
}
