//! A model of everything around a [`Lane`] and its [`Turns`], to drive the very machines through what goes wrong:
//! processes that crash, lose parts to others or do not know it yet; replies that are lost or late; a ClickHouse that is
//! killed in the middle of an insert, or loses the end of its log of tokens with its power; rows that it rejects.
//!
//! A schedule is random and comes from one number. At its end all is healed, the last owners finish, and every
//! event must be there exactly once, in the table and in both views.

mod server;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use enrich::{Enricher, Tables};
use event::{Batch as Frames, Event, Kind};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use store::{Cause, InsertError, StoreError};

use crate::aside::Answer;
use crate::batch::EventId;
use crate::intent::Intent;
use crate::lane::{Bound, Lane};
use crate::source::{CommitError, Part, Payload};
use crate::task::{Done, Task};
use crate::turns::{self, Fate, Turns};
use server::{Request, Server};

/// In the short form. The long form: `MAILBEACON_SCHEDULES=1000000 cargo test --release -p consumer schedules`.
const SCHEDULES: u64 = 3_000;
/// Random moves of one schedule.
const MOVES: usize = 140;
/// Rounds after the healing in which the last owners must be finished.
const ROUNDS_MAX: usize = 3_000;
/// A group gives a silent member's parts to another after this long, at the least.
const SESSION: Duration = Duration::from_secs(10);
/// A machine that lost its power takes this long to answer again, at the least.
const BOOT: Duration = Duration::from_secs(10);
/// A server that was killed takes this long to answer again, at the least.
const START: Duration = Duration::from_millis(400);
/// A batch is due when it is this old.
const LINGER: Duration = Duration::from_millis(500);
/// Two months, of which events are.
const TIMES_MS: [i64; 2] = [1_764_000_000_000, 1_766_000_000_000];

static TABLES: LazyLock<Arc<Tables>> = LazyLock::new(|| Arc::new(Tables::load(&[]).unwrap()));

/// A row as the model sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ModelRow {
    month: u32,
    part: usize,
    off: u64,
    seq: u64,
}

impl ModelRow {
    fn id(&self) -> EventId {
        (edge(self.part), self.seq)
    }
}

/// Each part has the events of an edge of its own.
fn edge(part: usize) -> u64 {
    part as u64 + 1
}

struct Message {
    payload: Vec<u8>,
    /// A journal's frame and not a batch.
    single: bool,
}

/// A part, as the source has it.
struct Log {
    messages: Vec<Message>,
    committed: (Option<u64>, String),
    /// Of the ownership that may commit.
    generation: u64,
}

struct Process {
    id: u64,
    lanes: BTreeMap<Part, Lane>,
    /// Where each of its parts is read, and in which generation it has it.
    reads: BTreeMap<usize, (u64, u64)>,
    turns: Turns,
}

struct World {
    rng: SmallRng,
    logs: Vec<Log>,
    /// Which events must be rows in the end, and which must be dead letters.
    expected: HashSet<EventId>,
    poison: HashSet<EventId>,
    letters: HashSet<EventId>,
    processes: Vec<Process>,
    /// Counts processes and ownerships.
    ever: u64,
    server: Server,
    requests: Vec<Request>,
    enricher: Enricher,
    now: Instant,
    embedded: bool,
    trail: Vec<String>,
}

fn part(number: usize) -> Part {
    Part { topic: Arc::from("t"), number: number as u32 }
}

fn away(what: &str) -> Cause {
    Cause { server: "model".to_owned(), code: None, text: what.to_owned() }
}

impl World {
    fn new(seed: u64, trail: bool) -> World {
        let mut rng = SmallRng::seed_from_u64(seed);
        let embedded = rng.random_ratio(1, 4);
        let with_poison = rng.random_ratio(1, 3);
        let parts = rng.random_range(1..4);
        let mut world = World {
            logs: Vec::new(),
            expected: HashSet::new(),
            poison: HashSet::new(),
            letters: HashSet::new(),
            processes: Vec::new(),
            ever: 0,
            server: Server::new(),
            requests: Vec::new(),
            enricher: Enricher::new(TABLES.clone()),
            now: Instant::now(),
            embedded,
            trail: Vec::with_capacity(if trail { 1_000 } else { 0 }),
            rng,
        };
        for part in 0..parts {
            let log = world.log(part, with_poison);
            world.logs.push(log);
        }
        world.server.poison = world.poison.clone();
        world.start();
        for part in 0..parts {
            world.take_over(part, 0);
        }
        world
    }

    fn log(&mut self, part: usize, with_poison: bool) -> Log {
        let count = self.rng.random_range(3..10);
        let mut messages = Vec::new();
        let mut seq = 0;
        for _ in 0..count {
            let mut payload = Vec::new();
            let events = if self.embedded { 1 } else { self.rng.random_range(0..4) };
            for _ in 0..events {
                let again = seq > 0 && !self.embedded && self.rng.random_ratio(1, 6);
                let this = if again { self.rng.random_range(1..=seq) } else { seq + 1 };
                seq = seq.max(this);
                let id = (edge(part), this);
                let poison = match again {
                    true => self.poison.contains(&id),
                    false => with_poison && self.rng.random_ratio(1, 8),
                };
                match poison {
                    true => self.poison.insert(id),
                    false => self.expected.insert(id),
                };
                let event = Event {
                    edge_id: edge(part),
                    seq: this,
                    kind: Kind::Open,
                    // A copy has the time of the first.
                    received_at_ms: TIMES_MS[usize::from(this % 5 == 0)],
                    replay: again && self.rng.random(),
                    ..Event::default()
                };
                let mut bytes = Vec::new();
                event.encode(&mut bytes);
                match self.embedded {
                    true => payload = bytes,
                    false => Frames::push(&mut payload, &bytes),
                }
            }
            messages.push(Message { payload, single: self.embedded });
        }
        Log { messages, committed: (None, String::new()), generation: 0 }
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if self.trail.capacity() > 0 {
            self.trail.push(text());
        }
    }

    /// One process more, which has no parts yet. Returns where it is.
    fn start(&mut self) -> usize {
        self.ever += 1;
        let turns = Turns::new(self.rng.random());
        self.processes.push(Process { id: self.ever, lanes: BTreeMap::new(), reads: BTreeMap::new(), turns });
        self.processes.len() - 1
    }

    /// Gives a part to a process: who had it before is not told.
    fn take_over(&mut self, number: usize, process: usize) {
        self.ever += 1;
        let log = &mut self.logs[number];
        log.generation = self.ever;
        let (committed, note) = log.committed.clone();
        let intent = Intent::read(&note, committed).unwrap();
        let id = self.processes[process].id;
        self.note(|| format!("{id} takes over {number} at {committed:?} {note:?}"));
        let bound = Bound { rows_max: self.rng.random_range(1..6), bytes_max: 1 << 20 };
        let lane = Lane::new(part(number), self.ever, committed, intent, bound, self.rng.random());
        let process = &mut self.processes[process];
        if let Some(before) = process.lanes.insert(part(number), lane) {
            process.turns.go_alone(&before);
        }
        process.reads.insert(number, (committed.unwrap_or(0), self.ever));
    }

    /// One random thing happens.
    fn step(&mut self) {
        let process = self.rng.random_range(0..self.processes.len());
        let number = self.rng.random_range(0..self.logs.len());
        let hurry = self.rng.random_ratio(1, 3);
        match self.rng.random_range(0..100) {
            0..22 => self.hand_over(process, number),
            22..34 => self.give_turns(process, hurry),
            34..53 => self.act(process, number),
            53..60 => self.send(process, hurry),
            60..80 => self.progress(),
            80..84 => self.give_up_on_a_reply(),
            84..88 => self.now += Duration::from_millis(self.rng.random_range(10..3_000)),
            88..91 => self.kill_server(),
            91..92 => self.cut_power(),
            92..95 => self.crash(process),
            95..98 if !self.embedded => self.replace(number),
            _ => self.now += Duration::from_millis(self.rng.random_range(10..100)),
        }
    }

    fn hand_over(&mut self, process: usize, number: usize) {
        let Process { lanes, reads, .. } = &mut self.processes[process];
        let Some(lane) = lanes.get_mut(&part(number)).filter(|lane| !lane.is_full()) else { return };
        let Some((next, _)) = reads.get_mut(&number) else { return };
        if let Some(message) = self.logs[number].messages.get(*next as usize) {
            let payload = match message.single {
                true => Payload::Event(&message.payload),
                false => Payload::Batch(&message.payload),
            };
            lane.take(&mut self.enricher, *next, payload);
            *next += 1;
        }
    }

    fn give_turns(&mut self, process: usize, hurry: bool) {
        let Process { lanes, turns, .. } = &mut self.processes[process];
        turns.give(lanes.values_mut(), 1, self.now, LINGER, hurry);
        lanes.values_mut().for_each(|lane| lane.seal_when_due(self.now, LINGER, hurry));
    }

    /// A process does what a part of it needs next.
    fn act(&mut self, process: usize, number: usize) {
        let Process { id, lanes, reads, turns } = &mut self.processes[process];
        let (id, own) = (*id, part(number));
        let Some(lane) = lanes.get_mut(&own) else { return };
        self.now = self.now.max(lane.retry_at);
        let Some(task) = lane.next(&mut self.enricher, self.now, false) else { return };
        let (epoch, Some((next, generation))) = (lane.epoch, reads.get_mut(&number)) else { return };
        let said = brief(&task);
        let done = match task {
            Task::Commit(offset, note) => {
                let generation = *generation;
                Some(Done::Committed(self.commit(number, generation, offset, note)))
            }
            Task::Rewind(offset) => {
                *next = offset;
                Some(Done::Rewound(Ok(())))
            }
            Task::Keep => {
                assert!(!lane.letters().is_empty());
                let ids = lane.letters().iter().map(|letter| Event::decode(&letter.bytes).unwrap().seq);
                self.letters.extend(ids.map(|seq| (edge(number), seq)));
                Some(Done::Kept(Ok(())))
            }
            Task::Join(joining) => (!turns.join(lane, joining)).then(|| Done::Inserted(Err(turns::late()))),
            task => {
                if let Task::Insert(..) = task {
                    turns.go_alone(lane);
                }
                let of = lane.under_way().map_or((0, 0), |writing| (writing.from, writing.to));
                self.requests.push(Request::new((id, number, epoch), of, task));
                None
            }
        };
        self.note(|| format!("{id}/{number}: {said}"));
        if let Some(done) = done {
            self.reply((id, number, epoch), done);
        }
    }

    /// A process sends the inserts that are put together.
    fn send(&mut self, process: usize, hurry: bool) {
        let Process { id, lanes, turns, .. } = &mut self.processes[process];
        let id = *id;
        let (inserts, late) = turns.ready(lanes, self.now, hurry);
        let late: Vec<_> =
            late.into_iter().map(|part| (id, part.number as usize, lanes[&part].epoch)).collect();
        for insert in inserts {
            self.note(|| format!("{id}: insert {} of {} parts", insert.group.token(), insert.all.len()));
            self.requests.push(Request::together(id, insert));
        }
        late.into_iter().for_each(|who| self.reply(who, Done::Inserted(Err(turns::late()))));
    }

    /// Fenced by the generation; the reply may be lost.
    fn commit(
        &mut self,
        number: usize,
        generation: u64,
        offset: u64,
        note: String,
    ) -> Result<(), CommitError> {
        let log = &mut self.logs[number];
        if generation != log.generation {
            return Err(CommitError::Fenced("another owner".to_owned()));
        }
        if self.rng.random_ratio(1, 12) {
            return Err(CommitError::Retry("did not arrive".to_owned()));
        }
        log.committed = (Some(offset), note);
        match self.rng.random_ratio(1, 12) {
            true => Err(CommitError::Retry("reply lost".to_owned())),
            false => Ok(()),
        }
    }

    /// One request goes on by some steps on the server.
    fn progress(&mut self) {
        if self.requests.is_empty() {
            return;
        }
        let index = self.rng.random_range(0..self.requests.len());
        self.see_running();
        loop {
            if let Some(done) = self.server.progress(&mut self.requests[index]) {
                let request = self.requests.swap_remove(index);
                let lost = self.rng.random_ratio(1, 10);
                let done = if lost { failed(&request.task, "reply lost") } else { done };
                return self.reply_all(request.waits, request.fate, done);
            }
            if self.rng.random_ratio(1, 3) {
                return;
            }
        }
    }

    /// What a list of running queries shows: what has not arrived is not there.
    fn see_running(&mut self) {
        self.server.running.clear();
        self.server.running.extend(self.requests.iter().filter_map(|request| match &request.task {
            Task::Insert(token, _) | Task::Fill(_, _, token) if request.arrived => Some(token.clone()),
            _ => None,
        }));
    }

    fn reply_all(&mut self, waits: Vec<(u64, usize, u64)>, fate: Option<Fate>, done: Done) {
        for who in waits {
            match (&fate, &done) {
                (Some(fate), Done::Inserted(answer)) => {
                    self.reply(who, Done::Inserted(fate.of_each(answer, self.now)));
                }
                _ => return self.reply(who, done),
            }
        }
    }

    fn reply(&mut self, (id, number, epoch): (u64, usize, u64), done: Done) {
        self.note(|| format!("{id}/{number} hears {done:?}"));
        let process = self.processes.iter_mut().find(|process| process.id == id);
        let lane = process.and_then(|process| process.lanes.get_mut(&part(number)));
        if let Some(lane) = lane.filter(|lane| lane.epoch == epoch) {
            lane.done(&mut self.enricher, done, self.now);
        }
    }

    /// The client's patience ends; on the server the request goes on.
    fn give_up_on_a_reply(&mut self) {
        if self.requests.is_empty() {
            return;
        }
        let index = self.rng.random_range(0..self.requests.len());
        let request = &mut self.requests[index];
        let done = failed(&request.task, "no answer in time");
        let (waits, fate) = (std::mem::take(&mut request.waits), request.fate.clone());
        self.reply_all(waits, fate, done);
    }

    fn kill_server(&mut self) {
        let quick = self.rng.random_ratio(1, 3);
        self.note(|| format!("server killed, quick {quick}"));
        for request in std::mem::take(&mut self.requests) {
            // A look is many reads: between two of them nothing tells it that the server is another one.
            if matches!(request.task, Task::Look(..)) && self.rng.random_ratio(1, 2) {
                self.requests.push(request);
                continue;
            }
            if self.rng.random_ratio(1, 3) {
                self.server.burn(&request);
            }
            let done = failed(&request.task, "connection reset");
            self.reply_all(request.waits, request.fate, done);
        }
        self.server.started += if quick { 1 } else { 100 };
        self.now += START;
    }

    /// The log of tokens is never synced: some of its end is gone.
    fn cut_power(&mut self) {
        self.kill_server();
        self.server.started += 100;
        self.now += BOOT;
        let lost = self.rng.random_range(0..4);
        self.note(|| format!("power cut, {lost} tokens lost"));
        self.server.forget(lost);
    }

    /// The process is no more; what it has sent is. Others take over its parts at some time.
    fn crash(&mut self, process: usize) {
        let gone = self.processes.swap_remove(process);
        self.note(|| format!("{} crashes", gone.id));
        for request in &mut self.requests {
            request.waits.retain(|(id, ..)| *id != gone.id);
        }
        if self.processes.is_empty() || self.rng.random() {
            self.start();
        }
        for (number, (_, generation)) in gone.reads {
            if generation == self.logs[number].generation {
                let heir = self.rng.random_range(0..self.processes.len());
                self.take_over(number, heir);
            }
        }
    }

    /// Another process takes over a part from one that was silent for too long, and does not know it.
    fn replace(&mut self, number: usize) {
        self.now += SESSION;
        if self.processes.len() < 3 {
            self.start();
        }
        let heir = self.rng.random_range(0..self.processes.len());
        self.take_over(number, heir);
    }

    /// Everything works again, and the last owners finish.
    fn heal(&mut self) {
        self.note(|| "healed".to_owned());
        while !self.requests.is_empty() {
            self.progress_all();
        }
        for process in &mut self.processes {
            process.reads.retain(|number, (_, generation)| *generation == self.logs[*number].generation);
            process.lanes.retain(|part, _| process.reads.contains_key(&(part.number as usize)));
        }
        for _ in 0..ROUNDS_MAX {
            self.now += Duration::from_millis(30);
            for process in 0..self.processes.len() {
                (0..self.logs.len()).for_each(|number| self.hand_over(process, number));
                self.give_turns(process, false);
                (0..self.logs.len()).for_each(|number| self.act(process, number));
                self.send(process, false);
            }
            self.progress_all();
            let mut settled = self.requests.is_empty();
            for Process { lanes, reads, .. } in &mut self.processes {
                for (number, (next, _)) in reads {
                    let lane = lanes.get_mut(&part(*number)).unwrap();
                    let ended = *next == self.logs[*number].messages.len() as u64;
                    if ended {
                        lane.end();
                    }
                    settled &= ended && lane.is_settled();
                }
            }
            if settled {
                return;
            }
        }
        let lanes = self.processes.iter().flat_map(|process| process.lanes.values());
        let why: Vec<_> = lanes.map(|lane| &lane.trouble).collect();
        panic!("the last owners do not come to an end: {why:?}");
    }

    fn progress_all(&mut self) {
        let mut index = 0;
        while index < self.requests.len() {
            self.see_running();
            match self.server.progress(&mut self.requests[index]) {
                Some(done) => {
                    let request = self.requests.swap_remove(index);
                    self.reply_all(request.waits, request.fate, done);
                }
                None => index += 1,
            }
        }
    }

    fn check(&self) {
        let mut rows: BTreeMap<EventId, u64> = BTreeMap::new();
        for row in self.server.rows() {
            *rows.entry(row.id()).or_default() += 1;
        }
        for (id, copies) in &rows {
            assert_eq!(*copies, 1, "event {id:?} is stored {copies} times");
            assert!(!self.poison.contains(id), "event {id:?} cannot be stored");
        }
        for id in &self.expected {
            assert!(rows.contains_key(id), "event {id:?} is lost");
        }
        for id in &self.poison {
            assert!(self.letters.contains(id), "event {id:?} is rejected and not kept");
        }
        assert!(self.letters.is_subset(&self.poison), "an event that can be stored was put aside");
        self.server.check_views();
        for lane in self.processes.iter().flat_map(|process| process.lanes.values()) {
            assert_eq!(lane.trouble, None);
        }
    }
}

fn failed(task: &Task, why: &str) -> Done {
    match task {
        Task::Recall(_) => Done::Recalled(Err(StoreError::Server(away(why)))),
        Task::Ask(_) => Done::Asked(Err(StoreError::Server(away(why)))),
        Task::Look(..) => Done::Looked(Err(StoreError::Server(away(why)))),
        Task::Try(_) => Done::Tried(Err(InsertError::Retry(away(why)))),
        Task::Fill(..) => Done::Filled(Err(InsertError::Retry(away(why)))),
        _ => Done::Inserted(Err(InsertError::Retry(away(why)))),
    }
}

fn brief(task: &Task) -> String {
    match task {
        Task::Insert(token, _) => format!("insert {token}"),
        Task::Try(_) => "try".to_owned(),
        Task::Join(joining) => format!("join {}", joining.group.token()),
        task => format!("{task:?}"),
    }
}

fn run(seed: u64, trail: bool) -> Vec<String> {
    let mut world = World::new(seed, trail);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..MOVES {
            world.step();
        }
        world.heal();
        world.check();
    }));
    match result {
        Ok(()) => Vec::new(),
        Err(cause) => {
            let what = cause.downcast_ref::<String>().cloned();
            let what = what.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            world.trail.push(what.unwrap_or_else(|| "?".to_owned()));
            world.trail
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: expected a number")))
}

#[test]
fn schedules_of_faults_lose_and_double_nothing() {
    let first = number("MAILBEACON_SEED").unwrap_or(1);
    let count = number("MAILBEACON_SCHEDULES").unwrap_or(SCHEDULES);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8) as u64;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for seed in (first + thread..first + count).step_by(threads as usize) {
                    if !run(seed, false).is_empty() {
                        let trail = run(seed, true).join("\n  ");
                        panic!("MAILBEACON_SEED={seed} MAILBEACON_SCHEDULES=1 fails:\n  {trail}");
                    }
                }
            });
        }
    });
}
