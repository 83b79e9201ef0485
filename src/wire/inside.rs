//! The inside of long JSON strings: what needs a look there (quotes, backslashes, control bytes) is found a block of
//! bytes at a time.
//!
//! Each byte of a block is tested without a branch, which the compiler turns into vector instructions: requests have
//! megabytes of text.

use super::json_error::{JsonError, JsonErrorKind};
use super::scan::{HIGH, byte_at, plain_end, truncated, unexpected};

/// What [`stops`] looks at: a bit of its answer for each byte.
const BLOCK: usize = u32::BITS as usize;

/// What [`plain_blocks`] looks at.
const PLAIN_BLOCK: usize = 64;

#[inline(always)]
fn is_stop(byte: u8) -> bool {
    (byte < b' ') | (byte == b'"') | (byte == b'\\')
}

/// The bytes that need a look: the lowest bit stands for the first byte.
#[inline(always)]
fn stops(block: &[u8; BLOCK]) -> u32 {
    let flags = block.map(|byte| u8::from(is_stop(byte)));
    let words = flags.as_chunks::<8>().0.iter();
    words.rev().fold(0, |stops, word| (stops << 8) | u32::from(bits(*word)))
}

/// The lowest bits of eight bytes in one. Each product's terms stand at different bits, so that none carries, and
/// those of the highest byte are the wanted ones.
#[inline(always)]
fn bits(flags: [u8; 8]) -> u8 {
    (u64::from_le_bytes(flags).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
}

/// How many bytes stand in whole blocks that need no look, and whether all of those are ASCII.
pub(super) fn plain_blocks(text: &[u8]) -> (usize, bool) {
    let blocks = text.as_chunks::<PLAIN_BLOCK>().0;
    let is_plain = |block: &&[u8; PLAIN_BLOCK]| !block.iter().fold(false, |any, byte| any | is_stop(*byte));
    let len = blocks.iter().take_while(is_plain).count() * PLAIN_BLOCK;
    (len, text.get(..len).is_some_and(<[u8]>::is_ascii))
}

/// How many bytes from one character or escape to another are text with the commonest escapes only (line ends, tabs and
/// quotes, which code is full of): a block, or one more where an escape goes over its end. 0 where they need a closer
/// look. Each byte is judged with the one behind it, so a quote beyond the block may ask for one, too.
#[inline(always)]
fn common_len(window: &[u8; BLOCK + 1]) -> usize {
    let [first, behind @ ..] = window;
    let mut is_common = *first != b'"';
    for (byte, next) in window.iter().zip(behind) {
        let is_escape = *byte == b'\\';
        let is_quote = *next == b'"';
        let is_letter = is_quote | (*next == b'n') | (*next == b'r') | (*next == b't');
        is_common &= (*byte >= b' ') & (is_escape | !is_quote) & (!is_escape | is_letter);
    }
    let ends_in_escape = matches!(window, [.., b'\\', _]);
    if is_common { BLOCK + usize::from(ends_in_escape) } else { 0 }
}

/// The closing quote of a string that goes on at `at` with something that is not plain.
#[inline(never)]
pub(super) fn string_end(text: &[u8], mut at: usize, seen: u64) -> Result<(usize, u64), JsonError> {
    let from = at;
    while let Some(window) = text.get(at..).and_then(|rest| rest.first_chunk::<{ BLOCK + 1 }>()) {
        // Most strings end in their first block.
        let common = if at > from { common_len(window) } else { 0 };
        if common > 0 {
            at += common;
            continue;
        }
        let [block @ .., _] = window;
        let (mut stops, mut end) = (u64::from(stops(block)), 0);
        while stops != 0 {
            let nth = stops.trailing_zeros();
            let stop = at + nth as usize;
            match byte_at(block, nth as usize) {
                b'\\' => {
                    end = nth + escape_len(text, stop)?;
                    stops &= u64::MAX.wrapping_shl(end);
                }
                b'"' => return Ok((stop, seen | high(text.get(from..stop)))),
                _ => return Err(unexpected(text, stop)),
            }
        }
        // An escape may go over the end of the block.
        at += BLOCK.max(end as usize);
    }
    last_end(text, at, seen | high(text.get(from..at)))
}

/// [`string_end`] where less than a block is left.
#[inline(never)]
fn last_end(text: &[u8], mut at: usize, mut seen: u64) -> Result<(usize, u64), JsonError> {
    loop {
        let (end, more) = plain_end(text, at);
        (at, seen) = (end, seen | more);
        match byte_at(text, at) {
            b'"' => return Ok((at, seen)),
            b'\\' => at = escape_end(text, at)?,
            _ => return Err(unexpected(text, at)),
        }
    }
}

/// A high bit where a byte is no ASCII.
fn high(text: Option<&[u8]>) -> u64 {
    if text.is_some_and(<[u8]>::is_ascii) { 0 } else { HIGH }
}

/// Behind the escape whose backslash stands at `at`.
#[inline(always)]
pub(super) fn escape_end(text: &[u8], at: usize) -> Result<usize, JsonError> {
    escape_len(text, at).map(|len| at + len as usize)
}

/// Of the escape whose backslash stands at `at`.
#[inline(always)]
fn escape_len(text: &[u8], at: usize) -> Result<u32, JsonError> {
    if class(byte_at(text, at + 1)) & SHORT != 0 {
        Ok(2)
    } else if is_unicode_escape(text.get(at..).unwrap_or_default()) {
        Ok(6)
    } else {
        Err(no_escape(text, at))
    }
}

#[cold]
fn is_unicode_escape(text: &[u8]) -> bool {
    match text.first_chunk::<6>() {
        Some([_, b'u', digits @ ..]) => digits.iter().fold(HEX, |all, digit| all & class(*digit)) != 0,
        _ => false,
    }
}

#[cold]
fn no_escape(text: &[u8], at: usize) -> JsonError {
    match text.get(at + 1) {
        None => truncated(text),
        Some(b'u') if text.len() - at < 6 => truncated(text),
        Some(_) => JsonError { kind: JsonErrorKind::BadEscape, offset: at },
    }
}

/// Behind a backslash it makes an escape of two bytes.
const SHORT: u8 = 1;

/// A hexadecimal digit.
const HEX: u8 = 2;

#[inline(always)]
fn class(byte: u8) -> u8 {
    const CLASSES: [u8; 256] = {
        let (mut classes, mut byte) = ([0; 256], 0u8);
        let mut left = classes.as_mut_slice();
        while let [class, rest @ ..] = left {
            let is_short = matches!(byte, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't');
            *class = if is_short { SHORT } else { 0 } | if byte.is_ascii_hexdigit() { HEX } else { 0 };
            (left, byte) = (rest, byte.wrapping_add(1));
        }
        classes
    };
    CLASSES.get(usize::from(byte)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn needs_look(byte: u8) -> bool {
        byte < 0x20 || byte == b'"' || byte == b'\\'
    }

    #[test]
    fn common_text_is_told_by_every_two_bytes_at_every_place() {
        for at in 0..BLOCK - 1 {
            for (byte, next) in (0..=u8::MAX).flat_map(|byte| (0..=u8::MAX).map(move |next| (byte, next))) {
                let mut window = [b'a'; BLOCK + 1];
                (window[at], window[at + 1]) = (byte, next);
                let is_common = match (byte, next) {
                    (b'\\', next) => b"nrt\"".contains(&next),
                    (b'"', _) | (_, b'"' | b'\\') => false,
                    (byte, next) => byte >= b' ' && next >= b' ',
                };
                assert_eq!(common_len(&window), if is_common { BLOCK } else { 0 }, "{at}: {byte} {next}");
            }
        }
        let over_the_end = |letter| {
            let mut window = [b'a'; BLOCK + 1];
            (window[BLOCK - 1], window[BLOCK]) = (b'\\', letter);
            common_len(&window)
        };
        assert_eq!([b'n', b'"', b'u', b'\\'].map(over_the_end), [BLOCK + 1, BLOCK + 1, 0, 0]);
    }

    #[test]
    fn exactly_quotes_backslashes_and_control_bytes_are_found_at_every_place() {
        for byte in 0..=u8::MAX {
            for at in 0..BLOCK {
                let mut block = [b'a'; BLOCK];
                block[at] = byte;
                assert_eq!(stops(&block), u32::from(needs_look(byte)) << at, "{byte} {at}");
            }
            for at in 0..PLAIN_BLOCK {
                let mut text = [b'a'; 3 * PLAIN_BLOCK - 1];
                text[PLAIN_BLOCK + at] = byte;
                let len = if needs_look(byte) { PLAIN_BLOCK } else { 2 * PLAIN_BLOCK };
                assert_eq!(plain_blocks(&text), (len, needs_look(byte) || byte.is_ascii()), "{byte} {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_block_is_as_its_bytes(block in any::<[u8; BLOCK]>()) {
            let naive = (0..).zip(block).fold(0, |stops, (at, byte)| stops | (u32::from(needs_look(byte)) << at));
            prop_assert_eq!(stops(&block), naive);
        }
    }
}
