//! `mailbeacon dead-letters`: what could not be stored, looked at and put back on the path.

mod contents;
mod fields;
mod keep;
mod list;
mod replay;
mod show;

use std::path::PathBuf;

use anyhow::{Context, bail};

pub use self::contents::Contents;
pub use self::fields::name_at_head;
pub use self::keep::{Keep, Letter};

use crate::settings::Settings;

/// For `--help`.
pub const EXAMPLES: &str = "\
Where they are: in the topic <kafka.topic>.dead, or without Kafka in <journal.dir>/dead-letters.jsonl.

  mailbeacon dead-letters list --from 12h
  mailbeacon dead-letters show 3-1042-9f2c51ab --raw letter.bin
  mailbeacon dead-letters replay --reason 'broken batch' --dry-run

A letter stays where it is after a replay, until the topic's retention takes it (30 days).";

/// What to do with them.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List them, newest first, and count them by reason. Never shows what is in them.
    List {
        #[command(flatten)]
        which: Which,
        /// How many to list; all are counted.
        #[arg(long, default_value_t = 20, value_name = "N")]
        limit: usize,
        /// Oldest first.
        #[arg(long)]
        oldest: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show where one comes from, why it is here, and what of it can be read now: names and sizes, no recipient and
    /// no address.
    Show {
        /// The letter, as `list` names it.
        id: String,
        /// Write its bytes to a new file. They may hold personal data.
        #[arg(long, value_name = "FILE")]
        raw: Option<PathBuf>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Put the events that can be read now back on the path. Each is stored once, however often this is run. What
    /// cannot be read stays and is named.
    Replay {
        #[command(flatten)]
        which: Which,
        /// This letter; may be given more than once.
        #[arg(long, value_name = "ID")]
        id: Vec<String>,
        /// All of them.
        #[arg(long)]
        all: bool,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Which letters.
#[derive(Debug, Default, clap::Args)]
pub struct Which {
    /// Those with this in their reason.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Those that come from this partition.
    #[arg(long, value_name = "N")]
    partition: Option<u32>,
    /// Those kept at or after this time: 2026-01-31T12:00:00Z, 2026-01-31, or an age (90m, 12h, 7d).
    #[arg(long, value_name = "TIME", value_parser = crate::when::parse)]
    from: Option<i64>,
    /// Those kept before this time.
    #[arg(long, value_name = "TIME", value_parser = crate::when::parse)]
    to: Option<i64>,
}

impl Which {
    fn takes(&self, letter: &Letter) -> bool {
        // An embedded file's letters carry no time: a time asks for those that do.
        let within =
            |at_ms: i64| self.from.is_none_or(|from| at_ms >= from) && self.to.is_none_or(|to| at_ms < to);
        self.reason.as_ref().is_none_or(|part| letter.reason.contains(part.as_str()))
            && self.partition.is_none_or(|partition| letter.partition == partition)
            && match letter.at_ms {
                Some(at_ms) => within(at_ms),
                None => self.from.is_none() && self.to.is_none(),
            }
    }

    fn is_any(&self) -> bool {
        self.reason.is_none() && self.partition.is_none() && self.from.is_none() && self.to.is_none()
    }
}

/// Runs one of the commands.
pub fn run(settings: &Settings, command: &Command) -> anyhow::Result<()> {
    let keep = Keep::of(settings);
    match command {
        Command::List { which, limit, oldest, json } => {
            list::run(&keep, which, &list::Shape { limit: *limit, oldest: *oldest, json: *json })
        }
        Command::Show { id, raw, json } => show::run(settings, &keep, id, raw.as_deref(), *json),
        Command::Replay { which, id, all, dry_run } => {
            if id.is_empty() && !all && which.is_any() {
                bail!("nothing chosen: expected --id, --reason, --partition, --from, --to or --all");
            }
            replay::run(settings, &keep, which, id, *dry_run)
        }
    }
}

/// The letter of this name.
fn find(keep: &Keep, id: &str) -> anyhow::Result<Letter> {
    let mut found: Vec<Letter> = Vec::new();
    keep.each(&mut |letter| {
        if letter.id() == id {
            match found.first_mut() {
                Some(first) => first.copies += 1,
                None => found.push(letter),
            }
        }
        Ok(())
    })?;
    found.pop().with_context(|| format!("no dead letter {id} in {}", keep.name()))
}
