use journal::{Class, Log, Options, Position, Shed, Sync};

use crate::{block_on, options, read_all};

const BYTES_MAX: u64 = 40_000;

/// Appends frames of a class until one is shed.
fn fill(log: &Log, class: Class) -> Option<Position> {
    let mut last = None;
    loop {
        match log.append(class, |_, _, out| out.extend_from_slice(&[1; 33])) {
            Ok(position) => last = Some(position),
            Err(reason) => {
                assert_eq!(reason, Shed::Full);
                return last;
            }
        }
    }
}

#[test]
fn a_full_journal_sheds_opens_then_clicks_then_downloads_then_all() {
    for sync in [Sync::PageCache, Sync::Fsync] {
        let dir = tempfile::tempdir().unwrap();
        let bounded = Options { bytes_max: BYTES_MAX, group_bytes_max: 4000, ..options(dir.path(), sync) };
        let (log, mut reader) = journal::open(bounded.clone()).unwrap();
        let mut last = None;
        for (class, percent) in
            [(Class::Open, 90), (Class::Click, 95), (Class::Download, 98), (Class::Sent, 100)]
        {
            let room = BYTES_MAX / 100 * percent;
            while log.stats().bytes + 100 < room {
                let position = log.append(class, |_, _, out| out.extend_from_slice(&[1; 33])).unwrap();
                block_on(log.committed(position)).unwrap();
            }
            last = fill(&log, class).or(last);
            let bytes = log.stats().bytes;
            assert!((room - 50..=room).contains(&bytes), "{class:?} {bytes} of {room}");
            assert_eq!(log.stats().shed(class, Shed::Full), 1);
        }
        block_on(log.flush()).unwrap();
        for class in Class::ALL {
            assert_eq!(fill(&log, class), None, "{class:?}");
        }
        assert_eq!(log.stats().shed_total(), 8);
        let files = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap());
        let segments = files.filter(|file| file.path().extension().is_some_and(|name| name == "journal"));
        let on_disk: u64 = segments.map(|file| file.metadata().unwrap().len()).sum();
        assert!(on_disk <= BYTES_MAX + 4096, "{on_disk} on disk: frames, and one segment more");

        // Full is full after a restart too, and reading it makes room again.
        drop((log, reader));
        (_, reader) = {
            let (log, reader) = journal::open(bounded.clone()).unwrap();
            assert_eq!(fill(&log, Class::Open), None);
            (log, reader)
        };
        assert!(read_all(&mut reader).iter().all(|frame| frame.replay));
        drop(reader);
        let (log, mut reader) = journal::open(bounded).unwrap();
        reader.checkpoint(last.unwrap(), b"").unwrap();
        assert!(log.stats().bytes < BYTES_MAX / 4);
        assert!(log.append(Class::Open, |_, _, out| out.push(1)).is_ok());
    }
}
