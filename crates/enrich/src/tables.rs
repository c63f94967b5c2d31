//! What enrichment reads, where it comes from, and a newer set of it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use maxminddb::MaxMindDbError;

use crate::mmdb::FILES_MAX;
use crate::network::{self, Networks};
use crate::place::GeoDatabases;
use crate::{agent, zone};

/// What enrichment reads. Shared by all threads; a newer set is swapped in whole.
#[derive(Debug)]
pub struct Tables {
    /// Where addresses are; without one no event has a place, and only a `sent` event has a time zone.
    pub place: Option<Arc<GeoDatabases>>,
    /// Whose networks addresses are in.
    pub networks: Arc<Networks>,
    /// What their files looked like.
    stamps: Stamps,
}

/// The files that tables come from, beside what is built in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// Place databases: none, one, or one each for IPv4 and IPv6.
    pub geo_files: Vec<PathBuf>,
    /// Directory of lists of networks: a file replaces the built-in list of its name.
    pub networks_dir: Option<PathBuf>,
    /// ASN databases, as many as of places.
    pub asn_files: Vec<PathBuf>,
}

/// What files look like from outside: another size, time or inode is another content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamps {
    geo: Vec<Stamp>,
    networks: Vec<Stamp>,
}

/// A path, and of what is there: inode, size, time of change. `None` where nothing can be seen.
type Stamp = (PathBuf, Option<(u64, u64, SystemTime)>);

/// A list of networks, or a database, and where it came from. Texts are empty where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asset {
    /// Of a list its name, which is also the file's that replaces it; of a database `geo` or `asn`.
    pub name: String,
    /// The file; none when built in.
    pub file: Option<PathBuf>,
    /// Who publishes it, and as what.
    pub source: String,
    /// The terms under which it may be used.
    pub licence: String,
    /// The day it was published, as `2026-08-31`, or the month.
    pub date: String,
    /// Lines of a list, nodes of a database.
    pub entries: u64,
    /// Size.
    pub bytes: u64,
}

impl Asset {
    /// The start of the day, or month, that it was published on; none when it does not say.
    pub fn published(&self) -> Option<SystemTime> {
        let day = if self.date.len() == 7 { format!("{}-01", self.date) } else { self.date.clone() };
        let start = day.parse::<jiff::civil::Date>().ok()?.to_zoned_datetime(jiff::tz::TimeZone::UTC).ok()?;
        let seconds = u64::try_from(start.timestamp().as_second()).ok()?;
        Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds))
    }

    /// How many days old it may become, and why.
    pub fn days_max(&self) -> (u32, &'static str) {
        match self.name.as_str() {
            "geo" => (60, "addresses change hands: DB-IP and MaxMind publish monthly or more often"),
            "asn" => (90, "networks change hands"),
            "apple-egress.txt" => (
                90,
                "Apple moves its egress: opens from there that are missing in the list are only probably prefetches",
            ),
            "microsoft-eop.txt" | "barracuda.txt" => {
                (90, "scanners move: a scan from a network that is missing in the list may count as a person")
            }
            _ => (180, "networks change hands: a visit may be taken for another's"),
        }
    }
}

/// Why a table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file cannot be read.
    #[error("failed to read {what} file {}: expected a MaxMind DB file", file.display())]
    Read {
        /// What it is for.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no MaxMind DB, or a broken one.
    #[error("failed to open {what} file {}: expected a whole MaxMind DB", file.display())]
    Format {
        /// What it is for.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: Box<MaxMindDbError>,
    },
    /// The database holds something else.
    #[error("{what} file {} is a {found:?} database: expected {expected} in its records", file.display())]
    Content {
        /// What it is for.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// Its database type.
        found: String,
        /// The keys that were looked for.
        expected: &'static str,
    },
    /// Too many files are given.
    #[error("{found} {what} files are given: expected at most {FILES_MAX}, one for IPv4 and one for IPv6")]
    TooMany {
        /// What they are for.
        what: &'static str,
        /// How many.
        found: usize,
    },
    /// A file that cannot be meant.
    #[error("{} has {bytes} bytes: expected at most {bytes_max}", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// Its size.
        bytes: u64,
        /// The bound.
        bytes_max: u64,
    },
    /// The directory of lists cannot be read.
    #[error("failed to read directory {}: expected lists of networks in it", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A list cannot be read.
    #[error("failed to read list {}: expected lines of text", file.display())]
    ReadList {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A list has a line that is none.
    #[error("list {} line {line}: expected {expected}", file.display())]
    List {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// A file that replaces nothing.
    #[error("{} replaces no list: expected one of {}", file.display(), network::list_names())]
    NoSuchList {
        /// The file.
        file: PathBuf,
    },
}

impl Tables {
    /// Reads the place databases (none, one, or one each for IPv4 and IPv6) and builds the other tables.
    ///
    /// # Errors
    /// When a file cannot be read or holds no places. The error names the file and what was expected.
    pub fn load(geo_files: &[PathBuf]) -> Result<Tables, TableError> {
        Tables::read(&Sources { geo_files: geo_files.to_vec(), ..Sources::default() })
    }

    /// Reads all files and builds the tables.
    ///
    /// # Errors
    /// When a file is missing or broken. The error names the file and what was expected, of a list also the line.
    pub fn read(sources: &Sources) -> Result<Tables, TableError> {
        // Before they are read: what changes while it is read has another stamp afterwards.
        let stamps = sources.stamps();
        agent::prepare();
        zone::prepare();
        Ok(Tables { place: places(sources)?, networks: networks(sources)?, stamps })
    }

    /// A newer set: what changed by `stamps` is read anew, all else is shared with this one.
    ///
    /// # Errors
    /// As [`Tables::read`].
    pub fn newer(&self, sources: &Sources, stamps: Stamps) -> Result<Tables, TableError> {
        let place = match stamps.geo == self.stamps.geo {
            true => self.place.clone(),
            false => places(sources)?,
        };
        let networks = match stamps.networks == self.stamps.networks {
            true => self.networks.clone(),
            false => networks(sources)?,
        };
        Ok(Tables { place, networks, stamps })
    }

    /// What the files looked like before they were read.
    pub fn stamps(&self) -> &Stamps {
        &self.stamps
    }

    /// Every list and database: what it is and where it came from.
    pub fn assets(&self) -> Vec<Asset> {
        let places = self.place.iter().flat_map(|place| place.assets());
        places.chain(self.networks.assets()).cloned().collect()
    }
}

impl Sources {
    /// What the files look like now.
    pub fn stamps(&self) -> Stamps {
        let all = |files: &[PathBuf]| files.iter().map(|file| stamp(file)).collect::<Vec<_>>();
        let mut networks = all(&self.asn_files);
        if let Some(dir) = &self.networks_dir {
            match network::list_files(dir) {
                Ok(files) => networks.extend(files.iter().map(|(_, file)| stamp(file))),
                // Loading it will say what is wrong.
                Err(_) => networks.push((dir.clone(), None)),
            }
        }
        Stamps { geo: all(&self.geo_files), networks }
    }
}

fn places(sources: &Sources) -> Result<Option<Arc<GeoDatabases>>, TableError> {
    match sources.geo_files.is_empty() {
        true => Ok(None),
        false => Ok(Some(Arc::new(GeoDatabases::load(&sources.geo_files)?))),
    }
}

fn networks(sources: &Sources) -> Result<Arc<Networks>, TableError> {
    Ok(Arc::new(Networks::load(sources.networks_dir.as_deref(), &sources.asn_files)?))
}

fn stamp(file: &Path) -> Stamp {
    let meta = std::fs::metadata(file).ok();
    let seen = meta.and_then(|meta| Some((meta.ino(), meta.len(), meta.modified().ok()?)));
    (file.to_owned(), seen)
}
