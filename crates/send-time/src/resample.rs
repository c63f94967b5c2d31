//! Weighted means over mails, and how far chance may have moved them: a bootstrap over recipients, whose mails are not
//! independent of each other (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993; each recipient drawn a
//! Poisson number of times, Hanley and MacGibbon 2006). Seeded: the same mails give the same interval.

use serde::Serialize;

use crate::policy::{mix, scaled};

/// Recipients are drawn in so many heaps at most, which bounds memory and time: a heap is a sum of independent ones.
const HEAPS_MAX: usize = 4_096;
/// How often all are drawn anew.
const ROUNDS: u64 = 1_000;
/// Of a standard normal variable, 95 % are within so many deviations.
const WITHIN: f64 = 1.959_964;

/// Weighted means, to which mails are added.
pub struct Means {
    columns: usize,
    heaps: usize,
    /// By heap, then by column: weighted outcomes, and weights.
    sums: Vec<[f64; 2]>,
    squares: Vec<f64>,
    mails: Vec<u64>,
    acts: Vec<f64>,
}

/// Mails of one recipient that weigh the same.
#[derive(Debug, Clone, Copy)]
pub struct Weighed {
    /// Recipient key.
    pub recipient: u64,
    /// How much each weighs.
    pub weight: f64,
    /// How many.
    pub mails: u32,
    /// How many came to something, an unsure one as a half.
    pub acts: f64,
}

/// A weighted mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Mean {
    /// The mean; None where no mail has weight.
    pub mean: Option<f64>,
    /// Where it lies in 95 of 100 cases.
    pub interval: [f64; 2],
    /// Mails that have weight.
    pub mails: u64,
    /// How many of equal weight would be as sure: (sum of weights)^2 / sum of squares (Kish 1965).
    pub mails_effective: f64,
    /// Of `mails`, those that came to something, unweighted.
    pub acts: f64,
}

/// One mean over another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratio {
    /// The quotient.
    pub ratio: f64,
    /// Where it lies in 95 of 100 cases, both taken from the same recipients each time; no upper end where the other
    /// may be 0.
    pub interval: (f64, Option<f64>),
}

/// Fewer mails by their weight tell nothing.
pub const EFFECTIVE_MIN: f64 = 50.0;
/// Nor do fewer that came to something.
pub const ACTS_MIN: f64 = 10.0;

impl Mean {
    /// Whether it rests on mails enough to be held against another.
    pub fn tells(&self) -> bool {
        self.mails_effective >= EFFECTIVE_MIN && self.acts >= ACTS_MIN
    }
}

impl Ratio {
    /// Whether chance alone does not make it differ from 1.
    pub fn is_apart(&self) -> bool {
        self.interval.0 > 1.0 || self.interval.1.is_some_and(|most| most < 1.0)
    }
}

impl Means {
    /// So many means, over at most so many recipients.
    pub fn new(columns: usize, recipients: usize) -> Means {
        let heaps = recipients.clamp(1, HEAPS_MAX);
        Means {
            columns,
            heaps,
            sums: vec![[0.0; 2]; heaps * columns],
            squares: vec![0.0; columns],
            mails: vec![0; columns],
            acts: vec![0.0; columns],
        }
    }

    /// Adds mails to a mean. Without weight they are none of its.
    pub fn add(&mut self, column: usize, weighed: Weighed) {
        let Weighed { recipient, weight, mails, acts } = weighed;
        if weight <= 0.0 {
            return;
        }
        let heap = scaled(mix(recipient), self.heaps as u64) as usize;
        let [came, all] = &mut self.sums[heap * self.columns + column];
        *came += weight * acts;
        *all += weight * f64::from(mails);
        self.squares[column] += weight * weight * f64::from(mails);
        self.mails[column] += u64::from(mails);
        self.acts[column] += acts;
    }

    /// Draws all anew, many times.
    pub fn drawn(&self, seed: u64) -> Drawn<'_> {
        let add = |sum: &mut [[f64; 2]], heap: &[[f64; 2]], times: f64| {
            for (sum, one) in sum.iter_mut().zip(heap) {
                sum[0] += times * one[0];
                sum[1] += times * one[1];
            }
        };
        let mut whole = vec![[0.0; 2]; self.columns];
        self.sums.chunks_exact(self.columns).for_each(|heap| add(&mut whole, heap, 1.0));
        let rounds = (0..ROUNDS).map(|round| {
            let mut sum = vec![[0.0; 2]; self.columns];
            for (number, heap) in (0_u64..).zip(self.sums.chunks_exact(self.columns)) {
                let times = poisson(mix(mix(seed ^ mix(round)) ^ number));
                if times > 0 {
                    add(&mut sum, heap, f64::from(times));
                }
            }
            sum
        });
        Drawn { means: self, whole, rounds: rounds.collect() }
    }
}

/// [`Means`] drawn anew.
pub struct Drawn<'a> {
    means: &'a Means,
    whole: Vec<[f64; 2]>,
    rounds: Vec<Vec<[f64; 2]>>,
}

impl Drawn<'_> {
    /// One of the means. Its interval is that of the bootstrap, or that of as many effective mails by Wilson's formula
    /// (1927) where it is the wider: of a few opens, or none, the bootstrap is too sure.
    pub fn mean(&self, column: usize) -> Mean {
        let [came, all] = self.whole[column];
        let (mails, acts) = (self.means.mails[column], self.means.acts[column]);
        if all <= 0.0 {
            return Mean { mean: None, interval: [0.0, 1.0], mails, mails_effective: 0.0, acts };
        }
        let (mean, mails_effective) = (came / all, all * all / self.means.squares[column]);
        let rounds = self.rounds.iter().map(|round| round[column]);
        let drawn = ends(rounds.filter(|[_, all]| *all > 0.0).map(|[came, all]| came / all).collect());
        let wilson = wilson(mean, mails_effective);
        let interval = [drawn[0].min(wilson[0]), drawn[1].max(wilson[1])];
        Mean { mean: Some(mean), interval, mails, mails_effective, acts }
    }

    /// One of the means over another; None where either [tells](Mean::tells) nothing: the bootstrap is too sure then.
    pub fn ratio(&self, column: usize, other: usize) -> Option<Ratio> {
        if !self.mean(column).tells() || !self.mean(other).tells() {
            return None;
        }
        let of = |sums: &[[f64; 2]]| {
            let mean = |[came, all]: [f64; 2]| (all > 0.0).then(|| came / all);
            let (one, other) = (mean(sums[column])?, mean(sums[other])?);
            (one > 0.0 || other > 0.0).then(|| one / other)
        };
        let ratio = of(&self.whole).filter(|ratio| ratio.is_finite())?;
        let [least, most] = ends(self.rounds.iter().filter_map(|round| of(round)).collect());
        Some(Ratio { ratio, interval: (least, most.is_finite().then_some(most)) })
    }
}

/// Between which 95 of 100 lie.
fn ends(mut all: Vec<f64>) -> [f64; 2] {
    all.sort_unstable_by(f64::total_cmp);
    let at = |part: f64| all.get(((all.len() as f64 - 1.0) * part).round() as usize).copied();
    [at(0.025).unwrap_or(0.0), at(0.975).unwrap_or(f64::INFINITY)]
}

/// Of a share seen in so many cases.
fn wilson(share: f64, cases: f64) -> [f64; 2] {
    let z2 = WITHIN * WITHIN;
    let (middle, scale) = (share + z2 / (2.0 * cases), 1.0 + z2 / cases);
    let half = WITHIN * (share * (1.0 - share) / cases + z2 / (4.0 * cases * cases)).max(0.0).sqrt();
    [((middle - half) / scale).max(0.0), ((middle + half) / scale).min(1.0)]
}

/// A Poisson number of mean 1, by 64 even bits.
fn poisson(bits: u64) -> u32 {
    let even = (bits >> 11) as f64 / (1_u64 << 53) as f64;
    let (mut times, mut part) = (0, (-1.0_f64).exp());
    let mut below = part;
    while even >= below && times < 12 {
        times += 1;
        part /= f64::from(times);
        below += part;
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_as_by_hand_and_its_interval_holds_as_often_as_it_says() {
        assert!(wilson(0.0, 100.0)[1] > 0.036 && wilson(0.0, 100.0)[0] < 1e-12);
        let drawn: u32 = (0..10_000).map(|bits| poisson(mix(bits))).sum();
        assert!((9_700..10_300).contains(&drawn), "{drawn}");
        let (mut held, mut wide) = (0, 0.0);
        for repeat in 0..100_u64 {
            let mut means = Means::new(2, 300);
            for recipient in 0..300_u64 {
                // Each opens all of four mails or none: as much as one mail tells.
                let open = mix(mix(repeat) ^ recipient).is_multiple_of(5);
                let weighed =
                    Weighed { recipient, weight: 2.0, mails: 4, acts: if open { 4.0 } else { 0.0 } };
                means.add(0, weighed);
            }
            let drawn = means.drawn(repeat);
            let Mean { mean, interval, mails, mails_effective, .. } = drawn.mean(0);
            assert_eq!((mails, mails_effective), (1_200, 1_200.0));
            held += u32::from(interval[0] <= 0.2 && 0.2 <= interval[1]);
            wide += (interval[1] - interval[0]) / 100.0;
            assert!(interval[0] <= mean.unwrap() && mean.unwrap() <= interval[1]);
            assert_eq!(drawn.mean(1).mean, None);
            assert_eq!(drawn.ratio(0, 1), None);
        }
        // 2 x 1.96 x sqrt(0.2 x 0.8 / 300) is 0.0905.
        assert!(held >= 90 && (0.08..0.10).contains(&wide), "{held} of 100, {wide}");
    }
}
