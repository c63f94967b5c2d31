//! When a person looks at their mail: the truth that the estimator has to find.

use super::chance::Chance;
use super::world::Shared;

/// Steps of a habit's day: every 10 minutes.
pub const STEPS: usize = 144;

/// Looks at the inbox per hour, by the person's clock: a weekday's steps, then those of a day of the weekend.
#[derive(Debug, Clone)]
pub struct Habit {
    looks: Vec<f64>,
}

/// Around which hour, how wide in hours, and how much of the day's looks.
type Bump = (f64, f64, f64);

/// Habits that people share: early, commuting, office, lunch, afternoon, evening, night.
const SHARED: [&[Bump]; KINDS] = [
    &[(6.4, 0.8, 0.70), (12.3, 0.8, 0.10), (20.0, 1.5, 0.20)],
    &[(7.7, 0.6, 0.45), (17.8, 0.8, 0.45), (21.0, 1.0, 0.10)],
    &[(9.2, 0.8, 0.60), (13.5, 0.8, 0.20), (16.0, 1.0, 0.20)],
    &[(12.4, 0.6, 0.65), (9.0, 1.0, 0.15), (18.0, 1.5, 0.20)],
    &[(15.3, 1.0, 0.60), (10.5, 1.0, 0.25), (20.0, 1.2, 0.15)],
    &[(20.3, 1.1, 0.75), (7.5, 0.8, 0.15), (12.5, 1.0, 0.10)],
    &[(23.2, 1.2, 0.70), (13.0, 1.5, 0.30)],
];

/// How many shared habits there are.
pub const KINDS: usize = 7;

impl Habit {
    /// A habit drawn from a mix of the shared ones, or a person's own.
    pub fn draw(chance: &mut Chance, shared: Shared, mix: &[f64]) -> Habit {
        let mut bumps: Vec<Bump> = if shared == Shared::Nobody {
            let weights = chance.dirichlet(3, 0.8);
            weights
                .into_iter()
                .map(|weight| (chance.between(6.0, 24.0), chance.between(0.6, 1.4), weight))
                .collect()
        } else {
            SHARED[chance.weighted(mix)].to_vec()
        };
        let late = chance.normal(0.0, 0.6);
        for (hour, _, weight) in &mut bumps {
            *hour += late + chance.normal(0.0, 0.4);
            *weight *= chance.normal(0.0, 0.35).exp();
        }
        let per_day = 3.8 * chance.normal(0.0, 0.5).exp();
        let always = chance.between(0.12, 0.28);
        // On free days people get up later, and less of their day is ruled.
        let later = chance.between(0.5, 2.0);
        let mut looks = day(&bumps, 0.0, always);
        looks.extend(day(&bumps, later, (always + 0.2).min(0.9)));
        looks.iter_mut().for_each(|look| *look *= per_day);
        Habit { looks }
    }

    /// Looks per hour at a step of the local day.
    pub fn at(&self, weekend: bool, step: usize) -> f64 {
        self.looks[step % STEPS + if weekend { STEPS } else { 0 }]
    }
}

/// The density of looks over a day, per hour; it sums to 1. Some are at any waking hour.
fn day(bumps: &[Bump], later: f64, always: f64) -> Vec<f64> {
    let total: f64 = bumps.iter().map(|(_, _, weight)| weight).sum();
    let mut density: Vec<f64> = (0..STEPS)
        .map(|step| {
            let hour = (step as f64 + 0.5) * 24.0 / STEPS as f64;
            let ruled: f64 = bumps
                .iter()
                .map(|(at, width, weight)| {
                    let away = (hour - at - later + 36.0).rem_euclid(24.0) - 12.0;
                    weight / total * (-0.5 * (away / width).powi(2)).exp() / width
                })
                .sum();
            let awake = if (6.5..23.5).contains(&hour) { 1.0 / 17.0 } else { 0.004 };
            (1.0 - always) * ruled / std::f64::consts::TAU.sqrt() + always * awake
        })
        .collect();
    let sum: f64 = density.iter().sum::<f64>() * 24.0 / STEPS as f64;
    density.iter_mut().for_each(|value| *value /= sum);
    density
}
