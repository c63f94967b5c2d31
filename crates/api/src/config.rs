//! What an operator may set about the API.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use telemetry::SettingError;

/// The `[api]` section. Times in milliseconds, sizes in bytes.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where requests are answered. Plain HTTP: put a proxy with TLS before it, or keep it on a private network.
    pub listen: SocketAddr,
    /// The file of the keys' digests: see [`Access::from_toml`](crate::Access::from_toml).
    pub keys_file: PathBuf,
    /// Open connections; more wait in the listener's backlog.
    pub connections_max: usize,
    /// Requests at a time. More are answered 429.
    pub requests_max: usize,
    /// The largest request body.
    pub body_bytes_max: usize,
    /// How long a request's head may take, and how long a connection may idle between requests.
    pub header_read_timeout_ms: u64,
    /// How long a request may take from its head to its answer, its body included.
    pub request_timeout_ms: u64,
    /// How long a connection may live, whatever it does: a client that stops reading is cut as well.
    pub connection_ms: u64,
    /// At shutdown: how long open requests have to finish.
    pub drain_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 8090)),
            keys_file: PathBuf::from("api-keys.toml"),
            connections_max: 1_000,
            requests_max: 64,
            body_bytes_max: 4 << 20,
            header_read_timeout_ms: 10_000,
            request_timeout_ms: 30_000,
            connection_ms: 600_000,
            drain_ms: 10_000,
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
        check("api.connections_max", self.connections_max as u64, 1..=1_000_000)?;
        check("api.requests_max", self.requests_max as u64, 1..=256)?;
        check("api.body_bytes_max", self.body_bytes_max as u64, 1_024..=64 << 20)?;
        check("api.header_read_timeout_ms", self.header_read_timeout_ms, 100..=600_000)?;
        check("api.request_timeout_ms", self.request_timeout_ms, 100..=600_000)?;
        check("api.connection_ms", self.connection_ms, 1_000..=86_400_000)?;
        check("api.drain_ms", self.drain_ms, 0..=600_000)
    }
}
