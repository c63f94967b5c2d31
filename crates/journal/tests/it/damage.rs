use std::fs;
use std::path::{Path, PathBuf};

use journal::Stats;
use proptest::prelude::*;

use crate::{Read, commit, open, read_all};

/// Length of a segment's header and of a frame's.
const SEGMENT_HEADER: usize = 32;
const FRAME_HEADER: usize = 17;

/// A journal of one segment, as bytes.
struct Sample {
    dir: tempfile::TempDir,
    segment: PathBuf,
    bytes: Vec<u8>,
    frames: Vec<Read>,
    /// Where each frame starts, and where the last one ends.
    starts: Vec<usize>,
}

/// What an opening after some damage saw.
struct After {
    frames: Vec<Read>,
    stats: Stats,
    edge_kept: bool,
}

impl Sample {
    fn new() -> Sample {
        let dir = tempfile::tempdir().unwrap();
        let (log, mut reader) = open(dir.path());
        let mut starts = vec![SEGMENT_HEADER];
        for index in 0..9usize {
            let payload = vec![index as u8; index * 7 % 30];
            commit(&log, &payload);
            starts.push(starts[index] + FRAME_HEADER + payload.len());
        }
        let frames = read_all(&mut reader);
        drop((log, reader));
        let is_segment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "journal");
        let segment =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).find(is_segment).unwrap();
        Sample { bytes: fs::read(&segment).unwrap(), dir, segment, frames, starts }
    }

    fn written(&self) -> usize {
        self.starts[self.frames.len()]
    }

    /// Opens a copy whose segment has these bytes.
    fn open_with(&self, bytes: &[u8]) -> After {
        let copy = tempfile::tempdir().unwrap();
        fs::copy(self.dir.path().join("identity"), copy.path().join("identity")).unwrap();
        fs::write(copy.path().join(self.segment.file_name().unwrap()), bytes).unwrap();
        self.reopen(copy.path())
    }

    fn reopen(&self, dir: &Path) -> After {
        let (log, mut reader) = open(dir);
        let mut frames = read_all(&mut reader);
        frames.iter_mut().for_each(|frame| frame.replay = false);
        let next = commit(&log, b"next");
        assert!(!frames.iter().any(|frame| frame.position == next));
        assert_eq!(read_all(&mut reader).len(), 1, "the journal goes on");
        let edge_kept = log.edge_id() == self.frames[0].position.edge_id;
        let stats = log.stats();
        drop((log, reader));
        let (log, mut reader) = open(dir);
        assert_eq!(read_all(&mut reader).len(), frames.len() + 1, "and is whole at the next opening");
        assert_eq!(log.stats().torn_bytes, 0);
        After { frames, stats, edge_kept }
    }
}

#[test]
fn a_cut_anywhere_loses_what_was_cut_and_no_more() {
    let sample = Sample::new();
    for cut in 0..=sample.written() {
        let whole = sample.starts[1..].iter().filter(|end| **end <= cut).count();
        let after = sample.open_with(&sample.bytes[..cut]);
        assert_eq!(after.frames, sample.frames[..whole], "cut at {cut}");
        let part = sample.bytes.get(sample.starts[whole]..cut).unwrap_or_default();
        let torn = part.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        assert_eq!(after.stats.torn_bytes as usize, torn, "cut at {cut}");
        assert_eq!(after.edge_kept, torn == 0, "cut at {cut}: part of a frame means a new edge");
        assert_eq!(after.stats.bad_frames, 0, "cut at {cut}");
    }
}

#[test]
fn a_damaged_byte_loses_the_frame_that_it_is_in_and_no_other() {
    let sample = Sample::new();
    let last = sample.frames.len() - 1;
    for at in 0..sample.written() + 20 {
        for damage in [sample.bytes[at] ^ 1, !sample.bytes[at], 0] {
            if damage == sample.bytes[at] {
                continue;
            }
            let mut bytes = sample.bytes.clone();
            bytes[at] = damage;
            let after = sample.open_with(&bytes);
            let hit =
                (0..=last).find(|index| (sample.starts[*index]..sample.starts[*index + 1]).contains(&at));
            let mut expected = sample.frames.clone();
            if let Some(index) = hit {
                expected.remove(index);
            }
            let case = format!("byte {at} set to {damage}, in frame {hit:?}");
            assert_eq!(after.frames, expected, "{case}");
            let stats = &after.stats;
            let counted = (stats.bad_segments, stats.bad_frames, stats.torn_bytes > 0);
            let expected = match hit {
                Some(index) if index < last => (0, 1, false),
                None if at < SEGMENT_HEADER => (1, 0, false),
                _ => (0, 0, true),
            };
            assert_eq!(counted, expected, "{case}");
            assert_eq!(after.edge_kept, stats.torn_bytes == 0, "{case}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whole stretches go bad: other frames are still read, in order, and what is missing is counted.
    #[test]
    fn damage_of_any_size_loses_the_frames_touched(
        holes in prop::collection::vec((0usize..400, prop::collection::vec(any::<u8>(), 1..60)), 1..4),
    ) {
        let sample = Sample::new();
        let mut bytes = sample.bytes.clone();
        let mut touched = vec![false; bytes.len()];
        for (at, junk) in holes {
            bytes[at..at + junk.len()].copy_from_slice(&junk);
            touched[at..at + junk.len()].fill(true);
        }
        let after = sample.open_with(&bytes);
        let whole = |index: usize| touched[sample.starts[index]..sample.starts[index + 1]].iter().all(|hit| !hit);
        for (index, frame) in sample.frames.iter().enumerate() {
            prop_assert!(after.frames.contains(frame) || !whole(index), "frame {} was whole", index);
        }
        prop_assert!(after.frames.iter().all(|frame| sample.frames.contains(frame)));
        prop_assert!(after.frames.is_sorted_by_key(|frame| frame.position.seq));
        let last_read = after.frames.last().map_or(0, |frame| frame.position.seq);
        prop_assert_eq!(after.stats.bad_frames, last_read - after.frames.len() as u64);
        prop_assert!(last_read == sample.frames.len() as u64 || after.stats.torn_bytes > 0);
    }
}

#[test]
fn damage_in_an_old_segment_and_a_lost_one_are_counted_when_read() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut reader) = open(dir.path());
    let count = (0..).take_while(|_| log.stats().segments < 5 && commit(&log, &[1; 300]).seq > 0).count();
    let mut files: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "journal"))
        .collect();
    files.sort();
    let mut bytes = fs::read(&files[0]).unwrap();
    bytes[SEGMENT_HEADER + 3 * (FRAME_HEADER + 300) + 40] ^= 4;
    fs::write(&files[0], bytes).unwrap();
    fs::remove_file(&files[2]).unwrap();

    let per_segment = (4096 - SEGMENT_HEADER) / (FRAME_HEADER + 300);
    let frames = read_all(&mut reader);
    assert_eq!(frames.len(), count - 1 - per_segment);
    let stats = log.stats();
    assert_eq!((stats.bad_frames, stats.bad_segments), (1 + per_segment as u64, 1));
    reader.seek(journal::Position { edge_id: log.edge_id(), seq: 0 }).unwrap();
    assert_eq!(read_all(&mut reader), frames);
    assert_eq!(log.stats().bad_frames, stats.bad_frames, "counted once, however often it is read");
    reader.checkpoint(frames.last().unwrap().position, b"").unwrap();
    assert_eq!(log.stats().segments, 1, "and released like any other");
}
