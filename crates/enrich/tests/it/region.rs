//! The rule for send times, over every country.

use enrich::{Evidence, RegionClass, is_eu_eea_uk, is_eu_eea_uk_zone, region_at};
use event::{Event, Kind, Region};
use proptest::prelude::*;

use crate::enricher;

/// The whole list in one place, apart from the code's: a change to either must be made twice.
const BLOCKED: &str = "AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE \
    GF GP MQ RE YT MF AX IS LI NO SJ GB GI IM JE GG";

fn countries() -> Vec<(String, String)> {
    let text = include_str!("../../data/countries.tsv");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once('\t').unwrap()).map(|(code, zone)| (code.into(), zone.into())).collect()
}

#[test]
fn every_country_is_classed() {
    let countries = countries();
    assert_eq!(countries.len(), 250, "249 of ISO 3166-1 and Kosovo");
    let blocked: Vec<&str> =
        countries.iter().map(|c| c.0.as_str()).filter(|code| is_eu_eea_uk(code)).collect();
    let mut wanted: Vec<&str> = BLOCKED.split_whitespace().collect();
    wanted.sort_unstable();
    assert_eq!(blocked, wanted);
    assert_eq!(wanted.len(), 43);
    assert!(!is_eu_eea_uk(""));
}

#[test]
fn a_single_zone_agrees_with_its_country() {
    // Countries that keep their clock by a zone of a blocked one are not blocked themselves.
    for (code, zone) in countries().iter().filter(|(_, zone)| !zone.is_empty()) {
        assert_eq!(is_eu_eea_uk(code), is_eu_eea_uk_zone(zone), "{code} {zone}");
        assert!(jiff::tz::TimeZoneDatabase::bundled().get(zone).is_ok(), "{zone}");
    }
}

const DAY_MS: i64 = 86_400_000;
const NOW_MS: i64 = 1_764_000_000_000;

/// The rule as the store's SQL has it: the latest sign of each kind, and which of them are younger than 400 days.
fn by_latest_signs(evidence: &[Evidence]) -> RegionClass {
    let class = |sign: &Evidence| sign.place.and(sign.profile).and(sign.claim.into());
    let eu = |sign: &&Evidence| sign.claim == Region::Eu || class(sign) == RegionClass::Eu;
    let other = |sign: &&Evidence| sign.claim != Region::Eu && class(sign) == RegionClass::Other;
    let eu_at = evidence.iter().filter(eu).map(|sign| sign.at_ms).max().unwrap_or(0);
    let other_at = evidence.iter().filter(other).map(|sign| sign.at_ms).max().unwrap_or(0);
    match NOW_MS - 400 * DAY_MS {
        bound if eu_at > bound => RegionClass::Eu,
        bound if other_at > bound => RegionClass::Other,
        _ => RegionClass::Unknown,
    }
}

/// All orders of a list.
fn orders<T: Copy>(list: &[T]) -> Vec<Vec<T>> {
    if list.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (index, first) in list.iter().enumerate() {
        let rest = [&list[..index], &list[index + 1..]].concat();
        all.extend(orders(&rest).into_iter().map(|order| [&[*first], &order[..]].concat()));
    }
    all
}

#[test]
fn a_sign_of_the_eu_outlasts_every_other_for_400_days_in_every_order() {
    let quiet = Evidence { at_ms: NOW_MS, ..Evidence::default() };
    let elsewhere = Evidence { at_ms: NOW_MS - DAY_MS, place: RegionClass::Other, ..quiet };
    let claimed = Evidence { claim: Region::Other, ..elsewhere };
    for (code, _) in countries() {
        let class = RegionClass::of_country(&code);
        let blocked = BLOCKED.split_whitespace().any(|country| country == code);
        for (age_ms, stands) in
            [(0, true), (400 * DAY_MS - 1, true), (400 * DAY_MS, false), (900 * DAY_MS, false)]
        {
            let at_ms = NOW_MS - age_ms;
            let by_place = Evidence { at_ms, place: class, ..quiet };
            let by_profile = Evidence { at_ms, profile: class, ..quiet };
            for sign in [by_place, by_profile] {
                for order in orders(&[sign, quiet, elsewhere, claimed]) {
                    let found = region_at(order, NOW_MS);
                    assert_eq!(found == RegionClass::Eu, blocked && stands, "{code}, {age_ms} ms ago");
                    assert_eq!(found.allows_send_times(), !(blocked && stands), "{code}, {age_ms} ms ago");
                }
                let alone = region_at([sign, quiet], NOW_MS);
                assert_eq!(alone.allows_send_times(), !blocked && stands, "{code}, {age_ms} ms ago, alone");
            }
        }
    }
    assert!(!region_at([], NOW_MS).allows_send_times(), "nothing is known");
    assert!(!region_at([quiet; 9], NOW_MS).allows_send_times(), "nothing is said");
}

/// Any evidence: countries by place and by profile, claims, ages on both sides of the bound and of now.
fn evidence() -> impl Strategy<Value = Vec<Evidence>> {
    let class = || {
        prop_oneof![
            3 => (0usize..250).prop_map(|index| RegionClass::of_country(&countries()[index].0)),
            1 => Just(RegionClass::Unknown),
        ]
    };
    let claim = prop_oneof![Just(Region::Unspecified), Just(Region::Eu), Just(Region::Other)];
    let age = prop_oneof![-3i64..900, 399i64..402].prop_map(|days| days * DAY_MS);
    let one = (age, claim, class(), class()).prop_map(|(age_ms, claim, place, profile)| Evidence {
        at_ms: NOW_MS - age_ms,
        claim,
        place,
        profile,
    });
    prop::collection::vec(one, 0..7)
}

proptest! {
    /// As the SQL says it, in any order, however often each event comes; and more evidence never unblocks.
    #[test]
    fn the_order_of_events_changes_nothing(
        (list, shuffled) in evidence().prop_flat_map(|list| (Just(list.clone()), Just(list).prop_shuffle())),
        again in 0usize..4,
    ) {
        let found = region_at(list.iter().copied(), NOW_MS);
        prop_assert_eq!(found, by_latest_signs(&list));
        prop_assert_eq!(found, region_at(shuffled.iter().copied(), NOW_MS));
        let doubled = shuffled.iter().chain(shuffled.iter().take(again)).copied();
        prop_assert_eq!(found, region_at(doubled, NOW_MS));
        for cut in 0..list.len() {
            if region_at(list[..cut].iter().copied(), NOW_MS) == RegionClass::Eu {
                prop_assert_eq!(found, RegionClass::Eu);
            }
        }
    }

    /// Whatever the order and number of statements: one `Eu` makes it `Eu`, none at all leaves it unknown.
    #[test]
    fn statements_fail_closed(picks in prop::collection::vec((0usize..250, any::<bool>()), 0..6), claim in 0usize..3) {
        let countries = countries();
        let claim = [Region::Unspecified, Region::Eu, Region::Other][claim];
        let mut enricher = enricher();
        let mut together = RegionClass::from(claim);
        let mut any_eu = claim == Region::Eu;
        let mut any_other = claim == Region::Other;
        for (index, lower) in picks {
            let code = &countries[index].0;
            let said = if lower { code.to_lowercase() } else { code.clone() };
            let event = Event { kind: Kind::Sent, country: &said, region: claim, ..Event::default() };
            let found = enricher.enrich(&event);
            prop_assert_eq!(found.country, code.as_str());
            prop_assert_eq!(found.region_class == RegionClass::Eu, is_eu_eea_uk(code) || claim == Region::Eu);
            prop_assert_ne!(found.region_class, RegionClass::Unknown);
            together = found.region_class.and(together);
            any_eu |= is_eu_eea_uk(code);
            any_other |= !is_eu_eea_uk(code);
        }
        let wanted = match (any_eu, any_other) {
            (true, _) => RegionClass::Eu,
            (_, true) => RegionClass::Other,
            _ => RegionClass::Unknown,
        };
        prop_assert_eq!(together, wanted);
    }
}
