//! What Linux says about another process: resident memory and processor time, from `/proc`.

use std::fs;

/// `USER_HZ`, the unit of `/proc/PID/stat` times: 100 on every Linux this runs on, whatever the kernel's own tick.
const TICKS_PER_SECOND: f64 = 100.0;

/// Resident memory (`VmRSS`) in KiB.
pub fn rss_kib(pid: u32) -> Result<u64, String> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let value =
        line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|value| value.trim().parse().ok());
    value.ok_or_else(|| format!("{path}: no VmRSS, has the process ended?"))
}

/// Processor seconds spent so far, user and system, all threads.
pub fn cpu_seconds(pid: u32) -> Result<f64, String> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    // The command name may hold spaces and brackets; the fields are counted from its closing bracket.
    let fields = text.rsplit_once(") ").map(|(_, fields)| fields.split(' ').collect::<Vec<_>>());
    let ticks = |at: usize| fields.as_ref()?.get(at)?.parse::<f64>().ok();
    match (ticks(11), ticks(12)) {
        (Some(user), Some(system)) => Ok((user + system) / TICKS_PER_SECOND),
        _ => Err(format!("{path}: no times")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_time() {
        let pid = std::process::id();
        assert!(rss_kib(pid).unwrap() > 100);
        assert!(cpu_seconds(pid).unwrap() >= 0.0);
        assert!(rss_kib(u32::MAX).is_err());
    }
}
