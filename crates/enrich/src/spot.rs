//! Places as enrichment uses them, remembered by record.
//!
//! A database holds one record for all networks of a place, so that some thousand remembered records answer for
//! most visits; reading one, finding its zone and the zone's rules is most of the cost of an event.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::tz::TimeZone;
use quick_cache::unsync::Cache;

use crate::place::{GeoDatabases, Place, RecordId};
use crate::zone::{self, Country};

/// How many records one enricher remembers, at some 300 bytes each.
const REMEMBERED_RECORDS: usize = 16_384;

/// A place with its country and its zone's rules looked up.
#[derive(Debug)]
pub(crate) struct Spot {
    pub country: Option<&'static Country>,
    pub region: Box<str>,
    pub city: Box<str>,
    pub latitude: f32,
    pub longitude: f32,
    pub accuracy_km: u16,
    /// From the record, else from the coordinates, else the country's only one.
    pub zone: Zone,
    /// The country's only zone.
    pub country_zone: Zone,
    pub version: Box<str>,
}

/// A time zone: empty, or of a name whose rules are known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Zone {
    pub name: Box<str>,
    pub rules: Option<TimeZone>,
}

impl Zone {
    /// The first of `names` whose rules are known.
    pub fn first_known<'a>(names: impl IntoIterator<Item = &'a str>) -> Zone {
        let known = |name: &str| Some(Zone { rules: Some(zone::rules(name)?), name: name.into() });
        names.into_iter().find_map(known).unwrap_or_default()
    }
}

impl Spot {
    pub(crate) fn new(place: Place<'_>) -> Spot {
        let country = zone::country(place.country);
        let only = country.map_or("", |country| country.zone);
        let by_coordinates =
            if place.latitude.is_nan() { "" } else { zone::at(place.latitude, place.longitude) };
        Spot {
            country,
            region: place.region.into(),
            city: place.city.into(),
            latitude: place.latitude,
            longitude: place.longitude,
            accuracy_km: place.accuracy_km,
            zone: Zone::first_known([place.time_zone, by_coordinates, only]),
            country_zone: Zone::first_known([only]),
            version: place.version.into(),
        }
    }
}

/// The remembered records, whichever set of databases they are of: an old set's make room by themselves.
pub(crate) struct Spots {
    cache: Cache<RecordId, Option<Arc<Spot>>>,
}

impl Spots {
    pub fn new() -> Spots {
        Spots { cache: Cache::new(REMEMBERED_RECORDS) }
    }

    /// Where an address is. A record that cannot be read is no answer.
    pub fn find(&mut self, places: &GeoDatabases, address: IpAddr) -> Option<Arc<Spot>> {
        let found = places.record(address)?;
        if let Some(spot) = self.cache.get(&found.id) {
            return spot.clone();
        }
        let spot = found.place().map(|place| Arc::new(Spot::new(place)));
        self.cache.insert(found.id, spot.clone());
        spot
    }
}
