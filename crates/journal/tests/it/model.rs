use journal::{Class, Position, Shed, Sync};
use proptest::prelude::*;

use crate::{Read, block_on, options, read};

#[derive(Debug, Clone)]
enum Step {
    Append(usize, Class),
    Commit,
    Read(usize),
    /// Checkpoint at this share of what was read, of 16.
    Checkpoint(usize),
    /// Seek to this share of what may be sought, of 16.
    Seek(usize),
    Reopen(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0usize..400, 0usize..4).prop_map(|(bytes, class)| Step::Append(bytes, Class::ALL[class])),
        6 => Just(Step::Commit),
        4 => (0usize..3000).prop_map(Step::Read),
        2 => (0usize..=16).prop_map(Step::Checkpoint),
        1 => (0usize..=16).prop_map(Step::Seek),
        1 => any::<bool>().prop_map(Step::Reopen),
    ]
}

/// Every frame ever taken, and how far each party is with them.
#[derive(Default)]
struct Model {
    frames: Vec<Read>,
    committed: usize,
    read: usize,
    done: usize,
    opened: usize,
}

impl Model {
    /// What a read must have given, from where the reader is.
    fn check(&mut self, got: &[Read], bytes_max: usize) {
        let end = self.read + got.len();
        assert!(end <= self.frames.len(), "more than was appended");
        for (index, frame) in got.iter().enumerate() {
            let index = self.read + index;
            let replay = index < self.opened;
            assert_eq!(frame, &Read { replay, ..self.frames[index].clone() });
        }
        let bytes: usize = got.iter().map(|frame| frame.payload.len()).sum();
        assert!(bytes <= bytes_max || got.len() == 1);
        if let Some(next) = self.frames.get(end) {
            let had_room = got.is_empty() || bytes + next.payload.len() <= bytes_max;
            assert!(!had_room || end >= self.committed, "{end} read of {} committed", self.committed);
        }
        self.read = end;
    }

    fn place(&self, frames: usize, edge_id: u64) -> Position {
        frames.checked_sub(1).map_or(Position { edge_id, seq: 0 }, |last| self.frames[last].position)
    }
}

fn run(mut sync: Sync, steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    // Small enough that a schedule may fill it.
    let options = |sync| journal::Options { bytes_max: 20_000, ..options(dir.path(), sync) };
    let (mut log, mut reader) = journal::open(options(sync)).unwrap();
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Append(bytes, class) => {
                let payload = vec![model.frames.len() as u8; bytes];
                match log.append(class, |_, _, out| out.extend_from_slice(&payload)) {
                    Ok(position) => model.frames.push(Read { position, class, replay: false, payload }),
                    Err(Shed::Full) => assert!(log.stats().bytes > 20_000 * 9 / 10 - 500),
                    Err(Shed::Behind) => assert_eq!(sync, Sync::Fsync),
                    Err(reason) => panic!("{reason}"),
                }
            }
            Step::Commit if model.frames.len() > model.opened => {
                block_on(log.committed(model.frames.last().unwrap().position)).unwrap();
                model.committed = model.frames.len();
            }
            Step::Commit => {}
            Step::Read(bytes_max) => {
                let got = read(&mut reader, bytes_max);
                model.check(&got, bytes_max);
            }
            Step::Checkpoint(share) => {
                let done = model.done + (model.read - model.done) * share / 16;
                reader.checkpoint(model.place(done, log.edge_id()), &done.to_le_bytes()).unwrap();
                model.done = done;
            }
            Step::Seek(share) => {
                let to = model.done + (model.read - model.done) * share / 16;
                reader.seek(model.place(to, log.edge_id())).unwrap();
                model.read = to;
            }
            Step::Reopen(switch) => {
                drop(log);
                let (position, note) = reader.checkpointed();
                let checkpoint = (position, note.to_vec());
                drop(reader);
                sync = if switch && sync == Sync::PageCache { Sync::Fsync } else { Sync::PageCache };
                (log, reader) = journal::open(options(sync)).unwrap();
                assert_eq!(reader.checkpointed(), (checkpoint.0, checkpoint.1.as_slice()));
                model.opened = model.frames.len();
                (model.committed, model.read) = (model.opened, model.done);
            }
        }
        let stats = log.stats();
        assert_eq!(
            (stats.bad_frames, stats.bad_segments, stats.torn_bytes, stats.write_errors),
            (0, 0, 0, 0)
        );
        assert!(stats.bytes <= 20_000 + 32);
        assert_eq!(stats.next_seq, model.frames.last().map_or(0, |frame| frame.position.seq) + 1);
    }
    block_on(log.flush()).unwrap();
    model.committed = model.frames.len();
    let rest = read(&mut reader, usize::MAX);
    model.check(&rest, usize::MAX);
    assert!(model.frames.windows(2).all(|pair| pair[0].position.seq < pair[1].position.seq));
    assert!(model.frames.iter().all(|frame| frame.position.edge_id == log.edge_id()), "one edge all along");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever the order of calls, the reader sees every committed frame, once, in order.
    #[test]
    fn any_schedule_agrees_with_a_vector(fsync in any::<bool>(), steps in prop::collection::vec(step(), 1..250)) {
        run(if fsync { Sync::Fsync } else { Sync::PageCache }, steps);
    }
}
