//! Place databases: all answers of MaxMind's test files, both shapes, all the ways to be wrong.

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;

use enrich::{Enricher, GeoDatabases, Place, TableError, Tables};
use event::{Event, Kind};
use ipnet::IpNet;
use serde_json::Value as Json;

use crate::file;
use crate::mmdb::{Value, flat, float, write};

fn find<'a>(places: &'a GeoDatabases, address: &str) -> Option<Place<'a>> {
    places.find(address.parse::<IpAddr>().unwrap())
}

/// Reads the source of a test database and asks for the first address of every network in it.
fn all_answers(name: &str) -> usize {
    let places = GeoDatabases::load(&[file(&format!("data/maxmind/{name}.mmdb"))]).unwrap();
    let source = std::fs::read_to_string(file(&format!("data/maxmind/{name}.json"))).unwrap();
    let source: Vec<serde_json::Map<String, Json>> = serde_json::from_str(&source).unwrap();
    let networks: Vec<(IpNet, &Json)> =
        source.iter().flatten().map(|(net, record)| (net.parse().unwrap(), record)).collect();
    for (net, _) in &networks {
        let address = net.network();
        let covering = networks.iter().filter(|(other, _)| other.contains(&address));
        let record = covering.max_by_key(|(other, _)| other.prefix_len()).unwrap().1;
        let text = |path: &str| record.pointer(path).and_then(Json::as_str).unwrap_or("");
        let degrees = |path: &str| record.pointer(path).and_then(Json::as_f64).map(|n| n as f32);
        let Some(found) = places.find(address) else { panic!("{name} {address}: no place") };
        assert_eq!(found.country, text("/country/iso_code"), "{name} {address}");
        assert_eq!(found.city, text("/city/names/en"), "{name} {address}");
        assert_eq!(found.region, text("/subdivisions/0/names/en"), "{name} {address}");
        assert_eq!(found.time_zone, text("/location/time_zone"), "{name} {address}");
        let accuracy = record.pointer("/location/accuracy_radius").and_then(Json::as_u64).unwrap_or(0);
        assert_eq!(u64::from(found.accuracy_km), accuracy, "{name} {address}");
        assert_eq!((!found.latitude.is_nan()).then_some(found.latitude), degrees("/location/latitude"));
        assert_eq!((!found.longitude.is_nan()).then_some(found.longitude), degrees("/location/longitude"));
    }
    networks.len()
}

#[test]
fn every_answer_of_the_test_databases() {
    let asked = all_answers("GeoIP2-City-Test") + all_answers("GeoLite2-City-Test");
    assert!(asked > 400, "{asked} networks were asked for");
}

#[test]
fn the_version_names_type_and_date() {
    let places = GeoDatabases::load(&[file("data/maxmind/GeoIP2-City-Test.mmdb")]).unwrap();
    let version = find(&places, "81.2.69.160").unwrap().version;
    let date = version.strip_prefix("GeoIP2-City ").unwrap();
    assert_eq!((date.len(), date.matches('-').count()), (10, 2), "{version}");
}

#[test]
fn a_country_database_gives_the_country() {
    let places = GeoDatabases::load(&[file("data/maxmind/GeoIP2-Country-Test.mmdb")]).unwrap();
    let found = find(&places, "81.2.69.160").unwrap();
    assert_eq!((found.country, found.city, found.time_zone), ("GB", "", ""));
    assert!(found.latitude.is_nan());
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
