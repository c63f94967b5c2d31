//! Which core is whose.

use std::fs;

use anyhow::Context;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores of the machine, two at least: a side that answers requests has the first to itself, whoever asks and the
/// broker have the others.
#[derive(Debug, Clone)]
pub struct Cores(Vec<usize>);

impl Cores {
    /// Those that this process may use; `None` when that is one.
    pub fn here() -> Option<Cores> {
        let all = sched_getaffinity(None).ok()?;
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core)).collect();
        (cores.len() > 1).then_some(Cores(cores))
    }

    /// The first so many, as `taskset` takes them.
    pub fn first(&self, count: usize) -> String {
        let first: Vec<String> = self.0.iter().take(count).map(usize::to_string).collect();
        first.join(",")
    }

    /// Keeps the calling thread, and those that it starts, off the side's core.
    pub fn leave_the_side_here(&self) -> anyhow::Result<()> {
        self.off(None)
    }

    /// Keeps all threads of a process off the side's core.
    pub fn leave_the_side(&self, pid: u32) -> anyhow::Result<()> {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).context("failed to read a broker's threads")?;
        for task in tasks.flatten() {
            let id = task.file_name().to_str().and_then(|id| id.parse().ok()).and_then(Pid::from_raw);
            // One that has ended meanwhile needs no core.
            let _ = self.off(id);
        }
        Ok(())
    }

    fn off(&self, thread: Option<Pid>) -> anyhow::Result<()> {
        let mut set = CpuSet::new();
        self.0[1..].iter().for_each(|core| set.set(*core));
        sched_setaffinity(thread, &set).context("failed to keep off the core of the sides")
    }
}
