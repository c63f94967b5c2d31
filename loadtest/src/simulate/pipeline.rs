//! `loadtest simulate pipeline`: histories of people whose habits are known, through a whole `mailbeacon up`, and what it
//! recommends held to the truth.

pub mod instance;
pub mod report;
pub mod verdicts;

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use jiff::Timestamp;
use send_time::{Weekday, Window};

use self::instance::Instance;
use self::report::{Agreement, Piped, Report};
use super::answers::{self, Answer, Naming};
use super::score::ESTIMATOR;
use super::world::WorldName;
use super::{Crowd, Simulated};
use crate::scratch::Scratch;

/// For `--help`.
pub const EXAMPLES: &str = "\
Exit status:
  0  what was recommended is as good as it has to be
  1  a bar was missed, which is named, or the run could not be made

The bars, on the mean of all seeds of a world:
  real       P(open<=1h) at least 1.35 times that of the most frequent hour and 1.15 times that of the best histogram
  strangers  at least 0.98 times that of the best histogram
  both       confidence from 0.7 on within 5 points of the truth

Examples:
  cargo build --release && cargo run --release -p loadtest -- simulate pipeline --people 2000 --more-seeds 43,44
  loadtest simulate pipeline --more-worlds strangers --html report.html --json report.json";

/// What goes through, and where what came of it is wanted.
#[derive(Debug, Clone, Args)]
pub struct PipelineOptions {
    /// Who is simulated.
    #[command(flatten)]
    pub crowd: Crowd,
    /// These seeds as well, comma separated.
    #[arg(long, value_delimiter = ',', value_name = "SEEDS")]
    pub more_seeds: Vec<u64>,
    /// These worlds as well, comma separated.
    #[arg(long, value_delimiter = ',', value_name = "WORLDS")]
    pub more_worlds: Vec<WorldName>,
    /// Hold nothing to a bar: a few people say nothing.
    #[arg(long)]
    pub no_bars: bool,
    /// What is run, and where.
    #[command(flatten)]
    pub scratch: Scratch,
    /// Write the report as JSON to this file, or to standard output for `-`.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the report as an HTML page to this file.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// Sends every history through one instance, each into a workspace of its own, and judges.
///
/// # Errors
/// When the run could not be made; what is there by then is kept.
pub fn run(options: &PipelineOptions) -> anyhow::Result<Report> {
    let crowds = crowds(options)?;
    let program = options.scratch.program()?;
    let dir = options.scratch.folder("pipeline", "simulate")?;
    let piped = pipe(&crowds, &program, &dir);
    options.scratch.leave(&dir, piped.is_ok())?;
    Ok(Report::new(piped?, !options.no_bars))
}

/// The worlds with all their seeds, one after another.
fn crowds(options: &PipelineOptions) -> anyhow::Result<Vec<Crowd>> {
    let mut worlds = vec![options.crowd.world];
    let mut seeds = vec![options.crowd.seed];
    // What is named twice counts once: a mean would weigh it double.
    options.more_worlds.iter().for_each(|world| push_new(&mut worlds, *world));
    options.more_seeds.iter().for_each(|seed| push_new(&mut seeds, *seed));
    let crowds: Vec<Crowd> = worlds
        .iter()
        .flat_map(|world| {
            seeds.iter().map(|seed| Crowd { world: *world, seed: *seed, ..options.crowd.clone() })
        })
        .collect();
    let span = options.crowd.span()?;
    let age_days = (Timestamp::now().as_millisecond() - span.from_ms()) / 86_400_000;
    ensure!(
        span.until_ms <= Timestamp::now().as_millisecond() && age_days <= AGE_DAYS_MAX,
        "--until {}, --weeks {}: expected a history of the last {AGE_DAYS_MAX} days, as events are kept no longer",
        options.crowd.until,
        options.crowd.weeks
    );
    Ok(crowds)
}

/// Events are kept for 25 months; one is left for the run itself.
const AGE_DAYS_MAX: i64 = 24 * 30;

fn push_new<T: PartialEq>(all: &mut Vec<T>, one: T) {
    if !all.contains(&one) {
        all.push(one);
    }
}

fn pipe(crowds: &[Crowd], program: &Path, dir: &Path) -> anyhow::Result<Vec<Piped>> {
    eprintln!("starting mailbeacon up in {}", dir.display());
    let instance = Instance::start(program, dir)?;
    let piped: anyhow::Result<Vec<Piped>> =
        (1..).zip(crowds).map(|(workspace, crowd)| one(&instance, workspace, crowd)).collect();
    let piped = piped?;
    instance.stop()?;
    Ok(piped)
}

/// One history through the instance.
fn one(instance: &Instance, workspace: u32, crowd: &Crowd) -> anyhow::Result<Piped> {
    let simulated = Simulated::new(crowd)?;
    let file = instance.dir.join(format!("history-{workspace}.jsonl"));
    let out = File::create(&file).with_context(|| format!("failed to create {}", file.display()))?;
    simulated.write(&mut BufWriter::new(out)).context("failed to write the history")?;
    let events = simulated.events.iter().map(Vec::len).sum::<usize>() as u64;
    instance.import(workspace, &file, events)?;
    instance.settle(workspace, events)?;
    let verdicts = verdicts::read(instance, workspace, &simulated)?;
    let until = Timestamp::from_millisecond(simulated.span.until_ms)?.to_string();
    let said = instance.command(&["send-time", "--all", "--at", &until], workspace)?;
    let naming = Naming::Keys(Box::new(answers::keys(&instance.keys)?), workspace);
    let found = answers::read(said.as_bytes(), &simulated.people, &naming)
        .context("failed to read what send-time --all said")?;
    let score = simulated.judge(&found, Weekday::Any);
    eprintln!("world {}, seed {}: {events} events, judged", score.world, score.seed);
    let in_process = simulated.estimate(false, Weekday::Any);
    let p_open_1h = simulated.judge(&in_process, Weekday::Any).p_open_1h(ESTIMATOR);
    let agreement = agreement(&found, &in_process, p_open_1h);
    Ok(Piped { score, events, verdicts, agreement })
}

/// How far what came out of the pipeline is what the estimator says in this process.
fn agreement(found: &[Answer], in_process: &[Answer], p_open_1h: f64) -> Agreement {
    let mut agreement = Agreement { p_open_1h, ..Agreement::default() };
    for (found, wanted) in found.iter().zip(in_process) {
        match (found.as_deref(), wanted.as_deref()) {
            (Ok([found, ..]), Ok([wanted, ..])) => {
                let hours = |window: &Window| (window.start_hour, window.end_hour);
                let p = |window: &Window| window.p_open_1h.unwrap_or_default();
                agreement.both += 1;
                agreement.same_window += usize::from(hours(found) == hours(wanted));
                let apart = (p(found) - p(wanted)).abs();
                agreement.p_apart_max = agreement.p_apart_max.max(apart);
                agreement.p_apart_mean += apart;
            }
            (Err(found), Err(wanted)) if found == wanted => agreement.both_refused += 1,
            _ => agreement.one_refused += 1,
        }
    }
    agreement.p_apart_mean /= agreement.both.max(1) as f64;
    agreement
}
