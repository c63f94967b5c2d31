//! A workspace of simulated people whose habits are known, to judge recommended send times against the truth.
//!
//! Generation and judgement are apart: the history is written as an import would read it, and recommendations may come
//! from the estimator in this process, from elsewhere as lines of JSON, or from the whole pipeline.

pub mod answers;
pub mod chance;
pub mod estimate;
pub mod evidence;
pub mod habit;
pub mod history;
pub mod methods;
pub mod page;
pub mod person;
pub mod pipeline;
pub mod score;
#[cfg(test)]
mod tests;
pub mod world;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::{Args, Subcommand, ValueEnum};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use send_time::{Options, Weekday};

use answers::{Answer, Naming};
use evidence::Known;
use history::Event;
use person::{Person, Span};
use pipeline::PipelineOptions;
use score::{Judged, Score, Scores};
use world::{World, WorldName};

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
    /// Send the history through a whole `mailbeacon up`, and judge what it recommends.
    ///
    /// The program is started in a folder of its own. Each history comes in by `mailbeacon import`, what is recommended
    /// at its end by `mailbeacon send-time --all`. The judge knows everyone's habit.
    #[command(after_long_help = pipeline::EXAMPLES)]
    Pipeline(PipelineOptions),
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
    /// Lines of JSON, one for each recipient: `recipient` and `windows`, the best first, or the fields of a window, or
    /// `refused`; as `mailbeacon send-time --all` writes them. Without it the estimator is run in this process.
    #[arg(long, value_name = "FILE")]
    pub recommendations: Option<PathBuf>,
    /// The key ring of the instance that recommends, where recipients are named by their keys.
    #[arg(long, value_name = "FILE", requires = "recommendations")]
    pub keys: Option<PathBuf>,
    /// The workspace that the history was imported to.
    #[arg(long, default_value_t = 1)]
    pub workspace: u32,
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

/// What came of it.
pub enum Ran {
    /// A history is written.
    Written,
    /// Scores, and where they are wanted.
    Scored(Scores, Option<PathBuf>),
    /// What came out of the pipeline, and where it is wanted: as JSON, and as a page.
    Piped(Box<pipeline::report::Report>, [Option<PathBuf>; 2]),
}

/// Writes a history, or judges.
pub fn run(options: &SimulateOptions) -> anyhow::Result<Ran> {
    match &options.judge {
        None => {}
        Some(Judge::Score(asked)) => return Ok(Ran::Scored(score(asked)?, asked.json.clone())),
        Some(Judge::Pipeline(asked)) => {
            let report = Box::new(pipeline::run(asked)?);
            return Ok(Ran::Piped(report, [asked.json.clone(), asked.html.clone()]));
        }
    }
    let out: Box<dyn Write> = match &options.out {
        Some(file) => {
            Box::new(File::create(file).with_context(|| format!("failed to create {}", file.display()))?)
        }
        None => Box::new(io::stdout().lock()),
    };
    let span = options.crowd.span()?;
    write(&options.crowd, &span, &mut BufWriter::new(out)).context("failed to write the history")?;
    Ok(Ran::Written)
}

fn write(crowd: &Crowd, span: &Span, out: &mut impl Write) -> io::Result<()> {
    let world = crowd.world.world();
    for index in 0..span.people {
        let person = Person::draw(&world, span, index);
        let events = history::of(&person, &world, span, index);
        history::write(out, &person, &events, false)?;
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
    let simulated = Simulated::new(crowd)?;
    let weekday = match asked.days {
        Days::Any => Weekday::Any,
        Days::Weekday => Weekday::Weekday,
        Days::Weekend => Weekday::Weekend,
    };
    let answers = match &asked.recommendations {
        Some(file) => {
            let naming = match &asked.keys {
                Some(keys) => Naming::Keys(Box::new(answers::keys(keys)?), asked.workspace),
                None => Naming::Names,
            };
            let opened = File::open(file).with_context(|| format!("failed to open {}", file.display()))?;
            answers::read(io::BufReader::new(opened), &simulated.people, &naming)
                .with_context(|| format!("failed to read {}", file.display()))?
        }
        None => simulated.estimate(asked.without_sends, weekday),
    };
    Ok(simulated.judge(&answers, weekday))
}

/// A workspace of people: who they are, and what a sender's system has seen of them.
pub struct Simulated {
    name: String,
    world: World,
    span: Span,
    /// In the order of their numbers.
    pub people: Vec<Person>,
    /// What happened to the mails of each.
    pub events: Vec<Vec<Event>>,
    /// The same, as the simulation itself makes sense of it.
    pub known: Vec<Known>,
}

impl Simulated {
    /// Draws everybody.
    ///
    /// # Errors
    /// When the crowd cannot be.
    pub fn new(crowd: &Crowd) -> anyhow::Result<Simulated> {
        let (span, world) = (crowd.span()?, crowd.world.world());
        let people: Vec<Person> = (0..span.people).map(|index| Person::draw(&world, &span, index)).collect();
        let events: Vec<Vec<Event>> = people
            .iter()
            .enumerate()
            .map(|(index, person)| history::of(person, &world, &span, index))
            .collect();
        let known = events.iter().map(|events| Known::read(events, span.until_ms)).collect();
        Ok(Simulated { name: crowd.world.name(), world, span, people, events, known })
    }

    /// What the estimator says in this process.
    pub fn estimate(&self, without_sends: bool, weekday: Weekday) -> Vec<Answer> {
        estimate::all(&self.people, &self.known, without_sends, &Options { weekday, quiet: None })
    }

    /// Holds answers to the truth.
    pub fn judge(&self, answers: &[Answer], weekday: Weekday) -> Score {
        let judged = Judged { name: &self.name, world: &self.world, span: &self.span, weekday };
        score::judge(&judged, &self.people, &self.known, answers)
    }

    /// Writes the history to be imported by a system without a place database.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut all = self.people.iter().zip(&self.events);
        all.try_for_each(|(person, events)| history::write(out, person, events, true))?;
        out.flush()
    }
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
