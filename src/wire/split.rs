//! [`ValueEnd`]: where a JSON value ends, in a text that comes in pieces, cut anywhere.
//!
//! It follows strings, escapes and the value's own kind of brackets, which are in pairs where the text is JSON, and looks
//! at nothing else: what it cuts out, the [`Scanner`](super::Scanner) checks. Each byte is looked at once, whatever the
//! pieces.

/// See the module's description. One value each.
#[derive(Clone, Copy, Debug, Default)]
pub struct ValueEnd {
    at: At,
    /// Whether it is an object.
    is_object: bool,
    /// Containers of the value's kind that are open.
    depth: usize,
}

/// What the last byte was part of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// Nothing yet.
    #[default]
    Start,
    /// A number or a word that stands alone: what cannot be part of it ends it.
    Bare,
    /// A container, outside of its strings.
    Container,
    /// A string.
    Text,
    /// A string, behind a backslash.
    Escape,
}

impl ValueEnd {
    /// Takes the next bytes, which begin with the value's first byte at the first call: how many of them are the
    /// value's, and whether it ends with those.
    pub fn push(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            let (len, has_ended) = match self.at {
                At::Start => self.begin(rest),
                At::Bare => bare_end(rest),
                At::Container => self.in_container(rest),
                At::Text => self.in_text(rest),
                At::Escape => {
                    self.at = At::Text;
                    (1, false)
                }
            };
            used += len;
            if has_ended {
                return (used, true);
            }
        }
        (used, false)
    }

    fn begin(&mut self, rest: &[u8]) -> (usize, bool) {
        match rest.first() {
            Some(b'"') => self.at = At::Text,
            Some(bracket @ (b'{' | b'[')) => {
                self.at = At::Container;
                self.is_object = *bracket == b'{';
                self.depth = 1;
            }
            _ => {
                self.at = At::Bare;
                return (0, false);
            }
        }
        (1, false)
    }

    fn in_container(&mut self, rest: &[u8]) -> (usize, bool) {
        let (open, close) = if self.is_object { (b'{', b'}') } else { (b'[', b']') };
        let Some(at) = memchr::memchr3(b'"', open, close, rest) else { return (rest.len(), false) };
        match rest.get(at) {
            Some(b'"') => self.at = At::Text,
            Some(bracket) if *bracket == open => self.depth += 1,
            _ => self.depth = self.depth.saturating_sub(1),
        }
        (at + 1, self.depth == 0)
    }

    fn in_text(&mut self, rest: &[u8]) -> (usize, bool) {
        let Some(at) = memchr::memchr2(b'"', b'\\', rest) else { return (rest.len(), false) };
        self.at = match rest.get(at) {
            Some(b'"') => At::Container,
            _ => At::Escape,
        };
        (at + 1, self.at == At::Container && self.depth == 0)
    }
}

fn bare_end(rest: &[u8]) -> (usize, bool) {
    let is_part = |byte: &u8| !matches!(byte, b',' | b']' | b'}' | b':' | b'"' | b'[' | b'{' | 0..=b' ');
    let len = rest.iter().take_while(|byte| is_part(byte)).count();
    (len, len < rest.len())
}

#[cfg(test)]
mod tests {
    use super::super::Scanner;
    use super::ValueEnd;
    use proptest::prelude::*;

    /// The value's length when the text comes in pieces of these lengths, over and over.
    fn end(text: &[u8], pieces: &[usize]) -> Option<usize> {
        let (mut value, mut at) = (ValueEnd::default(), 0);
        for piece in pieces.iter().cycle() {
            let piece = text.get(at..(at + piece).min(text.len())).unwrap();
            if piece.is_empty() && at == text.len() {
                return None;
            }
            let (len, has_ended) = value.push(piece);
            at += len;
            if has_ended {
                return Some(at);
            }
            assert_eq!(len, piece.len(), "bytes are left before the end");
        }
        None
    }

    #[test]
    fn a_value_ends_where_the_scanner_ends_it() {
        for value in [
            "{}",
            "[]",
            "\"\"",
            "1",
            "-1.5e+3",
            "null",
            r#""a\"]}""#,
            r#""\\""#,
            r#"{"a\\":["]",{"}":"\""}]}"#,
            "[[[[1,2]]]]",
            "[ 1 , 2 ]",
        ] {
            for behind in [",", "]", "}", " ", "\n,1", ",\"x\":[{"] {
                let text = format!("{value}{behind}");
                for pieces in [&[1_usize][..], &[2], &[3, 1], &[1000]] {
                    assert_eq!(end(text.as_bytes(), pieces), Some(value.len()), "{text} {pieces:?}");
                }
            }
        }
    }

    #[test]
    fn a_value_without_end_has_none() {
        for text in ["{", "[\"]\"", "\"abc", "\"abc\\\"", "12", "nul", "{\"a\":{}"] {
            assert_eq!(end(text.as_bytes(), &[1]), None, "{text}");
        }
    }

    proptest! {
        /// Any text, JSON or not: the end does not depend on the pieces, and is the scanner's where it is JSON.
        #[test]
        fn pieces_change_nothing(
            text in r#"[\[{"a\\:1][]\[{}",:\\0-9a-z ]{0,40}"#,
            pieces in proptest::collection::vec(1_usize..5, 1..5),
        ) {
            let whole = end(text.as_bytes(), &[100]);
            prop_assert_eq!(end(text.as_bytes(), &pieces), whole);
            let is_bare = !text.starts_with(['[', '{', '"']);
            if let (Some(len), Ok(value), false) = (whole, Scanner::new(text.as_bytes()).value(), is_bare) {
                prop_assert_eq!(value.bytes().len(), len);
            }
        }
    }
}
