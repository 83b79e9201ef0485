//! The thread's spare buffer: lines are made in it and written at once, so that no stream has to keep room for its next
//! ones. Who cannot write keeps it until it can, and another is made.

use bytes::BytesMut;
use std::cell::Cell;

/// Room for the lines that one read from a backend makes, nearly always.
const FIRST_BYTES: usize = 16 << 10;
/// What is larger is not kept.
const MAX_KEPT_BYTES: usize = 64 << 10;

thread_local! {
    static SPARE: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

/// An empty buffer with room.
pub(super) fn take() -> BytesMut {
    SPARE.take().unwrap_or_else(|| BytesMut::with_capacity(FIRST_BYTES))
}

/// For whoever needs one next. What is in it is done with.
pub(super) fn give(mut buffer: BytesMut) {
    buffer.clear();
    if (1..=MAX_KEPT_BYTES).contains(&buffer.capacity()) {
        SPARE.set(Some(buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_kept_and_it_is_empty() {
        let mut first = take();
        first.extend_from_slice(b"lines");
        let (address, second) = (first.as_ptr(), take());
        assert!(first.capacity() >= FIRST_BYTES && second.as_ptr() != address);
        give(first);
        let again = take();
        assert_eq!((again.as_ptr(), again.len()), (address, 0));
        give(second);
        give(BytesMut::with_capacity(MAX_KEPT_BYTES + 1));
        give(BytesMut::new());
        assert!((FIRST_BYTES..=MAX_KEPT_BYTES).contains(&take().capacity()));
    }
}
