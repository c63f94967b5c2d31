//! What was learned of a workspace, between the estimator and the table that keeps it.

use std::collections::BTreeMap;

use send_time::counts::BINS;
use send_time::{Counts, Habits, Hours, Profile};
use store::{SendTime, SharedHabits};

use super::plan::weekday_word;
use super::workspace::Answer;

const WORKSPACE: &str = "workspace";
const ZONE: &str = "zone";
const DOMAIN: &str = "domain";

const CLICKS_PER_OPEN: &str = "clicks_per_open";
const ZONE_STRENGTH: &str = "zone_strength";
const DOMAIN_STRENGTH: &str = "domain_strength";
const ZONE_CONCENTRATION: &str = "zone_concentration";
const DOMAIN_CONCENTRATION: &str = "domain_concentration";
/// The share of each profile, and the hazards of each, 24 hours of any day, a weekday and a day of the weekend.
const PROFILE_SHARES: &str = "profile_shares";
const PROFILE_HAZARDS: &str = "profile_hazards";
/// How many people of a zone or a company have each profile.
const PROFILE_MIX: &str = "profile_mix";
const EVENTS: &str = "events";
const SENDS_ARE_TOLD: &str = "sends_are_told";

/// Habits, and what they were learned from.
#[derive(Debug, Clone, PartialEq)]
pub struct Learned {
    /// The habits.
    pub habits: Habits,
    /// Events of the workspace when they were read.
    pub events: u64,
    /// Whether sends are told.
    pub sends_are_told: bool,
}

/// As rows, those of the workspace last.
pub fn rows(learned: &Learned) -> impl Iterator<Item = SharedHabits> {
    let Learned { habits, events, sends_are_told } = learned;
    let mixed = |mut row: SharedHabits, mix: Option<&Vec<f64>>| {
        row.numbers.extend(mix.map(|mix| (PROFILE_MIX.to_owned(), mix.clone())));
        row
    };
    let zones = habits
        .zones
        .iter()
        .map(move |(name, sums)| mixed(row(ZONE, name, 0, sums), habits.zone_mixes.get(name)));
    let domains = habits
        .domains
        .iter()
        .map(move |(domain, sums)| mixed(row(DOMAIN, "", *domain, sums), habits.domain_mixes.get(domain)));
    let mut whole = row(WORKSPACE, "", 0, &habits.whole);
    let numbers = [
        (CLICKS_PER_OPEN, habits.clicks_per_open),
        (ZONE_STRENGTH, habits.zone_strength),
        (DOMAIN_STRENGTH, habits.domain_strength),
        (ZONE_CONCENTRATION, habits.zone_concentration),
        (DOMAIN_CONCENTRATION, habits.domain_concentration),
        (EVENTS, *events as f64),
        (SENDS_ARE_TOLD, f64::from(u8::from(*sends_are_told))),
    ];
    whole.numbers = numbers.map(|(name, number)| (name.to_owned(), vec![number])).into();
    let shares = habits.profiles.iter().map(|profile| profile.share).collect();
    let hazards = habits.profiles.iter().flat_map(|profile| profile.hazard).flatten().collect();
    whole.numbers.extend([(PROFILE_SHARES.to_owned(), shares), (PROFILE_HAZARDS.to_owned(), hazards)]);
    zones.chain(domains).chain([whole])
}

/// From rows, which may be those of one zone and one domain. None when they are not as [`rows`] makes them.
pub fn learned(rows: &[SharedHabits]) -> Option<Learned> {
    let whole = rows.iter().find(|row| row.level == WORKSPACE)?;
    let number = |name: &str| whole.numbers.get(name)?.first().copied();
    let of = |level: &'static str| rows.iter().filter(move |row| row.level == level);
    let zones = of(ZONE).map(|row| Some((row.time_zone.clone(), sums(row)?)));
    let domains = of(DOMAIN).map(|row| Some((row.domain, sums(row)?)));
    let zone_mixes = of(ZONE).map(|row| Some((row.time_zone.clone(), row.numbers.get(PROFILE_MIX)?.clone())));
    let domain_mixes = of(DOMAIN).map(|row| Some((row.domain, row.numbers.get(PROFILE_MIX)?.clone())));
    Some(Learned {
        habits: Habits {
            clicks_per_open: number(CLICKS_PER_OPEN)?,
            whole: sums(whole)?,
            zone_strength: number(ZONE_STRENGTH)?,
            domain_strength: number(DOMAIN_STRENGTH)?,
            zones: zones.collect::<Option<_>>()?,
            domains: domains.collect::<Option<_>>()?,
            profiles: profiles(whole)?,
            zone_concentration: number(ZONE_CONCENTRATION)?,
            domain_concentration: number(DOMAIN_CONCENTRATION)?,
            zone_mixes: zone_mixes.collect::<Option<_>>()?,
            domain_mixes: domain_mixes.collect::<Option<_>>()?,
        },
        events: number(EVENTS)? as u64,
        sends_are_told: number(SENDS_ARE_TOLD)? != 0.0,
    })
}

fn profiles(whole: &SharedHabits) -> Option<Vec<Profile>> {
    let (hazards, rest) = whole.numbers.get(PROFILE_HAZARDS)?.as_chunks::<24>();
    let (hazards, more): (&[[Hours; 3]], _) = hazards.as_chunks();
    let shares = whole.numbers.get(PROFILE_SHARES)?;
    if !rest.is_empty() || !more.is_empty() || hazards.len() != shares.len() {
        return None;
    }
    Some(
        shares
            .iter()
            .zip(hazards)
            .map(|(share, hazard)| Profile { share: *share, hazard: *hazard })
            .collect(),
    )
}

fn row(level: &str, time_zone: &str, domain: u64, of: &Counts) -> SharedHabits {
    let sums = [&of.sent, &of.spent, &of.acts, &of.repeats].map(|sums| sums.to_vec());
    let (level, time_zone) = (level.to_owned(), time_zone.to_owned());
    SharedHabits { level, time_zone, domain, sums, numbers: BTreeMap::new() }
}

fn sums(row: &SharedHabits) -> Option<Counts> {
    let bins = |sums: &Vec<f64>| <[f64; BINS]>::try_from(sums.as_slice()).ok();
    let [sent, spent, acts, repeats] = &row.sums;
    Some(Counts { sent: bins(sent)?, spent: bins(spent)?, acts: bins(acts)?, repeats: bins(repeats)? })
}

/// The rows of an answer: one for each window, or one with the reason why there is none.
pub fn send_times(answer: &Answer, rows: &mut Vec<SendTime>) {
    let recipient = answer.recipient;
    match &answer.windows {
        Err(refused) => rows.push(SendTime { recipient, refused: refused.as_str(), ..SendTime::default() }),
        Ok(windows) => rows.extend((1_u8..).zip(windows).map(|(choice, window)| SendTime {
            recipient,
            choice,
            refused: "",
            weekday: weekday_word(window.weekday),
            start_hour: window.start_hour,
            end_hour: window.end_hour,
            time_zone: window.time_zone.clone(),
            p_open_1h: window.p_open_1h.unwrap_or(f64::NAN),
            lift: window.lift,
            confidence: window.confidence,
            beats_hour: window.beats_hour,
            observed: window.observed,
            expected: window.expected,
            level: window.level.as_str(),
        })),
    }
}
