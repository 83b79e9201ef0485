//! [`Echo`]: what goes back to a backend that it said itself: reasoning and thought signatures, where it wants them.
//!
//! Clients do not bring the signatures back, so they are kept here, a bounded number and a bounded size of them, the
//! oldest given up first; what is lost costs the model its thread, and at most one request that is asked again. Another
//! model, or a client with another key, never gets them. The lock is taken once for an answer with signed calls and
//! once for each call in a history, never for an event of a stream.

use crate::config;
use crate::openai::Demands;
use crate::translate::{Keepsake, MadeCall};
use bytes::Bytes;
use hyper::header::HeaderValue;
use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};

/// More models than any one backend's users ask for; past it what was learnt is learnt anew.
const MAX_MODELS: usize = 1024;
/// Most keys held, two for each call, and most bytes behind them: some hundred loops, each of some calls, at a time.
const MAX_KEYS: usize = 4096;
const MAX_BYTES: usize = 4 << 20;
/// Longest that is kept of one call: signatures have up to some ten thousand letters.
const MAX_KEEPSAKE_BYTES: usize = 256 << 10;

/// See the module's description.
pub(super) struct Echo {
    /// What the backend wants whatever it says; `None`: nothing more is learnt of the reasoning.
    known: Demands,
    learns_reasoning: bool,
    /// By the backend's name of a model.
    learnt: Mutex<HashMap<String, Demands>>,
    kept: Mutex<Kept>,
    hasher: RandomState,
}

/// Whose calls they are: those of one model and one key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope(u64);

#[derive(Debug, Default)]
struct Kept {
    by_key: HashMap<u64, (u64, Bytes)>,
    /// The oldest first, each with the number under which it was put in: one that was put in again is newer.
    order: VecDeque<(u64, u64)>,
    next: u64,
    bytes: usize,
}

impl Echo {
    pub(super) fn new(backend: &config::Backend) -> Self {
        let reasoning =
            backend.echo_reasoning.unwrap_or_else(|| Demands::of_host(backend.base.host()).reasoning);
        Echo {
            known: Demands { reasoning, signatures: false },
            learns_reasoning: backend.echo_reasoning.is_none(),
            learnt: Mutex::default(),
            kept: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// What the backend wants to read for a model.
    pub(super) fn demands(&self, model: &str) -> Demands {
        let learnt = self.learnt.lock().unwrap_or_else(PoisonError::into_inner);
        learnt.get(model).copied().unwrap_or(self.known)
    }

    /// The demands that may be given in to.
    pub(super) fn allowed(&self, new: Demands) -> Demands {
        Demands { reasoning: if self.learns_reasoning { new.reasoning } else { self.known.reasoning }, ..new }
    }

    /// Remembers what the backend wanted for a model.
    pub(super) fn learn(&self, model: &str, demands: Demands) {
        if demands == self.known {
            return;
        }
        let mut learnt = self.learnt.lock().unwrap_or_else(PoisonError::into_inner);
        if learnt.len() >= MAX_MODELS && !learnt.contains_key(model) {
            learnt.clear();
        }
        learnt.insert(model.to_string(), demands);
    }

    pub(super) fn scope(&self, model: &str, key: Option<&HeaderValue>) -> Scope {
        Scope(self.hasher.hash_one((model, key.map(HeaderValue::as_bytes))))
    }

    /// Keeps what was on the calls of an answer.
    pub(super) fn keep(&self, scope: Scope, keepsakes: Vec<Keepsake>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for Keepsake { id, call, members } in keepsakes {
            if members.len() <= MAX_KEEPSAKE_BYTES {
                kept.put(self.by_call(scope, call), members.clone());
                kept.put(self.by_id(scope, &id), members);
            }
        }
    }

    /// What was kept of a call in a history.
    pub(super) fn recall(&self, scope: Scope, call: &MadeCall<'_>) -> Option<Bytes> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.by_key.is_empty() {
            return None;
        }
        let by_id = kept.get(self.by_id(scope, &call.id.decode()));
        by_id.or_else(|| kept.get(self.by_call(scope, call.call())))
    }

    fn by_id(&self, scope: Scope, id: &str) -> u64 {
        self.hasher.hash_one((scope.0, "id", id))
    }

    fn by_call(&self, scope: Scope, call: u64) -> u64 {
        self.hasher.hash_one((scope.0, "call", call))
    }
}

impl Kept {
    fn get(&self, key: u64) -> Option<Bytes> {
        self.by_key.get(&key).map(|(_, members)| members.clone())
    }

    fn put(&mut self, key: u64, members: Bytes) {
        let number = self.next;
        self.next += 1;
        self.bytes += members.len();
        self.order.push_back((key, number));
        if let Some((_, before)) = self.by_key.insert(key, (number, members)) {
            self.bytes = self.bytes.saturating_sub(before.len());
        }
        while self.order.len() > MAX_KEYS || self.bytes > MAX_BYTES {
            let Some((oldest, number)) = self.order.pop_front() else { break };
            if self.by_key.get(&oldest).is_some_and(|(newest, _)| *newest == number)
                && let Some((_, given_up)) = self.by_key.remove(&oldest)
            {
                self.bytes = self.bytes.saturating_sub(given_up.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(len: usize) -> Bytes {
        Bytes::from(vec![b' '; len])
    }

    #[test]
    fn the_oldest_is_given_up_first_and_no_more_than_so_many_are_held() {
        let mut kept = Kept::default();
        for key in 0..(MAX_KEYS as u64 + 10) {
            kept.put(key, members(1));
        }
        assert_eq!((kept.by_key.len(), kept.order.len(), kept.bytes), (MAX_KEYS, MAX_KEYS, MAX_KEYS));
        assert_eq!((kept.get(9), kept.get(10)), (None, Some(members(1))));
    }

    #[test]
    fn what_is_put_in_again_is_new_again() {
        let mut kept = Kept::default();
        kept.put(1, members(1));
        kept.put(2, members(1));
        kept.put(1, members(3));
        for key in 3..(MAX_KEYS as u64) {
            kept.put(key, members(1));
        }
        // One more than fits twice: the first entry of 1, and then 2.
        kept.put(10_001, members(1));
        kept.put(10_002, members(1));
        assert_eq!((kept.get(1), kept.get(2)), (Some(members(3)), None));
        assert_eq!(kept.bytes, kept.by_key.values().map(|(_, members)| members.len()).sum::<usize>());
    }

    #[test]
    fn the_bytes_are_bounded_too() {
        let mut kept = Kept::default();
        for key in 0..100 {
            kept.put(key, members(MAX_BYTES / 10));
            assert!(kept.bytes <= MAX_BYTES);
        }
        assert_eq!(kept.by_key.len(), 10);
        assert_eq!((kept.get(89), kept.get(90).is_some()), (None, true));
    }
}
