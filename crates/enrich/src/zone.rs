//! The time zone of a place, and the local hour of an instant.
//!
//! Zones come from the place database, from coordinates ([`tzf_rs`], whose boundaries are OpenStreetMap's:
//! © OpenStreetMap contributors, Open Database License 1.0), or from a country that has one zone only. Their rules
//! are those compiled in: the same event has the same local hour on every machine.

use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use tzf_rs::DefaultFinder;

/// Parsing the boundaries takes some 60 ms and 32 MB: once for the process.
static BOUNDARIES: LazyLock<DefaultFinder> = LazyLock::new(DefaultFinder::new);

static RULES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A country of the built-in table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Country {
    /// ISO 3166-1 alpha-2.
    pub code: &'static str,
    /// Its time zone, when it has exactly one; else empty.
    pub zone: &'static str,
}

static COUNTRIES: LazyLock<Vec<Country>> = LazyLock::new(|| {
    let lines = include_str!("../data/countries.tsv").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('\t')).map(|(code, zone)| Country { code, zone }).collect()
});

/// Builds the tables that this module needs, so that no event waits for them.
pub(crate) fn prepare() {
    LazyLock::force(&BOUNDARIES);
    LazyLock::force(&RULES);
    LazyLock::force(&COUNTRIES);
}

/// A country by its code in any case.
pub(crate) fn country(code: &str) -> Option<&'static Country> {
    if !code.is_ascii() || code.len() != 2 {
        return None;
    }
    let bytes = code.as_bytes();
    let upper = [bytes[0].to_ascii_uppercase(), bytes[1].to_ascii_uppercase()];
    let index = COUNTRIES.binary_search_by(|country| country.code.as_bytes().cmp(&upper)).ok()?;
    Some(&COUNTRIES[index])
}

/// The zone at a place; empty where the boundaries have none.
pub(crate) fn at(latitude: f32, longitude: f32) -> &'static str {
    BOUNDARIES.get_tz_name(longitude.into(), latitude.into())
}

/// The rules of a zone, if its name is known.
pub(crate) fn rules(name: &str) -> Option<TimeZone> {
    if name.is_empty() { None } else { RULES.get(name).ok() }
}

/// The hour (0 to 23) and the ISO weekday (Monday is 1) of an instant in a zone.
pub(crate) fn local(at_ms: i64, zone: &TimeZone) -> Option<(u8, u8)> {
    let at = zone.to_datetime(Timestamp::from_millisecond(at_ms).ok()?);
    let hour = u8::try_from(at.hour()).ok()?;
    let weekday = u8::try_from(at.weekday().to_monday_one_offset()).ok()?;
    Some((hour, weekday))
}
