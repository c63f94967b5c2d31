//! When each request is due, decided before the first is sent.

use crate::draw::{For, draw, share};

/// How requests follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Arrivals {
    /// At equal distances.
    Even,
    /// Independently of each other, as a crowd's do: exponential gaps, so bursts and pauses.
    Poisson,
}

/// The due times in nanoseconds after the start, ascending. All lie within the duration but for the drift of
/// Poisson's.
pub fn due_ns(count: usize, rate: f64, arrivals: Arrivals, seed: u64) -> Vec<u64> {
    let gap_ns = 1e9 / rate;
    match arrivals {
        Arrivals::Even => (0..count).map(|i| (i as f64 * gap_ns) as u64).collect(),
        Arrivals::Poisson => {
            let mut at = 0.0;
            let next = |i| {
                let due = at;
                // 1 - share is in (0, 1], so the logarithm is finite.
                at += -(1.0 - share(draw(seed, For::Gap, i as u64))).ln() * gap_ns;
                due as u64
            };
            (0..count).map(next).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_gaps_do_not_drift() {
        let due = due_ns(30_001, 3_000.0, Arrivals::Even, 1);
        assert_eq!(due[0], 0);
        assert_eq!(due[30_000], 10_000_000_000);
        assert!(due.windows(2).all(|w| (333_333..=333_334).contains(&(w[1] - w[0]))));
    }

    #[test]
    fn poisson_has_the_rate_and_its_bursts() {
        let due = due_ns(100_000, 1_000.0, Arrivals::Poisson, 1);
        assert!(due.is_sorted());
        let seconds = due[99_999] as f64 / 1e9;
        assert!((98.0..102.0).contains(&seconds), "{seconds}");
        // A share of 1 - 1/e of exponential gaps is below the mean.
        let short = due.windows(2).filter(|w| w[1] - w[0] < 1_000_000).count();
        assert!((62_000..64_500).contains(&short), "{short}");
        assert_eq!(due, due_ns(100_000, 1_000.0, Arrivals::Poisson, 1));
    }
}
