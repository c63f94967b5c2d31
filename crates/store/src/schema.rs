//! The schema: which migrations there are, which a server has, and how the rest get there.
//!
//! Each server is visited by itself, one after the other: no `ON CLUSTER`, so nothing depends on the servers'
//! own queue of DDL. Every statement stands alone and says `IF NOT EXISTS`: a run that was cut off is completed by
//! the next, and two at once do the same work twice without harm.

use crate::{Config, Server, Store, StoreError};

/// One step of the schema. Never edited once released: a change is another step.
struct Migration {
    version: u32,
    name: &'static str,
    sql: &'static str,
}

/// All steps, oldest first.
const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "events", sql: include_str!("../migrations/0001_events.sql") },
    Migration { version: 2, name: "corrections", sql: include_str!("../migrations/0002_corrections.sql") },
    Migration {
        version: 3,
        name: "message_hourly",
        sql: include_str!("../migrations/0003_message_hourly.sql"),
    },
    Migration {
        version: 4,
        name: "recipient_events",
        sql: include_str!("../migrations/0004_recipient_events.sql"),
    },
    Migration { version: 5, name: "last_opens", sql: include_str!("../migrations/0005_last_opens.sql") },
    Migration { version: 6, name: "send_times", sql: include_str!("../migrations/0006_send_times.sql") },
    Migration {
        version: 7,
        name: "send_time_sums",
        sql: include_str!("../migrations/0007_send_time_sums.sql"),
    },
];

/// What was applied on a server. Not replicated: it says what this server has.
const LEDGER: &str = "CREATE TABLE IF NOT EXISTS schema_migrations
(
    version UInt32 COMMENT 'Version of the migration',
    name String COMMENT 'Name of the migration',
    checksum String COMMENT 'FNV-1a of its text, which must not change afterwards',
    layout String COMMENT 'Layout of the tables: single, cluster or replicated cluster',
    applied_at DateTime('UTC') DEFAULT now() COMMENT 'When it was applied'
)
ENGINE = MergeTree
ORDER BY version
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Migrations applied on this server'";

/// A migration that a run of [`Store::migrate`] applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Host and port of the server.
    pub server: String,
    /// The migration's version.
    pub version: u32,
    /// The migration's name.
    pub name: &'static str,
}

/// How far each server's schema is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaState {
    /// The newest version that this program knows.
    pub latest: u32,
    /// Every server that holds tables, shard by shard.
    pub servers: Vec<ServerSchema>,
}

/// How far one server's schema is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSchema {
    /// Host and port.
    pub server: String,
    /// The newest version applied; 0 when there is none.
    pub version: u32,
    /// Names of the migrations that are missing, oldest first.
    pub pending: Vec<&'static str>,
}

impl Store {
    /// Brings every server to the newest schema, and says what it did: nothing when all was there.
    ///
    /// # Errors
    /// When a server's schema is newer, edited or laid out otherwise: then nothing was changed anywhere. When a
    /// server refuses or does not answer: then what was done stays and is completed by the next run.
    pub async fn migrate(&self) -> Result<Vec<Applied>, StoreError> {
        // All are asked before any is changed: a server that is refused leaves the others as they were.
        let mut todo = Vec::new();
        for server in &self.servers {
            todo.push((server, self.pending(server).await?));
        }
        let mut applied = Vec::new();
        for (server, pending) in todo {
            for migration in pending {
                self.apply(server, migration).await?;
                let Migration { version, name, .. } = *migration;
                tracing::info!(server = server.name, version, name, "migrated");
                applied.push(Applied { server: server.name.clone(), version, name });
            }
        }
        Ok(applied)
    }

    /// How far the schema of every server is. Changes nothing.
    ///
    /// # Errors
    /// As [`Store::migrate`].
    pub async fn schema(&self) -> Result<SchemaState, StoreError> {
        let mut servers = Vec::new();
        for server in &self.servers {
            let pending = self.pending(server).await?;
            let version = match pending.first() {
                Some(first) => first.version - 1,
                None => latest(),
            };
            let pending = pending.iter().map(|migration| migration.name).collect();
            servers.push(ServerSchema { server: server.name.clone(), version, pending });
        }
        Ok(SchemaState { latest: latest(), servers })
    }

    /// The statements that [`Store::migrate`] runs on an empty server, with their migration's version, to be read.
    pub fn statements(&self) -> Vec<(u32, String)> {
        let of = |migration: &Migration| statements(migration.sql, &self.config);
        MIGRATIONS.iter().flat_map(|m| of(m).into_iter().map(|statement| (m.version, statement))).collect()
    }

    async fn pending(&self, server: &Server) -> Result<Vec<&'static Migration>, StoreError> {
        let exists = format!(
            "SELECT count() FROM system.tables WHERE database = '{}' AND name = 'schema_migrations'",
            self.config.database
        );
        let rows = match self.outside(server, &exists).await?.trim() {
            "0" => String::new(),
            _ => {
                self.inside(
                    server,
                    "SELECT version, name, checksum, layout FROM schema_migrations ORDER BY version",
                )
                .await?
            }
        };
        pending(&server.name, &rows, layout(&self.config))
    }

    async fn apply(&self, server: &Server, migration: &Migration) -> Result<(), StoreError> {
        let database = &self.config.database;
        // Asked first: a user may own a database without the right to create one.
        let exists = format!("SELECT count() FROM system.databases WHERE name = '{database}'");
        if self.outside(server, &exists).await?.trim() == "0" {
            self.outside(server, &format!("CREATE DATABASE IF NOT EXISTS `{database}`")).await?;
        }
        self.inside(server, LEDGER).await?;
        for statement in statements(migration.sql, &self.config) {
            self.inside(server, &statement).await?;
        }
        // The token keeps two runs at once from entering it twice.
        let Migration { version, name, sql } = migration;
        let entry = format!(
            "INSERT INTO schema_migrations (version, name, checksum, layout) SETTINGS async_insert = 0, \
             insert_deduplicate = 1, insert_deduplication_token = 'migration-{version}' \
             VALUES ({version}, '{name}', '{}', '{}')",
            checksum(sql),
            layout(&self.config)
        );
        self.inside(server, &entry).await.map(drop)
    }

    async fn inside(&self, server: &Server, sql: &str) -> Result<String, StoreError> {
        server.text(sql, &[], self.config.request_timeout_ms).await
    }

    async fn outside(&self, server: &Server, sql: &str) -> Result<String, StoreError> {
        server.outside(sql, self.config.request_timeout_ms).await
    }
}

fn latest() -> u32 {
    MIGRATIONS.last().map_or(0, |migration| migration.version)
}

/// How the tables are laid out: what one layout made, another cannot use.
fn layout(config: &Config) -> &'static str {
    match &config.cluster {
        None => "single",
        Some(cluster) if cluster.replicated => "replicated cluster",
        Some(_) => "cluster",
    }
}

/// The migrations missing from a server, given its ledger as tab-separated rows.
fn pending(server: &str, rows: &str, layout: &'static str) -> Result<Vec<&'static Migration>, StoreError> {
    let mut missing: Vec<&Migration> = MIGRATIONS.iter().collect();
    for row in rows.lines() {
        let unreadable = || StoreError::Answer {
            server: server.to_owned(),
            query: "applied migrations",
            expected: "version, name, checksum, layout",
        };
        let fields: Vec<&str> = row.split('\t').collect();
        let [version, name, sum, laid_out] = fields[..] else { return Err(unreadable()) };
        let version: u32 = version.parse().map_err(|_| unreadable())?;
        let (server, name) = (server.to_owned(), name.to_owned());
        let Some(migration) = MIGRATIONS.iter().find(|migration| migration.version == version) else {
            return Err(StoreError::Newer { server, version, name, known: latest() });
        };
        if sum != checksum(migration.sql) {
            return Err(StoreError::Edited { server, version, name, applied: sum.to_owned() });
        }
        if laid_out != layout {
            return Err(StoreError::Layout { server, found: laid_out.to_owned(), expected: layout });
        }
        missing.retain(|migration| migration.version != version);
    }
    Ok(missing)
}

/// Stands before a statement that only a cluster needs.
const CLUSTER_ONLY: &str = "-- cluster only";

/// A replica's path: of the shard, by database and table, filled in by the server from its macros.
const REPLICA: &str = "('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')";

/// The statements of a migration for a layout. A statement ends with `;` at the end of a line.
///
/// `{local}` is what follows the name of a table that holds rows, `{cluster}` the cluster's name, and the engines
/// `{MergeTree}` and `{AggregatingMergeTree}` are replicated where the tables are.
fn statements(sql: &str, config: &Config) -> Vec<String> {
    let cluster = config.cluster.as_ref();
    let engine = |kind: &str| match cluster {
        Some(cluster) if cluster.replicated => format!("Replicated{kind}{REPLICA}"),
        _ => kind.to_owned(),
    };
    sql.split(";\n")
        .map(str::trim)
        .filter(|statement| !statement.is_empty())
        .filter(|statement| cluster.is_some() || !statement.contains(CLUSTER_ONLY))
        .map(|statement| {
            statement
                .replace("{local}", if cluster.is_some() { "_local" } else { "" })
                .replace("{cluster}", &cluster.map_or(String::new(), |cluster| format!("'{}'", cluster.name)))
                .replace("{MergeTree}", &engine("MergeTree"))
                .replace("{AggregatingMergeTree}", &engine("AggregatingMergeTree"))
        })
        .collect()
}

/// FNV-1a, 64 bits: it finds an edit, it proves nothing.
fn checksum(text: &str) -> String {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, fold))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cluster;

    fn cluster(replicated: bool) -> Config {
        let cluster = Cluster { name: "c1".into(), shards: vec!["http://a:1".into()], replicated };
        Config { cluster: Some(cluster), ..Config::default() }
    }

    #[test]
    fn versions_count_from_one_and_every_statement_can_run_again() {
        for (index, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.version as usize, index + 1);
            for config in [Config::default(), cluster(false), cluster(true)] {
                for statement in statements(migration.sql, &config) {
                    assert!(statement.contains(" IF NOT EXISTS "), "{statement}");
                    assert!(
                        !statement.contains("{local}") && !statement.contains("{cluster}"),
                        "{statement}"
                    );
                    assert!(statement.contains("COMMENT"), "{statement}");
                }
            }
        }
    }

    #[test]
    fn every_table_that_holds_rows_has_its_windows_and_a_distributed_one_before_it() {
        let all =
            |config: &Config| MIGRATIONS.iter().flat_map(|m| statements(m.sql, config)).collect::<Vec<_>>();
        let tables = all(&cluster(true)).iter().filter(|s| s.contains("ENGINE = Replicated")).count();
        assert_eq!(
            tables,
            all(&cluster(true)).iter().filter(|s| s.contains("ENGINE = Distributed('c1',")).count()
        );
        assert_eq!(tables, all(&cluster(true)).iter().filter(|s| s.contains(REPLICA)).count());
        assert_eq!(tables, 9);
        let holds_rows = |s: &&String| s.contains("ENGINE = ") && !s.contains("ENGINE = Null");
        for statement in all(&Config::default()).iter().filter(holds_rows) {
            for window in ["non_replicated_deduplication_window = ", " replicated_deduplication_window = "] {
                assert!(statement.contains(window), "{statement}");
            }
        }
    }

    #[test]
    fn a_ledger_that_does_not_fit_is_refused_by_name() {
        let row = |version: u32, name: &str, sum: &str, layout: &str| {
            format!("{version}\t{name}\t{sum}\t{layout}\n")
        };
        let first = row(1, "events", &checksum(MIGRATIONS[0].sql), "single");
        let missing = pending("h:1", &first, "single").expect("the ledger fits");
        assert_eq!(missing.len(), MIGRATIONS.len() - 1);
        let refused = |rows: &str| match pending("h:1", rows, "single") {
            Ok(_) => panic!("{rows} was accepted"),
            Err(error) => error.to_string(),
        };
        let newer = refused(&(first.clone() + &row(99, "moon", "0", "single")));
        assert!(newer.contains("newer") && newer.contains("99 (moon)"), "{newer}");
        let edited = refused(&row(1, "events", "0", "single"));
        assert!(edited.contains("1 (events) was edited"), "{edited}");
        let laid_out = refused(&row(1, "events", &checksum(MIGRATIONS[0].sql), "cluster"));
        assert!(laid_out.contains("laid out as cluster, expected single"), "{laid_out}");
        assert!(refused("what\n").contains("cannot be read"));
    }
}
