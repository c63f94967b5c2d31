//! `mailbeacon verdict`: the rules for who made a visit and on what, held to visits whose answer is known.

mod line;
mod rerun;
mod score;
mod tally;

use std::path::PathBuf;

use crate::settings::Settings;

/// For `--help`.
pub const EXAMPLES: &str = r#"A line is one visit:

  {"user_agent": "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) …", "kind": "open", "expected": "human",
   "device": "tablet", "address": "192.0.2.7", "set": "tablets"}

`kind` is open, click or download. `expected` is human, proxy (a person behind a mailbox provider's image proxy) or bot,
which stands for prefetch, scanner and bot. `device`, `address` and `set` may be left out: a line without a set belongs
to the one that is named after its file. Other fields are left alone.

  mailbeacon verdict score agents.jsonl --misses
  zcat *.jsonl.gz | mailbeacon verdict score - --json

Per set and in all: machines found among those expected as bot; people called prefetch, scanner or bot (human and proxy
are both right for a human); proxies told apart; devices right, by the type that was expected; phones called tablets.
Nothing is asked of a server or a configuration. Place files and times play no part: what decides is the user agent,
the kind and the network that the address is in."#;

/// What to do with the rules.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Say how often the rules are right, over JSON lines of visits with the answer that is expected.
    #[command(after_help = EXAMPLES)]
    Score(Args),
    /// Run today's rules over stored visits, and say what changes; with --write, correct it.
    #[command(after_help = rerun::EXAMPLES)]
    Rerun(rerun::Args),
}

/// What to score.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files of JSON lines; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// One JSON object a set, one a line, and one for all; shares as fractions, null where there is none.
    #[arg(long)]
    json: bool,
    /// Also name each line that the rules got wrong, with the reasons they gave: before the shares, or with --json on
    /// standard error. Shows user agents, never an address.
    #[arg(long)]
    misses: bool,
}

/// Runs one of the commands.
pub fn run(settings: &Settings, command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Score(args) => score(args),
        Command::Rerun(args) => rerun::run(settings, args),
    }
}

/// Scores the rules.
pub fn score(args: &Args) -> anyhow::Result<()> {
    score::run(args)
}
