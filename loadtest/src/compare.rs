//! The comparison: ours and what a team would run in its place, in turns on one machine, by the CPU time of every
//! process that it takes to come to the same state.
//!
//! Peers are programs of packages, at their best settings, and a small edge as a team would write it in a day. One that
//! is not on the machine is named in the report.

pub mod bench;
pub mod nginx;
pub mod options;
pub mod ours;
pub mod report;
pub mod served;
pub mod side;
pub mod spent;
mod text;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use link::Keys;

use self::bench::Bench;
use self::options::{CompareOptions, Only, Size};
use self::report::{Bar, Comparison, Report, Round};
use self::served::{Place, Served, Server};
use self::side::{About, Side, Turn};
use crate::crowd::Crowd;
use crate::mint::Mint;
use crate::mix::{Mix, Noise};
use crate::plan::{Plan, Spec};
use crate::report::LATE_RATIO_MAX;
use crate::schedule::Arrivals;
use crate::shape::Shape;

/// Requests on connections of their own, as a share of the rate of the others: each costs several times as much.
pub const SHORT_SHARE: f64 = 0.4;
/// Rounds that are tried, for each that is to be kept.
const TRIES: usize = 2;
/// Of one core's time: what processes that are no part of this may take during a turn.
const FOREIGN_MAX: f64 = 0.25;
/// Of all cores' time: what other machines on the same hardware may take.
const STOLEN_MAX: f64 = 0.05;

/// Compares, and removes the data when every side came to its state.
///
/// # Errors
/// When the comparison could not be made, or a side did not reach its state.
pub fn run(options: &CompareOptions) -> anyhow::Result<Report> {
    options.check()?;
    let mailbeacon = mailbeacon(options)?;
    let dir = folder(options)?;
    let compared = compare(options, &mailbeacon, &dir);
    if compared.is_ok() && !options.keep {
        fs::remove_dir_all(&dir).with_context(|| format!("failed to remove {}", dir.display()))?;
    } else {
        eprintln!("data and logs are kept in {}", dir.display());
    }
    compared
}

/// Our program.
fn mailbeacon(options: &CompareOptions) -> anyhow::Result<PathBuf> {
    let beside = || Some(std::env::current_exe().ok()?.with_file_name("mailbeacon"));
    let program =
        options.mailbeacon.clone().or_else(beside).context("failed to find this program's folder")?;
    ensure!(
        program.is_file(),
        "no program at {}: build it with `cargo build --release`, or name it with --mailbeacon",
        program.display()
    );
    program.canonicalize().with_context(|| format!("failed to resolve {}", program.display()))
}

/// Where everything goes.
fn folder(options: &CompareOptions) -> anyhow::Result<PathBuf> {
    let dir = match &options.dir {
        Some(dir) => dir.clone(),
        None => {
            let program = std::env::current_exe().context("failed to find this program's folder")?;
            program.with_file_name("compare").join(std::process::id().to_string())
        }
    };
    fs::create_dir_all(&dir).with_context(|| format!("failed to create {}", dir.display()))?;
    let mut entries = fs::read_dir(&dir).with_context(|| format!("failed to read {}", dir.display()))?;
    ensure!(entries.next().is_none(), "{} is not empty: a comparison begins with nothing", dir.display());
    dir.canonicalize().with_context(|| format!("failed to resolve {}", dir.display()))
}

fn compare(options: &CompareOptions, mailbeacon: &Path, dir: &Path) -> anyhow::Result<Report> {
    let size = options.size();
    let begun = Instant::now();
    eprintln!("starting all sides in {}", dir.display());
    let bench = Rc::new(Bench::start(dir, mailbeacon)?);
    let keys = Keys::generate();
    fs::write(dir.join("keys.toml"), &keys).context("failed to write the keys")?;
    let mint = Mint::links(Keys::from_toml(&keys)?, "http://mail.example", 1)?;
    let mut groups = groups(options, &bench, &mint)?;
    eprintln!("all up after {:.1} s", begun.elapsed().as_secs_f64());
    if let Some(cores) = &bench.cores {
        cores.leave_the_side_here()?;
    }
    if !options.short {
        for group in &mut groups {
            group.round(&bench)?;
        }
        groups.iter_mut().for_each(Group::forget);
    }
    for _ in 0..size.rounds * TRIES {
        for group in groups.iter_mut().filter(|group| group.kept.len() < size.rounds) {
            group.round(&bench)?;
        }
    }
    eprintln!("measured after {:.1} s", begun.elapsed().as_secs_f64());
    Ok(Report {
        machine: bench.machine.clone(),
        method: report::method(size, bench.cores.is_some()),
        rounds: size.rounds,
        short: options.short,
        comparisons: groups.iter().map(|group| group.comparison(options.short)).collect(),
    })
}

/// Sides that do the same.
struct Group {
    name: &'static str,
    does: String,
    unit: &'static str,
    sides: Vec<Box<dyn Side>>,
    missing: BTreeMap<&'static str, String>,
    bars: Vec<Bar>,
    kept: Vec<Round>,
    starved: Vec<String>,
}

impl Group {
    /// Gives every side its turn.
    fn round(&mut self, bench: &Bench) -> anyhow::Result<()> {
        let number = self.kept.len() + self.starved.len() + 1;
        let (mut round, mut starved) = (Round::new(), Vec::new());
        for side in &mut self.sides {
            let name = side.about().name;
            let (machine, own) = (spent::machine()?, bench.own()?);
            let turn = side.turn().with_context(|| format!("{} in comparison {}", name, self.name))?;
            let now = spent::machine()?;
            let known = spent::sum(&spent::since(&own, &bench.own()?)) + spent::sum(&turn.cpu_seconds);
            let foreign = (now.busy - machine.busy - known) / turn.seconds;
            let stolen = (now.stolen - machine.stolen) / turn.seconds;
            eprintln!(
                "{} round {number}: {name} {:.2} µs in {:.1} s, others {:.0} % of a core",
                self.name,
                turn.cpu_us(),
                turn.seconds,
                foreign * 100.0
            );
            starved.extend(
                starving(&turn, foreign, stolen / bench.machine.cores as f64)
                    .map(|why| format!("round {number}, {name}: {why}")),
            );
            round.push(turn);
        }
        match starved.is_empty() {
            true => self.kept.push(round),
            false => self.starved.push(starved.join("; ")),
        }
        Ok(())
    }

    /// Nothing so far counts.
    fn forget(&mut self) {
        self.kept.clear();
        self.starved.clear();
    }

    fn comparison(&self, short: bool) -> Comparison {
        let abouts: Vec<About> = self.sides.iter().map(|side| side.about().clone()).collect();
        Comparison {
            name: self.name,
            does: self.does.clone(),
            unit: self.unit,
            sides: report::measured(&abouts, &self.kept),
            ratios: report::ratios(&abouts, &self.kept, &self.bars, short),
            missing: self.missing.clone(),
            rounds_kept: self.kept.len(),
            rounds_starved: self.starved.clone(),
        }
    }
}

/// Why a turn says nothing of its side: `foreign` is of one core, `stolen` of all.
fn starving(turn: &Turn, foreign: f64, stolen: f64) -> Option<String> {
    if turn.late_ratio > LATE_RATIO_MAX {
        return Some(format!("{:.1} % of the requests left late", turn.late_ratio * 100.0));
    }
    if foreign > FOREIGN_MAX {
        return Some(format!("others took {:.0} % of a core", foreign * 100.0));
    }
    (stolen > STOLEN_MAX).then(|| format!("{:.0} % of the machine was taken from it", stolen * 100.0))
}

/// Starts what is asked for.
fn groups(options: &CompareOptions, bench: &Rc<Bench>, mint: &Mint) -> anyhow::Result<Vec<Group>> {
    let size = options.size();
    let crowd = Arc::new(Crowd::load()?);
    let edge = [Only::Pixel, Only::Short, Only::Redirect].iter().any(|one| options.wants(*one));
    let mut missing = BTreeMap::new();
    let mut servers: Vec<Rc<Server>> = Vec::new();
    if edge || options.wants(Only::Itself) {
        servers.push(Rc::new(ours::start(bench, "ours")?));
    }
    if edge {
        let mut add = |name, started: anyhow::Result<Server>| match started {
            Ok(server) => servers.push(Rc::new(server)),
            Err(error) => _ = missing.insert(name, format!("{error:#}")),
        };
        add("nginx-log", nginx_log(bench));
    }
    let group = |name,
                 does: &str,
                 kind: &str,
                 size: Size,
                 fresh_share: f64,
                 wanted: &[&'static str],
                 bars: &[Bar]| {
        let plan = Arc::new(plan(crowd.clone(), mint, size, kind.parse()?, fresh_share)?);
        let sides = servers.iter().filter(|server| wanted.contains(&server.about.name)).map(|server| {
            Box::new(Served { bench: bench.clone(), server: server.clone(), plan: plan.clone() })
                as Box<dyn Side>
        });
        anyhow::Ok(Group {
            name,
            does: does.to_owned(),
            unit: "request",
            sides: sides.collect(),
            missing: missing.clone().into_iter().filter(|(name, _)| wanted.contains(name)).collect(),
            bars: bars.to_vec(),
            kept: Vec::new(),
            starved: Vec::new(),
        })
    };
    let bar = |to, at_most| Bar { of: "ours", to, at_most };
    let mut groups = Vec::new();
    if options.wants(Only::Pixel) {
        groups.push(group(
            "pixel",
            "a pixel over a kept connection",
            "open=1",
            size,
            0.0,
            &["ours", "nginx-log"],
            &[bar("nginx-log", Some(0.80))],
        )?);
    }
    Ok(groups)
}

fn nginx_log(bench: &Bench) -> anyhow::Result<Server> {
    let nginx = nginx::start(bench, "nginx-log", "LOG combined")?;
    let about = About {
        name: "nginx-log",
        does: "nginx with its usual access log, each line written when its request is answered",
        version: nginx.version,
        state: "all lines in the log",
        settings: nginx.config,
    };
    Ok(Server { about, address: nginx.address, programs: vec![nginx.running], place: Place::Log(nginx.log) })
}

/// The requests of a comparison.
fn plan(crowd: Arc<Crowd>, mint: &Mint, size: Size, mix: Mix, fresh_share: f64) -> anyhow::Result<Plan> {
    let now_ms =
        SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_millis();
    let rate = if fresh_share > 0.0 { size.rate * SHORT_SHARE } else { size.rate };
    let spec = Spec {
        requests: (rate * size.seconds).round() as usize,
        warm_up: 0,
        rate,
        shape: Shape::Steady,
        arrivals: Arrivals::Even,
        seed: 1,
        mix,
        noise: Noise::default(),
        fresh_share,
        recipients: 10_000,
        workspace: 1,
        message: (now_ms as u64) << 20,
    };
    Plan::new(spec, crowd, |hit| mint.path(hit))
}
