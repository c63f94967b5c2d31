//! Where ranges are cut, and when a part is full, settled or halted. What happens to them: `model.rs`.

use std::sync::Arc;

use enrich::Tables;
use event::{Event, Kind};

use super::*;

struct World(Lane, Enricher);

impl World {
    fn new(committed: Option<u64>, rerun: Option<(u64, u64)>, rows_max: usize) -> World {
        let rerun = rerun.map(|(from, to)| Intent {
            from,
            to,
            server_started: 1,
            stored: vec![],
            tried: false,
            rows: false,
            group: None,
        });
        let part = Part { topic: Arc::from("t"), number: 0 };
        let bound = Bound { rows_max, bytes_max: 1 << 20 };
        let tables = Arc::new(Tables::load(&[]).unwrap());
        let mut lane = Lane::new(part, 1, committed, rerun, bound, 1);
        lane.past = Past::new(true);
        World(lane, Enricher::new(tables))
    }

    fn take(&mut self, offset: u64) -> &mut Self {
        let event =
            Event { edge_id: 1, seq: offset + 1, kind: Kind::Open, received_at_ms: 1, ..Event::default() };
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        self.0.take(&mut self.1, offset, Payload::Event(&bytes));
        self
    }

    fn hurry(&mut self) -> &mut Self {
        self.0.seal_when_due(Instant::now(), Duration::ZERO, true);
        self
    }

    fn ready(&self) -> Option<(u64, u64, usize)> {
        self.0.ready.as_ref().map(|batch| (batch.from, batch.to, batch.rows()))
    }

    fn filling(&self) -> (u64, u64, usize) {
        (self.0.batch.from, self.0.batch.to, self.0.batch.rows())
    }
}

#[test]
fn an_intended_range_is_cut_exactly_at_its_end() {
    // Larger than a batch may be, and never sealed before its time.
    let mut world = World::new(Some(5), Some((5, 9)), 2);
    world.take(5).take(6).take(7).hurry();
    assert_eq!((world.ready(), world.filling()), (None, (5, 8, 3)));
    world.take(8);
    assert_eq!((world.ready(), world.filling()), (Some((5, 9, 4)), (9, 9, 0)));
    world.take(9).take(10).take(11);
    assert_eq!(world.filling(), (9, 12, 3), "the next one grows until there is room");
}

#[test]
fn an_intended_range_with_gaps_keeps_its_name() {
    // At its end.
    let mut world = World::new(Some(5), Some((5, 9)), 9);
    world.take(5).take(12);
    assert_eq!((world.ready(), world.filling()), (Some((5, 9, 1)), (12, 13, 1)));
    // At its start, and nothing at all.
    let mut world = World::new(Some(5), Some((5, 9)), 9);
    world.take(7).take(8);
    assert_eq!(world.ready(), Some((5, 9, 2)));
    let mut world = World::new(Some(5), Some((5, 9)), 9);
    world.take(20);
    assert_eq!((world.ready(), world.filling()), (Some((5, 9, 0)), (20, 21, 1)));
    // And when nothing more will come.
    let mut world = World::new(Some(5), Some((5, 9)), 9);
    world.take(6).0.end();
    assert_eq!(world.ready(), Some((5, 9, 1)));
}

#[test]
fn a_full_batch_waits_behind_one_that_waits_and_then_the_part_is_full() {
    let mut world = World::new(None, None, 2);
    world.take(0).take(1);
    assert_eq!((world.ready(), world.0.is_full()), (Some((0, 2, 2)), false));
    world.take(2).hurry();
    assert_eq!((world.ready(), world.filling(), world.0.is_full()), (Some((0, 2, 2)), (2, 3, 1), false));
    world.take(3);
    assert_eq!((world.ready(), world.filling(), world.0.is_full()), (Some((0, 2, 2)), (2, 4, 2), true));
    assert_eq!(world.0.events(), 4);
    let since = world.0.ready.as_ref().unwrap().since;
    assert_eq!(world.0.due_since(since, Duration::from_secs(1), false), Some(since), "it holds messages up");
    // Room again: the full one goes on without waiting for its linger.
    world.0.ready = None;
    world.0.seal_when_due(Instant::now(), Duration::from_secs(3_600), false);
    assert_eq!((world.ready(), world.0.is_full()), (Some((2, 4, 2)), false));
}

#[test]
fn an_old_batch_grows_until_it_is_its_turn_and_a_full_one_is_cut() {
    let mut world = World::new(None, None, 3);
    let linger = Duration::from_secs(1);
    world.take(0);
    let (young, old) = (world.0.batch.since, world.0.batch.since + linger);
    assert_eq!(
        (world.0.due_since(young, linger, false), world.0.due_since(young, linger, true)),
        (None, Some(young))
    );
    assert_eq!(world.0.due_since(old, linger, false), Some(young));
    world.0.waits = true;
    world.0.seal_when_due(old, linger, false);
    assert_eq!((world.ready(), world.filling()), (None, (0, 1, 1)), "others are being written");
    world.take(1).take(2);
    assert_eq!((world.ready(), world.filling()), (Some((0, 3, 3)), (3, 3, 0)));
    assert!(world.0.next(&mut world.1, old, false).is_none());
    assert!(!world.0.is_at_work(old));
    assert_eq!(world.0.due_since(young, linger, false), None, "it has time, and may go with others");
    assert!(world.0.joinable(old));
    assert_eq!(world.0.due_since(old, linger, false), Some(young));
    world.0.waits = false;
    assert!(matches!(world.0.next(&mut world.1, old, false), Some(Task::Ask(_))));
    assert_eq!((world.0.is_at_work(old), world.0.due_since(old, linger, false)), (true, None));
    assert!(!world.0.joinable(old));
    // While it is on its way the next one is not cut for being old.
    world.take(3).0.seal_when_due(old + linger, linger, false);
    assert_eq!((world.ready(), world.filling()), (None, (3, 4, 1)));
}

#[test]
fn a_lane_is_settled_when_all_is_written_and_acknowledged() {
    let mut world = World::new(Some(3), None, 9);
    assert!(world.0.is_settled());
    assert!(!world.take(3).0.is_settled());
    assert!(!world.hurry().0.is_settled());
    let batch = world.0.ready.take().unwrap();
    world.0.flight = Some(Flight::Unread(batch));
    assert!(!world.0.is_settled());
    world.0.flight = None;
    world.0.written_to = Some(4);
    assert_eq!((world.0.is_settled(), world.0.unacknowledged()), (false, Some(4)));
    world.0.committed = Some(4);
    assert!(world.0.is_settled());
    // What is not there in full stays intended: a shutdown does not wait for it.
    let mut world = World::new(Some(3), Some((3, 9)), 9);
    assert!(world.take(3).hurry().0.is_settled());
}

#[test]
fn an_old_offset_is_not_taken_again() {
    let mut world = World::new(Some(5), None, 9);
    world.take(4).take(5).take(5).take(7).take(6);
    assert_eq!(world.filling(), (5, 8, 2));
    world.hurry().take(7).take(8);
    assert_eq!((world.ready(), world.filling()), (Some((5, 8, 2)), (8, 9, 1)));
}

#[test]
fn a_halted_lane_takes_nothing_and_is_not_waited_for() {
    let mut world = World::new(Some(5), None, 9);
    world.0.halt("?".to_owned());
    world.take(5).hurry();
    world.0.went_well();
    assert_eq!((world.0.events(), world.0.is_settled(), world.0.trouble.as_deref()), (0, true, Some("?")));
}

#[test]
fn messages_wait_in_order_until_the_visits_before_them_are_known() {
    let mut world = World::new(Some(5), Some((5, 7)), 9);
    world.0.past = Past::new(false);
    world.take(5).take(6).take(7).0.end();
    assert_eq!((world.ready(), world.filling(), world.0.events()), (None, (5, 5, 0), 3));
    assert!(!world.0.is_settled());
    let World(lane, enricher) = &mut world;
    let now = lane.retry_at;
    assert!(matches!(lane.next(enricher, now, false), Some(Task::Recall(5))));
    lane.done(enricher, Done::Recalled(Ok(Vec::new())), now);
    assert_eq!((world.ready(), world.filling(), world.0.events()), (Some((5, 7, 2)), (7, 8, 1), 3));
}
