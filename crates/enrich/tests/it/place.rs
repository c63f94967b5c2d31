//! Place databases: all answers of MaxMind's test files, both shapes, all the ways to be wrong.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};

use enrich::{Enricher, GeoDatabases, Networks, Place, RegionClass, TableError, Tables, Trust};
use event::{Event, Kind};
use ipnet::{IpNet, Ipv6Net};
use proptest::prelude::*;
use serde_json::Value as Json;

use crate::mmdb::{Value, flat, float, write};
use crate::{file, ip_bytes};

fn find<'a>(places: &'a GeoDatabases, address: &str) -> Option<Place<'a>> {
    places.find(address.parse::<IpAddr>().unwrap())
}

/// The networks of a test database's source with their records, IPv4 written as IPv6 (`::a.b.c.d`), as the trees have it.
struct Source {
    networks: Vec<(Ipv6Net, Json)>,
}

impl Source {
    fn read(name: &str) -> Source {
        let text = std::fs::read_to_string(file(&format!("data/maxmind/{name}.json"))).unwrap();
        let source: Vec<serde_json::Map<String, Json>> = serde_json::from_str(&text).unwrap();
        let wide = |net: IpNet| match net {
            IpNet::V4(net) => {
                Ipv6Net::new(u128::from(net.addr().to_bits()).into(), 96 + net.prefix_len()).unwrap()
            }
            IpNet::V6(net) => net,
        };
        let record = |(net, record): (String, Json)| (wide(net.parse().unwrap()), record);
        Source { networks: source.into_iter().flatten().map(record).collect() }
    }

    /// The first and the last address of every network, in each form in which a visitor may have it, with the record
    /// of the narrowest network around it.
    fn answers(&self) -> impl Iterator<Item = (IpAddr, &Json)> {
        let ends = self.networks.iter().flat_map(|(net, _)| [net.network(), net.broadcast()]);
        ends.flat_map(|address| {
            let around = self.networks.iter().filter(move |(net, _)| net.contains(&address));
            let record = &around.max_by_key(|(net, _)| net.prefix_len()).unwrap().1;
            let v4 = u32::try_from(address.to_bits()).ok().map(Ipv4Addr::from_bits);
            let mapped = v4.map(|v4| v4.to_ipv6_mapped().into());
            [Some(address.into()), v4.map(IpAddr::from), mapped]
                .into_iter()
                .flatten()
                .map(move |a| (a, record))
        })
    }
}

/// The databases with places that have a source.
const PLACES: [&str; 6] = [
    "GeoIP2-City-Test",
    "GeoLite2-City-Test",
    "GeoIP2-Country-Test",
    "GeoLite2-Country-Test",
    "GeoIP2-Enterprise-Test",
    "GeoIP2-Precision-Enterprise-Test",
];

fn text<'a>(record: &'a Json, path: &str) -> &'a str {
    record.pointer(path).and_then(Json::as_str).unwrap_or("")
}

fn degrees(record: &Json, path: &str) -> Option<f32> {
    record.pointer(path).and_then(Json::as_f64).map(|n| n as f32)
}

fn accuracy(record: &Json) -> u64 {
    record.pointer("/location/accuracy_radius").and_then(Json::as_u64).unwrap_or(0)
}

#[test]
fn every_answer_of_the_test_databases() {
    let mut asked = Vec::new();
    for name in PLACES {
        let places = GeoDatabases::load(&[file(&format!("data/maxmind/{name}.mmdb"))]).unwrap();
        let source = Source::read(name);
        let mut count = 0;
        for (address, record) in source.answers() {
            let Some(found) = places.find(address) else { panic!("{name} {address}: no place") };
            let wanted = Place {
                country: text(record, "/country/iso_code"),
                region: text(record, "/subdivisions/0/names/en"),
                city: text(record, "/city/names/en"),
                latitude: degrees(record, "/location/latitude").unwrap_or(f32::NAN),
                longitude: degrees(record, "/location/longitude").unwrap_or(f32::NAN),
                accuracy_km: accuracy(record).try_into().unwrap(),
                time_zone: text(record, "/location/time_zone"),
                version: found.version,
            };
            // As texts: NaN is no number's equal.
            assert_eq!(format!("{found:?}"), format!("{wanted:?}"), "{name} {address}");
            assert!(found.version.starts_with(name.strip_suffix("-Test").unwrap()), "{}", found.version);
            count += 1;
        }
        asked.push(count);
    }
    // As many as the sources have: none was passed over.
    assert_eq!(asked, [586, 532, 766, 544, 188, 342]);
}

/// What is stored of them: through the enricher, from an address that is in no known network.
#[test]
fn every_answer_is_stored_as_far_as_it_bears() {
    let networks = Networks::built_in();
    let at_ms = 1_753_878_600_000;
    let mut stored = 0;
    for name in PLACES {
        let tables = Tables::load(&[file(&format!("data/maxmind/{name}.mmdb"))]).unwrap();
        let mut enricher = Enricher::new(Arc::new(tables));
        for (address, record) in Source::read(name).answers().filter(|(a, _)| networks.find(*a).is_none()) {
            let client_ip = ip_bytes(&address.to_string());
            let event = Event {
                kind: Kind::Open,
                user_agent: "Outlook-iOS/2.0",
                client_ip: &client_ip,
                received_at_ms: at_ms,
                ..Event::default()
            };
            let found = enricher.enrich(&event);
            let country = text(record, "/country/iso_code");
            assert_eq!(found.country, country, "{name} {address}");
            assert_eq!(found.region, text(record, "/subdivisions/0/names/en"), "{name} {address}");
            assert_eq!(found.city, text(record, "/city/names/en"), "{name} {address}");
            assert_eq!(u64::from(found.accuracy_km), accuracy(record), "{name} {address}");
            for (stored, path) in
                [(found.latitude, "/location/latitude"), (found.longitude, "/location/longitude")]
            {
                let wanted = degrees(record, path).unwrap_or(f32::NAN);
                assert_eq!(stored.is_nan(), wanted.is_nan(), "{name} {address}");
                let decimals = if accuracy(record) < 10 {
                    2
                } else if accuracy(record) < 100 {
                    1
                } else {
                    0
                };
                let shown = format!("{stored}");
                let written = shown.split_once('.').map_or(0, |(_, decimals)| decimals.len());
                assert!(written <= decimals, "{name} {address}: {shown}");
                let unit = 0.1f32.powi(decimals as i32);
                assert!(
                    stored.is_nan() || (stored - wanted).abs() <= unit * 0.5001,
                    "{name} {address}: {shown}"
                );
            }
            assert_eq!(found.geo_trust, Trust::High, "{name} {address}");
            assert_eq!(found.region_class, RegionClass::of_country(country), "{name} {address}");
            let said = text(record, "/location/time_zone");
            if !said.is_empty() {
                assert_eq!(found.time_zone, said, "{name} {address}");
            }
            let local = jiff::tz::TimeZoneDatabase::bundled().get(found.time_zone).ok().map(|zone| {
                let at = zone.to_datetime(jiff::Timestamp::from_millisecond(at_ms).unwrap());
                (at.hour() as u8, at.weekday().to_monday_one_offset() as u8)
            });
            assert_eq!(found.local_hour.zip(found.local_weekday), local, "{name} {address}");
            stored += 1;
        }
    }
    assert!(stored > 2_800, "{stored} of 2,958 are in no known network");
}

#[test]
fn every_number_of_the_asn_test_database() {
    let networks = Networks::load(None, &[file("data/maxmind/GeoLite2-ASN-Test.mmdb")]).unwrap();
    let source = Source::read("GeoLite2-ASN-Test");
    let mut asked = 0;
    for (address, record) in source.answers() {
        let wanted = record["autonomous_system_number"].as_u64().map(|n| n as u32);
        assert_eq!(networks.asn(address), wanted, "{address}");
        asked += 1;
    }
    assert_eq!(asked, 3_400);
}

/// A database without time zones, made of MaxMind's coordinates, has MaxMind's time zones from them.
#[test]
fn zones_from_coordinates_are_those_that_the_database_leaves_out() {
    let mut points = BTreeMap::new();
    let sources: Vec<Source> = PLACES.map(Source::read).into();
    for (_, record) in sources.iter().flat_map(|source| &source.networks) {
        let number = |path: &str| record.pointer(path).and_then(Json::as_f64);
        let place = number("/location/latitude").zip(number("/location/longitude"));
        let (Some((north, east)), zone) = (place, text(record, "/location/time_zone")) else { continue };
        if !zone.is_empty() {
            points.insert(format!("{north} {east}"), (north, east, text(record, "/country/iso_code"), zone));
        }
    }
    // Memory of a test, given up so that its texts live as long as those of the other tests.
    let still = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
    let address = |n: usize| Ipv4Addr::from_bits((203 << 24) + n as u32);
    let rows: Vec<(&str, Value)> = points
        .values()
        .enumerate()
        .map(|(n, (north, east, country, _))| {
            let net = still(&format!("{}/32", address(n)));
            (net, flat(still(country), "Some City", (*north, *east), Value::Double))
        })
        .collect();
    let tables = Tables::load(&[write("zones", "city ipv4", 4, &rows)]).unwrap();
    let mut enricher = Enricher::new(Arc::new(tables));
    let mut wrong = Vec::new();
    for (n, (_, _, country, zone)) in points.values().enumerate() {
        let client_ip = address(n).octets();
        let event = Event {
            kind: Kind::Open,
            user_agent: "Outlook-iOS/2.0",
            client_ip: &client_ip,
            ..Event::default()
        };
        let found = enricher.enrich(&event);
        if found.time_zone != *zone {
            wrong.push(format!("{country} {zone}: {}", found.time_zone));
        }
    }
    // An old name of the same clock, and a row that puts Liechtenstein's zone on a point in Germany.
    assert_eq!(wrong, ["CN Asia/Harbin: Asia/Shanghai", " Europe/Vaduz: Europe/Berlin"]);
    assert_eq!(points.len(), 79);
}

#[test]
fn a_country_without_more_has_no_zone_from_its_middle() {
    let middle = (37.751, -97.822);
    let of = |name: &str, record: Value| {
        let path = write(name, "DBIP-City-Lite", 4, &[("203.0.113.0/24", record)]);
        let mut enricher = Enricher::new(Arc::new(Tables::load(&[path]).unwrap()));
        let event = Event {
            kind: Kind::Open,
            user_agent: "Outlook-iOS/2.0",
            client_ip: &[203, 0, 113, 9],
            ..Event::default()
        };
        let found = enricher.enrich(&event);
        (found.country.to_owned(), found.time_zone.to_owned(), found.latitude, found.longitude)
    };
    let nested = |country: &'static str, accuracy_km: u16| {
        Value::Map(vec![
            ("country", Value::Map(vec![("iso_code", Value::Text(country))])),
            (
                "location",
                Value::Map(vec![
                    ("latitude", Value::Double(middle.0)),
                    ("longitude", Value::Double(middle.1)),
                    ("accuracy_radius", Value::U16(accuracy_km)),
                ]),
            ),
        ])
    };
    assert_eq!(of("middle", nested("US", 1000)), ("US".into(), String::new(), 38.0, -98.0));
    assert_eq!(of("middle-near", nested("US", 20)), ("US".into(), "America/Chicago".into(), 37.8, -97.8));
    // A country with one zone needs no coordinates.
    assert_eq!(of("middle-one", nested("GB", 1000)).1, "Europe/London");
    assert_eq!(of("middle-city", flat("US", "Wichita", middle, float)).1, "America/Chicago");
}

#[test]
fn the_version_names_type_and_date() {
    let places = GeoDatabases::load(&[file("data/maxmind/GeoIP2-City-Test.mmdb")]).unwrap();
    let version = find(&places, "81.2.69.160").unwrap().version;
    let date = version.strip_prefix("GeoIP2-City ").unwrap();
    assert_eq!((date.len(), date.matches('-').count()), (10, 2), "{version}");
}

#[test]
fn flat_records_in_every_number_form() {
    type Number = fn(f64) -> Value;
    let forms: [(&str, Number); 3] = [
        ("float", float),
        ("double", Value::Double),
        ("text", |n| Value::Text(if n > 0.0 { "51.5143" } else { "-0.0912" })),
    ];
    for (name, number) in forms {
        let record = flat("GB", "London", (51.5143, -0.0912), number);
        let path = write(&format!("flat-{name}"), "city ipv4", 4, &[("203.0.113.0/24", record)]);
        let places = GeoDatabases::load(&[path]).unwrap();
        let found = find(&places, "203.0.113.9").unwrap();
        assert_eq!((found.country, found.region, found.city), ("GB", "First Level", "London"), "{name}");
        assert_eq!((found.latitude, found.longitude), (51.5143, -0.0912), "{name}");
        assert_eq!(found.version, "city ipv4 2026-06-05");
        assert_eq!(find(&places, "::ffff:203.0.113.9").map(|place| place.city), Some("London"));
        assert_eq!(find(&places, "198.51.100.1"), None, "{name}: not in the file");
        assert_eq!(find(&places, "2001:db8::1"), None, "{name}: IPv6 in a file for IPv4");
    }
}

#[test]
fn two_files_answer_for_both_families() {
    let v4 =
        write("pair-v4", "city ipv4", 4, &[("203.0.113.0/24", flat("GB", "London", (51.5, -0.1), float))]);
    let v6 = write("pair-v6", "city ipv6", 6, &[("2001:db8::/32", flat("FR", "Paris", (48.9, 2.4), float))]);
    for files in [[v4.clone(), v6.clone()], [v6, v4]] {
        let places = GeoDatabases::load(&files).unwrap();
        assert_eq!(find(&places, "203.0.113.9").unwrap().version, "city ipv4 2026-06-05");
        assert_eq!(find(&places, "203.0.113.9").unwrap().city, "London");
        assert_eq!(find(&places, "2001:db8::1").unwrap().city, "Paris");
        assert_eq!(find(&places, "2001:db9::1"), None);
    }
}

#[test]
fn coordinates_outside_the_globe_are_none() {
    let record = flat("GB", "London", (512.0, 0.1), float);
    let path = write("off-globe", "city ipv4", 4, &[("203.0.113.0/24", record)]);
    let places = GeoDatabases::load(&[path]).unwrap();
    let found = find(&places, "203.0.113.9").unwrap();
    assert!(found.latitude.is_nan() && found.longitude.is_nan());
    assert_eq!(found.city, "London");
}

#[test]
fn a_wrong_file_stops_the_start_and_is_named() {
    let empty = file("data/maxmind/LICENSE").with_file_name("no-such.mmdb");
    let nothing = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("nothing.mmdb");
    std::fs::write(&nothing, b"").unwrap();
    let records = write("no-records", "city ipv4", 4, &[]);
    let asn = file("data/maxmind/GeoLite2-ASN-Test.mmdb");
    let text = file("data/maxmind/LICENSE");
    let double = file("data/maxmind/GeoIP2-City-Test-Broken-Double-Format.mmdb");
    let count = file("data/maxmind/GeoIP2-City-Test-Invalid-Node-Count.mmdb");
    let pointers = file("data/maxmind/MaxMind-DB-test-broken-pointers-24.mmdb");
    for (path, wanted) in [
        (empty, "failed to read"),
        (nothing, "failed to open"),
        (text, "failed to open"),
        (double, "failed to open"),
        (count, "failed to open"),
        (pointers, "failed to open"),
        (asn, "database: expected `country`"),
        (records, "database: expected `country`"),
    ] {
        let error = Tables::load(std::slice::from_ref(&path)).expect_err(&path.display().to_string());
        let text = error.to_string();
        assert!(text.contains(wanted), "{text}");
        assert!(text.contains(path.file_name().unwrap().to_str().unwrap()), "{text}");
        assert!(text.contains("expected"), "{text}");
        let has_cause = !matches!(error, TableError::Content { .. });
        assert_eq!(error.source().is_some(), has_cause, "{text}");
    }
    let three = vec![file("data/maxmind/GeoIP2-City-Test.mmdb"); 3];
    assert!(matches!(Tables::load(&three), Err(TableError::TooMany { found: 3, .. })));
}

#[test]
fn newer_tables_answer_at_once() {
    // The record stands at the same place in both files: what was remembered of the old one must be forgotten.
    let table = |name: &str, country, city| {
        let file =
            write(name, "city ipv4", 4, &[("203.0.113.0/24", flat(country, city, (51.5, -0.1), float))]);
        Arc::new(Tables::load(&[file]).unwrap())
    };
    let event = Event {
        kind: Kind::Open,
        user_agent: "Outlook-iOS/2.0",
        client_ip: &[203, 0, 113, 9],
        ..Event::default()
    };
    let mut enricher = Enricher::new(table("older", "GB", "Old Town"));
    assert_eq!(enricher.enrich(&event).city, "Old Town");
    enricher.set_tables(table("newer", "GB", "New Town"));
    assert_eq!(enricher.enrich(&event).city, "New Town");
}

proptest! {
    /// Bits that went wrong on a disk: refused, or some answers are wrong or missing. Never the end of the program.
    #[test]
    fn a_damaged_file_ends_nothing(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12), cut in any::<Option<prop::sample::Index>>()
    ) {
        let mut bytes = std::fs::read(file("data/maxmind/GeoIP2-City-Test.mmdb")).unwrap();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut.filter(|cut| cut.index(4) == 0) {
            bytes.truncate(cut.index(bytes.len()));
        }
        let path = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("damaged.mmdb");
        std::fs::write(&path, bytes).unwrap();
        if let Ok(places) = GeoDatabases::load(&[path]) {
            for address in addresses() {
                let _ = places.find(*address);
            }
        }
    }
}

fn addresses() -> &'static [IpAddr] {
    static ADDRESSES: OnceLock<Vec<IpAddr>> = OnceLock::new();
    ADDRESSES.get_or_init(|| Source::read("GeoIP2-City-Test").answers().map(|(address, _)| address).collect())
}
