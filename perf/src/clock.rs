//! The one clock both processes can read: nanoseconds since the Unix epoch.
//!
//! `Instant` cannot cross a process border, so a token carries the wall clock. A step of that clock during a run shows
//! as a token from the future or from minutes ago, which `token` refuses.

use std::time::{SystemTime, UNIX_EPOCH};

/// Wall-clock nanoseconds since the Unix epoch; 0 for a clock set before it.
pub fn unix_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
