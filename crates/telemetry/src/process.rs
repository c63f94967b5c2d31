//! The usual `process_*` metrics, read from `/proc` when they are asked for.

use std::fmt::Write;
use std::fs;

/// Clock ticks per second in `/proc/PID/stat`: `USER_HZ`, fixed at 100 in the Linux ABI of every 64-bit machine
/// that we build for, whatever the kernel's own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

/// Appends the process metrics to `out`. One that cannot be read (no `/proc`, no file descriptor left) is left
/// out: a missing series is honest, a zero is not.
pub(crate) fn render(out: &mut String) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
    // Listing the directory holds one descriptor itself.
    let open_fds = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1) as f64);
    let times = times(&stat);

    let mut put = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            // Writing to a String does not fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        }
    };
    put("process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes(&status));
    put(
        "process_cpu_seconds_total",
        "counter",
        "User and system CPU time spent, all threads.",
        times.map(|times| times.cpu_seconds),
    );
    put("process_open_fds", "gauge", "Open file descriptors.", open_fds);
    put(
        "process_start_time_seconds",
        "gauge",
        "When the process started, Unix time.",
        times.and_then(|times| Some(boot_time_seconds(&boot)? + times.start_seconds_after_boot)),
    );
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Times {
    cpu_seconds: f64,
    start_seconds_after_boot: f64,
}

/// Reads `/proc/PID/stat`. The second field is the program's name in parentheses and may hold spaces and
/// parentheses of its own, hence the search from the right.
fn times(stat: &str) -> Option<Times> {
    let (_, after_name) = stat.rsplit_once(')')?;
    // Counted from the third field of proc_pid_stat(5): utime is the 14th, stime the 15th, starttime the 22nd.
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    Some(Times {
        cpu_seconds: (ticks(14)? + ticks(15)?) / TICKS_PER_SECOND,
        start_seconds_after_boot: ticks(22)? / TICKS_PER_SECOND,
    })
}

/// `VmRSS` of `/proc/PID/status`, which is in KiB whatever the page size.
fn resident_bytes(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

fn boot_time_seconds(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_name_with_spaces_and_parentheses() {
        let stat =
            "4242 (a) b (c)) S 1 4242 4242 0 -1 4194304 2187 0 1 0 250 50 0 0 20 0 9 0 1234 999 88 1 2";
        let expected = Times { cpu_seconds: 3.0, start_seconds_after_boot: 12.34 };
        assert_eq!(times(stat), Some(expected));
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        assert_eq!(times(""), None);
        assert_eq!(times("1 (init) S 1 2"), None);
        assert_eq!(resident_bytes("VmPeak: 10 kB\nVmRSS:\t  2048 kB\n"), Some(2_097_152.0));
        assert_eq!(resident_bytes("Name: kthreadd\n"), None);
        assert_eq!(boot_time_seconds("cpu 1 2\nbtime 1764000000\n"), Some(1_764_000_000.0));
    }
}
