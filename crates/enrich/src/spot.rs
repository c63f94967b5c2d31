//! Places as enrichment uses them, remembered by record.
//!
//! A database holds one record for all networks of a place, so that some thousand remembered records answer for
//! most visits; reading one, finding its zone and the zone's rules is most of the cost of an event.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;
use jiff::tz::TimeZone;
use quick_cache::UnitWeighter;
use quick_cache::unsync::{Cache, DefaultLifecycle};

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
    /// As near as the accuracy bears, and no nearer.
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
        let by_coordinates = match is_narrow(&place) {
            true => zone::at(place.latitude, place.longitude),
            false => "",
        };
        Spot {
            country,
            region: place.region.into(),
            city: place.city.into(),
            latitude: rounded(place.latitude, place.accuracy_km),
            longitude: rounded(place.longitude, place.accuracy_km),
            accuracy_km: place.accuracy_km,
            zone: Zone::first_known([place.time_zone, by_coordinates, only]),
            country_zone: Zone::first_known([only]),
            version: place.version.into(),
        }
    }
}

/// How far around its coordinates a place may lie for them to name a time zone.
const ZONE_ACCURACY_KM_MAX: u16 = 250;

/// Whether the coordinates are of a place. Those of a record that knows a country only are its middle: in Kansas, for
/// the United States, and in its time zone.
fn is_narrow(place: &Place<'_>) -> bool {
    let near = (1..=ZONE_ACCURACY_KM_MAX).contains(&place.accuracy_km);
    !place.latitude.is_nan() && (near || !place.city.is_empty() || !place.region.is_empty())
}

/// Degrees to as many places as a radius bears: a hundredth is about a kilometre, a tenth eleven. Databases that say no
/// radius are of cities, which have no more than a hundredth to them.
fn rounded(degrees: f32, accuracy_km: u16) -> f32 {
    let parts: f64 = match accuracy_km {
        0..10 => 100.0,
        10..100 => 10.0,
        100.. => 1.0,
    };
    ((f64::from(degrees) * parts).round() / parts) as f32
}

/// How many addresses one enricher remembers, at some 100 bytes each. Proxies, offices and readers come again.
const REMEMBERED_ADDRESSES: usize = 16_384;

/// The remembered records, and the addresses that led to them, whichever set of databases they are of: an old set's
/// make room by themselves.
pub(crate) struct Spots {
    /// The way to a record leads through up to 128 steps of a tree: half of what a remembered place costs.
    by_address: Remembered<(u64, IpAddr)>,
    by_record: Remembered<RecordId>,
}

type Remembered<K> = Cache<K, Option<Arc<Spot>>, UnitWeighter, RandomState>;

fn remembered<K: Eq + Hash>(items: usize) -> Remembered<K> {
    Cache::with(items, items as u64, UnitWeighter, RandomState::default(), DefaultLifecycle::default())
}

impl Spots {
    pub fn new() -> Spots {
        Spots { by_address: remembered(REMEMBERED_ADDRESSES), by_record: remembered(REMEMBERED_RECORDS) }
    }

    /// Where an address is. A record that cannot be read is no answer.
    pub fn find(&mut self, places: &GeoDatabases, address: IpAddr) -> Option<Arc<Spot>> {
        let key = (places.set(), address);
        if let Some(spot) = self.by_address.get(&key) {
            return spot.clone();
        }
        let spot = places.record(address).and_then(|found| {
            if let Some(spot) = self.by_record.get(&found.id) {
                return spot.clone();
            }
            let spot = found.place().map(|place| Arc::new(Spot::new(place)));
            self.by_record.insert(found.id, spot.clone());
            spot
        });
        self.by_address.insert(key, spot.clone());
        spot
    }
}
