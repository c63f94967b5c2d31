//! A side that answers requests, and where one sees that each has come to its state.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use kafka::Stretch;

use super::bench::{Bench, Running, STATE_WAIT, until};
use super::side::{About, Begun, Side, Turn};
use super::spent::{since, spent};
use crate::plan::Plan;
use crate::send::{self, Target};
use crate::tally::Failure;

/// Requests under way at a time, and connections that are kept.
pub const CONNECTIONS: usize = 64;
/// Between the decision to start and the first request, so that every thread is there.
const LEAD: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(5);
/// Lines that may be held back. Seen: one, by kcat.
const HELD_MAX: u64 = 4;
/// What a log is read in.
const PIECE_BYTES: usize = 1 << 16;

/// Where what became of requests is counted.
pub enum Place {
    /// Lines of a log.
    Log(PathBuf),
    /// Messages of a topic, one for each.
    Messages(String),
    /// The same, where the last lines may be held back until others come, which then count for the next turn.
    MessagesHeld(String),
    /// Events in the messages of a topic, as we pack them.
    Batches(String),
}

/// A server that is up. The same processes may serve several comparisons.
pub struct Server {
    /// What it is.
    pub about: About,
    /// Where it listens.
    pub address: SocketAddr,
    /// All that it takes.
    pub programs: Vec<Running>,
    /// Where its state is seen.
    pub place: Place,
}

/// A server with the requests of one comparison.
pub struct Served {
    /// What all sides share.
    pub bench: Rc<Bench>,
    /// The server.
    pub server: Rc<Server>,
    /// The requests: the same bytes for all sides in all rounds.
    pub plan: Arc<Plan>,
}

impl Side for Served {
    fn about(&self) -> &About {
        &self.server.about
    }

    fn turn(&mut self) -> anyhow::Result<Turn> {
        let Served { bench, server, plan } = self;
        let mut counted = Counted::start(bench, &server.place)?;
        let pids = || server.programs.iter().map(|running| running.program().pid());
        let target = Target {
            address: server.address,
            host: "mail.example".to_owned(),
            connections: CONNECTIONS,
            timeout: TIMEOUT,
            any_status: false,
        };
        let (begun, before) = (Begun::now(bench)?, spent(pids())?);
        let tally = send::send(&target, plan, 1, Instant::now() + LEAD, &Arc::default())
            .context("failed to send the requests")?;
        let planned = plan.len() as u64;
        let answered = tally.answers();
        let unsent = tally.failures.get(&Failure::Unsent).copied().unwrap_or_default();
        let why: Vec<String> =
            tally.failures.iter().map(|(why, count)| format!("{count} {}", why.as_str())).collect();
        ensure!(
            answered + unsent == planned && answered > 0,
            "{answered} of {planned} requests were answered properly ({})",
            why.join(", ")
        );
        let held_max = if matches!(server.place, Place::MessagesHeld(_)) { HELD_MAX } else { 0 };
        until(server.about.state, STATE_WAIT, || {
            let found = counted.look()?;
            ensure!(found <= answered + held_max, "{found} for {answered} requests");
            Ok(if found + held_max >= answered { Ok(()) } else { Err(format!("{found} of {answered}")) })
        })?;
        let turn = begun.turn(bench, answered, since(&before, &spent(pids())?))?;
        Ok(Turn { late_ratio: tally.late_ratio(), unsent_ratio: unsent as f64 / planned as f64, ..turn })
    }
}

/// Counts what came to a place since the start. It reads what is new only.
struct Counted<'a> {
    bench: &'a Bench,
    place: &'a Place,
    found: u64,
    /// Of a log, the bytes that are read.
    read: u64,
    /// Of a topic, what is read.
    seen: Vec<Stretch>,
}

impl<'a> Counted<'a> {
    fn start(bench: &'a Bench, place: &'a Place) -> anyhow::Result<Counted<'a>> {
        let (mut read, mut seen) = (0, Vec::new());
        match place {
            Place::Log(log) => match log.metadata() {
                Ok(meta) => read = meta.len(),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("failed to look at {}", log.display()));
                }
            },
            Place::Messages(topic) | Place::MessagesHeld(topic) | Place::Batches(topic) => {
                seen = bench.stretches(topic)?
            }
        }
        Ok(Counted { bench, place, found: 0, read, seen })
    }

    fn look(&mut self) -> anyhow::Result<u64> {
        match self.place {
            Place::Log(log) => {
                let what = || format!("failed to read {}", log.display());
                let mut file = File::open(log).with_context(what)?;
                file.seek(SeekFrom::Start(self.read)).with_context(what)?;
                let mut piece = vec![0; PIECE_BYTES];
                loop {
                    let length = file.read(&mut piece).with_context(what)?;
                    if length == 0 {
                        break;
                    }
                    self.read += length as u64;
                    self.found += piece[..length].iter().filter(|byte| **byte == b'\n').count() as u64;
                }
            }
            Place::Messages(topic) | Place::MessagesHeld(topic) => {
                self.found += self.fresh(topic)?.iter().map(|new| new.to - new.from).sum::<u64>();
            }
            Place::Batches(topic) => {
                let fresh = self.fresh(topic)?;
                self.found += self.bench.events(topic, &fresh)?;
            }
        }
        Ok(self.found)
    }

    /// What has come to the topic since the last look.
    fn fresh(&mut self, topic: &str) -> anyhow::Result<Vec<Stretch>> {
        let now = self.bench.stretches(topic)?;
        let before = |partition| self.seen.iter().find(|seen| seen.partition == partition);
        let fresh = now
            .iter()
            .map(|now| Stretch { from: before(now.partition).map_or(now.from, |seen| seen.to), ..*now })
            .collect();
        self.seen = now;
        Ok(fresh)
    }
}
