//! Our edge, asked for pixels over connections that are open already, with Kafka there or frozen.

use std::cell::RefCell;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::memory;
use crate::compare::bench::{Bench, STATE_WAIT, UP_WAIT, until};
use crate::compare::ours;
use crate::compare::served::{Place, Served, Server};
use crate::compare::side::{About, Side, Turn};
use crate::exchange;
use crate::metrics::Page;
use crate::plan::Plan;
use crate::report::Percentiles;
use crate::send;

/// Between the decision to start and the first request: 10,000 connections have to be registered before.
const LEAD: Duration = Duration::from_millis(500);
const NO_EVENT: &[u8] = b"GET / HTTP/1.1\r\nHost: mail.example\r\n\r\n";

/// An edge that is up.
pub struct Edge {
    server: Rc<Server>,
    admin: SocketAddr,
}

impl Edge {
    /// Starts it with so many workers, on as many cores.
    pub fn start(bench: &Bench, name: &str, workers: usize) -> anyhow::Result<Edge> {
        let mut server = ours::start(bench, name, workers)?;
        if let Place::Batches(topic) = server.place {
            server.place = Place::BatchesRepeated(topic, RefCell::default());
        }
        let admin = server.programs[0].admin("edge is up")?;
        Ok(Edge { server: Rc::new(server), admin })
    }
}

/// Whether the broker answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broker {
    /// It does.
    Up,
    /// It is frozen while requests are sent: its connections stay open and nothing answers.
    Frozen,
}

/// An edge with its requests.
pub struct Pixels {
    edge: Rc<Edge>,
    served: Served,
    connections: usize,
    broker: Broker,
    about: About,
}

impl Pixels {
    /// Every turn opens so many connections.
    pub fn new(
        bench: &Rc<Bench>,
        edge: &Rc<Edge>,
        plan: &Arc<Plan>,
        asked: (String, usize, Broker),
    ) -> Pixels {
        let (name, connections, broker) = asked;
        let about = About { name, ..edge.server.about.clone() };
        let served = Served { bench: bench.clone(), server: edge.server.clone(), plan: plan.clone() };
        Pixels { edge: edge.clone(), served, connections, broker, about }
    }

    /// Opens the connections, each with a request that is no event: the edge is told of one only when that comes. Returns
    /// when the edge has those and no others.
    fn open(&self) -> anyhow::Result<Vec<TcpStream>> {
        let one = |number| {
            opened(self.edge.server.address)
                .with_context(|| format!("failed to open connection {number} of {}", self.connections))
        };
        let open = (1..=self.connections).map(one).collect::<anyhow::Result<_>>()?;
        until("the edge to have all connections", STATE_WAIT, || {
            let has = self.page()?.sum("edge_open_connections");
            Ok(if has == self.connections as u64 { Ok(()) } else { Err(format!("it has {has}")) })
        })?;
        Ok(open)
    }

    fn page(&self) -> anyhow::Result<Page> {
        Page::wait_for(self.edge.admin, UP_WAIT)
    }
}

fn opened(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(UP_WAIT))?;
    let reply = exchange::ask_over(&mut stream, NO_EVENT)?;
    ensure!(reply.status == 404 && reply.keep, "{reply:?} to a path that there is not, expected 404");
    Ok(stream)
}

impl Side for Pixels {
    fn about(&self) -> &About {
        &self.about
    }

    fn turn(&mut self) -> anyhow::Result<Turn> {
        const ACCEPTED: &str = "edge_connections_total";
        let kafka = &self.served.bench.kafka;
        let pid = self.edge.server.programs[0].program().pid();
        let before = self.page()?.sum(ACCEPTED);
        let (open, mut memory_bytes) = (self.open()?, 0);
        let (mut turn, tally) = self.served.serve(|target| {
            if self.broker == Broker::Frozen {
                kafka.suspend(0)?;
            }
            let plan = &self.served.plan;
            let sent = memory::most(pid, || send::send_over(open, target, plan, Instant::now() + LEAD));
            if self.broker == Broker::Frozen {
                kafka.resume(0)?;
            }
            let (tally, most) = sent?;
            memory_bytes = most;
            tally.context("failed to send the requests")
        })?;
        let accepted = self.page()?.sum(ACCEPTED) - before;
        ensure!(
            accepted == self.connections as u64,
            "{accepted} connections were opened, expected {}: the edge closed some",
            self.connections
        );
        let Percentiles { p50, p99, p99_9, .. } = Percentiles::of(&tally.latency);
        turn.figures.extend([
            ("cpu_us", turn.cpu_us()),
            ("memory_mib", memory_bytes as f64 / f64::from(1 << 20)),
            ("p50_ms", p50),
            ("p99_ms", p99),
            ("p99.9_ms", p99_9),
        ]);
        Ok(turn)
    }
}
