//! Scenarios are model names, so that any client can ask for one: `whole`, `stream-N`, `paced-N-R`.
//!
//! A name that is none of these is refused with the list of forms; nothing is guessed.

use std::time::Duration;

/// What the backend plays for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// One small answer, not streamed, at once.
    Whole,
    /// `tokens` events, one write each, as fast as the reader takes them.
    Stream {
        /// How many token events follow the role event.
        tokens: u32,
    },
    /// `tokens` events, the first at once and then one every `gap`.
    Paced {
        /// How many token events follow the role event.
        tokens: u32,
        /// Time between two token events.
        gap: Duration,
    },
}

/// Bounds a run: no stream is longer than this many tokens.
const MAX_TOKENS: u32 = 10_000_000;

impl Scenario {
    /// Reads a model name.
    pub fn from_model(model: &str) -> Result<Self, String> {
        let mut words = model.split('-');
        let scenario = match (words.next(), words.next(), words.next(), words.next()) {
            (Some("whole"), None, None, None) => Some(Self::Whole),
            (Some("stream"), Some(tokens), None, None) => count(tokens).map(|tokens| Self::Stream { tokens }),
            (Some("paced"), Some(tokens), Some(rate), None) => count(tokens)
                .zip(count(rate).filter(|rate| *rate > 0))
                .map(|(tokens, rate)| Self::Paced { tokens, gap: Duration::from_secs(1) / rate }),
            _ => None,
        };
        scenario.ok_or_else(|| {
            format!("model {model:?}: expected whole, stream-N or paced-N-R (N tokens, R a second)")
        })
    }

    /// How many token events the answer holds; a whole answer holds none.
    pub fn tokens(self) -> u32 {
        match self {
            Self::Whole => 0,
            Self::Stream { tokens } | Self::Paced { tokens, .. } => tokens,
        }
    }
}

fn count(word: &str) -> Option<u32> {
    word.parse().ok().filter(|n| *n <= MAX_TOKENS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_others_refused() {
        let gap = Duration::from_millis(100);
        assert_eq!(Scenario::from_model("whole"), Ok(Scenario::Whole));
        assert_eq!(Scenario::from_model("stream-7"), Ok(Scenario::Stream { tokens: 7 }));
        assert_eq!(Scenario::from_model("paced-9-10"), Ok(Scenario::Paced { tokens: 9, gap }));
        for wrong in
            ["", "whole-1", "stream", "stream-x", "stream-99999999999", "paced-1", "paced-1-0", "paced-1-2-3"]
        {
            assert!(Scenario::from_model(wrong).is_err(), "{wrong}");
        }
    }
}
