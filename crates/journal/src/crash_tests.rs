//! Random lives of a journal, on a disk that may refuse, die and lose its power at any step.
//!
//! A schedule is all that follows from one seed; a failing one is told step by step, cut to its shortest.

mod promises;
mod schedule;
mod steps;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use self::promises::Broken;
use self::schedule::Schedule;
use crate::Shed;

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

#[test]
fn a_seed_tells_the_same_story_again() {
    for seed in 0..50 {
        let [once, again] = [(); 2].map(|()| run(seed, STEPS_MAX, &mut Tally::default()).said);
        assert!(once.len() > 3 && once == again, "seed {seed}");
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

struct Outcome {
    outcome: Result<(), Broken>,
    said: Vec<String>,
}

fn run(seed: u64, steps_max: usize, tally: &mut Tally) -> Outcome {
    let root = crate::power::root();
    let dir = root.path().display().to_string();
    let mut schedule = Schedule::new(seed, root.path().canonicalize().unwrap().join("journal"), tally);
    let outcome = catch_unwind(AssertUnwindSafe(|| schedule.run(steps_max)))
        .unwrap_or_else(|panic| Err(format!("panicked: {:?}", panic.downcast_ref::<String>())));
    Outcome {
        outcome: outcome.map_err(|broken| format!("life {}: {broken}", schedule.promises.life)),
        // The same in every run.
        said: schedule.said.iter().map(|said| said.replace(&dir, "")).collect(),
    }
}
