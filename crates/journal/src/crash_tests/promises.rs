//! What a journal has promised so far, and whether what it shows agrees.

use std::collections::BTreeMap;

use crate::{Class, Frame, Position, Sync, WriteError};

/// What went wrong, in words.
pub(super) type Broken = String;

macro_rules! ensure {
    ($holds:expr, $($said:tt)+) => {
        if !$holds {
            return Err(format!($($said)+));
        }
    };
}
pub(super) use ensure;

/// Everything offered to one directory over all its lives.
#[derive(Default)]
pub(super) struct Promises {
    frames: BTreeMap<(u64, u64), Vec<Taken>>,
    /// The checkpoint that is certain, then those that were tried after it and failed.
    checkpoints: Vec<(Option<Position>, Vec<u8>)>,
    pub life: usize,
    sync: Option<Sync>,
    /// The reader is just after this sequence number.
    place: u64,
    highest_seq: u64,
    /// Some part of the journal may have been lost with the power, or by the hand of the test.
    pub damaged: bool,
}

fn brief((position, note): &(Option<Position>, Vec<u8>)) -> String {
    let place = position.map(|position| format!("{:016x}/{}", position.edge_id, position.seq));
    format!("{place:?} with {} x {:?}", note.len(), note.first())
}

/// A frame that was given a name.
struct Taken {
    class: Class,
    payload: Vec<u8>,
    life: usize,
    sync: Sync,
    fate: Fate,
    /// Somebody outside knows it by its name: it was acknowledged or read.
    known: bool,
    /// The power was lost after it was written to the page cache.
    may_be_lost: bool,
    /// It was refused, but what was written of it could not be cut off, or the power was lost since.
    may_return: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Waiting,
    Kept,
    Refused,
    /// The process died before it could tell.
    Open,
}

/// A frame as read.
#[derive(Debug)]
pub(super) struct Seen {
    pub position: Position,
    class: Class,
    replay: bool,
    payload: Vec<u8>,
}

impl Seen {
    pub fn new(frame: Frame<'_>) -> Seen {
        let (position, payload) = (frame.position(), frame.payload.to_vec());
        Seen { position, class: frame.class, replay: frame.replay, payload }
    }
}

impl Promises {
    pub fn new() -> Promises {
        Promises { checkpoints: vec![(None, Vec::new())], ..Promises::default() }
    }

    pub fn opened(&mut self, sync: Sync, found: (Option<Position>, &[u8])) -> Result<(), Broken> {
        self.life += 1;
        self.sync = Some(sync);
        let found = (found.0, found.1.to_vec());
        let expected: Vec<_> = self.checkpoints.iter().map(brief).collect();
        let found_brief = brief(&found);
        ensure!(
            self.checkpoints.contains(&found),
            "checkpoint is {found_brief}, expected one of {expected:?}"
        );
        // From here on the reader builds on it.
        self.checkpoints = vec![found];
        self.place = self.checkpoint_seq();
        self.highest_seq = self.place;
        if sync == Sync::Fsync {
            // What is here now is synced before it is read.
            self.synced();
        }
        Ok(())
    }

    /// Everything kept so far is durable.
    pub fn synced(&mut self) {
        let kept = self.frames.values_mut().flatten().filter(|frame| frame.fate == Fate::Kept);
        kept.for_each(|frame| frame.sync = Sync::Fsync);
    }

    pub fn checkpoint_seq(&self) -> u64 {
        self.checkpoints[0].0.map_or(0, |position| position.seq)
    }

    pub fn took(&mut self, at: Position, class: Class, payload: Vec<u8>) -> Result<(), Broken> {
        ensure!(at.seq > self.highest_seq, "{at:?} was given out after {}", self.highest_seq);
        self.highest_seq = at.seq;
        let before = self.frames.entry((at.seq, at.edge_id)).or_default();
        ensure!(!before.iter().any(|frame| frame.known), "{at:?} names two frames");
        before.push(Taken {
            class,
            payload,
            life: self.life,
            sync: self.sync.unwrap_or(Sync::PageCache),
            fate: Fate::Waiting,
            known: false,
            may_be_lost: false,
            may_return: false,
        });
        Ok(())
    }

    /// Takes note of an outcome. The word of a dead process counts only when it is good.
    pub fn settled(
        &mut self,
        at: Position,
        outcome: Result<(), WriteError>,
        dead: bool,
    ) -> Result<(), Broken> {
        let frame = self.frames.get_mut(&(at.seq, at.edge_id)).and_then(|frames| frames.last_mut());
        let frame = frame.ok_or_else(|| format!("{at:?} was never taken"))?;
        ensure!(outcome.is_ok() || !frame.known, "{at:?} was read, and then failed with {outcome:?}");
        frame.known |= outcome.is_ok();
        frame.fate = match outcome {
            Ok(()) => Fate::Kept,
            Err(_) if dead => Fate::Open,
            Err(_) => Fate::Refused,
        };
        Ok(())
    }

    pub fn class(&self, at: Position) -> Class {
        self.frames[&(at.seq, at.edge_id)].last().map_or(Class::Open, |frame| frame.class)
    }

    /// Judges what one call of the reader gave; `all`: it was asked for everything.
    pub fn read(&mut self, seen: &[Seen], all: bool) -> Result<(), Broken> {
        let end = match seen.last() {
            Some(last) if !all => last.position.seq,
            None if !all => self.place + 1,
            _ => u64::MAX - 1,
        };
        let due = |frame: &Taken| frame.fate == Fate::Kept && !frame.may_be_lost;
        for (&(seq, edge_id), frames) in self.frames.range((self.place + 1, 0)..=(end, u64::MAX)) {
            if let Some(frame) = frames.iter().find(|frame| due(frame)) {
                let shown = seen.iter().any(|seen| seen.position == Position { edge_id, seq });
                let (life, sync) = (frame.life, frame.sync);
                ensure!(shown, "{edge_id:016x}/{seq}, acknowledged in life {life} as {sync:?}, is not read");
            }
        }
        if seen.is_empty()
            && !all
            && let Some(due) = self.next_due(due)
        {
            return Err(format!("nothing is read, and {due:?} is there"));
        }
        for seen in seen {
            self.judge(seen)?;
        }
        Ok(())
    }

    fn next_due(&self, due: impl Fn(&Taken) -> bool) -> Option<(u64, u64)> {
        let mut after = self.frames.range((self.place + 1, 0)..);
        after.find(|(_, frames)| frames.iter().any(&due)).map(|(name, _)| *name)
    }

    fn judge(&mut self, seen: &Seen) -> Result<(), Broken> {
        let at = seen.position;
        ensure!(at.seq > self.place, "{at:?} is read after {}", self.place);
        self.place = at.seq;
        let frames = self.frames.get_mut(&(at.seq, at.edge_id)).map(Vec::as_mut_slice).unwrap_or_default();
        let known = frames.iter().any(|frame| frame.known);
        let same = |frame: &&mut Taken| {
            frame.payload == seen.payload && frame.class == seen.class && (frame.known || !known)
        };
        let Some(frame) = frames.iter_mut().rev().find(same) else {
            return Err(format!("{seen:?} is read, and was never offered under that name"));
        };
        frame.known = true;
        let replay = frame.life < self.life;
        ensure!(seen.replay == replay, "{at:?} is read with replay {}", seen.replay);
        ensure!(
            frame.fate != Fate::Refused || (replay && frame.may_return),
            "{at:?} is read, and was refused in life {}",
            frame.life
        );
        Ok(())
    }

    pub fn sought(&mut self, at: Position) {
        self.place = at.seq;
    }

    pub fn checkpoint(&mut self, at: Position, note: &[u8], done: bool) {
        if done {
            self.checkpoints.clear();
            self.place = self.place.max(at.seq);
        }
        self.checkpoints.push((Some(at), note.to_vec()));
    }

    /// The process is gone. `uncut`: it could not cut off all that it had to refuse.
    pub fn ended(&mut self, uncut: bool) {
        let life = self.life;
        for frame in self.frames.values_mut().flatten().filter(|frame| frame.life == life) {
            frame.may_return |= uncut;
            if frame.fate == Fate::Waiting {
                frame.fate = Fate::Open;
            }
        }
    }

    /// A byte of this frame went bad. True if it had been certain to be read.
    pub fn rotted(&mut self, edge_id: u64, seq: u64) -> bool {
        let mut due = false;
        for frame in self.frames.get_mut(&(seq, edge_id)).into_iter().flatten() {
            due |= frame.fate == Fate::Kept && !frame.may_be_lost;
            frame.may_be_lost = true;
        }
        due
    }

    /// The checkpoint went bad: what it had passed may be read again.
    pub fn checkpoint_rotted(&mut self) {
        // One that was tried may have been found since, by a process that did not live to say so.
        let tried = self.checkpoints.iter().filter_map(|(position, _)| Some(position.as_ref()?.seq));
        let done = tried.max().unwrap_or(0);
        for (_, frames) in self.frames.range_mut(..=(done, u64::MAX)) {
            frames.iter_mut().for_each(|frame| frame.may_be_lost = true);
        }
        self.checkpoints.push((None, Vec::new()));
    }

    pub fn lost_power(&mut self) {
        self.damaged = true;
        for frame in self.frames.values_mut().flatten() {
            frame.may_return = true;
            frame.may_be_lost |= frame.sync == Sync::PageCache;
        }
    }
}
