//! The habits of many people together, which is what is known of someone before they act.

use serde::{Deserialize, Serialize};

use crate::Hours;
use crate::circle::{exposure, smooth};
use crate::counts::{Counts, Weekday, hours};
use crate::model::{DOMAIN_STRENGTH, GROUP_ACTS_MIN, GROUP_STRENGTH, KERNEL_HOURS, RATE_STRENGTH};

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
    /// The share of the mails sent in each hour of any day: what the sender does today.
    pub usual: Hours,
    /// Acts behind it, those of wider groups not counted.
    pub acts: f64,
    /// Whether there are sends, and with them exposure.
    pub has_sends: bool,
}

impl Group {
    /// All recipients of a workspace, shrunk to the flat profile.
    pub fn workspace(counts: &Counts) -> Group {
        let has_sends = counts.has_sends();
        let hazard = DAYS.map(|days| {
            let (acts, offered) = read(counts, days, has_sends);
            let flat = if has_sends { rate(&acts, &offered, &[1.0; 24]) } else { 1.0 / 24.0 };
            fit(&acts, &offered, &[flat; 24], GROUP_STRENGTH).hazard
        });
        let sent = hours(&counts.sent, Weekday::Any);
        let total: f64 = sent.iter().sum();
        let usual = sent.map(|s| if has_sends { s / total } else { 1.0 / 24.0 });
        Group { level: Level::Workspace, hazard, usual, acts: counts.acts_total(), has_sends }
    }

    /// A part of this group: a time zone of a workspace, a domain of a time zone.
    pub fn part(&self, level: Level, counts: &Counts) -> Group {
        let strength = if level == Level::Domain { DOMAIN_STRENGTH } else { GROUP_STRENGTH };
        let hazard = DAYS.map(|days| {
            let (acts, offered) = read(counts, days, self.has_sends);
            fit(&acts, &offered, &self.hazard[days as usize], strength).hazard
        });
        let sent = hours(&counts.sent, Weekday::Any);
        let total: f64 = sent.iter().sum();
        let usual = if total > 0.0 { sent.map(|s| s / total) } else { self.usual };
        Group { level, hazard, usual, acts: counts.acts_total(), has_sends: self.has_sends }
    }

    /// Whether its profile is worth a recommendation.
    pub fn speaks(&self) -> bool {
        self.acts >= GROUP_ACTS_MIN
    }
}

pub(crate) const DAYS: [Weekday; 3] = [Weekday::Any, Weekday::Weekday, Weekday::Weekend];

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

/// Acts and exposure of a class of days. Without sends each hour is taken to offer the same, scaled so that as many
/// acts are expected as there are.
pub(crate) fn read(counts: &Counts, days: Weekday, has_sends: bool) -> (Hours, Hours) {
    let acts = hours(&counts.acts, days);
    if has_sends {
        return (acts, exposure(&hours(&counts.sent, days), &hours(&counts.spent, days)));
    }
    let total: f64 = acts.iter().sum();
    (acts, [total; 24])
}
