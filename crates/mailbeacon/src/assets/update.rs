//! `mailbeacon assets update`: each is fetched, read and compared with what is there before it takes its place.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use enrich::{Asset, Sources, Tables};
use flate2::read::GzDecoder;
use ipnet::IpNet;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::published::{BY_HAND, DATABASES, LISTS, PublishedDatabase, PublishedList};
use crate::settings::Settings;
use crate::stdout::say;

/// The longest list that is published, Apple's, has 20 MB before it is merged.
const LIST_BYTES_MAX: u64 = 128 << 20;
/// DB-IP's cities have some 60 MB packed, 130 unpacked.
const PACKED_BYTES_MAX: u64 = 1 << 30;
const DATABASE_BYTES_MAX: u64 = 4 << 30;
/// A list half as long, or twice, is another list, or a part of one, until somebody says that it is right.
const FACTOR: u64 = 2;

/// What `assets update` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these, by the names that `mailbeacon assets` shows. Default: all.
    names: Vec<String>,
    /// Where to put all of them. Default: where networks.dir, geo.files and networks.asn_files point.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Take one that has less than half or more than twice the entries of the one that is there.
    #[arg(long)]
    any_size: bool,
    /// Ask a mirror: https://host/path becomes URL/host/path.
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
}

/// What became of one.
enum Outcome {
    Updated(String),
    Unchanged(String),
    Skipped(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Updated(how) => write!(f, "updated    {how}"),
            Outcome::Unchanged(how) => write!(f, "unchanged  {how}"),
            Outcome::Skipped(why) => write!(f, "skipped    {why}"),
        }
    }
}

/// Fetches all that can be, says of each what became of it, and fails when one failed.
pub fn run(settings: &Settings, args: &Args) -> anyhow::Result<()> {
    let names: Vec<&str> = (LISTS.iter().map(|list| list.name))
        .chain(DATABASES.iter().map(|database| database.name))
        .chain(BY_HAND.iter().map(|(name, _)| *name))
        .collect();
    if let Some(unknown) = args.names.iter().find(|name| !names.contains(&name.as_str())) {
        bail!("{unknown}: expected one of {}", names.join(", "));
    }
    let update = Update { args, settings, today: TimeZone::UTC.to_datetime(Timestamp::now()).date() };
    let mut failed = 0;
    for name in names.iter().filter(|name| args.names.is_empty() || args.names.iter().any(|n| n == *name)) {
        let line = match update.one(name) {
            Ok(outcome) => format!("{name}: {outcome}"),
            Err(cause) => {
                failed += 1;
                // What curl said may have lines.
                format!(
                    "{name}: FAILED     {}",
                    format!("{cause:#}").split_whitespace().collect::<Vec<_>>().join(" ")
                )
            }
        };
        say(|out| writeln!(out, "{line}"))?;
    }
    if let Some(dir) = &args.dir {
        hint(dir)?;
    }
    match failed {
        0 => Ok(()),
        failed => bail!("{failed} could not be updated; what was there before is still there"),
    }
}

/// Says by which settings a consumer reads what is in a directory.
fn hint(dir: &Path) -> anyhow::Result<()> {
    let mut settings = Vec::new();
    if LISTS.iter().any(|list| dir.join(list.name).exists()) {
        settings.push(format!("networks.dir = {dir:?}"));
    }
    for (database, setting) in DATABASES.iter().zip(["geo.files", "networks.asn_files"]) {
        let file = dir.join(database.file);
        if file.exists() {
            settings.push(format!("{setting} = [{file:?}]"));
        }
    }
    match settings.is_empty() {
        true => Ok(()),
        false => say(|out| writeln!(out, "\nTo enrich from these: {}", settings.join(", "))),
    }
}

struct Update<'a> {
    args: &'a Args,
    settings: &'a Settings,
    today: Date,
}

impl Update<'_> {
    fn one(&self, name: &str) -> anyhow::Result<Outcome> {
        if let Some(list) = LISTS.iter().find(|list| list.name == name) {
            return self.list(list);
        }
        if let Some(database) = DATABASES.iter().find(|database| database.name == name) {
            return self.database(database);
        }
        let by_hand = BY_HAND.iter().find(|(of, _)| *of == name);
        Ok(Outcome::Skipped(by_hand.map_or(String::new(), |(_, why)| (*why).to_owned())))
    }

    fn list(&self, list: &PublishedList) -> anyhow::Result<Outcome> {
        let dir = match (&self.args.dir, self.settings.networks.dir.as_os_str().is_empty()) {
            (Some(dir), _) => dir,
            (None, false) => &self.settings.networks.dir,
            (None, true) => {
                return Ok(Outcome::Skipped(
                    "networks.dir is not set: name a directory with --dir".to_owned(),
                ));
            }
        };
        let work = Work::begin(dir)?;
        let mut texts = Vec::new();
        for (index, url) in list.urls.iter().enumerate() {
            let name = format!("fetched-{index}");
            local::download(&self.address(url), &work.dir, &name, LIST_BYTES_MAX)?;
            texts.push(fs::read_to_string(work.dir.join(name)).context("expected text")?);
        }
        let nets = (list.read)(&texts).with_context(|| list.urls.join(", "))?;
        let partial = work.dir.join(list.name);
        fs::write(&partial, self.text(list, &nets))?;
        // Read as a consumer will read it.
        let new = enrich::read_list(list.name, &partial)?;
        let place = dir.join(list.name);
        let old = enrich::read_list(list.name, &place).ok().or_else(|| enrich::built_in_asset(list.name));
        self.compare(old.as_ref(), &new)?;
        let same = match &old {
            Some(Asset { file: Some(file), .. }) => {
                body(&fs::read_to_string(file)?) == body(&fs::read_to_string(&partial)?)
            }
            _ => false,
        };
        // The date in its head is new also when nothing else is: it is known to be current.
        install(&partial, &place)?;
        Ok(match same {
            true => Outcome::Unchanged(format!("{} entries, and still current", new.entries)),
            false => Outcome::Updated(changed(old.as_ref(), &new, &super::sha256(&place)?)),
        })
    }

    fn text(&self, list: &PublishedList, nets: &[IpNet]) -> String {
        let mut text =
            format!("# source: {}\n# licence: {}\n# date: {}\n", list.source, list.licence, self.today);
        for net in nets {
            text.push_str(&format!("{net}\n"));
        }
        text
    }

    fn database(&self, database: &PublishedDatabase) -> anyhow::Result<Outcome> {
        let (setting, files) = match database.name {
            "geo" => ("geo.files", &self.settings.geo.files),
            _ => ("networks.asn_files", &self.settings.networks.asn_files),
        };
        let place = match (&self.args.dir, &files[..]) {
            (Some(dir), _) => dir.join(database.file),
            (None, [one]) => one.clone(),
            (None, []) => {
                return Ok(Outcome::Skipped(format!("{setting} is not set: name a directory with --dir")));
            }
            (None, _) => {
                return Ok(Outcome::Skipped(format!(
                    "{setting} names two files, DB-IP publishes one for IPv4 and IPv6"
                )));
            }
        };
        let old = place.exists().then(|| describe(database.name, &place)).transpose();
        let old = old.context("what is there cannot be read: remove it to have a new one fetched")?;
        if let Some(old) = &old
            && !old.source.starts_with(database.database_type)
        {
            return Ok(Outcome::Skipped(format!(
                "{} is {}: update it as its publisher says",
                place.display(),
                old.source
            )));
        }
        let dir = place.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let work = Work::begin(dir)?;
        let Some(packed) = self.newest(database, old.as_ref(), &work)? else {
            let date = old.map(|old| old.date).unwrap_or_default();
            return Ok(Outcome::Unchanged(format!("the newest one is there, of {date}")));
        };
        let partial = work.dir.join(database.file);
        unpack(&packed, &partial)?;
        let new = describe(database.name, &partial)?;
        if !new.source.starts_with(database.database_type) {
            bail!("it is {}: expected {}", new.source, database.database_type);
        }
        if old.is_some() && super::sha256(&partial)? == super::sha256(&place)? {
            // Its day of build need not be in the month that it is named after.
            return Ok(Outcome::Unchanged(format!("the newest one is there, of {}", new.date)));
        }
        self.compare(old.as_ref(), &new)?;
        install(&partial, &place)?;
        Ok(Outcome::Updated(changed(old.as_ref(), &new, &super::sha256(&place)?)))
    }

    /// Fetches this month's, or the last month's while this one is not out. None when that is the one that is there.
    fn newest(
        &self,
        database: &PublishedDatabase,
        old: Option<&Asset>,
        work: &Work,
    ) -> anyhow::Result<Option<PathBuf>> {
        let month = |date: Date| date.strftime("%Y-%m").to_string();
        let last = self.today.first_of_month().checked_sub(1.day())?;
        for (month, is_last) in [(month(self.today), false), (month(last), true)] {
            if old.is_some_and(|old| old.date.starts_with(&month)) {
                return Ok(None);
            }
            let url = self.address(&format!("{}{month}{}", database.url.0, database.url.1));
            match local::download(&url, &work.dir, "packed", PACKED_BYTES_MAX) {
                Ok(()) => return Ok(Some(work.dir.join("packed"))),
                Err(cause) if !is_last && cause.to_string().contains("returned error: 404") => {}
                Err(cause) => return Err(cause.into()),
            }
        }
        Err(anyhow!("neither this month's nor the last one is published"))
    }

    fn address(&self, url: &str) -> String {
        match &self.args.mirror {
            Some(mirror) => {
                format!("{}/{}", mirror.trim_end_matches('/'), url.strip_prefix("https://").unwrap_or(url))
            }
            None => url.to_owned(),
        }
    }

    fn compare(&self, old: Option<&Asset>, new: &Asset) -> anyhow::Result<()> {
        let Some(old) = old.filter(|_| !self.args.any_size) else { return Ok(()) };
        let wanted = old.entries / FACTOR..=old.entries.saturating_mul(FACTOR);
        match wanted.contains(&new.entries) {
            true => Ok(()),
            false => bail!(
                "it has {} entries where {} were: expected {} to {} (--any-size takes it)",
                new.entries,
                old.entries,
                wanted.start(),
                wanted.end()
            ),
        }
    }
}

fn changed(old: Option<&Asset>, new: &Asset, sha256: &str) -> String {
    let before = old.map_or_else(String::new, |old| format!(" where {} were", old.entries));
    format!("of {}, {} entries{before}, {} bytes, sha256 {sha256}", new.date, new.entries, new.bytes)
}

/// What a database is, read as a consumer will read it.
fn describe(name: &str, file: &Path) -> anyhow::Result<Asset> {
    let files = vec![file.to_owned()];
    let sources = match name {
        "geo" => Sources { geo_files: files, ..Sources::default() },
        _ => Sources { asn_files: files, ..Sources::default() },
    };
    let found = Tables::read(&sources)?.assets().into_iter().find(|asset| asset.name == name);
    found.with_context(|| format!("{}: nothing in it", file.display()))
}

fn body(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

fn unpack(packed: &Path, into: &Path) -> anyhow::Result<()> {
    let unpacked = || -> io::Result<u64> {
        let mut reader = GzDecoder::new(BufReader::new(File::open(packed)?)).take(DATABASE_BYTES_MAX + 1);
        io::copy(&mut reader, &mut File::create(into)?)
    };
    match unpacked().context("failed to unpack it, expected gzip")? {
        bytes if bytes > DATABASE_BYTES_MAX => {
            bail!("it has more than {DATABASE_BYTES_MAX} bytes unpacked")
        }
        _ => Ok(()),
    }
}

/// Puts a file into its place, whole at any moment, also after a loss of power.
fn install(partial: &Path, place: &Path) -> anyhow::Result<()> {
    let moved = || -> io::Result<()> {
        File::open(partial)?.sync_all()?;
        fs::rename(partial, place)?;
        let dir = place.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(dir)?.sync_all()
    };
    moved().with_context(|| format!("failed to put it at {}", place.display()))
}

/// A directory to work in beside the files, so that they can be renamed into their places. Goes with its holder; what
/// a killed one left is cleared by the next.
struct Work {
    dir: PathBuf,
    /// Two updates at once would take each other's files for their own.
    _lock: File,
}

impl Work {
    fn begin(beside: &Path) -> anyhow::Result<Work> {
        fs::create_dir_all(beside).with_context(|| format!("failed to create {}", beside.display()))?;
        let beside = fs::canonicalize(beside)?;
        let path = beside.join(".mailbeacon-update.lock");
        let lock = File::create(&path).with_context(|| format!("failed to create {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another update runs in {}", beside.display()),
            Err(TryLockError::Error(cause)) => return Err(cause.into()),
        }
        let dir = beside.join(".mailbeacon-update");
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).with_context(|| format!("failed to create {}", dir.display()))?;
        Ok(Work { dir, _lock: lock })
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}
