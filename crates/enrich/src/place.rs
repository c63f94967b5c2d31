//! Place databases: MaxMind DB files in the two shapes that are in use.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use maxminddb::{LookupResult, MaxMindDbError};
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::mmdb::{self, PROBED_RECORDS, Reader};
use crate::tables::{Asset, TableError};

/// What a database says of an address. Texts are empty and coordinates `NaN` where it says nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place<'a> {
    /// ISO 3166-1 alpha-2.
    pub country: &'a str,
    /// The largest part of the country, by its English name.
    pub region: &'a str,
    /// The city, by its English name.
    pub city: &'a str,
    /// Degrees north.
    pub latitude: f32,
    /// Degrees east.
    pub longitude: f32,
    /// The radius that the place lies in with some sureness; 0 when not said.
    pub accuracy_km: u16,
    /// IANA name.
    pub time_zone: &'a str,
    /// The type and the build date of the database that answered.
    pub version: &'a str,
}

/// One place database or two.
#[derive(Debug)]
pub struct GeoDatabases {
    databases: Vec<Database>,
    /// Another one for each load in this process: records are remembered by it.
    set: u64,
}

static SETS: AtomicU64 = AtomicU64::new(0);

impl GeoDatabases {
    /// Reads the files whole.
    ///
    /// # Errors
    /// When a file cannot be read or holds no places.
    pub fn load(files: &[PathBuf]) -> Result<GeoDatabases, TableError> {
        let databases = mmdb::all(files, "geo", |file| Database::load(file))?;
        Ok(GeoDatabases { databases, set: SETS.fetch_add(1, Ordering::Relaxed) })
    }

    /// The place of an address, from the first database that has it. A record that cannot be read is no answer.
    pub fn find(&self, address: IpAddr) -> Option<Place<'_>> {
        self.record(address)?.place()
    }

    /// What the databases are and where they came from.
    pub fn assets(&self) -> impl Iterator<Item = &Asset> {
        self.databases.iter().map(|database| &database.file.asset)
    }

    /// A number that no other set of databases in this process has.
    pub(crate) fn set(&self) -> u64 {
        self.set
    }

    /// The record of an address, from the first database that has one.
    pub(crate) fn record(&self, address: IpAddr) -> Option<Record<'_>> {
        let address = address.to_canonical();
        self.databases.iter().enumerate().find_map(|(index, database)| {
            // A database for IPv4 refuses an IPv6 address with an error.
            let found = database.file.reader.lookup(address).ok()?;
            let id = RecordId { set: self.set, database: index, offset: found.offset()? };
            Some(Record { id, database, found })
        })
    }
}

/// Names a record. All networks that share a record have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RecordId {
    set: u64,
    database: usize,
    offset: usize,
}

/// A record that was found and not yet read.
pub(crate) struct Record<'a> {
    pub id: RecordId,
    database: &'a Database,
    found: LookupResult<'a, Vec<u8>>,
}

impl<'a> Record<'a> {
    /// Reads it.
    pub fn place(&self) -> Option<Place<'a>> {
        let place = match self.database.shape {
            Shape::Nested => self.found.decode::<Nested>().ok()??.place(),
            Shape::Flat => self.found.decode::<Flat>().ok()??.place(),
        };
        Some(Place { version: &self.database.file.version, ..place })
    }
}

#[derive(Debug)]
struct Database {
    file: mmdb::Database,
    shape: Shape,
}

/// How a record is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Maps in a map, as MaxMind and DB-IP publish them.
    Nested,
    /// One map of texts and numbers, as ip-location-db publishes them.
    Flat,
}

impl Database {
    fn load(file: &Path) -> Result<Database, TableError> {
        let mut shape = None;
        let file = mmdb::open(file, "geo", "`country` or `country_code`", |reader| {
            shape = shape_of(reader)?;
            Ok(shape.is_some())
        })?;
        Ok(Database { file, shape: shape.expect("opened by it") })
    }
}

/// Learns the shape from the first record that shows it. The type in the metadata does not tell: `city` is flat in
/// one publisher's files and nested in another's.
fn shape_of(reader: &Reader) -> Result<Option<Shape>, MaxMindDbError> {
    let mut shape = None;
    for found in reader.networks(Default::default())?.take(PROBED_RECORDS) {
        let found = found?;
        if shape.is_none() {
            let keys: Keys = found.decode()?.unwrap_or_default();
            shape = match keys {
                Keys { country_code: true, .. } => Some(Shape::Flat),
                Keys { nested: true, .. } => Some(Shape::Nested),
                _ => None,
            };
        }
        match shape {
            Some(Shape::Nested) => {
                found.decode::<Nested>()?;
            }
            Some(Shape::Flat) => {
                found.decode::<Flat>()?;
            }
            None => {}
        }
    }
    Ok(shape)
}

/// Which of the telling keys a record has.
#[derive(Default)]
struct Keys {
    nested: bool,
    country_code: bool,
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Keys, D::Error> {
        struct Look;
        impl<'de> Visitor<'de> for Look {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Keys::default();
                while let Some(key) = map.next_key::<&str>()? {
                    keys.country_code |= key == "country_code";
                    keys.nested |= matches!(key, "country" | "registered_country" | "continent" | "location");
                    map.next_value::<IgnoredAny>()?;
                }
                Ok(keys)
            }
        }
        from.deserialize_map(Look)
    }
}

/// A record of a GeoIP2-shaped database, as far as it is used.
#[derive(Deserialize)]
struct Nested<'a> {
    #[serde(borrow, default)]
    country: Option<NestedCountry<'a>>,
    #[serde(borrow, default)]
    city: Option<Named<'a>>,
    #[serde(borrow, default, deserialize_with = "first")]
    subdivisions: Option<Named<'a>>,
    #[serde(borrow, default)]
    location: Option<Location<'a>>,
}

#[derive(Deserialize)]
struct NestedCountry<'a> {
    #[serde(borrow, default)]
    iso_code: &'a str,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, default)]
    names: Names<'a>,
}

#[derive(Deserialize, Default)]
struct Names<'a> {
    #[serde(borrow, default)]
    en: &'a str,
}

#[derive(Deserialize)]
struct Location<'a> {
    #[serde(default)]
    latitude: Degrees,
    #[serde(default)]
    longitude: Degrees,
    #[serde(default)]
    accuracy_radius: u16,
    #[serde(borrow, default)]
    time_zone: &'a str,
}

impl<'a> Nested<'a> {
    /// The country is that of the place. `registered_country`, where the owner of the network sits, is not asked.
    fn place(self) -> Place<'a> {
        let location = self.location.as_ref();
        let (latitude, longitude) = coordinates(
            location.map_or(Degrees::NONE, |l| l.latitude),
            location.map_or(Degrees::NONE, |l| l.longitude),
        );
        Place {
            country: self.country.map_or("", |country| country.iso_code),
            region: self.subdivisions.map_or("", |named| named.names.en),
            city: self.city.map_or("", |named| named.names.en),
            latitude,
            longitude,
            accuracy_km: location.map_or(0, |location| location.accuracy_radius),
            time_zone: location.map_or("", |location| location.time_zone),
            version: "",
        }
    }
}

/// A record of a flat database.
#[derive(Deserialize)]
struct Flat<'a> {
    #[serde(borrow, default)]
    country_code: &'a str,
    #[serde(borrow, default)]
    state1: &'a str,
    #[serde(borrow, default)]
    city: &'a str,
    #[serde(default)]
    latitude: Degrees,
    #[serde(default)]
    longitude: Degrees,
    #[serde(borrow, default)]
    timezone: &'a str,
}

impl<'a> Flat<'a> {
    fn place(self) -> Place<'a> {
        let (latitude, longitude) = coordinates(self.latitude, self.longitude);
        Place {
            country: self.country_code,
            region: self.state1,
            city: self.city,
            latitude,
            longitude,
            accuracy_km: 0,
            time_zone: self.timezone,
            version: "",
        }
    }
}

/// Both or none.
fn coordinates(latitude: Degrees, longitude: Degrees) -> (f32, f32) {
    let (latitude, longitude) = (latitude.0, longitude.0);
    if latitude.abs() <= 90.0 && longitude.abs() <= 180.0 {
        (latitude, longitude)
    } else {
        (f32::NAN, f32::NAN)
    }
}

/// A coordinate, stored as a float or a double or, in files made from CSV, as a text.
#[derive(Clone, Copy)]
struct Degrees(f32);

impl Degrees {
    const NONE: Degrees = Degrees(f32::NAN);
}

impl Default for Degrees {
    fn default() -> Degrees {
        Degrees::NONE
    }
}

impl<'de> Deserialize<'de> for Degrees {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Degrees, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Degrees;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("degrees as a float, a double or a text")
            }

            fn visit_f32<E: de::Error>(self, n: f32) -> Result<Degrees, E> {
                Ok(Degrees(n))
            }

            fn visit_f64<E: de::Error>(self, n: f64) -> Result<Degrees, E> {
                Ok(Degrees(n as f32))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Degrees, E> {
                if text.is_empty() {
                    return Ok(Degrees::NONE);
                }
                text.parse().map(Degrees).map_err(|_| E::custom("a text that is no number of degrees"))
            }
        }
        // Asking for a float of either width fails on the other one.
        from.deserialize_any(Number)
    }
}

/// The first element of a list.
fn first<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Named<'de>>, D::Error> {
    struct First;
    impl<'de> Visitor<'de> for First {
        type Value = Option<Named<'de>>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let first = list.next_element()?;
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(first)
        }
    }
    from.deserialize_seq(First)
}
