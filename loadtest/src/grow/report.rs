//! What growth has shown: JSON for whoever compares runs; `text` writes it for people.

use std::process::ExitCode;

use serde::Serialize;

use super::kinds;
use super::options::Size;
use crate::compare::group::Group;
use crate::compare::report::{self, Machine, Range, Round, Verdict};

/// Everything that was let grow.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Where it was measured.
    pub machine: Machine,
    /// What ran.
    pub versions: Vec<String>,
    /// How it was measured, in sentences.
    pub method: Vec<String>,
    /// Rounds that were to be kept of each kind.
    pub rounds: usize,
    /// Too small to judge by.
    pub short: bool,
    /// Why the rounds ended before their time: a variant that did not do its work.
    pub failed: Option<String>,
    /// Each kind.
    pub kinds: Vec<Grown>,
}

/// Something that was let grow.
#[derive(Debug, Clone, Serialize)]
pub struct Grown {
    /// Its name on the command line.
    pub name: &'static str,
    /// What every variant does.
    pub does: &'static str,
    /// What CPU time is per: a pixel, or an event.
    pub unit: &'static str,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// Rounds that count.
    pub rounds_kept: usize,
    /// Rounds that were thrown out because a variant was starved in them: which, and of what.
    pub rounds_starved: Vec<String>,
    /// The turns of all variants in the rounds that count.
    pub turns: Vec<Round>,
}

/// A figure of every variant.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// Its name, with the unit last.
    pub name: &'static str,
    /// By variant, in the order of their turns.
    pub rows: Vec<Row>,
}

/// A figure of one variant.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The variant, as in `12 partitions`.
    pub variant: String,
    /// Over the rounds; absent when none counts.
    pub range: Option<Range>,
    /// Times the first variant's in the same round; absent for that one.
    pub times_first: Option<Range>,
    /// The bar: the median of those must not be above it.
    pub at_most: Option<f64>,
    /// What came of the bar.
    pub verdict: Verdict,
}

impl Report {
    /// How the program ends.
    pub fn exit_code(&self) -> ExitCode {
        if self.failed.is_some() {
            return ExitCode::FAILURE;
        }
        let rows = self.kinds.iter().flat_map(|kind| &kind.figures).flat_map(|figure| &figure.rows);
        // Without a round a kind has shown nothing, whether it has a bar or not. A short run is for no figure.
        let without = self.kinds.iter().filter(|kind| kind.rounds_kept == 0 && !self.short);
        report::exit_code(rows.map(|row| row.verdict).chain(without.map(|_| Verdict::Unjudged)))
    }
}

/// What the rounds of a kind have shown.
pub fn grown(group: &Group, short: bool) -> Grown {
    let kind = kinds::of(group.name);
    let variants: Vec<&str> = group.sides.iter().map(|side| side.about().name.as_str()).collect();
    let figures = kind.map_or(&[][..], |kind| kind.figures);
    let bar = |figure: &str, variant: &str| {
        let (of, row, at_most) = kind?.bar?;
        (of == figure && row == variant).then_some(at_most)
    };
    Grown {
        name: group.name,
        does: group.does,
        unit: group.unit,
        figures: figures
            .iter()
            .map(|name| Figure {
                name,
                rows: rows(name, &variants, &group.kept, |variant| bar(name, variant).filter(|_| !short)),
            })
            .collect(),
        rounds_kept: group.kept.len(),
        rounds_starved: group.starved.clone(),
        turns: group.kept.clone(),
    }
}

fn rows(name: &str, variants: &[&str], rounds: &[Round], bar: impl Fn(&str) -> Option<f64>) -> Vec<Row> {
    let of = |round: &Round, place: usize| round[place].figures.get(name).copied();
    let row = |(place, variant): (usize, &&str)| {
        let times = rounds.iter().filter_map(|round| Some(of(round, place)? / of(round, 0)?));
        let times_first = Range::of(times).filter(|_| place > 0);
        let at_most = bar(variant);
        Row {
            variant: (*variant).to_owned(),
            range: Range::of(rounds.iter().filter_map(|round| of(round, place))),
            times_first,
            at_most,
            verdict: Verdict::of(times_first, at_most),
        }
    };
    variants.iter().enumerate().map(row).collect()
}

/// How it was measured, in sentences.
pub fn method(size: &Size, pinned: bool) -> Vec<String> {
    let Size { rate, seconds, events, .. } = size;
    vec![
        "The variants of a kind take turns in each round; shown are the median and the range over the rounds, and the \
         same of the ratios to the first variant in the same round. A first round, in which everything warms up, counts \
         only in a short run."
            .to_owned(),
        "A round is thrown out when requests left late or not at all, when processes of others took more than a quarter \
         of a core, or other machines on the same hardware more than a twentieth of this one."
            .to_owned(),
        format!(
            "Pixels: {rate} a second for {seconds} s, each sent when it is due, over connections that were open before. CPU \
             time is that of the edge until all events are in Kafka, memory the most that it was resident with while \
             requests were sent. Latency counts from when a request was due; the sender shares the machine and is in it."
        ),
        format!(
            "Partitions: {events} events wait, a hundred in each message; the consumer begins when all are there. Merges are \
             stopped, so what more parts cost later is not in it."
        ),
        "Away: requests for 4 s at the most. The broker is frozen (SIGSTOP) before the first and goes on after the last \
         answer; then all events must come to Kafka. While it is frozen it takes no CPU time of the machine."
            .to_owned(),
        match pinned {
            true => "An edge has as many cores as workers, from the first on; whoever asks and the broker have all but \
                     the first. The consumer and ClickHouse have all."
                .to_owned(),
            false => "Nothing is bound to a core.".to_owned(),
        },
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::compare::side::Turn;
    use crate::compare::spent::Spent;

    fn turn(p99_9: f64) -> Turn {
        Turn {
            units: 1,
            cpu_seconds: Spent::new(),
            seconds: 1.0,
            late_ratio: 0.0,
            unsent_ratio: 0.0,
            foreign_cores: 0.0,
            stolen_cores: 0.0,
            figures: BTreeMap::from([("p99.9_ms", p99_9)]),
        }
    }

    #[test]
    fn ratios_are_to_the_first_of_the_same_round() {
        let rounds: Vec<Round> =
            [(1.0, 1.2), (10.0, 10.0), (4.0, 2.0)].map(|(up, away)| vec![turn(up), turn(away)]).into();
        let judged = |at_most| {
            rows("p99.9_ms", &["up", "frozen"], &rounds, |variant| {
                Some(at_most).filter(|_| variant == "frozen")
            })
        };
        let rows = judged(1.1);
        assert_eq!((rows[0].times_first, rows[0].verdict), (None, Verdict::None));
        assert_eq!(rows[1].range, Some(Range { median: 2.0, min: 1.2, max: 10.0 }));
        assert_eq!(rows[1].times_first, Some(Range { median: 1.0, min: 0.5, max: 1.2 }));
        assert_eq!(rows[1].verdict, Verdict::Held);
        assert_eq!(judged(0.9)[1].verdict, Verdict::Missed);
    }

    #[test]
    fn a_kind_without_rounds_is_no_success() {
        let report = |rounds_kept, short| Report {
            machine: Machine::here(),
            versions: Vec::new(),
            method: Vec::new(),
            rounds: 1,
            short,
            failed: None,
            kinds: vec![Grown {
                name: "cores",
                does: "",
                unit: "pixel",
                figures: Vec::new(),
                rounds_kept,
                rounds_starved: Vec::new(),
                turns: Vec::new(),
            }],
        };
        assert_eq!(report(1, false).exit_code(), ExitCode::SUCCESS);
        assert_eq!(report(0, true).exit_code(), ExitCode::SUCCESS);
        assert_ne!(report(0, false).exit_code(), ExitCode::SUCCESS);
        let failed = Report { failed: Some("an edge lost one".to_owned()), ..report(1, true) };
        assert_eq!(failed.exit_code(), ExitCode::FAILURE);
        assert!(failed.to_string().contains("FAILED: an edge lost one"));
    }

    #[test]
    fn without_rounds_nothing_is_judged() {
        let rows = rows("p99.9_ms", &["up", "frozen"], &[], |_| Some(1.1));
        assert!(rows[1].range.is_none() && rows[1].verdict == Verdict::Unjudged);
    }
}
