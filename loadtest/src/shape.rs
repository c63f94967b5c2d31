//! How the rate of requests goes over a run.

/// How the rate goes over the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// The same all the time.
    Steady,
    /// As after a campaign is sent: quiet, a sharp rise, then a long decay. The first twelve hours after the send in
    /// the run's duration: delivered within one, half of all opens in three, beside 5 % for older mail. --rate is the
    /// mean; the peak is almost 5 times as high.
    Blast,
}

/// Hours after the send that a blast squeezes into the run.
const HOURS: f64 = 12.0;

/// Median and sigma of the log-normal time from delivery to open, in hours.
///
/// Fitted by us to what an ESP published of 25 campaigns to 4 million recipients: 27 % of all opens in the first
/// hour, half in three, 61 % in six (<https://corp.inntopia.com/email-short-tail>). The curve has 29 %, 50 % and
/// 64 %, and 85 % within the first day.
const MEDIAN_HOURS: f64 = 3.0;
const SIGMA: f64 = 2.0;

/// Hours over which a campaign is delivered, evenly. Ours: the published figures are by the hour, so all that is
/// known is that the rise takes no longer.
const DELIVERY_HOURS: f64 = 1.0;

/// When the campaign is sent, as a share of the run; before that there is only the background.
const SENT_AT: f64 = 0.05;

/// The share of the requests that belong to older campaigns and come evenly. Ours.
const BACKGROUND: f64 = 0.05;

/// Steps in which the curve is summed up.
const STEPS: usize = 20_000;

/// A rate over time as its running sum: how much has come at `i / STEPS` of the run, from 0 to 1.
#[derive(Debug)]
pub struct Curve {
    sums: Vec<f64>,
}

impl Curve {
    /// The curve of [`Shape::Blast`].
    pub fn blast() -> Curve {
        let step_hours = HOURS / ((1.0 - SENT_AT) * STEPS as f64);
        let log_normal = |hours: f64| {
            let z = (hours / MEDIAN_HOURS).ln() / SIGMA;
            (-z * z / 2.0).exp() / hours
        };
        // Opens of what was delivered at once, then of what was delivered bit by bit. What is left out of the
        // density, a constant and what lies past the last hour, falls out when the sum is brought to 1.
        let at_once = sums((0..STEPS).map(|i| log_normal((i as f64 + 0.5) * step_hours)));
        let sent = (SENT_AT * STEPS as f64) as usize;
        let delivery = (DELIVERY_HOURS / step_hours) as usize;
        let campaign = |i: usize| {
            let Some(since) = i.checked_sub(sent) else { return 0.0 };
            at_once[since] - at_once[since.saturating_sub(delivery)]
        };
        let total: f64 = (0..STEPS).map(campaign).sum();
        let density = |i| BACKGROUND / STEPS as f64 + (1.0 - BACKGROUND) * campaign(i) / total;
        Curve { sums: sums((0..STEPS).map(density)) }
    }

    /// The share of the run's time by which this share of its requests has come. Past the end it goes on evenly.
    pub fn when(&self, share: f64) -> f64 {
        let after = self.sums.partition_point(|sum| *sum < share);
        if after == 0 {
            return 0.0;
        }
        let Some(above) = self.sums.get(after) else { return share.max(1.0) };
        let below = self.sums[after - 1];
        ((after - 1) as f64 + (share - below) / (above - below)) / STEPS as f64
    }

    /// The highest rate over the mean.
    pub fn peak(&self) -> f64 {
        self.sums.windows(2).map(|pair| (pair[1] - pair[0]) * STEPS as f64).fold(0.0, f64::max)
    }
}

impl Shape {
    /// The highest rate over the mean.
    pub fn peak(self) -> f64 {
        match self {
            Shape::Steady => 1.0,
            Shape::Blast => Curve::blast().peak(),
        }
    }

    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Shape::Steady => "steady",
            Shape::Blast => "blast",
        }
    }
}

/// The running sum, from 0.
fn sums(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sum = 0.0;
    std::iter::once(0.0)
        .chain(values.map(|value| {
            sum += value;
            sum
        }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blast_is_quiet_then_sharp_then_long() {
        let curve = Curve::blast();
        assert_eq!(curve.sums.len(), STEPS + 1);
        assert!((curve.sums[STEPS] - 1.0).abs() < 1e-9);
        assert!(curve.sums.windows(2).all(|pair| pair[0] < pair[1]));
        let peak = curve.peak();
        assert!((4.0..5.0).contains(&peak), "{peak}");

        let rate = |from: f64, to: f64| {
            let at = |share: f64| curve.sums[(share * STEPS as f64) as usize];
            (at(to) - at(from)) / (to - from)
        };
        assert!(rate(0.0, SENT_AT) < 0.06, "before the send only the background");
        let (first, last) = (rate(SENT_AT, 0.15), rate(0.95, 1.0));
        assert!(first > 3.0 && last < 0.5 && last > BACKGROUND, "{first} {last}");
        // Half of a half day's opens come in its first two and a half hours.
        let half = curve.when(0.5);
        assert!((0.18..0.30).contains(&half), "{half}");
    }

    #[test]
    fn times_follow_shares() {
        let curve = Curve::blast();
        assert_eq!((curve.when(0.0), curve.when(2.0)), (0.0, 2.0));
        let mut before = 0.0;
        for i in 0..=1_000 {
            let at = curve.when(f64::from(i) / 1_000.0);
            assert!(at >= before && at <= 1.0 + 1e-9, "{i}: {at}");
            before = at;
        }
    }
}
