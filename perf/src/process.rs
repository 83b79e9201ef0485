//! What Linux says about a program: resident memory, processor time and wake-ups of a process and its children, from
//! `/proc`.
//!
//! A server may serve from a child (nginx does), so both are sums over the tree. A page that two of them share counts
//! twice in the memory of the tree; growth, which is what is compared, is not touched by that.

use std::fs;

/// `USER_HZ`, the unit of `/proc/PID/stat` times: 100 on every Linux this runs on, whatever the kernel's own tick.
const TICKS_PER_SECOND: f64 = 100.0;

/// Resident memory (`VmRSS`) in KiB.
pub fn rss_kib(pid: u32) -> Result<u64, String> {
    tree(pid)?.into_iter().map(one_rss_kib).sum()
}

/// Processor seconds spent so far, user and system, all threads.
pub fn cpu_seconds(pid: u32) -> Result<f64, String> {
    tree(pid)?.into_iter().map(one_cpu_seconds).sum()
}

/// How often a thread of it went to sleep by itself, and so had to be woken: voluntary context switches.
pub fn wake_ups(pid: u32) -> Result<u64, String> {
    Ok(tree(pid)?.into_iter().map(one_wake_ups).collect::<Result<Vec<_>, _>>()?.into_iter().sum())
}

/// The process and all that descend from it.
fn tree(pid: u32) -> Result<Vec<u32>, String> {
    let mut pids = vec![pid];
    let mut at = 0;
    while let Some(pid) = pids.get(at).copied() {
        at += 1;
        for thread in threads(pid)? {
            let children =
                fs::read_to_string(format!("/proc/{pid}/task/{thread}/children")).unwrap_or_default();
            pids.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    Ok(pids)
}

fn threads(pid: u32) -> Result<Vec<u32>, String> {
    let path = format!("/proc/{pid}/task");
    let entries = fs::read_dir(&path).map_err(|e| format!("{path}: {e}"))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

fn one_rss_kib(pid: u32) -> Result<u64, String> {
    status_number(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// A thread that ends takes its count along, so a program that makes a thread a request would say too little.
fn one_wake_ups(pid: u32) -> Result<u64, String> {
    let of = |thread| status_number(&format!("/proc/{pid}/task/{thread}/status"), "voluntary_ctxt_switches:");
    Ok(threads(pid)?.into_iter().filter_map(|thread| of(thread).ok()).sum())
}

/// The first number of a line in a `status` file.
fn status_number(path: &str, name: &str) -> Result<u64, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    value.ok_or_else(|| format!("{path}: no {name:?}; has the process ended?"))
}

/// Two clocks: `stat` counts in 10 ms and keeps the time of threads that ended, `schedstat` counts in nanoseconds and
/// does not. Neither says too much, so the larger is the nearer.
fn one_cpu_seconds(pid: u32) -> Result<f64, String> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    // The command name may hold spaces and brackets; the fields are counted from its closing bracket.
    let fields = text.rsplit_once(") ").map(|(_, fields)| fields.split(' ').collect::<Vec<_>>());
    let ticks = |at: usize| fields.as_ref()?.get(at)?.parse::<f64>().ok();
    let (Some(user), Some(system)) = (ticks(11), ticks(12)) else { return Err(format!("{path}: no times")) };
    let run_ns = |thread: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    };
    let scheduled = threads(pid)?.into_iter().filter_map(run_ns).sum::<f64>() / 1e9;
    Ok(scheduled.max((user + system) / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_time() {
        let pid = std::process::id();
        assert!(rss_kib(pid).unwrap() > 100);
        assert!(cpu_seconds(pid).unwrap() >= 0.0);
        assert!(wake_ups(pid).is_ok());
        assert!(rss_kib(u32::MAX).is_err());
        assert!(wake_ups(u32::MAX).is_err());
    }

    #[test]
    fn a_child_counts_with_its_parent() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(tree(std::process::id()).unwrap().contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!tree(std::process::id()).unwrap().contains(&child.id()));
    }
}
