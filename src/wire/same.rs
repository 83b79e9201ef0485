//! [`same`]: whether two texts are equal, when they mostly are.

/// How many bytes are compared at once: two registers.
const STEP: usize = 32;

/// Whether the texts are equal. The comparison of the standard library is the C library's `memcmp`, and musl's goes
/// byte by byte.
#[must_use]
#[inline]
pub fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    // The last step lies over the end of the one before it, so that no byte is left.
    match (a.last_chunk::<STEP>(), b.last_chunk::<STEP>()) {
        (Some(a_end), Some(b_end)) => {
            let steps = a.as_chunks::<STEP>().0.iter().zip(b.as_chunks::<STEP>().0);
            a_end == b_end && steps.into_iter().all(|(a, b)| a == b)
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_every_length_counts() {
        for len in 0..=3 * STEP + 1 {
            let a: Vec<u8> = (0..len).map(|at| at as u8).collect();
            assert!(same(&a, &a.clone()), "{len}");
            assert!(!same(&a, &[&a[..], b"x"].concat()), "{len} and one more");
            for at in 0..len {
                let mut b = a.clone();
                b[at] ^= 0x80;
                assert!(!same(&a, &b), "{len}, {at}");
            }
        }
    }
}
