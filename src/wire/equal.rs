//! [`are_equal`]: whether two texts are the same bytes.
//!
//! `==` is the C library's `memcmp`, and musl's, which the release is linked with, takes one byte at a time: comparing
//! the unchanged part of every event with it took a third of all instructions of a stream (`tests/count`).

/// What is compared at once: two vector registers of such a piece, and one branch. Shorter texts take half of it.
const PIECE: usize = 32;

/// Whether they are equal.
#[must_use]
#[inline]
pub fn are_equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    if a.len() >= PIECE {
        are_equal_by::<PIECE>(a, b)
    } else if a.len() >= PIECE / 2 {
        are_equal_by::<{ PIECE / 2 }>(a, b)
    } else {
        a.iter().eq(b)
    }
}

/// For two texts of the same length, which is one piece or more.
#[inline(always)]
fn are_equal_by<const N: usize>(a: &[u8], b: &[u8]) -> bool {
    let (a_pieces, b_pieces) = (a.as_chunks::<N>().0, b.as_chunks::<N>().0);
    // The last pieces overlap those before them, so that nothing is left over.
    a_pieces.iter().zip(b_pieces).all(|(a, b)| a == b) && a.last_chunk::<N>() == b.last_chunk::<N>()
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
