//! A program of ours under callgrind.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::compare::bench::{Bench, Running};

/// For a program under callgrind to be up: it runs about fifty times slower than else.
pub const UP_WAIT: Duration = Duration::from_secs(120);
/// For it to finish what it has taken, and for the profile.
const END_WAIT: Duration = Duration::from_secs(120);

/// valgrind's own bound on threads.
const THREADS_MAX: u32 = 500;

/// A program whose instructions are counted.
pub struct Observed {
    running: Running,
    profile: PathBuf,
}

impl Observed {
    /// Starts our program with one of its commands.
    pub fn start(bench: &Bench, name: &str, command: &str, settings: &[String]) -> anyhow::Result<Observed> {
        let profile = bench.dir.join(format!("{name}.callgrind"));
        let out = format!("--callgrind-out-file={}", profile.display());
        let program = bench.mailbeacon.to_string_lossy();
        let valgrind = crate::compare::bench::find("valgrind").context("needed to count instructions")?;
        let valgrind = valgrind.to_string_lossy();
        // Without fair scheduling a thread that spins on a queue can keep the others from running for seconds.
        let line =
            [&*valgrind, "--tool=callgrind", "--separate-threads=yes", "--fair-sched=try", &out, &program];
        let settings = settings.iter().flat_map(|setting| ["--set", setting]);
        let line: Vec<&str> = line.into_iter().chain(settings).chain([command]).collect();
        Ok(Observed { running: bench.peer(name, &line)?, profile })
    }

    /// Waits until it has said this, and returns the line.
    pub fn line(&self, part: &str) -> anyhow::Result<String> {
        Ok(self.running.program().line(part, UP_WAIT)?)
    }

    /// Fails when it has ended by itself.
    pub fn check(&self) -> anyhow::Result<()> {
        Ok(self.running.program().check()?)
    }

    /// Ends it cleanly, and returns how many instructions its threads have run from its start to its end. Those of the
    /// main thread are left out: it starts the others and waits, and before that a clock is calibrated, which runs for a
    /// time and not for a number of instructions.
    ///
    /// With `only`, those threads alone that have run this function.
    pub fn end(self, only: Option<&str>) -> anyhow::Result<u64> {
        self.running.program().stop(END_WAIT)?;
        let mut threads = 0;
        let mut sum = 0;
        for thread in 2..=THREADS_MAX {
            let profile = format!("{}-{thread:02}", self.profile.display());
            let profile = Path::new(&profile);
            if profile.exists()
                && let Some(total) = total(profile, only)?
            {
                sum += total;
                threads += 1;
            }
        }
        ensure!(threads > 0, "callgrind left no profile at {}-02", self.profile.display());
        Ok(sum)
    }
}

/// The total in a profile, if the function is in it.
fn total(profile: &Path, only: Option<&str>) -> anyhow::Result<Option<u64>> {
    let text =
        fs::read_to_string(profile).with_context(|| format!("failed to read {}", profile.display()))?;
    if only.is_some_and(|only| !text.contains(only)) {
        return Ok(None);
    }
    parse(&text).with_context(|| format!("{} has no total", profile.display())).map(Some)
}

fn parse(profile: &str) -> Option<u64> {
    profile.lines().rev().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_ends_with_its_total() {
        let profile = "version: 1\ncreator: callgrind-3.19.0\nevents: Ir\nsummary: 7\n\nfn=(1) main\n0 7\n\ntotals: 7123\n";
        assert_eq!(parse(profile), Some(7123));
        assert_eq!(parse("events: Ir\nfn=(1) main\n0 7\n"), None);
    }
}
