//! The hidden subcommand in which the program turns into one of its own parts.
//!
//! `__child engine PARENT LIBRARY ARGS…` loads the ClickHouse engine and becomes it.
//! `__child exec PARENT PROGRAM ARGS…` becomes another program (Java, a `clickhouse` binary).
//!
//! Both first ask the kernel to kill them when the parent ends, so that nothing stays behind when the parent
//! dies in a way in which it cannot clean up. Doing this here, after the exec, needs no `pre_exec` hook and
//! thereby no unsafe code between fork and exec.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use crate::load;

/// The first argument under which a program that uses this crate must call [`child_main`].
pub const CHILD_SUBCOMMAND: &str = "__child";

/// Runs the hidden subcommand: `args` is everything after [`CHILD_SUBCOMMAND`].
///
/// Returns when the engine has ended or could not be started; the reason goes to stderr, which the parent has
/// pointed at a log file.
pub fn child_main(args: impl Iterator<Item = OsString>) -> ExitCode {
    match run(args) {
        Ok(code) => code,
        Err(reason) => {
            eprintln!("mailbeacon {CHILD_SUBCOMMAND}: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: impl Iterator<Item = OsString>) -> Result<ExitCode, String> {
    const USAGE: &str = "expected `engine PARENT LIBRARY ARGS…` or `exec PARENT PROGRAM ARGS…`";
    let form = args.next().ok_or(USAGE)?;
    let parent = args.next().and_then(|pid| pid.to_str()?.parse::<i32>().ok()).ok_or(USAGE)?;
    let target = args.next().ok_or(USAGE)?;

    die_with(parent)?;
    match form.to_str() {
        Some("engine") => load::run_engine(&target, args).map(|()| ExitCode::SUCCESS),
        Some("exec") => {
            let error = Command::new(&target).args(args).exec();
            Err(format!("failed to run {}: {error}", target.display()))
        }
        _ => Err(USAGE.into()),
    }
}

fn die_with(parent: i32) -> Result<(), String> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| format!("failed to ask for the end of the parent: {error}"))?;
    // A parent that ended before the line above would never be reported.
    if getppid() != Pid::from_raw(parent) {
        return Err("the parent is gone already".into());
    }
    Ok(())
}
