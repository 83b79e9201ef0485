//! [`Wait`]: for how long a backend wants to be left alone, as it is written in error bodies and in headers (row E14 of
//! the dialect catalogue).

use simd_json::BorrowedValue;
use simd_json::prelude::{ValueAsArray, ValueAsScalar, ValueObjectAccess};
use std::time::Duration;

/// What is past this was counted since 1970, in seconds, and what is past a thousand times this in milliseconds.
const EPOCH_SECONDS: f64 = 1e9;

/// See the module's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// From now on.
    For(Duration),
    /// Until this time since 1970.
    Until(Duration),
}

impl Wait {
    /// How long it still is at this time since 1970; `None` when it is over.
    #[must_use]
    pub fn from(self, now: Duration) -> Option<Duration> {
        let left = match self {
            Wait::For(time) => time,
            Wait::Until(then) => then.saturating_sub(now),
        };
        Some(left).filter(|left| !left.is_zero())
    }

    /// A number of seconds (`20`, `1.57`), a duration in Go's form (`6m0s`, `120ms`), or a time since 1970 in seconds or
    /// milliseconds.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let Ok(number) = text.parse::<f64>() else { return duration(text).map(Wait::For) };
        if number > EPOCH_SECONDS * 1000.0 {
            seconds(number / 1000.0).map(Wait::Until)
        } else if number > EPOCH_SECONDS {
            seconds(number).map(Wait::Until)
        } else {
            seconds(number).map(Wait::For)
        }
    }

    /// Out of an error: OpenRouter hands on the provider's headers, Google has `details` with a `retryDelay`.
    pub(super) fn of_error(error: &BorrowedValue<'_>) -> Option<Self> {
        let headers = error.get("metadata").and_then(|metadata| metadata.get("headers"));
        let header = |name: &str| headers?.get(name)?.as_str();
        let details = error.get("details").and_then(|details| details.as_array());
        let delay = details.into_iter().flatten().find_map(|detail| detail.get("retryDelay")?.as_str());
        let text = header("Retry-After").or_else(|| header("X-RateLimit-Reset")).or(delay)?;
        Wait::read(text)
    }
}

fn seconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number).ok()
}

/// Numbers with a unit, one behind the other.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let unit_len = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let unit = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        sum = sum.checked_add(seconds(number.parse::<f64>().ok()? * unit)?)?;
        rest = tail;
    }
    Some(sum).filter(|_| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_wait_is_read() {
        let for_ms = |ms| Some(Wait::For(Duration::from_millis(ms)));
        let table = [
            ("7", for_ms(7000)),
            (" 1.57 ", for_ms(1570)),
            ("1.57s", for_ms(1570)),
            ("6m0s", for_ms(360_000)),
            ("1h2m3.5s", for_ms(3_723_500)),
            ("120ms", for_ms(120)),
            ("1d", for_ms(86_400_000)),
            ("0", for_ms(0)),
            ("1787306400", Some(Wait::Until(Duration::from_secs(1_787_306_400)))),
            ("1787306400500", Some(Wait::Until(Duration::from_millis(1_787_306_400_500)))),
            ("-1", None),
            ("", None),
            ("s", None),
            ("5x", None),
            ("5s5", None),
            ("1.2.3s", None),
            ("nan", None),
            ("inf", None),
            ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ];
        for (text, expected) in table {
            assert_eq!(Wait::read(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_over_is_no_wait() {
        let at = Duration::from_secs;
        assert_eq!(Wait::Until(at(10)).from(at(7)), Some(at(3)));
        assert_eq!(Wait::Until(at(10)).from(at(10)), None);
        assert_eq!(Wait::Until(at(10)).from(at(11)), None);
        assert_eq!(Wait::For(at(3)).from(at(11)), Some(at(3)));
        assert_eq!(Wait::For(at(0)).from(at(11)), None);
    }
}
