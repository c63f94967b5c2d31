//! The usual ways to pick an hour, to judge the estimator against.

use send_time::baselines::{is_counted, most_frequent, over_three_hours, shrunk};

use super::chance::Chance;
use super::evidence::{Done, Known};

/// A way to pick an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Any hour of the day.
    Random,
    /// The hour in which all recipients together open most.
    GlobalHour,
    /// The hour in which the recipient's opens and clicks are most frequent, as recorded.
    MostFrequent,
    /// The same without known machines.
    MostFrequentHuman,
    /// Opens and clicks without known machines, over three hours.
    Smoothed,
    /// The same by clicks only for those whose mail is fetched ahead.
    SmoothedPrefetch,
    /// The same, older acts weighing less, under a kernel, shrunk to everybody's histogram.
    Shrunk,
}

/// All of them.
pub const ALL: [Method; 7] = [
    Method::Random,
    Method::GlobalHour,
    Method::MostFrequent,
    Method::MostFrequentHuman,
    Method::Smoothed,
    Method::SmoothedPrefetch,
    Method::Shrunk,
];

/// Those to which the best histogram method belongs.
pub const HISTOGRAMS: [Method; 4] =
    [Method::MostFrequentHuman, Method::Smoothed, Method::SmoothedPrefetch, Method::Shrunk];

/// What the methods know of everybody.
#[derive(Debug, Clone, Default)]
pub struct Everybody {
    /// Acts of each local hour, as recorded.
    pub raw: [f64; 24],
    /// Acts of people only.
    pub human: [f64; 24],
}

impl Everybody {
    /// Adds a person.
    pub fn add(&mut self, known: &Known) {
        for act in &known.acts {
            self.raw[act.bin % 24] += 1.0;
            if is_counted(act.kind, act.seen, known.machines.prefetched()) {
                self.human[act.bin % 24] += 1.0;
            }
        }
    }
}

impl Method {
    /// As in reports.
    pub fn name(self) -> &'static str {
        match self {
            Method::Random => "random hour",
            Method::GlobalHour => "global most-opened hour",
            Method::MostFrequent => "most frequent hour",
            Method::MostFrequentHuman => "most frequent hour, machines out",
            Method::Smoothed => "smoothed histogram, machines out",
            Method::SmoothedPrefetch => "  and clicks only where prefetched",
            Method::Shrunk => "  and shrunk to everybody's",
        }
    }

    /// The local hour it picks for a person.
    pub fn hour(self, known: &Known, everybody: &Everybody, chance: &mut Chance) -> usize {
        let ahead = known.machines.prefetched();
        let histogram = |counted: &dyn Fn(&Done) -> f64| {
            let mut hours = [0.0; 24];
            for act in &known.acts {
                hours[act.bin % 24] += counted(act);
            }
            hours
        };
        let human = |act: &Done| if act.seen.is_some() { 1.0 } else { 0.0 };
        let counted = |act: &Done| f64::from(is_counted(act.kind, act.seen, ahead));
        let hours = match self {
            Method::Random => return chance.below(24),
            Method::GlobalHour => everybody.raw,
            Method::MostFrequent => histogram(&|_| 1.0),
            Method::MostFrequentHuman => histogram(&human),
            Method::Smoothed => over_three_hours(&histogram(&human)),
            Method::SmoothedPrefetch => over_three_hours(&histogram(&counted)),
            Method::Shrunk => shrunk(&histogram(&|act| counted(act) * act.weight), &everybody.human),
        };
        most_frequent(&hours).or(most_frequent(&everybody.raw)).unwrap_or(0)
    }
}
