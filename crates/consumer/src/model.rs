//! A model of everything around a [`Lane`], to drive the very machine through what goes wrong: owners that crash,
//! are replaced or do not know it yet; replies that are lost or late; a ClickHouse that is killed in the middle of
//! an insert, or loses the end of its log of tokens with its power; rows that it rejects.
//!
//! A schedule is random and comes from one number. At its end all is healed, the last owner finishes, and every
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
use crate::intent::Intent;
use crate::lane::{Bound, Lane};
use crate::source::{CommitError, Part, Payload};
use crate::task::{Done, Task};
use server::{Request, Server};

/// In the short form. The long form: `MAILBEACON_SCHEDULES=1000000 cargo test --release -p consumer schedules`.
const SCHEDULES: u64 = 3_000;
/// Random moves of one schedule.
const MOVES: usize = 90;
/// Rounds after the healing in which the last owner must be finished.
const ROUNDS_MAX: usize = 3_000;
/// A group gives a silent member's parts to another after this long, at the least.
const SESSION: Duration = Duration::from_secs(10);
/// A machine that lost its power takes this long to answer again, at the least.
const BOOT: Duration = Duration::from_secs(10);
/// A server that was killed takes this long to answer again, at the least.
const START: Duration = Duration::from_millis(400);
/// Two months, of which events are.
const TIMES_MS: [i64; 2] = [1_764_000_000_000, 1_766_000_000_000];

static TABLES: LazyLock<Arc<Tables>> = LazyLock::new(|| Arc::new(Tables::load(&[]).unwrap()));

/// A row as the model sees it: month, offset, sequence.
type ModelRow = (u32, u64, u64);

struct Message {
    payload: Vec<u8>,
    /// A journal's frame and not a batch.
    single: bool,
}

struct Owner {
    id: u64,
    lane: Lane,
    next_offset: u64,
    generation: u64,
    /// Has requests under way that nobody waits for.
    gone: bool,
}

struct World {
    rng: SmallRng,
    log: Vec<Message>,
    /// Which sequences must be rows in the end, and which must be dead letters.
    expected: HashSet<u64>,
    poison: HashSet<u64>,
    letters: HashSet<u64>,
    committed: (Option<u64>, String),
    generation: u64,
    owners: Vec<Owner>,
    owners_ever: u64,
    server: Server,
    requests: Vec<Request>,
    enricher: Enricher,
    now: Instant,
    embedded: bool,
    trail: Vec<String>,
}

fn part() -> Part {
    Part { topic: Arc::from("t"), number: 0 }
}

fn away(what: &str) -> Cause {
    Cause { server: "model".to_owned(), code: None, text: what.to_owned() }
}

impl World {
    fn new(seed: u64, trail: bool) -> World {
        let mut rng = SmallRng::seed_from_u64(seed);
        let embedded = rng.random_ratio(1, 4);
        let with_poison = rng.random_ratio(1, 3);
        let mut world = World {
            log: Vec::new(),
            expected: HashSet::new(),
            poison: HashSet::new(),
            letters: HashSet::new(),
            committed: (None, String::new()),
            generation: 0,
            owners: Vec::new(),
            owners_ever: 0,
            server: Server::new(),
            requests: Vec::new(),
            enricher: Enricher::new(TABLES.clone()),
            now: Instant::now(),
            embedded,
            trail: Vec::with_capacity(if trail { 1_000 } else { 0 }),
            rng,
        };
        world.fill_log(with_poison);
        world.take_over();
        world
    }

    fn fill_log(&mut self, with_poison: bool) {
        let messages = self.rng.random_range(3..12);
        let mut seq = 0;
        for _ in 0..messages {
            let mut payload = Vec::new();
            let events = if self.embedded { 1 } else { self.rng.random_range(0..4) };
            for _ in 0..events {
                let again = seq > 0 && !self.embedded && self.rng.random_ratio(1, 6);
                let this = if again { self.rng.random_range(1..=seq) } else { seq + 1 };
                seq = seq.max(this);
                let poison = if again {
                    self.poison.contains(&this)
                } else {
                    with_poison && self.rng.random_ratio(1, 8)
                };
                if poison {
                    self.poison.insert(this);
                } else {
                    self.expected.insert(this);
                }
                let event = Event {
                    edge_id: 1,
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
            self.log.push(Message { payload, single: self.embedded });
        }
        self.server.poison = self.poison.clone();
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if self.trail.capacity() > 0 {
            self.trail.push(text());
        }
    }

    /// A new owner of the part: the ones before it are not told.
    fn take_over(&mut self) {
        self.generation += 1;
        self.owners_ever += 1;
        let (committed, note) = self.committed.clone();
        let intent = Intent::read(&note, committed).unwrap();
        self.note(|| format!("take over at {committed:?} {note:?}"));
        let bound = Bound { rows_max: self.rng.random_range(1..6), bytes_max: 1 << 20 };
        let lane = Lane::new(part(), self.owners_ever, committed, intent, bound, self.rng.random());
        self.owners.push(Owner {
            id: self.owners_ever,
            lane,
            next_offset: committed.unwrap_or(0),
            generation: self.generation,
            gone: false,
        });
    }

    /// One random thing happens.
    fn step(&mut self) {
        let owner = self.rng.random_range(0..self.owners.len());
        match self.rng.random_range(0..100) {
            0..30 => self.hand_over(owner),
            30..58 => self.act(owner),
            58..80 => self.progress(),
            80..84 => self.give_up_on_a_reply(),
            84..88 => self.now += Duration::from_millis(self.rng.random_range(10..3_000)),
            88..91 => self.kill_server(),
            91..92 => self.cut_power(),
            92..95 => self.crash(owner),
            95..98 if !self.embedded => self.replace(),
            _ => self.seal(owner, true),
        }
    }

    fn hand_over(&mut self, owner: usize) {
        let owner = &mut self.owners[owner];
        if owner.lane.is_full() {
            return;
        }
        if let Some(message) = self.log.get(owner.next_offset as usize) {
            let payload = match message.single {
                true => Payload::Event(&message.payload),
                false => Payload::Batch(&message.payload),
            };
            owner.lane.take(&mut self.enricher, owner.next_offset, payload);
            owner.next_offset += 1;
        }
    }

    fn seal(&mut self, owner: usize, hurry: bool) {
        self.owners[owner].lane.seal_when_due(self.now, Duration::from_secs(1), hurry);
    }

    /// The owner does what it has to do next.
    fn act(&mut self, owner: usize) {
        let lane = &mut self.owners[owner].lane;
        self.now = self.now.max(lane.retry_at);
        let Some(task) = lane.next(&mut self.enricher, self.now, false) else { return };
        let (id, generation) = (self.owners[owner].id, self.owners[owner].generation);
        self.note(|| format!("owner {id}: {}", brief(&task)));
        let done = match task {
            Task::Commit(offset, note) => Done::Committed(self.commit(generation, offset, note)),
            Task::Rewind(offset) => {
                self.owners[owner].next_offset = offset;
                Done::Rewound(Ok(()))
            }
            Task::Keep => {
                let letters = self.owners[owner].lane.letters();
                assert!(!letters.is_empty());
                let seqs: Vec<u64> = letters.iter().map(|l| Event::decode(&l.bytes).unwrap().seq).collect();
                self.letters.extend(seqs);
                Done::Kept(Ok(()))
            }
            task => {
                let lane = &self.owners[owner].lane;
                let of = lane.under_way().map_or((0, 0), |writing| (writing.from, writing.to));
                return self.requests.push(Request::new(id, of, task));
            }
        };
        self.owners[owner].lane.done(&mut self.enricher, done, self.now);
    }

    /// Fenced by the generation; the reply may be lost.
    fn commit(&mut self, generation: u64, offset: u64, note: String) -> Result<(), CommitError> {
        if generation != self.generation {
            return Err(CommitError::Fenced("another owner".to_owned()));
        }
        if self.rng.random_ratio(1, 12) {
            return Err(CommitError::Retry("did not arrive".to_owned()));
        }
        self.committed = (Some(offset), note);
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
                return self
                    .reply(request.owner, if lost { failed(&request.task, "reply lost") } else { done });
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

    fn reply(&mut self, owner: u64, done: Done) {
        self.note(|| format!("owner {owner} hears {done:?}"));
        if let Some(owner) = self.owners.iter_mut().find(|known| known.id == owner && !known.gone) {
            owner.lane.done(&mut self.enricher, done, self.now);
        }
    }

    /// The client's patience ends; on the server the request goes on.
    fn give_up_on_a_reply(&mut self) {
        if self.requests.is_empty() {
            return;
        }
        let index = self.rng.random_range(0..self.requests.len());
        let owner = std::mem::replace(&mut self.requests[index].owner, 0);
        if owner != 0 {
            let done = failed(&self.requests[index].task, "no answer in time");
            self.reply(owner, done);
        }
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
            self.reply(request.owner, failed(&request.task, "connection reset"));
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

    /// The owner is no more; what it has sent is. Somebody takes over at some time.
    fn crash(&mut self, owner: usize) {
        let id = self.owners[owner].id;
        self.note(|| format!("owner {id} crashes"));
        let was_current = self.owners[owner].generation == self.generation;
        self.owners.swap_remove(owner);
        for request in &mut self.requests {
            if request.owner == id {
                request.owner = 0;
            }
        }
        if was_current || self.owners.is_empty() {
            self.take_over();
        }
    }

    /// Another owner takes over from one that was silent for too long, and does not know it.
    fn replace(&mut self) {
        if self.owners.len() < 3 {
            self.now += SESSION;
            self.take_over();
        }
    }

    /// Everything works again, and the last owner finishes.
    fn heal(&mut self) {
        self.note(|| "healed".to_owned());
        while !self.requests.is_empty() {
            self.progress_all();
        }
        let last = self.generation;
        self.owners.retain(|owner| owner.generation == last);
        assert_eq!(self.owners.len(), 1);
        for _ in 0..ROUNDS_MAX {
            self.now += Duration::from_millis(300);
            self.hand_over(0);
            self.seal(0, false);
            self.act(0);
            self.progress_all();
            let owner = &self.owners[0];
            if owner.next_offset == self.log.len() as u64 {
                self.owners[0].lane.end();
                if self.owners[0].lane.is_settled() && self.requests.is_empty() {
                    return;
                }
            }
        }
        panic!("the last owner does not come to an end: {:?}", self.owners[0].lane.trouble);
    }

    fn progress_all(&mut self) {
        let mut index = 0;
        while index < self.requests.len() {
            self.see_running();
            match self.server.progress(&mut self.requests[index]) {
                Some(done) => {
                    let request = self.requests.swap_remove(index);
                    self.reply(request.owner, done);
                }
                None => index += 1,
            }
        }
    }

    fn check(&self) {
        let mut rows: BTreeMap<u64, u64> = BTreeMap::new();
        for (_, _, seq) in self.server.rows() {
            *rows.entry(seq).or_default() += 1;
        }
        for (seq, copies) in &rows {
            assert_eq!(*copies, 1, "event {seq} is stored {copies} times");
            assert!(!self.poison.contains(seq), "event {seq} cannot be stored");
        }
        for seq in &self.expected {
            assert!(rows.contains_key(seq), "event {seq} is lost");
        }
        for seq in &self.poison {
            assert!(self.letters.contains(seq), "event {seq} is rejected and not kept");
        }
        assert!(self.letters.is_subset(&self.poison), "an event that can be stored was put aside");
        self.server.check_views();
        assert_eq!(self.owners[0].lane.trouble, None);
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
