//! The log: one line per event on standard error, for people or as JSON.
//!
//! A value from outside cannot forge a line or steer a terminal: control characters are written as escapes in both
//! formats. It refuses colours, files and rotation; the supervisor of the process has those. Below WARN only the events
//! of this crate are logged, for the crates beneath it log what they read, and that may be a key.

use crate::config::{Format, Level, Log};
use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::SetGlobalDefaultError;
use tracing::{Event, Metadata, Subscriber};

/// The target of this crate's events, library and binary alike.
const OWN_TARGET: &str = "ollama_openai_proxy";

thread_local! {
    /// The line of the last event, whose room the next one uses.
    static LINE: Cell<LineBuffer> = const { Cell::new(LineBuffer::new()) };
}

/// Starts the log of this process, once.
pub fn init(log: &Log) -> Result<(), SetGlobalDefaultError> {
    // Nobody can be told of a standard error that is closed.
    let write = |line: &[u8]| drop(io::stderr().lock().write_all(line));
    tracing::subscriber::set_global_default(LineLog::new(log, write, SystemTime::now))?;
    if level(log) > STATIC_MAX_LEVEL {
        tracing::warn!("this build has no events below {STATIC_MAX_LEVEL}");
    }
    Ok(())
}

fn level(log: &Log) -> LevelFilter {
    match log.level {
        Level::Trace => LevelFilter::TRACE,
        Level::Debug => LevelFilter::DEBUG,
        Level::Info => LevelFilter::INFO,
        Level::Warn => LevelFilter::WARN,
        Level::Error => LevelFilter::ERROR,
    }
}

/// Writes each event as one line, with one call. There are no spans: a request is one event, when it is over.
struct LineLog<W> {
    format: Format,
    /// Of JSON lines, the members that never change.
    identity: String,
    level: LevelFilter,
    write: W,
    now: fn() -> SystemTime,
}

impl<W: Fn(&[u8])> LineLog<W> {
    fn new(log: &Log, write: W, now: fn() -> SystemTime) -> Self {
        LineLog { format: log.format, identity: identity(log), level: level(log), write, now }
    }
}

impl<W: Fn(&[u8]) + Send + Sync + 'static> Subscriber for LineLog<W> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let below = metadata.target().strip_prefix(OWN_TARGET);
        let is_own = below.is_some_and(|below| below.is_empty() || below.starts_with("::"));
        let level = if is_own { self.level } else { self.level.min(LevelFilter::WARN) };
        metadata.is_event() && *metadata.level() <= level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        let mut buffer = LINE.take();
        let mut fields = Fields { is_json: self.format == Format::Json, buffer: &mut buffer };
        event.record(&mut fields);
        // Writing to a string cannot fail.
        let _ = buffer.compose(*event.metadata().level(), (self.now)(), self.format, &self.identity);
        (self.write)(buffer.line.as_bytes());
        buffer.clear();
        LINE.set(buffer);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The members of every JSON line that never change.
fn identity(log: &Log) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = json_member(&mut out, "environment", &log.environment);
    if let Some(host) = &log.hostname {
        let _ = json_member(&mut out, "host", host);
    }
    out
}

/// What an event says, and the line that becomes of it.
#[derive(Default)]
struct LineBuffer {
    message: String,
    /// The other fields, as they will stand in the line.
    rest: String,
    line: String,
}

impl LineBuffer {
    const fn new() -> Self {
        LineBuffer { message: String::new(), rest: String::new(), line: String::new() }
    }

    /// `2026-11-22T03:28:00.123Z INFO message key=value ...`, or one object: time, level, message, identity, then the
    /// event's fields.
    fn compose(
        &mut self,
        level: tracing::Level,
        now: SystemTime,
        format: Format,
        identity: &str,
    ) -> fmt::Result {
        let LineBuffer { message, rest, line } = self;
        let time = timestamp(now);
        let time = std::str::from_utf8(&time).unwrap_or_default();
        match format {
            Format::Text => {
                push_all(line, &[time, " ", level.as_str()]);
                if !message.is_empty() {
                    line.push(' ');
                }
                text_plain(line, message)?;
                line.push_str(rest);
            }
            Format::Json => {
                push_all(line, &["{\"time\":\"", time, "\",\"level\":\"", level.as_str(), "\""]);
                json_member(line, "message", message)?;
                line.push_str(identity);
                line.push_str(rest);
                line.push('}');
            }
        }
        line.push('\n');
        Ok(())
    }

    /// What a long line took is given back.
    fn clear(&mut self) {
        const KEPT_BYTES: usize = 4 << 10;
        for text in [&mut self.message, &mut self.rest, &mut self.line] {
            text.clear();
            text.shrink_to(KEPT_BYTES);
        }
    }
}

/// The fields of one event on their way into its line.
struct Fields<'a> {
    is_json: bool,
    buffer: &'a mut LineBuffer,
}

impl Fields<'_> {
    /// Begins a value that needs no quotes in either format.
    fn begin_bare(&mut self, field: &Field) -> &mut String {
        let rest = &mut self.buffer.rest;
        if self.is_json {
            push_all(rest, &[",\"", json_name(field), "\":"]);
        } else {
            push_all(rest, &[" ", field.name(), "="]);
        }
        rest
    }

    fn text(&mut self, field: &Field, value: &str) {
        let LineBuffer { message, rest, .. } = &mut *self.buffer;
        if field.name() == "message" {
            message.push_str(value);
            return;
        }
        let _ = if self.is_json {
            json_member(rest, json_name(field), value)
        } else {
            push_all(rest, &[" ", field.name(), "="]);
            text_value(rest, value)
        };
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no name for what is not a number.
        match tenths(value) {
            Some(tenths) => push_tenths(self.begin_bare(field), tenths),
            // Writing to a string cannot fail.
            None if value.is_finite() => drop(write!(self.begin_bare(field), "{value}")),
            None => self.text(field, &value.to_string()),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        push_number(self.begin_bare(field), value < 0, value.unsigned_abs());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        push_number(self.begin_bare(field), false, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.begin_bare(field).push_str(if value { "true" } else { "false" });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a string cannot fail.
            let _ = write!(self.buffer.message, "{value:?}");
        } else {
            self.text(field, &format!("{value:?}"));
        }
    }
}

/// The tenths of a number that is a whole number of them, as the times in the log are. To find the shortest decimal of
/// another one costs as much as the rest of a line.
fn tenths(value: f64) -> Option<i32> {
    let tenths = (value * 10.0).round() as i32;
    (f64::from(tenths) / 10.0 == value && (tenths != 0 || value.is_sign_positive())).then_some(tenths)
}

/// In the words of any `f64`.
fn push_tenths(out: &mut String, tenths: i32) {
    let (whole, tenth) = (tenths.unsigned_abs() / 10, tenths.unsigned_abs() % 10);
    push_number(out, tenths < 0, whole.into());
    if tenth != 0 {
        out.push('.');
        push_number(out, false, tenth.into());
    }
}

/// Without `core::fmt`, which takes longer for the few numbers of a line than all of its texts do.
fn push_number(out: &mut String, is_negative: bool, value: u64) {
    // Of `-`, and the twenty digits of the largest.
    let mut text = [b'-'; 21];
    let (mut rest, mut from) = (value, text.len());
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        from -= 1;
        if rest == 0 {
            break;
        }
    }
    from -= usize::from(is_negative);
    out.push_str(text.get(from..).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default());
}

fn push_all(out: &mut String, pieces: &[&str]) {
    pieces.iter().for_each(|piece| out.push_str(piece));
}

/// An event may not overwrite what the line says of itself.
fn json_name(field: &Field) -> &'static str {
    match field.name() {
        "time" => "event.time",
        "level" => "event.level",
        "environment" => "event.environment",
        "host" => "event.host",
        name => name,
    }
}

fn json_member(out: &mut String, name: &str, value: &str) -> fmt::Result {
    push_all(out, &[",\"", name, "\":\""]);
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    if all(value, is_plain) {
        out.push_str(value);
    } else {
        for char in value.chars() {
            match char {
                '"' | '\\' => write!(out, "\\{char}")?,
                char if is_unsafe(char) => write!(out, "\\u{:04x}", u32::from(char))?,
                char => out.push(char),
            }
        }
    }
    out.push('"');
    Ok(())
}

fn text_plain(out: &mut String, text: &str) -> fmt::Result {
    if all(text, |byte| matches!(byte, b' '..=b'~')) {
        out.push_str(text);
        return Ok(());
    }
    for char in text.chars() {
        match char {
            '\n' => out.push_str("\\n"),
            char if is_unsafe(char) => write!(out, "\\u{{{:x}}}", u32::from(char))?,
            char => out.push(char),
        }
    }
    Ok(())
}

/// Whether all bytes are such, without a branch for each.
fn all(text: &str, is_such: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(true, |all, byte| all & is_such(byte))
}

/// In quotes if the value could be taken for more than one word, so that it cannot pose as further fields.
fn text_value(out: &mut String, text: &str) -> fmt::Result {
    let is_plain = |byte: u8| matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b'\\' | b'=');
    let is_word = |char: char| !char.is_whitespace() && !is_unsafe(char) && !"\"\\=".contains(char);
    // Nearly every value is of such bytes alone, which are looked at in a tenth of the time that characters take.
    if !text.is_empty() && (all(text, is_plain) || text.chars().all(is_word)) {
        out.push_str(text);
        return Ok(());
    }
    out.push('"');
    text_plain(out, &text.replace('\\', r"\\").replace('"', "\\\""))?;
    out.push('"');
    Ok(())
}

/// Control characters, C1 among them, and the two line ends that only some readers know.
fn is_unsafe(char: char) -> bool {
    char.is_control() || matches!(char, '\u{2028}' | '\u{2029}')
}

/// RFC 3339, in UTC, to the millisecond.
fn timestamp(time: SystemTime) -> [u8; 24] {
    // A clock before 1970 is not set; no line is worth a panic.
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let millisecond = since.subsec_millis().into();
    let parts = [
        (0..4, year),
        (5..7, month),
        (8..10, day),
        (11..13, hour),
        (14..16, minute),
        (17..19, second),
        (20..23, millisecond),
    ];
    for (place, mut value) in parts {
        for digit in text.get_mut(place).into_iter().flatten().rev() {
            *digit = b'0' + (value % 10) as u8;
            value /= 10;
        }
    }
    text
}

/// Year, month and day of the day that is `days` after 1970-01-01, in the Gregorian calendar.
///
/// The year is taken to begin in March, so that the leap day is its last and the lengths of the months before it follow
/// one line, (153 * month + 2) / 5; 400 such years are 146097 days. (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms".)
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // from 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months_from_march + 2) / 5 + 1;
    let month = if months_from_march < 10 { months_from_march + 3 } else { months_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
