//! [`are_equal`]: whether two texts are the same bytes.
//!
//! `==` is the C library's `memcmp`, and musl's, which the release is linked with, takes one byte at a time: comparing
//! the unchanged part of every event with it took a third of all instructions of a stream (`tests/count`).

/// What is compared at once: two such pieces are one comparison of vector registers.
const PIECE: usize = 16;

/// Whether they are equal.
#[must_use]
#[inline]
pub fn are_equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match (a.last_chunk::<PIECE>(), b.last_chunk::<PIECE>()) {
        // The last pieces overlap those before them, so that nothing is left over.
        (Some(a_end), Some(b_end)) => {
            let (a, b) = (a.as_chunks::<PIECE>().0, b.as_chunks::<PIECE>().0);
            a.iter().zip(b).all(|(a, b)| a == b) && a_end == b_end
        }
        _ => a.iter().eq(b),
    }
}

#[cfg(test)]
mod tests {
    use super::are_equal;

    #[test]
    fn texts_are_equal_when_no_byte_differs() {
        for len in 0..70 {
            let text: Vec<u8> = (0..len).collect();
            assert!(are_equal(&text, &text.clone()), "{len}");
            for at in 0..text.len() {
                let mut other = text.clone();
                other[at] ^= 0x80;
                assert!(!are_equal(&text, &other), "{len} {at}");
                assert!(!are_equal(&text, &text[..at]), "{len} {at}");
            }
        }
    }
}
