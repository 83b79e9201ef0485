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
    // All of it before the one branch: that they differ is rare, and known early enough at the end.
    let mut differs = [0; N];
    for (a, b) in a.as_chunks().0.iter().zip(b.as_chunks().0) {
        differs = or_difference(differs, a, b);
    }
    // The last pieces overlap those before them, so that nothing is left over.
    if let (Some(a), Some(b)) = (a.last_chunk(), b.last_chunk()) {
        differs = or_difference(differs, a, b);
    }
    differs == [0; N]
}

#[inline(always)]
fn or_difference<const N: usize>(mut differs: [u8; N], a: &[u8; N], b: &[u8; N]) -> [u8; N] {
    for (differs, (a, b)) in differs.iter_mut().zip(a.iter().zip(b)) {
        *differs |= a ^ b;
    }
    differs
}

#[cfg(test)]
mod tests {
    use super::are_equal;

    #[test]
    fn texts_are_equal_when_no_byte_differs() {
        for len in 0..140 {
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
