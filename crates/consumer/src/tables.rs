//! Keeps the tables that events are enriched from as their files are.
//!
//! Files are looked at from outside, every so often. A set that changed is read whole beside the one in use and takes
//! its place at once; one that cannot be read is refused, and the one in use stays.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use enrich::{Sources, Stamps, Tables};
use metrics::{counter, gauge};
use tokio::sync::watch;
use tracing::{error, info};

/// Follows the files of `sources` until nobody reads `tables` any more.
pub async fn follow(sources: Sources, interval: Duration, tables: watch::Sender<Arc<Tables>>) {
    let sources = Arc::new(sources);
    let mut looks = Looks::new(tables.borrow().stamps().clone());
    loop {
        show_ages(&tables.borrow());
        tokio::select! {
            () = tokio::time::sleep(interval) => (),
            () = tables.closed() => return,
        }
        let looked = sources.clone();
        let stamps = tokio::task::spawn_blocking(move || looked.stamps()).await;
        let Some(stamps) = stamps.ok().filter(|stamps| looks.is_new(stamps)) else { continue };
        let (old, read) = (tables.borrow().clone(), sources.clone());
        // Reading 130 MB and building the ranges takes a while, and must not hold up whoever shares the runtime.
        match tokio::task::spawn_blocking(move || old.newer(&read, stamps)).await {
            Ok(Ok(newer)) => take_up(newer, &tables),
            Ok(Err(cause)) => refuse(&cause),
            // A file so broken that reading it panics is one that is refused, too.
            Err(cause) => refuse(&cause),
        }
    }
}

fn take_up(newer: Tables, tables: &watch::Sender<Arc<Tables>>) {
    info!(assets = newer.assets().len(), "newer tables are read from now on");
    tables.send_replace(Arc::new(newer));
    counter!("consumer_table_reloads_total", "outcome" => "loaded").increment(1);
    gauge!("consumer_refused_tables").set(0);
}

fn refuse(cause: &dyn Error) {
    let reason = cause.source().map(ToString::to_string);
    error!(%cause, reason, "tables refused, the old ones stay");
    counter!("consumer_table_reloads_total", "outcome" => "refused").increment(1);
    gauge!("consumer_refused_tables").set(1);
}

/// When a set of files is to be read: it differs from what was read last, and looks the same twice in a row. A file
/// that is being written still grows; one that was refused is not tried again until it changes.
struct Looks {
    read: Stamps,
    before: Stamps,
}

impl Looks {
    fn new(read: Stamps) -> Looks {
        Looks { before: read.clone(), read }
    }

    fn is_new(&mut self, now: &Stamps) -> bool {
        let still = std::mem::replace(&mut self.before, now.clone()) == *now;
        let new = still && *now != self.read;
        if new {
            self.read = now.clone();
        }
        new
    }
}

/// Of two files of one name, one for each family, the older.
fn show_ages(tables: &Tables) {
    let now = SystemTime::now();
    let mut ages: BTreeMap<String, Duration> = BTreeMap::new();
    for asset in tables.assets() {
        if let Some(age) = asset.published().and_then(|at| now.duration_since(at).ok()) {
            let oldest = ages.entry(asset.name).or_default();
            *oldest = age.max(*oldest);
        }
    }
    for (name, age) in ages {
        gauge!("consumer_table_age_seconds", "table" => name).set(age.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamps(dir: &std::path::Path, bytes: usize) -> Stamps {
        let file = dir.join("city.mmdb");
        std::fs::write(&file, vec![0; bytes]).unwrap();
        Sources { geo_files: vec![file], ..Sources::default() }.stamps()
    }

    #[test]
    fn files_are_read_once_they_hold_still() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second, third] = [1, 2, 3].map(|bytes| stamps(dir.path(), bytes));
        let mut looks = Looks::new(first.clone());
        assert!(!looks.is_new(&first), "nothing changed");
        assert!(!looks.is_new(&second), "just changed");
        assert!(!looks.is_new(&third), "still changes");
        assert!(looks.is_new(&third), "holds still");
        assert!(!looks.is_new(&third), "was read, or refused");
        assert!(!looks.is_new(&first), "put back");
        assert!(looks.is_new(&first));
    }
}
