//! One JSON object per run on standard output, and the histograms behind it.

use hdrhistogram::Histogram;
use std::fmt::Write as _;

/// Nanosecond samples from 1 ns to 10 min at three significant digits; longer ones count as the maximum.
pub fn histogram() -> Result<Histogram<u64>, String> {
    let mut histogram = Histogram::new_with_bounds(1, 600_000_000_000, 3).map_err(|e| e.to_string())?;
    histogram.auto(false);
    Ok(histogram)
}

/// The object being written. Names and texts are our own words: nothing in them needs escaping.
#[derive(Debug)]
pub struct Report(String);

impl Report {
    /// Opens the object with its mode.
    pub fn new(mode: &str) -> Self {
        Self(format!("{{\"mode\":\"{mode}\""))
    }

    /// Adds a number.
    pub fn number(mut self, name: &str, value: f64) -> Self {
        let _infallible = write!(self.0, ",\"{name}\":{}", (value * 1e4).round() / 1e4);
        self
    }

    /// Adds a text.
    pub fn text(mut self, name: &str, value: &str) -> Self {
        let _infallible = write!(self.0, ",\"{name}\":\"{value}\"");
        self
    }

    /// Adds a list of numbers.
    pub fn list(mut self, name: &str, values: &[f64]) -> Self {
        let values: Vec<_> = values.iter().map(|value| format!("{value:.3}")).collect();
        let _infallible = write!(self.0, ",\"{name}\":[{}]", values.join(","));
        self
    }

    /// Adds p50, p90, p99, p99.9 and the maximum of nanosecond samples, in microseconds.
    pub fn percentiles(mut self, name: &str, samples: &Histogram<u64>) -> Self {
        for (label, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)] {
            self =
                self.number(&format!("{name}_{label}_us"), samples.value_at_quantile(quantile) as f64 / 1e3);
        }
        self
    }

    /// Closes the object.
    pub fn finish(self) -> String {
        self.0 + "}"
    }
}
