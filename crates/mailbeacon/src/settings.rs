//! Everything that can be set, for all programs in one place: `deploy/mailbeacon.toml` shows it with its defaults.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use enrich::{ADDRESS_SECRET_BYTES_MIN, AddressKey, AddressPolicy};
use serde::{Deserialize, Serialize, Serializer};
use telemetry::SettingError;
use toml::Table;
use zeroize::Zeroizing;

use crate::layers;

/// All sections. A name that is not one of ours is an error.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub edge: edge::Config,
    pub journal: Journal,
    pub kafka: Kafka,
    pub consumer: consumer::Config,
    pub clickhouse: ClickHouse,
    pub privacy: Privacy,
    pub geo: Geo,
    pub networks: Networks,
    pub keys: Keys,
    pub site: Site,
    pub api: api::Config,
    pub admin: Admin,
    pub log: Log,
}

/// `[journal]`: the edge's local log, one for each worker.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Journal {
    /// Directory; each worker has its own inside.
    pub dir: PathBuf,
    /// `page-cache` survives the end of the process in any way; `fsync` the loss of power too.
    pub sync: SyncMode,
    /// Size of a segment, in bytes.
    pub segment_bytes: u64,
    /// Bytes that all journals together may take on the disk. At 90 % opens are shed, then clicks, then downloads.
    pub bytes_max: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyncMode {
    PageCache,
    Fsync,
}

/// `[kafka]`. Without `brokers` the consumer reads the journal: the embedded default.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kafka {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// Topic of events; `<topic>.dead` and `<topic>.withdrawals` go with it.
    pub topic: String,
    /// For `migrate`: partitions of the topic. Never changed afterwards.
    pub partitions: u32,
    /// For `migrate`: copies of each partition.
    pub replication: u16,
    /// For `migrate`: how long events stay in the topic, at least a week.
    pub retention_ms: u64,
    /// After so long without a sign of life a consumer's partitions go to the others. At least 6,000.
    pub session_timeout_ms: u32,
    /// `lz4`, `zstd` or `none`.
    pub compression: Compression,
    /// Any other librdkafka property (TLS, SASL), but for those that a promise rests on.
    #[serde(serialize_with = "names_only")]
    pub properties: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    Lz4,
    Zstd,
    None,
}

/// `[clickhouse]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClickHouse {
    /// HTTP or HTTPS URL. Empty for `up`: it then runs an engine of its own.
    pub url: String,
    pub user: String,
    pub password: Password,
    pub database: String,
    /// How long one request may take.
    pub request_timeout_ms: u64,
    /// Name of the cluster in the servers' `remote_servers`; empty for a single server.
    pub cluster: String,
    /// With a cluster: the URL of each shard, in order; replicas of a shard separated by commas.
    pub shards: Vec<String>,
    /// With a cluster: whether tables replicate.
    pub replicated: bool,
}

/// A text that is never printed.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Serialize for Password {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { "***" })
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// `[privacy]`: what the consumer stores of client addresses. What visitors ask for is in `[edge]`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Privacy {
    /// `drop`, `truncate` (to /24 and /48), `hash` or `keep`; cleared after 30 days in any case.
    pub address: Address,
    /// For `hash`: the file of the secret, at least 32 random bytes. A day's key is derived from it.
    pub address_key_file: PathBuf,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Address {
    Drop,
    #[default]
    Truncate,
    Hash,
    Keep,
}

/// `[geo]`: where places come from.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Geo {
    /// MaxMind DB files: one, or one each for IPv4 and IPv6.
    pub files: Vec<PathBuf>,
    /// Run without place data: every place is then unknown, and no send time is recommended.
    pub off: bool,
    /// How often the files of `[geo]` and `[networks]` are looked at while the consumer runs. Changed ones are taken up
    /// when they look the same twice.
    pub reload_interval_ms: u64,
}

/// `[networks]`: whose addresses are whose, beside the lists that are built in.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Networks {
    /// Directory whose files replace the built-in lists of the same name; empty for none.
    pub dir: PathBuf,
    /// ASN databases (MaxMind DB): one, or one each for IPv4 and IPv6.
    pub asn_files: Vec<PathBuf>,
}

/// `[keys]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// The key ring (`mailbeacon keys new`). The edge takes a changed file up within seconds.
    pub file: PathBuf,
}

/// `[site]`: what minted links look like.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Site {
    /// Scheme and host that recipients reach the edge under.
    pub base_url: String,
}

/// `[admin]`: `/metrics`, `/healthz`, `/readyz`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    pub listen: SocketAddr,
}

/// `[log]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `text` or `json`.
    pub format: String,
    /// As `RUST_LOG`: `info`, `edge=debug,info`.
    pub filter: String,
}

/// Some properties are passwords and keys: none of their values is shown.
fn names_only<S: Serializer>(
    properties: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(properties.keys().map(|name| (name, "***")))
}

impl Default for Journal {
    fn default() -> Self {
        Journal {
            dir: PathBuf::from("journal"),
            sync: SyncMode::PageCache,
            segment_bytes: 64 << 20,
            bytes_max: 10 << 30,
        }
    }
}

impl Default for Kafka {
    fn default() -> Self {
        Kafka {
            brokers: String::new(),
            topic: "mailbeacon.events".to_owned(),
            partitions: 12,
            replication: 3,
            retention_ms: 7 * 86_400_000,
            session_timeout_ms: 15_000,
            compression: Compression::Lz4,
            properties: BTreeMap::new(),
        }
    }
}

impl Default for ClickHouse {
    fn default() -> Self {
        ClickHouse {
            url: String::new(),
            user: "default".to_owned(),
            password: Password::default(),
            database: "mailbeacon".to_owned(),
            request_timeout_ms: 60_000,
            cluster: String::new(),
            shards: Vec::new(),
            replicated: false,
        }
    }
}

impl Default for Geo {
    fn default() -> Self {
        Geo { files: Vec::new(), off: false, reload_interval_ms: 30_000 }
    }
}

impl Default for Keys {
    fn default() -> Self {
        Keys { file: PathBuf::from("keys.toml") }
    }
}

impl Default for Site {
    fn default() -> Self {
        Site { base_url: "http://127.0.0.1:8080".to_owned() }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Admin { listen: SocketAddr::from(([127, 0, 0, 1], 9090)) }
    }
}

impl Default for Log {
    fn default() -> Self {
        Log { format: "text".to_owned(), filter: "info".to_owned() }
    }
}

impl Settings {
    /// Reads the file, the process's environment and the flags (`section.key=value`), and checks all of it.
    ///
    /// # Errors
    /// The first setting that is unknown or cannot be, by name.
    pub fn read(file: Option<&Path>, flags: &[String]) -> anyhow::Result<Settings> {
        let defaults = Table::try_from(Settings::default())?;
        let table = layers::read(file, std::env::vars(), flags, &defaults)?;
        let settings: Settings = table.clone().try_into().map_err(|cause| named(&table, &cause))?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> anyhow::Result<()> {
        self.edge.check()?;
        self.consumer.check()?;
        self.api.check()?;
        let check = SettingError::check;
        check("journal.segment_bytes", self.journal.segment_bytes, 1 << 20..=1 << 30)?;
        check("journal.bytes_max", self.journal.bytes_max, 16 << 20..=1 << 44)?;
        check("kafka.partitions", self.kafka.partitions.into(), 1..=10_000)?;
        // The consumer relies on the least of these: a partition that was taken from it unawares has no new owner sooner.
        check("kafka.session_timeout_ms", self.kafka.session_timeout_ms.into(), 6_000..=1_800_000)?;
        check("kafka.replication", self.kafka.replication.into(), 1..=32)?;
        check("clickhouse.request_timeout_ms", self.clickhouse.request_timeout_ms, 1_000..=600_000)?;
        check("geo.reload_interval_ms", self.geo.reload_interval_ms, 50..=86_400_000)?;
        if !self.clickhouse.url.is_empty() || !self.clickhouse.shards.is_empty() {
            self.store()?;
        }
        if !self.kafka.brokers.is_empty() {
            kafka::check(&self.kafka()).context("configuration [kafka]")?;
        }
        Ok(())
    }

    /// For the crate `kafka`.
    pub fn kafka(&self) -> kafka::Config {
        let Kafka { brokers, topic, session_timeout_ms, compression, properties, .. } = &self.kafka;
        kafka::Config {
            compression: match compression {
                Compression::Lz4 => kafka::Compression::Lz4,
                Compression::Zstd => kafka::Compression::Zstd,
                Compression::None => kafka::Compression::None,
            },
            session_timeout_ms: *session_timeout_ms,
            properties: properties.clone(),
            ..kafka::Config::new(brokers, topic)
        }
    }

    /// The topics that `migrate` creates.
    pub fn topics(&self) -> Vec<kafka::TopicSpec> {
        let (config, Kafka { partitions, replication, retention_ms, .. }) = (self.kafka(), &self.kafka);
        vec![
            kafka::TopicSpec::events(&config, *partitions, *replication, *retention_ms),
            kafka::TopicSpec::dead_letters(&config, *partitions, *replication),
            kafka::TopicSpec::withdrawals(&config, *partitions, *replication),
        ]
    }

    /// For the crate `store`.
    pub fn store(&self) -> anyhow::Result<store::Store> {
        let c = &self.clickhouse;
        let cluster = (!c.cluster.is_empty()).then(|| store::Cluster {
            name: c.cluster.clone(),
            shards: c.shards.clone(),
            replicated: c.replicated,
        });
        let config = store::Config {
            url: if c.url.is_empty() { store::Config::default().url } else { c.url.clone() },
            user: c.user.clone(),
            password: store::Secret::new(c.password.0.clone()),
            database: c.database.clone(),
            cluster,
            request_timeout_ms: c.request_timeout_ms,
        };
        store::Store::new(config).context("configuration [clickhouse]")
    }

    /// For the crate `consumer`, with the secret that addresses are hashed with.
    pub fn consumer(&self) -> anyhow::Result<consumer::Config> {
        let address = match self.privacy.address {
            Address::Drop => AddressPolicy::Drop,
            Address::Truncate => AddressPolicy::Truncate,
            Address::Hash => AddressPolicy::Hash(read_address_key(&self.privacy.address_key_file)?),
            Address::Keep => AddressPolicy::Keep,
        };
        Ok(consumer::Config { address, ..self.consumer.clone() })
    }

    /// The files that events are enriched from.
    pub fn tables(&self) -> enrich::Sources {
        let (geo, networks) = (&self.geo, &self.networks);
        enrich::Sources {
            geo_files: if geo.off { Vec::new() } else { geo.files.clone() },
            networks_dir: (!networks.dir.as_os_str().is_empty()).then(|| networks.dir.clone()),
            asn_files: networks.asn_files.clone(),
        }
    }

    /// Where the embedded form keeps what it cannot read.
    pub fn dead_letters_file(&self) -> PathBuf {
        self.journal.dir.join("dead-letters.jsonl")
    }

    /// Opens the key ring.
    pub fn keys(&self) -> anyhow::Result<link::Keys> {
        read_keys(&self.keys.file)
    }
}

/// Says in one line which setting cannot be, what it was set to and why. A secret is never shown.
fn named(table: &Table, cause: &toml::de::Error) -> anyhow::Error {
    let text = cause.to_string();
    let key = text.split_once("in `").and_then(|(_, rest)| rest.split_once('`')).map(|(key, _)| key);
    let value =
        key.and_then(|key| key.split_once('.')).and_then(|(section, key)| table.get(section)?.get(key));
    let why = match cause.message() {
        // What the standard library says of an address leaves open what one looks like.
        "invalid socket address syntax" => "expected an address and a port, such as 127.0.0.1:8080",
        message => message,
    };
    let is_secret =
        |key: &str| SECRETS.iter().any(|secret| key.starts_with(secret) || secret.starts_with(key));
    // Of a value that is of the wrong type the library's words quote it.
    let expected = why.split_once(", expected ").filter(|(what, _)| what.starts_with("invalid "));
    match (key, value, expected) {
        (Some(key), _, Some((_, expected))) if is_secret(key) => {
            anyhow!("configuration: {key}: expected {expected}")
        }
        (Some(key), Some(value), _) if !is_secret(key) => anyhow!("configuration: {key} = {value}: {why}"),
        (Some(key), ..) => anyhow!("configuration: {key}: {why}"),
        (None, ..) => anyhow!("configuration: {}", text.trim_end()),
    }
}

const SECRETS: [&str; 2] = ["clickhouse.password", "kafka.properties"];

/// A secret is a line or two.
const ADDRESS_KEY_BYTES_MAX: u64 = 4_096;

/// Reads the secret that addresses are hashed with. What is wrong with it is told without a byte of it.
fn read_address_key(file: &Path) -> anyhow::Result<AddressKey> {
    if file.as_os_str().is_empty() {
        bail!(
            "privacy.address_key_file is empty: privacy.address = \"hash\" needs a file of at least \
             {ADDRESS_SECRET_BYTES_MIN} random bytes (openssl rand -hex 32)"
        );
    }
    let what = || format!("privacy.address_key_file = {}", file.display());
    let mut secret = Zeroizing::new(Vec::new());
    let read =
        File::open(file).and_then(|open| open.take(ADDRESS_KEY_BYTES_MAX + 1).read_to_end(&mut secret));
    read.with_context(what)?;
    if secret.len() as u64 > ADDRESS_KEY_BYTES_MAX {
        bail!("{}: expected at most {ADDRESS_KEY_BYTES_MAX} bytes", what());
    }
    AddressKey::new(&secret).with_context(what)
}

/// Reads a key ring from its file.
pub fn read_keys(file: &Path) -> anyhow::Result<link::Keys> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).with_context(|| {
        format!("failed to read keys.file = {shown} (make one with `mailbeacon keys new`)")
    })?;
    link::Keys::from_toml(&text).with_context(|| format!("keys.file = {shown}"))
}
