//! Every constant of the estimator, in one place: whoever computes the same in SQL takes them from here.

use crate::Hours;

/// How fast an unread mail sinks in the inbox: its chance of being opened at a look falls as e^(-age/5.5 h).
///
/// Survival models of mail put most opens shortly after the send (Singh et al., arXiv 2004.09900). Of simulated
/// people whose own constants are 3 to 7 hours, 5.5 tells the probability best; with 6 it is 8 % too low.
pub const SINK_HOURS: f64 = 5.5;

/// Age at which evidence weighs half. Halving in 30 days costs 9 % of the opens within an hour even when one person
/// in ten changes habits; not forgetting at all is no better.
pub const HALF_LIFE_DAYS: f64 = 180.0;

/// Smoothing on the circle of 24 hours: a von Mises kernel, e^(12 (cos(2 pi k / 24) - 1)), about 1.1 hours wide, cut
/// after three hours, where 0.2 % of it is left. `KERNEL[k]` is the weight of an hour `k` away on either side.
pub const KERNEL: [f64; 4] = [0.358553, 0.238218, 0.071836, 0.010669];

/// How many hours the kernel takes together: 1 over the sum of its squares.
pub const KERNEL_HOURS: f64 = 3.958751;

/// How many acts the flat profile counts for in the workspace's.
pub const WORKSPACE_STRENGTH: f64 = 20.0;

/// How many acts the parent's profile counts for in that of a part, a time zone or a domain, as long as nothing is
/// known of how alike its people are.
pub const PART_STRENGTH: f64 = 4.0;

/// Least and most that it counts for, however alike they are.
pub const PART_STRENGTH_MIN: f64 = 1.0;
/// See [`PART_STRENGTH_MIN`].
pub const PART_STRENGTH_MAX: f64 = 100.0;

/// The best strength is about this share of what the moments of [`crate::Likeness`] give: they weigh all hours alike,
/// while only the best ones matter, in which parts differ most.
pub const LIKENESS_SHARE: f64 = 0.12;

/// Pairs of expected acts that [`PART_STRENGTH`] counts for: about those of two companies of 25 people.
pub const LIKENESS_PRIOR: f64 = 2000.0;

/// Acts at which a recipient's voice in their groups is half as loud as their acts, see [`crate::Counts::voice`].
/// Counting every act alike costs about 1 %; between 1.5 and 6 the differences are within those of seeds.
pub const VOICE_ACTS: f64 = 6.0;

/// How many acts the parent's profile counts for in a recipient's.
pub const RECIPIENT_STRENGTH: f64 = 0.3;

/// How much of the way in which a recipient's weekdays differ from their group's is carried over to their weekend, and
/// back: the exponent of the quotient.
pub const CARRIED: f64 = 0.8;

/// How many acts the parent's overall activity counts for, at each level.
pub const RATE_STRENGTH: f64 = 2.0;

/// How many acts each hour is taken to rest on, beside those observed, where the confidence is figured.
pub const CONFIDENCE_STRENGTH: f64 = 0.5;

/// How much the logarithm of a quotient scatters, of Poisson's variance. With 0.9 and [`CONFIDENCE_STRENGTH`] what is
/// claimed holds as often: less than 1, since the profiles know more than the acts around the two hours.
pub const OVERDISPERSION: f64 = 0.9;

/// Acts below which a group says nothing.
pub const GROUP_ACTS_MIN: f64 = 30.0;

/// Exposure below which an hour tells nothing, in opportunity hours. Keeps quotients finite.
pub const EXPOSURE_MIN: f64 = 1e-3;

/// An hour joins the window beside it when its score is at least this share of the peak's.
pub const JOIN_SHARE: f64 = 0.99;

/// Widest window.
pub const WINDOW_HOURS_MAX: usize = 3;

/// Windows of one answer, the best first.
pub const WINDOWS_MAX: usize = 3;

/// How many profiles are learned of what recipients do, see [`crate::profiles`]. Between 7 and 10 the differences are
/// within those of seeds; 12 are worse where people did little.
pub const PROFILES: usize = 8;

/// Rounds in which they are learned. 40 rounds are no better, nor are 80.
pub const PROFILE_ROUNDS: usize = 25;

/// Recipients from whom they are learned, about; the others are told from them by what came out.
pub const PROFILE_PEOPLE: usize = 20_000;

/// Members up to which a company is drawn for that as a whole: colleagues tell profiles apart where each did little.
pub const PROFILE_COMPANY_MAX: usize = 100;

/// Rounds in which all members are told apart by profiles that are learned.
pub const SETTLE_ROUNDS: usize = 5;

/// How much higher a profile starts around its hour than away from it: (HIGH + LOW) / LOW.
pub const PROFILE_START_HIGH: f64 = 3.0;
/// See [`PROFILE_START_HIGH`].
pub const PROFILE_START_LOW: f64 = 0.4;
/// How wide that start is, in hours.
pub const PROFILE_START_HOURS: f64 = 1.5;

/// How many acts the workspace's hazard counts for in a profile's, over the width of the kernel.
pub const PROFILE_STRENGTH: f64 = 20.0;

/// How many acts that counts for in each hour of its own, so that profiles come out sharper than the kernel is wide.
/// With 10 profiles are blurred, and the opens within an hour 2 % fewer.
pub const PROFILE_HOUR_STRENGTH: f64 = 0.3;

/// How many acts a profile counts for in the hazard of someone who has it.
pub const OWN_PROFILE_STRENGTH: f64 = 0.8;

/// How much is taken from the profiles; the rest is from the plain quotient to the nearest group. Both are wrong in
/// ways of their own: with either alone the opens within an hour are 1 to 4 % fewer in some world.
pub const PROFILES_SHARE: f64 = 0.75;

/// How many people the wider group's shares of each profile count for in those of a time zone, as long as nothing is
/// known of how alike its people are.
pub const ZONE_CONCENTRATION: f64 = 10.0;

/// The same of a company.
pub const DOMAIN_CONCENTRATION: f64 = 3.0;

/// Least and most that they count for, however alike people are.
pub const CONCENTRATION_MIN: f64 = 0.2;
/// See [`CONCENTRATION_MIN`].
pub const CONCENTRATION_MAX: f64 = 2000.0;

/// The best concentration is about twice what its moments give: they take profiles that were learned from the same
/// people for known, and so find them more alike than they are.
pub const CONCENTRATION_SCALE: f64 = 2.0;

/// Pairs of people whose profile is known that the usual concentration counts for.
pub const CONCENTRATION_PAIRS: f64 = 20.0;

/// What a mail sent evenly within an hour offers `k` hours later, in opportunity hours: the integral of e^(-age/T)
/// over bin `k`, wrapped around the circle.
///
/// G_0 = T (1 - T (1 - e^(-1/T))) + wrap, G_k = T^2 (e^(1/T) - 1)(1 - e^(-1/T)) e^(-k/T) / (1 - e^(-24/T)).
pub fn opportunity() -> Hours {
    let t = SINK_HOURS;
    let wrapped = t * t * ((1.0 / t).exp() - 1.0) * (1.0 - (-1.0 / t).exp()) / (1.0 - (-24.0 / t).exp());
    let mut all: Hours = std::array::from_fn(|k| wrapped * (-(k as f64) / t).exp());
    let first = t * (1.0 - t * (1.0 - (-1.0 / t).exp()));
    // Bin 0 holds half a first hour, and what comes round after 24 hours.
    all[0] = first + wrapped * (-24.0 / t).exp();
    all
}

/// How much of the first hour after a send lies in the hour of the send and how much in the next one, when the minute
/// is drawn evenly: the integrals of (1 - u) e^(-u/T) and of u e^(-u/T) over u from 0 to 1.
pub fn first_hour() -> [f64; 2] {
    let t = SINK_HOURS;
    let whole = t * (1.0 - (-1.0 / t).exp());
    let next = t * t * (1.0 - (-1.0 / t).exp() * (1.0 + 1.0 / t));
    [whole - next, next]
}

/// The weight of evidence of an age: 2^(-days/180).
pub fn decay(age_days: f64) -> f64 {
    (-age_days.max(0.0) / HALF_LIFE_DAYS).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_follow_their_formulas() {
        let raw = |k: f64| (12.0 * ((std::f64::consts::TAU * k / 24.0).cos() - 1.0)).exp();
        let sum = raw(0.0) + 2.0 * (raw(1.0) + raw(2.0) + raw(3.0));
        for (k, weight) in KERNEL.iter().enumerate() {
            assert!((weight - raw(k as f64) / sum).abs() < 1e-6, "{k}: {}", raw(k as f64) / sum);
        }
        let squares = KERNEL[0].powi(2) + 2.0 * KERNEL[1..].iter().map(|k| k * k).sum::<f64>();
        assert!((KERNEL_HOURS - 1.0 / squares).abs() < 1e-4, "{}", 1.0 / squares);
        // All that a mail ever offers.
        assert!((opportunity().iter().sum::<f64>() - SINK_HOURS).abs() < 1e-12);
        let steps = 100_000;
        let (mut own, mut next) = (0.0, 0.0);
        for i in 0..steps {
            let u = (f64::from(i) + 0.5) / f64::from(steps);
            own += (1.0 - u) * (-u / SINK_HOURS).exp() / f64::from(steps);
            next += u * (-u / SINK_HOURS).exp() / f64::from(steps);
        }
        let [a, b] = first_hour();
        assert!((a - own).abs() < 1e-9 && (b - next).abs() < 1e-9, "{a} {own}, {b} {next}");
    }
}
