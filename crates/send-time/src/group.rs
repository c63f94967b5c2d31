//! The habits of many people together, which is what is known of someone before they act.

use serde::{Deserialize, Serialize};

use crate::Hours;
use crate::circle::{exposure, smooth};
use crate::counts::{Counts, Weekday, hours};
use crate::model::{
    CARRIED, GROUP_ACTS_MIN, KERNEL_HOURS, LIKENESS_PRIOR, LIKENESS_SHARE, PART_STRENGTH, PART_STRENGTH_MAX,
    PART_STRENGTH_MIN, RATE_STRENGTH, WORKSPACE_STRENGTH,
};

/// Whose habit speaks, from the nearest to the widest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The recipient's own.
    Recipient,
    /// Of the people of the recipient's company, by its mail domain. Free mail providers are no companies.
    Domain,
    /// Of the people of the recipient's time zone.
    Zone,
    /// Of all recipients of the workspace.
    Workspace,
}

impl Level {
    /// As one word, as in SQL and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Recipient => "recipient",
            Level::Domain => "domain",
            Level::Zone => "zone",
            Level::Workspace => "workspace",
        }
    }
}

/// The profile of a group, shrunk to that of the wider group it is part of.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Which group it is.
    pub level: Level,
    /// Opens per hour of opportunity; of all opens the share of each hour when sends are not known. For any day,
    /// weekdays and days of the weekend, in the order of [`Weekday`].
    pub hazard: [Hours; 3],
    /// The share of the mails sent in each hour of any day: what the sender does today. Of the acts when sends are not
    /// known, since they follow soon.
    pub usual: Hours,
    /// Acts behind it, those of wider groups not counted.
    pub acts: f64,
    /// Whether there are sends, and with them exposure.
    pub has_sends: bool,
    /// Opportunity hours that an answered mail offers to be acted on again, evenly over the day: as many as make the
    /// workspace's repeats what its hazard leads to expect, repeats / (acts * acts / exposure).
    pub repeat_hours: f64,
}

impl Group {
    /// All recipients of a workspace, shrunk to the flat profile.
    pub fn workspace(counts: &Counts) -> Group {
        let has_sends = counts.has_sends();
        let sum = |bins: &[f64]| bins.iter().sum::<f64>();
        let offered = exposure(counts, Weekday::Any);
        let (acts, repeats) = (sum(&counts.acts), sum(&counts.repeats));
        let repeat_hours = if acts > 0.0 { repeats * sum(&offered) / (acts * acts) } else { 0.0 };
        let whole = Group {
            level: Level::Workspace,
            hazard: [[0.0; 24]; 3],
            usual: [1.0 / 24.0; 24],
            acts: 0.0,
            has_sends,
            repeat_hours,
        };
        let flat = DAYS.map(|days| {
            let (acts, offered) = whole.read(counts, days);
            if has_sends { [rate(&acts, &offered, &[1.0; 24]); 24] } else { [1.0 / 24.0; 24] }
        });
        Group { hazard: flat, ..whole }.part(Level::Workspace, counts, WORKSPACE_STRENGTH)
    }

    /// A part of this group, a time zone of a workspace or a domain of a time zone, shrunk to this group's profile by
    /// [`Likeness::strength`].
    pub fn part(&self, level: Level, counts: &Counts, strength: f64) -> Group {
        let hazard = DAYS.map(|days| self.fit(counts, days, strength).hazard);
        let sent = hours(if self.has_sends { &counts.sent } else { &counts.acts }, Weekday::Any);
        let total: f64 = sent.iter().sum();
        let usual = if total > 0.0 { sent.map(|s| s / total) } else { self.usual };
        Group { level, hazard, usual, acts: counts.acts_total(), ..*self }
    }

    /// A recipient or a part of this group on a class of days. Before their own acts on such days it is expected of
    /// them what is expected of the group and, for weekdays or the weekend alone, most of how they differ from it on
    /// the other days.
    pub(crate) fn fit(&self, counts: &Counts, days: Weekday, strength: f64) -> Fit {
        let other = match days {
            Weekday::Any => None,
            Weekday::Weekday => Some(Weekday::Weekend),
            Weekday::Weekend => Some(Weekday::Weekday),
        };
        let mut parent = self.hazard[days as usize];
        if let Some(other) = other {
            let (acts, offered) = self.read(counts, other);
            let there = &self.hazard[other as usize];
            let elsewhere = fit(&acts, &offered, there, strength).hazard;
            parent = std::array::from_fn(|b| parent[b] * (elsewhere[b] / there[b]).powf(CARRIED));
        }
        let (acts, offered) = self.read(counts, days);
        fit(&acts, &offered, &parent, strength)
    }

    /// Acts and exposure of a class of days, of this group or a part of it. Without sends each hour is taken to offer
    /// the same, scaled so that as many acts are expected as there are.
    pub(crate) fn read(&self, counts: &Counts, days: Weekday) -> (Hours, Hours) {
        let (first, again) = (hours(&counts.acts, days), hours(&counts.repeats, days));
        let acts = std::array::from_fn(|b| first[b] + again[b]);
        if !self.has_sends {
            return (acts, [acts.iter().sum::<f64>(); 24]);
        }
        let more = self.repeat_hours * first.iter().sum::<f64>() / 24.0;
        (acts, exposure(counts, days).map(|hours| hours + more))
    }

    /// Whether its profile is worth a recommendation.
    pub fn speaks(&self) -> bool {
        self.acts >= GROUP_ACTS_MIN
    }
}

pub(crate) const DAYS: [Weekday; 3] = [Weekday::Any, Weekday::Weekday, Weekday::Weekend];

/// How alike the people of one part are, beside people of others: of the companies of a workspace, say.
///
/// Where the acts of part d follow the parent's profile times Gamma(a, a) ratios of its own, two of its people exceed
/// what is expected of them in the same hour: E (O_i - Q_i)(O_j - Q_j) = Q_i Q_j / a for i != j. What one person
/// repeats does not enter. Summed over all pairs, hours and parts this gives a by moments; the products over pairs
/// are squares of sums less sums of squares, which SQL can add up as well.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Likeness {
    /// Sum of (O_i - Q_i)(O_j - Q_j).
    pub together: f64,
    /// Sum of Q_i Q_j.
    pub expected: f64,
}

/// What the people of one part add to [`Likeness`], by hour.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moments {
    /// Sum of O_i - Q_i.
    excess: Hours,
    /// Sum of (O_i - Q_i)^2.
    excess_squared: Hours,
    /// Sum of Q_i.
    expected: Hours,
    /// Sum of Q_i^2.
    expected_squared: Hours,
}

impl Moments {
    /// Adds one of the people, with the group that their zone makes them part of.
    pub fn add(&mut self, parent: &Group, counts: &Counts) {
        let (acts, offered) = parent.read(counts, Weekday::Any);
        let own = fit(&acts, &offered, &parent.hazard[Weekday::Any as usize], 1.0);
        for b in 0..24 {
            let over = own.observed[b] - own.expected[b];
            self.excess[b] += over;
            self.excess_squared[b] += over * over;
            self.expected[b] += own.expected[b];
            self.expected_squared[b] += own.expected[b] * own.expected[b];
        }
    }
}

impl Likeness {
    /// Of the parts of a group.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a Moments>) -> Likeness {
        let mut likeness = Likeness::default();
        for part in parts {
            for b in 0..24 {
                likeness.together += part.excess[b] * part.excess[b] - part.excess_squared[b];
                likeness.expected += part.expected[b] * part.expected[b] - part.expected_squared[b];
            }
        }
        likeness
    }

    /// How many acts the parent's profile counts for in a part's: few where parts have habits of their own, many where
    /// they are like any other people. Little evidence leaves it near [`PART_STRENGTH`].
    pub fn strength(&self) -> f64 {
        let usual = LIKENESS_SHARE / PART_STRENGTH;
        let spread = (self.together + LIKENESS_PRIOR * usual) / (self.expected + LIKENESS_PRIOR);
        let strength = LIKENESS_SHARE / spread.max(LIKENESS_SHARE / PART_STRENGTH_MAX);
        strength.clamp(PART_STRENGTH_MIN, PART_STRENGTH_MAX)
    }
}

/// Observed against expected, by hour.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fit {
    /// Acts around each hour.
    pub observed: Hours,
    /// What the parent's profile makes of the same exposure, at one's own overall activity.
    pub expected: Hours,
    pub hazard: Hours,
}

/// The mean of a Gamma(strength, strength) ratio to the parent's profile after O acts where Q were expected:
/// rate * parent * (strength + O) / (strength + Q). O and Q take in the hours around, each about as many as the
/// kernel holds.
pub(crate) fn fit(acts: &Hours, offered: &Hours, parent: &Hours, strength: f64) -> Fit {
    let rate = rate(acts, offered, parent);
    let likely: Hours = std::array::from_fn(|b| offered[b] * parent[b]);
    let observed = smooth(acts).map(|o| KERNEL_HOURS * o);
    let expected = smooth(&likely).map(|q| rate * KERNEL_HOURS * q);
    let hazard =
        std::array::from_fn(|b| rate * parent[b] * (strength + observed[b]) / (strength + expected[b]));
    Fit { observed, expected, hazard }
}

/// How active a group is against its parent: (acts + 2) / (expected + 2).
fn rate(acts: &Hours, offered: &Hours, parent: &Hours) -> f64 {
    let observed: f64 = acts.iter().sum();
    let expected: f64 = offered.iter().zip(parent).map(|(e, p)| e * p).sum();
    (observed + RATE_STRENGTH) / (expected + RATE_STRENGTH)
}
