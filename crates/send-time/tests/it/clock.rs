//! Windows of every zone around its own changes.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use send_time::Weekday;
use send_time::zone::{self, Span, Wall};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

fn at(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

fn spans(zone: &str, start_hour: u8, end_hour: u8, from: &str, count: usize) -> Vec<String> {
    let wall = Wall { weekday: Weekday::Any, start_hour, end_hour };
    let text = |ms| Timestamp::from_millisecond(ms).unwrap().to_string();
    zone::next(wall, &zone::rules(zone).unwrap(), at(from), count)
        .iter()
        .map(|span| format!("{} {}", text(span.start_ms), text(span.end_ms)))
        .collect()
}

#[test]
fn gaps_folds_and_odd_offsets() {
    for (zone, start, end, from, wanted) in [
        // 02:00 to 03:00 is left out on 8 March 2026: the hour is taken from there on.
        ("America/New_York", 2, 3, "2026-03-08T00:00:00-05:00", "2026-03-08T07:00:00Z 2026-03-08T08:00:00Z"),
        // A window across the gap is an hour shorter.
        ("America/New_York", 1, 4, "2026-03-08T00:00:00-05:00", "2026-03-08T06:00:00Z 2026-03-08T08:00:00Z"),
        // 01:00 comes twice on 1 November 2026: the first is meant.
        ("America/New_York", 1, 2, "2026-11-01T00:00:00-04:00", "2026-11-01T05:00:00Z 2026-11-01T06:00:00Z"),
        // Half an hour is left out, 02:00 to 02:30.
        (
            "Australia/Lord_Howe",
            2,
            3,
            "2026-10-04T00:00:00+10:30",
            "2026-10-03T15:30:00Z 2026-10-03T16:00:00Z",
        ),
        ("Asia/Kolkata", 9, 10, "2026-05-04T00:00:00Z", "2026-05-05T03:30:00Z 2026-05-05T04:30:00Z"),
        ("Asia/Kathmandu", 9, 10, "2026-05-04T00:00:00Z", "2026-05-04T03:15:00Z 2026-05-04T04:15:00Z"),
        // Past midnight, and begun already.
        ("UTC", 23, 1, "2026-05-04T00:30:00Z", "2026-05-04T00:30:00Z 2026-05-04T01:00:00Z"),
        // The gap is at midnight.
        ("America/Asuncion", 0, 1, "2023-09-30T12:00:00-04:00", "2023-10-01T04:00:00Z 2023-10-01T05:00:00Z"),
        // Samoa left out 30 December 2011.
        ("Pacific/Apia", 9, 10, "2011-12-29T12:00:00-10:00", "2011-12-30T19:00:00Z 2011-12-30T20:00:00Z"),
    ] {
        let found = spans(zone, start, end, from, 1);
        if zone == "Asia/Kolkata" {
            assert_eq!(found, ["2026-05-04T03:30:00Z 2026-05-04T04:30:00Z"]);
            assert_eq!(spans(zone, start, end, from, 2)[1], wanted);
            continue;
        }
        assert_eq!(found, [wanted], "{zone} {start} to {end} from {from}");
    }
}

#[test]
fn classes_of_days() {
    let utc = TimeZone::UTC;
    let friday = at("2026-05-08T12:00:00Z");
    let next = |weekday, count| {
        zone::next(Wall { weekday, start_hour: 9, end_hour: 10 }, &utc, friday, count)
            .iter()
            .map(|span| Timestamp::from_millisecond(span.start_ms).unwrap().to_string()[..10].to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(next(Weekday::Weekend, 3), ["2026-05-09", "2026-05-10", "2026-05-16"]);
    assert_eq!(next(Weekday::Weekday, 2), ["2026-05-11", "2026-05-12"]);
    assert_eq!(next(Weekday::Any, 2), ["2026-05-09", "2026-05-10"]);
    assert!(next(Weekday::Any, 0).is_empty());
}

#[test]
fn the_zone_of_most_recent_weight() {
    assert_eq!(
        zone::home([("Asia/Tokyo", 1.0), ("America/New_York", 3.0), ("", 9.0)]),
        Some("America/New_York")
    );
    // Two of one weight: the same answer in either order.
    assert_eq!(zone::home([("B", 1.0), ("A", 1.0)]), zone::home([("A", 1.0), ("B", 1.0)]));
    assert_eq!(zone::home([("Asia/Tokyo", 0.0)]), None);
    assert!(zone::rules("").is_none() && zone::rules("Mars/Olympus").is_none());
}

#[test]
fn every_zone_around_every_change() {
    let (from, until) = (at("2005-01-01T00:00:00Z"), at("2038-01-01T00:00:00Z"));
    let mut changes = 0;
    for name in zone::names() {
        let rules = zone::rules(&name).unwrap();
        let first = Timestamp::from_millisecond(from).unwrap();
        // Every third change: those of spring and of autumn take turns.
        for change in rules.following(first).step_by(3) {
            let change_ms = change.timestamp().as_millisecond();
            if change_ms > until {
                break;
            }
            changes += 1;
            for start_hour in 0..24 {
                check(&name, &rules, start_hour, change_ms);
            }
        }
    }
    assert!(changes > 3_000, "{changes}");
}

/// Days around a change: in order, apart, of a sensible length, and beginning at the hour that was asked for unless
/// that hour does not exist.
fn check(name: &str, rules: &TimeZone, start_hour: u8, change_ms: i64) {
    let end_hour = (start_hour + 1) % 24;
    let from_ms = change_ms - 36 * HOUR_MS;
    let found = zone::next(Wall { weekday: Weekday::Any, start_hour, end_hour }, rules, from_ms, 4);
    let place = format!("{name}, {start_hour}:00, change at {change_ms}: {found:?}");
    assert_eq!(found.len(), 4, "{place}");
    let mut last = Span { start_ms: i64::MIN, end_ms: i64::MIN };
    for span in found {
        assert!(span.start_ms >= from_ms && span.end_ms > from_ms, "{place}");
        assert!(span.start_ms >= last.end_ms, "{place}");
        assert!((1..=HOUR_MS).contains(&(span.end_ms - span.start_ms)), "{place}");
        if last.start_ms > from_ms {
            let days = span.start_ms - last.start_ms;
            assert!((DAY_MS - 3 * HOUR_MS..=2 * DAY_MS + 3 * HOUR_MS).contains(&days), "{place}");
        }
        let shown = rules.to_datetime(Timestamp::from_millisecond(span.start_ms).unwrap());
        let before = rules.to_datetime(Timestamp::from_millisecond(span.start_ms - 1).unwrap());
        // Where the clock jumps, it shows an hour after the one asked for, and showed one before it.
        let jumps = before.hour() as u8 != (shown.hour() as u8 + 23) % 24 || span.start_ms == change_ms;
        assert!(shown.hour() as u8 == start_hour || jumps, "{place}: {shown}");
        last = span;
    }
}
