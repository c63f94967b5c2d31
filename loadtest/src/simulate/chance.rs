//! A stream of draws for one purpose, the same on every machine.

use crate::draw::{For, draw, share};

/// Successive draws. Each person has their own, so that people can be made in any order and again for scoring.
#[derive(Debug, Clone)]
pub struct Chance {
    seed: u64,
    drawn: u64,
}

impl Chance {
    /// The draws of thing `index` of a seed, for one purpose.
    pub fn new(seed: u64, purpose: &str, index: u64) -> Chance {
        let purpose = purpose.bytes().fold(0, |sum, byte| draw(sum, For::Kind, u64::from(byte)));
        Chance { seed: draw(draw(seed, For::Recipient, purpose), For::Recipient, index), drawn: 0 }
    }

    /// 64 even bits.
    pub fn bits(&mut self) -> u64 {
        self.drawn += 1;
        draw(self.seed, For::Fresh, self.drawn)
    }

    /// Evenly in [0, 1).
    pub fn part(&mut self) -> f64 {
        share(self.bits())
    }

    /// Evenly in [from, to).
    pub fn between(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.part()
    }

    /// True with a probability.
    pub fn happens(&mut self, probability: f64) -> bool {
        self.part() < probability
    }

    /// An index below `length`, which is not 0.
    pub fn below(&mut self, length: usize) -> usize {
        ((u128::from(self.bits()) * length as u128) >> 64) as usize
    }

    /// An index by weight.
    pub fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut left = self.part() * weights.iter().sum::<f64>();
        for (index, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return index;
            }
        }
        weights.len() - 1
    }

    /// Exponential of a mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.part()).ln()
    }

    /// Normal of a mean and a standard deviation (Box and Muller 1958).
    pub fn normal(&mut self, mean: f64, deviation: f64) -> f64 {
        let radius = (-2.0 * (1.0 - self.part()).ln()).sqrt();
        mean + deviation * radius * (std::f64::consts::TAU * self.part()).cos()
    }

    /// Gamma of a shape and scale 1 (Marsaglia and Tsang 2000).
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let lift = (1.0 - self.part()).powf(1.0 / shape);
            return self.gamma(shape + 1.0) * lift;
        }
        let d = shape - 1.0 / 3.0;
        loop {
            let x = self.normal(0.0, 1.0);
            let v = (1.0 + x / (9.0 * d).sqrt()).powi(3);
            if v > 0.0 && (1.0 - self.part()).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// Shares that sum to 1, of a symmetric Dirichlet distribution.
    pub fn dirichlet(&mut self, length: usize, concentration: f64) -> Vec<f64> {
        let all: Vec<f64> = (0..length).map(|_| self.gamma(concentration).max(1e-12)).collect();
        let sum: f64 = all.iter().sum();
        all.into_iter().map(|part| part / sum).collect()
    }
}
