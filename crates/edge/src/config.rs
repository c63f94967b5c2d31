//! What an operator may set about the edge.

use std::net::SocketAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use telemetry::SettingError;

use crate::mode::{Policy, Wish};

/// The `[edge]` section. Times in milliseconds, sizes in bytes.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where pixels, links and downloads are answered.
    pub listen: SocketAddr,
    /// Threads that answer, each with a listener and a journal of its own; 0 means one a core.
    ///
    /// A journal belongs to its worker: with fewer workers than before, what the others left is still shipped.
    pub workers: usize,
    /// Proxies whose X-Forwarded-For is believed, as CIDR blocks.
    pub trusted_proxies: Vec<IpNet>,
    /// What a visitor's `DNT: 1` comes to: `ignore`, `anonymous` or `off`. The reply never depends on it.
    pub dnt: Wish,
    /// The same of `Sec-GPC: 1`. Of both, and of the link's own mode, the most restrictive wins.
    pub gpc: Wish,
    /// Open connections, over all workers. More are closed at once and counted.
    pub connections_max: usize,
    /// Open connections from one address that is no trusted proxy, for each worker.
    pub connections_per_address_max: u32,
    /// How long a request's head may take, and how long a connection may idle between requests.
    pub header_read_timeout_ms: u64,
    /// In microseconds: the least time from one wake-up of a busy worker to the next, in which requests gather. It is
    /// the most that a reply is later for it (the kernel adds some 50), and saves a third of a pixel's CPU time at
    /// 5,000 to 20,000 requests a second. A worker with less than two requests in this time never waits, and with 0
    /// none does.
    pub gather_us: u64,
    /// How long sent bytes may stay unacknowledged before the connection is dropped (TCP_USER_TIMEOUT).
    pub write_timeout_ms: u64,
    /// How long a reply waits for its event to be in the journal, in the journal's `fsync` mode. Past it the reply
    /// leaves and is counted in `edge_early_replies_total`: a link must work on a dying disk too.
    pub commit_wait_ms: u64,
    /// At shutdown: how long open requests have to finish.
    pub drain_ms: u64,
    /// At shutdown: how long the shipper may go on; what is left stays in the journal for the next start.
    pub ship_deadline_ms: u64,
    /// The shipper's linger: how long events gather into one Kafka message.
    pub ship_linger_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            workers: 0,
            trusted_proxies: Vec::new(),
            dnt: Wish::Ignore,
            gpc: Wish::Ignore,
            connections_max: 20_000,
            connections_per_address_max: 256,
            header_read_timeout_ms: 10_000,
            gather_us: 1_000,
            write_timeout_ms: 10_000,
            commit_wait_ms: 1_000,
            drain_ms: 10_000,
            ship_deadline_ms: 20_000,
            ship_linger_ms: 50,
        }
    }
}

impl Config {
    /// Looks for values that parse but cannot work.
    ///
    /// # Errors
    /// The first one found.
    pub fn check(&self) -> Result<(), SettingError> {
        let check = SettingError::check;
        check("edge.workers", self.workers as u64, 0..=256)?;
        check("edge.connections_max", self.connections_max as u64, 1..=1_000_000)?;
        check("edge.connections_per_address_max", self.connections_per_address_max.into(), 1..=1_000_000)?;
        check("edge.header_read_timeout_ms", self.header_read_timeout_ms, 100..=600_000)?;
        check("edge.gather_us", self.gather_us, 0..=10_000)?;
        check("edge.write_timeout_ms", self.write_timeout_ms, 100..=600_000)?;
        check("edge.commit_wait_ms", self.commit_wait_ms, 1..=60_000)?;
        check("edge.drain_ms", self.drain_ms, 0..=600_000)?;
        check("edge.ship_deadline_ms", self.ship_deadline_ms, 0..=600_000)?;
        check("edge.ship_linger_ms", self.ship_linger_ms, 1..=10_000)
    }

    /// What is made of a visitor's wish not to be tracked.
    pub fn policy(&self) -> Policy {
        Policy { dnt: self.dnt, gpc: self.gpc }
    }

    /// How many workers there are to be.
    pub fn workers(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        }
    }
}
