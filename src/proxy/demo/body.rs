//! The pace of the demonstration: a response body that hands out one event at a time, at the speed of a real model.
//!
//! One `Sleep` and no task or channel: a client that hangs up drops the body, and with it everything still to be said.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long the demonstration takes over its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// From the request to the first word.
    pub first: Duration,
    /// From one word to the next, on average.
    pub word: Duration,
    /// The most by which one word may come early or late.
    pub jitter: Duration,
}

/// A hosted model of middling size: it thinks 150 ms, then says some 40 words a second, a little unevenly. Slow enough
/// to be seen streaming, quick enough that the whole tour stays near three seconds.
const PACE: Pace = Pace {
    first: Duration::from_millis(150),
    word: Duration::from_millis(25),
    jitter: Duration::from_millis(5),
};

/// Quarters of the jitter, counted from the earliest word; their mean is 4, so the average stays `word`. A fixed round
/// and not chance, so that two runs look the same.
const SWAY: [u32; 5] = [4, 7, 1, 8, 0];

impl Pace {
    /// As a hosted model would: what a person should see.
    #[must_use]
    pub(crate) const fn realistic() -> Self {
        PACE
    }

    /// All at once: for tests, and for measuring what is not the model.
    #[must_use]
    #[cfg(test)]
    pub(crate) const fn none() -> Self {
        Self { first: Duration::ZERO, word: Duration::ZERO, jitter: Duration::ZERO }
    }

    /// The wait before word `index`, the first word being 0.
    fn before(&self, index: usize) -> Duration {
        if index == 0 {
            return self.first;
        }
        let quarters = SWAY.get(index % SWAY.len()).copied().unwrap_or(4);
        self.word.saturating_sub(self.jitter) + self.jitter * quarters / 4
    }

    /// The time that `words` take from the request to the last of them.
    pub(super) fn of(&self, words: usize) -> Duration {
        let more = u32::try_from(words.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first + self.word.saturating_mul(more)
    }
}

/// One event of a stream, and whether it carries a word and so takes time.
pub(super) struct Step {
    pub(super) is_word: bool,
    pub(super) event: Bytes,
}

/// The events are made as they are sent: what waits in memory is the words, not the JSON around them.
pub(super) type Steps = Box<dyn Iterator<Item = Step> + Send + Sync>;

/// The body of a demonstration answer: a whole document, or events at the model's pace.
pub(crate) struct DemoBody(Kind);

enum Kind {
    Whole(Full<Bytes>),
    Paced(Paced),
}

/// Invariant: `is_waiting` means that `next` is a word whose time, `sleep`'s deadline, has not been seen to pass.
struct Paced {
    steps: Steps,
    next: Option<Step>,
    words: usize,
    pace: Pace,
    sleep: Pin<Box<Sleep>>,
    is_waiting: bool,
}

impl DemoBody {
    pub(super) fn whole(document: impl Into<Bytes>) -> Self {
        Self(Kind::Whole(Full::new(document.into())))
    }

    pub(super) fn paced(pace: Pace, steps: Steps) -> Self {
        let sleep = Box::pin(sleep_until(Instant::now()));
        let mut paced = Paced { steps, next: None, words: 0, pace, sleep, is_waiting: false };
        paced.advance();
        Self(Kind::Paced(paced))
    }
}

impl Paced {
    /// Takes the next step in hand. Deadlines follow one another and not the clock: a reader that paused does not slow
    /// the model down, it finds the words waiting, as with a real backend's socket.
    fn advance(&mut self) {
        self.next = self.steps.next();
        if !self.next.as_ref().is_some_and(|step| step.is_word) {
            return;
        }
        let wait = self.pace.before(self.words);
        self.words += 1;
        if !wait.is_zero() {
            let deadline = self.sleep.deadline() + wait;
            self.sleep.as_mut().reset(deadline);
            self.is_waiting = true;
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.is_waiting {
            ready!(self.sleep.as_mut().poll(cx));
            self.is_waiting = false;
        }
        let Some(step) = self.next.take() else {
            return Poll::Ready(None);
        };
        self.advance();
        Poll::Ready(Some(step.event))
    }
}

impl Body for DemoBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.get_mut().0 {
            Kind::Whole(full) => Pin::new(full).poll_frame(cx),
            Kind::Paced(paced) => paced.poll_event(cx).map(|event| event.map(|data| Ok(Frame::data(data)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(full) => full.is_end_stream(),
            Kind::Paced(paced) => paced.next.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(full) => full.size_hint(),
            Kind::Paced(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn steps(count: usize) -> Steps {
        Box::new((0..count).map(|n| Step { is_word: n > 0, event: Bytes::from(n.to_string()) }))
    }

    #[test]
    fn jitter_leaves_the_average_alone() {
        let pace = Pace::realistic();
        let total: Duration = (1..=50).map(|index| pace.before(index)).sum();
        assert_eq!(total, pace.word * 50);
        let widest = (1..=5).map(|index| pace.before(index)).max();
        assert_eq!(widest, Some(pace.word + pace.jitter));
        assert_eq!(pace.of(51), pace.first + total);
    }

    #[tokio::test]
    async fn words_wait_and_other_events_do_not() {
        let pace = Pace {
            first: Duration::from_millis(20),
            word: Duration::from_millis(10),
            jitter: Duration::ZERO,
        };
        let begun = Instant::now();
        let mut body = DemoBody::paced(pace, steps(3));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "0");
        let rest = body.collect().await.unwrap().to_bytes();
        assert_eq!(rest, "12");
        assert!(begun.elapsed() >= Duration::from_millis(30), "took {:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn no_pace_never_waits() {
        let mut body = DemoBody::paced(Pace::none(), steps(40));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for n in 0..40 {
            let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut cx) else {
                panic!("event {n} made its reader wait");
            };
            assert_eq!(frame.into_data().unwrap(), n.to_string());
        }
        assert!(body.is_end_stream());
    }
}
