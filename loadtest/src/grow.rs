//! Growth: how the figures of our edge and our consumer change as one machine gets more of something, each variant in its
//! turn.

mod backlog;
mod files;
mod kinds;
mod memory;
pub mod options;
mod pixels;
pub mod report;
mod text;
mod versions;

use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use self::options::GrowOptions;
use self::report::Report;
use crate::compare::bench::Bench;
use crate::compare::group;
use crate::compare::report::Machine;

/// Measures, and removes the data when every variant did its work.
///
/// # Errors
/// When nothing could be measured. A variant that did not do its work ends the rounds and is in the report.
pub fn run(options: &GrowOptions) -> anyhow::Result<Report> {
    let cores = Machine::here().cores;
    options.check(cores)?;
    let mailbeacon = options.scratch.program()?;
    if options.wants(options::Only::Connections) {
        let most = options.size(cores).connections.into_iter().max().unwrap_or_default();
        files::allow(most)?;
    }
    let dir = options.scratch.folder("grow", "run")?;
    let grown = grow(options, &mailbeacon, &dir);
    let is_done = grown.as_ref().is_ok_and(|report| report.failed.is_none());
    options.scratch.leave(&dir, is_done)?;
    grown
}

fn grow(options: &GrowOptions, mailbeacon: &Path, dir: &Path) -> anyhow::Result<Report> {
    let begun = Instant::now();
    eprintln!("starting all variants in {}", dir.display());
    let bench = Rc::new(Bench::start(dir, mailbeacon)?);
    let mint = bench.mint()?;
    let size = options.size(bench.machine.cores);
    let started = kinds::start(options, &bench, &mint)?;
    eprintln!("all up after {:.1} s", begun.elapsed().as_secs_f64());
    if let Some(cores) = &bench.cores {
        cores.leave_the_side_here()?;
    }
    let mut groups = started.groups;
    // What was measured before is shown even when a variant fails.
    let failed = group::rounds(&mut groups, size.rounds, options.short, bench.machine.cores).err();
    eprintln!("measured after {:.1} s", begun.elapsed().as_secs_f64());
    Ok(Report {
        machine: bench.machine.clone(),
        versions: started.versions,
        method: report::method(&size, bench.cores.is_some()),
        rounds: size.rounds,
        short: options.short,
        failed: failed.map(|error| format!("{error:#}")),
        kinds: groups.iter().map(|group| report::grown(group, options.short)).collect(),
    })
}
