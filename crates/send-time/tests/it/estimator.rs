//! What must hold whatever the constants are.

use proptest::prelude::*;
use send_time::counts::{BINS, bin};
use send_time::evidence::{Kind, Machines, Seen, act, repeats, visible};
use send_time::policy::Quiet;
use send_time::{
    Act, Counts, Group, Level, Likeness, Mail, Moments, Options, Person, Refused, Region, Weekday, Window,
    recommend,
};

const ANY: Options = Options { weekday: Weekday::Any, quiet: None };

/// Mails sent at some hours, a share of them opened in an hour.
fn counts(mails: &[(u8, Option<u8>, f64)]) -> Counts {
    let mut counts = Counts::default();
    for (sent, opened, weight) in mails {
        let act = opened.map(|hour| Act {
            bin: bin(2, hour),
            age_hours: f64::from((hour + 24 - sent) % 24) + 0.5,
            weight: 1.0,
        });
        counts.add(&Mail { sent: bin(2, *sent), act, repeats: &[], visible: 1.0, weight: *weight });
    }
    counts
}

/// Many people: mail at 9 and 14, opened at 9, 14 and 20.
fn crowd() -> Counts {
    counts(&[
        (9, Some(9), 40.0),
        (9, Some(20), 30.0),
        (9, None, 300.0),
        (14, Some(14), 40.0),
        (14, Some(20), 40.0),
        (14, None, 300.0),
    ])
}

fn ask(counts: &Counts, group: &Group, options: &Options) -> Result<Vec<Window>, Refused> {
    let person = Person {
        counts,
        groups: &[group],
        time_zone: Some("America/New_York"),
        region: Region::Allowed,
        following: None,
    };
    recommend(&person, options)
}

fn rotated(counts: &Counts, by: usize) -> Counts {
    let turn = |bins: &[f64; BINS]| {
        std::array::from_fn(|b| if b < 24 { bins[(b + 24 - by) % 24] } else { bins[24 + (b - by) % 24] })
    };
    Counts {
        sent: turn(&counts.sent),
        spent: turn(&counts.spent),
        acts: turn(&counts.acts),
        repeats: turn(&counts.repeats),
    }
}

#[test]
fn a_habit_of_the_recipient_is_told_from_one_of_the_sender() {
    let group = Group::workspace(&crowd());
    // Mail came at nine and most opens with it; but of the few sent early nearly all were opened.
    let own = counts(&[(9, Some(9), 4.0), (9, None, 40.0), (6, Some(6), 3.0), (6, None, 1.0)]);
    let windows = ask(&own, &group, &ANY).unwrap();
    let best = &windows[0];
    assert!((5..=6).contains(&best.start_hour) && best.level == Level::Recipient, "{best:?}");
    assert!(best.observed > best.expected && best.lift > 1.0, "{best:?}");
    assert!(best.reasons.len() >= 2 && best.reasons[0].contains("expected"), "{best:?}");
    let p = best.p_open_1h.unwrap();
    assert!((0.0..1.0).contains(&p), "{p}");
}

#[test]
fn an_unknown_person_has_the_habit_of_the_group() {
    let group = Group::workspace(&crowd());
    let best = ask(&Counts::default(), &group, &ANY).unwrap().remove(0);
    assert_eq!(best.level, Level::Workspace);
    assert_eq!(best.observed, 0.0);
    assert!(best.reasons[0].contains("best time of all recipients"), "{best:?}");
}

#[test]
fn refusals() {
    let group = Group::workspace(&crowd());
    let own = crowd();
    let person = Person {
        counts: &own,
        groups: &[&group],
        time_zone: Some("UTC"),
        region: Region::Allowed,
        following: None,
    };
    let few = Group::workspace(&counts(&[(9, Some(9), 5.0), (9, None, 20.0)]));
    let quiet = Options { quiet: Some(Quiet { from_hour: 8, until_hour: 7 }), ..ANY };
    for (person, wanted) in [
        (Person { region: Region::Blocked, ..person }, "eu"),
        (Person { region: Region::Unknown, ..person }, "region_unknown"),
        (Person { time_zone: None, ..person }, "time_zone_unknown"),
        (Person { time_zone: Some(""), ..person }, "time_zone_unknown"),
        (Person { groups: &[], ..person }, "not_enough_events"),
        (Person { groups: &[&few], ..person }, "not_enough_events"),
    ] {
        assert_eq!(recommend(&person, &ANY).unwrap_err().as_str(), wanted);
    }
    // One hour is left.
    let left = recommend(&person, &quiet).unwrap();
    assert!(left.len() == 1 && (left[0].start_hour, left[0].end_hour) == (7, 8), "{left:?}");
}

#[test]
fn without_sends_it_is_a_histogram_and_says_so() {
    let mut everybody = crowd();
    everybody.sent = [0.0; BINS];
    everybody.spent = [0.0; BINS];
    let group = Group::workspace(&everybody);
    let mut own = Counts::default();
    own.acts[bin(3, 6)] = 6.0;
    let best = ask(&own, &group, &ANY).unwrap().remove(0);
    assert!((5..=6).contains(&best.start_hour) && best.level == Level::Recipient, "{best:?}");
    assert_eq!(best.p_open_1h, None);
    assert!(best.reasons.iter().any(|reason| reason.contains("sends are not known")), "{best:?}");
}

#[test]
fn weekends_are_their_own() {
    let mut everybody = crowd();
    everybody.merge(&moved_to_weekend(&crowd()), 0.2);
    let group = Group::workspace(&everybody);
    let mut own = counts(&[(9, Some(9), 6.0), (9, None, 6.0)]);
    own.merge(&moved_to_weekend(&counts(&[(9, Some(20), 6.0), (9, None, 2.0)])), 1.0);
    let best = |weekday| ask(&own, &group, &Options { weekday, quiet: None }).unwrap().remove(0);
    let (weekday, weekend) = (best(Weekday::Weekday), best(Weekday::Weekend));
    assert!((8..=9).contains(&weekday.start_hour) && weekday.weekday == Weekday::Weekday, "{weekday:?}");
    assert!((19..=20).contains(&weekend.start_hour) && weekend.weekday == Weekday::Weekend, "{weekend:?}");
}

fn moved_to_weekend(counts: &Counts) -> Counts {
    let over = |bins: &[f64; BINS]| std::array::from_fn(|b| if b < 24 { 0.0 } else { bins[b - 24] });
    Counts {
        sent: over(&counts.sent),
        spent: over(&counts.spent),
        acts: over(&counts.acts),
        repeats: over(&counts.repeats),
    }
}

#[test]
fn what_counts_as_evidence() {
    let ahead = Machines { prefetches: 1, scans: 0 };
    let scanned = Machines { prefetches: 0, scans: 1 };
    let none = Machines::default();
    for (kind, seen, machines, age_ms, wanted) in [
        (Kind::Open, Seen::Human, none, 0, 1.0),
        (Kind::Open, Seen::Proxy, none, 0, 1.0),
        (Kind::Click, Seen::Unsure, none, 0, 0.5),
        (Kind::Open, Seen::Human, ahead, 3_600_000, 0.0),
        (Kind::Open, Seen::Proxy, ahead, 3_600_000, 0.0),
        (Kind::Click, Seen::Human, ahead, 0, 1.0),
        (Kind::Download, Seen::Human, ahead, 0, 1.0),
        (Kind::Click, Seen::Human, scanned, 119_999, 0.0),
        (Kind::Click, Seen::Human, scanned, 120_000, 1.0),
    ] {
        assert_eq!(act(kind, seen, machines, age_ms), wanted, "{kind:?} {seen:?} {machines:?} {age_ms}");
    }
    assert_eq!((visible(none, 0.15), visible(ahead, 0.15), visible(ahead, 0.0)), (1.0, 0.15, 0.01));
    let hour = 3_600_000;
    assert_eq!(repeats(&[]), Vec::<usize>::new());
    assert_eq!(repeats(&[0, 60_000, hour, hour + 1]), [2]);
    assert_eq!(repeats(&[0, 2, 4, 6, 8, 10, 12].map(|h| h * hour)), [1, 2, 3, 4]);
}

#[test]
fn people_alike_trust_their_company() {
    let early = counts(&[(9, Some(9), 6.0), (9, None, 6.0)]);
    let late = counts(&[(9, Some(20), 6.0), (9, None, 6.0)]);
    let mut everybody = Counts::default();
    everybody.merge(&early, 800.0);
    everybody.merge(&late, 800.0);
    let group = Group::workspace(&everybody);
    let strength = |companies: [[&Counts; 2]; 2]| {
        let parts: Vec<Moments> = companies
            .iter()
            .map(|company| {
                let mut part = Moments::default();
                company.iter().cycle().take(20).for_each(|counts| part.add(&group, counts));
                part
            })
            .collect();
        Likeness::of(parts.iter().cycle().take(80)).strength()
    };
    let (alike, mixed) =
        (strength([[&early, &early], [&late, &late]]), strength([[&early, &late], [&early, &late]]));
    assert!(alike < mixed / 1.5, "{alike} {mixed}");
    assert_eq!(Likeness::default().strength(), send_time::model::PART_STRENGTH);
}

fn mails() -> impl Strategy<Value = Vec<(u8, Option<u8>, f64)>> {
    prop::collection::vec((0_u8..24, prop::option::of(0_u8..24), 0.1_f64..3.0), 0..30)
}

proptest! {
    /// The day is a circle: all clocks turned, all windows turn with them.
    #[test]
    fn turning_the_clock_turns_the_windows(own in mails(), by in 1_usize..24) {
        let (own, crowd) = (counts(&own), crowd());
        let straight = ask(&own, &Group::workspace(&crowd), &ANY).unwrap();
        let turned = ask(&rotated(&own, by), &Group::workspace(&rotated(&crowd, by)), &ANY).unwrap();
        // Sums in another order may break a tie differently: the worth is what must be the same.
        let p = |windows: &[Window]| windows[0].p_open_1h.unwrap();
        prop_assert!((p(&straight) - p(&turned)).abs() < 1e-6);
        prop_assert!((straight[0].lift - turned[0].lift).abs() < 1e-6);
    }

    /// Mail that nobody opened makes its hour no better, and everything stays finite.
    #[test]
    fn unopened_mail_raises_no_hour(own in mails(), hour in 0_u8..24) {
        let group = Group::workspace(&crowd());
        let before = counts(&own);
        let mut after = before.clone();
        after.merge(&counts(&[(hour, None, 10.0)]), 1.0);
        let only = Options { quiet: Some(Quiet { from_hour: (hour + 1) % 24, until_hour: hour }), ..ANY };
        let worth = |counts: &Counts| ask(counts, &group, &only).unwrap()[0].p_open_1h.unwrap();
        prop_assert!(worth(&after) <= worth(&before) + 1e-12);
    }

    /// Windows do not overlap, keep out of quiet hours, and say probabilities.
    #[test]
    fn windows_are_sound(own in mails(), from_hour in 0_u8..24, until_hour in 0_u8..24) {
        let quiet = Quiet { from_hour, until_hour };
        let group = Group::workspace(&crowd());
        let windows = ask(&counts(&own), &group, &Options { quiet: Some(quiet), ..ANY }).unwrap();
        prop_assert!((1..=3).contains(&windows.len()));
        let mut taken = [false; 24];
        for window in &windows {
            let length = (window.end_hour + 23 - window.start_hour) % 24 + 1;
            prop_assert!((1..=3).contains(&length));
            for hour in (window.start_hour..window.start_hour + length).map(|hour| hour % 24) {
                prop_assert!(!quiet.covers(hour) && !taken[usize::from(hour)]);
                taken[usize::from(hour)] = true;
            }
            let p = window.p_open_1h.unwrap();
            prop_assert!((0.0..=1.0).contains(&p) && (0.0..=1.0).contains(&window.confidence));
            prop_assert!(window.lift.is_finite() && window.lift > 0.0);
            prop_assert!(window.observed >= 0.0 && window.expected >= 0.0);
        }
    }

    /// Sums are additive: who is counted first does not matter.
    #[test]
    fn counts_add_up(one in mails(), two in mails()) {
        let mut both = counts(&one);
        both.merge(&counts(&two), 1.0);
        let all = counts(&[one, two].concat());
        for b in 0..BINS {
            prop_assert!((both.sent[b] - all.sent[b]).abs() < 1e-9);
            prop_assert!((both.spent[b] - all.spent[b]).abs() < 1e-9);
            prop_assert!((both.acts[b] - all.acts[b]).abs() < 1e-9);
        }
    }
}
