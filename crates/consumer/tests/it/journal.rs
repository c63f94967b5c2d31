//! From journals: once, with the checkpoint behind the write, over a change of the edge's id.

use std::path::Path;
use std::sync::Arc;

use consumer::JournalSource;
use event::Event;
use journal::{Class, Log, Options, Position, Reader};
use store::Store;

use crate::law::{Ledger, encode, old, open};
use crate::running::{self, RUNTIME, Running, Watched, config, query, rows, until};

pub fn open_journal(dir: &Path) -> (Log, Reader) {
    let options = Options {
        segment_bytes: 64 << 10,
        bytes_max: 8 << 20,
        group_bytes_max: 32 << 10,
        ..Options::new(dir)
    };
    journal::open(options).unwrap()
}

pub fn append(log: &Log, encode: impl FnOnce(u64, u64, &mut Vec<u8>)) -> Position {
    let position = log.append(Class::Open, encode).unwrap();
    RUNTIME.block_on(log.committed(position)).unwrap();
    position
}

/// Appends an event and enters it in the ledger.
fn put(ledger: &mut Ledger, log: &Log, journal: u32, make: fn(u64, u64) -> Event<'static>) -> Position {
    let position = append(log, |edge_id, seq, out| out.extend(encode(&make(edge_id, seq))));
    let Position { edge_id, seq } = position;
    ledger.enter((edge_id, seq), (format!("journal/{edge_id:016x}"), journal, seq));
    position
}

pub fn consume(readers: Vec<Reader>, dead: &Path, store: &Arc<Store>) -> Running {
    running::start(&config(), JournalSource::new(readers, dead.to_owned(), RUNTIME.handle().clone()), store)
}

#[test]
fn journals_are_drained_at_shutdown_and_released() {
    let dir = tempfile::tempdir().unwrap();
    let store = running::store("journal");
    let mut ledger = Ledger::default();
    let dirs = [0, 1].map(|n| dir.path().join(format!("{n:03}")));
    let (logs, readers): (Vec<Log>, Vec<Reader>) = dirs.iter().map(|dir| open_journal(dir)).unzip();
    let running = consume(readers, &dir.path().join("dead.jsonl"), &store);
    for n in 0..4_000 {
        let make = if n % 3 == 0 { old } else { open };
        put(&mut ledger, &logs[n % 2], n as u32 % 2, make);
    }
    until("some rows", || rows(&store) > 0);
    // What was appended last is not waited for: the shutdown has to.
    for _ in 0..500 {
        put(&mut ledger, &logs[0], 0, open);
    }
    let counted = running.finish();
    ledger.check(&store, counted);
    for log in &logs {
        let stats = log.stats();
        assert_eq!(stats.segments, 1, "all but the segment being written is released: {stats:?}");
    }
    drop(logs);

    // A second life finds nothing to do, and goes on.
    let (logs, readers): (Vec<Log>, Vec<Reader>) = dirs.iter().map(|dir| open_journal(dir)).unzip();
    for reader in &readers {
        let (position, note) = reader.checkpointed();
        assert_eq!(note, format!("{:016x} ", position.unwrap().edge_id).as_bytes());
    }
    put(&mut ledger, &logs[1], 1, open);
    let again = consume(readers, &dir.path().join("dead.jsonl"), &store).finish();
    assert_eq!((again.stored, again.duplicate), (1, 0));
    ledger.check_rows(&store);
}

#[test]
fn a_new_edge_id_is_another_stretch() {
    let dir = tempfile::tempdir().unwrap();
    let (path, dead) = (dir.path().join("j"), dir.path().join("dead.jsonl"));
    let store = running::store("stretch");
    let mut ledger = Ledger::default();
    let first = {
        let (log, _reader) = open_journal(&path);
        (0..40).for_each(|_| _ = put(&mut ledger, &log, 0, open));
        log.edge_id()
    };
    std::fs::remove_file(path.join("identity")).unwrap();
    let second = {
        let (log, reader) = open_journal(&path);
        assert_ne!(log.edge_id(), first);
        (0..30).for_each(|_| _ = put(&mut ledger, &log, 0, old));
        // The first stretch is acknowledged before the second begins, also in a hurry.
        let counted = consume(vec![reader], &dead, &store).finish();
        ledger.check(&store, counted);
        log.edge_id()
    };
    // A third, while the consumer runs from the start.
    std::fs::remove_file(path.join("identity")).unwrap();
    let (log, reader) = open_journal(&path);
    let running = consume(vec![reader], &dead, &store);
    (0..25).for_each(|_| _ = put(&mut ledger, &log, 0, open));
    until("the third stretch", || rows(&store) == 95);
    let counted = running.finish();
    assert_eq!((counted.stored, counted.duplicate, counted.dead), (25, 0, 0));
    ledger.check_rows(&store);
    assert_eq!(query(&store, "SELECT uniqExact(k_topic) FROM events"), "3");
    assert_ne!(second, log.edge_id());
}

/// A crash after the intent, in every state of the journal that it may come back in.
#[test]
fn an_intended_stretch_is_written_once_whatever_is_left_of_it() {
    for (case, written, changed) in [
        ("not written", false, false),
        ("written", true, false),
        ("not written, new edge id", false, true),
        ("written, new edge id", true, true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let store = running::store("intended");
        let mut ledger = Ledger::default();
        let started = RUNTIME.block_on(store.started(0)).unwrap();
        {
            let (log, mut reader) = open_journal(&path);
            let positions: Vec<_> = (0..20).map(|_| put(&mut ledger, &log, 0, open)).collect();
            let Position { edge_id, .. } = positions[0];
            if written {
                let running = consume(vec![reader], &dir.path().join("dead.jsonl"), &store);
                assert_eq!(running.finish().stored, 20, "{case}");
                drop(log);
                // The checkpoint as it was before the write: only the intent.
                std::fs::remove_file(path.join("checkpoint")).unwrap();
                let (log, again) = open_journal(&path);
                (reader, _) = (again, drop(log));
            }
            let batch = query(&store, "SELECT max(k_off) + 1 FROM events");
            // The range of the batch that was written, or any.
            let to = if written { batch.parse().unwrap() } else { 13 };
            let note = format!("{edge_id:016x} v1|1|{to}|{started}");
            reader.checkpoint(Position { edge_id, seq: 0 }, note.as_bytes()).unwrap();
        }
        if changed {
            std::fs::remove_file(path.join("identity")).unwrap();
        }
        let (log, reader) = open_journal(&path);
        (0..5).for_each(|_| _ = put(&mut ledger, &log, 0, open));
        let counted = consume(vec![reader], &dir.path().join("dead.jsonl"), &store).finish();
        assert_eq!(counted.dead, 0, "{case}");
        ledger.check_rows(&store);
        crate::law::check_views(&store);
    }
}

/// The position before a stretch still has the id of the one before it: the note says whose intent it is.
#[test]
fn an_intent_at_the_start_of_a_second_stretch_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (path, dead) = (dir.path().join("j"), dir.path().join("dead.jsonl"));
    let store = running::store("second");
    let mut ledger = Ledger::default();
    {
        let (log, _reader) = open_journal(&path);
        (0..10).for_each(|_| _ = put(&mut ledger, &log, 0, open));
    }
    std::fs::remove_file(path.join("identity")).unwrap();
    let (first, second) = {
        let (log, reader) = open_journal(&path);
        (0..10).for_each(|_| _ = put(&mut ledger, &log, 0, open));
        let (source, traffic) =
            Watched::new(JournalSource::new(vec![reader], dead.clone(), RUNTIME.handle().clone()));
        let running = running::start(&config(), source, &store);
        until("all rows", || rows(&store) == 20);
        running.finish();
        // Everything was done. Now as if the crash had come before the commit behind the second stretch.
        let intent =
            traffic.lock().unwrap().commits.iter().rev().find(|c| c.2.starts_with("v1|11|")).unwrap().clone();
        let id = ledger.events.iter().find(|(_, place)| place.2 == 10).unwrap().0.0;
        (id, (log.edge_id(), intent.2))
    };
    std::fs::remove_file(path.join("checkpoint")).unwrap();
    {
        let (_log, mut reader) = open_journal(&path);
        let note = format!("{:016x} {}", second.0, second.1);
        reader.checkpoint(Position { edge_id: first, seq: 10 }, note.as_bytes()).unwrap();
    }
    let (log, reader) = open_journal(&path);
    (0..3).for_each(|_| _ = put(&mut ledger, &log, 0, open));
    let counted = consume(vec![reader], &dead, &store).finish();
    assert_eq!((counted.stored, counted.unverified), (13, 0), "ten again under their token, three new");
    ledger.check_rows(&store);
    crate::law::check_views(&store);
}
