//! What came out of the pipeline, world by world, and the bars that it is held to.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::super::score::{CLAIMED_MIN, CLAIMS_MIN, Score};
use super::verdicts::Verdicts;

/// A history that went through, and what came of it.
#[derive(Debug, Serialize)]
pub struct Piped {
    /// What was recommended, held to the truth.
    pub score: Score,
    /// Events of the history.
    pub events: u64,
    /// Whom the pipeline took for a person.
    pub verdicts: Verdicts,
    /// Beside the estimator in this process.
    pub agreement: Agreement,
}

/// How far what came out of the pipeline is what the estimator says in this process, on the verdicts that the simulation
/// gives by its own, simpler rules.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Agreement {
    /// People for whom both recommend.
    pub both: usize,
    /// Of these, the same best window.
    pub same_window: usize,
    /// Largest difference of the probability that is claimed for it.
    pub p_apart_max: f64,
    /// Mean difference.
    pub p_apart_mean: f64,
    /// People whom both refuse for the same reason.
    pub both_refused: usize,
    /// People whom one refuses, or each for another reason.
    pub one_refused: usize,
    /// Mean probability of an open within an hour at the times of the estimator in this process.
    pub p_open_1h: f64,
}

/// All that went through.
#[derive(Debug, Serialize)]
pub struct Report {
    /// By world.
    pub worlds: Vec<WorldReport>,
}

/// All seeds of a world.
#[derive(Debug, Serialize)]
pub struct WorldReport {
    /// Its name.
    pub world: String,
    /// One for each seed.
    pub seeds: Vec<Piped>,
    /// Mean of all seeds for each method, in the order of the scores.
    pub methods: Vec<Method>,
    /// The estimator over the most frequent hour as recorded, mean of all seeds.
    pub over_most_frequent: f64,
    /// The estimator over the best histogram of each seed, mean of all seeds.
    pub over_best_histogram: f64,
    /// What was claimed and what is true, all seeds and levels together, by tenths of confidence.
    pub calibration: Vec<Tenth>,
    /// Largest difference of both in the tenths from [`CLAIMED_MIN`] on that have claims enough; none where none has.
    pub calibration_off: Option<f64>,
    /// What it is held to.
    pub bars: Vec<Bar>,
}

/// A method's worth.
#[derive(Debug, Clone, Serialize)]
pub struct Method {
    /// Its name.
    pub method: String,
    /// Mean probability of an open within an hour, mean of all seeds.
    pub p_open_1h: f64,
    /// Least and most of the seeds.
    pub range: [f64; 2],
    /// Over that of the best hour of each person.
    pub of_best: f64,
}

/// Recommendations of about the same confidence.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Tenth {
    /// Confidence from.
    pub from: f64,
    /// How many.
    pub count: usize,
    /// Mean confidence.
    pub claimed: f64,
    /// Share that in truth beats what it is said to beat.
    pub holds: f64,
}

/// A figure that has to be good enough.
#[derive(Debug, Clone, Serialize)]
pub struct Bar {
    /// The world.
    pub world: String,
    /// What it is.
    pub name: &'static str,
    /// The figure; none when there was too little to tell.
    pub value: Option<f64>,
    /// The least it may be, or the most.
    pub limit: f64,
    /// Which of both.
    pub at_least: bool,
}

impl Bar {
    /// Whether it is good enough. What cannot be told is not.
    pub fn is_held(&self) -> bool {
        self.value.is_some_and(|value| if self.at_least { value >= self.limit } else { value <= self.limit })
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (how, held) = (
            if self.at_least { "at least" } else { "at most" },
            if self.is_held() { "held" } else { "MISSED" },
        );
        let value = self.value.map_or("too little to tell".to_owned(), |value| format!("{value:.3}"));
        write!(f, "{}, {}: {value}, {how} {:.2}: {held}", self.world, self.name, self.limit)
    }
}

impl Report {
    /// By world, in the order they came.
    pub fn new(piped: Vec<Piped>, with_bars: bool) -> Report {
        let mut worlds: Vec<(String, Vec<Piped>)> = Vec::new();
        for piped in piped {
            match worlds.iter_mut().find(|(world, _)| *world == piped.score.world) {
                Some((_, seeds)) => seeds.push(piped),
                None => worlds.push((piped.score.world.clone(), vec![piped])),
            }
        }
        let worlds =
            worlds.into_iter().map(|(world, seeds)| WorldReport::new(world, seeds, with_bars)).collect();
        Report { worlds }
    }

    /// The bars that are missed.
    pub fn missed(&self) -> impl Iterator<Item = &Bar> {
        self.worlds.iter().flat_map(|world| &world.bars).filter(|bar| !bar.is_held())
    }
}

impl WorldReport {
    fn new(world: String, seeds: Vec<Piped>, with_bars: bool) -> WorldReport {
        let mean = |of: &dyn Fn(&Score) -> f64| {
            seeds.iter().map(|piped| of(&piped.score)).sum::<f64>() / seeds.len() as f64
        };
        let methods = seeds[0].score.methods.iter().map(|row| {
            let each = seeds.iter().map(|piped| piped.score.p_open_1h(&row.method));
            let of_best = |score: &Score| {
                score.methods.iter().find(|other| other.method == row.method).map_or(0.0, |row| row.of_best)
            };
            Method {
                method: row.method.clone(),
                p_open_1h: mean(&|score| score.p_open_1h(&row.method)),
                range: [each.clone().fold(f64::INFINITY, f64::min), each.fold(f64::NEG_INFINITY, f64::max)],
                of_best: mean(&of_best),
            }
        });
        let methods = methods.collect();
        let calibration = calibration(&seeds);
        let sure = calibration.iter().filter(|tenth| tenth.from >= CLAIMED_MIN && tenth.count >= CLAIMS_MIN);
        let off = sure.map(|tenth| (tenth.claimed - tenth.holds).abs()).reduce(f64::max);
        let over_most_frequent = mean(&|score| score.over_most_frequent);
        let over_best_histogram = mean(&|score| score.over_best_histogram);
        let bar = |name, value, limit, at_least| Bar { world: world.clone(), name, value, limit, at_least };
        let frequent = |limit| bar("over most frequent hour", Some(over_most_frequent), limit, true);
        let histogram = |limit| bar("over best histogram", Some(over_best_histogram), limit, true);
        let claims = bar("confidence from 0.7 on, off the truth", off, 0.05, false);
        let bars = match world.as_str() {
            _ if !with_bars => Vec::new(),
            "real" => vec![frequent(1.35), histogram(1.15), claims],
            "strangers" => vec![histogram(0.98), claims],
            _ => Vec::new(),
        };
        WorldReport {
            world,
            methods,
            over_most_frequent,
            over_best_histogram,
            calibration,
            calibration_off: off,
            bars,
            seeds,
        }
    }

    /// Everybody's verdicts.
    pub fn verdicts(&self) -> Verdicts {
        let mut all = Verdicts::default();
        self.seeds.iter().for_each(|piped| all.add(&piped.verdicts));
        all
    }

    /// How many nothing was recommended to, by the reason.
    pub fn refused(&self) -> BTreeMap<&'static str, usize> {
        let mut all = BTreeMap::new();
        for (why, count) in self.seeds.iter().flat_map(|piped| &piped.score.refused) {
            *all.entry(*why).or_insert(0) += count;
        }
        all
    }
}

fn calibration(seeds: &[Piped]) -> Vec<Tenth> {
    let mut tenths: BTreeMap<u32, Tenth> = BTreeMap::new();
    for claims in seeds.iter().flat_map(|piped| &piped.score.calibration) {
        let tenth = tenths.entry((claims.from * 10.0).round() as u32).or_default();
        let count = claims.count as f64;
        *tenth = Tenth {
            from: claims.from,
            count: tenth.count + claims.count,
            claimed: tenth.claimed + count * claims.claimed,
            holds: tenth.holds + count * claims.holds,
        };
    }
    let mean = |tenth: Tenth| {
        let count = tenth.count as f64;
        Tenth { claimed: tenth.claimed / count, holds: tenth.holds / count, ..tenth }
    };
    tenths.into_values().map(mean).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.worlds.iter().try_for_each(|world| writeln!(f, "{world}"))
    }
}

impl fmt::Display for WorldReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events: u64 = self.seeds.iter().map(|piped| piped.events).sum();
        let people = self.seeds[0].score.people;
        writeln!(f, "world {}: {people} people a seed, {events} events through the pipeline\n", self.world)?;
        let of = |f: &mut fmt::Formatter<'_>, name: &str, each: &[String], mean: &[&str]| {
            let cells: Vec<&str> = each.iter().map(String::as_str).chain(mean.iter().copied()).collect();
            let cells: String = cells.iter().map(|cell| format!("{cell:>10}")).collect();
            writeln!(f, "{}", format!("  {name:<38}{cells}").trim_end())
        };
        let each = |of: &dyn Fn(&Piped) -> String| self.seeds.iter().map(of).collect::<Vec<_>>();
        let seeds = each(&|piped| format!("seed {}", piped.score.seed));
        of(f, "P(open<=1h)", &seeds, &["mean", "of best"])?;
        for method in &self.methods {
            let each = each(&|piped| format!("{:.4}", piped.score.p_open_1h(&method.method)));
            let (mean, of_best) = (format!("{:.4}", method.p_open_1h), format!("{:.2}", method.of_best));
            of(f, &method.method, &each, &[&mean, &of_best])?;
        }
        let in_process = each(&|piped| format!("{:.4}", piped.agreement.p_open_1h));
        of(f, "(estimator in this process)", &in_process, &[])?;
        writeln!(f)?;
        let ratios = each(&|piped| format!("{:.3}", piped.score.over_most_frequent));
        of(f, "estimator / most frequent hour", &ratios, &[&format!("{:.3}", self.over_most_frequent)])?;
        let ratios = each(&|piped| format!("{:.3}", piped.score.over_best_histogram));
        of(f, "estimator / best histogram", &ratios, &[&format!("{:.3}", self.over_best_histogram)])?;
        let claimed = each(&|piped| format!("{:.4}", piped.score.claimed_p_open_1h));
        of(f, "P(open<=1h) claimed", &claimed, &[])?;
        let truly = each(&|piped| format!("{:.4}", piped.score.true_p_open_1h));
        of(f, "  and true of the same", &truly, &[])?;

        writeln!(f, "\n  {:<12}{:>8}{:>10}{:>10}", "confidence", "count", "claimed", "true")?;
        for Tenth { from, count, claimed, holds } in &self.calibration {
            writeln!(f, "  {from:>4.1}-{:.1}    {count:>8}{claimed:>10.3}{holds:>10.3}", from + 0.1)?;
        }
        writeln!(f)?;
        let refused = self.refused();
        if refused.is_empty() {
            writeln!(f, "  refused: nobody")?;
        }
        refused.iter().try_for_each(|(why, count)| writeln!(f, "  refused: {count} by {why}"))?;
        let v = self.verdicts();
        let share = |part: u64, of: u64| 100.0 * part as f64 / of.max(1) as f64;
        writeln!(
            f,
            "  machines known as such: {:.1} % of {} (in this process {:.1} %)",
            share(v.machines_known, v.machines),
            v.machines,
            share(v.machines_known_in_process, v.machines)
        )?;
        writeln!(
            f,
            "  people taken for machines: {:.2} % of {} (in this process {:.2} %)",
            share(v.people_mistaken, v.people),
            v.people,
            share(v.people_mistaken_in_process, v.people)
        )?;
        let sum =
            |of: fn(&Agreement) -> usize| self.seeds.iter().map(|piped| of(&piped.agreement)).sum::<usize>();
        writeln!(
            f,
            "  same best window as in this process: {} of {}; refused by one of both: {}",
            sum(|a| a.same_window),
            sum(|a| a.both),
            sum(|a| a.one_refused)
        )?;
        if !self.bars.is_empty() {
            writeln!(f)?;
        }
        self.bars.iter().try_for_each(|bar| writeln!(f, "  {bar}"))
    }
}
