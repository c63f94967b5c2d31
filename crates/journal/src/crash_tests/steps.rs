//! The steps of a life, and what must hold after each.

use super::promises::{Broken, Seen, ensure};
use super::schedule::{Life, Schedule};
use crate::disk::{Disk, Op};
use crate::shared::lock;
use crate::{Class, JournalError, Position, Shed, Sync};

impl Schedule<'_> {
    pub fn step(&mut self, life: &mut Life) -> Result<(), Broken> {
        match self.rng.below(100) {
            0..38 => self.append_some(life),
            38..55 => self.settle(life),
            55..70 => self.read(life, None),
            70..80 => self.checkpoint(life),
            80..84 => self.seek(life),
            84..87 => self.flush(life),
            87..90 => self.append_by_class(life),
            90..93 if life.sync == Sync::Fsync => self.hold(life),
            93..95 => self.trouble(life),
            90..97 => {
                self.refuse(&life.disk.clone());
                life.refusing = true;
                Ok(())
            }
            _ => {
                life.disk.faults.heal();
                life.refusing = false;
                self.say("heal".into());
                Ok(())
            }
        }
    }

    pub fn refuse(&mut self, disk: &Disk) {
        use Op::{Create, Remove, Rename, Sync, SyncDir, Truncate, Write};
        let all = [Create, Write, Truncate, Sync, Rename, SyncDir, Remove];
        let (ops, errno): (&[Op], i32) = self.rng.pick(&[
            (&[Write][..], 28),
            (&[Create], 28),
            (&[Truncate], 28),
            (&[Write, Create, Truncate], 28),
            (&[Write], 5),
            (&[Write, Truncate], 5),
            (&[Sync], 5),
            (&[SyncDir], 5),
            (&[SyncDir, Remove], 5),
            (&[Rename], 5),
            (&[Remove], 5),
            (&all, 30),
        ]);
        let partial = self.rng.below(300) as usize;
        disk.faults.refuse(ops, errno, partial);
        self.say(format!("refuse {ops:?} with {errno} after {partial} bytes"));
    }

    fn append_some(&mut self, life: &mut Life) -> Result<(), Broken> {
        for _ in 0..=self.rng.below(5) {
            let class = self.rng.pick(&Class::ALL);
            let group = self.options.group_bytes_max as u64;
            let bytes = match self.rng.below(20) {
                0 => group + 10,
                1..5 => self.rng.below(group),
                _ => self.rng.below(60),
            };
            self.append(life, class, bytes as usize)?;
        }
        Ok(())
    }

    /// Whatever room there is, a class that is shed later has it too.
    fn append_by_class(&mut self, life: &mut Life) -> Result<(), Broken> {
        let bytes = self.rng.below(60) as usize;
        let mut full = false;
        for class in Class::ALL.into_iter().rev() {
            let shed = self.append(life, class, bytes)?;
            ensure!(!full || shed.is_some(), "{class:?} is taken and a class that is shed later is not");
            full |= shed == Some(Shed::Full);
        }
        Ok(())
    }

    pub fn append(&mut self, life: &mut Life, class: Class, bytes: usize) -> Result<Option<Shed>, Broken> {
        self.offered += 1;
        self.tally.offered += 1;
        let fill = self.rng.pick(&[0, 1, 0xff, self.offered as u8]);
        let mut payload = vec![fill; bytes];
        let number = self.offered.to_le_bytes();
        let head = bytes.min(number.len());
        payload[..head].copy_from_slice(&number[..head]);
        let mut named = None;
        let taken = life.log.append(class, |edge_id, seq, out| {
            named = Some(Position { edge_id, seq });
            out.extend_from_slice(&payload);
        });
        self.say(format!("append {class:?} {bytes}: {taken:?}"));
        let frame = bytes + crate::frame::FRAME_HEADER_BYTES;
        let too_large = frame > self.options.group_bytes_max;
        let stats = life.log.stats();
        match taken {
            Ok(at) => {
                ensure!(named == Some(at) && !too_large, "{at:?} was encoded as {named:?}");
                ensure!(at.edge_id == life.log.edge_id(), "{at:?} has another edge");
                ensure!(stats.bytes <= stats.bytes_max + 32, "{stats:?} is over its bound");
                self.promises.took(at, class, payload)?;
                life.waiting.push(at);
            }
            Err(shed) => {
                life.shed[class as usize][shed as usize] += 1;
                self.tally.shed[shed as usize] += 1;
                let room = stats.bytes_max / 100 * class.percent_max();
                let fair = match shed {
                    Shed::Full => stats.bytes + frame as u64 > room,
                    Shed::TooLarge => too_large,
                    Shed::Behind => life.sync == Sync::Fsync,
                    Shed::Disk => stats.write_errors > 0 && self.options.retry_ms > 0,
                };
                ensure!(fair, "{class:?} of {bytes} is shed as {shed:?} with {stats:?}");
                // The group was handed over: what comes next must not depend on how fast it is.
                if shed == Shed::Behind && !life.held {
                    self.settle(life)?;
                }
            }
        }
        Ok(taken.err())
    }

    /// Asks for the outcome of everything taken.
    pub fn settle(&mut self, life: &mut Life) -> Result<(), Broken> {
        let waiting = std::mem::take(&mut life.waiting);
        let log = &life.log;
        let outcomes = self.runtime.block_on(async {
            let mut outcomes = Vec::with_capacity(waiting.len());
            for at in &waiting {
                outcomes.push(log.committed(*at).await);
            }
            outcomes
        });
        let dead = life.disk.faults.dead();
        self.say(format!("settle {outcomes:?}"));
        for (at, outcome) in waiting.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => {
                    life.kept += 1;
                    life.known.push(at);
                    self.tally.acknowledged += 1;
                }
                Err(_) => {
                    let class = self.promises.class(at);
                    life.shed[class as usize][Shed::Disk as usize] += 1;
                    self.tally.failed += 1;
                }
            }
            self.promises.settled(at, outcome, dead)?;
        }
        Ok(())
    }

    pub fn read(&mut self, life: &mut Life, bytes_max: Option<usize>) -> Result<(), Broken> {
        let bytes_max = bytes_max.unwrap_or_else(|| self.rng.pick(&[0, 100, 1000, usize::MAX]));
        let mut seen = Vec::new();
        let count = life.reader.read(bytes_max, |frame| seen.push(Seen::new(frame)));
        let names: Vec<_> = seen.iter().map(|seen| seen.position.seq).collect();
        self.say(format!("read {bytes_max}: {names:?}"));
        ensure!(count.as_ref().is_ok_and(|count| *count == seen.len()), "read said {count:?}");
        let committed_seq = life.log.stats().committed_seq;
        ensure!(names.iter().all(|seq| *seq <= committed_seq), "{names:?} read of {committed_seq}");
        self.tally.read += seen.len() as u64;
        self.promises.read(&seen, bytes_max == usize::MAX)?;
        life.known.extend(seen.iter().map(|seen| seen.position));
        Ok(())
    }

    /// A place to go to: read or acknowledged in this life, and not before the checkpoint.
    fn place(&mut self, life: &Life) -> Option<Position> {
        let from = self.promises.checkpoint_seq();
        let places: Vec<_> = life.known.iter().filter(|at| at.seq > from).copied().collect();
        if places.is_empty() || self.rng.chance(8) {
            return life.reader.checkpointed().0;
        }
        Some(self.rng.pick(&places))
    }

    pub fn checkpoint(&mut self, life: &mut Life) -> Result<(), Broken> {
        let before = life.known.iter().find(|at| at.seq < self.promises.checkpoint_seq()).copied();
        if let Some(before) = before {
            let refused = life.reader.checkpoint(before, b"back");
            ensure!(
                matches!(refused, Err(JournalError::Position { .. })),
                "a checkpoint went back to {before:?}: {refused:?}"
            );
        }
        let Some(at) = self.place(life) else { return Ok(()) };
        let note = vec![self.rng.next() as u8; self.rng.pick(&[0, 10, 700, 4096])];
        let done = life.reader.checkpoint(at, &note);
        self.say(format!("checkpoint {at:?}, note of {}: {done:?}", note.len()));
        self.promises.checkpoint(at, &note, done.is_ok());
        match done {
            Ok(()) => self.tally.checkpoints += 1,
            Err(JournalError::Io { .. }) => self.tally.checkpoints_refused += 1,
            Err(error) => return Err(format!("checkpoint {at:?}: {error}")),
        }
        if !life.refusing && !life.disk.faults.dead() {
            ensure!(done.is_ok(), "a healthy disk took no checkpoint");
            let state = lock(&life.log.shared.state);
            let next = state.segments.get(1).map(|next| next.first_seq);
            ensure!(next.is_none_or(|next| next > at.seq + 1), "{:?} are still there", state.segments);
        }
        Ok(())
    }

    fn seek(&mut self, life: &mut Life) -> Result<(), Broken> {
        let Some(at) = self.place(life) else { return Ok(()) };
        self.say(format!("seek {at:?}"));
        life.reader.seek(at).map_err(|error| error.to_string())?;
        self.promises.sought(at);
        Ok(())
    }

    pub fn flush(&mut self, life: &mut Life) -> Result<(), Broken> {
        let flushed = self.runtime.block_on(life.log.flush());
        self.say(format!("flush: {flushed:?}"));
        let healthy = !life.refusing && !life.disk.faults.dead();
        ensure!(flushed.is_ok() || !healthy, "flush failed on a healthy disk: {flushed:?}");
        self.settle(life)?;
        if flushed.is_ok() {
            self.promises.synced();
        }
        Ok(())
    }

    /// Stops the committer before one of its operations, lives on, and lets it go.
    fn hold(&mut self, life: &mut Life) -> Result<(), Broken> {
        self.append(life, Class::Sent, 20)?;
        let Some(last) = life.waiting.last().copied() else { return Ok(()) };
        let after = self.rng.below(6);
        let faults = life.disk.faults.clone();
        faults.hold_committer(Some(after as usize));
        life.held = self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = faults.held.notified() => true,
                _ = life.log.committed(last) => false,
            }
        });
        self.say(format!("hold the committer after {after} operations: {}", life.held));
        if life.held {
            self.tally.holds += 1;
            for _ in 0..self.rng.below(6) {
                match self.rng.below(4) {
                    0 => self.append_some(life),
                    1 => self.read(life, None),
                    2 => self.checkpoint(life),
                    _ => self.seek(life),
                }?;
            }
            if self.rng.chance(4) {
                self.say("die with the committer held".into());
                faults.die_in(0, 0);
            }
        }
        faults.hold_committer(None);
        life.held = false;
        self.settle(life)
    }

    /// Something fails, is tried again, and dies at it.
    pub fn trouble(&mut self, life: &mut Life) -> Result<(), Broken> {
        self.refuse(&life.disk.clone());
        life.refusing = true;
        for last in [false, true] {
            match self.rng.below(3) {
                0 => self.append_some(life).and_then(|()| self.settle(life)),
                _ => self.checkpoint(life),
            }?;
            life.disk.faults.heal();
            if !last && self.rng.chance(2) {
                let (ops, partial) = (self.rng.below(8), self.rng.below(2000));
                self.say(format!("heal, and die in {ops} operations after {partial} bytes"));
                life.disk.faults.die_in(ops as usize, partial as usize);
            }
        }
        life.refusing = false;
        Ok(())
    }
}
