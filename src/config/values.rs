//! From the text of one setting to its value. Every function here is pure and answers "not of this form" with `None`;
//! naming the setting and the accepted form is left to [`super`].

use super::{Format, Level, MAX_THREADS, PROFILES, ThinkTags};
use simd_json::prelude::*;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZero;
use std::time::Duration;

/// What a model may be said to be capable of, as Ollama spells it.
pub(super) const CAPABILITIES: &[&str] =
    &["completion", "tools", "insert", "vision", "embedding", "thinking", "audio", "image"];

/// A value without the blanks and quotes around it. Ollama trims both from its variables, and `docker run --env-file`
/// leaves quotes in.
pub(super) fn trimmed(text: &str) -> &str {
    text.trim().trim_matches(['"', '\'']).trim()
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

pub(super) fn level(text: &str) -> Option<Level> {
    match text.to_ascii_uppercase().as_str() {
        "TRACE" => Some(Level::Trace),
        "DEBUG" => Some(Level::Debug),
        "INFO" => Some(Level::Info),
        "WARN" | "WARNING" => Some(Level::Warn),
        "ERROR" | "CRITICAL" => Some(Level::Error),
        _ => None,
    }
}

/// `OLLAMA_DEBUG`: a truth value or a rank. `Some(None)` says that it asks for nothing.
pub(super) fn debug_rank(text: &str) -> Option<Option<Level>> {
    match (boolean(text), text.parse::<u32>()) {
        (Some(true), _) => Some(Some(Level::Debug)),
        (Some(false), _) => Some(None),
        (None, Ok(rank)) => Some((rank >= 2).then_some(Level::Trace)),
        (None, Err(_)) => None,
    }
}

pub(super) fn format(text: &str) -> Option<Format> {
    match text.to_ascii_lowercase().as_str() {
        "text" => Some(Format::Text),
        "json" => Some(Format::Json),
        _ => None,
    }
}

pub(super) fn think_tags(text: &str) -> Option<ThinkTags> {
    match text.to_ascii_lowercase().as_str() {
        "open" => Some(ThinkTags::Open),
        other => boolean(other).map(|on| if on { ThinkTags::On } else { ThinkTags::Off }),
    }
}

/// `Some(None)` is the choice left to the program.
pub(super) fn auto_or_boolean(text: &str) -> Option<Option<bool>> {
    if text.eq_ignore_ascii_case("auto") { Some(None) } else { boolean(text).map(Some) }
}

/// A kind of backend, by a spelling of its name; `Some(None)` is `auto`.
pub(super) fn profile(text: &str) -> Option<Option<&'static str>> {
    let plain = |name: &str| name.to_ascii_lowercase().replace(['-', '_', '.', ' '], "");
    let text = plain(text);
    if text == "auto" {
        return Some(None);
    }
    PROFILES.iter().find(|name| plain(name) == text).map(|name| Some(*name))
}

pub(super) fn port(text: &str) -> Option<u16> {
    // `u16::from_str` would take "+80".
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// An address to listen on, in the grammar of `OLLAMA_HOST`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

/// The grammar of `OLLAMA_HOST`: `[scheme://]host[:port][/path]`, where the host may be empty or an IPv6 address with
/// or without brackets, a scheme stands for its port when none is written, and the path is for clients. Unlike Ollama
/// it refuses a bad port, which there silently becomes the default one.
pub(super) fn address(text: &str) -> Option<Address> {
    let (scheme_port, rest) = match text.split_once("://") {
        None => (None, text),
        Some(("http", rest)) => (Some(80), rest),
        Some(("https", rest)) => (Some(443), rest),
        Some(_) => return None,
    };
    let rest = rest.split('/').next().unwrap_or_default();
    if rest.is_empty() {
        return Some(Address { host: "127.0.0.1".into(), port: scheme_port });
    }
    if let Ok(ip) = rest.parse::<IpAddr>() {
        return Some(Address { host: ip.to_string(), port: scheme_port });
    }
    let (host, written) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (inside, after) = rest.split_once(']')?;
            let ip: Ipv6Addr = inside.parse().ok()?;
            let written = if after.is_empty() { None } else { Some(after.strip_prefix(':')?) };
            (ip.to_string(), written)
        }
        None => match rest.split_once(':') {
            // `:5000` listens everywhere, as it does in Ollama.
            Some(("", port)) => ("0.0.0.0".to_owned(), Some(port)),
            Some((host, port)) => (host_name(host)?, Some(port)),
            None => (host_name(rest)?, None),
        },
    };
    let port = match written {
        Some("") => return None,
        Some(text) => Some(port(text)?),
        None => scheme_port,
    };
    Some(Address { host, port })
}

fn host_name(text: &str) -> Option<String> {
    let letters = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    (letters && !text.is_empty()).then(|| text.to_owned())
}

/// Seconds with or without a fraction, from `min` to `max`.
pub(super) fn seconds(text: &str, min: f64, max: f64) -> Option<Duration> {
    let seconds: f64 = text.parse().ok()?;
    // Not a number is in no range, so it falls out here too.
    (min..=max).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

/// The grammar of `OLLAMA_KEEP_ALIVE`: whole seconds, or numbers with a unit each; `Some(None)`, if negative, is for ever.
pub(super) fn keep_alive(text: &str) -> Option<Option<Duration>> {
    let time = text.strip_prefix(['-', '+']).unwrap_or(text);
    let time = if time.bytes().all(|b| b.is_ascii_digit()) {
        Duration::from_secs(time.parse().ok()?)
    } else {
        units(time)?
    };
    let is_forever = text.starts_with('-') && !time.is_zero();
    Some((!is_forever).then_some(time))
}

fn units(mut text: &str) -> Option<Duration> {
    let mut sum = Duration::ZERO;
    while !text.is_empty() {
        let (number, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, rest) =
            rest.split_at(rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len()));
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        sum = sum.checked_add(part)?;
        text = rest;
    }
    Some(sum)
}

/// Bytes, or a count of decimal (KB) or binary (KiB) units.
pub(super) fn bytes(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(unit).filter(|&bytes| bytes > 0)
}

pub(super) fn whole(text: &str, min: u64, max: u64) -> Option<u64> {
    text.parse().ok().filter(|number| (min..=max).contains(number))
}

/// How many threads serve; `Some(None)` is `auto`. 0 is refused: of programs that take one, some read it as `auto` and
/// some as none at all.
pub(super) fn threads(text: &str) -> Option<Option<NonZero<usize>>> {
    if text.eq_ignore_ascii_case("auto") {
        return Some(None);
    }
    whole(text, 1, MAX_THREADS as u64).and_then(|count| NonZero::new(usize::try_from(count).ok()?)).map(Some)
}

/// `N.N.N` in digits. Clients compare the parts as integers, so nothing else may be in it.
pub(super) fn version(text: &str) -> Option<String> {
    let part = |part: &str| (1..=9).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    (text.split('.').count() == 3 && text.split('.').all(part)).then(|| text.to_owned())
}

/// A JSON list of strings, or words with commas between; empty entries are skipped.
pub(super) fn list(text: &str) -> Option<Vec<String>> {
    let entry = |text: &str| Some(trimmed(text).to_owned());
    let entries: Option<Vec<String>> = if text.starts_with('[') {
        let mut json = text.as_bytes().to_vec();
        // The tape is read without recursion, whatever the depth of the text.
        let tape = simd_json::to_tape(&mut json).ok()?;
        let array = tape.as_value().as_array()?;
        array.iter().map(|value| value.as_str().and_then(entry)).collect()
    } else {
        text.split(',').map(entry).collect()
    };
    entries.map(|entries| entries.into_iter().filter(|entry| !entry.is_empty()).collect())
}

pub(super) fn capability(text: &str) -> Option<String> {
    let name = text.to_ascii_lowercase();
    CAPABILITIES.contains(&name.as_str()).then_some(name)
}

/// `*`, or an origin with at most one `*` in it. The slash that people copy from the address bar is taken off: no
/// browser sends it.
pub(super) fn origin(text: &str) -> Option<String> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let visible = text.bytes().all(|b| b.is_ascii_graphic());
    let stars = text.bytes().filter(|&b| b == b'*').count();
    let shaped = stars == 1 || (stars == 0 && text.contains("://"));
    (visible && shaped).then(|| text.to_owned())
}

/// Whether a key can stand in a header: visible ASCII, and something.
pub(super) fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}
