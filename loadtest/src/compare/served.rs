//! A side that answers requests, and where one sees that each has come to its state.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use event::Event;
use kafka::Stretch;

use super::bench::{Bench, Running, STATE_WAIT, until};
use super::side::{About, Begun, Side, Turn};
use super::spent::{since, spent};
use crate::crowd::Crowd;
use crate::mint::Mint;
use crate::mix::Noise;
use crate::plan::{Plan, Spec};
use crate::schedule::Arrivals;
use crate::send::{self, Target};
use crate::shape::Shape;
use crate::tally::{Failure, Tally};

/// Requests under way at a time, and connections that are kept.
pub const CONNECTIONS: usize = 64;
/// Between the decision to start and the first request, so that every thread is there.
const LEAD: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(5);
/// Lines that may be held back. Seen: one, by kcat.
const HELD_MAX: u64 = 4;
/// What a log is read in.
const PIECE_BYTES: usize = 1 << 16;

/// Edge and number, which never name two events.
pub type EventName = (u64, u64);

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
    /// The same, where some may come again, as they do once Kafka was away: each counts when it comes first.
    BatchesRepeated(String, RefCell<HashSet<EventName>>),
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
        let send = |target: &Target| {
            send::send(target, &self.plan, 1, Instant::now() + LEAD, &Arc::default())
                .context("failed to send the requests")
        };
        Ok(self.serve(send)?.0)
    }
}

impl Served {
    /// Lets `send` send all requests, and waits until each has come to the server's state.
    ///
    /// # Errors
    /// When one is answered otherwise than it should be, or does not come to the state.
    pub fn serve(
        &self,
        send: impl FnOnce(&Target) -> anyhow::Result<Tally>,
    ) -> anyhow::Result<(Turn, Tally)> {
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
        let tally = send(&target)?;
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
        let unsent_ratio = unsent as f64 / planned as f64;
        Ok((Turn { late_ratio: tally.late_ratio(), unsent_ratio, ..turn }, tally))
    }
}

/// What is asked for: the same bytes for all sides in all rounds.
#[derive(Debug, Clone, Copy)]
pub struct Requests {
    /// A second.
    pub rate: f64,
    /// For so long.
    pub seconds: f64,
    /// Weights of opens, clicks and downloads.
    pub mix: &'static str,
    /// Each over a connection of its own.
    pub fresh: bool,
}

impl Requests {
    /// Each with its link and when it is due.
    pub fn plan(self, crowd: Arc<Crowd>, mint: &Mint) -> anyhow::Result<Plan> {
        let now_ms =
            SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_millis();
        let spec = Spec {
            requests: (self.rate * self.seconds).round() as usize,
            warm_up: 0,
            rate: self.rate,
            shape: Shape::Steady,
            arrivals: Arrivals::Even,
            seed: 1,
            mix: self.mix.parse()?,
            noise: Noise::default(),
            fresh_share: if self.fresh { 1.0 } else { 0.0 },
            recipients: 10_000,
            workspace: 1,
            message: (now_ms as u64) << 20,
        };
        Plan::new(spec, crowd, |hit| mint.path(hit))
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
            Place::Messages(topic)
            | Place::MessagesHeld(topic)
            | Place::Batches(topic)
            | Place::BatchesRepeated(topic, _) => seen = bench.stretches(topic)?,
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
            Place::BatchesRepeated(topic, known) => {
                let fresh = self.fresh(topic)?;
                let mut known = known.borrow_mut();
                self.bench.each_event(topic, &fresh, |event| {
                    let event = Event::decode(event)?;
                    self.found += u64::from(known.insert((event.edge_id, event.seq)));
                    Ok(())
                })?;
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
