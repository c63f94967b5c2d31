//! Random lives of a journal, on a disk that may refuse, die and lose its power at any step.

mod promises;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Runtime;

use self::promises::{Broken, Promises, Seen, ensure};
use crate::disk::{Disk, Op};
use crate::power::{Power, Rng};
use crate::scan::Scan;
use crate::segment::{HEADER_BYTES, Segment};
use crate::{Class, JournalError, Log, Options, Position, Reader, Shed, Stats, Sync};

/// How many schedules are run.
const SCHEDULES_VAR: &str = "MAILBEACON_CRASH_SCHEDULES";
const SCHEDULES: u64 = 2_000;
/// The seed of the first one; each has the seed after the one before.
const SEED_VAR: &str = "MAILBEACON_CRASH_SEED";
const STEPS_MAX: usize = 200;

#[test]
fn no_crash_schedule_breaks_a_promise() {
    let number = |var| env::var(var).ok().map(|text| text.parse::<u64>().unwrap());
    let (first, schedules) = (number(SEED_VAR).unwrap_or(1), number(SCHEDULES_VAR).unwrap_or(SCHEDULES));
    let (start, mut tally) = (Instant::now(), Tally::default());
    for seed in first..first + schedules {
        if let Err(broken) = run(seed, STEPS_MAX, &mut tally).outcome {
            panic!("{broken}\n{}", shortest(seed));
        }
    }
    println!("{schedules} schedules from seed {first} in {:.1?}: {tally:#?}", start.elapsed());
    if schedules >= SCHEDULES {
        tally.saw_everything();
    }
}

/// The same schedule with the fewest steps that still break a promise, step by step.
fn shortest(seed: u64) -> String {
    let failing = |steps: &usize| run(seed, *steps, &mut Tally::default()).outcome.is_err();
    let steps = (0..=STEPS_MAX).find(failing).unwrap_or(STEPS_MAX);
    let again = run(seed, steps, &mut Tally::default());
    format!(
        "{SEED_VAR}={seed} {SCHEDULES_VAR}=1, the first {steps} steps:\n{}\n{:?}",
        again.said.join("\n"),
        again.outcome
    )
}

/// What happened in all schedules, so that a checker that checks nothing is seen.
#[derive(Debug, Default)]
struct Tally {
    lives: u64,
    kills: u64,
    power_losses: u64,
    deaths_in_a_step: u64,
    opens_refused: u64,
    offered: u64,
    acknowledged: u64,
    failed: u64,
    shed: [u64; Shed::ALL.len()],
    read: u64,
    checkpoints: u64,
    checkpoints_refused: u64,
    holds: u64,
    new_edges: u64,
    torn_bytes: u64,
    bad_frames: u64,
    rotted: u64,
}

impl Tally {
    fn saw_everything(&self) {
        let Tally { kills, power_losses, deaths_in_a_step, opens_refused, failed, shed, .. } = self;
        let Tally { checkpoints_refused, holds, new_edges, torn_bytes, bad_frames, rotted, .. } = self;
        let crashes = [kills, power_losses, deaths_in_a_step, opens_refused, failed];
        let others = [checkpoints_refused, holds, new_edges, torn_bytes, bad_frames, rotted];
        assert!(crashes.into_iter().chain(others).chain(shed).all(|count| *count > 20), "{self:#?}");
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

struct Outcome {
    outcome: Result<(), Broken>,
    said: Vec<String>,
}

fn run(seed: u64, steps_max: usize, tally: &mut Tally) -> Outcome {
    let shm = Path::new("/dev/shm");
    let root = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.unwrap();
    let mut schedule = Schedule::new(seed, root.path().canonicalize().unwrap().join("journal"), tally);
    let outcome = catch_unwind(AssertUnwindSafe(|| schedule.run(steps_max)))
        .unwrap_or_else(|panic| Err(format!("panicked: {:?}", panic.downcast_ref::<String>())));
    Outcome {
        outcome: outcome.map_err(|broken| format!("life {}: {broken}", schedule.promises.life)),
        said: schedule.said,
    }
}

struct Schedule<'a> {
    seed: u64,
    rng: Rng,
    options: Options,
    /// The one mode of all lives, unless they alternate.
    sync: Option<Sync>,
    power: Arc<Power>,
    runtime: Runtime,
    promises: Promises,
    edge_id: Option<u64>,
    offered: u64,
    said: Vec<String>,
    tally: &'a mut Tally,
}

/// One process.
struct Life {
    log: Log,
    reader: Reader,
    disk: Disk,
    sync: Sync,
    /// Taken, and not yet asked for.
    waiting: Vec<Position>,
    /// Read in this life, and acknowledged in it.
    known: Vec<Position>,
    kept: u64,
    shed: [[u64; Shed::ALL.len()]; Class::ALL.len()],
    refusing: bool,
    held: bool,
}

impl Schedule<'_> {
    fn new(seed: u64, dir: PathBuf, tally: &mut Tally) -> Schedule<'_> {
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
            promises: Promises::default(),
            edge_id: None,
            offered: 0,
            said,
            tally,
        }
    }

    fn say(&mut self, what: String) {
        self.said.push(what);
    }

    fn run(&mut self, steps_max: usize) -> Result<(), Broken> {
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

    /// Damages a byte of a segment, and returns the number of the frame that it was in, if that was certain to
    /// be read.
    fn rot(&mut self) -> Result<Option<u64>, Broken> {
        let segments = std::fs::read_dir(&self.options.dir).into_iter().flatten().flatten();
        let mut segments: Vec<_> = segments
            .filter_map(|entry| {
                let segment = Segment::from_name(entry.file_name().to_str()?)?;
                let end = entry.metadata().ok().filter(|data| data.len() > 0)?.len();
                Some(Segment { end, ..segment })
            })
            .collect();
        segments.sort_by_key(|segment| segment.first_seq);
        let Some(index) = (segments.len() as u64).checked_sub(1).map(|last| self.rng.below(last + 1)) else {
            return Ok(None);
        };
        let segment = &segments[index as usize];
        let (path, at, bits) =
            (segment.path(&self.options.dir), self.rng.below(segment.end), 1 << self.rng.below(8));
        let hit = frame_at(&path, segment, at).map_err(|error| error.to_string())?;
        self.power.rot(&path, at as usize, bits).map_err(|error| error.to_string())?;
        self.promises.damaged = true;
        self.said.push(format!("byte {at} of {} rots, in {hit:?}", path.display()));
        Ok(hit.filter(|seq| self.promises.rotted(segment.edge_id, *seq)))
    }

    /// One life, to its end or its death.
    fn live(&mut self, steps: usize) -> Result<(), Broken> {
        let disk = Disk { power: Some(self.power.clone()), ..Disk::default() };
        if !self.rng.chance(3) {
            let (op, partial) = (self.rng.below(self.rng_ops()), self.rng.below(300));
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
        self.end(life)
    }

    /// Deaths come early and late: a step takes a few operations.
    fn rng_ops(&self) -> u64 {
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

    fn step(&mut self, life: &mut Life) -> Result<(), Broken> {
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

    fn refuse(&mut self, disk: &Disk) {
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

    fn append(&mut self, life: &mut Life, class: Class, bytes: usize) -> Result<Option<Shed>, Broken> {
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
    fn settle(&mut self, life: &mut Life) -> Result<(), Broken> {
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

    fn read(&mut self, life: &mut Life, bytes_max: Option<usize>) -> Result<(), Broken> {
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

    fn checkpoint(&mut self, life: &mut Life) -> Result<(), Broken> {
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
            let state = crate::shared::lock(&life.log.shared.state);
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

    fn flush(&mut self, life: &mut Life) -> Result<(), Broken> {
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
    fn trouble(&mut self, life: &mut Life) -> Result<(), Broken> {
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

    fn end(&mut self, mut life: Life) -> Result<(), Broken> {
        let faults = life.disk.faults.clone();
        let ending = self.rng.below(4);
        if faults.dead() {
            self.tally.deaths_in_a_step += 1;
        }
        if ending == 0 && !life.refusing {
            // Dropping it writes what waits; whoever dies on the way leaves that open.
            self.say("drop".into());
            let outcome = |at: &Position| crate::shared::lock(&life.log.shared.state).outcome(at.seq);
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
