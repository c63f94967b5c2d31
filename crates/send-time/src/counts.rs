//! What the estimator reads: sums by hour of the local week, which ClickHouse adds up as well as this does.

use crate::Hours;
use crate::model::{SINK_HOURS, VOICE_ACTS};

/// Bins of [`Counts`]: the hours of a weekday, then those of a day of the weekend.
pub const BINS: usize = 48;

/// Sums over mails and what was done with them, by local hour. Additive: of a recipient, a domain, a time zone or a
/// workspace; each mail weighs [`crate::model::decay`] of its age.
///
/// The age of an unread mail is memoryless (e^(-age/T)), so what an answered mail no longer offers is what a mail
/// sent at the moment of the answer, weighing e^(-age/T), would offer: exposure = (sent - spent) * opportunity, and
/// no mail needs to be spread over the hours it lay there.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts {
    /// Mails by the hour they were sent in. All zero where sends are not reported.
    pub sent: [f64; BINS],
    /// e^(-age/T) of each answered mail, by the hour of its answer.
    pub spent: [f64; BINS],
    /// Answered mails by the hour of the answer: the first act of a person.
    pub acts: [f64; BINS],
    /// Later acts on an answered mail, see [`crate::evidence::repeats`].
    pub repeats: [f64; BINS],
}

/// One mail to one recipient.
#[derive(Debug, Clone, PartialEq)]
pub struct Mail<'a> {
    /// Bin of the send, see [`bin`].
    pub sent: usize,
    /// The first act of a person that counts, if there was one.
    pub act: Option<Act>,
    /// Later acts that count.
    pub repeats: &'a [Act],
    /// How much of the mail could have been seen to be answered: 1, or [`crate::evidence::visible`].
    pub visible: f64,
    /// Decay with age.
    pub weight: f64,
}

/// An act of a person on a mail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Act {
    /// Its bin.
    pub bin: usize,
    /// Hours since the send.
    pub age_hours: f64,
    /// How much it says, see [`crate::evidence::act`].
    pub weight: f64,
}

/// Which days a window is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weekday {
    /// Any day.
    Any,
    /// Monday to Friday.
    Weekday,
    /// Saturday and Sunday.
    Weekend,
}

/// The bin of an hour (0 to 23) of an ISO weekday (Monday is 1).
pub fn bin(weekday: u8, hour: u8) -> usize {
    usize::from(hour % 24) + if weekday >= 6 { 24 } else { 0 }
}

impl Default for Counts {
    fn default() -> Counts {
        Counts { sent: [0.0; BINS], spent: [0.0; BINS], acts: [0.0; BINS], repeats: [0.0; BINS] }
    }
}

impl Counts {
    /// Adds a mail.
    pub fn add(&mut self, mail: &Mail<'_>) {
        self.sent[mail.sent] += mail.weight * mail.visible;
        if let Some(act) = mail.act {
            let weight = mail.weight * act.weight;
            self.spent[act.bin] += weight * mail.visible * (-act.age_hours.max(0.0) / SINK_HOURS).exp();
            self.acts[act.bin] += weight;
        }
        for act in mail.repeats {
            self.repeats[act.bin] += mail.weight * act.weight;
        }
    }

    /// Adds another sum, each weighing `share`.
    pub fn merge(&mut self, other: &Counts, share: f64) {
        for b in 0..BINS {
            self.sent[b] += share * other.sent[b];
            self.spent[b] += share * other.spent[b];
            self.acts[b] += share * other.acts[b];
            self.repeats[b] += share * other.repeats[b];
        }
    }

    /// How much a recipient's sums weigh in those of their groups: 1 / (1 + acts / 6). Someone who acts ten times as
    /// often as others does not have ten times as common a habit.
    pub fn voice(&self) -> f64 {
        1.0 / (1.0 + self.acts_total() / VOICE_ACTS)
    }

    /// Whether sends are known: without, there is no exposure, only a histogram.
    pub fn has_sends(&self) -> bool {
        self.sent.iter().any(|sent| *sent > 0.0)
    }

    /// The sum of all acts, first and later ones.
    pub fn acts_total(&self) -> f64 {
        self.acts.iter().chain(&self.repeats).sum()
    }
}

/// 24 hours of a class of days, out of 48 bins.
pub fn hours(bins: &[f64; BINS], weekday: Weekday) -> Hours {
    std::array::from_fn(|h| match weekday {
        Weekday::Any => bins[h] + bins[h + 24],
        Weekday::Weekday => bins[h],
        Weekday::Weekend => bins[h + 24],
    })
}
