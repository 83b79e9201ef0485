//! [`Signal`]: how a test and a script wait for each other, where code that knows less would sleep.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Longest wait for anything in these tests: far more than a loaded machine needs, and an end for what hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Something that one thread waits for and another does, as often as it is done.
#[derive(Default)]
pub(crate) struct Signal {
    raised: Mutex<usize>,
    changed: Condvar,
}

impl Signal {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn raise(&self) {
        *self.raised.lock().unwrap() += 1;
        self.changed.notify_all();
    }

    /// Waits for one more.
    pub(crate) fn wait(&self) {
        let raised = self.raised.lock().unwrap();
        let (mut raised, waited) =
            self.changed.wait_timeout_while(raised, PATIENCE, |raised| *raised == 0).unwrap();
        assert!(!waited.timed_out(), "waited in vain for a signal");
        *raised -= 1;
    }
}
