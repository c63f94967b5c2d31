//! The events that are asked about.

use std::fs;
use std::io::{ErrorKind, IsTerminal};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::simulate::pipeline::instance::Instance;

/// Events of one message: 20,000 sends, 14,000 opens, 3,000 clicks and 500 downloads.
pub const PER_MESSAGE: u64 = 37_500;
/// Mails to each recipient: with what they do, twice as many events.
const MAILS_PER_RECIPIENT: u64 = 60;
/// Messages in one insert, which is one block and so one part of each table and month: of two billion events that is
/// under the thousand parts at which ClickHouse slows inserts down.
const AT_ONCE: u64 = 56;
/// For one insert.
const INSERT_WAIT: Duration = Duration::from_secs(300);
/// For the merges to end: the last ones of a billion events write half of them anew.
const MERGE_WAIT: Duration = Duration::from_secs(3_600);

/// How far a folder is filled, kept in a file in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Messages whose events are there.
    pub made: u64,
    /// Messages that were asked for.
    pub wanted: u64,
}

impl Progress {
    const FILE: &str = "filled";

    /// What is noted in a folder; `None` in one that was never filled.
    ///
    /// # Errors
    /// When the file cannot be read, or is none of ours.
    pub fn of(dir: &Path) -> anyhow::Result<Option<Progress>> {
        let file = dir.join(Self::FILE);
        let text = match fs::read_to_string(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("failed to read {}", file.display()))?,
        };
        let numbers = text.trim().split_once(" of ");
        let progress = numbers.and_then(|(made, wanted)| {
            Some(Progress { made: made.parse().ok()?, wanted: wanted.parse().ok()? })
        });
        let progress = progress.with_context(|| {
            format!("expected two numbers like `56 of 1334` in {}, found {text:?}", file.display())
        })?;
        Ok(Some(progress))
    }

    /// Notes it, after which a run that is cut off leaves off here.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note(self, dir: &Path) -> anyhow::Result<()> {
        let file = dir.join(Self::FILE);
        let new = file.with_extension("new");
        fs::write(&new, format!("{} of {}\n", self.made, self.wanted))
            .and_then(|()| fs::rename(&new, &file))
            .with_context(|| format!("failed to write {}", file.display()))
    }
}

/// Makes the messages that are missing, of which the first recipients have these keys.
///
/// # Errors
/// When ClickHouse refuses or does not answer in time. What is made by then is noted.
pub fn fill(instance: &Instance, dir: &Path, progress: Progress, named: &[u64]) -> anyhow::Result<()> {
    let Progress { made, wanted } = progress;
    let recipients = (wanted * 20_000 / MAILS_PER_RECIPIENT).max(20_000);
    let sql = |from: u64| {
        include_str!("events.sql")
            .replace("{events}", &(AT_ONCE.min(wanted - from) * PER_MESSAGE).to_string())
            .replace("{from}", &(from * PER_MESSAGE).to_string())
            .replace("{per_message}", &PER_MESSAGE.to_string())
            .replace("{messages}", &wanted.to_string())
            .replace("{recipients}", &recipients.to_string())
            .replace("{named}", &format!("{named:?}"))
    };
    let end = if std::io::stderr().is_terminal() { '\r' } else { '\n' };
    // Parts that wait until all are there are merged once, and not again with each of the next.
    instance.query("SYSTEM STOP MERGES")?;
    // An insert is the work of one core, so two go at once.
    for from in (made..wanted).step_by(2 * AT_ONCE as usize) {
        let second = from + AT_ONCE;
        let other = (second < wanted).then(|| sql(second));
        instance.together(&sql(from), other.as_deref(), INSERT_WAIT).context("failed to make events")?;
        let made = wanted.min(second + AT_ONCE);
        Progress { made, wanted }.note(dir)?;
        eprint!("{} of {} events made{end}", made * PER_MESSAGE, wanted * PER_MESSAGE);
    }
    eprintln!();
    // By default what was merged stays for eight minutes, in which all is merged: twice the disk.
    for table in ["events", "recipient_events", "message_hourly_states"] {
        instance.query(&format!("ALTER TABLE {table} MODIFY SETTING old_parts_lifetime = 10"))?;
    }
    instance.query("SYSTEM START MERGES")?;
    settle(instance)
}

/// Waits until what is merged by itself is merged.
fn settle(instance: &Instance) -> anyhow::Result<()> {
    let begun = std::time::Instant::now();
    let mut quiet = 0;
    while quiet < 3 {
        let merges = instance.query("SELECT count() FROM system.merges")?;
        quiet = if merges.trim() == "0" { quiet + 1 } else { 0 };
        if begun.elapsed() > MERGE_WAIT {
            bail!("{} merges run after {} s", merges.trim(), MERGE_WAIT.as_secs());
        }
        std::thread::park_timeout(Duration::from_secs(1));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_found_again_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Progress::of(dir.path()).unwrap(), None);
        let progress = Progress { made: 56, wanted: 1_334 };
        progress.note(dir.path()).unwrap();
        assert_eq!(Progress::of(dir.path()).unwrap(), Some(progress));
        fs::write(dir.path().join(Progress::FILE), "").unwrap();
        let refusal = format!("{:#}", Progress::of(dir.path()).unwrap_err());
        assert!(refusal.contains("filled, found \"\""), "{refusal}");
    }
}
