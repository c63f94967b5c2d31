//! What a comparison has shown: JSON for whoever compares runs; `text` and `html` write it for people.

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;

use serde::Serialize;

use super::options::Size;
use super::side::{About, Turn};

/// A bar that could not be judged.
const UNJUDGED: u8 = 3;

/// All comparisons.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Where it was measured.
    pub machine: Machine,
    /// How it was measured, in sentences.
    pub method: Vec<String>,
    /// Rounds that were to be kept of each comparison.
    pub rounds: usize,
    /// Too small to judge a bar by.
    pub short: bool,
    /// Each comparison.
    pub comparisons: Vec<Comparison>,
}

/// The machine.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Its processor.
    pub processor: String,
    /// How many cores of it.
    pub cores: usize,
    /// Its memory, in GiB.
    pub memory_gib: f64,
    /// Its kernel.
    pub kernel: String,
}

/// Sides that do the same.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Its name on the command line.
    pub name: &'static str,
    /// What every side does.
    pub does: &'static str,
    /// What the figures are per: a request, or an event.
    pub unit: &'static str,
    /// The sides, in the order of their turns.
    pub sides: Vec<Measured>,
    /// Ours to each of the others.
    pub ratios: Vec<Ratio>,
    /// Sides that are not there, and why.
    pub missing: BTreeMap<&'static str, String>,
    /// Rounds that count.
    pub rounds_kept: usize,
    /// Rounds that were thrown out because a side was starved in them: which, and of what.
    pub rounds_starved: Vec<String>,
}

/// What a side has cost.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// The side.
    #[serde(flatten)]
    pub about: About,
    /// CPU time per unit over all its processes, in microseconds; absent when no round counts.
    pub cpu_us: Option<Range>,
    /// The medians by process, in microseconds.
    pub cpu_us_by_process: BTreeMap<String, f64>,
    /// The turns that count.
    pub turns: Vec<Turn>,
}

/// Ours over another side, round by round.
#[derive(Debug, Clone, Serialize)]
pub struct Ratio {
    /// The upper side.
    pub of: &'static str,
    /// The lower side.
    pub to: &'static str,
    /// What came of the rounds; absent when none counts or a side is missing.
    pub ratio: Option<Range>,
    /// The bar: the median must not be above it.
    pub at_most: Option<f64>,
    /// What came of the bar.
    pub verdict: Verdict,
}

/// What came of a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The median is not above it.
    Held,
    /// It is.
    Missed,
    /// There is a bar and no figure to judge.
    Unjudged,
    /// There is no bar, or the run is too short for one.
    None,
}

/// Several figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Range {
    /// The middle one.
    pub median: f64,
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
}

/// What a ratio is held to.
#[derive(Debug, Clone, Copy)]
pub struct Bar {
    /// The upper side.
    pub of: &'static str,
    /// The lower side.
    pub to: &'static str,
    /// The bar, if there is one.
    pub at_most: Option<f64>,
}

/// The turns of all sides in a round that counts, by the side's place.
pub type Round = Vec<Turn>;

impl Range {
    /// Of figures that are numbers; `None` of none.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Range> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let middle = figures.len() / 2;
        let median = match figures.len() % 2 {
            0 => (figures[middle - 1] + figures[middle]) / 2.0,
            _ => figures[middle],
        };
        Some(Range { median, min, max })
    }
}

/// What the rounds that count say of each side.
pub fn measured(abouts: &[About], rounds: &[Round]) -> Vec<Measured> {
    let of = |(place, about): (usize, &About)| {
        let turns: Vec<Turn> = rounds.iter().map(|round| round[place].clone()).collect();
        let names = turns.iter().flat_map(|turn| turn.cpu_seconds.keys().cloned());
        let mut by_process: BTreeMap<String, f64> = names.map(|name| (name, 0.0)).collect();
        for (name, median) in &mut by_process {
            let us = |turn: &Turn| {
                turn.cpu_seconds.get(name).copied().unwrap_or_default() * 1e6 / turn.units as f64
            };
            *median = Range::of(turns.iter().map(us)).map_or(0.0, |range| range.median);
        }
        Measured {
            about: about.clone(),
            cpu_us: Range::of(turns.iter().map(Turn::cpu_us)),
            cpu_us_by_process: by_process,
            turns,
        }
    };
    abouts.iter().enumerate().map(of).collect()
}

/// Each bar's ratio, of the two sides' turns in the same round.
pub fn ratios(abouts: &[About], rounds: &[Round], bars: &[Bar], short: bool) -> Vec<Ratio> {
    let place = |name: &str| abouts.iter().position(|about| about.name == name);
    let of = |bar: &Bar| {
        let ratio = place(bar.of).zip(place(bar.to)).and_then(|(of, to)| {
            Range::of(rounds.iter().map(|round| round[of].cpu_us() / round[to].cpu_us()))
        });
        let verdict = Verdict::of(ratio, bar.at_most.filter(|_| !short));
        Ratio { of: bar.of, to: bar.to, ratio, at_most: bar.at_most, verdict }
    };
    bars.iter().map(of).collect()
}

impl Verdict {
    /// Of a ratio that is held to this, if to anything.
    pub fn of(ratio: Option<Range>, at_most: Option<f64>) -> Verdict {
        match (at_most, ratio) {
            (None, _) => Verdict::None,
            (Some(_), None) => Verdict::Unjudged,
            (Some(at_most), Some(ratio)) if ratio.median <= at_most => Verdict::Held,
            (Some(_), Some(_)) => Verdict::Missed,
        }
    }

    /// In a word; `None` when there was nothing to judge.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Verdict::Held => Some("held"),
            Verdict::Missed => Some("MISSED"),
            Verdict::Unjudged => Some("NOT JUDGED"),
            Verdict::None => None,
        }
    }
}

impl Comparison {
    /// How many rounds it rests on, in words.
    pub fn rounds(&self) -> String {
        let plural = if self.rounds_kept == 1 { "" } else { "s" };
        let kept = format!("{} round{plural}", self.rounds_kept);
        match self.rounds_starved.len() {
            0 => kept,
            thrown => format!("{kept}; {thrown} thrown out because a side was starved"),
        }
    }
}

impl Report {
    /// Each side once, with the comparisons that it is in.
    pub fn sides(&self) -> Vec<(&Measured, Vec<&'static str>)> {
        let mut sides: Vec<(&Measured, Vec<&'static str>)> = Vec::new();
        for comparison in &self.comparisons {
            for side in &comparison.sides {
                match sides.iter_mut().find(|(seen, _)| seen.about == side.about) {
                    Some((_, names)) => names.push(comparison.name),
                    None => sides.push((side, vec![comparison.name])),
                }
            }
        }
        sides
    }

    /// How the program ends.
    pub fn exit_code(&self) -> ExitCode {
        exit_code(self.comparisons.iter().flat_map(|one| &one.ratios).map(|ratio| ratio.verdict))
    }
}

/// How a program ends on these.
pub fn exit_code(mut verdicts: impl Iterator<Item = Verdict> + Clone) -> ExitCode {
    if verdicts.clone().any(|verdict| verdict == Verdict::Missed) {
        return ExitCode::FAILURE;
    }
    if verdicts.any(|verdict| verdict == Verdict::Unjudged) {
        return ExitCode::from(UNJUDGED);
    }
    ExitCode::SUCCESS
}

impl Machine {
    /// This one.
    pub fn here() -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        let kib = value(&memory, "MemTotal").and_then(|text| text.strip_suffix(" kB")?.parse::<f64>().ok());
        Machine {
            processor: value(&cpu, "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: kib.unwrap_or_default() / f64::from(1 << 20),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

/// How it was measured, in sentences.
pub fn method(size: Size, pinned: bool) -> Vec<String> {
    let Size { rate, seconds, events, .. } = size;
    vec![
        "CPU time is user and system time of every process that a side takes to reach its state, from before the \
         first request until the state is reached, over the requests or events; of whoever asks and of the Kafka \
         broker it is not counted."
            .to_owned(),
        "The sides take turns in each round. A ratio is of two turns in the same round; shown are the median and the \
         range over the rounds."
            .to_owned(),
        "A round is thrown out when a side's requests left late or not at all, when processes of others took more than a quarter of a \
         core, or other machines on the same hardware more than a twentieth of this one. The first round, in which \
         everything warms up, counts only in a short comparison."
            .to_owned(),
        format!(
            "Requests are the same bytes for all sides, {rate} a second (of those on connections of their own {}) for \
             {seconds} s, each sent when it is due, whether or not the ones before it are answered. Every one must be \
             answered properly.",
            rate * super::SHORT_SHARE
        ),
        format!("Consumers take {events} events."),
        match pinned {
            true => "A side that answers requests has the first core to itself; whoever asks and the broker have the \
                     others. ClickHouse and what feeds it have all cores."
                .to_owned(),
            false => "Nothing is bound to a core.".to_owned(),
        },
        "Not measured: TLS, a network, brokers and servers of other machines, replication.".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(name: &'static str) -> About {
        About { name: name.to_owned(), does: "", version: String::new(), state: "", settings: Vec::new() }
    }

    fn turn(seconds: f64) -> Turn {
        let cpu_seconds = BTreeMap::from([("a".to_owned(), seconds), ("b".to_owned(), seconds)]);
        Turn {
            units: 1_000_000,
            cpu_seconds,
            seconds: 1.0,
            late_ratio: 0.0,
            unsent_ratio: 0.0,
            foreign_cores: 0.0,
            stolen_cores: 0.0,
            figures: BTreeMap::new(),
        }
    }

    #[test]
    fn medians_and_ranges() {
        assert_eq!(Range::of([]), None);
        assert_eq!(Range::of([3.0, 1.0, 2.0]), Some(Range { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Range::of([4.0, 1.0]), Some(Range { median: 2.5, min: 1.0, max: 4.0 }));
    }

    #[test]
    fn ratios_are_of_one_round_and_held_to_bars() {
        let abouts = [about("ours"), about("peer")];
        // The median of the ratios, not the ratio of the medians.
        let rounds: Vec<Round> =
            [(1.0, 2.0), (4.0, 4.0), (6.0, 30.0)].map(|(ours, peer)| vec![turn(ours), turn(peer)]).into();
        let judged = |at_most, short| {
            let bars = [Bar { of: "ours", to: "peer", at_most }];
            ratios(&abouts, &rounds, &bars, short)[0].verdict
        };
        assert_eq!(judged(Some(0.5), false), Verdict::Held);
        assert_eq!(judged(Some(0.49), false), Verdict::Missed);
        assert_eq!(judged(Some(0.49), true), Verdict::None);
        assert_eq!(judged(None, false), Verdict::None);
        let bars = [Bar { of: "ours", to: "absent", at_most: Some(1.0) }];
        assert_eq!(ratios(&abouts, &rounds, &bars, false)[0].verdict, Verdict::Unjudged);

        let measured = measured(&abouts, &rounds);
        assert_eq!(measured[1].cpu_us, Some(Range { median: 8.0, min: 4.0, max: 60.0 }));
        assert_eq!(measured[0].cpu_us_by_process["b"], 4.0);
    }
}
