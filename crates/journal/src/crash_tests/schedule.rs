//! One schedule: a few lives of a journal in one directory, and what ends them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Runtime;

use super::promises::{Broken, Promises, ensure};
use super::{STEPS_MAX, Tally};
use crate::disk::{Disk, Op};
use crate::power::{Power, Rng};
use crate::scan::{Scan, written_end};
use crate::segment::{HEADER_BYTES, Segment};
use crate::shared::lock;
use crate::{Class, Log, Options, Position, Reader, Shed, Stats, Sync};

pub(super) struct Schedule<'a> {
    pub seed: u64,
    pub rng: Rng,
    pub options: Options,
    /// The one mode of all lives, unless they alternate.
    pub sync: Option<Sync>,
    pub power: Arc<Power>,
    pub runtime: Runtime,
    pub promises: Promises,
    pub edge_id: Option<u64>,
    pub offered: u64,
    pub said: Vec<String>,
    pub tally: &'a mut Tally,
}

/// One process.
pub(super) struct Life {
    pub log: Log,
    pub reader: Reader,
    pub disk: Disk,
    pub sync: Sync,
    /// Taken, and not yet asked for.
    pub waiting: Vec<Position>,
    /// Read in this life, and acknowledged in it.
    pub known: Vec<Position>,
    pub kept: u64,
    pub shed: [[u64; Shed::ALL.len()]; Class::ALL.len()],
    pub refusing: bool,
    pub held: bool,
}

impl Schedule<'_> {
    pub fn new(seed: u64, dir: PathBuf, tally: &mut Tally) -> Schedule<'_> {
        let mut rng = Rng(Rng(seed).next());
        let group_bytes_max = rng.pick(&[100, 300, 800]);
        let segment_bytes = 32 + group_bytes_max as u64 + rng.pick(&[0, 100, 500, 3000]);
        let options = Options {
            segment_bytes,
            bytes_max: segment_bytes * rng.pick(&[4, 5, 8, 40]),
            group_bytes_max,
            // For ever, or not at all: a schedule must not depend on the clock.
            retry_ms: if rng.chance(8) { 3_600_000 } else { 0 },
            ..Options::new(&dir)
        };
        let sync = rng.pick(&[Some(Sync::Fsync), Some(Sync::PageCache), Some(Sync::Fsync), None]);
        let power = Arc::new(Power::new(dir, rng.pick(&[512, 4096]), !rng.chance(4)));
        let said = vec![format!("{options:?}, {sync:?}")];
        Schedule {
            seed,
            rng,
            options,
            sync,
            power,
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
            promises: Promises::new(),
            edge_id: None,
            offered: 0,
            said,
            tally,
        }
    }

    pub fn say(&mut self, what: String) {
        self.said.push(what);
    }

    pub fn run(&mut self, steps_max: usize) -> Result<(), Broken> {
        let lives = 1 + self.rng.below(4);
        let mut steps = 0;
        for life in 0..lives {
            // Apart from the steps before, so that a shorter schedule is otherwise the same.
            self.rng = Rng(Rng(self.seed ^ (life + 1) << 40).next());
            let power_loss = self.rng.chance(2);
            let life_steps = self.rng.below(STEPS_MAX as u64 / 4) as usize;
            self.live(life_steps.min(steps_max - steps))?;
            steps = (steps + life_steps).min(steps_max);
            if power_loss {
                self.say("power loss".into());
                self.tally.power_losses += 1;
                let mut rng = Rng(Rng(self.seed ^ (life + 1) << 48).next());
                self.power.lose(&mut rng).unwrap();
                self.promises.lost_power();
            } else {
                self.tally.kills += 1;
            }
            if steps == steps_max {
                break;
            }
        }
        let rotted = if self.rng.chance(4) { self.rot()? } else { None };
        self.last_life(rotted)
    }

    /// Damages a byte of a file, and returns the number of the frame that it was in, if that was certain to be
    /// read.
    fn rot(&mut self) -> Result<Option<u64>, Broken> {
        let files = std::fs::read_dir(&self.options.dir).into_iter().flatten().flatten();
        let mut files: Vec<_> = files
            .filter_map(|file| Some((file.file_name().into_string().ok()?, file.metadata().ok()?.len())))
            .filter(|(_, bytes)| *bytes > 0)
            .collect();
        files.sort();
        if files.is_empty() {
            return Ok(None);
        }
        let (name, bytes) = &files[self.rng.below(files.len() as u64) as usize];
        let segment = Segment::from_name(name);
        let written = if segment.is_some() { *bytes } else { 60 };
        let (path, at, bits) =
            (self.options.dir.join(name), self.rng.below(written.min(*bytes)), 1 << self.rng.below(8));
        self.say(format!("byte {at} of {name} rots"));
        let segment = segment.map(|segment| Segment { end: *bytes, ..segment });
        let hit = segment.as_ref().map_or(Ok(None), |segment| frame_at(&path, segment, at));
        let hit = hit.and_then(|hit| self.power.rot(&path, at as usize, bits).map(|()| hit));
        let hit = hit.map_err(|error| error.to_string())?;
        self.promises.damaged = true;
        if name == "checkpoint" {
            self.promises.checkpoint_rotted();
        }
        let hit = segment.zip(hit);
        Ok(hit.filter(|(segment, seq)| self.promises.rotted(segment.edge_id, *seq)).map(|(_, seq)| seq))
    }

    /// One life, to its end or its death.
    fn live(&mut self, steps: usize) -> Result<(), Broken> {
        let disk = Disk { power: Some(self.power.clone()), ..Disk::default() };
        if !self.rng.chance(3) {
            let (op, partial) = (self.rng.below(self.death_ops()), self.rng.below(300));
            disk.faults.die_at(op as usize, partial as usize);
            self.say(format!("dies at operation {op} after {partial} bytes"));
        }
        let refusing = self.rng.chance(6);
        if refusing {
            self.refuse(&disk);
        }
        let Some(mut life) = self.open(disk, refusing)? else { return Ok(()) };
        for _ in 0..steps {
            if life.disk.faults.dead() {
                break;
            }
            self.step(&mut life)?;
        }
        if self.rng.chance(4) && steps > 0 && !life.disk.faults.dead() {
            self.trouble(&mut life)?;
        }
        self.end(life)
    }

    /// Deaths come early and late: a step takes a few operations.
    fn death_ops(&self) -> u64 {
        [30, 60, 150][(self.seed % 3) as usize]
    }

    fn open(&mut self, disk: Disk, refusing: bool) -> Result<Option<Life>, Broken> {
        let sync = self.sync.unwrap_or_else(|| self.rng.pick(&[Sync::Fsync, Sync::PageCache]));
        let options = Options { sync, ..self.options.clone() };
        self.tally.lives += 1;
        self.say(format!("open {sync:?}"));
        let (log, reader) = match crate::recover::open(options, disk.clone()) {
            Ok(opened) => opened,
            Err(error) => {
                self.tally.opens_refused += 1;
                self.say(format!("  {error}"));
                ensure!(!disk.faults.refused().is_empty(), "a healthy journal does not open: {error:?}");
                return Ok(None);
            }
        };
        let stats = log.stats();
        self.tally.torn_bytes += stats.torn_bytes;
        self.tally.new_edges += u64::from(self.edge_id.replace(log.edge_id()) != Some(log.edge_id()));
        self.say(format!("  {:016x}, {:?}, {stats:?}", log.edge_id(), reader.checkpointed().0));
        self.promises.opened(sync, reader.checkpointed())?;
        if stats.torn_bytes > 0 {
            for segment in &lock(&log.shared.state).segments {
                let file = std::fs::File::open(segment.path(&self.options.dir));
                let behind = file.and_then(|file| written_end(&file, segment.end));
                ensure!(
                    behind.is_ok_and(|end| end == segment.end),
                    "the torn tail of {segment:?} is still there"
                );
            }
        }
        Ok(Some(Life {
            log,
            reader,
            disk,
            sync,
            waiting: Vec::new(),
            known: Vec::new(),
            kept: 0,
            shed: Default::default(),
            refusing,
            held: false,
        }))
    }

    fn end(&mut self, mut life: Life) -> Result<(), Broken> {
        let faults = life.disk.faults.clone();
        let ending = self.rng.below(4);
        if faults.dead() {
            self.tally.deaths_in_a_step += 1;
        }
        if ending == 0 && !life.refusing {
            // Dropping it writes what waits; whoever dies on the way leaves that open.
            self.say("drop".into());
            let outcome = |at: &Position| lock(&life.log.shared.state).outcome(at.seq);
            let settled: Vec<_> =
                life.waiting.iter().map(|at| (*at, outcome(at).unwrap_or(Ok(())))).collect();
            drop(life.log);
            if !faults.dead() {
                settled
                    .into_iter()
                    .try_for_each(|(at, outcome)| self.promises.settled(at, outcome, false))?;
            }
        } else {
            if ending > 1 {
                self.say("die".into());
                faults.die_in(0, 0);
            } else {
                self.flush(&mut life)?;
            }
            self.settle(&mut life)?;
            self.account(&life)?;
        }
        self.promises.ended(faults.refused().contains(&Op::Truncate));
        Ok(())
    }

    /// Offered = kept + shed, by class and reason.
    fn account(&mut self, life: &Life) -> Result<(), Broken> {
        let stats = life.log.stats();
        let expected = Stats { frames: life.kept, shed: life.shed, ..stats.clone() };
        ensure!(stats == expected, "the counters say {stats:?}, expected {expected:?}");
        self.tally.bad_frames += stats.bad_frames;
        let bad = (stats.bad_frames, stats.bad_segments);
        ensure!(self.promises.damaged || bad.1 == 0, "{bad:?} damaged and nothing was lost");
        Ok(())
    }

    /// On a healthy disk everything promised is there, and the journal goes on.
    fn last_life(&mut self, rotted: Option<u64>) -> Result<(), Broken> {
        let disk = || Disk { power: Some(self.power.clone()), ..Disk::default() };
        let (disk, again) = (disk(), disk());
        let mut life = self.open(disk, false)?.ok_or("a healthy journal does not open")?;
        self.read(&mut life, Some(usize::MAX))?;
        for class in Class::ALL {
            self.append(&mut life, class, 30)?;
        }
        self.settle(&mut life)?;
        self.read(&mut life, Some(usize::MAX))?;
        self.account(&life)?;
        if let Some(rotted) = rotted.filter(|seq| *seq > self.promises.checkpoint_seq()) {
            self.tally.rotted += 1;
            let stats = life.log.stats();
            // At the tail it was cut off, elsewhere it was passed by.
            ensure!(stats.bad_frames + stats.torn_bytes > 0, "frame {rotted} is gone, and not counted");
        }
        self.checkpoint(&mut life)?;
        self.promises.ended(false);
        drop(life);
        let mut life = self.open(again, false)?.ok_or("a healthy journal does not open")?;
        self.read(&mut life, Some(usize::MAX))?;
        self.account(&life)
    }
}

/// The number of the frame that the byte at `at` belongs to.
fn frame_at(path: &Path, segment: &Segment, at: u64) -> std::io::Result<Option<u64>> {
    let (file, mut scan) = (std::fs::File::open(path)?, Scan::default());
    scan.place(HEADER_BYTES, segment.first_seq.saturating_sub(1));
    while let Some(found) = scan.peek(&file, crate::frame::seed(segment.edge_id), segment.end)? {
        if (scan.offset..scan.offset + found.bytes as u64).contains(&at) {
            return Ok(Some(found.seq));
        }
        scan.pass(&found);
    }
    Ok(None)
}
