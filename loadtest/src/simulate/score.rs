//! The judgement: what each method's hour is worth in truth.

use std::collections::BTreeMap;
use std::fmt;

use send_time::zone::{self, Wall};
use send_time::{Level, Refused, Weekday, Window};
use serde::Serialize;

use super::chance::Chance;
use super::evidence::Known;
use super::methods::{ALL, Everybody, HISTOGRAMS, Method};
use super::person::{Person, Span, join_days};
use super::world::World;

const HOUR_MS: i64 = 3_600_000;
const TEN_MINUTES_MS: i64 = 600_000;

/// Claims of at least this confidence are held to the truth.
pub const CLAIMED_MIN: f64 = 0.7;

/// The name of what is judged among the methods.
pub const ESTIMATOR: &str = "estimator";

/// How the estimator and the usual methods did.
#[derive(Debug, Clone, Serialize)]
pub struct Score {
    /// The world's name.
    pub world: String,
    /// Of all chance.
    pub seed: u64,
    /// How many people.
    pub people: usize,
    /// Mean probability of an open within an hour at the time of each method.
    pub methods: Vec<Row>,
    /// Of the estimator: over the most frequent hour, as recorded.
    pub over_most_frequent: f64,
    /// Of the estimator: over the best of the histograms.
    pub over_best_histogram: f64,
    /// People by whose habit spoke; `refused` where nothing did.
    pub levels: Vec<(String, usize)>,
    /// Those for whom nothing spoke, by the reason.
    pub refused: BTreeMap<&'static str, usize>,
    /// What was claimed, and what is true.
    pub calibration: Vec<Claims>,
    /// Largest difference of claimed and true in a tenth above [`CLAIMED_MIN`], of all levels together.
    pub calibration_off: f64,
    /// Mean probability of an open within an hour as recommended; 0 where none was claimed.
    pub claimed_p_open_1h: f64,
    /// What that is in truth.
    pub true_p_open_1h: f64,
}

/// Scores of several seeds.
#[derive(Debug, Clone, Serialize)]
pub struct Scores {
    /// One for each seed.
    pub scores: Vec<Score>,
}

/// A method and its worth.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Name.
    pub method: String,
    /// Mean probability of an open within an hour.
    pub p_open_1h: f64,
    /// Over that of the best hour of each person.
    pub of_best: f64,
}

/// Recommendations of about the same confidence.
#[derive(Debug, Clone, Serialize)]
pub struct Claims {
    /// Whose habit spoke.
    pub level: Level,
    /// Confidence from.
    pub from: f64,
    /// How many.
    pub count: usize,
    /// Mean confidence.
    pub claimed: f64,
    /// Share that in truth beats what it is said to beat.
    pub holds: f64,
}

/// What is judged.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// The world's name.
    pub name: &'a str,
    /// The world.
    pub world: &'a World,
    /// Of people and time.
    pub span: &'a Span,
    /// The days that recommendations are for.
    pub weekday: Weekday,
}

/// Judges recommendations for people whose truth is known.
pub fn judge(
    judged: &Judged<'_>,
    people: &[Person],
    known: &[Known],
    answers: &[Result<Vec<Window>, Refused>],
) -> Score {
    let span = judged.span;
    let mut everybody = Everybody::default();
    known.iter().for_each(|known| everybody.add(known));
    let mut sums = [0.0; ALL.len()];
    let (mut best, mut usual_sum, mut ours) = (0.0, 0.0, 0.0);
    let (mut claimed, mut truly) = (0.0, 0.0);
    let mut levels = [0_usize; 5];
    let mut refused = BTreeMap::new();
    let mut claims: Vec<(Level, f64, bool)> = Vec::new();
    for (index, ((person, known), answer)) in people.iter().zip(known).zip(answers).enumerate() {
        let truth = Truth { person, until_ms: span.until_ms, weekday: judged.weekday };
        let zone = known.time_zone.as_deref().unwrap_or("UTC");
        let mut chance = Chance::new(span.seed, "random hour", index as u64);
        for (sum, method) in sums.iter_mut().zip(ALL) {
            *sum += truth.hour(method.hour(known, &everybody, &mut chance), zone);
        }
        best += truth.best();
        let usual = truth.usual(judged.world);
        usual_sum += usual;
        match answer.as_ref().ok().and_then(|windows| windows.first()) {
            None => {
                ours += usual;
                levels[4] += 1;
                let why = answer.as_ref().err().map_or("no_window", |refused| refused.as_str());
                *refused.entry(why).or_insert(0) += 1;
            }
            Some(window) => {
                let worth = truth.window(window.start_hour, window.end_hour, &window.time_zone);
                ours += worth;
                levels[window.level as usize] += 1;
                if let Some(p) = window.p_open_1h {
                    claimed += p;
                    truly += worth;
                }
                let beaten = truth.hour(window.beats_hour.into(), &window.time_zone);
                claims.push((window.level, window.confidence, worth > beaten));
            }
        }
    }
    let count = people.len() as f64;
    let row = |method: &str, sum: f64| Row {
        method: method.to_owned(),
        p_open_1h: sum / count,
        of_best: sum / best,
    };
    let of = |method: Method| sums[ALL.iter().position(|other| *other == method).unwrap_or(0)];
    let mut methods: Vec<Row> = ALL.iter().map(|method| row(method.name(), of(*method))).collect();
    methods.insert(1, row("sender's usual hours", usual_sum));
    methods.push(row(ESTIMATOR, ours));
    methods.push(row("best hour of each", best));
    let histogram = HISTOGRAMS.iter().map(|method| of(*method)).fold(0.0, f64::max);
    let calibration = calibration(&claims);
    let calibration_off = (0..10).map(|tenth| off(&claims, tenth)).fold(0.0, f64::max);
    let names = ["recipient", "domain", "zone", "workspace", "refused"];
    let spoken = claims.len().max(1) as f64;
    Score {
        world: judged.name.to_owned(),
        seed: span.seed,
        people: people.len(),
        methods,
        over_most_frequent: ours / of(Method::MostFrequent),
        over_best_histogram: ours / histogram,
        levels: names.iter().map(|name| (*name).to_owned()).zip(levels).collect(),
        refused,
        calibration,
        calibration_off,
        claimed_p_open_1h: claimed / spoken,
        true_p_open_1h: truly / spoken,
    }
}

/// Fewer claims than this say nothing: their share is off by more than 5 points one time in seven.
pub const CLAIMS_MIN: usize = 200;

/// How far the claims of a tenth are from the truth, whosever habit spoke. 0 where too few were made, or none is sure.
fn off(claims: &[(Level, f64, bool)], tenth: i32) -> f64 {
    let within: Vec<_> =
        claims.iter().filter(|(_, sure, _)| ((sure * 10.0) as i32).min(9) == tenth).collect();
    if f64::from(tenth) / 10.0 < CLAIMED_MIN || within.len() < CLAIMS_MIN {
        return 0.0;
    }
    let sum: f64 = within.iter().map(|(_, sure, holds)| sure - f64::from(*holds)).sum();
    (sum / within.len() as f64).abs()
}

fn calibration(claims: &[(Level, f64, bool)]) -> Vec<Claims> {
    let mut all = Vec::new();
    for level in [Level::Recipient, Level::Domain, Level::Zone, Level::Workspace] {
        for tenth in 0..10 {
            let from = f64::from(tenth) / 10.0;
            let within: Vec<_> = claims
                .iter()
                .filter(|(of, sure, _)| *of == level && ((sure * 10.0) as i32).min(9) == tenth)
                .collect();
            if within.is_empty() {
                continue;
            }
            let count = within.len();
            let claimed = within.iter().map(|claim| claim.1).sum::<f64>() / count as f64;
            let holds = within.iter().filter(|claim| claim.2).count() as f64 / count as f64;
            all.push(Claims { level, from, count, claimed, holds });
        }
    }
    all
}

/// What is true of a person after the history.
pub(crate) struct Truth<'a> {
    pub person: &'a Person,
    pub until_ms: i64,
    pub weekday: Weekday,
}

impl Truth<'_> {
    /// A mail at any minute of an hour of a zone's clock.
    pub fn hour(&self, hour: usize, zone: &str) -> f64 {
        self.window(hour as u8, ((hour + 1) % 24) as u8, zone)
    }

    /// A mail at any minute of a window, on the days on which the sender sends.
    fn window(&self, start_hour: u8, end_hour: u8, zone: &str) -> f64 {
        let Some(rules) = zone::rules(zone) else { return 0.0 };
        let of = |weekday| {
            let wall = Wall { weekday, start_hour, end_hour };
            zone::next(wall, &rules, self.until_ms + 24 * HOUR_MS, 1)
                .first()
                .map_or(0.0, |span| self.mean(span.start_ms, span.end_ms))
        };
        match self.weekday {
            Weekday::Any => join_days(of(Weekday::Weekday), of(Weekday::Weekend)),
            weekday => of(weekday),
        }
    }

    fn mean(&self, start_ms: i64, end_ms: i64) -> f64 {
        let steps = ((end_ms - start_ms) / TEN_MINUTES_MS).max(1);
        let at =
            |step: i64| self.person.opens_within_hour(start_ms + step * TEN_MINUTES_MS + TEN_MINUTES_MS / 2);
        (0..steps).map(at).sum::<f64>() / steps as f64
    }

    /// The best hour by their own clock.
    pub fn best(&self) -> f64 {
        let name = self.person.zone.iana_name().unwrap_or("UTC");
        (0..24).map(|hour| self.hour(hour, name)).fold(0.0, f64::max)
    }

    /// A mail when the sender sends anyway.
    pub fn usual(&self, world: &World) -> f64 {
        let (mut sum, mut weights) = (0.0, 0.0);
        for (from, to, weight) in world.sending {
            let hours = (to - from).round() as usize;
            for hour in 0..hours {
                let part = weight / hours as f64;
                sum += part * self.hour(from.round() as usize + hour, super::history::SENDER_ZONE);
                weights += part;
            }
        }
        sum / weights
    }
}

impl Score {
    /// The mean probability of an open within an hour at the time of a method; not a number for one that is unknown.
    pub fn p_open_1h(&self, method: &str) -> f64 {
        self.methods.iter().find(|row| row.method == method).map_or(f64::NAN, |row| row.p_open_1h)
    }
}

impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.scores.iter().try_for_each(|score| writeln!(f, "{score}"))
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "world {}, seed {}, {} people", self.world, self.seed, self.people)?;
        writeln!(f, "\n  {:<38}{:>12}{:>10}", "method", "P(open<=1h)", "of best")?;
        for row in &self.methods {
            writeln!(f, "  {:<38}{:>12.4}{:>10.2}", row.method, row.p_open_1h, row.of_best)?;
        }
        writeln!(f, "\n  estimator / most frequent hour  {:.3}", self.over_most_frequent)?;
        writeln!(f, "  estimator / best histogram      {:.3}", self.over_best_histogram)?;
        if self.claimed_p_open_1h > 0.0 {
            writeln!(
                f,
                "  P(open<=1h) claimed {:.4}, true {:.4}",
                self.claimed_p_open_1h, self.true_p_open_1h
            )?;
        }
        let levels: Vec<String> = self.levels.iter().map(|(name, count)| format!("{name} {count}")).collect();
        writeln!(f, "  spoke: {}", levels.join(", "))?;
        writeln!(f, "\n  {:<12}{:>10}{:>8}{:>10}{:>10}", "level", "confidence", "count", "claimed", "true")?;
        for claims in &self.calibration {
            writeln!(
                f,
                "  {:<12}{:>7.1}-{:.1}{:>7}{:>10.3}{:>10.3}",
                claims.level.as_str(),
                claims.from,
                claims.from + 0.1,
                claims.count,
                claims.claimed,
                claims.holds
            )?;
        }
        writeln!(f, "  worst difference above {CLAIMED_MIN}: {:.3}", self.calibration_off)
    }
}
