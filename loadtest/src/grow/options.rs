//! The command line of growth.

use std::fmt::Display;
use std::path::PathBuf;

use anyhow::ensure;
use clap::{Args, ValueEnum};

use crate::compare;
use crate::scratch::Scratch;

/// For `--help`.
pub const EXAMPLES: &str = "\
Exit status:
  0  measured, and the bar (the slowest pixels while Kafka is away) is held where it could be judged
  1  the bar is missed, an edge or the consumer did not do its work, or it could not be measured
  2  the command line is wrong
  3  a kind has no round that counts: the machine was too busy in all of them

Examples:
  cargo build --release && cargo run --release -p loadtest -- grow --json grow.json
  loadtest grow --short
  loadtest grow --only partitions --partitions 1,12,48 --events 2000000
  # more open connections than files are allowed by default
  ulimit -n 65536; loadtest grow --only connections --connections 1000,16000
  loadtest grow --only away --rounds 15 --rate 2000";

/// An edge takes 20,000 connections unless it is told otherwise.
const CONNECTIONS_MAX: usize = 18_000;
/// An edge ends a connection that idles for 10 s: each has to have its turn well before.
const TURN_SECONDS_MAX: f64 = 5.0;
const SHORT_SECONDS: f64 = 0.5;

/// What to measure.
#[derive(Debug, Clone, Args)]
pub struct GrowOptions {
    /// Rounds to keep of each kind; in each, every variant has its turn. 3 by default.
    #[arg(long, value_name = "COUNT")]
    pub rounds: Option<usize>,
    /// What to let grow; everything without it.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME")]
    pub only: Vec<Only>,
    /// Cores of the edge, a worker on each; by default 1, 2 and so on up to the machine's.
    #[arg(long, value_delimiter = ',', value_name = "COUNT")]
    pub cores: Vec<usize>,
    /// Connections that are kept open, each used in its turn; 1,000, 4,000 and 10,000 by default.
    #[arg(long, value_delimiter = ',', value_name = "COUNT")]
    pub connections: Vec<usize>,
    /// Partitions of the topic; 1, 3, 6 and 12 by default.
    #[arg(long, value_delimiter = ',', value_name = "COUNT")]
    pub partitions: Vec<u32>,
    /// Pixels per second, the same in all variants; 5,000 by default.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Seconds that each edge is asked for in a round; 5 by default. Kafka is away for 4 of them at the most.
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<f64>,
    /// Events that wait for the consumer in each round; 400,000 by default.
    #[arg(long, value_name = "COUNT")]
    pub events: Option<u64>,
    /// One tiny round, for every change: that everything does its work. No bar is judged.
    #[arg(long)]
    pub short: bool,
    /// What is run, and where.
    #[command(flatten)]
    pub scratch: Scratch,
    /// Write the report as JSON to this file, or to standard output (and the text to standard error) for `-`.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// What grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Only {
    /// Cores of the edge.
    Cores,
    /// Open connections.
    Connections,
    /// Partitions of the topic, for the consumer and ClickHouse.
    Partitions,
    /// The time that Kafka is away.
    Away,
}

/// How much of everything.
#[derive(Debug, Clone, PartialEq)]
pub struct Size {
    /// Rounds to keep.
    pub rounds: usize,
    /// Pixels per second.
    pub rate: f64,
    /// Seconds per edge and round.
    pub seconds: f64,
    /// Events per consumer and round.
    pub events: u64,
    /// Cores of the edge.
    pub cores: Vec<usize>,
    /// Connections of the edge.
    pub connections: Vec<usize>,
    /// Partitions of the topic.
    pub partitions: Vec<u32>,
}

impl GrowOptions {
    /// What all options come to on a machine with so many cores.
    pub fn size(&self, machine_cores: usize) -> Size {
        let or = |given: &[usize], default: Vec<usize>| if given.is_empty() { default } else { given.into() };
        let short = self.short;
        Size {
            rounds: self.rounds.unwrap_or(if short { 1 } else { 3 }),
            rate: self.rate.unwrap_or(if short { 500.0 } else { 5_000.0 }),
            seconds: self.seconds.unwrap_or(if short { SHORT_SECONDS } else { 5.0 }),
            events: self.events.unwrap_or(if short { 5_000 } else { 400_000 }),
            cores: or(&self.cores, if short { vec![1] } else { (1..=machine_cores).collect() }),
            connections: or(
                &self.connections,
                if short { vec![20, 200] } else { vec![1_000, 4_000, 10_000] },
            ),
            partitions: match &self.partitions[..] {
                [] if short => vec![1, 3],
                [] => vec![1, 3, 6, 12],
                given => given.into(),
            },
        }
    }

    /// Whether `one` was asked for.
    pub fn wants(&self, one: Only) -> bool {
        self.only.is_empty() || self.only.contains(&one)
    }

    /// Refuses what parses but makes no sense on a machine with so many cores.
    pub fn check(&self, machine_cores: usize) -> anyhow::Result<()> {
        let Size { rounds, rate, seconds, events, cores, connections, partitions } = self.size(machine_cores);
        compare::options::Size { rounds, rate, seconds, events }.check()?;
        once("cores", &cores)?;
        once("connections", &connections)?;
        once("partitions", &partitions)?;
        for count in cores {
            ensure!(
                (1..=machine_cores).contains(&count),
                "--cores {count}: expected 1 to {machine_cores}, which this machine has"
            );
        }
        for count in connections {
            ensure!(
                (1..=CONNECTIONS_MAX).contains(&count),
                "--connections {count}: expected 1 to {CONNECTIONS_MAX}"
            );
            ensure!(
                count as f64 / rate <= TURN_SECONDS_MAX,
                "--connections {count} at --rate {rate}: each would idle for {:.0} s, and an edge ends it after 10: \
                 expected a rate of {:.0} at least",
                count as f64 / rate,
                count as f64 / TURN_SECONDS_MAX
            );
        }
        for count in partitions {
            ensure!((1..=200).contains(&count), "--partitions {count}: expected 1 to 200");
        }
        Ok(())
    }
}

/// A variant has a name, a topic and a journal of its own.
fn once<T: PartialEq + Display>(name: &str, counts: &[T]) -> anyhow::Result<()> {
    for (place, count) in counts.iter().enumerate() {
        ensure!(!counts[..place].contains(count), "--{name}: {count} is there twice");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: GrowOptions,
    }

    fn options(line: &str) -> GrowOptions {
        Line::try_parse_from(["grow"].into_iter().chain(line.split_whitespace())).unwrap().options
    }

    #[test]
    fn what_is_said_wins() {
        let size = options("--connections 5,6 --partitions 2 --rate 300").size(3);
        assert_eq!((size.cores, size.connections, size.partitions), (vec![1, 2, 3], vec![5, 6], vec![2]));
        assert_eq!((size.rate, size.seconds), (300.0, 5.0));
        assert_eq!(options("--short --seconds 2").size(64).seconds, 2.0);
        assert!(options("").wants(Only::Away) && !options("--only cores,away").wants(Only::Partitions));
    }

    #[test]
    fn nonsense_is_named() {
        for (line, named) in [
            ("--rounds 0", "--rounds 0: expected"),
            ("--rate 1", "--rate 1: expected"),
            ("--seconds 0", "--seconds 0: expected"),
            ("--events 1", "--events 1: expected"),
            ("--cores 3", "--cores 3: expected 1 to 2,"),
            ("--connections 0", "--connections 0: expected"),
            ("--connections 10000 --rate 500", "--connections 10000 at --rate 500: each would idle for 20 s"),
            ("--partitions 0", "--partitions 0: expected"),
            ("--partitions 3,1,3", "--partitions: 3 is there twice"),
        ] {
            let said = options(line).check(2).unwrap_err().to_string();
            assert!(said.starts_with(named), "{line}: {said}");
        }
        options("--short").check(1).unwrap();
        options("").check(64).unwrap();
    }
}
