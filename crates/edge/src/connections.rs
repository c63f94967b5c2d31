//! The open connections of a worker. One look at all of them now and then ends those whose next request does not come,
//! and one word reaches all of them when the worker stops.
//!
//! hyper's own timeout takes a timer for every request: it is made, put into the runtime's wheel and taken out again,
//! which was a twelfth of all that a pixel cost. Here a request costs two stores, and a look at 10,000 connections a
//! few microseconds each second.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

/// Looks in the time that a head may take: a connection is ended at most so much of it too late, never too early.
const LOOKS: u32 = 8;

/// All that are open.
#[derive(Default)]
pub struct Connections {
    open: RefCell<Vec<Rc<Slot>>>,
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
    /// Of its task, which has the same one all its life.
    waker: RefCell<Option<Waker>>,
}

impl Connections {
    /// How often to look when a head may take `timeout`.
    pub fn look_every(timeout: Duration) -> Duration {
        timeout / LOOKS
    }

    /// One more, which waits for its first request.
    pub fn enter(self: &Rc<Self>) -> Connection {
        let mut open = self.open.borrow_mut();
        let slot = Rc::new(Slot {
            at: Cell::new(open.len()),
            waits_since: Cell::new(Some(self.looks.get())),
            waker: RefCell::default(),
        });
        open.push(slot.clone());
        Connection { all: self.clone(), slot }
    }

    /// Wakes all that have waited too long.
    pub fn look(&self) {
        self.looks.set(self.looks.get().wrapping_add(1));
        self.wake(|slot| self.is_late(slot));
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
    fn is_late(&self, slot: &Slot) -> bool {
        slot.waits_since.get().is_some_and(|since| self.looks.get().wrapping_sub(since) > LOOKS)
    }

    fn wake(&self, which: impl Fn(&Slot) -> bool) {
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

    fn entered(all: &Rc<Connections>) -> (Connection, Arc<Woken>) {
        let (connection, woken) = (all.enter(), Arc::new(Woken::default()));
        connection.remember(&woken.clone().into());
        (connection, woken)
    }

    #[test]
    fn who_waits_too_long_is_woken_and_nobody_else() {
        let all = Rc::new(Connections::default());
        let (idle, idle_woken) = entered(&all);
        let (answering, answering_woken) = entered(&all);
        answering.answers();
        (0..LOOKS).for_each(|_| all.look());
        let (fresh, _) = entered(&all);
        assert!(!idle.is_late(), "not before the whole time is over");
        all.look();
        assert!(idle.is_late() && !answering.is_late() && !fresh.is_late());
        assert_eq!((idle_woken.0.load(Ordering::Relaxed), answering_woken.0.load(Ordering::Relaxed)), (1, 0));
        answering.waits();
        idle.answers();
        (0..=LOOKS).for_each(|_| all.look());
        assert!(answering.is_late() && !idle.is_late());
    }

    #[test]
    fn who_leaves_is_told_nothing_and_who_stays_is() {
        let all = Rc::new(Connections::default());
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
