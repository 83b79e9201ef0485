//! Lines as they are written, with a clock that stands still.

use super::*;
use std::sync::{Arc, Mutex};

/// Sunday, 22 November 2026, 03:28:00.123 UTC.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_795_318_080_123)
}

fn log(level: Level, format: Format) -> Log {
    Log { level, format, environment: "test \"1\"".into(), hostname: Some("box".into()) }
}

fn lines(log: &Log, events: impl FnOnce()) -> Vec<String> {
    let captured = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&captured);
    let write = move |line: &[u8]| {
        assert!(line.ends_with(b"\n"));
        taken.lock().unwrap().extend_from_slice(line);
    };
    tracing::subscriber::with_default(LineLog::new(log, write, now), events);
    let bytes = captured.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

macro_rules! own {
    ($level:ident, $($rest:tt)*) => { tracing::$level!(target: OWN_TARGET, $($rest)*) };
}

#[test]
fn a_line_for_people() {
    let lines = lines(&log(Level::Info, Format::Text), || {
        own!(info, route = "chat", status = 200, ms = 1.5, ok = true, model = %"a b", kind = ?Some(1), "it is done");
        own!(error, "no fields");
        own!(warn, only = "fields");
    });
    assert_eq!(
        lines,
        [
            r#"2026-11-22T03:28:00.123Z INFO it is done route=chat status=200 ms=1.5 ok=true model="a b" kind=Some(1)"#,
            "2026-11-22T03:28:00.123Z ERROR no fields",
            "2026-11-22T03:28:00.123Z WARN only=fields",
        ]
    );
}

#[test]
fn a_line_for_machines() {
    let lines = lines(&log(Level::Info, Format::Json), || {
        own!(info, route = "chat", status = -1, ms = 1.5, nan = f64::NAN, ok = true, model = %"a\"b", "{}", "m");
        own!(warn, host = "forged", time = 1, level = "x", environment = "y", "m");
    });
    assert_eq!(
        lines[0],
        "{\"time\":\"2026-11-22T03:28:00.123Z\",\"level\":\"INFO\",\"message\":\"m\",\
         \"environment\":\"test \\\"1\\\"\",\"host\":\"box\",\"route\":\"chat\",\"status\":-1,\"ms\":1.5,\
         \"nan\":\"NaN\",\"ok\":true,\"model\":\"a\\\"b\"}"
    );
    let value: serde_json::Value = serde_json::from_str(&lines[1]).unwrap();
    assert_eq!(value["host"], "box");
    assert_eq!(value["event.host"], "forged");
    assert_eq!(value["event.time"], 1);
    assert_eq!(value.as_object().unwrap().len(), 9, "no key twice: {}", lines[1]);
    assert_eq!(lines[1].matches("\":").count(), 9);
}

#[test]
fn an_unknown_host_is_left_out() {
    let log = Log { hostname: None, ..log(Level::Info, Format::Json) };
    let lines = lines(&log, || own!(info, "m"));
    assert!(!lines[0].contains("host"), "{lines:?}");
}

#[test]
fn no_value_can_forge_a_line() {
    let control: String =
        (0..0x20).chain([0x7F, 0x9B, 0x85, 0x2028, 0x2029]).filter_map(char::from_u32).collect();
    let evil = format!("gpt\r\n2026-01-01T00:00:00.000Z INFO forged\u{1b}[31m{control} x=\"1\" \\");
    for format in [Format::Text, Format::Json] {
        let lines = lines(&log(Level::Info, format), || {
            own!(info, model = evil.as_str(), shown = %evil, debug = ?evil, "message {evil}");
        });
        assert_eq!(lines.len(), 1, "{lines:#?}");
        let raw = |char: char| char.is_control() || "\u{2028}\u{2029}".contains(char);
        assert!(!lines[0].chars().any(raw), "{lines:#?}");
        if format == Format::Json {
            let value: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
            assert_eq!(value["model"], evil.as_str());
            assert_eq!(value["shown"], evil.as_str());
            assert_eq!(value["message"], format!("message {evil}"));
        }
    }
}

#[test]
fn a_value_cannot_pose_as_another_field() {
    let line = lines(&log(Level::Info, Format::Text), || {
        own!(
            info,
            a = "x status=200",
            b = "",
            c = "q\"",
            d = "k=v",
            e = "back\\slash",
            f = "\t",
            g = "gpt-4o:latest",
            "m"
        );
    });
    let tail = r#"m a="x status=200" b="" c="q\"" d="k=v" e="back\\slash" f="\u{9}" g=gpt-4o:latest"#;
    assert!(line[0].ends_with(tail), "{line:?}");
}

#[test]
fn each_level_lets_through_its_own_and_what_is_graver() {
    let levels = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];
    for (rank, level) in levels.into_iter().enumerate() {
        let lines = lines(&log(level, Format::Text), || {
            own!(error, "own");
            own!(warn, "own");
            own!(info, "own");
            own!(debug, "own");
            own!(trace, "own");
            tracing::trace!(target: "ollama_openai_proxy::proxy::server", "own");
            tracing::error!(target: "hyper", "other");
            tracing::warn!(target: "rustls::conn", "other");
            tracing::info!(target: "hyper", "other");
            tracing::debug!(target: "hyper_util", "other");
            tracing::trace!(target: "hyper", "other");
        });
        let (own, other): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.ends_with("own"));
        // A release build has no trace events at all.
        let expected = match level {
            Level::Trace if STATIC_MAX_LEVEL == LevelFilter::TRACE => 6,
            Level::Trace => 4,
            _ => rank + 1,
        };
        assert_eq!(own.len(), expected, "{level:?}: {own:#?}");
        assert_eq!(other.len(), rank.min(1) + 1, "{level:?}: {other:#?}");
    }
}

#[test]
fn times_of_the_calendar() {
    let rows = [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_399_999, "2000-02-28T23:59:59.999Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (951_868_800_000, "2000-03-01T00:00:00.000Z"),
        (1_709_164_800_001, "2024-02-29T00:00:00.001Z"),
        (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
        (1_735_689_600_000, "2025-01-01T00:00:00.000Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ];
    for (ms, expected) in rows {
        assert_eq!(timestamp(UNIX_EPOCH + Duration::from_millis(ms)), expected.as_bytes());
    }
    assert_eq!(timestamp(UNIX_EPOCH - Duration::from_secs(1)), rows[0].1.as_bytes());
}

#[test]
fn the_calendar_agrees_with_counting() {
    let (mut year, mut month, mut day) = (1970, 1, 1);
    for days in 0..200_000 {
        assert_eq!(civil_from_days(days), (year, month, day), "{days}");
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let last = match month {
            2 => 28 + u64::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        (year, month, day) = match (month, day) {
            (12, 31) => (year + 1, 1, 1),
            (month, day) if day == last => (year, month + 1, 1),
            (month, day) => (year, month, day + 1),
        };
    }
}

proptest::proptest! {
    #[test]
    fn a_number_of_tenths_is_written_as_any_number(tenths in -1_000_000_i32..1_000_000, value: f64) {
        for value in [f64::from(tenths) / 10.0, value] {
            if let Some(tenths) = super::tenths(value) {
                proptest::prop_assert_eq!(pushed(tenths), value.to_string());
            }
        }
        proptest::prop_assert!(super::tenths(f64::from(tenths) / 10.0).is_some());
    }

    #[test]
    fn a_whole_number_is_written_as_any_number(value: i64, small in -1000_i64..1000) {
        for value in [value, small, 0, i64::MIN, i64::MAX] {
            let mut out = String::from("=");
            push_number(&mut out, value < 0, value.unsigned_abs());
            proptest::prop_assert_eq!(out, format!("={value}"));
        }
    }
}

fn pushed(tenths: i32) -> String {
    let mut out = String::new();
    push_tenths(&mut out, tenths);
    out
}

#[test]
fn the_largest_number_is_written_whole() {
    let lines = lines(&log(Level::Info, Format::Text), || own!(info, most = u64::MAX, least = i64::MIN, "m"));
    assert!(lines[0].ends_with(&format!("most={} least={}", u64::MAX, i64::MIN)), "{lines:?}");
}

#[test]
fn numbers_that_are_not_of_tenths_are_told_from_those_that_are() {
    for (value, text) in [(0.3, "0.3"), (5.0, "5"), (-0.5, "-0.5"), (0.0, "0")] {
        assert_eq!(pushed(tenths(value).unwrap()), text);
    }
    for other in [-0.0, 0.30000000000000004, 1e300, f64::NAN, f64::INFINITY, 0.25] {
        assert!(tenths(other).is_none(), "{other}");
    }
}
