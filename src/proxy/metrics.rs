//! [`Metrics`]: what happened, counted, in the text format of Prometheus (0.0.4).
//!
//! Counting is one atomic addition: no lock and no allocation on the path of a request. Nothing that a client can choose
//! is a label, so the number of series is fixed. Only [`Metrics::write`] costs anything, once a scrape. Counts are read
//! one by one while others go on, so two of one scrape may be a request apart.

use super::error::ErrorKind;
use crate::ollama::Route;
use crate::openai::Usage;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Microseconds: from a cached answer of a small local model to the wait for one that is being loaded.
const FIRST_LINE_BOUNDS: [u64; 12] = [
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];
/// The last is for a client that left before its answer had a status.
const CLASSES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "none"];
/// What has no route: unknown paths, wrong methods, preflights, refused pages.
const NO_ROUTE: &str = "other";
const ROUTES: usize = Route::ROWS + 1;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Metrics {
    /// What never changes: the label of `build_info`, as it stands in the text.
    build: String,
    started: SystemTime,
    requests: [[AtomicU64; CLASSES.len()]; ROUTES],
    errors: [AtomicU64; ErrorKind::ALL.len()],
    cancelled: AtomicU64,
    in_flight: AtomicI64,
    streams: AtomicI64,
    first_line: [AtomicU64; FIRST_LINE_BOUNDS.len() + 1],
    first_line_us: AtomicU64,
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
    learned: AtomicU64,
    retries: AtomicU64,
}

/// How one request ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) route: Option<Route>,
    /// `None` when there was no answer.
    pub(super) status: Option<u16>,
    pub(super) is_cancelled: bool,
    /// A first line was counted.
    pub(super) was_stream: bool,
    pub(super) usage: Usage,
}

impl Metrics {
    /// Of a proxy in front of `backend`.
    pub(super) fn new(backend: &str) -> Self {
        let mut build = String::new();
        // Writing to a String cannot fail.
        let _written = write!(
            build,
            "version=\"{}\",backend=\"{}\"",
            Escaped(env!("CARGO_PKG_VERSION")),
            Escaped(backend)
        );
        Metrics {
            build,
            started: SystemTime::now(),
            requests: Default::default(),
            errors: Default::default(),
            cancelled: AtomicU64::new(0),
            in_flight: AtomicI64::new(0),
            streams: AtomicI64::new(0),
            first_line: Default::default(),
            first_line_us: AtomicU64::new(0),
            prompt_tokens: AtomicU64::new(0),
            completion_tokens: AtomicU64::new(0),
            learned: AtomicU64::new(0),
            retries: AtomicU64::new(0),
        }
    }

    /// How long the process has run, by a clock that may be set.
    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed().unwrap_or_default()
    }

    pub(super) fn began(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// The first line of a stream goes out.
    pub(super) fn first_line(&self, after: Duration) {
        let us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        let bucket = FIRST_LINE_BOUNDS.iter().take_while(|bound| us > **bound).count();
        if let Some(bucket) = self.first_line.get(bucket) {
            bucket.fetch_add(1, Relaxed);
        }
        self.first_line_us.fetch_add(us, Relaxed);
        self.streams.fetch_add(1, Relaxed);
    }

    pub(super) fn failed(&self, kind: ErrorKind) {
        if let Some(count) = self.errors.get(kind as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// A parameter that the backend refuses is left out from now on.
    pub(super) fn learned(&self) {
        self.learned.fetch_add(1, Relaxed);
    }

    /// A connection to the backend failed and is tried again, or a request is sent again without a parameter.
    pub(super) fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(super) fn ended(&self, ended: &Ended) {
        let row = ended.route.map_or(ROUTES - 1, Route::row);
        let class = match ended.status {
            Some(..300) => 0,
            Some(..400) => 1,
            Some(..500) => 2,
            Some(_) => 3,
            None => 4,
        };
        if let Some(count) = self.requests.get(row).and_then(|classes| classes.get(class)) {
            count.fetch_add(1, Relaxed);
        }
        self.in_flight.fetch_sub(1, Relaxed);
        if ended.was_stream {
            self.streams.fetch_sub(1, Relaxed);
        }
        if ended.is_cancelled {
            self.cancelled.fetch_add(1, Relaxed);
        }
        self.prompt_tokens.fetch_add(ended.usage.prompt_tokens.unwrap_or(0), Relaxed);
        self.completion_tokens.fetch_add(ended.usage.completion_tokens.unwrap_or(0), Relaxed);
    }

    /// Everything, as Prometheus reads it.
    pub(super) fn text(&self) -> String {
        let mut out = String::with_capacity(8 << 10);
        // Writing to a String cannot fail.
        let _written = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        head(out, "build_info", "gauge", "Always 1; the labels say what runs.")?;
        writeln!(out, "{PREFIX}build_info{{{}}} 1", self.build)?;
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        writeln!(out, "# HELP process_start_time_seconds When the process began, in Unix seconds.")?;
        writeln!(out, "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {started}")?;
        head(out, "requests_total", "counter", "Requests that ended, by route and class of status.")?;
        let paths = Route::paths().chain([NO_ROUTE]);
        for (path, classes) in paths.zip(&self.requests) {
            for (class, count) in CLASSES.iter().zip(classes) {
                // 135 series, most of them never used: what did not happen is left out.
                let count = count.load(Relaxed);
                if count > 0 {
                    let path = Escaped(path);
                    writeln!(out, "{PREFIX}requests_total{{route=\"{path}\",status=\"{class}\"}} {count}")?;
                }
            }
        }
        head(out, "errors_total", "counter", "Requests that failed, by the kind of the fault.")?;
        for (kind, count) in ErrorKind::ALL.iter().zip(&self.errors) {
            let kind = Escaped(kind.name());
            writeln!(out, "{PREFIX}errors_total{{kind=\"{kind}\"}} {}", count.load(Relaxed))?;
        }
        self.write_plain(out)?;
        self.write_first_line(out)
    }

    fn write_plain(&self, out: &mut String) -> fmt::Result {
        for (name, count, help) in [
            ("requests_in_flight", &self.in_flight, "Requests that have not ended."),
            ("streams_in_flight", &self.streams, "Answers whose first line is out and whose last is not."),
        ] {
            head(out, name, "gauge", help)?;
            writeln!(out, "{PREFIX}{name} {}", count.load(Relaxed))?;
        }
        for (name, count, help) in [
            ("cancelled_total", &self.cancelled, "Requests whose client left before the end."),
            (
                "learned_refusals_total",
                &self.learned,
                "Parameters left out for good because the backend refuses them.",
            ),
            (
                "backend_retries_total",
                &self.retries,
                "Requests tried again: no connection, or without a parameter.",
            ),
        ] {
            head(out, name, "counter", help)?;
            writeln!(out, "{PREFIX}{name} {}", count.load(Relaxed))?;
        }
        head(out, "tokens_total", "counter", "Tokens as the backend counted them.")?;
        for (kind, count) in [("prompt", &self.prompt_tokens), ("completion", &self.completion_tokens)] {
            writeln!(out, "{PREFIX}tokens_total{{kind=\"{kind}\"}} {}", count.load(Relaxed))?;
        }
        Ok(())
    }

    fn write_first_line(&self, out: &mut String) -> fmt::Result {
        const NAME: &str = "first_line_seconds";
        head(out, NAME, "histogram", "Time from a request to the first line of its stream.")?;
        let mut count = 0;
        for (at, bucket) in self.first_line.iter().enumerate() {
            count += bucket.load(Relaxed);
            match FIRST_LINE_BOUNDS.get(at) {
                Some(bound) => {
                    writeln!(out, "{PREFIX}{NAME}_bucket{{le=\"{}\"}} {count}", seconds(*bound))?;
                }
                None => writeln!(out, "{PREFIX}{NAME}_bucket{{le=\"+Inf\"}} {count}")?,
            }
        }
        let sum = seconds(self.first_line_us.load(Relaxed));
        writeln!(out, "{PREFIX}{NAME}_sum {sum}\n{PREFIX}{NAME}_count {count}")
    }
}

const PREFIX: &str = "ollama_openai_proxy_";

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}")
}

fn seconds(us: u64) -> f64 {
    Duration::from_micros(us).as_secs_f64()
}

/// The inside of a label's value.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                char => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped() {
        let text = Metrics::new("http://a\\b\"c\nd").text();
        let line = text.lines().find(|line| line.contains("build_info{")).unwrap();
        assert!(line.ends_with(r#",backend="http://a\\b\"c\nd"} 1"#), "{line}");
    }

    #[test]
    fn a_time_falls_into_the_first_bucket_that_is_not_below_it() {
        let metrics = Metrics::new("b");
        for us in [0, 25_000, 25_001, 1_000_000, 300_000_000, 300_000_001] {
            metrics.first_line(Duration::from_micros(us));
        }
        let text = metrics.text();
        for (le, count) in
            [("0.025", 2), ("0.05", 3), ("0.5", 3), ("1", 4), ("60", 4), ("300", 5), ("+Inf", 6)]
        {
            let line = format!("first_line_seconds_bucket{{le=\"{le}\"}} {count}\n");
            assert!(text.contains(&line), "{line}{text}");
        }
        assert!(text.contains("first_line_seconds_sum 601.050002\n"), "{text}");
        assert!(text.contains("first_line_seconds_count 6\n"));
    }
}
