//! Where the database is and how to reach it.

use std::fmt;

use url::{Host, Url};

/// How to reach ClickHouse.
#[derive(Debug, Clone)]
pub struct Config {
    /// HTTP or HTTPS URL of the server that answers queries: the only one, or any of the cluster.
    pub url: String,
    /// User name.
    pub user: String,
    /// The user's password; may be empty.
    pub password: Secret,
    /// Database that holds the tables; `migrate` creates it. Letters, digits and `_`.
    pub database: String,
    /// The cluster over which rows are spread; none for a single server.
    pub cluster: Option<Cluster>,
    /// Longest wait for one request in milliseconds. The server is told to give up on an insert after the
    /// same time. At least 1,000 for real work: an insert that is cut off has an unknown outcome.
    pub request_timeout_ms: u64,
}

impl Default for Config {
    /// A server on this machine with ClickHouse's own defaults.
    fn default() -> Config {
        Config {
            url: "http://127.0.0.1:8123".into(),
            user: "default".into(),
            password: Secret::default(),
            database: "mailbeacon".into(),
            cluster: None,
            request_timeout_ms: 60_000,
        }
    }
}

/// A cluster that the servers know by name.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Name in the servers' `remote_servers`. Letters, digits, `_` and `-`.
    pub name: String,
    /// URL of each shard, in the cluster's order. Of a replicated shard all replicas, separated by commas: the
    /// first takes the inserts, all get the tables.
    pub shards: Vec<String>,
    /// Whether the tables replicate (`ReplicatedMergeTree`, with the servers' macros `{shard}` and `{replica}`). An
    /// insert then waits for a majority of the shard's replicas: of two, for both.
    pub replicated: bool,
}

/// A text that is never printed.
#[derive(Clone, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Secret {
        Secret(secret.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Secret {
        Secret(secret.to_owned())
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Secret {
        Secret(secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A value of the configuration that cannot work.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
#[error("{key} {found}: expected {expected}")]
pub struct ConfigError {
    /// Which field of [`Config`].
    pub key: &'static str,
    /// What is wrong with it; quotes the value where it holds no secret.
    pub found: String,
    /// What would do.
    pub expected: &'static str,
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        check_url("url", &self.url)?;
        check_name("database", &self.database, "")?;
        if self.request_timeout_ms == 0 {
            return Err(error("request_timeout_ms", "is 0".into(), "a time in milliseconds"));
        }
        let Some(cluster) = &self.cluster else { return Ok(()) };
        check_name("cluster.name", &cluster.name, "-")?;
        if cluster.shards.is_empty() {
            return Err(error("cluster.shards", "is empty".into(), "one URL for each shard"));
        }
        cluster.shards.iter().flat_map(|s| replicas(s)).try_for_each(|url| check_url("cluster.shards", url))
    }
}

/// The URLs in one entry of [`Cluster::shards`].
pub(crate) fn replicas(shard: &str) -> impl Iterator<Item = &str> {
    shard.split(',').map(str::trim)
}

/// Host and port of a checked URL.
pub(crate) fn authority(url: &str) -> String {
    Url::parse(url).map(|url| url.authority().to_owned()).unwrap_or_default()
}

/// Whether a checked URL names this machine by a loopback address.
pub(crate) fn is_local(url: &str) -> bool {
    match Url::parse(url).as_ref().map(Url::host) {
        Ok(Some(Host::Ipv4(address))) => address.is_loopback(),
        Ok(Some(Host::Ipv6(address))) => address.is_loopback(),
        Ok(Some(Host::Domain(name))) => name == "localhost",
        _ => false,
    }
}

fn check_url(key: &'static str, text: &str) -> Result<(), ConfigError> {
    const EXPECTED: &str = "http://HOST:PORT or https://HOST:PORT";
    // A text that is no URL may still hold a password: it is not quoted.
    let url = Url::parse(text).map_err(|e| error(key, format!("cannot be read ({e})"), EXPECTED))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(error(key, "holds credentials".into(), "them in user and password"));
    }
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(error(key, format!("has scheme {}", url.scheme()), EXPECTED));
    }
    if url.query().is_some() {
        return Err(error(key, "has a query".into(), EXPECTED));
    }
    Ok(())
}

/// Names go into SQL between backticks and quotes: nothing that could end either is let in.
fn check_name(key: &'static str, name: &str, also: &str) -> Result<(), ConfigError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || also.contains(c);
    if !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(fits) {
        return Ok(());
    }
    Err(error(key, format!("is {name:?}"), "letters, digits and _, at most 64"))
}

const NAME_BYTES_MAX: usize = 64;

fn error(key: &'static str, found: String, expected: &'static str) -> ConfigError {
    ConfigError { key, found, expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_values_are_named_and_secrets_are_not_shown() {
        let with = |edit: fn(&mut Config)| {
            let mut config = Config::default();
            edit(&mut config);
            config.check().map_err(|e| e.to_string())
        };
        let cluster = |shards: &[&str]| Cluster {
            name: "c-1".into(),
            shards: shards.iter().map(|s| s.to_string()).collect(),
            replicated: false,
        };
        let bad = [
            (with(|c| c.url = "http://u:hunter2@h:1".into()), "url holds credentials"),
            (with(|c| c.url = "hunter2".into()), "url cannot be read"),
            (with(|c| c.url = "tcp://h:9000".into()), "url has scheme tcp"),
            (with(|c| c.url = "http://h:1/?password=hunter2".into()), "url has a query"),
            (with(|c| c.database = "a`b".into()), "database is \"a`b\""),
            (with(|c| c.database = String::new()), "database is \"\""),
            (with(|c| c.request_timeout_ms = 0), "request_timeout_ms is 0"),
        ];
        for (result, start) in bad {
            let text = result.expect_err(start);
            assert!(text.starts_with(start) && !text.contains("hunter2"), "{text}");
        }
        let mut config = Config { password: Secret::new("hunter2"), ..Config::default() };
        assert!(!format!("{config:?}").contains("hunter2"));
        config.cluster = Some(cluster(&["http://a:1, http://b:1", "http://c:1"]));
        assert_eq!(config.check(), Ok(()));
        for shards in [&[][..], &["http://a:1,"], &["http://a:1", "x"]] {
            config.cluster = Some(cluster(shards));
            assert_eq!(config.check().map_err(|e| e.key), Err("cluster.shards"), "{shards:?}");
        }
    }
}
