//! Growth from end to end, as small as it gets: every variant does its work and shows its figures.

use std::process::ExitCode;

use clap::Parser;
use loadtest::grow;
use loadtest::options::{Cli, Command};

#[test]
fn everything_that_grows_does_its_work() {
    let dir = testkit::fresh_dir("grow");
    let dir = dir.path().join("data");
    let mailbeacon = testkit::helper();
    let args = ["loadtest", "grow", "--short", "--dir", dir.to_str().unwrap(), "--mailbeacon"];
    let args = args.into_iter().chain([mailbeacon.to_str().unwrap()]);
    let Command::Grow(options) = Cli::try_parse_from(args).unwrap().command else { panic!("not grow") };
    let report = grow::run(&options).unwrap();
    assert_eq!(report.failed, None);
    assert_eq!(report.exit_code(), ExitCode::SUCCESS);

    let names: Vec<&str> = report.kinds.iter().map(|kind| kind.name).collect();
    assert_eq!(names, ["cores", "connections", "partitions", "away"]);
    assert_eq!(report.versions.len(), 3, "{:?}", report.versions);
    for kind in &report.kinds {
        // On a busy machine a round counts for nothing, but it was made.
        assert_eq!(kind.rounds_kept + kind.rounds_starved.len(), 1, "{}", kind.name);
        for turn in kind.turns.iter().flatten() {
            for figure in &kind.figures {
                let value = turn.figures[figure.name];
                // CPU time comes in ticks of 10 ms, of which so little may take none.
                assert!(
                    value > 0.0 || figure.name.ends_with("cpu_us"),
                    "{} of {}: {value}",
                    figure.name,
                    kind.name
                );
            }
        }
    }
    let text = report.to_string();
    for part in
        ["200 connections", "3 partitions", "rows_per_insert", "frozen", "Too short to judge by", "Kafka 4."]
    {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}
