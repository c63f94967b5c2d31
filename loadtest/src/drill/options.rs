//! The command line of the drill.

use anyhow::ensure;
use clap::{Args, ValueEnum};

use crate::scratch::Scratch;

use super::plan::Scenario;

/// Events that one drill may ask for: what is known of each takes three bits.
const EVENTS_MAX: u64 = 200_000_000;
const FAULTS_MAX: usize = 100_000;
/// Three Kafka brokers of 1 GB each, ClickHouse and all programs on one machine answer no more than that.
const RATE_MAX: f64 = 50_000.0;

/// What without `--short` a mixed drill is: the long form.
const LONG: Size = Size { events: 10_000_000, faults: 1_000, duration: 2_700.0 };
/// For every change: well below three minutes with all that is started for it.
const SHORT: Size = Size { events: 20_000, faults: 15, duration: 60.0 };

/// For `--help`.
pub const EXAMPLES: &str = "\
Exit status:
  0  every answered request is stored once, and every view is what the events add up to
  1  events are lost or twice, an answer was wrong, a view differs, a program did not come back, or the drill could not
     be made; the data is kept and named

Examples:
  cargo build --release && cargo run --release -p loadtest -- drill --short
  loadtest drill --short --scenario proxy --seed 7
  loadtest drill --events 10000000 --faults 1000 --duration 2700 --json";

/// How to drill.
#[derive(Debug, Clone, Args)]
pub struct DrillOptions {
    /// What goes wrong.
    #[arg(long, value_enum, default_value_t = Scenario::Mixed)]
    pub scenario: Scenario,
    /// Which faults, when, of what and for how long follows from this number.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// 20,000 events and 15 faults in a minute, where nothing else is said; without it 10,000,000 and 1,000 in 45.
    #[arg(long)]
    pub short: bool,
    /// Requests to send, at least; they go on until the last fault is over.
    #[arg(long, value_name = "COUNT")]
    pub events: Option<u64>,
    /// Faults to inject.
    #[arg(long, value_name = "COUNT")]
    pub faults: Option<usize>,
    /// Seconds over which the faults are spread, and the requests without --rate.
    #[arg(long, value_name = "SECONDS")]
    pub duration: Option<f64>,
    /// Requests per second.
    #[arg(long)]
    pub rate: Option<f64>,
    /// What is run, and where.
    #[command(flatten)]
    pub scratch: Scratch,
    /// One JSON object on standard output at the end; progress is on standard error in any case.
    #[arg(long)]
    pub json: bool,
}

/// How much of everything.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    /// Requests, at least.
    pub events: u64,
    /// Faults.
    pub faults: usize,
    /// Seconds.
    pub duration: f64,
}

impl DrillOptions {
    /// What all options come to.
    pub fn size(&self) -> Size {
        let default = if self.short { SHORT } else { LONG };
        let events = self.events.unwrap_or(default.events);
        let faults = self.faults.unwrap_or(default.faults);
        let duration =
            self.duration.or(self.rate.map(|rate| events as f64 / rate)).unwrap_or(default.duration);
        Size { events, faults, duration }
    }

    /// Requests per second.
    pub fn rate(&self) -> f64 {
        let size = self.size();
        self.rate.unwrap_or(size.events as f64 / size.duration)
    }

    /// Refuses what parses but makes no sense.
    pub fn check(&self) -> anyhow::Result<()> {
        let Size { events, faults, duration } = self.size();
        ensure!((1..=EVENTS_MAX).contains(&events), "--events {events}: expected 1 to {EVENTS_MAX}");
        ensure!((1..=FAULTS_MAX).contains(&faults), "--faults {faults}: expected 1 to {FAULTS_MAX}");
        ensure!(duration >= 1.0, "--duration {duration}: expected at least 1 second");
        let rate = self.rate();
        ensure!(rate > 0.0 && rate <= RATE_MAX, "--rate {rate}: expected up to {RATE_MAX} requests a second");
        Ok(())
    }
}

impl std::fmt::Display for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: DrillOptions,
    }

    fn options(line: &str) -> DrillOptions {
        Line::try_parse_from(["drill"].into_iter().chain(line.split_whitespace())).unwrap().options
    }

    #[test]
    fn one_number_gives_the_other() {
        assert_eq!(options("").size(), LONG);
        assert_eq!(options("--short").size(), SHORT);
        let given = options("--short --events 1000 --rate 100");
        assert_eq!((given.size().duration, given.rate()), (10.0, 100.0));
        assert_eq!(options("--events 1000 --duration 20").rate(), 50.0);
        assert_eq!(options("--scenario full-disk").scenario, Scenario::FullDisk);
    }

    #[test]
    fn nonsense_is_named() {
        for (line, named) in [
            ("--events 0", "--events"),
            ("--faults 0", "--faults"),
            ("--rate 0", "--rate"),
            ("--duration 0", "--duration"),
        ] {
            let said = options(line).check().unwrap_err().to_string();
            assert!(said.starts_with(named), "{line}: {said}");
        }
        options("--short").check().unwrap();
    }
}
