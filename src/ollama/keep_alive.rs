//! [`KeepAlive`]: how long Ollama would keep the model loaded. Here it tells an unload from a load, and how long
//! `/api/ps` shows the model.
//!
//! Grammar: a JSON number of seconds, or a Go duration string (`time.ParseDuration`: `300ms`, `1.5h`, `2h45m`, `-1m`).

use super::RequestError;
use crate::wire::{Kind, RawJson};
use std::time::Duration;

/// Nanoseconds in the longest duration of Go, some 292 years; what is longer lasts for ever.
const MAX_NS: f64 = i64::MAX as f64;

/// What the client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// Zero: unload as soon as the request is done.
    Unload,
    /// So long after the last use; never zero.
    For(Duration),
    /// A negative time.
    Forever,
}

impl KeepAlive {
    /// Reads the value of `keep_alive`.
    ///
    /// # Errors
    /// When it is neither a number nor a duration.
    pub fn read(value: RawJson<'_>) -> Result<Option<Self>, RequestError> {
        let ns = match value.kind() {
            Kind::Null => return Ok(None),
            Kind::Number => {
                let digits = std::str::from_utf8(value.bytes()).unwrap_or_default();
                digits.parse::<f64>().unwrap_or_default() * 1e9
            }
            Kind::String => {
                let text = value.as_str().unwrap_or_default().decode();
                duration_ns(&text).ok_or_else(|| {
                    RequestError::new(format!(
                        "keep_alive: {text:?} is not a duration; give a number of seconds or a text like \"5m\""
                    ))
                })?
            }
            other => return Err(RequestError::expected("keep_alive", "a number or a duration", other)),
        };
        let is_forever = !(0.0..MAX_NS).contains(&ns);
        Ok(Some(if is_forever { KeepAlive::Forever } else { Self::after(Duration::from_nanos(ns as u64)) }))
    }

    /// So long after the last use.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        if time.is_zero() { KeepAlive::Unload } else { KeepAlive::For(time) }
    }
}

/// The nanoseconds of a Go duration; `None` when it is none. As in Go, only `0` may stand without a unit.
fn duration_ns(text: &str) -> Option<f64> {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Some(0.0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut ns = 0.0;
    while !rest.is_empty() {
        let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(number_len);
        let unit_len = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        // No digit, or a second point, is no number.
        ns += number.parse::<f64>().ok()? * unit_ns(unit)?;
        rest = tail;
    }
    Some(if text.starts_with('-') { -ns.trunc() } else { ns.trunc() })
}

fn unit_ns(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1.0,
        // The micro sign, and the Greek letter that looks like it.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        _ => return None,
    })
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
        for json in ["0", "0.0", "-0", "0e5", r#""0""#, r#""0s""#, r#""0h0m0.0s""#, r#""-0.5ns""#] {
            assert_eq!(read(json), Ok(Some(KeepAlive::Unload)), "{json}");
        }
    }

    #[test]
    fn a_time_is_kept_as_long_as_it_says() {
        let seconds = Duration::from_secs_f64;
        for (json, time) in [
            ("300", seconds(300.0)),
            ("0.5", seconds(0.5)),
            ("1e3", seconds(1000.0)),
            (r#""5m""#, seconds(300.0)),
            (r#""+5m0s""#, seconds(300.0)),
            (r#""1.5h""#, seconds(5400.0)),
            (r#""2h45m.5s""#, seconds(9900.5)),
            (r#""300ms""#, seconds(0.3)),
            (r#""2\u00b5s""#, Duration::from_micros(2)),
            (r#""1ns""#, Duration::from_nanos(1)),
        ] {
            assert_eq!(read(json), Ok(Some(KeepAlive::For(time))), "{json}");
        }
        assert_eq!(read("null"), Ok(None));
    }

    #[test]
    fn a_negative_time_and_one_that_go_cannot_hold_are_for_ever() {
        for json in ["-1", "-0.5", r#""-1m""#, r#""-1ns""#, "1e400", "9223372037", r#""9999999h""#] {
            assert_eq!(read(json), Ok(Some(KeepAlive::Forever)), "{json}");
        }
    }

    #[test]
    fn a_number_in_quotes_without_a_unit_is_refused_as_in_go() {
        for json in [
            r#""300""#,
            r#""-1""#,
            r#""""#,
            r#""5 m""#,
            r#""m""#,
            r#""1x""#,
            r#"".s""#,
            r#""1.2.3s""#,
            "true",
            "[]",
            "{}",
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.starts_with("keep_alive: "), "{json}: {error}");
        }
    }
}
