//! What watched processes spent: CPU time and memory, from `/proc`.

use std::fs;
use std::str::FromStr;

use anyhow::{Context, ensure};

/// Clock ticks per second in `/proc/PID/stat`: `USER_HZ`, fixed at 100 in the Linux ABI.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process to watch: `NAME=PID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Its name in the report.
    pub name: String,
    /// Its process id.
    pub pid: u32,
}

impl FromStr for Watched {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, pid) = text.split_once('=').with_context(|| format!("`{text}`: expected NAME=PID"))?;
        ensure!(!name.is_empty(), "`{text}`: expected NAME=PID");
        let pid = pid.parse().with_context(|| format!("`{pid}` is not a process id"))?;
        Ok(Watched { name: name.to_owned(), pid })
    }
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Used {
    /// User and system time of all its threads, those that have ended included.
    pub cpu_seconds: f64,
    /// Resident memory now.
    pub rss_bytes: u64,
}

/// Reads what process `pid` has used so far.
pub fn used(pid: u32) -> anyhow::Result<Used> {
    let stat =
        fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("no process {pid}"))?;
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("no process {pid}"))?;
    parse(&stat, &status).with_context(|| format!("/proc/{pid}/stat is not as expected"))
}

fn parse(stat: &str, status: &str) -> Option<Used> {
    // The name, in parentheses, may hold spaces and parentheses; utime and stime are the 14th and 15th fields of
    // proc_pid_stat(5), and the state after the name is the third.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(14 - 3);
    let ticks: f64 = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    // A zombie has no VmRSS.
    let rss = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .map_or(Some(0), |kib| Some(kib.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1_024))?;
    Some(Used { cpu_seconds: ticks / TICKS_PER_SECOND, rss_bytes: rss })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_process() {
        let stat = "42 (my (odd) name) S 1 42 42 0 -1 4194304 2187 0 1 0 250 50 0 0 20 0 9 0 1234 999 88";
        let used = parse(stat, "Name:\tx\nVmRSS:\t    2048 kB\n");
        assert_eq!(used, Some(Used { cpu_seconds: 3.0, rss_bytes: 2_097_152 }));
        assert_eq!(parse("42 (x", ""), None);
    }

    #[test]
    fn reads_itself() {
        assert!(super::used(std::process::id()).unwrap().rss_bytes > 0);
        assert!(super::used(u32::MAX).unwrap_err().to_string().contains("no process"));
    }

    #[test]
    fn names_and_pids() {
        assert_eq!("edge=12".parse::<Watched>().unwrap(), Watched { name: "edge".to_owned(), pid: 12 });
        for bad in ["edge", "=12", "edge=x"] {
            assert!(bad.parse::<Watched>().is_err(), "{bad}");
        }
    }
}
