//! The usual ways to pick an hour, to judge the estimator against.

use send_time::evidence::Kind as ActKind;
use send_time::model::{KERNEL, KERNEL_HOURS};

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
            if counts(act, known.machines.prefetched()) {
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
        let hours = match self {
            Method::Random => return chance.below(24),
            Method::GlobalHour => everybody.raw,
            Method::MostFrequent => histogram(&|_| 1.0),
            Method::MostFrequentHuman => histogram(&human),
            Method::Smoothed => three(&histogram(&human)),
            Method::SmoothedPrefetch => three(&histogram(&|act| f64::from(counts(act, ahead)))),
            Method::Shrunk => {
                let own = histogram(&|act| f64::from(counts(act, ahead)) * act.weight);
                shrunk(&own, &everybody.human)
            }
        };
        let hours = if hours.iter().sum::<f64>() > 0.0 { hours } else { everybody.raw };
        (0..24).fold(0, |best, h| if hours[h] > hours[best] { h } else { best })
    }
}

fn counts(act: &Done, ahead: bool) -> bool {
    act.seen.is_some() && !(ahead && act.kind == ActKind::Open)
}

fn three(hours: &[f64; 24]) -> [f64; 24] {
    // The hour itself a little more, so that of three equal ones the middle wins.
    std::array::from_fn(|h| hours[(h + 23) % 24] + 1.01 * hours[h] + hours[(h + 1) % 24])
}

/// The histogram that the estimator falls back to without sends, as a view in ClickHouse had it: kernel, shrinkage of
/// 1.5 acts to everybody's profile.
fn shrunk(own: &[f64; 24], everybody: &[f64; 24]) -> [f64; 24] {
    let smooth = |hours: &[f64; 24]| -> [f64; 24] {
        std::array::from_fn(|h| {
            let sides = |k: usize| KERNEL[k] * (hours[(h + k) % 24] + hours[(h + 24 - k) % 24]);
            KERNEL[0] * hours[h] + sides(1) + sides(2) + sides(3)
        })
    };
    let total: f64 = everybody.iter().sum();
    let profile = smooth(everybody).map(|hour| (hour + 20.0 / 24.0) / (total + 20.0));
    let (weight, seen, likely) = (own.iter().sum::<f64>(), smooth(own), smooth(&profile));
    std::array::from_fn(|h| {
        profile[h] * (1.5 + KERNEL_HOURS * seen[h]) / (1.5 + KERNEL_HOURS * likely[h] * weight)
    })
}
