use std::fs;
use std::path::Path;

use journal::{JournalError, NOTE_BYTES_MAX, Position, Sync};

use crate::{block_on, commit, open, options, read_all};

fn segment_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "journal"))
        .collect();
    files.sort();
    files
}

#[test]
fn the_sequence_and_the_edge_id_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut positions = Vec::new();
    for round in 0..5u8 {
        let (log, mut reader) = open(dir.path());
        let replayed = read_all(&mut reader);
        assert_eq!(replayed.len(), positions.len());
        assert!(replayed.iter().all(|frame| frame.replay));
        for _ in 0..3 {
            positions.push(commit(&log, &[round]));
        }
        assert!(read_all(&mut reader).iter().all(|frame| !frame.replay && frame.payload == [round]));
    }
    let names: Vec<_> = positions.iter().map(|position| (position.edge_id, position.seq)).collect();
    assert_eq!(names, (1..=15).map(|seq| (positions[0].edge_id, seq)).collect::<Vec<_>>());
}

#[test]
fn a_checkpoint_and_its_note_survive_and_release_all_but_the_active_segment() {
    let dir = tempfile::tempdir().unwrap();
    let last = {
        let (log, mut reader) = open(dir.path());
        assert_eq!(reader.checkpointed(), (None, &b""[..]));
        reader.checkpoint(Position { edge_id: log.edge_id(), seq: 0 }, b"intent").unwrap();
        let positions: Vec<_> = (0..100).map(|_| commit(&log, &[7; 200])).collect();
        assert!(segment_files(dir.path()).len() > 4);
        reader.checkpoint(positions[49], b"half").unwrap();
        let rest = read_all(&mut reader);
        assert_eq!(rest.first().unwrap().position, positions[50], "what is done is not read again");
        reader.checkpoint(positions[99], b"all").unwrap();
        assert_eq!(segment_files(dir.path()).len(), 1);
        assert_eq!(log.stats().segments, 1);
        positions[99]
    };
    let (log, mut reader) = open(dir.path());
    assert_eq!(reader.checkpointed(), (Some(last), &b"all"[..]));
    assert_eq!(read_all(&mut reader), []);
    let next = commit(&log, b"next");
    assert_eq!(next, Position { edge_id: last.edge_id, seq: last.seq + 1 });
}

#[test]
fn seek_goes_back_to_the_checkpoint_and_no_further() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut reader) = open(dir.path());
    let positions: Vec<_> = (0..60u8).map(|index| commit(&log, &[index; 150])).collect();
    let all = read_all(&mut reader);
    for from in [0, 1, 17, 40, 58, 59] {
        reader.seek(positions[from]).unwrap();
        assert_eq!(read_all(&mut reader), all[from + 1..], "after {from}");
    }
    reader.seek(Position { edge_id: log.edge_id(), seq: 0 }).unwrap();
    assert_eq!(read_all(&mut reader), all);
    reader.checkpoint(positions[30], b"").unwrap();
    reader.seek(positions[30]).unwrap();
    assert_eq!(read_all(&mut reader), all[31..]);

    let elsewhere = |position: Position| Position { edge_id: position.edge_id ^ 1, ..position };
    let beyond = Position { seq: positions[59].seq + 1, ..positions[59] };
    for refused in [positions[29], elsewhere(positions[40]), beyond] {
        assert!(matches!(reader.seek(refused), Err(JournalError::Position { .. })), "{refused:?}");
        assert!(matches!(reader.checkpoint(refused, b""), Err(JournalError::Position { .. })), "{refused:?}");
    }
    let long = [0; NOTE_BYTES_MAX + 1];
    assert!(matches!(reader.checkpoint(positions[31], &long), Err(JournalError::Note { .. })));
    reader.checkpoint(positions[31], &long[1..]).unwrap();
    assert_eq!(reader.checkpointed().1.len(), NOTE_BYTES_MAX);
}

#[test]
fn a_directory_serves_one_log() {
    let dir = tempfile::tempdir().unwrap();
    let (log, reader) = open(dir.path());
    let again = || journal::open(options(dir.path(), Sync::PageCache));
    assert!(matches!(again(), Err(JournalError::Locked { .. })));
    drop(log);
    assert!(matches!(again(), Err(JournalError::Locked { .. })), "the reader still deletes files");
    drop(reader);
    again().unwrap();
}

#[test]
fn an_option_out_of_range_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let sound = options(dir.path(), Sync::Fsync);
    let cases = [
        ("group_bytes_max", journal::Options { group_bytes_max: 0, ..sound.clone() }),
        ("segment_bytes", journal::Options { segment_bytes: 1024, ..sound.clone() }),
        ("bytes_max", journal::Options { bytes_max: 3 * 4096, ..sound.clone() }),
        ("sync_interval_us", journal::Options { sync_interval_us: 2_000_000, ..sound }),
    ];
    for (key, options) in cases {
        let error = journal::open(options).err().unwrap().to_string();
        assert!(error.contains(key) && error.contains("expected"), "{error}");
    }
}

/// Takes files away between two lives, and says whether the edge must be a new one and what is still read.
#[test]
fn files_that_vanish_never_let_a_name_be_used_twice() {
    type Loss = fn(&Path);
    let segments: Loss = |dir| segment_files(dir).iter().for_each(|path| fs::remove_file(path).unwrap());
    let identity: Loss = |dir| fs::remove_file(dir.join("identity")).unwrap();
    let broken_identity: Loss = |dir| fs::write(dir.join("identity"), b"not an identity").unwrap();
    let checkpoint: Loss = |dir| fs::remove_file(dir.join("checkpoint")).unwrap();
    let broken_checkpoint: Loss = |dir| fs::write(dir.join("checkpoint"), b"?").unwrap();
    let everything: Loss = |dir| {
        fs::remove_dir_all(dir).unwrap();
        fs::create_dir(dir).unwrap();
    };
    let cases: [(&str, Loss, bool, usize); 7] = [
        ("nothing", |_| {}, false, 4),
        ("segments", segments, true, 0),
        ("identity", identity, true, 4),
        ("broken identity", broken_identity, true, 4),
        ("checkpoint", checkpoint, false, 10),
        ("broken checkpoint", broken_checkpoint, false, 10),
        ("everything", everything, true, 0),
    ];
    for (case, lose, new_edge, read) in cases {
        let dir = tempfile::tempdir().unwrap();
        let positions: Vec<_> = {
            let (log, mut reader) = open(dir.path());
            let positions: Vec<_> = (0..10).map(|_| commit(&log, b"frame")).collect();
            reader.checkpoint(positions[5], b"").unwrap();
            positions
        };
        lose(dir.path());
        let (log, mut reader) = open(dir.path());
        assert_eq!(log.edge_id() != positions[0].edge_id, new_edge, "{case}");
        let frames = read_all(&mut reader);
        assert_eq!(frames.len(), read, "{case}");
        assert!(frames.iter().all(|frame| frame.replay && positions.contains(&frame.position)), "{case}");
        let next = commit(&log, b"next");
        assert!(!positions.contains(&next), "{case}: {next:?}");
        assert_eq!(read_all(&mut reader)[0].position, next, "{case}");
        reader.checkpoint(next, b"").unwrap();
    }
}

/// A rotation that failed can leave an empty segment behind, and frames with higher numbers before it.
#[test]
fn an_empty_segment_does_not_hide_the_end_of_the_sequence() {
    for contents in [&b""[..], &[0; 4096]] {
        let dir = tempfile::tempdir().unwrap();
        let positions: Vec<_> = {
            let (log, _reader) = open(dir.path());
            (0..3).map(|_| commit(&log, b"frame")).collect()
        };
        let left = dir.path().join(format!("{:020}-{:016x}.journal", 2, positions[0].edge_id));
        fs::write(&left, contents).unwrap();
        let (log, mut reader) = open(dir.path());
        assert_eq!(read_all(&mut reader).iter().map(|frame| frame.position).collect::<Vec<_>>(), positions);
        assert_eq!(commit(&log, b"next"), Position { seq: 4, ..positions[0] });
        assert!(!left.exists());
        assert_eq!(log.stats().bad_segments, 0, "a header that was not yet written is no damage");
    }
}

#[test]
fn a_new_boot_is_a_new_edge_in_page_cache_mode_only() {
    for (sync, new_edge) in [(Sync::PageCache, true), (Sync::Fsync, false)] {
        let dir = tempfile::tempdir().unwrap();
        let first = {
            let (log, _reader) = journal::open(options(dir.path(), sync)).unwrap();
            commit(&log, b"before")
        };
        // As another boot would have left it: same file, other boot id, its checksum in order.
        let path = dir.path().join("identity");
        let mut bytes = fs::read(&path).unwrap();
        let end = 8 + usize::from(bytes[4]);
        bytes[end - 1] ^= 1;
        let crc = crc32c::crc32c(&bytes[4..end]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        fs::write(&path, bytes).unwrap();

        let (log, mut reader) = journal::open(options(dir.path(), sync)).unwrap();
        assert_eq!(log.edge_id() != first.edge_id, new_edge, "{sync:?}");
        let second = commit(&log, b"after");
        assert_eq!(second.seq, first.seq + 1, "the sequence grows through the whole journal");
        let frames = read_all(&mut reader);
        assert_eq!(frames.iter().map(|frame| frame.position).collect::<Vec<_>>(), [first, second]);
        drop((log, reader));
        let (log, _reader) = journal::open(options(dir.path(), sync)).unwrap();
        assert_eq!(log.edge_id(), second.edge_id, "and the new one is kept");
    }
}

#[test]
fn flush_and_drop_write_what_nobody_waited_for() {
    for sync in [Sync::PageCache, Sync::Fsync] {
        let dir = tempfile::tempdir().unwrap();
        let (log, mut reader) = journal::open(options(dir.path(), sync)).unwrap();
        let append = |text: &str| {
            log.append(journal::Class::Open, |_, _, out| out.extend_from_slice(text.as_bytes())).unwrap()
        };
        let one = append("one");
        assert_eq!(read_all(&mut reader), []);
        block_on(log.flush()).unwrap();
        assert_eq!(read_all(&mut reader)[0].position, one);
        block_on(log.flush()).unwrap();
        let two = append("two");
        drop(log);
        assert_eq!(read_all(&mut reader)[0].position, two);
    }
}
