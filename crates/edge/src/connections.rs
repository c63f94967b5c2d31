//! The open connections of a worker. One look at all of them now and then ends those whose next request does not come,
//! puts to rest those that idle, and one word reaches all of them when the worker stops.
//!
//! hyper's own timeout takes a timer for every request: it is made, put into the runtime's wheel and taken out again,
//! which was a twelfth of all that a pixel cost. Here a request costs two stores, and a look at 10,000 connections
//! 0.2 ms. And hyper holds two buffers of 8 KiB for each connection, also while nothing is asked: those go at rest, and
//! making them anew costs the next request a tenth.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

/// Looks in the time that a head may take, at the least: a connection is ended at most one look too late, never too
/// early.
const LOOKS_MIN: u32 = 8;
/// The longest between two looks: who has asked nothing from one to the next rests. Of 10,000 connections that come all
/// at once and each ask, 250 ms left so many awake that the edge took 177 MB; now 129.
const LOOK_EVERY_MAX: Duration = Duration::from_millis(100);
/// Connections that one look puts to rest: their tasks are woken all at once, and each takes some microseconds.
const RESTS_PER_LOOK: usize = 2_000;

/// All that are open.
pub struct Connections {
    open: RefCell<Vec<Rc<Slot>>>,
    look_every: Duration,
    /// Looks in the time that a head may take.
    looks_max: u32,
    /// Counts the looks.
    looks: Cell<u32>,
    closing: Cell<bool>,
}

/// One of them; it leaves when this is dropped.
pub struct Connection {
    all: Rc<Connections>,
    slot: Rc<Slot>,
}

struct Slot {
    /// Where it stands among all.
    at: Cell<usize>,
    /// The look before it began to wait for a request's head; `None` while one is being answered.
    waits_since: Cell<Option<u32>>,
    /// Its client does not take what it is sent.
    is_stuck: Cell<bool>,
    rest: Cell<Rest>,
    /// Of its task, which has the same one all its life.
    waker: RefCell<Option<Waker>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    None,
    /// It was told to take some.
    Due,
    Taken,
}

/// Notes for a connection whether its client takes what it is sent.
pub struct Sending(Rc<Slot>);

impl Connections {
    /// None yet. The head of a request may take `timeout`.
    pub fn new(timeout: Duration) -> Connections {
        let look_every = (timeout / LOOKS_MIN).min(LOOK_EVERY_MAX);
        let looks_max = timeout.as_nanos().div_ceil(look_every.as_nanos().max(1));
        Connections {
            open: RefCell::default(),
            look_every,
            looks_max: u32::try_from(looks_max).unwrap_or(u32::MAX),
            looks: Cell::default(),
            closing: Cell::default(),
        }
    }

    /// How often to [`Connections::look`].
    pub fn look_every(&self) -> Duration {
        self.look_every
    }

    /// One more, which waits for its first request.
    pub fn enter(self: &Rc<Self>) -> Connection {
        let mut open = self.open.borrow_mut();
        let slot = Rc::new(Slot {
            at: Cell::new(open.len()),
            waits_since: Cell::new(Some(self.looks.get())),
            is_stuck: Cell::new(false),
            rest: Cell::new(Rest::None),
            waker: RefCell::default(),
        });
        open.push(slot.clone());
        Connection { all: self.clone(), slot }
    }

    /// Wakes all that have waited too long, and some of those that can rest.
    pub fn look(&self) {
        self.looks.set(self.looks.get().wrapping_add(1));
        let mut rests = 0;
        self.wake(|slot| {
            let rests_now = rests < RESTS_PER_LOOK && slot.rest.get() == Rest::None && self.can_rest(slot);
            if rests_now {
                rests += 1;
                slot.rest.set(Rest::Due);
            }
            rests_now || self.is_late(slot)
        });
    }

    /// Tells all that the worker stops.
    pub fn close(&self) {
        self.closing.set(true);
        self.wake(|_| true);
    }

    /// The worker stops.
    pub fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// The look before it and the one that finds it are no whole parts of its time.
    fn waits_longer_than(&self, looks: u32, slot: &Slot) -> bool {
        slot.waits_since.get().is_some_and(|since| self.looks.get().wrapping_sub(since) > looks)
    }

    fn is_late(&self, slot: &Slot) -> bool {
        self.waits_longer_than(self.looks_max, slot)
    }

    /// Its client has all that it was sent, and has asked nothing for a while.
    fn can_rest(&self, slot: &Slot) -> bool {
        !slot.is_stuck.get() && self.waits_longer_than(1, slot)
    }

    fn wake(&self, mut which: impl FnMut(&Slot) -> bool) {
        for slot in self.open.borrow().iter().filter(|slot| which(slot)) {
            if let Some(waker) = &*slot.waker.borrow() {
                waker.wake_by_ref();
            }
        }
    }
}

impl Connection {
    /// A request's head is there.
    pub fn answers(&self) {
        self.slot.waits_since.set(None);
    }

    /// The reply is known: the next head is waited for.
    pub fn waits(&self) {
        self.slot.waits_since.set(Some(self.all.looks.get()));
    }

    /// Keeps its task's waker, for [`Connections::look`] and [`Connections::close`].
    pub fn remember(&self, waker: &Waker) {
        let mut kept = self.slot.waker.borrow_mut();
        if kept.is_none() {
            *kept = Some(waker.clone());
        }
    }

    /// It has waited too long for a request's head.
    pub fn is_late(&self) -> bool {
        self.all.is_late(&self.slot)
    }

    /// Whether it is to rest now, as a look found, until [`Connection::goes_on`].
    pub fn rests(&self) -> bool {
        if self.slot.rest.get() != Rest::Due {
            return false;
        }
        let rests = self.all.can_rest(&self.slot);
        self.slot.rest.set(if rests { Rest::Taken } else { Rest::None });
        rests
    }

    /// It does not rest any more.
    pub fn goes_on(&self) {
        self.slot.rest.set(Rest::None);
    }

    /// For whoever writes to its client.
    pub fn sending(&self) -> Sending {
        Sending(self.slot.clone())
    }
}

impl Sending {
    /// The client does not take more for now, or does again.
    pub fn set_stuck(&self, is_stuck: bool) {
        self.0.is_stuck.set(is_stuck);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut open = self.all.open.borrow_mut();
        let at = self.slot.at.get();
        open.swap_remove(at);
        if let Some(moved) = open.get(at) {
            moved.at.set(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn connections() -> Rc<Connections> {
        Rc::new(Connections::new(Duration::from_secs(2)))
    }

    fn entered(all: &Rc<Connections>) -> (Connection, Arc<Woken>) {
        let (connection, woken) = (all.enter(), Arc::new(Woken::default()));
        connection.remember(&woken.clone().into());
        (connection, woken)
    }

    #[test]
    fn looks_are_a_part_of_the_time_and_never_far_apart() {
        for (timeout_ms, every_ms, looks) in [(100, 12.5, 8), (800, 100.0, 8), (10_001, 100.0, 101)] {
            let all = Connections::new(Duration::from_millis(timeout_ms));
            assert_eq!((all.look_every().as_secs_f64() * 1e3, all.looks_max), (every_ms, looks));
        }
    }

    #[test]
    fn who_waits_too_long_is_woken_and_nobody_else() {
        let all = connections();
        let (idle, idle_woken) = entered(&all);
        let (answering, answering_woken) = entered(&all);
        answering.answers();
        (0..all.looks_max).for_each(|_| all.look());
        let (fresh, _) = entered(&all);
        assert!(!idle.is_late(), "not before the whole time is over");
        all.look();
        assert!(idle.is_late() && !answering.is_late() && !fresh.is_late());
        // To rest, and to end.
        assert_eq!((idle_woken.0.load(Ordering::Relaxed), answering_woken.0.load(Ordering::Relaxed)), (2, 0));
        answering.waits();
        idle.answers();
        (0..=all.looks_max).for_each(|_| all.look());
        assert!(answering.is_late() && !idle.is_late());
    }

    #[test]
    fn who_idles_is_told_to_rest_once() {
        let all = connections();
        let (idle, woken) = entered(&all);
        let ((answering, _), (stuck, _)) = (entered(&all), entered(&all));
        answering.answers();
        stuck.sending().set_stuck(true);
        all.look();
        assert!(!idle.rests(), "it has not waited for a whole look");
        all.look();
        assert!(!answering.rests() && !stuck.rests() && idle.rests());
        all.look();
        assert!(!idle.rests() && woken.0.load(Ordering::Relaxed) == 1, "it rests");
        idle.goes_on();
        assert!(!idle.rests(), "only when a look finds it");
        all.look();
        idle.waits();
        assert!(!idle.rests(), "it has asked meanwhile");
        stuck.sending().set_stuck(false);
        assert!(!stuck.rests());
        all.look();
        assert!(stuck.rests());
    }

    #[test]
    fn a_look_puts_some_to_rest_and_the_next_ones_the_others() {
        let all = connections();
        let entered: Vec<_> = (0..2 * RESTS_PER_LOOK).map(|_| entered(&all).0).collect();
        (0..2).for_each(|_| all.look());
        assert_eq!(entered.iter().filter(|one| one.rests()).count(), RESTS_PER_LOOK);
        all.look();
        assert_eq!(entered.iter().filter(|one| one.rests()).count(), RESTS_PER_LOOK);
    }

    #[test]
    fn who_leaves_is_told_nothing_and_who_stays_is() {
        let all = connections();
        let mut entered: Vec<_> = (0..10).map(|_| entered(&all)).collect();
        let mut left = Vec::new();
        for at in [9, 0, 4, 4, 0] {
            left.push(entered.remove(at).1);
        }
        assert_eq!(all.open.borrow().len(), entered.len());
        all.close();
        assert!(all.is_closing());
        assert!(entered.iter().all(|(_, woken)| woken.0.load(Ordering::Relaxed) == 1));
        assert!(left.iter().all(|woken| woken.0.load(Ordering::Relaxed) == 0));
        entered.clear();
        assert!(all.open.borrow().is_empty());
    }
}
