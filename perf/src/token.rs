//! The text of one token: when it was written, which one it is, and a word. Both sides agree here.
//!
//! `<16 hex: unix ns><8 hex: number><word>`: the time gives the delay a proxy adds, the number shows a lost, doubled or
//! swapped token, the word shows a changed byte. Each eighth word needs JSON escapes and holds a two-byte character.

use crate::clock::unix_ns;

/// Bytes of one token's text, unescaped.
pub const TEXT_LEN: usize = TIME_LEN + NUMBER_LEN + 6;
/// Hex digits of the time.
pub const TIME_LEN: usize = 16;
/// Hex digits of the number.
pub const NUMBER_LEN: usize = 8;

const WORD: &str = " token";
const ESCAPED_WORD: &str = " \"\u{f6}\"\n";
/// A token older than this comes from a stepped clock, not from a slow proxy.
const MAX_AGE_NS: u64 = 600_000_000_000;

/// The word of token `number`.
pub fn word(number: u32) -> &'static str {
    if number % 8 == 7 { ESCAPED_WORD } else { WORD }
}

/// The word of token `number` as it stands in a JSON string.
pub fn word_in_json(number: u32) -> &'static str {
    if number % 8 == 7 { " \\\"\u{f6}\\\"\\n" } else { WORD }
}

/// Writes `value` as hex digits over the whole of `out`.
pub fn write_hex(mut value: u64, out: &mut [u8]) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef".get((value & 15) as usize).copied().unwrap_or(b'0');
        value >>= 4;
    }
}

fn read_hex(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0_u64, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

/// Checks the text of token `number` and gives its delay in nanoseconds at `now_ns`.
pub fn check(text: &[u8], number: u32, now_ns: u64) -> Result<u64, String> {
    let fault = |what: &str| Err(format!("token {number}: {what}: {:?}", String::from_utf8_lossy(text)));
    let Some((time, rest)) = text.split_at_checked(TIME_LEN) else { return fault("text too short") };
    let Some((seen, seen_word)) = rest.split_at_checked(NUMBER_LEN) else { return fault("text too short") };
    if read_hex(seen) != Some(u64::from(number)) {
        return fault("another number");
    }
    if seen_word != word(number).as_bytes() {
        return fault("another word");
    }
    let Some(written_ns) = read_hex(time) else { return fault("time is not hex") };
    match now_ns.checked_sub(written_ns) {
        Some(age) if age <= MAX_AGE_NS => Ok(age),
        _ => fault("written in the future or long ago, the wall clock was set during the run"),
    }
}

/// Stamps time and number over the first bytes of a token's text.
pub fn stamp(text: &mut [u8], number: u32) {
    if let Some((time, rest)) = text.split_at_mut_checked(TIME_LEN) {
        write_hex(unix_ns(), time);
        if let Some(seen) = rest.get_mut(..NUMBER_LEN) {
            write_hex(u64::from(number), seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: u32) -> Vec<u8> {
        let mut text = vec![b'0'; TIME_LEN + NUMBER_LEN];
        stamp(&mut text, number);
        text.extend_from_slice(word(number).as_bytes());
        text
    }

    #[test]
    fn a_stamped_token_passes_and_any_changed_byte_fails() {
        for number in [0, 7, 4_000_000_000] {
            let good = text(number);
            assert_eq!(good.len(), TEXT_LEN);
            assert!(check(&good, number, unix_ns()).is_ok());
            assert!(check(&good, number + 1, unix_ns()).is_err());
            for at in TIME_LEN..TEXT_LEN {
                let mut bad = good.clone();
                bad[at] ^= 1;
                assert!(check(&bad, number, unix_ns()).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn a_token_from_the_future_is_refused() {
        assert!(check(&text(3), 3, unix_ns() - 1_000_000_000).is_err());
    }
}
