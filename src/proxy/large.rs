//! Large buffers, kept for a moment after their use. The allocator gives such memory back to the system at once, and the
//! system makes each of its pages anew for the next request: for a history of 5 MB that was more than all other work.
//!
//! They belong to the thread, which gives them back when a while has passed without anybody asking ([`tidy`]).

use bytes::{Bytes, BytesMut};
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Poll, Waker};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// What is smaller the allocator keeps itself.
const LARGE_BYTES: usize = 128 << 10;
/// Most that a thread keeps: a question of 8 MB as it came and as it goes out, twice.
const MAX_KEPT_BYTES: usize = 32 << 20;
/// How long nobody asks before they are given back.
const KEPT_FOR: Duration = Duration::from_secs(2);

thread_local! {
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept::new()) };
}

/// An empty buffer with so much room, or more.
pub(super) fn with_room(bytes: usize) -> BytesMut {
    take(bytes).unwrap_or_else(|| BytesMut::with_capacity(bytes))
}

/// A kept buffer with so much room: the smallest that has it.
pub(super) fn take(bytes: usize) -> Option<BytesMut> {
    if bytes < LARGE_BYTES { None } else { KEPT.with_borrow_mut(|kept| kept.take(bytes)) }
}

/// For whoever needs one next. What is in it is done with; where somebody else still has a part of it, it is not kept.
pub(super) fn give(buffer: Bytes) {
    if buffer.len() >= LARGE_BYTES
        && let Ok(buffer) = buffer.try_into_mut()
    {
        KEPT.with_borrow_mut(|kept| kept.give(buffer, Instant::now()));
    }
}

/// Gives back what nobody asks for, for ever. Once on each thread that serves.
pub(super) async fn tidy() -> Infallible {
    let mut timer = pin!(sleep_until(Instant::now()));
    poll_fn(|cx| {
        KEPT.with_borrow_mut(|kept| {
            kept.tidier = Some(cx.waker().clone());
            while let Some(until) = kept.release(Instant::now()) {
                timer.as_mut().reset(until);
                if timer.as_mut().poll(cx).is_pending() {
                    break;
                }
            }
        });
        Poll::Pending
    })
    .await
}

struct Kept {
    /// All are empty.
    buffers: Vec<BytesMut>,
    /// Their room.
    bytes: usize,
    /// When they are given back, if there are any.
    until: Option<Instant>,
    /// Who gives them back, and looks again by itself as long as there are any.
    tidier: Option<Waker>,
}

impl Kept {
    const fn new() -> Self {
        Kept { buffers: Vec::new(), bytes: 0, until: None, tidier: None }
    }

    fn take(&mut self, bytes: usize) -> Option<BytesMut> {
        let rooms = self.buffers.iter().enumerate().map(|(index, buffer)| (buffer.capacity(), index));
        let (room, index) = rooms.filter(|(room, _)| *room >= bytes).min()?;
        self.bytes -= room;
        Some(self.buffers.swap_remove(index))
    }

    fn give(&mut self, mut buffer: BytesMut, now: Instant) {
        buffer.clear();
        if self.bytes + buffer.capacity() > MAX_KEPT_BYTES {
            return;
        }
        self.bytes += buffer.capacity();
        self.buffers.push(buffer);
        if self.until.replace(now + KEPT_FOR).is_none()
            && let Some(tidier) = &self.tidier
        {
            tidier.wake_by_ref();
        }
    }

    /// Gives all back, if their time is over. If not, says when it is.
    fn release(&mut self, now: Instant) -> Option<Instant> {
        if self.until.is_some_and(|until| until <= now) {
            (self.buffers, self.bytes, self.until) = (Vec::new(), 0, None);
        }
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(room: usize) -> Bytes {
        let mut buffer = BytesMut::with_capacity(room);
        buffer.resize(room, b'x');
        buffer.freeze()
    }

    fn give_one(room: usize) -> *const u8 {
        let buffer = filled(room);
        let address = buffer.as_ptr();
        give(buffer);
        address
    }

    #[test]
    fn the_smallest_that_fits_is_taken_and_is_empty() {
        let large = give_one(4 << 20);
        let small = give_one(1 << 20);
        assert_eq!(take(5 << 20), None);
        let taken = with_room(300 << 10);
        assert_eq!((taken.as_ptr(), taken.len()), (small, 0));
        assert!(taken.capacity() >= 1 << 20);
        assert_eq!(with_room(1 << 20).as_ptr(), large);
        assert_eq!(take(LARGE_BYTES), None);
    }

    #[test]
    fn what_is_small_or_in_use_or_too_much_is_not_kept() {
        give_one(LARGE_BYTES - 1);
        let shared = filled(LARGE_BYTES);
        give(shared.clone());
        assert_eq!(take(LARGE_BYTES), None);
        give(shared);
        assert!(take(LARGE_BYTES).is_some());
        for _ in 0..=MAX_KEPT_BYTES / (8 << 20) {
            give_one(8 << 20);
        }
        let kept = std::iter::from_fn(|| take(LARGE_BYTES)).count();
        assert_eq!(kept, MAX_KEPT_BYTES / (8 << 20));
    }

    #[test]
    fn they_are_given_back_when_nobody_asked_for_a_while() {
        let mut kept = Kept::new();
        let start = Instant::now();
        assert_eq!(kept.release(start), None);
        for give_at in [start, start + KEPT_FOR / 2] {
            kept.give(BytesMut::with_capacity(1 << 20), give_at);
        }
        // Each use is time more.
        let end = start + KEPT_FOR / 2 + KEPT_FOR;
        assert_eq!(kept.release(start + KEPT_FOR), Some(end));
        assert_eq!((kept.buffers.len(), kept.bytes), (2, 2 << 20));
        assert_eq!(kept.release(end), None);
        assert_eq!((kept.buffers.capacity(), kept.bytes), (0, 0));
        assert_eq!(kept.take(1 << 20), None);
    }
}
