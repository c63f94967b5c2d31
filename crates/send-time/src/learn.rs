//! Learns the profiles: the EM algorithm (Dempster, Laird and Rubin 1977) for a mixture whose weights differ by time
//! zone and by company, as topics differ by document (Hofmann 1999).
//!
//! Each round, every person is told from what they did which profiles they may have,
//!
//! gamma_ik ~ share_dk  prod_b phi_kb^O_ib / (a + sum_b E_ib phi_kb)^(a + sum_b O_ib),
//!
//! which is Poisson's likelihood with an activity of Gamma(a, a) integrated out; then each profile is what those who
//! have it did over what they were offered, at their own activity, r_ik = (O_i + a) / (sum_b E_ib phi_kb + a):
//!
//! phi_kb = sum_i gamma_ik O_ib / sum_i gamma_ik r_ik E_ib,
//!
//! shrunk to the workspace's hazard. It starts from that hazard, raised around evenly spaced hours of which the first
//! is the workspace's best: turned clocks give turned profiles.

use crate::Hours;
use crate::counts::Weekday;
use crate::group::{Group, fit};
use crate::model::{
    CARRIED, CONCENTRATION_MAX, CONCENTRATION_MIN, CONCENTRATION_PAIRS, CONCENTRATION_SCALE,
    DOMAIN_CONCENTRATION, PROFILE_HOUR_STRENGTH, PROFILE_ROUNDS, PROFILE_START_HIGH, PROFILE_START_HOURS,
    PROFILE_START_LOW, PROFILE_STRENGTH, PROFILES, RATE_STRENGTH, ZONE_CONCENTRATION,
};
use crate::profiles::{Mix, Profile, posterior, shares};

/// Someone from whom is learned. Acts and exposure as [`Group::read`] has them, by [`crate::group::DAYS`].
#[derive(Debug, Clone)]
pub(crate) struct Example {
    pub read: [(Hours, Hours); 3],
    pub place: Place,
}

/// Where someone belongs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Number of the zone.
    pub zone: u32,
    /// Number of the company.
    pub domain: Option<u32>,
}

/// How the people of zones and of companies are spread over profiles.
#[derive(Debug, Clone)]
pub(crate) struct Spread {
    pub zones: Vec<Mix>,
    pub domains: Vec<Mix>,
    pub zone_concentration: f64,
    pub domain_concentration: f64,
}

impl Spread {
    pub fn new(zones: usize, domains: usize) -> Spread {
        Spread {
            zones: vec![vec![0.0; PROFILES]; zones],
            domains: vec![vec![0.0; PROFILES]; domains],
            zone_concentration: ZONE_CONCENTRATION,
            domain_concentration: DOMAIN_CONCENTRATION,
        }
    }

    /// The same with nobody in it.
    fn emptied(&self) -> Spread {
        Spread {
            zone_concentration: self.zone_concentration,
            domain_concentration: self.domain_concentration,
            ..Spread::new(self.zones.len(), self.domains.len())
        }
    }

    /// The shares of each profile around someone: of their zone, and of their company.
    pub fn around(&self, place: Place, everybody: &[f64]) -> [Vec<f64>; 2] {
        let zone = shares(everybody, self.zone_concentration, &self.zones[place.zone as usize]);
        let near = match place.domain {
            Some(domain) => shares(&zone, self.domain_concentration, &self.domains[domain as usize]),
            None => zone.clone(),
        };
        [zone, near]
    }

    fn add(&mut self, place: Place, gamma: &[f64]) {
        let domain = place.domain.map(|domain| &mut self.domains[domain as usize]);
        for mix in [&mut self.zones[place.zone as usize]].into_iter().chain(domain) {
            mix.iter_mut().zip(gamma).for_each(|(sum, gamma)| *sum += gamma);
        }
    }

    /// Once more who has which profile, by what is seen of each. In a part whose people all did little it takes rounds
    /// until its shares are found.
    pub fn settle<'a>(
        &self,
        profiles: &[Profile],
        people: impl Iterator<Item = (Place, &'a [f32])>,
    ) -> Spread {
        let everybody: Vec<f64> = profiles.iter().map(|profile| profile.share).collect();
        let mut next = self.emptied();
        let mut seen = [0.0; PROFILES];
        for (place, logs) in people {
            seen.iter_mut().zip(logs).for_each(|(seen, log)| *seen = f64::from(*log));
            let [_, near] = self.around(place, &everybody);
            next.add(place, &posterior(&near, &seen));
        }
        next
    }
}

/// Learns profiles, and how people are spread over them.
pub(crate) fn learn(
    whole: &Group,
    examples: &[Example],
    zones: usize,
    domains: usize,
) -> (Vec<Profile>, Spread) {
    let mut profiles = start(&whole.hazard);
    let mut spread = Spread::new(zones, domains);
    for round in 0..PROFILE_ROUNDS {
        let mut sums = vec![[([0.0; 24], [0.0; 24]); 3]; PROFILES];
        let mut next = spread.emptied();
        let mut all = [0.0; PROFILES];
        let (mut of_zones, mut of_domains) = (Alike::new(zones), Alike::new(domains));
        let everybody: Vec<f64> = profiles.iter().map(|profile| profile.share).collect();
        for Example { read, place } in examples {
            let (acts, offered) = &read[0];
            let (seen, activity) = seen(&profiles, acts, offered);
            let [zone, near] = spread.around(*place, &everybody);
            let gamma = posterior(&near, &seen);
            next.add(*place, &gamma);
            of_zones.add(place.zone, &everybody, &posterior(&everybody, &seen));
            if let Some(domain) = place.domain {
                of_domains.add(domain, &zone, &posterior(&zone, &seen));
            }
            for (k, gamma) in gamma.iter().enumerate().filter(|(_, gamma)| **gamma >= GAMMA_MIN) {
                all[k] += gamma;
                for ((acts, offered), (sum, exposure)) in read.iter().zip(&mut sums[k]) {
                    for b in 0..24 {
                        sum[b] += gamma * acts[b];
                        exposure[b] += gamma * activity[k] * offered[b];
                    }
                }
            }
        }
        spread = next;
        // What profiles look like at first says nothing of how alike people are.
        if round >= 3 {
            spread.zone_concentration = of_zones.concentration(&everybody, ZONE_CONCENTRATION);
            spread.domain_concentration = of_domains.concentration(&everybody, DOMAIN_CONCENTRATION);
        }
        let people: f64 = all.iter().sum();
        for (k, profile) in profiles.iter_mut().enumerate() {
            profile.share = (all[k] + 1.0) / (people + PROFILES as f64);
            profile.hazard = shape(&whole.hazard, &sums[k]);
        }
    }
    (profiles, spread)
}

/// Of one person, for each profile: the logarithm of the likelihood, and how active they are if they have it.
pub(crate) fn seen(profiles: &[Profile], acts: &Hours, offered: &Hours) -> (Vec<f64>, Vec<f64>) {
    let total: f64 = acts.iter().sum();
    let one = |profile: &Profile| {
        let hazard = &profile.hazard[0];
        let expected: f64 = offered.iter().zip(hazard).map(|(offered, hazard)| offered * hazard).sum();
        let acted = acts.iter().zip(hazard).filter(|(acts, _)| **acts > 0.0);
        let acted: f64 = acted.map(|(acts, hazard)| acts * hazard.ln()).sum();
        let (total, expected) = (total + RATE_STRENGTH, expected + RATE_STRENGTH);
        (acted - total * expected.ln(), total / expected)
    };
    profiles.iter().map(one).unzip()
}

/// Less than this of a person adds nothing to a profile.
const GAMMA_MIN: f64 = 1e-4;

fn start(whole: &[Hours; 3]) -> Vec<Profile> {
    let best = (0..24).fold(0, |best, h| if whole[0][h] > whole[0][best] { h } else { best });
    let raised = |k: usize| {
        let centre = best as f64 + k as f64 * 24.0 / PROFILES as f64;
        whole.map(|hazard| {
            std::array::from_fn(|b| {
                let away = (b as f64 - centre + 36.0).rem_euclid(24.0) - 12.0;
                let high = PROFILE_START_HIGH * (-0.5 * (away / PROFILE_START_HOURS).powi(2)).exp();
                hazard[b] * (PROFILE_START_LOW + high)
            })
        })
    };
    (0..PROFILES).map(|k| Profile { share: 1.0 / PROFILES as f64, hazard: raised(k) }).collect()
}

/// Acts over exposure: first over the width of the kernel, shrunk to the workspace's; then hour by hour, shrunk to
/// that. Of weekdays and of the weekend, shrunk to how the profile differs from the workspace on any day.
fn shape(whole: &[Hours; 3], sums: &[(Hours, Hours); 3]) -> [Hours; 3] {
    let (acts, offered) = &sums[0];
    let wide = fit(acts, offered, &whole[0], PROFILE_STRENGTH).hazard;
    let any: Hours = std::array::from_fn(|b| {
        wide[b] * (PROFILE_HOUR_STRENGTH + acts[b]) / (PROFILE_HOUR_STRENGTH + offered[b] * wide[b])
    });
    let of = |days: Weekday| {
        let (acts, offered) = &sums[days as usize];
        let there = &whole[days as usize];
        let parent = std::array::from_fn(|b| there[b] * (any[b] / whole[0][b]).powf(CARRIED));
        fit(acts, offered, &parent, PROFILE_STRENGTH).hazard
    };
    [any, of(Weekday::Weekday), of(Weekday::Weekend)]
}

/// How alike people of one part are in their profile, by moments as [`crate::Likeness`] does it for hours.
///
/// If the shares of part d are Dirichlet(c pi), two of its people i and j have their profile in common more often than
/// by chance: E sum_k (z_ik - pi_k)(z_jk - pi_k) = (1 - sum_k pi_k^2) / (c + 1). Of z only its expectation gamma is
/// known, which lies nearer to pi by how much is known of each, rho = E sum_k (gamma_ik - pi_k)^2 / (1 - sum_k pi_k^2);
/// so that the sum over pairs is rho^2 of that.
struct Alike {
    parts: Vec<([f64; PROFILES], f64, f64)>,
}

impl Alike {
    fn new(parts: usize) -> Alike {
        Alike { parts: vec![([0.0; PROFILES], 0.0, 0.0); parts] }
    }

    fn add(&mut self, part: u32, expected: &[f64], gamma: &[f64]) {
        let (sums, squares, people) = &mut self.parts[part as usize];
        for (sum, (gamma, expected)) in sums.iter_mut().zip(gamma.iter().zip(expected)) {
            *sum += gamma - expected;
            *squares += (gamma - expected).powi(2);
        }
        *people += 1.0;
    }

    fn concentration(&self, everybody: &[f64], usual: f64) -> f64 {
        let (mut together, mut pairs, mut squares, mut people) = (0.0, 0.0, 0.0, 0.0);
        for (sums, of_part, count) in &self.parts {
            together += sums.iter().map(|sum| sum * sum).sum::<f64>() - of_part;
            pairs += count * count - count;
            squares += of_part;
            people += count;
        }
        let apart = 1.0 - everybody.iter().map(|share| share * share).sum::<f64>();
        let known = if people > 0.0 { squares / people / apart } else { 0.0 };
        let spread = (together + CONCENTRATION_PAIRS / (usual + 1.0))
            / (pairs * known * known * apart + CONCENTRATION_PAIRS);
        let least = CONCENTRATION_SCALE / (CONCENTRATION_MAX + CONCENTRATION_SCALE);
        let concentration = CONCENTRATION_SCALE * (1.0 / spread.max(least) - 1.0);
        concentration.clamp(CONCENTRATION_MIN, CONCENTRATION_MAX)
    }
}
