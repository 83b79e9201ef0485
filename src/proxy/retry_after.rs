//! `Retry-After`: how long a client is to wait, out of what backends say of it (row E14 of the dialect catalogue).
//! Nothing is asked again here: a client that was told can decide.

use crate::openai::{ApiError, Wait};
use hyper::{HeaderMap, StatusCode};
use std::time::{Duration, SystemTime};

/// The longest wait, in seconds: a day.
const MAX_SECONDS: u64 = 86_400;

/// Whole seconds: out of `Retry-After`, else out of another header, else out of the body.
pub(super) fn of_answer(status: StatusCode, headers: &HeaderMap, error: &ApiError) -> Option<u64> {
    let header = |name: &str| Wait::read(headers.get(name)?.to_str().ok()?);
    let now = now();
    let asked = header("retry-after").and_then(|wait| wait.from(now)).or_else(|| {
        // In milliseconds, so it must not be read as seconds.
        let ms = headers.get("retry-after-ms")?.to_str().ok()?.trim().parse::<f64>().ok()?;
        Duration::try_from_secs_f64(ms / 1000.0).ok().filter(|wait| !wait.is_zero())
    });
    let asked = asked.or_else(|| error.wait?.from(now));
    // These stand on every answer of some backends; they are a wait only where a limit was met.
    let of_limits =
        || Some(status).filter(|it| *it == StatusCode::TOO_MANY_REQUESTS).and(limits(headers, now));
    asked.or_else(of_limits).map(whole_seconds)
}

/// The same of an error within the body of a success.
pub(super) fn of_error(error: &ApiError) -> Option<u64> {
    error.wait?.from(now()).map(whole_seconds)
}

/// When the limits that are used up are no more: `x-ratelimit-reset-tokens` beside `x-ratelimit-remaining-tokens: 0`.
fn limits(headers: &HeaderMap, now: Duration) -> Option<Duration> {
    let text = |name: String| headers.get(name)?.to_str().ok().map(str::trim);
    let of = |prefix: &str, kind: &str| {
        let left = text(format!("{prefix}-remaining{kind}"));
        let is_used_up = left.is_none_or(|left| left.parse::<f64>().is_ok_and(|left| left <= 0.0));
        let reset = text(format!("{prefix}-reset{kind}")).filter(|_| is_used_up)?;
        Wait::read(reset)?.from(now)
    };
    let kinds = ["-requests", "-tokens", ""];
    ["x-ratelimit", "x-rate-limit"]
        .iter()
        .flat_map(|prefix| kinds.map(|kind| of(prefix, kind)))
        .flatten()
        .max()
}

fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).clamp(1, MAX_SECONDS)
}

fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, given: &[(&'static str, &str)], body: &str) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.insert(*name, value.parse().unwrap());
        }
        of_answer(StatusCode::from_u16(status).unwrap(), &headers, &ApiError::read(body.as_bytes()))
    }

    #[test]
    fn waiting_times_are_whole_seconds_within_a_day() {
        assert_eq!(of(429, &[("retry-after", "7")], ""), Some(7));
        assert_eq!(of(503, &[("retry-after", "1.2")], ""), Some(2));
        assert_eq!(of(429, &[("retry-after-ms", "250")], ""), Some(1));
        assert_eq!(of(429, &[("retry-after", "-1")], ""), None);
        assert_eq!(of(429, &[("retry-after", "0")], ""), None);
        assert_eq!(of(429, &[("retry-after", "999999999")], ""), Some(86_400));
        assert_eq!(of(429, &[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")], ""), None);
    }

    #[test]
    fn limits_that_are_used_up_say_when_they_end() {
        let requests = ("x-ratelimit-reset-requests", "6m0s");
        let tokens = ("x-ratelimit-reset-tokens", "1.57s");
        let (some, none) = ("12", "0");
        assert_eq!(of(429, &[requests, tokens], ""), Some(360));
        let left = [("x-ratelimit-remaining-requests", some), ("x-ratelimit-remaining-tokens", none)];
        assert_eq!(of(429, &[requests, tokens, left[0], left[1]], ""), Some(2));
        assert_eq!(of(429, &[("x-rate-limit-reset-tokens", "20")], ""), Some(20));
        assert_eq!(of(429, &[requests, ("retry-after", "3")], ""), Some(3));
        // Other errors have them too.
        assert_eq!(of(400, &[requests, tokens], ""), None);
        assert_eq!(of(429, &[("x-ratelimit-reset", "1000000001")], ""), None, "that was in 2001");
    }

    #[test]
    fn bodies_say_how_long_too() {
        let google = r#"[{"error":{"code":429,"message":"m","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure"},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.07s"}]}}]"#;
        assert_eq!(of(429, &[], google), Some(35));
        assert_eq!(of_error(&ApiError::read(google.as_bytes())), Some(35));
        let reset = (now() + Duration::from_secs(100)).as_millis();
        let router = format!(
            r#"{{"error":{{"message":"Rate limit exceeded","code":429,"metadata":{{"headers":{{"X-RateLimit-Limit":"20","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"{reset}"}}}}}}}}"#
        );
        assert!(matches!(of(429, &[], &router), Some(90..=100)), "{:?}", of(429, &[], &router));
    }
}
