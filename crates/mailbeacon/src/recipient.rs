//! `mailbeacon recipient`: what a recipient decides about send times.

use std::io::{self, BufRead, Read};

use anyhow::{Context, bail, ensure};

use crate::settings::Settings;
use crate::stdout::say;

/// For `--help`.
pub const EXAMPLES: &str = r#"A recipient who withdrew gets no send time by any way of asking, what was recommended is deleted,
and nothing of theirs enters what is learned of others the next time. Events stay; tracking itself
ends with the mode of the links.

  mailbeacon recipient withdraw customer-42
  mailbeacon recipient withdraw - < names.txt
  mailbeacon recipient restore customer-42"#;

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// No send times for these recipients, from now on.
    Withdraw(Names),
    /// Send times again for recipients who had withdrawn.
    Restore(Names),
}

/// Who.
#[derive(Debug, clap::Args)]
pub struct Names {
    /// Recipients, as the sending application names them; `-` reads one a line from standard input.
    #[arg(required = true, value_name = "RECIPIENT")]
    names: Vec<String>,
    /// The sending application's workspace.
    #[arg(long, default_value_t = 1)]
    workspace: u32,
}

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 1_024;
/// Recipients at once.
const NAMES_MAX: usize = 1_000_000;
/// Noted in one insert.
const AT_ONCE: usize = 10_000;

/// Does it.
pub fn run(settings: &Settings, command: &Command) -> anyhow::Result<()> {
    let (names, withdrawn) = match command {
        Command::Withdraw(names) => (names, true),
        Command::Restore(names) => (names, false),
    };
    let keys = settings.keys()?;
    let recipients: Vec<u64> =
        names.read()?.iter().map(|name| keys.recipient(names.workspace, name)).collect();
    let store = settings.store()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let at_ms = jiff::Timestamp::now().as_millisecond();
    runtime.block_on(async {
        for some in recipients.chunks(AT_ONCE) {
            store
                .withdraw(names.workspace, some, withdrawn, at_ms)
                .await
                .context("failed to note who withdrew")?;
        }
        if withdrawn {
            store.forget_blocked().await.context("noted, but what was recommended is not deleted yet")?;
        }
        anyhow::Ok(())
    })?;
    let what = if withdrawn { "withdrawn" } else { "restored" };
    say(|out| writeln!(out, "{what}: {}", recipients.len()))
}

impl Names {
    fn read(&self) -> anyhow::Result<Vec<String>> {
        if self.names != ["-"] {
            return Ok(self.names.clone());
        }
        let mut names = Vec::new();
        let mut input = io::stdin().lock();
        loop {
            let mut line = String::new();
            let number = names.len() + 1;
            let mut bounded = input.by_ref().take(NAME_BYTES_MAX as u64 + 2);
            let read = bounded.read_line(&mut line).with_context(|| format!("line {number}"))?;
            if read == 0 {
                return Ok(names);
            }
            let name = line.trim_end_matches(['\n', '\r']);
            if name.is_empty() || name.len() > NAME_BYTES_MAX {
                bail!("line {number}: expected a name of 1 to {NAME_BYTES_MAX} bytes; nobody was noted");
            }
            ensure!(number <= NAMES_MAX, "expected at most {NAMES_MAX} names; nobody was noted");
            names.push(name.to_owned());
        }
    }
}
