//! The rule for send times, over every country.

use enrich::{RegionClass, is_eu_eea_uk, is_eu_eea_uk_zone};
use event::{Event, Kind, Region};
use proptest::prelude::*;

use crate::enricher;

/// The whole list in one place, apart from the code's: a change to either must be made twice.
const BLOCKED: &str = "AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE \
    GF GP MQ RE YT MF AX IS LI NO GB GI IM JE GG";

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
    assert_eq!(wanted.len(), 42);
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

proptest! {
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
