use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;

use journal::{Class, PAYLOAD_BYTES_MAX, Position, Shed, Sync, WriteError};

use crate::{block_on, commit, open, options, read, read_all};

#[test]
fn requests_that_are_ready_together_share_one_write() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut reader) = open(dir.path());
    let log = Arc::new(log);
    block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for index in 0..32u8 {
            let log = log.clone();
            tasks.spawn(async move {
                let position = log.append(Class::Open, |_, _, out| out.push(index)).unwrap();
                log.committed(position).await
            });
        }
        while let Some(outcome) = tasks.join_next().await {
            outcome.unwrap().unwrap();
        }
    });
    let stats = log.stats();
    assert_eq!((stats.frames, stats.groups), (32, 1));
    assert_eq!(read_all(&mut reader).len(), 32);
}

#[test]
fn who_was_alone_writes_at_once_and_still_finds_company() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut reader) = open(dir.path());
    for _ in 0..20 {
        commit(&log, b"alone");
    }
    let position = log.append(Class::Open, |_, _, out| out.push(1)).unwrap();
    let mut committed = pin!(log.committed(position));
    let first = committed.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(first, Poll::Ready(Ok(())), "nobody came before, so nobody is waited for");
    assert_eq!(log.stats().groups, 21);

    block_on(async {
        let together = (0..32u8).map(|index| {
            let position = log.append(Class::Open, |_, _, out| out.push(index)).unwrap();
            log.committed(position)
        });
        let mut tasks = Vec::from_iter(together.map(Box::pin));
        poll_fn(|context| {
            tasks.retain_mut(|task| task.as_mut().poll(context).is_pending());
            if tasks.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    });
    let stats = log.stats();
    assert_eq!(stats.frames, 53);
    assert!(stats.groups <= 23, "{} groups", stats.groups);
    assert_eq!(read_all(&mut reader).len(), 53);
}

#[test]
fn the_payload_is_told_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut reader) = open(dir.path());
    for _ in 0..3 {
        let position = log
            .append(Class::Sent, |edge_id, seq, out| {
                assert!(out.is_empty());
                out.extend_from_slice(&edge_id.to_le_bytes());
                out.extend_from_slice(&seq.to_le_bytes());
            })
            .unwrap();
        block_on(log.committed(position)).unwrap();
    }
    for frame in read_all(&mut reader) {
        let name = [frame.position.edge_id.to_le_bytes(), frame.position.seq.to_le_bytes()].concat();
        assert_eq!((frame.payload, frame.class), (name, Class::Sent));
    }
}

#[test]
fn a_reader_on_another_thread_wakes_for_every_frame() {
    for sync in [Sync::PageCache, Sync::Fsync] {
        let dir = tempfile::tempdir().unwrap();
        let (log, mut reader) = journal::open(options(dir.path(), sync)).unwrap();
        let following = thread::spawn(move || {
            let mut seqs = Vec::new();
            while seqs.len() < 300 {
                block_on(reader.readable());
                let frames = read_all(&mut reader);
                seqs.extend(frames.iter().map(|frame| frame.position.seq));
                if let Some(last) = frames.last() {
                    reader.checkpoint(last.position, b"").unwrap();
                }
            }
            seqs
        });
        for _ in 0..300 {
            commit(&log, &[9; 100]);
        }
        assert_eq!(following.join().unwrap(), (1..=300).collect::<Vec<_>>());
    }
}

#[test]
fn a_read_stops_at_its_bound_but_always_moves() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut reader) = open(dir.path());
    for bytes in [100, 100, 500, 1, 0] {
        commit(&log, &vec![3; bytes]);
    }
    let sizes: Vec<usize> = [200, 200, 1, 1000, 1000].map(|max| read(&mut reader, max).len()).into();
    assert_eq!(sizes, [2, 1, 2, 0, 0]);
}

#[test]
fn frames_have_a_size_bound() {
    let dir = tempfile::tempdir().unwrap();
    let roomy = journal::Options {
        segment_bytes: 1 << 20,
        bytes_max: 4 << 20,
        group_bytes_max: 512 << 10,
        ..options(dir.path(), Sync::PageCache)
    };
    let (log, mut reader) = journal::open(roomy).unwrap();
    let append = |bytes: usize| log.append(Class::Click, |_, _, out| out.resize(bytes, 1));
    assert_eq!(append(PAYLOAD_BYTES_MAX + 1), Err(Shed::TooLarge));
    let largest = append(PAYLOAD_BYTES_MAX).unwrap();
    block_on(log.committed(largest)).unwrap();
    assert_eq!(read_all(&mut reader)[0].payload.len(), PAYLOAD_BYTES_MAX);
    assert_eq!(log.stats().shed(Class::Click, Shed::TooLarge), 1);
}

#[test]
fn a_position_from_elsewhere_is_not_waited_for() {
    for sync in [Sync::PageCache, Sync::Fsync] {
        let dir = tempfile::tempdir().unwrap();
        let (log, _reader) = journal::open(options(dir.path(), sync)).unwrap();
        let known = commit(&log, b"one");
        let never = Position { seq: known.seq + 1, ..known };
        let elsewhere = Position { edge_id: known.edge_id ^ 1, ..known };
        for unknown in [never, elsewhere] {
            assert_eq!(block_on(log.committed(unknown)), Err(WriteError::Unknown));
        }
    }
}
