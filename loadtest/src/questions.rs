//! What an analyst's question costs when there are many events: rows read, time and memory, and how large they are.
//!
//! The events are made by ClickHouse itself, in a whole `mailbeacon up` of the run's own: no edge and no consumer is
//! measured here. The questions are those of the README, to the letter.

mod events;
mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::Args;
use link::Keys;

use self::events::{PER_MESSAGE, Progress, fill};
pub use self::report::Report;
use self::report::{Cost, Sizes};
use crate::exchange;
use crate::scratch::Scratch;
use crate::simulate::pipeline::instance::Instance;

/// For `--help`.
pub const EXAMPLES: &str = "\
  cargo build --release && cargo run --release -p loadtest -- questions
  loadtest questions --events 200000000 --dir questions --keep --json report.json
  loadtest questions --dir questions --keep     # asks again what is there

50 million events take about 3 GB and some minutes, once; a folder that is kept is asked again without filling, and one
whose filling was cut off is filled on.";

/// How many, and where.
#[derive(Debug, Clone, Args)]
pub struct QuestionsOptions {
    /// Events, about: whole messages.
    #[arg(long, default_value_t = 50_000_000, value_parser = clap::value_parser!(u64).range(100_000..=2_000_000_000))]
    pub events: u64,
    /// How often each question is asked; medians are shown.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub rounds: u16,
    /// What is run, and where.
    #[command(flatten)]
    pub scratch: Scratch,
    /// Write the report as JSON to this file, or to standard output for `-`.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Fills, asks and measures.
///
/// # Errors
/// When the run could not be made; what is there by then is kept.
pub fn run(options: &QuestionsOptions) -> anyhow::Result<Report> {
    let program = options.scratch.program()?;
    let named = options.scratch.dir.as_deref();
    let kept = named.map(Progress::of).transpose()?.flatten();
    let (dir, progress) = match (named, kept) {
        (Some(dir), Some(progress)) => {
            (dir.canonicalize().with_context(|| format!("failed to find {}", dir.display()))?, progress)
        }
        _ => {
            let dir = options.scratch.folder("questions", "questions")?;
            let progress = Progress { made: 0, wanted: options.events / PER_MESSAGE + 1 };
            progress.note(&dir)?;
            (dir, progress)
        }
    };
    let asked = ask(options, &program, &dir, progress);
    options.scratch.leave(&dir, asked.as_ref().is_ok_and(|report| report.refreshed.is_some()))?;
    asked
}

/// Recipients who can be asked about by name.
const NAMED: usize = 20;

fn name(number: usize) -> String {
    format!("reader-{number}")
}

fn ask(options: &QuestionsOptions, program: &Path, dir: &Path, progress: Progress) -> anyhow::Result<Report> {
    eprintln!("starting mailbeacon up in {}", dir.display());
    let instance = Instance::start(program, dir)?;
    let text = fs::read_to_string(&instance.keys)
        .with_context(|| format!("failed to read {}", instance.keys.display()))?;
    let keys = Keys::from_toml(&text)?;
    let named: Vec<u64> = (0..NAMED).map(|number| keys.recipient(1, &name(number))).collect();
    fill(&instance, dir, progress, &named)?;
    let count = instance.query("SELECT count(), max(message) FROM mailbeacon.events")?;
    let (events, messages) = count.trim().split_once('\t').context("expected two numbers")?;
    let message = messages.parse::<u64>().context("expected a number")? / 2;
    let mut costs = Vec::new();
    for (title, sql) in readme() {
        eprintln!("asking: {title}");
        let sql = sql.replace("message = 7", &format!("message = {message}"));
        let rounds: anyhow::Result<Vec<Cost>> =
            (0..options.rounds).map(|_| Cost::of(&instance, &sql)).collect();
        costs.push((title.to_owned(), Cost::median(rounds?)));
    }
    eprintln!("learning send times");
    // The answers to the questions are worth hours by now: they are told in any case.
    let refreshed = instance
        .command(&["send-time", "--refresh"], 1)
        .inspect_err(|error| eprintln!("error: {error:#}"))
        .ok()
        .map(|said| said.trim().to_owned());
    let answers_ms = single(&instance, options.rounds)?;
    let report = Report {
        events: events.parse().context("expected a number")?,
        questions: costs,
        refreshed,
        one_recipient_ms: answers_ms,
        sizes: Sizes::of(&instance)?,
    };
    instance.stop()?;
    Ok(report)
}

/// The questions of the README: what each asks, and its SQL.
fn readme() -> impl Iterator<Item = (&'static str, &'static str)> {
    let text = include_str!("../../README.md");
    let block =
        text.split_once("Ten questions").and_then(|(_, rest)| rest.split("```").nth(1)).unwrap_or_default();
    let questions = block.trim_start_matches("sql").split("-- ").skip(1);
    questions.filter_map(|text| {
        let (title, sql) = text.split_once('\n')?;
        Some((title, sql.trim().trim_end_matches(';')))
    })
}

/// How long the API takes for a recipient's send time, each in milliseconds, the shortest first.
fn single(instance: &Instance, rounds: u16) -> anyhow::Result<Vec<f64>> {
    let key = instance.api_key()?;
    let mut all_ms = Vec::new();
    for round in 0..rounds {
        for number in 0..NAMED {
            let request = format!(
                "GET /v1/recipients/{}/send-time HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {key}\r\n\
                 Connection: close\r\n\r\n",
                name(number)
            );
            let begun = Instant::now();
            let (status, body) = instance.block_on(exchange::ask(instance.api, request.as_bytes()))?;
            let took_ms = begun.elapsed().as_secs_f64() * 1e3;
            ensure!(status == 200, "the API answered {status}: {body}");
            ensure!(body.contains("\"start_hour\""), "no window for {}: {body}", name(number));
            // The first time of all opens files and asks which zones there are.
            if round > 0 || rounds == 1 {
                all_ms.push(took_ms);
            }
        }
    }
    all_ms.sort_by(f64::total_cmp);
    Ok(all_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_ten_questions() {
        let all: Vec<_> = readme().collect();
        assert_eq!(all.len(), 10, "{all:?}");
        assert!(all.iter().all(|(title, sql)| !title.is_empty() && sql.contains("FROM")), "{all:?}");
    }
}
