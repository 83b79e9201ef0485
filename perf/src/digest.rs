//! A digest of what a large request says, the same in either dialect, so that the backend can tell the caller what it
//! received: a proxy that loses, doubles, swaps or changes one byte of a history or a picture is seen.
//!
//! It covers the text of every long JSON string in the order of the body, without the head of a `data:` URL; strings
//! with the nonce and short ones (roles, types, names) are left out, since the dialects differ there.

use crate::answer::unescape;
use crate::request::NONCE_MARK;

/// Shorter strings are no content: the texts and pictures of `request` are all longer.
pub const MIN_LEN: usize = 100;

/// The digest of a body; a fault when it is no JSON as far as strings go.
pub fn of_body(body: &[u8]) -> Result<u64, String> {
    let mut digest = 0xcbf2_9ce4_8422_2325;
    let (mut at, mut text) = (0, Vec::new());
    while let Some(open) = body.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'"')) {
        let begin = at + open + 1;
        let rest = body.get(begin..).unwrap_or_default();
        let len = string_len(rest).ok_or("a string without an end")?;
        let string = rest.get(..len).unwrap_or_default();
        if len >= MIN_LEN && !string.windows(NONCE_MARK.len()).any(|part| part == NONCE_MARK.as_bytes()) {
            text.clear();
            unescape(rest, &mut text)?;
            digest = mix(digest, without_data_url(&text));
        }
        at = begin + len + 1;
    }
    Ok(digest)
}

/// Bytes up to the closing quote.
fn string_len(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += rest.get(at..)?.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        if rest.get(at) == Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

fn without_data_url(text: &[u8]) -> &[u8] {
    const MARK: &[u8] = b";base64,";
    let head = text.get(..MIN_LEN).filter(|head| head.starts_with(b"data:")).unwrap_or_default();
    let end = head.windows(MARK.len()).position(|part| part == MARK).map_or(0, |at| at + MARK.len());
    text.get(end..).unwrap_or_default()
}

/// FNV-1a over words of eight bytes, the length last: fast enough not to be what is measured.
fn mix(mut digest: u64, text: &[u8]) -> u64 {
    let mut step = |word: u64| digest = (digest ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    let (words, rest) = text.as_chunks::<8>();
    for word in words {
        step(u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    step(u64::from_le_bytes(last));
    step(text.len() as u64);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(text: &str) -> String {
        text.repeat(MIN_LEN)
    }

    #[test]
    fn any_changed_byte_changes_it_and_the_dialect_does_not() {
        let picture = long("QUJD");
        let ollama = format!("{{\"content\":\"{} \\u00f6\",\"images\":[\"{picture}\"]}}", long("ab"));
        let openai = format!(
            "{{\"stream\":false,\"text\":\"{} \u{f6}\",\"url\":\"data:image/png;base64,{picture}\"}}",
            long("ab")
        );
        let digest = of_body(ollama.as_bytes()).unwrap();
        assert_eq!(of_body(openai.as_bytes()), Ok(digest));
        for (at, _) in ollama.match_indices(['a', 'b', 'Q', 'J']) {
            let mut changed = ollama.clone().into_bytes();
            changed[at] ^= 2;
            let is_text = (12..212).contains(&at) || at > 230;
            assert_eq!(of_body(&changed) != Ok(digest), is_text, "byte {at}");
        }
    }

    #[test]
    fn order_counts_and_a_cut_body_is_a_fault() {
        let (one, two) = (long("ab"), long("cd"));
        let both = |a: &str, b: &str| of_body(format!("[\"{a}\",\"{b}\"]").as_bytes());
        assert_ne!(both(&one, &two), both(&two, &one));
        assert!(of_body(b"{\"a\":\"b").is_err());
        assert!(of_body(b"{\"a\":\"b\\\"").is_err());
    }

    #[test]
    fn the_nonce_is_left_out() {
        let with = |nonce: u32| of_body(format!("[\"{}{NONCE_MARK}{nonce:016x}\"]", long("a")).as_bytes());
        assert_eq!(with(1), with(2));
    }
}
