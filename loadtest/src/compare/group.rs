//! Sides that do the same, and their rounds.

use std::collections::BTreeMap;

use anyhow::Context;

use super::report::{self, Bar, Comparison, Round};
use super::side::{About, Side, Turn};
use crate::report::LATE_RATIO_MAX;

/// Rounds that are tried, for each that is to be kept. In a short comparison it is one, as none has to count.
const TRIES: usize = 2;
/// Of one core's time: what processes that are no part of this may take during a turn.
const FOREIGN_MAX: f64 = 0.25;
/// Of all cores' time: what other machines on the same hardware may take.
const STOLEN_MAX: f64 = 0.05;

/// Sides that do the same.
pub struct Group {
    /// Its name on the command line.
    pub name: &'static str,
    /// What every side does.
    pub does: &'static str,
    /// What the figures are per.
    pub unit: &'static str,
    /// In the order of their turns.
    pub sides: Vec<Box<dyn Side>>,
    /// Sides that are not there, and why.
    pub missing: BTreeMap<&'static str, String>,
    /// What is held against what.
    pub bars: Vec<Bar>,
    /// Rounds that count.
    pub kept: Vec<Round>,
    /// Rounds that do not, and why.
    pub starved: Vec<String>,
}

/// Gives every group so many rounds that count, as far as twice as many are enough for it, after one in which everything
/// warms up. In short none of this is for the figures: one round, whatever it shows.
pub fn rounds(groups: &mut [Group], count: usize, short: bool, cores: usize) -> anyhow::Result<()> {
    if count > 0 && !short {
        for group in groups.iter_mut() {
            group.round(cores)?;
            group.forget();
        }
    }
    let tries = if short { 1 } else { TRIES };
    for _ in 0..count * tries {
        for group in groups.iter_mut().filter(|group| group.kept.len() < count) {
            group.round(cores)?;
        }
    }
    Ok(())
}

impl Group {
    /// Gives every side its turn.
    fn round(&mut self, cores: usize) -> anyhow::Result<()> {
        let number = self.kept.len() + self.starved.len() + 1;
        let (mut round, mut starved) = (Round::new(), Vec::new());
        for side in &mut self.sides {
            let name = side.about().name.clone();
            let turn = side.turn().with_context(|| format!("{name} in comparison {}", self.name))?;
            eprintln!(
                "{} round {number}: {name} {:.2} µs in {:.1} s, others {:.0} % of a core",
                self.name,
                turn.cpu_us(),
                turn.seconds,
                turn.foreign_cores * 100.0
            );
            starved.extend(starving(&turn, cores).map(|why| format!("round {number}, {name}: {why}")));
            round.push(turn);
        }
        match starved.is_empty() {
            true => self.kept.push(round),
            false => self.starved.push(starved.join("; ")),
        }
        Ok(())
    }

    /// Nothing so far counts.
    fn forget(&mut self) {
        self.kept.clear();
        self.starved.clear();
    }

    /// What has been shown.
    pub fn comparison(&self, short: bool) -> Comparison {
        let abouts: Vec<About> = self.sides.iter().map(|side| side.about().clone()).collect();
        Comparison {
            name: self.name,
            does: self.does,
            unit: self.unit,
            sides: report::measured(&abouts, &self.kept),
            ratios: report::ratios(&abouts, &self.kept, &self.bars, short),
            missing: self.missing.clone(),
            rounds_kept: self.kept.len(),
            rounds_starved: self.starved.clone(),
        }
    }
}

/// Why a turn says nothing of its side.
fn starving(turn: &Turn, cores: usize) -> Option<String> {
    if turn.unsent_ratio > 0.0 {
        return Some(format!("{:.1} % of the requests could not leave", turn.unsent_ratio * 100.0));
    }
    if turn.late_ratio > LATE_RATIO_MAX {
        return Some(format!("{:.1} % of the requests left late", turn.late_ratio * 100.0));
    }
    if turn.foreign_cores > FOREIGN_MAX {
        return Some(format!("others took {:.0} % of a core", turn.foreign_cores * 100.0));
    }
    let stolen = turn.stolen_cores / cores as f64;
    (stolen > STOLEN_MAX).then(|| format!("{:.0} % of the machine was taken from it", stolen * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::spent::Spent;

    #[test]
    fn a_starved_turn_is_told_with_the_reason() {
        let fed = Turn {
            units: 1,
            cpu_seconds: Spent::new(),
            seconds: 1.0,
            late_ratio: 0.009,
            unsent_ratio: 0.0,
            foreign_cores: 0.2,
            stolen_cores: 0.09,
            figures: BTreeMap::new(),
        };
        let why = |turn: Turn| starving(&turn, 2).unwrap_or_default();
        assert_eq!(why(fed.clone()), "");
        let unsent = Turn { unsent_ratio: 0.5, ..fed.clone() };
        assert_eq!(why(unsent), "50.0 % of the requests could not leave");
        assert_eq!(why(Turn { late_ratio: 0.02, ..fed.clone() }), "2.0 % of the requests left late");
        assert_eq!(why(Turn { foreign_cores: 0.5, ..fed.clone() }), "others took 50 % of a core");
        assert_eq!(why(Turn { stolen_cores: 0.2, ..fed }), "10 % of the machine was taken from it");
    }
}
