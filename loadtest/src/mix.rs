//! How many of the requests are opens, clicks and downloads, and how many are no person's.

use std::str::FromStr;

use anyhow::{Context, bail};
use event::Kind;

use crate::draw::{For, draw, share};

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

/// Requests beside the proper ones, as shares from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Noise {
    /// Of all requests: those with a token that is not ours, or no longer whole.
    pub bad_share: f64,
    /// Of clicks and downloads: HEAD requests, as link scanners make them.
    pub head_share: f64,
}

/// What is wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoiled {
    /// Its end is missing, as when a mail client breaks a line.
    Cut,
    /// One character is another.
    Forged,
    /// It is signed by somebody else.
    Foreign,
}

impl Noise {
    /// What is wrong with the token of request `index`, if anything.
    pub fn spoiled(&self, seed: u64, index: u64) -> Option<Spoiled> {
        let bits = draw(seed, For::Spoil, index);
        let sorts = [Spoiled::Cut, Spoiled::Forged, Spoiled::Foreign];
        // The share is of the upper bits, the sort of the lower ones.
        (share(bits) < self.bad_share).then(|| sorts[(bits & 0x7ff) as usize % 3])
    }

    /// Whether request `index`, of this kind, is a HEAD.
    pub fn head(&self, kind: Kind, seed: u64, index: u64) -> bool {
        kind != Kind::Open && share(draw(seed, For::Head, index)) < self.head_share
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
    fn noise_has_its_shares() {
        let noise = Noise { bad_share: 0.03, head_share: 0.2 };
        let spoiled: Vec<_> = (0..10_000).filter_map(|index| noise.spoiled(1, index)).collect();
        assert!((200..400).contains(&spoiled.len()), "{}", spoiled.len());
        for sort in [Spoiled::Cut, Spoiled::Forged, Spoiled::Foreign] {
            let count = spoiled.iter().filter(|s| **s == sort).count();
            assert!((60..150).contains(&count), "{sort:?}: {count}");
        }
        let heads = (0..10_000).filter(|index| noise.head(Kind::Click, 1, *index)).count();
        assert!((1_800..2_200).contains(&heads), "{heads}");
        assert!((0..1_000).all(|index| !noise.head(Kind::Open, 1, index)));
        assert!((0..1_000).all(|index| Noise::default().spoiled(1, index).is_none()));
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
