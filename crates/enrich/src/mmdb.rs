//! MaxMind DB files, whatever they hold.
//!
//! A file is read into memory whole and never mapped: a file that is replaced under a map ends the process.

use std::fmt;
use std::path::{Path, PathBuf};

use maxminddb::MaxMindDbError;

use crate::tables::{Asset, TableError};

/// A database in memory.
pub(crate) type Reader = maxminddb::Reader<Vec<u8>>;

/// How many files a set may have: one for both families, or one for each.
pub const FILES_MAX: usize = 2;

/// How many records are read to learn a file's shape, and that its records can be read at all.
pub(crate) const PROBED_RECORDS: usize = 1_000;

/// The largest that is published has under 1 GiB, and all of it has to be in memory.
const FILE_BYTES_MAX: u64 = 4 << 30;

/// An open database and what it is.
pub(crate) struct Database {
    pub reader: Reader,
    /// Type and build date.
    pub version: String,
    pub asset: Asset,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("version", &self.version).finish()
    }
}

/// Opens each of the files.
pub(crate) fn all<T>(
    files: &[PathBuf],
    what: &'static str,
    open: impl Fn(&PathBuf) -> Result<T, TableError>,
) -> Result<Vec<T>, TableError> {
    match files.len() {
        0..=FILES_MAX => files.iter().map(open).collect(),
        found => Err(TableError::TooMany { what, found }),
    }
}

/// Reads a file whole and lets `probe` say whether its records have the `expected` keys. `what` it is for.
pub(crate) fn open(
    file: &Path,
    what: &'static str,
    expected: &'static str,
    probe: impl FnOnce(&Reader) -> Result<bool, MaxMindDbError>,
) -> Result<Database, TableError> {
    let unreadable = |source| TableError::Read { what, file: file.to_owned(), source };
    let bytes = std::fs::metadata(file).map_err(unreadable)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(TableError::TooLarge { file: file.to_owned(), bytes, bytes_max: FILE_BYTES_MAX });
    }
    let wrong = |source| TableError::Format { what, file: file.to_owned(), source: Box::new(source) };
    let reader = Reader::from_source(std::fs::read(file).map_err(unreadable)?).map_err(wrong)?;
    let holds = probe(&reader).map_err(wrong)?;
    let metadata = reader.metadata();
    if !holds {
        let found = metadata.database_type.clone();
        return Err(TableError::Content { what, file: file.to_owned(), found, expected });
    }
    let date = date(metadata.build_epoch);
    let (source, licence) = publisher(&metadata.database_type);
    let asset = Asset {
        name: what.to_owned(),
        file: Some(file.to_owned()),
        source: format!("{} ({source})", metadata.database_type),
        licence: licence.to_owned(),
        date: date.clone(),
        entries: u64::from(metadata.node_count),
        bytes,
    };
    let version = format!("{} {date}", metadata.database_type);
    Ok(Database { version, asset, reader })
}

/// Who publishes a type of database, and under which terms: the file itself does not say.
fn publisher(database_type: &str) -> (&'static str, &'static str) {
    match database_type {
        t if t.starts_with("DBIP-") => {
            ("DB-IP, https://db-ip.com", "CC-BY-4.0 for the lite ones: name DB-IP")
        }
        t if t.starts_with("GeoLite2-") => ("MaxMind", "GeoLite2 End User License Agreement"),
        t if t.starts_with("GeoIP2-") => ("MaxMind", "MaxMind's commercial terms"),
        _ => ("its publisher is not in the file", "not in the file: see where it was taken from"),
    }
}

/// The build date, as `2026-06-05`; the number itself if it is no time.
fn date(epoch: u64) -> String {
    let time = i64::try_from(epoch).ok().and_then(|epoch| jiff::Timestamp::from_second(epoch).ok());
    time.map_or_else(|| epoch.to_string(), |time| time.strftime("%Y-%m-%d").to_string())
}
