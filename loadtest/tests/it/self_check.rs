//! The tool's check of itself, and that the check can fail.

use clap::Parser;
use loadtest::options::{Cli, Command, SelfCheckOptions};
use loadtest::report::Percentiles;
use loadtest::self_check::{self, Checked};

async fn checked(args: &[&str]) -> Checked {
    let args = [&["loadtest", "self-check"], args].concat();
    let Command::SelfCheck(options) = Cli::try_parse_from(args).unwrap().command else {
        panic!("not a check")
    };
    let options: SelfCheckOptions = options;
    options.check().unwrap();
    self_check::run(&options).await.unwrap()
}

/// Only lower bounds: a busy machine makes latencies longer, never shorter.
#[tokio::test]
async fn a_second_of_standing_still_is_in_the_tail() {
    let checked = checked(&["--rate", "300"]).await;
    assert!(checked.passed(), "{checked}");
    let (shown, floor) = (checked.report.latency_ms, checked.floor_ms);
    assert_eq!((shown.count, floor.count), (900, 900));
    // A third of the run: about 300, less what came late because of this machine.
    assert!(checked.due_in_stall >= 90, "{checked}");
    // The first that was due in it waits for about all of it.
    assert!(floor.max > 0.0 && shown.max >= floor.max, "{checked}");

    // What a tool shows that sends nothing while it waits: one slow request among fast ones.
    let closed_loop = Percentiles { count: 900, p50: 0.1, p90: 0.1, p99: 0.1, p99_9: 1_000.0, max: 1_000.0 };
    assert!(!checked.would_pass(&closed_loop), "{checked}");
    // And a report of fewer requests than were due.
    let fewer = Percentiles { count: 899, ..shown };
    assert!(!checked.would_pass(&fewer));
    assert!(checked.to_string().contains("passed     nothing is left out"));
}
