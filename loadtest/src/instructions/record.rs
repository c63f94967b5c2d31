//! What is recorded in the repository, and what has changed since.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::compare::bench::Bench;

/// For whoever reads the file.
const HOW: &str = "user-space instructions of our release build under callgrind, two run lengths subtracted; pixel and \
                   redirect: the thread that answers; event: all threads but the main one; written by `loadtest instructions --write`, where --help says more";

/// Figures, and what they were counted with. Other tools give other figures: then they are recorded anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// How they were counted.
    pub how: String,
    /// The compiler.
    pub rustc: String,
    /// The counter.
    pub valgrind: String,
    /// By what is counted.
    pub instructions: BTreeMap<String, Counted>,
}

/// A figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    /// Instructions for each; the median of the rounds.
    pub median: u64,
    /// From the least to the most of the rounds, in percent of the median.
    pub spread_percent: f64,
    /// How many there were.
    pub rounds: usize,
}

/// One round's figure.
#[derive(Debug, Clone, Copy)]
pub struct Count {
    /// Of what.
    pub name: &'static str,
    /// Instructions for each.
    pub each: f64,
}

/// What became of a figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Of what.
    pub name: String,
    /// As recorded.
    pub before: u64,
    /// As counted.
    pub now: u64,
    /// By how much it has grown.
    pub percent: f64,
    /// What lay between the recorded rounds, in percent: so much may be chance.
    pub spread_percent: f64,
}

impl Count {
    /// What `more` of them added to the total of a shorter run.
    pub fn between(name: &'static str, shorter: u64, longer: u64, more: u64) -> Count {
        Count { name, each: (longer as f64 - shorter as f64) / more as f64 }
    }
}

impl Counted {
    /// The figures of all rounds by name.
    pub fn gather(counts: &[Count]) -> BTreeMap<String, Counted> {
        let mut by_name = BTreeMap::<_, Vec<f64>>::new();
        counts.iter().for_each(|count| by_name.entry(count.name.to_owned()).or_default().push(count.each));
        by_name.into_iter().map(|(name, each)| (name, Counted::of(each))).collect()
    }

    fn of(mut each: Vec<f64>) -> Counted {
        each.sort_by(f64::total_cmp);
        let (median, rounds) = (each[each.len() / 2], each.len());
        let spread_percent = (100.0 * 100.0 * (each[rounds - 1] - each[0]) / median).round() / 100.0;
        Counted { median: median.round() as u64, spread_percent, rounds }
    }
}

impl Record {
    /// Without figures yet.
    pub fn of(bench: &Bench) -> anyhow::Result<Record> {
        let valgrind = bench.said("valgrind-version", &["valgrind", "--version"])?.trim().to_owned();
        // Who runs a program that was built elsewhere may have no compiler.
        let rustc = bench.said("rustc-version", &["rustc", "--version"]);
        let rustc = rustc.map_or_else(|_| "unknown".to_owned(), |rustc| rustc.trim().to_owned());
        Ok(Record { how: HOW.to_owned(), rustc, valgrind, instructions: BTreeMap::new() })
    }

    /// What stands in the file.
    pub fn read(file: &Path) -> anyhow::Result<Record> {
        let text = fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no record", file.display()))
    }

    /// Replaces the file.
    pub fn write(&self, file: &Path) -> anyhow::Result<()> {
        let json = serde_json::to_string_pretty(self).context("failed to write the record as JSON")?;
        fs::write(file, json + "\n").with_context(|| format!("failed to write {}", file.display()))
    }

    /// How each of the figures `now` stands to what is recorded here.
    ///
    /// # Errors
    /// When one of them is not recorded: it would never be refused.
    pub fn compare(&self, now: &Record) -> anyhow::Result<Vec<Change>> {
        for (what, before, now) in
            [("rustc", &self.rustc, &now.rustc), ("valgrind", &self.valgrind, &now.valgrind)]
        {
            if before != now {
                eprintln!(
                    "recorded with {what} {before:?}, counted with {now:?}: a change may be due to that"
                );
            }
        }
        ensure!(!now.instructions.is_empty(), "nothing was counted");
        let change = |(name, now): (&String, &Counted)| {
            let before = self.instructions.get(name).with_context(|| format!("{name} is not recorded"))?;
            let percent = 100.0 * (now.median as f64 / before.median as f64 - 1.0);
            let (name, spread_percent) = (name.clone(), before.spread_percent);
            Ok(Change { name, before: before.median, now: now.median, percent, spread_percent })
        };
        now.instructions.iter().map(change).collect()
    }
}

impl Display for Record {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "instructions in user space ({}, {})", self.rustc, self.valgrind)?;
        for (name, Counted { median, spread_percent, rounds }) in &self.instructions {
            write!(f, "{name:<9} {median:>7}")?;
            match rounds {
                1 => writeln!(f)?,
                rounds => writeln!(f, "  spread {spread_percent:.2} % over {rounds} rounds")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(figures: &[(&'static str, f64)]) -> Record {
        let counts: Vec<Count> = figures.iter().map(|&(name, each)| Count { name, each }).collect();
        Record {
            how: HOW.to_owned(),
            rustc: "rustc 1.95.0".to_owned(),
            valgrind: "valgrind-3.19.0".to_owned(),
            instructions: Counted::gather(&counts),
        }
    }

    #[test]
    fn lengths_are_subtracted_and_rounds_gathered() {
        let count = Count::between("pixel", 5_000_000, 25_000_000, 2_000);
        assert_eq!(count.each, 10_000.0);
        let of = record(&[("pixel", 101.0), ("pixel", 99.0), ("pixel", 100.0), ("event", 7.0)]).instructions;
        assert_eq!(of["pixel"], Counted { median: 100, spread_percent: 2.0, rounds: 3 });
        assert_eq!(of["event"], Counted { median: 7, spread_percent: 0.0, rounds: 1 });
    }

    #[test]
    fn growth_is_seen_and_so_is_what_nobody_recorded() {
        let before = record(&[("pixel", 10_000.0), ("event", 1_000.0)]);
        let changes = before.compare(&record(&[("pixel", 10_500.0)])).unwrap();
        assert_eq!((changes.len(), changes[0].before, changes[0].now), (1, 10_000, 10_500));
        assert!((changes[0].percent - 5.0).abs() < 1e-9, "{changes:?}");
        assert!(before.compare(&record(&[("pixel", 9_000.0)])).unwrap()[0].percent < -9.9);
        let error = before.compare(&record(&[("redirect", 1.0)])).unwrap_err().to_string();
        assert_eq!(error, "redirect is not recorded");
        assert!(before.compare(&record(&[])).is_err());
    }

    #[test]
    fn what_is_written_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let (file, record) = (dir.path().join("record.json"), record(&[("pixel", 42.4)]));
        record.write(&file).unwrap();
        assert_eq!(Record::read(&file).unwrap(), record);
        assert!(Record::read(&dir.path().join("none")).is_err());
    }
}
