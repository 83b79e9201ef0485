//! What travels in `images`: pictures, and sound. The kind is told by the first bytes; the rest is moved, not decoded.

use crate::ollama::RequestError;
use crate::openai::{ContentPart, MediaSource};
use crate::wire::RawStr;
use std::borrow::Cow;

/// One entry of `images` as a part of a message.
pub(super) fn part<'a>(field: &str, image: RawStr<'a>) -> Result<ContentPart<'a>, RequestError> {
    let base64 = plain_base64(field, image)?;
    let head = decode_head(&base64);
    if base64.is_empty() {
        return Err(RequestError::new(format!("{field}: expected base64, found an empty string")));
    }
    let source = |media_type| MediaSource { media_type, base64 };
    Ok(match head.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => ContentPart::Image(source("image/png")),
        [0xFF, 0xD8, 0xFF, ..] => ContentPart::Image(source("image/jpeg")),
        [b'G', b'I', b'F', b'8', ..] => ContentPart::Image(source("image/gif")),
        [b'B', b'M', ..] => ContentPart::Image(source("image/bmp")),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => {
            ContentPart::Audio(source("audio/wav"), "wav")
        }
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => {
            ContentPart::Image(source("image/webp"))
        }
        [b'I', b'D', b'3', ..] => ContentPart::Audio(source("audio/mpeg"), "mp3"),
        [0xFF, second, ..] if second & 0xE0 == 0xE0 => ContentPart::Audio(source("audio/mpeg"), "mp3"),
        // Ollama labels what it does not know so.
        _ => ContentPart::Image(source("image/jpeg")),
    })
}

/// Standard base64 without a `data:` prefix. It is borrowed unless it has line ends or the URL alphabet.
fn plain_base64<'a>(field: &str, image: RawStr<'a>) -> Result<Cow<'a, [u8]>, RequestError> {
    let raw = image.raw();
    if raw.starts_with(b"http://") || raw.starts_with(b"https://") {
        return Err(RequestError::new(format!(
            "{field}: expected base64, found a URL; send the image itself"
        )));
    }
    let raw = match raw.strip_prefix(b"data:") {
        Some(rest) => match rest.iter().position(|byte| *byte == b',') {
            Some(comma) if rest.get(..comma).unwrap_or_default().ends_with(b";base64") => {
                rest.get(comma + 1..).unwrap_or_default()
            }
            _ => {
                return Err(RequestError::new(format!("{field}: expected base64 behind the data: prefix")));
            }
        },
        None => raw,
    };
    if is_base64(raw) {
        return Ok(Cow::Borrowed(raw));
    }
    let text = image.decode();
    let text = text.split_once(";base64,").map_or(text.as_ref(), |(_, base64)| base64);
    let mut base64 = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'\r' | b'\n' | b' ' | b'\t' => {}
            b'-' => base64.push(b'+'),
            b'_' => base64.push(b'/'),
            b'+' | b'/' | b'=' => base64.push(byte),
            _ if byte.is_ascii_alphanumeric() => base64.push(byte),
            _ => return Err(RequestError::new(format!("{field}: expected base64"))),
        }
    }
    Ok(Cow::Owned(base64))
}

/// Whether nothing but letters of base64 stands there. A piece is looked at as a whole, without a branch for each letter,
/// which the compiler turns into vector instructions: pictures have megabytes.
fn is_base64(text: &[u8]) -> bool {
    let is_letter = |byte: u8| {
        ((byte | 0x20).wrapping_sub(b'a') < 26)
            // `/` stands before `0`.
            | (byte.wrapping_sub(b'/') < 11)
            | (byte == b'+')
            | (byte == b'=')
    };
    let all_letters = |piece: &[u8]| piece.iter().fold(true, |all, byte| all & is_letter(*byte));
    let (pieces, rest) = text.as_chunks::<64>();
    pieces.iter().all(|piece| all_letters(piece)) && all_letters(rest)
}

/// The first twelve bytes, which tell the type.
fn decode_head(base64: &[u8]) -> Vec<u8> {
    let mut head = Vec::with_capacity(12);
    for group in base64.get(..16).unwrap_or(base64).chunks(4) {
        let mut bits = 0u32;
        let mut count = 0;
        for byte in group {
            let Some(six) = six_bits(*byte) else { break };
            bits = (bits << 6) | six;
            count += 1;
        }
        let bytes = (bits << (6 * (4 - count))).to_be_bytes();
        // n letters hold n - 1 whole bytes.
        head.extend(bytes.into_iter().skip(1).take((count as usize).saturating_sub(1)));
    }
    head
}

fn six_bits(letter: u8) -> Option<u32> {
    let value = match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Scanner;

    fn kind(json: &str) -> Result<(String, String), String> {
        match part("images[0]", Scanner::new(json.as_bytes()).string().unwrap()) {
            Ok(ContentPart::Image(s)) => {
                Ok((s.media_type.to_string(), String::from_utf8(s.base64.to_vec()).unwrap()))
            }
            Ok(ContentPart::Audio(s, format)) => {
                Ok((format.to_string(), String::from_utf8(s.base64.to_vec()).unwrap()))
            }
            Ok(ContentPart::Text(_)) => unreachable!(),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_type_is_told_by_the_first_bytes() {
        let table = [
            ("iVBORw0KGgoAAAAN", "image/png"),
            ("/9j/4AAQSkZJRgAB", "image/jpeg"),
            ("R0lGODlhAQABAIAA", "image/gif"),
            ("Qk0eAAAAAAAAABoA", "image/bmp"),
            ("UklGRiQAAABXRUJQ", "image/webp"),
            ("UklGRiQAAABXQVZF", "wav"),
            ("SUQzAwAAAAAAI1RT", "mp3"),
            ("//uQZAAAAAAAAAAA", "mp3"),
            ("AAAA", "image/jpeg"),
        ];
        for (base64, expected) in table {
            assert_eq!(kind(&format!("\"{base64}\"")), Ok((expected.to_string(), base64.to_string())));
        }
    }

    #[test]
    fn prefixes_line_ends_and_the_url_alphabet_are_mended() {
        let png = || Ok(("image/png".to_string(), "iVBORw0KGgo=".to_string()));
        assert_eq!(kind(r#""data:image/x;base64,iVBORw0KGgo=""#), png());
        assert_eq!(kind(r#""iVBO\nRw0K\r\nGgo=""#), png());
        assert_eq!(kind(r#""data:image/png;base64,iVBO\nRw0KGgo=""#), png());
        assert_eq!(kind(r#""_9j_4A-A""#), Ok(("image/jpeg".to_string(), "/9j/4A+A".to_string())));
    }

    #[test]
    fn exactly_the_letters_of_base64_are_taken() {
        for byte in 0..=u8::MAX {
            let is_letter = byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
            for at in [0, 63, 64, 99] {
                let mut text = [b'A'; 100];
                text[at] = byte;
                assert_eq!(is_base64(&text), is_letter, "{byte} {at}");
            }
        }
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for (json, words) in [
            (
                r#""https://example.com/a.png""#,
                "images[0]: expected base64, found a URL; send the image itself",
            ),
            (r#""data:nothing""#, "images[0]: expected base64 behind the data: prefix"),
            (r#""data:text/plain,aGk=""#, "images[0]: expected base64 behind the data: prefix"),
            (r#""!!""#, "images[0]: expected base64"),
            (r#""""#, "images[0]: expected base64, found an empty string"),
        ] {
            assert_eq!(kind(json), Err(words.to_string()), "{json}");
        }
    }
}
