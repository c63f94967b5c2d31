//! The events that are asked about.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::simulate::pipeline::instance::Instance;

/// Events of one message: 20,000 sends, 14,000 opens, 3,000 clicks and 500 downloads.
pub const PER_MESSAGE: u64 = 37_500;
/// Mails to each recipient: with what they do, twice as many events.
const MAILS_PER_RECIPIENT: u64 = 60;
/// Messages in one insert.
const AT_ONCE: u64 = 56;
/// For one insert.
const INSERT_WAIT: Duration = Duration::from_secs(300);
/// For the merges to end.
const MERGE_WAIT: Duration = Duration::from_secs(1_200);

/// Makes so many messages, of which the first recipients have these keys.
///
/// # Errors
/// When ClickHouse refuses or does not answer in time.
pub fn fill(instance: &Instance, messages: u64, named: &[u64]) -> anyhow::Result<()> {
    let recipients = (messages * 20_000 / MAILS_PER_RECIPIENT).max(20_000);
    let end = if std::io::stderr().is_terminal() { '\r' } else { '\n' };
    for from in (0..messages).step_by(AT_ONCE as usize) {
        let some = AT_ONCE.min(messages - from);
        let sql = include_str!("events.sql")
            .replace("{events}", &(some * PER_MESSAGE).to_string())
            .replace("{from}", &(from * PER_MESSAGE).to_string())
            .replace("{per_message}", &PER_MESSAGE.to_string())
            .replace("{messages}", &messages.to_string())
            .replace("{recipients}", &recipients.to_string())
            .replace("{named}", &format!("{named:?}"));
        instance.query_within(&sql, INSERT_WAIT).context("failed to make events")?;
        eprint!("{} of {} events made{end}", (from + some) * PER_MESSAGE, messages * PER_MESSAGE);
    }
    eprintln!();
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
