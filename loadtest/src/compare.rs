//! The comparison: ours and what a team would run in its place, in turns on one machine, by the CPU time of every
//! process that it takes to come to the same state.
//!
//! Peers are programs of packages, at their best settings, and a small edge as a team would write it in a day. One that
//! is not on the machine is named in the report.

pub mod bench;
pub(crate) mod consumers;
mod cores;
pub mod day_edge;
pub(crate) mod feed;
pub(crate) mod group;
mod groups;
mod nginx;
pub mod options;
pub(crate) mod ours;
pub mod page;
mod peers;
pub mod report;
pub(crate) mod served;
pub mod side;
pub mod spent;
pub mod text;

use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use self::bench::Bench;
use self::options::CompareOptions;
use self::report::Report;

/// Requests on connections of their own, as a share of the rate of the others: each costs several times as much.
pub const SHORT_SHARE: f64 = 0.4;

/// Compares, and removes the data when every side came to its state.
///
/// # Errors
/// When the comparison could not be made, or a side did not reach its state.
pub fn run(options: &CompareOptions) -> anyhow::Result<Report> {
    options.check()?;
    let mailbeacon = options.scratch.program()?;
    let dir = options.scratch.folder("compare", "sides")?;
    let compared = compare(options, &mailbeacon, &dir);
    options.scratch.leave(&dir, compared.is_ok())?;
    compared
}

fn compare(options: &CompareOptions, mailbeacon: &Path, dir: &Path) -> anyhow::Result<Report> {
    let size = options.size();
    let begun = Instant::now();
    eprintln!("starting all sides in {}", dir.display());
    let bench = Rc::new(Bench::start(dir, mailbeacon)?);
    let mint = bench.mint()?;
    let mut groups = groups::start(options, &bench, &mint)?;
    eprintln!("all up after {:.1} s", begun.elapsed().as_secs_f64());
    if let Some(cores) = &bench.cores {
        cores.leave_the_side_here()?;
    }
    let rounds = if options.settings { 0 } else { size.rounds };
    group::rounds(&mut groups, rounds, options.short, bench.machine.cores)?;
    eprintln!("measured after {:.1} s", begun.elapsed().as_secs_f64());
    Ok(Report {
        machine: bench.machine.clone(),
        method: report::method(size, bench.cores.is_some()),
        rounds,
        short: options.short,
        comparisons: groups.iter().map(|group| group.comparison(options.short)).collect(),
    })
}
