//! Vectors of an embedding: what the backend writes and the load generator expects, number by number.
//!
//! A proxy may write a number in another way, so numbers are compared as 32-bit floats, which is what the vectors are.

use crate::token::write_hex;
use std::fmt::Write as _;

/// The vector for input `input`: of length one, as those of real models are, with as many digits as theirs.
fn vector(input: u32, dims: u32) -> Vec<f32> {
    let raw: Vec<f64> = (0..dims).map(|at| raw(input, at)).collect();
    let length = raw.iter().map(|value| value * value).sum::<f64>().sqrt();
    raw.into_iter().map(|value| (value / length) as f32).collect()
}

/// A number in (-1, 1) that looks like chance and is always the same.
fn raw(input: u32, at: u32) -> f64 {
    let mut bits = (u64::from(input) << 32 | u64::from(at + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits ^= bits >> 29;
    bits = bits.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (bits >> 40) as f64 / f64::from(1_u32 << 23) - 1.0
}

/// The answer of an OpenAI server.
pub fn answer(model: &str, inputs: u32, dims: u32) -> String {
    let mut out = String::from("{\"object\":\"list\",\"data\":[");
    for input in 0..inputs {
        let comma = if input == 0 { "" } else { "," };
        let _infallible = write!(out, "{comma}{{\"object\":\"embedding\",\"index\":{input},\"embedding\":[");
        for (at, value) in vector(input, dims).into_iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let _infallible = write!(out, "{comma}{value}");
        }
        out.push_str("]}");
    }
    let tokens = inputs * 8;
    let _infallible = write!(
        out,
        "],\"model\":\"{model}\",\"usage\":{{\"prompt_tokens\":{tokens},\"total_tokens\":{tokens}}}}}"
    );
    out
}

/// The texts that are asked about: the same bytes in either dialect.
pub fn inputs(count: u32) -> String {
    let text = |n: u32| {
        let mut digits = [0; 8];
        write_hex(u64::from(n), &mut digits);
        format!("\"text {}: the quick brown fox jumps over the lazy dog\"", String::from_utf8_lossy(&digits))
    };
    (0..count).map(text).collect::<Vec<_>>().join(",")
}

/// True when a request asks about exactly those texts.
pub fn asks_for(body: &str, count: u32) -> bool {
    let spaceless = body.replace("\", \"", "\",\"");
    spaceless.contains(&format!("[{}]", inputs(count)))
}

/// Checks a body in either dialect: lists of numbers, `dims` in each, `inputs` of them, each number the right one.
pub fn check(body: &[u8], inputs: u32, dims: u32) -> Result<(), String> {
    let text = std::str::from_utf8(body).map_err(|_| "vectors: not UTF-8".to_owned())?;
    if !text.trim_end().ends_with('}') {
        return Err("vectors: cut".to_owned());
    }
    let mut seen = 0;
    for list in text.split('[').skip(1) {
        let Some((numbers, _)) = list.split_once(']').filter(|(numbers, _)| !numbers.contains(['{', '"']))
        else {
            continue;
        };
        if numbers.trim().is_empty() {
            continue;
        }
        let expected = vector(seen, dims);
        let numbers: Vec<_> = numbers.split(',').map(str::trim).collect();
        if numbers.len() != expected.len() {
            return Err(format!("vector {seen}: {} numbers, expected {dims}", numbers.len()));
        }
        for (at, (number, value)) in numbers.into_iter().zip(expected).enumerate() {
            if number.parse() != Ok(value) {
                return Err(format!("vector {seen}, number {at}: {number:?}, expected {value}"));
            }
        }
        seen += 1;
    }
    if seen == inputs { Ok(()) } else { Err(format!("{seen} vectors, expected {inputs}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ollama() -> String {
        let list =
            |n| format!("[{}]", vector(n, 5).iter().map(f32::to_string).collect::<Vec<_>>().join(", "));
        format!(
            "{{\"model\":\"m\",\"embeddings\":[{}],\"prompt_eval_count\":24}}",
            [list(0), list(1), list(2)].join(",")
        )
    }

    #[test]
    fn both_dialects_pass_and_any_changed_number_does_not() {
        assert_eq!(check(answer("m", 3, 5).as_bytes(), 3, 5), Ok(()));
        let good = ollama();
        assert_eq!(check(good.as_bytes(), 3, 5), Ok(()));
        for (at, _) in good.match_indices("0.") {
            let mut bad = good.clone().into_bytes();
            bad[at + 3] = if bad[at + 3] == b'7' { b'8' } else { b'7' };
            assert!(check(&bad, 3, 5).is_err(), "byte {at}");
        }
        for (inputs, dims) in [(2, 5), (4, 5), (3, 4), (3, 6)] {
            assert!(check(good.as_bytes(), inputs, dims).is_err());
        }
        assert!(check(&good.as_bytes()[..good.len() - 1], 3, 5).is_err());
    }

    #[test]
    fn the_texts_must_be_the_texts() {
        let body = format!("{{\"model\":\"m\",\"input\":[{}]}}", inputs(3));
        assert!(asks_for(&body, 3));
        assert!(asks_for(&body.replace("\",\"", "\", \""), 3));
        assert!(!asks_for(&body, 2));
        assert!(!asks_for(&body.replace("lazy", "crazy"), 3));
    }
}
