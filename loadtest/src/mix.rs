//! How many of the requests are opens, clicks and downloads.

use std::str::FromStr;

use anyhow::{Context, bail};
use event::Kind;

use crate::draw::{For, draw};

/// The kinds of request, in the order of every table here.
pub const KINDS: [Kind; 3] = [Kind::Open, Kind::Click, Kind::Download];

/// The name of a kind as ClickHouse and the command line have it.
pub fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Open => "open",
        Kind::Click => "click",
        Kind::Download => "download",
        Kind::Sent => "sent",
        Kind::Unspecified => "unspecified",
    }
}

/// Weights of opens, clicks and downloads, such as `open=80,click=15,download=5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mix {
    weights: [u32; 3],
}

impl Mix {
    /// The kind of request `index`.
    pub fn kind(&self, seed: u64, index: u64) -> Kind {
        let total: u64 = self.weights.iter().map(|w| u64::from(*w)).sum();
        let mut at = draw(seed, For::Kind, index) % total;
        for (kind, weight) in KINDS.iter().zip(self.weights) {
            match at.checked_sub(u64::from(weight)) {
                Some(rest) => at = rest,
                None => return *kind,
            }
        }
        unreachable!("the draw is below the sum of the weights")
    }
}

impl FromStr for Mix {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut weights = [0; 3];
        for part in text.split(',') {
            let (kind, weight) =
                part.split_once('=').with_context(|| format!("`{part}`: expected KIND=WEIGHT"))?;
            let Some(place) = KINDS.iter().position(|k| name(*k) == kind) else {
                bail!("kind `{kind}` is unknown: expected open, click or download");
            };
            weights[place] =
                weight.parse().with_context(|| format!("weight `{weight}` is not a whole number"))?;
        }
        if weights == [0; 3] {
            bail!("all weights are 0");
        }
        Ok(Mix { weights })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_the_weights() {
        let mix: Mix = "open=80,click=15,download=5".parse().unwrap();
        let mut counts = [0; 3];
        for index in 0..10_000 {
            counts[KINDS.iter().position(|k| *k == mix.kind(1, index)).unwrap()] += 1;
        }
        for (count, share) in counts.iter().zip([8_000_i32, 1_500, 500]) {
            assert!((count - share).abs() < 200, "{counts:?}");
        }
        let only: Mix = "click=1".parse().unwrap();
        assert!((0..100).all(|i| only.kind(1, i) == Kind::Click));
    }

    #[test]
    fn what_is_not_a_mix() {
        for (text, expected) in [
            ("open", "expected KIND=WEIGHT"),
            ("view=3", "`view` is unknown"),
            ("open=many", "not a whole number"),
            ("open=0", "all weights are 0"),
        ] {
            let error = text.parse::<Mix>().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
