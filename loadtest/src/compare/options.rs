//! The command line of the comparison.

use std::path::PathBuf;

use anyhow::ensure;
use clap::{Args, ValueEnum};

use crate::scratch::Scratch;

/// For `--help`.
pub const EXAMPLES: &str = "\
Exit status:
  0  every side reached its state, and every bar that could be judged is held
  1  a bar is missed, a side did not reach its state, or the comparison could not be made
  2  the command line is wrong
  3  a bar could not be judged: its peer is not on this machine, or a side was starved in every round

Examples:
  cargo build --release && cargo run --release -p loadtest -- compare --html compare.html
  loadtest compare --short
  loadtest compare --only pixel,short --rounds 9 --json compare.json
  # how far a side is from itself: what the ratios can tell apart on this machine
  loadtest compare --only self
  # what each side is set to
  loadtest compare --settings";

/// What without `--short` a comparison is.
const LONG: Size = Size { rounds: 5, rate: 20_000.0, seconds: 5.0, events: 400_000 };
/// That every side starts and reaches its state, no more: well below a minute.
const SHORT: Size = Size { rounds: 1, rate: 1_000.0, seconds: 1.0, events: 10_000 };

/// How to compare.
#[derive(Debug, Clone, Args)]
pub struct CompareOptions {
    /// Rounds to keep of each comparison; in each, every side has its turn.
    #[arg(long, value_name = "COUNT")]
    pub rounds: Option<usize>,
    /// What to compare; everything but `self` without it.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME")]
    pub only: Vec<Only>,
    /// Requests per second, the same for all sides; of those on a connection of their own come four tenths of it.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Seconds that each side is asked for in a round.
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<f64>,
    /// Events that each consumer takes in a round.
    #[arg(long, value_name = "COUNT")]
    pub events: Option<u64>,
    /// One small round, for every change: each side must reach its state, and no bar is judged.
    #[arg(long)]
    pub short: bool,
    /// Start every side, show what each is set to, and measure nothing.
    #[arg(long, conflicts_with_all = ["json", "html"])]
    pub settings: bool,
    /// What is run, and where.
    #[command(flatten)]
    pub scratch: Scratch,
    /// This program, in which the day's edge is; by default the one that runs.
    #[arg(long, value_name = "PATH", hide = true)]
    pub loadtest: Option<PathBuf>,
    /// Write the report as JSON to this file, or to standard output (and the text to standard error) for `-`.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the report as an HTML page to this file.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// A comparison, or several of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Only {
    /// `pixel`, `short` and `redirect`.
    Edge,
    /// `one` and `hundred`.
    Consumer,
    /// Pixels over kept connections.
    Pixel,
    /// Pixels, each over a connection of its own.
    Short,
    /// Clicks over kept connections.
    Redirect,
    /// Events into ClickHouse, one in each Kafka message.
    One,
    /// Events into ClickHouse, a hundred in each Kafka message.
    Hundred,
    /// Our edge against our edge.
    #[value(name = "self")]
    Itself,
}

/// How much of everything.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    /// Rounds to keep.
    pub rounds: usize,
    /// Requests per second.
    pub rate: f64,
    /// Seconds per side and round.
    pub seconds: f64,
    /// Events per consumer and round.
    pub events: u64,
}

impl Size {
    /// Refuses what parses but makes no sense.
    pub fn check(self) -> anyhow::Result<()> {
        let Size { rounds, rate, seconds, events } = self;
        ensure!((1..=1_000).contains(&rounds), "--rounds {rounds}: expected 1 to 1000");
        ensure!((100.0..=200_000.0).contains(&rate), "--rate {rate}: expected 100 to 200000");
        ensure!((0.1..=600.0).contains(&seconds), "--seconds {seconds}: expected 0.1 to 600");
        ensure!((1_000..=20_000_000).contains(&events), "--events {events}: expected 1000 to 20000000");
        Ok(())
    }
}

impl CompareOptions {
    /// What all options come to.
    pub fn size(&self) -> Size {
        let default = if self.short { SHORT } else { LONG };
        Size {
            rounds: self.rounds.unwrap_or(default.rounds),
            rate: self.rate.unwrap_or(default.rate),
            seconds: self.seconds.unwrap_or(default.seconds),
            events: self.events.unwrap_or(default.events),
        }
    }

    /// Whether `one`, which is no several of them, was asked for.
    pub fn wants(&self, one: Only) -> bool {
        let several = match one {
            Only::Pixel | Only::Short | Only::Redirect => Some(Only::Edge),
            Only::One | Only::Hundred => Some(Only::Consumer),
            Only::Edge | Only::Consumer | Only::Itself => None,
        };
        match self.only[..] {
            [] => one != Only::Itself,
            _ => self.only.contains(&one) || several.is_some_and(|several| self.only.contains(&several)),
        }
    }

    /// Refuses what parses but makes no sense.
    pub fn check(&self) -> anyhow::Result<()> {
        self.size().check()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: CompareOptions,
    }

    fn options(line: &str) -> CompareOptions {
        Line::try_parse_from(["compare"].into_iter().chain(line.split_whitespace())).unwrap().options
    }

    #[test]
    fn names_stand_for_one_or_several() {
        let all = [Only::Pixel, Only::Short, Only::Redirect, Only::One, Only::Hundred, Only::Itself];
        let wanted = |line: &str| all.iter().map(|one| options(line).wants(*one)).collect::<Vec<_>>();
        assert_eq!(wanted(""), [true, true, true, true, true, false]);
        assert_eq!(wanted("--only edge"), [true, true, true, false, false, false]);
        assert_eq!(wanted("--only consumer,short"), [false, true, false, true, true, false]);
        assert_eq!(wanted("--only self"), [false, false, false, false, false, true]);
    }

    #[test]
    fn nonsense_is_named() {
        for (line, named) in [
            ("--rounds 0", "--rounds"),
            ("--rate 1", "--rate"),
            ("--seconds 0", "--seconds"),
            ("--events 1", "--events"),
        ] {
            let said = options(line).check().unwrap_err().to_string();
            assert!(said.starts_with(named), "{line}: {said}");
        }
        options("--short").check().unwrap();
        assert_eq!(options("--short --rate 500").size(), Size { rate: 500.0, ..SHORT });
    }
}
