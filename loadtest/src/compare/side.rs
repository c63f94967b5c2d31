//! One side of a comparison: what it is, and what a turn of it has cost.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use super::bench::Bench;
use super::spent::{self, Machine, Spent, sum};

/// What a side is, for whoever reads the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct About {
    /// Its short name, as in `nginx-log`.
    pub name: String,
    /// What it does, in words.
    pub does: &'static str,
    /// What every process of it is, with its version.
    pub version: String,
    /// The state that it must reach before its CPU time is read.
    pub state: &'static str,
    /// Its settings, as it was started with them.
    pub settings: Vec<String>,
}

/// One turn of a side.
#[derive(Debug, Clone, Serialize)]
pub struct Turn {
    /// Requests or events, all of which have come to the side's state.
    pub units: u64,
    /// Seconds of CPU time by process.
    pub cpu_seconds: Spent,
    /// From the start to the state.
    pub seconds: f64,
    /// Of the requests, those that left over 1 ms late through the generator's own fault.
    pub late_ratio: f64,
    /// Of the requests, those that could not leave, as too many were under way: too little of the machine for all of this,
    /// or more than the side can answer.
    pub unsent_ratio: f64,
    /// Cores that were busy with what is no part of the comparison.
    pub foreign_cores: f64,
    /// Cores that other machines on the same hardware took.
    pub stolen_cores: f64,
    /// What else was measured, by name with the unit last.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<&'static str, f64>,
}

/// The beginning of a turn.
pub struct Begun {
    at: Instant,
    machine: Machine,
    own: f64,
}

impl Begun {
    /// It begins.
    pub fn now(bench: &Bench) -> anyhow::Result<Begun> {
        Ok(Begun { own: sum(&bench.own()?), machine: spent::machine()?, at: Instant::now() })
    }

    /// It has ended, with this spent by the side.
    pub fn turn(self, bench: &Bench, units: u64, cpu_seconds: Spent) -> anyhow::Result<Turn> {
        let (now, seconds) = (spent::machine()?, self.at.elapsed().as_secs_f64());
        let own = sum(&bench.own()?) - self.own;
        let (idle, stolen) = (now.idle - self.machine.idle, now.stolen - self.machine.stolen);
        let foreign = now.cores as f64 * seconds - idle - stolen - own - sum(&cpu_seconds);
        Ok(Turn {
            units,
            cpu_seconds,
            seconds,
            late_ratio: 0.0,
            unsent_ratio: 0.0,
            // Ticks are told to processes and to the machine by different clocks.
            foreign_cores: (foreign / seconds).max(0.0),
            stolen_cores: stolen / seconds,
            figures: BTreeMap::new(),
        })
    }
}

impl Turn {
    /// Microseconds of CPU time for each unit, over all processes.
    pub fn cpu_us(&self) -> f64 {
        sum(&self.cpu_seconds) * 1e6 / self.units as f64
    }
}

/// A side that is up.
pub trait Side {
    /// What it is.
    fn about(&self) -> &About;

    /// Gives it its turn.
    ///
    /// # Errors
    /// When it does not reach its state.
    fn turn(&mut self) -> anyhow::Result<Turn>;
}
