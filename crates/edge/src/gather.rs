//! Fewer and fuller wake-ups under load, as network cards moderate their interrupts.
//!
//! A worker that sleeps until the next request wakes up for each, and at some thousand requests a second that wake-
//! up (its own, and the one of whoever waits at the other end) costs as much as the request. So a busy worker that
//! has done all there was to do lets [`Config::gather_us`](crate::Config::gather_us) pass since its last wake-up
//! before it asks the kernel for more; then there are several requests, and one write of the journal for all of
//! them. One that is not busy never waits, one with so much to do that a turn takes longer does not either, nor one
//! whose clients each wait for an answer before they ask again, as a benchmark over few connections does.

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;

/// How long requests are counted before it is said again whether a worker is busy.
const WINDOW: Duration = Duration::from_millis(10);
/// Busy is who has this many requests in the time to gather. With one a pause is as often as not only another wake-up.
const BUSY: f64 = 2.0;
/// How long a worker does not wait that has found its clients waiting for it: a look at them now and then takes a
/// hundredth of the time.
const CLIENTS_WAIT: Duration = Duration::from_millis(100);

thread_local! {
    static SEEN: Cell<Seen> = const { Cell::new(Seen { requests: 0, again: 0, awake: 0 }) };
    static STATE: Cell<Option<State>> = const { Cell::new(None) };
}

/// What a worker's connections did.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Requests, ever.
    requests: u64,
    /// Those that were not the first of their connection.
    again: u64,
    /// Open connections that do not rest.
    awake: u64,
}

/// Counts a request of this worker's; `again` says that its connection has asked before.
pub fn asks(again: bool) {
    let seen = SEEN.get();
    SEEN.set(Seen { requests: seen.requests + 1, again: seen.again + u64::from(again), ..seen });
}

/// Counts one more connection of this worker's, or one that rests no more.
pub fn wakes() {
    let seen = SEEN.get();
    SEEN.set(Seen { awake: seen.awake + 1, ..seen });
}

/// One of those that [`wakes`] counted rests, or has ended.
pub fn sleeps() {
    let seen = SEEN.get();
    SEEN.set(Seen { awake: seen.awake - 1, ..seen });
}

/// Has the threads of a runtime gather requests for as long as `gather`; not at all when it is zero.
pub fn moderate(runtime: &mut Builder, gather: Duration) {
    if gather.is_zero() {
        return;
    }
    runtime.on_thread_park(move || {
        let now = Instant::now();
        let mut state = STATE.get().unwrap_or_else(|| State::new(now));
        if let Some(pause) = state.pause(now, SEEN.get(), gather) {
            #[expect(clippy::disallowed_methods, reason = "nothing is waited for but time")]
            thread::sleep(pause);
        }
        STATE.set(Some(state));
    });
    runtime.on_thread_unpark(|| {
        let now = Instant::now();
        let mut state = STATE.get().unwrap_or_else(|| State::new(now));
        state.woke = now;
        STATE.set(Some(state));
    });
}

#[derive(Clone, Copy)]
struct State {
    woke: Instant,
    window: Instant,
    /// What had been seen when the window began.
    requests: u64,
    busy: bool,
    /// What had been seen when the last pause began, if the last turn came after one.
    paused: Option<Seen>,
    /// Until then there is no pause.
    clients_wait: Option<Instant>,
}

impl State {
    fn new(now: Instant) -> Self {
        let requests = SEEN.get().requests;
        State { woke: now, window: now, requests, busy: false, paused: None, clients_wait: None }
    }

    /// How long to let requests gather before asking the kernel for more.
    fn pause(&mut self, now: Instant, seen: Seen, gather: Duration) -> Option<Duration> {
        let window = now.duration_since(self.window);
        if window >= WINDOW {
            let gathered = (seen.requests - self.requests) as f64 * gather.as_secs_f64();
            self.busy = gathered >= BUSY * window.as_secs_f64();
            (self.window, self.requests) = (now, seen.requests);
        }
        // Where nearly all that may ask have asked again within one pause, they wait for answers, not for their
        // readers: the longer the pause, the less is asked.
        if self.paused.take().is_some_and(|then| 4 * (seen.again - then.again) >= 3 * then.awake.max(1)) {
            self.clients_wait = Some(now + CLIENTS_WAIT);
        }
        let pause = gather.saturating_sub(now.duration_since(self.woke));
        if !self.busy || pause.is_zero() || self.clients_wait.is_some_and(|until| now < until) {
            return None;
        }
        self.paused = Some(seen);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATHER: Duration = Duration::from_micros(250);

    /// Turns of a worker in 100 ms with a request every `every`, each `work` long: how many paused, and the longest.
    fn pauses(every: Duration, work: Duration) -> (usize, usize, Duration) {
        let start = Instant::now();
        let mut state = State::new(start);
        let (mut now, mut requests) = (start, 0);
        let (mut turns, mut paused, mut longest) = (0, 0, Duration::ZERO);
        while now < start + Duration::from_millis(100) {
            let due = start + every * (requests as u32 + 1);
            now = now.max(due);
            state.woke = now;
            let ready = now;
            while start + every * (requests as u32 + 1) <= ready {
                requests += 1;
                now += work;
            }
            turns += 1;
            if let Some(pause) = state.pause(now, Seen { requests, again: requests, awake: 1_000 }, GATHER) {
                (paused, longest, now) = (paused + 1, longest.max(pause), now + pause);
            }
        }
        (turns, paused, longest)
    }

    #[test]
    fn a_busy_worker_wakes_up_once_in_the_time() {
        let (turns, paused, longest) = pauses(Duration::from_micros(50), Duration::from_micros(10));
        // 200 turns in the first 10 ms, before it is known to be busy; then one each 250 to 300 µs.
        assert!((450..=600).contains(&turns), "{turns} turns");
        assert!(paused > 280, "{paused} pauses");
        assert!(longest <= GATHER, "{longest:?}");
    }

    #[test]
    fn a_worker_with_little_or_too_much_to_do_never_waits() {
        let (turns, paused, _) = pauses(Duration::from_micros(130), Duration::from_micros(10));
        assert!(turns > 700 && paused == 0, "{paused} of {turns}");
        let (turns, paused, _) = pauses(Duration::from_micros(130), Duration::from_micros(129));
        assert!(turns > 700 && paused == 0, "{paused} of {turns}");
        // More in one turn than the time to gather: what comes meanwhile is enough.
        let (turns, paused, _) = pauses(Duration::from_micros(20), Duration::from_micros(20));
        assert!(turns > 0 && paused <= 3, "{paused} of {turns}");
    }

    #[test]
    fn a_worker_that_is_no_longer_busy_stops_waiting() {
        let start = Instant::now();
        let mut state = State::new(start);
        let then = start + WINDOW;
        let seen = |requests| Seen { requests, again: 0, awake: 1_000 };
        assert!(state.pause(then, seen(1_000), GATHER).is_none(), "woken long ago");
        state.woke = then;
        assert!(state.pause(then, seen(1_001), GATHER).is_some());
        let later = then + WINDOW;
        state.woke = later;
        assert!(state.pause(later, seen(1_005), GATHER).is_none());
    }

    /// Whether a busy worker pauses again, right after a pause and 100 ms later, if in that pause `asked` of `awake`
    /// connections ask, all of which have asked before or none.
    fn pauses_again(asked: u64, awake: u64, again: bool) -> (bool, bool) {
        let mut now = Instant::now();
        let mut state = State { busy: true, ..State::new(now) };
        let before = Seen { requests: 7, again: 5, awake };
        now += state.pause(now, before, GATHER).unwrap();
        let after = Seen { requests: 7 + asked, again: 5 + if again { asked } else { 0 }, ..before };
        state.woke = now;
        let first = state.pause(now, after, GATHER).is_some();
        now += CLIENTS_WAIT;
        (state.woke, state.window) = (now, now);
        (first, state.pause(now, after, GATHER).is_some())
    }

    #[test]
    fn who_is_waited_for_does_not_wait() {
        assert_eq!(pauses_again(10, 10, true), (false, true), "all ask again");
        assert_eq!(pauses_again(8, 10, true), (false, true), "nearly all");
        assert_eq!(pauses_again(7, 10, true), (true, true), "some are still being read");
        assert_eq!(pauses_again(10, 10, false), (true, true), "new ones come by themselves");
        assert_eq!(pauses_again(0, 0, true), (true, true), "all are gone");
    }

    #[test]
    fn a_runtime_waits_and_still_does_its_work() {
        let mut builder = Builder::new_current_thread();
        moderate(builder.enable_all(), Duration::from_millis(1));
        let runtime = builder.build().unwrap();
        runtime.block_on(async {
            for _ in 0..200 {
                (0..10).for_each(|_| asks(false));
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
        });
        assert!(STATE.get().unwrap().busy);
    }
}
