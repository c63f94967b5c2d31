//! What must hold of what is learned of a workspace, and of what it says of one of its people.

use std::sync::LazyLock;

use proptest::prelude::*;
use send_time::counts::{BINS, bin};
use send_time::evidence::Machines;
use send_time::policy::Quiet;
use send_time::{
    Act, Counts, Fitted, Habits, Level, Mail, Member, Options, Own, Refused, Region, Weekday, Window,
};

const ANY: Options = Options { weekday: Weekday::Any, quiet: None };
const CLICKS_PER_OPEN: f64 = 0.15;
const ZONES: [&str; 3] = ["America/New_York", "Asia/Tokyo", ""];
/// Hours at which people of three kinds read.
const KINDS: [[u8; 3]; 3] = [[6, 7, 12], [11, 12, 17], [20, 21, 8]];

/// Someone, and how they are told of.
#[derive(Debug, Clone)]
struct Told {
    counts: Counts,
    machines: Machines,
    zone: &'static str,
    domain: u64,
}

fn told(mails: &[(u8, Option<u8>, f64)], zone: &'static str, domain: u64) -> Told {
    Told { counts: counts(mails), machines: Machines::default(), zone, domain }
}

/// Mails sent in an hour, perhaps answered in another one within a day.
fn counts(mails: &[(u8, Option<u8>, f64)]) -> Counts {
    let mut counts = Counts::default();
    for (sent, opened, weight) in mails {
        let act = opened.map(|hour| Act {
            bin: bin(2, hour),
            age_hours: f64::from((hour + 24 - sent) % 24) + if hour == *sent { 0.3 } else { 0.0 },
            weight: 1.0,
        });
        counts.add(&Mail { sent: bin(2, *sent), act, repeats: &[], visible: 1.0, weight: *weight });
    }
    counts
}

/// Mail every three hours, to companies of ten people: the first fifty of one kind each, the others and the people
/// without a company of all kinds.
fn crowd() -> Vec<Told> {
    let mut all = Vec::new();
    for person in 0..600_usize {
        let company = person / 10;
        let kind = KINDS[if company < 50 { company % 3 } else { person % 3 }];
        let mut mails: Vec<(u8, Option<u8>, f64)> = (0..8).map(|turn| (3 * turn, None, 1.0)).collect();
        for turn in 0..1 + person % 3 {
            let reads = kind[(person / 3 + turn) % 3];
            mails.push((reads / 3 * 3, Some(reads), 1.0));
        }
        let domain = if company < 55 { 1 + company as u64 } else { 0 };
        all.push(told(&mails, ZONES[person % 2], domain));
    }
    all
}

fn learn(people: &[Told]) -> Habits {
    Habits::learn(CLICKS_PER_OPEN, || {
        (0_u64..).zip(people).map(|(recipient, told)| Member {
            recipient,
            counts: told.counts.clone(),
            machines: told.machines,
            time_zone: told.zone,
            domain: told.domain,
        })
    })
}

static LEARNED: LazyLock<Fitted> = LazyLock::new(|| learn(&crowd()).fit());

fn ask(habits: &Fitted, told: &Told, options: &Options) -> Result<Vec<Window>, Refused> {
    let own = Own { counts: &told.counts, machines: told.machines, region: Region::Allowed };
    habits.near(told.zone, told.domain).recommend(&own, options)
}

fn rotated(counts: &Counts, by: usize) -> Counts {
    let turn = |bins: &[f64; BINS]| std::array::from_fn(|b| bins[b / 24 * 24 + (b % 24 + 24 - by) % 24]);
    Counts {
        sent: turn(&counts.sent),
        spent: turn(&counts.spent),
        acts: turn(&counts.acts),
        repeats: turn(&counts.repeats),
    }
}

#[test]
fn one_act_tells_a_kind_of_people() {
    // One act at eight in the morning is of those who read in the evening: nobody else reads then.
    let own = told(&[(7, Some(8), 1.0), (9, None, 1.0), (14, None, 1.0)], ZONES[0], 0);
    let near = LEARNED.near(own.zone, 0);
    let asked = Own { counts: &own.counts, machines: own.machines, region: Region::Allowed };
    let hours = near.by_hour(&asked, Weekday::Any).unwrap();
    let unknown = Own { counts: &Counts::default(), ..asked };
    let before = near.by_hour(&unknown, Weekday::Any).unwrap();
    assert!(hours[20] / before[20] > 1.2 * hours[12] / before[12], "{hours:?} {before:?}");
    let said = ask(&LEARNED, &own, &ANY).unwrap().remove(0).reasons;
    assert!(said.iter().any(|reason| reason.contains("% sure that they read as")), "{said:?}");
}

#[test]
fn a_company_says_what_its_people_do() {
    let best = |domain| {
        let nobody = told(&[], ZONES[0], domain);
        ask(&LEARNED, &nobody, &ANY).unwrap().remove(0)
    };
    // Companies 1, 2 and 3 are of one kind each.
    assert!((5..=7).contains(&best(1).start_hour), "{:?}", best(1));
    assert!((10..=12).contains(&best(2).start_hour), "{:?}", best(2));
    assert!((19..=21).contains(&best(3).start_hour), "{:?}", best(3));
    assert_eq!(best(3).level, Level::Domain);
    let habits = &LEARNED.habits;
    assert!(habits.domain_concentration < 3.0, "{}", habits.domain_concentration);
    assert!((habits.profiles.iter().map(|profile| profile.share).sum::<f64>() - 1.0).abs() < 1e-9);
    let people: f64 = habits.domain_mixes[&1].iter().sum();
    assert!((people - 10.0).abs() < 1e-6, "{people}");
}

#[test]
fn a_part_of_what_was_learned_gives_the_same_answers() {
    let all = crowd();
    let habits = &LEARNED.habits;
    for told in all.iter().step_by(37) {
        let mut part = habits.clone();
        part.zones.retain(|zone, _| zone == told.zone);
        part.zone_mixes.retain(|zone, _| zone == told.zone);
        part.domains.retain(|domain, _| *domain == told.domain);
        part.domain_mixes.retain(|domain, _| *domain == told.domain);
        assert_eq!(ask(&part.fit(), told, &ANY), ask(&LEARNED, told, &ANY));
    }
}

#[test]
fn whoever_belongs_nowhere_is_answered_for_by_all() {
    let stranger = told(&[(9, Some(20), 1.0)], "Pacific/Auckland", 999_999);
    let window = ask(&LEARNED, &stranger, &ANY).unwrap().remove(0);
    assert_eq!(window.time_zone, "Pacific/Auckland");
    assert!([Level::Workspace, Level::Recipient].contains(&window.level), "{window:?}");
    assert_eq!(ask(&LEARNED, &told(&[], "", 1), &ANY), Err(Refused::TimeZoneUnknown));
    // Without profiles the sums alone speak.
    let plain = Habits { profiles: Vec::new(), ..LEARNED.habits.clone() }.fit();
    assert!(ask(&plain, &stranger, &ANY).unwrap()[0].p_open_1h.unwrap() > 0.0);
}

#[test]
fn nobody_says_anything_of_themselves_as_a_company() {
    let mut people = crowd();
    people.push(told(&[(9, Some(9), 3.0)], ZONES[0], 4242));
    let habits = learn(&people);
    assert!(!habits.domains.contains_key(&4242) && !habits.domain_mixes.contains_key(&4242));
    assert!(habits.domains.contains_key(&1));
    // Nobody at all is no error.
    assert_eq!(ask(&learn(&[]).fit(), &people[0], &ANY), Err(Refused::NotEnoughEvents));
}

#[test]
fn machines_that_are_known_say_nothing_more() {
    let mut own = told(&[(9, Some(20), 1.0), (9, None, 6.0)], ZONES[0], 0);
    own.machines.prefetches = 1;
    let once = ask(&LEARNED, &own, &ANY);
    own.machines.prefetches = 500;
    assert_eq!(ask(&LEARNED, &own, &ANY), once);
}

#[test]
fn the_order_of_people_does_not_matter() {
    let straight = crowd();
    let back: Vec<Told> = straight.iter().rev().cloned().collect();
    let (one, other) = (learn(&straight), learn(&back));
    for (one, other) in one.profiles.iter().zip(&other.profiles) {
        for b in 0..24 {
            assert!((one.hazard[0][b] / other.hazard[0][b] - 1.0).abs() < 1e-6);
        }
    }
}

fn mails() -> impl Strategy<Value = Vec<(u8, Option<u8>, f64)>> {
    prop::collection::vec((0_u8..24, prop::option::of(0_u8..24), 0.1_f64..3.0), 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// All clocks turned, all windows turn with them: the profiles start at no hour of their own.
    #[test]
    fn turning_all_clocks_turns_the_windows(own in mails(), by in 1_usize..24) {
        let turn = |told: &Told| Told { counts: rotated(&told.counts, by), ..told.clone() };
        let turned = learn(&crowd().iter().map(turn).collect::<Vec<_>>()).fit();
        let own = told(&own, ZONES[1], 3);
        let (straight, turned) = (ask(&LEARNED, &own, &ANY).unwrap(), ask(&turned, &turn(&own), &ANY).unwrap());
        let (one, other) = (straight[0].p_open_1h.unwrap(), turned[0].p_open_1h.unwrap());
        prop_assert!((one / other - 1.0).abs() < 1e-3, "{one} {other}");
        prop_assert!((straight[0].lift / turned[0].lift - 1.0).abs() < 1e-3);
    }

    /// Whatever people did, answers are numbers.
    #[test]
    fn anything_gives_numbers(
        all in prop::collection::vec((mails(), 0_usize..3, 0_u64..4, 0_u64..2), 1..40),
        scale in prop::sample::select(vec![1e-12, 1e-3, 1.0, 1e6]),
    ) {
        let people: Vec<Told> = all
            .iter()
            .map(|(mails, zone, domain, prefetches)| {
                let mut told = told(mails, ZONES[*zone], *domain);
                let one = told.counts.clone();
                told.counts.merge(&one, scale);
                told.machines.prefetches = *prefetches;
                told
            })
            .collect();
        let habits = learn(&people).fit();
        for told in &people {
            for weekday in [Weekday::Any, Weekday::Weekday, Weekday::Weekend] {
                let Ok(windows) = ask(&habits, told, &Options { weekday, quiet: None }) else { continue };
                for window in windows {
                    prop_assert!((0.0..=1.0).contains(&window.p_open_1h.unwrap_or(0.0)), "{window:?}");
                    prop_assert!((0.0..=1.0).contains(&window.confidence), "{window:?}");
                    prop_assert!(window.lift.is_finite() && window.lift > 0.0, "{window:?}");
                    prop_assert!(window.observed >= 0.0 && window.expected >= 0.0, "{window:?}");
                }
            }
        }
    }
}

proptest! {
    /// Mail that nobody opened makes its hour no better, with profiles as well.
    #[test]
    fn unopened_mail_raises_no_hour(own in mails(), hour in 0_u8..24, domain in 0_u64..4) {
        let before = told(&own, ZONES[0], domain);
        let mut after = before.clone();
        after.counts.merge(&counts(&[(hour, None, 10.0)]), 1.0);
        let only = Options { quiet: Some(Quiet { from_hour: (hour + 1) % 24, until_hour: hour }), ..ANY };
        let worth = |told: &Told| ask(&LEARNED, told, &only).unwrap()[0].p_open_1h.unwrap();
        prop_assert!(worth(&after) <= worth(&before) + 1e-12);
    }
}
