//! What a side has spent: the CPU time of its processes and of all that they started.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context;

/// Clock ticks per second in `/proc`: `USER_HZ`, fixed at 100 in the Linux ABI.
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of CPU time by the name of the process.
pub type Spent = BTreeMap<String, f64>;

/// What these processes and all below them have spent so far.
pub fn spent(roots: impl IntoIterator<Item = u32>) -> anyhow::Result<Spent> {
    let all = processes()?;
    let mut spent = Spent::new();
    let mut open: Vec<u32> = roots.into_iter().collect();
    while let Some(pid) = open.pop() {
        let process = all.get(&pid).with_context(|| format!("process {pid} has ended"))?;
        *spent.entry(process.name.clone()).or_default() += process.ticks / TICKS_PER_SECOND;
        open.extend(all.iter().filter(|(_, other)| other.parent == pid).map(|(pid, _)| *pid));
    }
    Ok(spent)
}

/// What was spent between two looks at the same processes.
pub fn since(before: &Spent, now: &Spent) -> Spent {
    let spent = |(name, now): (&String, &f64)| (name.clone(), now - before.get(name).unwrap_or(&0.0));
    now.iter().map(spent).collect()
}

/// Over all of them.
pub fn sum(spent: &Spent) -> f64 {
    spent.values().sum()
}

/// What the cores of the machine have not spent, in seconds over all of them. What they have is not read: the kernel only
/// samples it, and requests that come by the clock fall into step with the samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine {
    /// How many there are.
    pub cores: usize,
    /// Without work, or with none but what waits for a disk.
    pub idle: f64,
    /// Wanted, and taken by other machines on the same hardware.
    pub stolen: f64,
}

/// The machine so far.
pub fn machine() -> anyhow::Result<Machine> {
    let stat = fs::read_to_string("/proc/stat").context("failed to read /proc/stat")?;
    parse_machine(&stat).context("/proc/stat is not as expected")
}

fn parse_machine(stat: &str) -> Option<Machine> {
    // user nice system idle iowait irq softirq steal, see proc_stat(5); then the same for each core.
    let mut lines = stat.lines();
    let line = lines.next()?.strip_prefix("cpu ")?;
    let ticks: Vec<f64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let [_, _, _, idle, iowait, _, _, steal, ..] = ticks[..] else { return None };
    Some(Machine {
        cores: lines.take_while(|line| line.starts_with("cpu")).count(),
        idle: (idle + iowait) / TICKS_PER_SECOND,
        stolen: steal / TICKS_PER_SECOND,
    })
}

#[derive(Debug, PartialEq)]
struct Process {
    parent: u32,
    name: String,
    ticks: f64,
}

fn processes() -> anyhow::Result<BTreeMap<u32, Process>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("failed to read /proc")? {
        let entry = entry.context("failed to read /proc")?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that has ended meanwhile.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let process = parse(&stat).with_context(|| format!("/proc/{pid}/stat is not as expected"))?;
        all.insert(pid, process);
    }
    Ok(all)
}

fn parse(stat: &str) -> Option<Process> {
    // The name, in parentheses, may hold parentheses. After it: state, parent, ..., utime (14th) and stime, see
    // proc_pid_stat(5).
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(Process { parent: fields.get(1)?.parse().ok()?, name, ticks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_process_and_the_machine() {
        let stat = "42 (my (odd) name) S 7 42 42 0 -1 4194304 2187 0 1 0 250 50 0 0 20 0 9 0 1234 999 88";
        let expected = Process { parent: 7, name: "my (odd) name".to_owned(), ticks: 300.0 };
        assert_eq!(parse(stat), Some(expected));
        let machine = parse_machine("cpu  100 20 300 400 5 6 74 50 0 0\ncpu0 1\ncpu1 1\nintr 7").unwrap();
        assert_eq!(machine, Machine { cores: 2, idle: 4.05, stolen: 0.5 });
    }

    #[test]
    fn counts_what_is_below() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let found = spent([std::process::id()]).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.len() >= 2, "{found:?}");
        assert!(spent([u32::MAX]).unwrap_err().to_string().contains("has ended"));
    }

    #[test]
    fn differences_are_by_name() {
        let before = Spent::from([("a".to_owned(), 1.0)]);
        let now = Spent::from([("a".to_owned(), 1.5), ("b".to_owned(), 0.25)]);
        assert_eq!(sum(&since(&before, &now)), 0.75);
    }
}
