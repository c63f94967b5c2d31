//! Place databases and lists of networks are replaced under a running consumer.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use consumer::JournalSource;
use enrich::{Sources, Tables};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::sync::watch;

use crate::journal::{append, open_journal};
use crate::law::{Ledger, encode, open};
use crate::running::{self, RUNTIME, Watched, config, query, until, value};

const LOOK: Duration = Duration::from_millis(20);

/// A test database of MaxMind's.
fn database(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../enrich/tests/data/maxmind").join(name)
}

/// As an operator should: whole at once.
fn replace(file: &Path, bytes: impl AsRef<[u8]>) {
    let partial = file.with_extension("partial");
    std::fs::write(&partial, bytes).unwrap();
    std::fs::rename(&partial, file).unwrap();
}

#[test]
fn newer_files_are_taken_up_between_batches_and_broken_ones_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (city, networks) = (dir.path().join("city.mmdb"), dir.path().join("networks"));
    std::fs::create_dir(&networks).unwrap();
    replace(&city, std::fs::read(database("GeoIP2-City-Test.mmdb")).unwrap());
    let sources =
        Sources { geo_files: vec![city.clone()], networks_dir: Some(networks.clone()), ..Sources::default() };
    let (sender, tables) = watch::channel(Arc::new(Tables::read(&sources).unwrap()));
    let recorder = PrometheusBuilder::new().build_recorder();
    let counted = recorder.handle();
    let follower = std::thread::spawn(move || {
        metrics::with_local_recorder(&recorder, || {
            RUNTIME.block_on(consumer::tables::follow(sources, LOOK, sender));
        });
    });

    let store = running::store("tables");
    let (log, reader) = open_journal(&dir.path().join("journal"));
    let dead = dir.path().join("dead.jsonl");
    let (source, traffic) = Watched::new(JournalSource::new(vec![reader], dead, RUNTIME.handle().clone()));
    let running = running::start_with(&config(), source, &store, tables);
    let done = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let done = done.clone();
        move || {
            let mut ledger = Ledger::default();
            while !done.load(Ordering::Relaxed) {
                let position = append(&log, |edge_id, seq, out| out.extend(encode(&open(edge_id, seq))));
                let place = (format!("journal/{:016x}", position.edge_id), 0, position.seq);
                ledger.enter((position.edge_id, position.seq), place);
                std::thread::park_timeout(Duration::from_millis(1));
            }
            ledger
        }
    });

    let count = |condition: &str| {
        let rows = query(&store, &format!("SELECT count() FROM events WHERE {condition}"));
        rows.parse::<u64>().unwrap()
    };
    let of =
        |outcome: &str| value(&counted, &format!("consumer_table_reloads_total{{outcome=\"{outcome}\"}}"));
    until("rows of the first database", || count("geo_version LIKE 'GeoIP2-City %'") > 0);
    replace(&city, std::fs::read(database("GeoLite2-City-Test.mmdb")).unwrap());
    until("rows of the second database", || count("geo_version LIKE 'GeoLite2-City %'") > 0);
    assert_eq!((of("loaded"), of("refused")), (1, 0));

    // Cut off, as by a disk that is full: refused, and rows go on with what was there before.
    let whole = std::fs::read(database("GeoIP2-City-Test.mmdb")).unwrap();
    replace(&city, &whole[..whole.len() / 2]);
    until("the broken file is refused", || of("refused") == 1);
    assert_eq!(value(&counted, "consumer_refused_tables"), 1);
    let before = count("geo_version LIKE 'GeoLite2-City %'");
    until("more rows", || count("geo_version LIKE 'GeoLite2-City %'") > before);

    // A list by itself: the database is not read again, and the visitor's network is now a VPN's.
    replace(&city, std::fs::read(database("GeoLite2-City-Test.mmdb")).unwrap());
    until("a good file again", || value(&counted, "consumer_refused_tables") == 0);
    replace(&networks.join("vpn.txt"), "# date: 2026-11-20\n81.2.69.0/24\n");
    until("rows of the newer list", || count("city = '' AND country = 'GB'") > 0);
    replace(&networks.join("vpn.txt"), "81.2.69.0\n");
    until("the broken list is refused", || of("refused") == 2);
    std::fs::remove_file(networks.join("vpn.txt")).unwrap();
    until("the built-in list again", || of("loaded") == 4);
    let last = count("1");
    until("rows after that", || count("1") > last);

    done.store(true, Ordering::Relaxed);
    let ledger = writer.join().unwrap();
    let result = running.finish();
    ledger.check(&store, result);
    // Each batch is of one set of tables. The notes of the intents say where batches begin and end.
    let mut batches = 0;
    for (_, _, note) in &traffic.lock().unwrap().commits {
        let Some((from, to)) = range(note) else { continue };
        let sets = format!(
            "SELECT uniqExact(geo_version, geo_trust, city) FROM events WHERE k_off >= {from} AND k_off < {to}"
        );
        assert_eq!(query(&store, &sets), "1", "{note}");
        batches += 1;
    }
    assert!(batches > 3, "{batches} batches");
    follower.join().unwrap();
}

/// Of `v1|FROM|TO|…`.
fn range(note: &str) -> Option<(u64, u64)> {
    let mut fields = note.strip_prefix("v1|")?.split('|').map(str::parse);
    Some((fields.next()?.ok()?, fields.next()?.ok()?))
}
