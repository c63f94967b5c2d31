//! A workspace of simulated people whose habits are known, to judge recommended send times against the truth.
//!
//! Generation and judgement are apart: the history is written as an import would read it, and recommendations may come
//! from the estimator in this process or from elsewhere, as lines of JSON.

pub mod chance;
pub mod estimate;
pub mod evidence;
pub mod habit;
pub mod history;
pub mod methods;
pub mod person;
pub mod score;
#[cfg(test)]
mod tests;
pub mod world;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::{Args, Subcommand, ValueEnum};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use send_time::{Options, Refused, Weekday, Window};
use serde::Deserialize;

use evidence::Known;
use person::{Person, Span};
use score::{Judged, Score, Scores};
use world::WorldName;

/// What to simulate.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct SimulateOptions {
    /// Judge instead of writing a history.
    #[command(subcommand)]
    pub judge: Option<Judge>,
    /// Who is simulated.
    #[command(flatten)]
    pub crowd: Crowd,
    /// Write the history to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Judge recommendations.
#[derive(Debug, Clone, Subcommand)]
pub enum Judge {
    /// Judge the estimator, or recommendations from elsewhere, against the truth and the usual methods.
    Score(ScoreOptions),
}

/// Who is simulated, and for how long.
#[derive(Debug, Clone, Args)]
pub struct Crowd {
    /// How many people.
    #[arg(long, default_value_t = 8_000)]
    pub people: usize,
    /// Weeks of history.
    #[arg(long, default_value_t = 26)]
    pub weeks: usize,
    /// Of all chance: the same seed gives the same history.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// What people share, and what disturbs the view of them.
    #[arg(long, value_enum, default_value_t = WorldName::Real)]
    pub world: WorldName,
    /// The Monday on which the history ends, at 00:00 UTC.
    #[arg(long, default_value = "2026-05-04", value_name = "DATE")]
    pub until: Date,
}

/// Days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "as in windows")]
pub enum Days {
    Any,
    Weekday,
    Weekend,
}

/// What to judge.
#[derive(Debug, Clone, Args)]
pub struct ScoreOptions {
    /// Who is simulated: as the history was made.
    #[command(flatten)]
    pub crowd: Crowd,
    /// Lines of JSON, one for each recipient: `recipient` and the fields of a window, or `refused`. Without it the
    /// estimator is run in this process.
    #[arg(long, value_name = "FILE")]
    pub recommendations: Option<PathBuf>,
    /// The days that are asked for, and judged.
    #[arg(long, value_enum, default_value_t = Days::Any)]
    pub days: Days,
    /// Let the estimator see no sends, as where they are not reported: only a histogram is left.
    #[arg(long, conflicts_with = "recommendations")]
    pub without_sends: bool,
    /// Judge the estimator with these seeds as well, comma separated.
    #[arg(long, value_delimiter = ',', value_name = "SEEDS", conflicts_with = "recommendations")]
    pub more_seeds: Vec<u64>,
    /// Write the score as JSON to this file, or to standard output for `-`.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Writes a history, or returns the scores and where they are wanted.
pub fn run(options: &SimulateOptions) -> anyhow::Result<Option<(Scores, Option<PathBuf>)>> {
    if let Some(Judge::Score(asked)) = &options.judge {
        return Ok(Some((score(asked)?, asked.json.clone())));
    }
    let span = options.crowd.span()?;
    let out: Box<dyn Write> = match &options.out {
        Some(file) => {
            Box::new(File::create(file).with_context(|| format!("failed to create {}", file.display()))?)
        }
        None => Box::new(io::stdout().lock()),
    };
    write(&options.crowd, &span, &mut BufWriter::new(out)).context("failed to write the history")?;
    Ok(None)
}

fn write(crowd: &Crowd, span: &Span, out: &mut impl Write) -> io::Result<()> {
    let world = crowd.world.world();
    for index in 0..span.people {
        let person = Person::draw(&world, span, index);
        let events = history::of(&person, &world, span, index);
        history::write(out, &person, &events)?;
    }
    out.flush()
}

/// Judges, once for each seed.
pub fn score(asked: &ScoreOptions) -> anyhow::Result<Scores> {
    let more = asked.more_seeds.iter().map(|seed| Crowd { seed: *seed, ..asked.crowd.clone() });
    let crowds: Vec<Crowd> = std::iter::once(asked.crowd.clone()).chain(more).collect();
    let scores = crowds.iter().map(|crowd| score_one(crowd, asked));
    Ok(Scores { scores: scores.collect::<anyhow::Result<_>>()? })
}

fn score_one(crowd: &Crowd, asked: &ScoreOptions) -> anyhow::Result<Score> {
    let span = crowd.span()?;
    let world = crowd.world.world();
    let people: Vec<Person> = (0..span.people).map(|index| Person::draw(&world, &span, index)).collect();
    let known: Vec<Known> = people
        .iter()
        .enumerate()
        .map(|(index, person)| Known::read(&history::of(person, &world, &span, index), span.until_ms))
        .collect();
    let weekday = match asked.days {
        Days::Any => Weekday::Any,
        Days::Weekday => Weekday::Weekday,
        Days::Weekend => Weekday::Weekend,
    };
    let answers = match &asked.recommendations {
        Some(file) => read(file, &people)?,
        None => estimate::all(&people, &known, asked.without_sends, &Options { weekday, quiet: None }),
    };
    let judged = Judged { name: &crowd.world.name(), world: &world, span: &span, weekday };
    Ok(score::judge(&judged, &people, &known, &answers))
}

impl Crowd {
    fn span(&self) -> anyhow::Result<Span> {
        ensure!((1..=1_000_000).contains(&self.people), "--people {}: expected 1 to 1000000", self.people);
        ensure!((1..=104).contains(&self.weeks), "--weeks {}: expected 1 to 104", self.weeks);
        ensure!(
            self.until.weekday() == jiff::civil::Weekday::Monday,
            "--until {}: expected a Monday",
            self.until
        );
        let until = self.until.to_zoned_datetime(TimeZone::UTC).context("--until: out of the calendar")?;
        let until_ms = until.timestamp().as_millisecond();
        Ok(Span { people: self.people, weeks: self.weeks, seed: self.seed, until_ms })
    }
}

/// A line of recommendations.
#[derive(Deserialize)]
struct Line {
    recipient: String,
    refused: Option<Refused>,
    #[serde(flatten)]
    window: Option<Window>,
}

fn read(file: &Path, people: &[Person]) -> anyhow::Result<Vec<Result<Vec<Window>, Refused>>> {
    let opened = File::open(file).with_context(|| format!("failed to open {}", file.display()))?;
    let mut found: HashMap<String, Result<Vec<Window>, Refused>> = HashMap::new();
    for (number, line) in BufReader::new(opened).lines().enumerate() {
        let line = line.with_context(|| format!("failed to read {}", file.display()))?;
        let line: Line = serde_json::from_str(&line)
            .with_context(|| format!("{} line {}: expected a recommendation", file.display(), number + 1))?;
        let answer = match (line.refused, line.window) {
            (Some(refused), _) => Err(refused),
            (None, Some(window)) => Ok(vec![window]),
            (None, None) => Err(Refused::NotEnoughEvents),
        };
        // The best window comes first.
        found.entry(line.recipient).or_insert(answer);
    }
    Ok(people
        .iter()
        .map(|person| found.remove(&person.name).unwrap_or(Err(Refused::NotEnoughEvents)))
        .collect())
}
