//! [`KeepAlive`]: how long Ollama would keep the model loaded. Here it only tells an unload from a load.
//!
//! Grammar: a JSON number of seconds, or a Go duration string (`time.ParseDuration`: `300ms`, `1.5h`, `2h45m`, `-1m`).

use super::RequestError;
use crate::wire::{Kind, RawJson};

/// What the client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// Zero: unload as soon as the request is done.
    Unload,
    /// Any other time, negative for ever.
    Keep,
}

impl KeepAlive {
    /// Reads the value of `keep_alive`.
    ///
    /// # Errors
    /// When it is neither a number nor a duration.
    pub fn read(value: RawJson<'_>) -> Result<Option<Self>, RequestError> {
        let zero = match value.kind() {
            Kind::Null => return Ok(None),
            Kind::Number => !value
                .bytes()
                .iter()
                .take_while(|b| !matches!(b, b'e' | b'E'))
                .any(|b| matches!(b, b'1'..=b'9')),
            Kind::String => {
                let text = value.as_str().unwrap_or_default().decode();
                is_zero_duration(&text).ok_or_else(|| {
                    RequestError::new(format!(
                        "keep_alive: {text:?} is not a duration; give a number of seconds or a text like \"5m\""
                    ))
                })?
            }
            other => return Err(RequestError::expected("keep_alive", "a number or a duration", other)),
        };
        Ok(Some(if zero { KeepAlive::Unload } else { KeepAlive::Keep }))
    }
}

/// Whether a Go duration is zero; `None` when it is no duration. As in Go, only `0` may stand without a unit.
fn is_zero_duration(text: &str) -> Option<bool> {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Some(true);
    }
    if rest.is_empty() {
        return None;
    }
    let mut zero = true;
    while !rest.is_empty() {
        let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(number_len);
        if number.matches('.').count() > 1 || !number.contains(|c: char| c.is_ascii_digit()) {
            return None;
        }
        zero &= !number.contains(|c: char| matches!(c, '1'..='9'));
        let unit_len = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        if !matches!(unit, "ns" | "us" | "\u{b5}s" | "\u{3bc}s" | "ms" | "s" | "m" | "h") {
            return None;
        }
        rest = tail;
    }
    Some(zero)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Scanner;

    fn read(json: &str) -> Result<Option<KeepAlive>, RequestError> {
        KeepAlive::read(Scanner::new(json.as_bytes()).value().unwrap())
    }

    #[test]
    fn zero_in_every_spelling_unloads() {
        for json in ["0", "0.0", "-0", "0e5", r#""0""#, r#""0s""#, r#""0h0m0.0s""#] {
            assert_eq!(read(json), Ok(Some(KeepAlive::Unload)), "{json}");
        }
    }

    #[test]
    fn any_other_time_keeps() {
        for json in ["300", "-1", "0.5", r#""5m""#, r#""5m0s""#, r#""-1m""#, r#""1.5h""#, r#""300ms""#] {
            assert_eq!(read(json), Ok(Some(KeepAlive::Keep)), "{json}");
        }
        assert_eq!(read("null"), Ok(None));
    }

    #[test]
    fn a_number_in_quotes_without_a_unit_is_refused_as_in_go() {
        for json in [r#""300""#, r#""-1""#, r#""""#, r#""5 m""#, r#""m""#, r#""1x""#, "true", "[]", "{}"] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.starts_with("keep_alive: "), "{json}: {error}");
        }
    }
}
