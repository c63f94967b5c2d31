//! The recipient's clock: from an instant to its local hour, and from a window to the next instants.
//!
//! Zones are IANA names; their rules are those compiled in. A zone is never reduced to an offset: that would be wrong
//! for half of the year.

use std::sync::LazyLock;

use jiff::civil::{DateTime, Weekday as Day};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::counts::{Weekday, bin};

static RULES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The rules of a zone, if its name is known.
pub fn rules(name: &str) -> Option<TimeZone> {
    if name.is_empty() { None } else { RULES.get(name).ok() }
}

/// All names that are known.
pub fn names() -> Vec<String> {
    RULES.available().map(|name| name.to_string()).collect()
}

/// The bin (see [`bin`]) of an instant in a zone; None for an instant out of the calendar.
pub fn local_bin(at_ms: i64, zone: &TimeZone) -> Option<usize> {
    let at = zone.to_datetime(Timestamp::from_millisecond(at_ms).ok()?);
    Some(bin(at.weekday().to_monday_one_offset() as u8, at.hour() as u8))
}

/// The zone of most recent weight: that of the most acts, each weighing its decay. Travel moves it only when it lasts.
/// Of equal ones the first by name; none for no weight at all.
pub fn home<'a>(weights: impl IntoIterator<Item = (&'a str, f64)>) -> Option<&'a str> {
    let mut home: Option<(&str, f64)> = None;
    for (zone, weight) in weights.into_iter().filter(|(zone, weight)| !zone.is_empty() && *weight > 0.0) {
        if home.is_none_or(|(name, most)| weight > most || (weight == most && zone < name)) {
            home = Some((zone, weight));
        }
    }
    home.map(|(zone, _)| zone)
}

/// A stretch of time, in Unix milliseconds. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First instant.
    pub start_ms: i64,
    /// The instant after the last one.
    pub end_ms: i64,
}

/// Hours of a wall clock, of a class of days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wall {
    /// The days that the window starts on.
    pub weekday: Weekday,
    /// First hour, 0 to 23.
    pub start_hour: u8,
    /// The hour after the last one, 0 to 23; not above `start_hour` when it passes midnight.
    pub end_hour: u8,
}

/// The next spans of a window in a zone that end after `from_ms`, at most `count`; a span that has begun starts at
/// `from_ms`.
///
/// An hour that the clock leaves out begins where the clock goes on. An hour that the clock runs through twice is
/// meant the first time. A window that the clock leaves out whole has its length from there on, and a day that a
/// zone leaves out whole has no window.
pub fn next(wall: Wall, zone: &TimeZone, from_ms: i64, count: usize) -> Vec<Span> {
    let mut spans = Vec::new();
    let Ok(from) = Timestamp::from_millisecond(from_ms) else { return spans };
    let length = (wall.end_hour + 23 - wall.start_hour) % 24 + 1;
    let today = zone.to_datetime(from).date();
    // A window that passes midnight may have begun the day before. Nine days hold any class of days and a gap.
    let days_max = i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(7).saturating_add(9).min(DAYS_MAX);
    for day in -1..days_max {
        if spans.len() >= count {
            break;
        }
        let Ok(date) = today.checked_add(day.days()) else { break };
        let weekend = matches!(date.weekday(), Day::Saturday | Day::Sunday);
        let meant = match wall.weekday {
            Weekday::Any => true,
            Weekday::Weekday => !weekend,
            Weekday::Weekend => weekend,
        };
        if !meant {
            continue;
        }
        let begins = date.at(wall.start_hour as i8, 0, 0, 0);
        let Some(start) = instant(begins, zone) else { continue };
        let nominal = SignedDuration::from_hours(length.into());
        let Ok(latest) = start.checked_add(nominal) else { break };
        let Ok(ends) = begins.checked_add(nominal) else { break };
        let end = instant(ends, zone).filter(|end| *end > start && *end < latest).unwrap_or(latest);
        if end > from {
            let start_ms = start.max(from).as_millisecond();
            spans.push(Span { start_ms, end_ms: end.as_millisecond().max(start_ms + 1) });
        }
    }
    spans
}

/// Days looked ahead at most.
const DAYS_MAX: i64 = 400;

/// A gap longer than this is a day left out, not a clock put forward.
const GAP_HOURS_MAX: i64 = 3;

/// The first instant at which the clock shows `at` or, where it leaves `at` out, goes on after it. None where it
/// leaves out the whole day.
fn instant(at: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(at);
    let AmbiguousOffset::Gap { before, after } = ambiguous.offset() else {
        return ambiguous.earlier().ok();
    };
    if i64::from(after.seconds() - before.seconds()) > GAP_HOURS_MAX * 3600 {
        return None;
    }
    // Read with the offset after the gap, the time lies before the change.
    let earlier = ambiguous.earlier().ok()?;
    zone.following(earlier).next().map(|change| change.timestamp())
}
