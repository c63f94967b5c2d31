//! Whose turn it is to be written, and the inserts of those who have the same turn.
//!
//! An insert costs ClickHouse as much as some thousands of rows, however few it has. So when the batch of one part is due,
//! those of all others go with it, in one insert; what comes meanwhile waits in batches that still grow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use store::{Block, Cause, InsertError};

use crate::intent::Group;
use crate::lane::Lane;
use crate::source::Part;
use crate::writer::Joining;

/// Turns of a shard at a time: ClickHouse works on one while the next is got ready, and at what is wrong with one part
/// the others need not wait.
const TURNS_MAX: usize = 2;
/// Batches of one turn are no more than this together, in bytes of memory.
const TURN_BYTES_MAX: usize = 32 << 20;
/// With so much the next turn begins although nobody's time is over: some 90,000 rows, for which what an insert costs
/// beside its rows is an eighth.
const TURN_BYTES: usize = 16 << 20;
/// An insert leaves this long before one of its batches would have to be looked at again, whoever is still missing.
const SEND_BEFORE: Duration = Duration::from_millis(100);

/// When the yes to an insert of several parts is this late, one of them may have another owner, who may have sent its
/// rows under the same token before. Less than a part takes to change its owner without our knowledge: brokers keep a
/// silent member for 6 s at the least (`group.min.session.timeout.ms`).
const TOGETHER_MAX: Duration = Duration::from_secs(4);

/// The inserts that are being put together, and those that are on their way.
#[derive(Debug)]
pub struct Turns {
    /// By their turn. One that is not here has been sent.
    open: BTreeMap<u64, (Fate, Vec<Joined>)>,
    /// By their turn.
    sent: BTreeMap<u64, Weak<AtomicBool>>,
    /// Draws names of turns.
    names: SmallRng,
}

/// Who has what to be written to a shard.
#[derive(Default)]
struct Waiting<'a> {
    /// Turns that are not over.
    active: BTreeSet<u64>,
    /// Since when.
    due: Vec<(Instant, &'a mut Lane)>,
    /// Not due, but what they have may go with the others.
    young: Vec<&'a mut Lane>,
}

/// What a part has for an insert.
#[derive(Debug)]
pub struct Joined {
    /// The part.
    pub part: Part,
    /// In which ownership of it.
    pub epoch: u64,
    /// Its rows.
    pub block: Arc<Block>,
    group: Group,
    until: Instant,
}

/// An insert of several parts.
#[derive(Debug)]
pub struct Together {
    /// Names it.
    pub group: Group,
    /// The parts.
    pub all: Vec<Joined>,
    /// What its answer is worth.
    pub fate: Fate,
}

/// A yes to an insert is worth nothing once one of its parts may have gone alone: then the server may know the token by
/// that part's rows, and have dropped these.
#[derive(Debug, Clone)]
pub struct Fate {
    opened_at: Instant,
    went_alone: Arc<AtomicBool>,
}

impl Fate {
    /// What the server's answer is for each of the parts.
    pub fn of_each(&self, answer: &Result<(), InsertError>, now: Instant) -> Result<(), InsertError> {
        match answer {
            Ok(()) if self.went_alone.load(Ordering::SeqCst) => Err(alone("another partition went alone")),
            Ok(()) if now > self.opened_at + TOGETHER_MAX => Err(alone("took long")),
            Ok(()) => Ok(()),
            Err(InsertError::Fatal(cause)) => Err(InsertError::Fatal(cause.clone())),
            // Whose row it is that is rejected each finds out alone.
            Err(error) => Err(InsertError::Retry(error.cause().clone())),
        }
    }
}

impl Turns {
    /// The seed must be another one for every owner that ever was: it makes the tokens of inserts.
    pub fn new(seed: u64) -> Turns {
        Turns { open: BTreeMap::new(), sent: BTreeMap::new(), names: SmallRng::seed_from_u64(seed) }
    }

    /// Says which parts may begin to write: first those that have waited longest, and then all who have anything.
    pub fn give<'a>(
        &mut self,
        lanes: impl Iterator<Item = &'a mut Lane>,
        shards: usize,
        now: Instant,
        linger: Duration,
        hurry: bool,
    ) {
        let mut of_shards: Vec<Waiting> = (0..shards).map(|_| Waiting::default()).collect();
        for lane in lanes {
            lane.end_turn();
            let Waiting { active, due, young } = &mut of_shards[lane.batch.part.number as usize % shards];
            if lane.is_at_work(now) {
                active.insert(lane.turn);
            } else if let Some(since) = lane.due_since(now, linger, hurry) {
                due.push((since, lane));
            } else if lane.joinable(now) {
                young.push(lane);
            }
        }
        for Waiting { active, mut due, mut young } in of_shards {
            let waits: usize = young.iter().map(|lane| lane.next_bytes()).sum();
            if due.is_empty() && waits >= TURN_BYTES {
                due.extend(young.drain(..).map(|lane| (lane.batch.since, lane)));
            }
            due.sort_by_key(|(since, _)| *since);
            let mut free = TURNS_MAX.saturating_sub(active.len());
            let mut waiting: Vec<&mut Lane> = due.into_iter().map(|(_, lane)| lane).collect();
            while free > 0 && !waiting.is_empty() {
                free -= 1;
                let mut bytes = 0;
                let mut fits = |lane: &&mut Lane| {
                    bytes += lane.next_bytes();
                    bytes <= TURN_BYTES_MAX
                };
                let count = waiting.iter().take_while(|lane| fits(lane)).count().max(1);
                let mut members: Vec<&mut Lane> = waiting.drain(..count).collect();
                if waiting.is_empty() {
                    let count = young.iter().take_while(|lane| fits(lane)).count();
                    members.extend(young.drain(..count));
                }
                self.begin(members, now);
            }
        }
    }

    fn begin(&mut self, members: Vec<&mut Lane>, now: Instant) {
        let (turn, together) = (self.names.random(), members.len() > 1);
        members.into_iter().for_each(|lane| lane.begin_turn(turn, together));
        if together {
            let fate = Fate { opened_at: now, went_alone: Arc::default() };
            self.open.insert(turn, (fate, Vec::new()));
        }
    }

    /// Takes what a part has for its insert; `false` when that was sent already.
    pub fn join(&mut self, lane: &Lane, joining: Joining) -> bool {
        let Joining { group, block, until } = joining;
        let joined = Joined { part: lane.batch.part.clone(), epoch: lane.epoch, block, group, until };
        self.open.get_mut(&group.id).map(|(_, all)| all.push(joined)).is_some()
    }

    /// A part, or its next owner, sends its rows alone from here on, under the group's token too.
    pub fn go_alone(&mut self, lane: &Lane) {
        let Some(group) = lane.group() else { return };
        let open = self.open.get(&group.id).map(|(fate, _)| fate.went_alone.clone());
        let sent = || self.sent.get(&group.id).and_then(Weak::upgrade);
        if let Some(went_alone) = open.or_else(sent) {
            went_alone.store(true, Ordering::SeqCst);
        }
    }

    /// The inserts that nobody more will come to, or that cannot wait any longer, or all of them in a `hurry`; and the
    /// parts that are too late for them. Each insert is here once.
    pub fn ready(
        &mut self,
        lanes: &BTreeMap<Part, Lane>,
        now: Instant,
        hurry: bool,
    ) -> (Vec<Together>, Vec<Part>) {
        self.sent.retain(|_, went_alone| went_alone.strong_count() > 0);
        let waits = |turn: &u64, all: &[Joined]| {
            let until = all.iter().map(|one| one.until).min();
            let has_time = until.is_none_or(|until| now + SEND_BEFORE < until);
            !hurry && has_time && lanes.values().any(|lane| lane.heads_for(*turn, now))
        };
        let (mut inserts, mut late): (Vec<Together>, _) = (Vec::new(), Vec::new());
        for (turn, (fate, all)) in self.open.extract_if(.., |turn, (_, all)| !waits(turn, all)) {
            for one in all {
                // Of a part that has another owner by now, nothing may be sent.
                if lanes.get(&one.part).is_none_or(|lane| lane.epoch != one.epoch) {
                    continue;
                }
                if one.until <= now || fate.went_alone.load(Ordering::SeqCst) {
                    late.push(one.part);
                    continue;
                }
                match inserts.iter_mut().find(|insert| insert.group == one.group) {
                    Some(insert) => insert.all.push(one),
                    None => {
                        self.sent.insert(turn, Arc::downgrade(&fate.went_alone));
                        inserts.push(Together { group: one.group, all: vec![one], fate: fate.clone() });
                    }
                }
            }
        }
        (inserts, late)
    }
}

/// Why a part has to go on alone.
fn alone(why: &str) -> InsertError {
    let text = format!("insert with other partitions: {why}");
    InsertError::Retry(Cause { server: "ours".to_owned(), code: None, text })
}

/// The same, for what was not sent.
pub fn late() -> InsertError {
    alone("too late for it")
}

#[cfg(test)]
mod tests {
    use enrich::{Enricher, Tables};
    use event::{Event, Kind};

    use super::*;
    use crate::aside::Answer;
    use crate::lane::Bound;
    use crate::source::Payload;
    use crate::task::{Done, Task};

    const LINGER: Duration = Duration::from_secs(1);

    struct World(BTreeMap<Part, Lane>, Enricher, Turns);

    impl World {
        /// Lanes that have an event each.
        fn new(numbers: std::ops::Range<u32>) -> World {
            let mut enricher = Enricher::new(Arc::new(Tables::load(&[]).unwrap()));
            let bound = Bound { rows_max: 9, bytes_max: 1 << 20 };
            let mut bytes = Vec::new();
            let event = Event { edge_id: 1, seq: 1, kind: Kind::Open, received_at_ms: 1, ..Event::default() };
            event.encode(&mut bytes);
            let lanes = numbers.map(|number| {
                let part = Part { topic: Arc::from("t"), number };
                let mut lane = Lane::new(part.clone(), 1, None, None, bound, 1);
                lane.take(&mut enricher, 0, Payload::Event(&bytes));
                (part, lane)
            });
            let lanes = lanes.collect();
            World(lanes, enricher, Turns::new(1))
        }

        /// Gives turns when all batches are due, and drives those who have one until they join; the store does not
        /// answer the `slow` ones.
        fn join(&mut self, shards: usize, slow: &[u32]) -> Instant {
            let World(lanes, enricher, turns) = self;
            let now = lanes.values().map(|lane| lane.batch.since).max().unwrap() + LINGER;
            turns.give(lanes.values_mut(), shards, now, LINGER, false);
            for lane in lanes.values_mut() {
                lane.seal_when_due(now, LINGER, false);
                assert!(matches!(lane.next(enricher, now, false), Some(Task::Ask(_))));
                if !slow.contains(&lane.batch.part.number) {
                    let joining = go_on(lane, enricher, now);
                    assert!(turns.join(lane, joining));
                }
            }
            now
        }

        fn ready(&mut self, now: Instant) -> (Vec<Vec<u32>>, Vec<u32>) {
            let (inserts, late) = self.2.ready(&self.0, now, false);
            let numbers = |insert: &Together| insert.all.iter().map(|one| one.part.number).collect();
            (inserts.iter().map(numbers).collect(), late.iter().map(|part| part.number).collect())
        }
    }

    /// The store answers, and the intent is committed.
    fn go_on(lane: &mut Lane, enricher: &mut Enricher, now: Instant) -> Joining {
        let answer = Answer { server_started: 1, stored: Default::default(), beyond: false };
        lane.done(enricher, Done::Asked(Ok(answer)), now);
        assert!(matches!(lane.next(enricher, now, false), Some(Task::Commit(0, _))));
        lane.done(enricher, Done::Committed(Ok(())), now);
        match lane.next(enricher, now, false) {
            Some(Task::Join(joining)) => joining,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_shard_has_an_insert_of_all_its_parts() {
        let mut world = World::new(0..5);
        let now = world.join(2, &[]);
        let (mut inserts, late) = world.ready(now);
        inserts.sort();
        assert_eq!((inserts, late), (vec![vec![0, 2, 4], vec![1, 3]], vec![]));
        assert_eq!(world.ready(now), (vec![], vec![]), "once");
    }

    #[test]
    fn who_comes_late_or_went_alone_has_no_part_in_it() {
        // The third is waited for, as long as there is time.
        let mut world = World::new(0..3);
        let now = world.join(1, &[2]);
        assert_eq!(world.ready(now), (vec![], vec![]));
        let until = now + Duration::from_millis(250);
        assert_eq!(world.ready(until), (vec![vec![0, 1]], vec![]));
        let World(lanes, enricher, turns) = &mut world;
        let third = lanes.values_mut().next_back().unwrap();
        let joining = go_on(third, enricher, until);
        assert!(!turns.join(third, joining), "sent is sent");
        // Far too late for all.
        let mut world = World::new(0..2);
        let now = world.join(1, &[]);
        assert_eq!(world.ready(now + LINGER), (vec![], vec![0, 1]));
        // One of them goes alone before it is sent.
        let mut world = World::new(0..2);
        let now = world.join(1, &[]);
        world.2.go_alone(world.0.values().next().unwrap());
        assert_eq!(world.ready(now), (vec![], vec![0, 1]));
        // And after: the answer is no answer then. Nor is one that took long.
        let mut world = World::new(0..2);
        let now = world.join(1, &[]);
        let (inserts, _) = world.2.ready(&world.0, now, false);
        let fate = &inserts[0].fate;
        assert!(fate.of_each(&Ok(()), now).is_ok());
        assert!(fate.of_each(&Ok(()), now + 2 * TOGETHER_MAX).is_err());
        world.2.go_alone(world.0.values().next().unwrap());
        assert!(fate.of_each(&Ok(()), now).is_err());
    }
}
