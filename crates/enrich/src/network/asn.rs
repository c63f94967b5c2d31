//! ASN databases: whose network an address is in, where no list has it.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use crate::mmdb::{self, Database};
use crate::tables::{Asset, TableError};

/// One database for both families, or one for each: MaxMind's GeoLite2 ASN, DB-IP's ASN lite, ip-location-db's.
/// All have the same two keys.
#[derive(Debug)]
pub(crate) struct AsnDatabases {
    databases: Vec<Database>,
    owners: HashMap<u32, u8>,
}

impl AsnDatabases {
    /// Reads the files whole. `owners` says what the numbers are.
    pub fn load(files: &[PathBuf], owners: HashMap<u32, u8>) -> Result<AsnDatabases, TableError> {
        let open = |file: &PathBuf| mmdb::open(file, "asn", "`autonomous_system_number`", probe);
        let databases = mmdb::all(files, "asn", open)?;
        Ok(AsnDatabases { databases, owners })
    }

    /// What the network of an address is, if its number is a vendor's.
    pub fn find(&self, address: IpAddr) -> Option<u8> {
        let number = self.number(address)?;
        self.owners.get(&number).copied()
    }

    /// The number, from the first database that has one. A record that cannot be read is no answer.
    pub fn number(&self, address: IpAddr) -> Option<u32> {
        let address = address.to_canonical();
        let number = |database: &Database| {
            let record: Record = database.reader.lookup(address).ok()?.decode().ok()??;
            (record.autonomous_system_number.0 != 0).then_some(record.autonomous_system_number.0)
        };
        self.databases.iter().find_map(number)
    }

    pub fn assets(&self) -> impl Iterator<Item = &Asset> {
        self.databases.iter().map(|database| &database.asset)
    }
}

/// Whether the records have numbers.
fn probe(reader: &mmdb::Reader) -> Result<bool, maxminddb::MaxMindDbError> {
    let mut numbers = false;
    for found in reader.networks(Default::default())?.take(mmdb::PROBED_RECORDS) {
        let record: Option<Record> = found?.decode()?;
        numbers |= record.is_some_and(|record| record.autonomous_system_number.0 != 0);
    }
    Ok(numbers)
}

#[derive(Deserialize, Default)]
struct Record {
    #[serde(default)]
    autonomous_system_number: Number,
}

/// A number of any width, or a text as files made from CSV have it.
#[derive(Default)]
struct Number(u32);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Number, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("the number of an autonomous system")
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Number, E> {
                u32::try_from(n).map(Number).map_err(|_| E::custom("a number beyond 32 bits"))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                let digits = text.strip_prefix("AS").unwrap_or(text);
                match digits.is_empty() {
                    true => Ok(Number(0)),
                    false => digits.parse().map(Number).map_err(|_| E::custom("a text that is no number")),
                }
            }
        }
        from.deserialize_any(Any)
    }
}
