//! Mailbeacon: the one binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The hidden form in which the program starts its own ClickHouse and Kafka: see `local::child_main`.
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == local::CHILD_SUBCOMMAND) {
        return local::child_main(args);
    }
    ExitCode::SUCCESS
}
