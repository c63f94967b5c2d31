//! Fewer and fuller wake-ups under load, as network cards moderate their interrupts.
//!
//! A worker that sleeps until the next request wakes up for each, and at some thousand requests a second that wake-up
//! (its own, and the one of whoever waits at the other end) costs as much as the request. So a busy worker that has
//! done all there was to do lets [`Config::gather_us`](crate::Config::gather_us) pass since its last wake-up before
//! it asks the kernel for more; then there are several requests, and one write of the journal for all of them. One
//! that is not busy never waits, and one with so much to do that a turn takes longer does not either.

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;

/// How long requests are counted before it is said again whether a worker is busy.
const WINDOW: Duration = Duration::from_millis(10);
/// Busy is who has this many requests in the time to gather. With one a pause is as often as not only another wake-up.
const BUSY: f64 = 2.0;

thread_local! {
    /// Requests that this thread has answered, ever.
    static REQUESTS: Cell<u64> = const { Cell::new(0) };
    static STATE: Cell<Option<State>> = const { Cell::new(None) };
}

/// Counts a request that this worker answers.
pub fn count_request() {
    REQUESTS.set(REQUESTS.get() + 1);
}

/// Has the threads of a runtime gather requests for as long as `gather`; not at all when it is zero.
pub fn moderate(runtime: &mut Builder, gather: Duration) {
    if gather.is_zero() {
        return;
    }
    runtime.on_thread_park(move || {
        let now = Instant::now();
        let mut state = STATE.get().unwrap_or_else(|| State::new(now));
        if let Some(pause) = state.pause(now, REQUESTS.get(), gather) {
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
    /// What `REQUESTS` was when the window began.
    requests: u64,
    busy: bool,
}

impl State {
    fn new(now: Instant) -> Self {
        State { woke: now, window: now, requests: REQUESTS.get(), busy: false }
    }

    /// How long to let requests gather before asking the kernel for more.
    fn pause(&mut self, now: Instant, requests: u64, gather: Duration) -> Option<Duration> {
        let window = now.duration_since(self.window);
        if window >= WINDOW {
            let gathered = (requests - self.requests) as f64 * gather.as_secs_f64();
            self.busy = gathered >= BUSY * window.as_secs_f64();
            (self.window, self.requests) = (now, requests);
        }
        let pause = gather.saturating_sub(now.duration_since(self.woke));
        (self.busy && !pause.is_zero()).then_some(pause)
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
            if let Some(pause) = state.pause(now, requests, GATHER) {
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
        assert!(state.pause(then, 1_000, GATHER).is_none(), "woken long ago");
        state.woke = then;
        assert!(state.pause(then, 1_001, GATHER).is_some());
        let later = then + WINDOW;
        state.woke = later;
        assert!(state.pause(later, 1_005, GATHER).is_none());
    }

    #[test]
    fn a_runtime_waits_and_still_does_its_work() {
        let mut builder = Builder::new_current_thread();
        moderate(builder.enable_all(), Duration::from_millis(1));
        let runtime = builder.build().unwrap();
        runtime.block_on(async {
            for _ in 0..200 {
                (0..10).for_each(|_| count_request());
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
        });
        assert!(STATE.get().unwrap().busy);
    }
}
