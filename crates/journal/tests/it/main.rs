//! The journal as its callers see it: one process after another on one directory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod damage;
mod group;
mod kill;
mod model;
mod reopen;
mod room;

use std::path::Path;

use journal::{Class, Log, Options, Position, Reader, Sync};

/// Small segments, so that a test goes through many.
fn options(dir: &Path, sync: Sync) -> Options {
    Options { segment_bytes: 4096, bytes_max: 1 << 20, sync, group_bytes_max: 1024, ..Options::new(dir) }
}

fn open(dir: &Path) -> (Log, Reader) {
    journal::open(options(dir, Sync::PageCache)).unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn commit(log: &Log, payload: &[u8]) -> Position {
    let position = log.append(Class::Click, |_, _, out| out.extend_from_slice(payload)).unwrap();
    block_on(log.committed(position)).unwrap();
    position
}

/// A frame that outlives the read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Read {
    position: Position,
    class: Class,
    replay: bool,
    payload: Vec<u8>,
}

fn read(reader: &mut Reader, bytes_max: usize) -> Vec<Read> {
    let mut frames = Vec::new();
    let count = reader
        .read(bytes_max, |frame| {
            frames.push(Read {
                position: frame.position(),
                class: frame.class,
                replay: frame.replay,
                payload: frame.payload.to_vec(),
            });
        })
        .unwrap();
    assert_eq!(count, frames.len());
    frames
}

fn read_all(reader: &mut Reader) -> Vec<Read> {
    read(reader, usize::MAX)
}
