//! Scenarios are model names, so that any client can ask for one; `FORMS` lists them.
//!
//! A name that is none of these is refused with that list; nothing is guessed.

use std::time::Duration;

/// What the backend plays for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// One small answer, not streamed, at once.
    Whole,
    /// `tokens` events as fast as the reader takes them.
    Stream {
        /// How many token events follow the role event.
        tokens: u32,
        /// Which bytes leave in one write.
        writes: Writes,
    },
    /// `tokens` events, the first at once and then one every `gap`.
    Paced {
        /// How many token events follow the role event.
        tokens: u32,
        /// Time between two token events.
        gap: Duration,
    },
    /// One token, then silence until the caller has gone; the backend keeps the time at which it saw that.
    Hang,
    /// A chat history of about so many bytes, answered whole with a digest of what the backend received.
    History {
        /// Bytes of text in it.
        bytes: u32,
    },
    /// A picture of so many bytes, answered like a history.
    Image {
        /// Bytes before base64.
        bytes: u32,
    },
    /// Vectors of `dims` numbers for `inputs` texts.
    Embed {
        /// How many texts.
        inputs: u32,
        /// Numbers in a vector.
        dims: u32,
    },
}

/// Which bytes of a stream at full rate leave in one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// So many events.
    Events(u32),
    /// So many bytes, the framing of HTTP included.
    Bytes(u32),
}

/// Bounds a run: no stream is longer than this many tokens.
const MAX_TOKENS: u32 = 10_000_000;
/// Bounds a request: what `perf-backend` takes.
const MAX_BYTES: u32 = 8 * 1024 * 1024;
/// The forms of a name.
pub const FORMS: &str = "whole, stream-N, packed-N-K (K events a write), cut-N-B (B bytes a write), paced-N-R (R a \
     second), hang, history-N, image-N (N bytes), embed-N-D (N texts, D numbers each)";

impl Scenario {
    /// Reads a model name.
    pub fn from_model(model: &str) -> Result<Self, String> {
        let fault = || format!("model {model:?}: expected {FORMS}");
        let mut words = model.split('-');
        let kind = words.next().unwrap_or_default();
        let numbers: Vec<u32> = words.map(count).collect::<Option<_>>().ok_or_else(fault)?;
        let scenario = match (kind, numbers.as_slice()) {
            ("whole", []) => Some(Self::Whole),
            ("hang", []) => Some(Self::Hang),
            ("stream", &[tokens]) => Some(Self::Stream { tokens, writes: Writes::Events(1) }),
            ("packed", &[tokens, n @ 1..=1000]) => Some(Self::Stream { tokens, writes: Writes::Events(n) }),
            ("cut", &[tokens, n @ 1..=MAX_TOKENS]) => Some(Self::Stream { tokens, writes: Writes::Bytes(n) }),
            ("paced", &[tokens, rate @ 1..=MAX_TOKENS]) => {
                Some(Self::Paced { tokens, gap: Duration::from_secs(1) / rate })
            }
            ("history", &[bytes @ 1..=MAX_BYTES]) => Some(Self::History { bytes }),
            ("image", &[bytes @ 1..=MAX_BYTES]) => Some(Self::Image { bytes }),
            ("embed", &[inputs @ 1..=2048, dims @ 1..=8192]) => Some(Self::Embed { inputs, dims }),
            _ => None,
        };
        scenario.ok_or_else(fault)
    }

    /// How many token events the answer holds; one that is not streamed holds none.
    pub fn tokens(self) -> u32 {
        match self {
            Self::Stream { tokens, .. } | Self::Paced { tokens, .. } => tokens,
            Self::Hang => 1,
            Self::Whole | Self::History { .. } | Self::Image { .. } | Self::Embed { .. } => 0,
        }
    }

    /// True when the answer comes in events.
    pub fn is_streamed(self) -> bool {
        matches!(self, Self::Stream { .. } | Self::Paced { .. } | Self::Hang)
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
        let stream = |tokens, writes| Scenario::Stream { tokens, writes };
        for (name, scenario) in [
            ("whole", Scenario::Whole),
            ("hang", Scenario::Hang),
            ("stream-7", stream(7, Writes::Events(1))),
            ("packed-7-16", stream(7, Writes::Events(16))),
            ("cut-7-3", stream(7, Writes::Bytes(3))),
            ("paced-9-10", Scenario::Paced { tokens: 9, gap }),
            ("history-5000", Scenario::History { bytes: 5000 }),
            ("image-5000", Scenario::Image { bytes: 5000 }),
            ("embed-64-1536", Scenario::Embed { inputs: 64, dims: 1536 }),
        ] {
            assert_eq!(Scenario::from_model(name), Ok(scenario));
        }
        for wrong in [
            "",
            "whole-1",
            "hang-1",
            "stream",
            "stream-x",
            "stream-99999999999",
            "packed-9",
            "packed-9-0",
            "cut-9-0",
            "paced-1",
            "paced-1-0",
            "paced-1-2-3",
            "history-0",
            "history-99999999",
            "image",
            "embed-1",
            "embed-0-1",
        ] {
            assert!(Scenario::from_model(wrong).is_err(), "{wrong}");
        }
    }
}
