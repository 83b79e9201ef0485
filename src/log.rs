//! The log: one line per event on standard error, for people or as JSON.
//!
//! A value from outside cannot forge a line or steer a terminal: control characters are written as escapes in both
//! formats. It refuses colours, files and rotation; the supervisor of the process has those. Below WARN only the events
//! of this crate are logged, for the crates beneath it log what they read, and that may be a key.

use crate::config::{Format, Level, Log};
use std::fmt::{self, Write};
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::subscriber::SetGlobalDefaultError;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;

/// The target of this crate's events, library and binary alike.
const OWN_TARGET: &str = "ollama_openai_proxy";

/// Starts the log of this process, once.
pub fn init(log: &Log) -> Result<(), SetGlobalDefaultError> {
    tracing::subscriber::set_global_default(subscriber(log, io::stderr, SystemTime::now))?;
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

fn subscriber<W>(log: &Log, writer: W, now: fn() -> SystemTime) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let line = match log.format {
        Format::Text => Line::Text { now },
        Format::Json => Line::Json { now, identity: identity(log) },
    };
    // Told of a closed standard error, the layer would print that there, and panic.
    let layer = tracing_subscriber::fmt::layer().log_internal_errors(false);
    let level = level(log);
    let others = level.min(LevelFilter::WARN);
    tracing_subscriber::registry()
        .with(Targets::new().with_default(others).with_target(OWN_TARGET, level))
        .with(layer.event_format(line).with_writer(writer))
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

/// How an event becomes a line.
enum Line {
    /// `2026-11-22T03:28:00.123Z INFO message key=value ...`
    Text { now: fn() -> SystemTime },
    /// One object: time, level, message, identity, then the event's fields.
    Json { now: fn() -> SystemTime, identity: String },
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = event.metadata().level();
        let mut fields = Fields { is_json: matches!(self, Self::Json { .. }), ..Fields::default() };
        event.record(&mut fields);
        let Fields { message, rest, .. } = fields;
        match self {
            Self::Text { now } => {
                write!(out, "{} {level}", Timestamp(now()))?;
                if !message.is_empty() {
                    out.write_char(' ')?;
                }
                text_plain(&mut out, &message)?;
                writeln!(out, "{rest}")
            }
            Self::Json { now, identity } => {
                write!(out, r#"{{"time":"{}","level":"{level}""#, Timestamp(now()))?;
                json_member(&mut out, "message", &message)?;
                writeln!(out, "{identity}{rest}}}")
            }
        }
    }
}

/// The fields of one event: its message, and the rest as it will stand in the line.
#[derive(Default)]
struct Fields {
    is_json: bool,
    message: String,
    rest: String,
}

impl Fields {
    /// A value that needs no quotes in either format.
    fn bare(&mut self, field: &Field, value: impl fmt::Display) {
        let _ = if self.is_json {
            write!(self.rest, r#","{}":{value}"#, json_name(field))
        } else {
            write!(self.rest, " {}={value}", field.name())
        };
    }

    fn text(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
            return;
        }
        let _ = if self.is_json {
            json_member(&mut self.rest, json_name(field), value)
        } else {
            write!(self.rest, " {}=", field.name()).and_then(|()| text_value(&mut self.rest, value))
        };
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no name for what is not a number.
        if value.is_finite() { self.bare(field, value) } else { self.text(field, &value.to_string()) }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }
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

fn json_member(out: &mut impl Write, name: &str, value: &str) -> fmt::Result {
    write!(out, r#","{name}":""#)?;
    for char in value.chars() {
        match char {
            '"' | '\\' => write!(out, "\\{char}")?,
            char if is_unsafe(char) => write!(out, "\\u{:04x}", u32::from(char))?,
            char => out.write_char(char)?,
        }
    }
    out.write_char('"')
}

fn text_plain(out: &mut impl Write, text: &str) -> fmt::Result {
    for char in text.chars() {
        match char {
            '\n' => out.write_str("\\n")?,
            char if is_unsafe(char) => write!(out, "\\u{{{:x}}}", u32::from(char))?,
            char => out.write_char(char)?,
        }
    }
    Ok(())
}

/// In quotes if the value could be taken for more than one word, so that it cannot pose as further fields.
fn text_value(out: &mut impl Write, text: &str) -> fmt::Result {
    let is_word = |char: char| !char.is_whitespace() && !is_unsafe(char) && !"\"\\=".contains(char);
    if !text.is_empty() && text.chars().all(is_word) {
        return out.write_str(text);
    }
    out.write_char('"')?;
    text_plain(out, &text.replace('\\', r"\\").replace('"', "\\\""))?;
    out.write_char('"')
}

/// Control characters, C1 among them, and the two line ends that only some readers know.
fn is_unsafe(char: char) -> bool {
    char.is_control() || matches!(char, '\u{2028}' | '\u{2029}')
}

/// RFC 3339, in UTC, to the millisecond.
struct Timestamp(SystemTime);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A clock before 1970 is not set; no line is worth a panic.
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
            since.subsec_millis()
        )
    }
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
