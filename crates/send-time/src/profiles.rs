//! A few profiles that people of a workspace follow, and who follows which.
//!
//! People are no single crowd: some read early, some in the evening. A mixture of profiles (Kurashima, Althoff and
//! Leskovec, *Modeling Interdependent and Periodic Real-World Action Sequences*, arXiv 1802.09148, for mixtures over
//! the time of the day) lets one act in the evening say something of the whole day, and a company's people say which
//! profiles are common there. Each profile k is a hazard per hour of opportunity; a person has one of them, scaled by
//! how active they are. How the profiles are learned stands in [`crate::learn`].

use crate::Hours;
use crate::circle::offered_after;
use crate::counts::{BINS, Counts, Weekday};
use crate::group::fit;
use crate::model::{OWN_PROFILE_STRENGTH, PROFILES_SHARE, SINK_HOURS};

/// What a share of people do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Profile {
    /// How many of all people, from 0 to 1; the shares of all profiles sum to 1.
    pub share: f64,
    /// Opens per hour of opportunity of someone of mean activity, for any day, weekdays and days of the weekend.
    pub hazard: [Hours; 3],
}

/// How many people of a group have each profile, by expectation. They sum to the number of people.
pub type Mix = Vec<f64>;

/// The shares of each profile in a part of a wider group: the mean of a Dirichlet distribution around the wider
/// group's shares, whose `concentration` is what those count for in people.
pub fn shares(wider: &[f64], concentration: f64, mix: &[f64]) -> Vec<f64> {
    let people: f64 = mix.iter().sum();
    let share = |(wider, mix): (&f64, &f64)| (concentration * wider + mix) / (concentration + people);
    wider.iter().zip(mix).map(share).collect()
}

/// Bayes' rule: how likely each profile is after what was seen, whose logarithm of likelihood is given.
pub fn posterior(shares: &[f64], seen: &[f64]) -> Vec<f64> {
    let most = seen.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let all: Vec<f64> = shares.iter().zip(seen).map(|(share, seen)| share * (seen - most).exp()).collect();
    let sum: f64 = all.iter().sum();
    all.into_iter().map(|part| part / sum).collect()
}

/// Which profiles a person may follow.
#[derive(Debug, Clone, PartialEq)]
pub struct Following<'a> {
    /// All there are.
    pub profiles: &'a [Profile],
    /// How likely each is before the person's own acts, by group, from the widest to the nearest.
    pub groups: Vec<Vec<f64>>,
    /// How likely each is after them.
    pub own: Vec<f64>,
}

impl Following<'_> {
    /// The hazard of someone of a group of whom nothing else is known, its own hazard being `plain`.
    pub fn of_group(&self, group: usize, plain: &Hours, days: Weekday) -> Hours {
        let each = self.profiles.iter().zip(&self.groups[group]);
        let hazards = each.map(|(profile, share)| (*share, profile.hazard[days as usize]));
        blend(plain, hazards)
    }

    /// The hazard of the person, what it is against the nearest group alone being `plain`: the mean over profiles of
    /// what their acts over exposure say if they have it.
    pub fn of_person(&self, acts: &Hours, offered: &Hours, plain: &Hours, days: Weekday) -> Hours {
        let each = self.profiles.iter().zip(&self.own);
        let hazards = each.map(|(profile, share)| {
            (*share, fit(acts, offered, &profile.hazard[days as usize], OWN_PROFILE_STRENGTH).hazard)
        });
        blend(plain, hazards)
    }
}

/// [`PROFILES_SHARE`] of the mean, and the rest of `plain`.
fn blend(plain: &Hours, hazards: impl Iterator<Item = (f64, Hours)>) -> Hours {
    let mut sum = plain.map(|hazard| (1.0 - PROFILES_SHARE) * hazard);
    for (share, hazard) in hazards {
        for b in 0..24 {
            sum[b] += PROFILES_SHARE * share * hazard[b];
        }
    }
    sum
}

/// When a person acted, as far as it tells profiles apart.
///
/// Of an answered mail it is known that it was answered, so that only the hour says something: for a mail sent in hour
/// s that is answered in hour b the likelihood is hazard_b e^(-age/T) over all that the profile makes of such a mail,
/// the sum of hazard_(s+j) G_j. Mail that nobody opened says nothing here, so that it can raise no hour; it counts in
/// how active the person is, and in the exposure of each hour. The hour of the send follows from the sums themselves:
/// spent over acts is e^(-age/T), for hours with several acts at their mean.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Acted(Vec<(usize, Option<usize>, f64)>);

impl Acted {
    /// Of a person's own sums.
    pub fn of(counts: &Counts) -> Acted {
        let mut all = Vec::new();
        for bin in 0..BINS {
            let (acts, spent, hour) = (counts.acts[bin], counts.spent[bin], bin % 24);
            if acts > 0.0 {
                let age_hours = if spent > 0.0 { -(spent / acts).ln() * SINK_HOURS } else { f64::NAN };
                let sent = (hour as f64 + 0.5 - age_hours.max(0.0)).floor().rem_euclid(24.0);
                all.push((hour, (spent > 0.0).then_some(sent as usize % 24), acts));
            }
            if counts.repeats[bin] > 0.0 {
                all.push((hour, None, counts.repeats[bin]));
            }
        }
        Acted(all)
    }
}

/// The logarithms of a profile, as [`Acted`] needs them.
#[derive(Debug, Clone, PartialEq)]
pub struct Logs {
    hazard: Hours,
    /// What a mail sent in each hour comes to.
    sent: Hours,
    /// What a mail sent at any hour comes to.
    any: f64,
}

impl Logs {
    /// Of a profile, on any day.
    pub fn of(profile: &Profile) -> Logs {
        let hazard = &profile.hazard[0];
        let any = hazard.iter().sum::<f64>() / 24.0 * SINK_HOURS;
        Logs { hazard: hazard.map(f64::ln), sent: offered_after(hazard).map(f64::ln), any: any.ln() }
    }

    /// Logarithm of how likely someone with this profile acts as this person did.
    pub fn likelihood(&self, acted: &Acted) -> f64 {
        let one = |(hour, sent, weight): &(usize, Option<usize>, f64)| {
            weight * (self.hazard[*hour] - sent.map_or(self.any, |sent| self.sent[sent]))
        };
        acted.0.iter().map(one).sum()
    }
}
