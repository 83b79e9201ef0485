//! Embeddings for the demonstration: unit vectors made from hashes, so that they need no model.
//!
//! A text's vector is the sum of one vector for each of its words and one for the whole, so texts that share words are
//! near one another and equal texts are equal. That is enough to try a search with; it knows nothing of meaning.

/// The numbers of one vector: the size of a common small embedding model.
pub(super) const DIMENSIONS: usize = 384;

/// Words beyond this one count only through the whole: it bounds the work for a long text.
const MAX_WORDS: usize = 512;

/// What the whole text weighs against one of its words: enough to tell texts of equal words in another order apart.
const WHOLE: f32 = 0.25;

/// The unit vector of a text, cut to `dimensions`.
pub(super) fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut sum = vec![0.0; dimensions.min(DIMENSIONS)];
    add(&mut sum, hash(text), WHOLE);
    for word in text.split_whitespace().take(MAX_WORDS) {
        let bare = word.trim_matches(|c: char| c.is_ascii_punctuation()).to_lowercase();
        add(&mut sum, hash(&bare), 1.0);
    }
    let length = sum.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    sum.iter_mut().for_each(|x| *x /= length);
    sum
}

/// The vector as OpenAI's `base64` encoding has it: little-endian 32-bit floats.
pub(super) fn base64(vector: &[f32]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
        for place in 0..4 {
            let six = (bits >> (18 - 6 * place)) as usize & 63;
            let digit = ALPHABET.get(six).copied().map_or('=', char::from);
            text.push(if place <= group.len() { digit } else { '=' });
        }
    }
    text
}

/// Adds the direction that `seed` stands for: numbers between -1 and 1 from the splitmix64 sequence.
fn add(sum: &mut [f32], seed: u64, weight: f32) {
    let mut state = seed;
    for number in sum {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = (bits >> 40) as f32 / (1_u64 << 24) as f32;
        *number += weight * (2.0 * unit - 1.0);
    }
}

/// FNV-1a: the same on every machine and in every version, unlike the standard library's hashers.
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nearness(a: &str, b: &str) -> f32 {
        let (a, b) = (vector(a, DIMENSIONS), vector(b, DIMENSIONS));
        a.iter().zip(&b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn every_text_has_unit_length_whatever_the_dimensions() {
        let long = "word ".repeat(10_000);
        for text in ["", " ", "...", "why is the sky blue?", "なぜ空は青いの", &long] {
            for dimensions in [1, 2, 100, DIMENSIONS] {
                let vector = vector(text, dimensions);
                let length: f32 = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
                assert_eq!(vector.len(), dimensions);
                assert!((length - 1.0).abs() < 1e-4, "{text:?} has length {length}");
            }
        }
    }

    #[test]
    fn shared_words_bring_texts_together() {
        let near = nearness("the sky is blue", "Blue is the sky, today");
        let far = nearness("the sky is blue", "stock prices fell sharply");
        assert!(near > 0.5, "near: {near}");
        assert!(far.abs() < 0.3, "far: {far}");
        assert!(nearness("dog bites man", "man bites dog") < 0.999);
    }

    #[test]
    fn base64_pads_as_rfc_4648_does() {
        assert_eq!(base64(&[]), "");
        assert_eq!(base64(&[1.0]), "AACAPw==");
        assert_eq!(base64(&[1.0, -2.0]), "AACAPwAAAMA=");
        assert_eq!(base64(&[1.0, -2.0, 0.5]), "AACAPwAAAMAAAAA/");
    }
}
