//! The only crate that knows ClickHouse: the schema and its migrations, the writer, the queries.
//!
//! Owns the tables and views under `migrations/`, the [`Row`] that mirrors `events`, and what an answer of the
//! server means for the caller ([`InsertError`]: retry, reject or stop). Decides nothing about an event: verdicts,
//! places, batches, tokens and shards come from the caller. Reads no clock and keeps no state between calls but
//! connections.

mod block;
mod config;
mod corrections;
mod error;
mod explorations;
mod history;
mod insert;
mod known;
mod past;
mod query;
mod schema;
mod send_times;
mod views;

pub use block::{Block, Correction, Row, TIMES_MS, month};
pub use config::{Cluster, Config, ConfigError, Secret};
pub use corrections::{JudgedVisit, NewVerdict, StoredPart};
pub use error::{Cause, InsertError, StoreError};
pub use history::{Engagement, HISTORY_MAX, Histories, histories_sql};
pub use known::KnownId;
pub use past::PastVisit;
pub use query::{QUERY_BYTES_MAX, Range};
pub use schema::{Applied, SchemaState, ServerSchema};
pub use send_times::{Barred, Exploration, Near, SendTime, SharedHabits};
pub use views::{Drift, Traces};

use clickhouse::Compression;
use tokio::sync::OnceCell;

/// A ClickHouse database on one server, or on the shards of a cluster.
///
/// Cheap to share by reference: every call may run at the same time as any other.
pub struct Store {
    config: Config,
    /// Answers queries: the only server, or any one of a cluster.
    front: Server,
    /// Every server that holds tables, shard by shard.
    servers: Vec<Server>,
    /// For each shard the index in `servers` of the one that takes its inserts.
    writers: Vec<usize>,
}

struct Server {
    /// Host and port, for errors and reports.
    name: String,
    client: clickhouse::Client,
    knows: OnceCell<insert::Knows>,
    views: OnceCell<Vec<views::View>>,
}

impl Store {
    /// Checks the configuration and prepares the clients. Connects to nothing yet.
    ///
    /// # Errors
    /// When a value of the configuration cannot work: the error names its key.
    pub fn new(config: Config) -> Result<Store, ConfigError> {
        config.check()?;
        let front = Server::new(&config.url, &config);
        let Some(cluster) = &config.cluster else {
            let servers = vec![Server::new(&config.url, &config)];
            return Ok(Store { front, servers, writers: vec![0], config });
        };
        let (mut servers, mut writers) = (Vec::new(), Vec::new());
        for shard in &cluster.shards {
            writers.push(servers.len());
            servers.extend(config::replicas(shard).map(|url| Server::new(url, &config)));
        }
        Ok(Store { front, servers, writers, config })
    }

    /// How many shards there are: 1 without a cluster.
    pub fn shards(&self) -> usize {
        self.writers.len()
    }

    fn writer(&self, shard: usize) -> Result<&Server, StoreError> {
        let index =
            self.writers.get(shard).ok_or(StoreError::NoShard { shard, shards: self.writers.len() })?;
        Ok(&self.servers[*index])
    }

    /// What stands after a table's name where its rows really are: a cluster has a `Distributed` table in front.
    fn local(&self) -> &'static str {
        if self.config.cluster.is_some() { "_local" } else { "" }
    }
}

impl Server {
    fn new(url: &str, config: &Config) -> Server {
        // Where nothing goes over a network, to compress and to unpack costs more than to copy.
        let compression = if config::is_local(url) { Compression::None } else { Compression::Lz4 };
        Server {
            name: config::authority(url),
            client: clickhouse::Client::default()
                .with_url(url)
                .with_compression(compression)
                .with_user(&config.user)
                .with_password(config.password.expose())
                .with_database(&config.database),
            knows: OnceCell::new(),
            views: OnceCell::new(),
        }
    }
}
