//! From counts to windows, or to the reason why there are none.

use serde::{Deserialize, Serialize};

use crate::Hours;
use crate::counts::{Counts, Weekday};
use crate::group::{Fit, Group, Level};
use crate::model::{
    CONFIDENCE_STRENGTH, JOIN_SHARE, OVERDISPERSION, RECIPIENT_STRENGTH, WINDOW_HOURS_MAX, WINDOWS_MAX,
    first_hour,
};
use crate::normal::below;
use crate::policy::Quiet;
use crate::profiles::Following;
use crate::reasons;

/// A stretch of the local day to send in. Never a bare hour: it comes with its evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// The days it is for.
    pub weekday: Weekday,
    /// First hour, 0 to 23.
    pub start_hour: u8,
    /// The hour after the last one, 0 to 23; not above `start_hour` when the window passes midnight.
    pub end_hour: u8,
    /// IANA name of the time zone of both.
    pub time_zone: String,
    /// Probability that a mail sent in the window is opened within an hour. None where sends are not known.
    pub p_open_1h: Option<f64>,
    /// Opens within an hour over those that the sender's usual hours give.
    pub lift: f64,
    /// Probability that the window beats the best hour of the next wider group; for a window that is the group's
    /// own, that it beats the sender's usual hour, for this person.
    pub confidence: f64,
    /// The hour that it is compared with.
    pub beats_hour: u8,
    /// Acts of the recipient around the window's best hour, older ones weighing less.
    pub observed: f64,
    /// Acts expected there of people like them, at the same exposure.
    pub expected: f64,
    /// Whose habit spoke.
    pub level: Level,
    /// The evidence in words.
    pub reasons: Vec<String>,
}

/// Where a recipient is, as far as a send time is concerned. Decided elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Region {
    /// Where it may be recommended.
    Allowed,
    /// In the EU, the EEA or the UK.
    Blocked,
    /// Nobody knows: refused as well.
    Unknown,
}

/// Why there is no recommendation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// The recipient is in the EU, the EEA or the UK.
    Eu,
    /// It is not known where the recipient is.
    RegionUnknown,
    /// It is not known what time it is where the recipient is.
    TimeZoneUnknown,
    /// Neither the recipient nor any group of theirs did enough.
    NotEnoughEvents,
    /// Every hour is a quiet one.
    AllQuiet,
}

impl Refused {
    /// As one word, as in SQL and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Refused::Eu => "eu",
            Refused::RegionUnknown => "region_unknown",
            Refused::TimeZoneUnknown => "time_zone_unknown",
            Refused::NotEnoughEvents => "not_enough_events",
            Refused::AllQuiet => "all_quiet",
        }
    }
}

/// A recipient.
#[derive(Debug, Clone, Copy)]
pub struct Person<'a> {
    /// Their own sums.
    pub counts: &'a Counts,
    /// The groups they are part of, from the widest to the nearest.
    pub groups: &'a [&'a Group],
    /// IANA name of the zone of most recent weight, see [`crate::zone::home`]; None when unknown.
    pub time_zone: Option<&'a str>,
    /// Where they are.
    pub region: Region,
    /// Which profiles they may follow, for the same groups; None where none are known.
    pub following: Option<&'a Following<'a>>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// For which days.
    pub weekday: Weekday,
    /// Hours in which nothing is sent.
    pub quiet: Option<Quiet>,
}

impl Default for Options {
    fn default() -> Options {
        Options { weekday: Weekday::Any, quiet: None }
    }
}

/// Recommends up to [`WINDOWS_MAX`] windows that do not overlap, the best first.
///
/// # Errors
/// The reason when nothing can be recommended.
pub fn recommend(person: &Person<'_>, options: &Options) -> Result<Vec<Window>, Refused> {
    match person.region {
        Region::Allowed => {}
        Region::Blocked => return Err(Refused::Eu),
        Region::Unknown => return Err(Refused::RegionUnknown),
    }
    let time_zone = person.time_zone.filter(|zone| !zone.is_empty()).ok_or(Refused::TimeZoneUnknown)?;
    let (widest, nearest) = match person.groups {
        [widest, ..] if widest.speaks() => (*widest, person.groups[person.groups.len() - 1]),
        _ => return Err(Refused::NotEnoughEvents),
    };
    let allowed: [bool; 24] =
        std::array::from_fn(|h| options.quiet.is_none_or(|quiet| !quiet.covers(h as u8)));
    if !allowed.contains(&true) {
        return Err(Refused::AllQuiet);
    }
    let (own, soon) = own(person, nearest, options.weekday);
    let group_soon = |place: usize| {
        let plain = &person.groups[place].hazard[options.weekday as usize];
        self::soon(&person.following.map_or(*plain, |all| all.of_group(place, plain, options.weekday)))
    };
    let nearest_soon = group_soon(person.groups.len() - 1);
    let (peak, group_peak) = (best(&soon, &allowed), best(&nearest_soon, &allowed));
    let (level, reference) = if peak != group_peak {
        (Level::Recipient, group_peak)
    } else {
        // The group's habit is that of the widest one that has the same best hour.
        let alike = (0..person.groups.len()).find(|place| best(&group_soon(*place), &allowed) == group_peak);
        (person.groups[alike.unwrap_or(0)].level, best(&widest.usual, &[true; 24]))
    };
    let usual: f64 = (0..24).map(|h| nearest.usual[h] * soon[h]).sum();
    let windows = stretches(&soon, &allowed).into_iter().map(|hours| {
        let best = hours[0];
        let mean = hours.iter().map(|h| soon[*h]).sum::<f64>() / hours.len() as f64;
        let first = *hours.iter().min_by_key(|h| (*h + 36 - best) % 24).unwrap_or(&best);
        let mut window = Window {
            weekday: options.weekday,
            start_hour: first as u8,
            end_hour: ((first + hours.len()) % 24) as u8,
            time_zone: time_zone.to_owned(),
            p_open_1h: nearest.has_sends.then(|| -(-mean).exp_m1()),
            lift: if usual > 0.0 { mean / usual } else { 1.0 },
            confidence: beats(&own, &soon, best, reference),
            beats_hour: reference as u8,
            observed: own.observed[best],
            expected: own.expected[best],
            level,
            reasons: Vec::new(),
        };
        window.reasons = reasons::of(&window, nearest, person);
        window
    });
    Ok(windows.collect())
}

/// The probability that a mail sent in each hour of such days is opened within an hour, as [`recommend`] figures it;
/// where sends are not known only how the hours compare. None for whom there is no recommendation.
pub fn by_hour(person: &Person<'_>, weekday: Weekday) -> Option<Hours> {
    let nearest = person.groups.last().filter(|_| person.region == Region::Allowed)?;
    Some(own(person, nearest, weekday).1.map(|hazard| -(-hazard).exp_m1()))
}

/// A person's own acts against those of the nearest group, and what their hazard comes to in the hour after a send.
fn own(person: &Person<'_>, nearest: &Group, days: Weekday) -> (Fit, Hours) {
    let own = nearest.fit(person.counts, days, RECIPIENT_STRENGTH);
    let (acts, offered) = nearest.read(person.counts, days);
    let hazard = person.following.map_or(own.hazard, |all| all.of_person(&acts, &offered, &own.hazard, days));
    (own, soon(&hazard))
}

/// The cumulated hazard of the hour after a send whose minute is drawn evenly within each hour.
pub(crate) fn soon(hazard: &Hours) -> Hours {
    let [own, next] = first_hour();
    std::array::from_fn(|h| own * hazard[h] + next * hazard[(h + 1) % 24])
}

/// The first hour of the highest value among those allowed.
fn best(values: &Hours, allowed: &[bool; 24]) -> usize {
    let mut best = None;
    for h in (0..24).filter(|h| allowed[*h]) {
        if best.is_none_or(|b| values[h] > values[b]) {
            best = Some(h);
        }
    }
    best.unwrap_or(0)
}

/// How sure it is that one hour beats another: both are quotients of counts, whose logarithms are about normal with
/// variance overdispersion / (strength + observed) each.
fn beats(own: &Fit, soon: &Hours, hour: usize, other: usize) -> f64 {
    if hour == other {
        return 0.5;
    }
    let of = |h: usize| 1.0 / (CONFIDENCE_STRENGTH + own.observed[h]);
    below((soon[hour] / soon[other]).ln() / (OVERDISPERSION * (of(hour) + of(other))).sqrt())
}

/// The hours of up to [`WINDOWS_MAX`] windows, the best hour of each first: a peak and the hours beside it that are
/// nearly as good.
fn stretches(score: &Hours, allowed: &[bool; 24]) -> Vec<Vec<usize>> {
    let mut free = *allowed;
    let mut found = Vec::new();
    while found.len() < WINDOWS_MAX && free.contains(&true) {
        let peak = best(score, &free);
        let mut hours = vec![peak];
        let (mut left, mut right) = ((peak + 23) % 24, (peak + 1) % 24);
        while hours.len() < WINDOW_HOURS_MAX {
            let joins = |h: usize| free[h] && score[h] >= JOIN_SHARE * score[peak];
            if joins(right) && (!joins(left) || score[right] >= score[left]) {
                hours.push(right);
                right = (right + 1) % 24;
            } else if joins(left) {
                hours.push(left);
                left = (left + 23) % 24;
            } else {
                break;
            }
        }
        // The hours beside it are of the same peak: another window starts further away.
        for h in hours.iter().copied().chain([left, right]) {
            free[h] = false;
        }
        found.push(hours);
    }
    found
}
