//! Enrichment against data with known answers: golden cases, public sets of user agents, test databases.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod agents;
mod golden;
mod mmdb;
mod network;
mod place;
mod region;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use enrich::{Enricher, Tables};

use mmdb::{flat, float};

/// A file under `tests/`.
fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)
}

/// The lines of a file under `tests/` that are not comments, each in its columns.
fn rows(path: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(file(path)).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// An enricher with MaxMind's test cities, and places for a few addresses of known networks.
fn enricher() -> Enricher {
    static TABLES: OnceLock<Arc<Tables>> = OnceLock::new();
    let load = || {
        let nowhere = (f64::NAN, f64::NAN);
        let known = [
            ("203.0.113.1/32", flat("US", "New York", (40.71, -74.01), float)),
            ("203.0.113.2/32", flat("JP", "", nowhere, float)),
            ("203.0.113.3/32", flat("US", "", nowhere, float)),
            ("203.0.113.4/32", flat("ZZ", "", nowhere, float)),
            ("66.249.84.1/32", flat("US", "Mountain View", (37.39, -122.08), float)),
            ("104.28.28.1/32", flat("DE", "Frankfurt", (50.11, 8.68), float)),
            ("104.28.28.2/32", flat("US", "Dallas", (32.78, -96.8), float)),
            ("40.92.3.4/32", flat("IE", "Dublin", (53.35, -6.26), float)),
            ("165.225.1.1/32", flat("JP", "Tokyo", (35.68, 139.69), float)),
        ];
        let known = mmdb::write("known-networks", "city ipv4", 4, &known);
        Arc::new(Tables::load(&[file("data/maxmind/GeoIP2-City-Test.mmdb"), known]).unwrap())
    };
    Enricher::new(Arc::clone(TABLES.get_or_init(load)))
}

/// The bytes of an address as an event carries them; none for `-`.
fn ip_bytes(text: &str) -> Vec<u8> {
    match text.parse() {
        Ok(std::net::IpAddr::V4(v4)) => v4.octets().to_vec(),
        Ok(std::net::IpAddr::V6(v6)) => v6.octets().to_vec(),
        Err(_) if text == "-" => Vec::new(),
        Err(e) => panic!("{text:?}: {e}"),
    }
}
