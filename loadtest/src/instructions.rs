//! What a pixel, a redirect and a consumed event cost in instructions, counted by callgrind: a figure that a busy
//! machine does not move, so that a change which makes one dearer is refused.
//!
//! Our real programs run under callgrind with everything that they talk to beside them. Each run is made in two lengths
//! and the totals are subtracted: what start and end cost falls out. Only what runs in user space is counted; what the
//! kernel does for a request is several times that and the matter of `compare`.

mod callgrind;
mod consumer;
mod edge;
mod feed;
mod record;

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

use self::record::{Counted, Record};
use crate::compare::bench::Bench;
use crate::scratch::Scratch;

/// For `--help`.
pub const EXAMPLES: &str = "\
Exit status:
  0  counted, and with --check nothing has grown
  1  something has grown by more than 3 % and what is chance, or could not be counted
  2  the command line is wrong

Examples:
  cargo build --release -p mailbeacon -p loadtest
  target/release/loadtest instructions --check
  # after a change that is worth its price, or that made something cheaper
  target/release/loadtest instructions --write
  # where they go: every run leaves a profile
  target/release/loadtest instructions --only edge --keep && callgrind_annotate DIR/edge-pixels-0.callgrind-*";

/// By how much a figure may grow, in percent, beyond what lay between the rounds of the record.
const GROWTH_MAX_PERCENT: f64 = 3.0;
/// Rounds of which a record is made, so that it says how far they lie apart.
const ROUNDS_WRITTEN: u32 = 3;

/// How to count.
#[derive(Debug, Clone, Args)]
pub struct InstructionsOptions {
    /// Fail when a figure has grown by more than 3 % over what is recorded.
    #[arg(long)]
    pub check: bool,
    /// Record what is counted.
    #[arg(long, conflicts_with_all = ["check", "only"])]
    pub write: bool,
    /// Where it is recorded.
    #[arg(long, value_name = "FILE", default_value = "loadtest/instructions.json")]
    pub record: PathBuf,
    /// Count only this.
    #[arg(long, value_enum)]
    pub only: Option<Only>,
    /// Rounds, of which the median counts; by default 1, and 3 for a record.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: Option<u32>,
    /// What is run, and where.
    #[command(flatten)]
    pub scratch: Scratch,
}

/// A part of what is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Only {
    /// A pixel and a redirect.
    Edge,
    /// A consumed event.
    Consumer,
}

/// Counts, then records or compares.
///
/// # Errors
/// When it could not be counted, or nothing is recorded to compare with.
pub fn run(options: &InstructionsOptions) -> anyhow::Result<ExitCode> {
    let recorded = options.check.then(|| Record::read(&options.record)).transpose()?;
    let mailbeacon = options.scratch.program()?;
    let dir = options.scratch.folder("instructions", "count")?;
    let counted = count(options, &mailbeacon, &dir);
    options.scratch.leave(&dir, counted.is_ok())?;
    let counted = counted?;
    print!("{counted}");
    if options.write {
        counted.write(&options.record)?;
    }
    let Some(recorded) = recorded else { return Ok(ExitCode::SUCCESS) };
    let compared = recorded.compare(&counted)?;
    print!("{}", Compared(&compared));
    Ok(match compared.iter().any(has_grown) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

fn count(options: &InstructionsOptions, mailbeacon: &Path, dir: &Path) -> anyhow::Result<Record> {
    let begun = Instant::now();
    let bench = Bench::start(dir, mailbeacon)?;
    let mut record = Record::of(&bench)?;
    let rounds = options.rounds.unwrap_or(if options.write { ROUNDS_WRITTEN } else { 1 });
    let clickhouse = match options.only {
        Some(Only::Edge) => None,
        _ => Some(consumer::ClickHouse::start(&bench)?),
    };
    let mut counts = Vec::new();
    for round in 0..rounds {
        if options.only != Some(Only::Consumer) {
            counts.extend(edge::count(&bench, round)?);
        }
        if let Some(clickhouse) = &clickhouse {
            counts.push(consumer::count(&bench, clickhouse, round)?);
        }
        eprintln!("round {} of {rounds} after {:.0} s", round + 1, begun.elapsed().as_secs_f64());
    }
    record.instructions = Counted::gather(&counts);
    Ok(record)
}

fn has_grown(change: &record::Change) -> bool {
    change.percent > GROWTH_MAX_PERCENT + change.spread_percent
}

/// What became of each figure, for the reader.
struct Compared<'a>(&'a [record::Change]);

impl Display for Compared<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for change in self.0 {
            let record::Change { name, before, now, percent, .. } = change;
            let verdict = match *percent {
                _ if has_grown(change) => "has grown too much",
                percent if percent < -GROWTH_MAX_PERCENT => "is cheaper: record it with --write",
                _ => "as recorded",
            };
            writeln!(f, "{name:<9} {before:>7} -> {now:>7}  {percent:>+6.2} %  {verdict}")?;
        }
        Ok(())
    }
}
