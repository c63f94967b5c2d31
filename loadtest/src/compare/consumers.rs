//! Sides that take events out of a topic into ClickHouse: our consumer, and ClickHouse's own Kafka engine.
//!
//! Each is up, has its partitions and has stored some events of each before the turn begins. It is frozen while its topic
//! is filled, so that nobody's start counts and nobody takes events in smaller portions because they come slowly.

use std::fs;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, ensure};
use local::Cache;
use local::engine::{self, Engine, EngineOptions};

use super::bench::{Bench, STATE_WAIT, UP_WAIT, until_every};
use super::feed::{Feed, LEAD_EVENTS};
use super::ours;
use super::side::{About, Begun, Side, Turn};
use super::spent::{Spent, spent, sum};
use crate::metrics::Page;

const PROTO: &str = include_str!("../../../proto/mailbeacon/v1/event.proto");
/// How often rows are counted. It takes ClickHouse 1.4 ms each time, of either side's.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A frozen consumer keeps its partitions for so long; librdkafka's default, and thereby the Kafka engine's.
const SESSION_TIMEOUT_MS: u32 = 45_000;

/// The name of the figure: batches that our consumer wrote in a turn.
pub const INSERTS: &str = "inserts";

/// The ClickHouse of all consumers.
pub struct ClickHouse {
    engine: Engine,
    /// What it says it is.
    pub version: String,
}

impl ClickHouse {
    /// Starts it with our schema of the messages for its Kafka engine.
    pub fn start(bench: &Bench) -> anyhow::Result<ClickHouse> {
        // A server looks where it is told, and the engine as a library in its working directory.
        let dir = bench.dir.join("clickhouse");
        fs::create_dir_all(&dir).context("failed to make a folder for the schema")?;
        fs::write(dir.join("event.proto"), PROTO).context("failed to write the schema")?;
        let config = format!("<format_schema_path>{}/</format_schema_path>", dir.display());
        let mut options = EngineOptions::new(dir, bench.mailbeacon.clone(), Cache::default_dir()?);
        options.config = Some(config);
        let engine = engine::start(options)?;
        let version = format!("ClickHouse {}", engine.query("SELECT version()")?.trim());
        Ok(ClickHouse { engine, version })
    }

    fn ask(&self, sql: &str) -> anyhow::Result<String> {
        let answer = self.engine.query(sql).with_context(|| format!("failed to ask {sql:?}"))?;
        Ok(answer.trim().to_owned())
    }

    fn number(&self, sql: &str) -> anyhow::Result<u64> {
        let answer = self.ask(sql)?;
        answer.parse().with_context(|| format!("{sql:?} is {answer:?}"))
    }

    /// When a merge runs has nothing to do with how rows come in, so for both sides none does.
    fn stop_merges(&self) -> anyhow::Result<()> {
        self.ask("SYSTEM STOP MERGES").map(drop)
    }

    fn spent(&self) -> anyhow::Result<f64> {
        Ok(sum(&spent([self.engine.pid()])?))
    }

    /// Waits for so many rows.
    fn take(&self, table: &str, events: u64) -> anyhow::Result<()> {
        until_every("all rows in the table", LOOK_EVERY, STATE_WAIT, || {
            let rows = self.number(&format!("SELECT count() FROM {table}"))?;
            ensure!(rows <= events, "{rows} rows for {events} events");
            Ok(if rows == events { Ok(()) } else { Err(format!("{rows} of {events}")) })
        })
    }
}

/// Our consumer with its ClickHouse.
pub struct Ours {
    bench: Rc<Bench>,
    clickhouse: Rc<ClickHouse>,
    feed: Rc<Feed>,
    about: About,
    settings: Vec<String>,
    turns: u32,
}

impl Ours {
    /// Nothing is started yet: every turn starts a consumer of its own.
    pub fn new(bench: &Rc<Bench>, clickhouse: &Rc<ClickHouse>, feed: &Rc<Feed>) -> anyhow::Result<Ours> {
        let files = local::geo::dbip_city(&Cache::default_dir()?)?;
        let files: Vec<String> = files.iter().map(|file| format!("{:?}", file.to_string_lossy())).collect();
        let settings = vec![
            format!("kafka.brokers={}", bench.kafka.bootstrap()),
            format!("kafka.session_timeout_ms={SESSION_TIMEOUT_MS}"),
            format!("clickhouse.url={}", clickhouse.engine.http_url()),
            format!("geo.files=[{}]", files.join(",")),
            "admin.listen=127.0.0.1:0".to_owned(),
        ];
        let about = About {
            name: "ours".to_owned(),
            does: "our consumer: deduplicate, judge, enrich with device, network and place, write once in effect, with \
                   all views",
            version: format!("{}; {}", ours::version(bench)?, clickhouse.version),
            state: "all rows in the table",
            settings: settings.clone(),
        };
        Ok(Ours {
            bench: bench.clone(),
            clickhouse: clickhouse.clone(),
            feed: feed.clone(),
            about,
            settings,
            turns: 0,
        })
    }
}

/// The batches that our consumer has written, once it knows that so many events are stored.
fn inserts(admin: SocketAddr, events: u64) -> anyhow::Result<u64> {
    let mut inserts = 0;
    until_every("our consumer to know what it has stored", LOOK_EVERY, STATE_WAIT, || {
        let page = Page::wait_for(admin, UP_WAIT)?;
        inserts = page.sum("consumer_batches_total");
        let stored = page.sum("consumer_stored_events_total");
        Ok(if stored == events { Ok(()) } else { Err(format!("{stored} of {events}")) })
    })?;
    Ok(inserts)
}

impl Side for Ours {
    fn about(&self) -> &About {
        &self.about
    }

    fn turn(&mut self) -> anyhow::Result<Turn> {
        let Ours { bench, clickhouse, feed, settings, .. } = self;
        self.turns += 1;
        let name = format!("ours_{}_{}", feed.name, self.turns);
        bench.create_topic(&name, feed.packed.partitions)?;
        let database = format!("clickhouse.database={name}");
        let migrate = [&settings[2..3], std::slice::from_ref(&database)].concat();
        bench.ours("migrate", &["migrate"], &migrate, None)?.program().finish(UP_WAIT)?;
        clickhouse.stop_merges()?;
        let own = [database, format!("kafka.topic={name}"), format!("consumer.group={name}")];
        let running = bench.ours(&name, &["consume"], &[&settings[..], &own].concat(), None)?;
        let consumer = running.program();
        let admin = running.admin("consumer is up")?;
        until_every("our consumer to have its partitions", LOOK_EVERY, UP_WAIT, || {
            let owned = Page::wait_for(admin, UP_WAIT)?.sum("consumer_owned_partitions");
            Ok(if owned == u64::from(feed.packed.partitions) {
                Ok(())
            } else {
                Err(format!("it has {owned}"))
            })
        })?;

        let table = format!("{name}.events");
        feed.produce_lead(bench, &name)?;
        clickhouse.take(&table, LEAD_EVENTS)?;
        let inserts_before = inserts(admin, LEAD_EVENTS)?;
        consumer.suspend()?;
        feed.produce(bench, &name)?;
        let begun = Begun::now(bench)?;
        let (consumer_before, clickhouse_before) = (sum(&spent([consumer.pid()])?), clickhouse.spent()?);
        consumer.resume()?;
        clickhouse.take(&table, LEAD_EVENTS + feed.events)?;
        let cpu_seconds = Spent::from([
            ("consumer".to_owned(), sum(&spent([consumer.pid()])?) - consumer_before),
            ("clickhouse".to_owned(), clickhouse.spent()? - clickhouse_before),
        ]);
        let mut turn = begun.turn(bench, feed.events, cpu_seconds)?;
        let inserts = inserts(admin, LEAD_EVENTS + feed.events)? - inserts_before;
        turn.figures.insert(INSERTS, inserts as f64);
        drop(running);
        clickhouse.ask(&format!("DROP DATABASE {name} SYNC"))?;
        Ok(turn)
    }
}

/// The name of the side with ClickHouse's Kafka engine.
pub const KAFKA_ENGINE: &str = "kafka-engine";

/// ClickHouse's Kafka engine with a view that fills a table.
pub struct KafkaEngine {
    bench: Rc<Bench>,
    clickhouse: Rc<ClickHouse>,
    feed: Rc<Feed>,
    about: About,
    turns: u32,
}

/// What stands in the messages that a team would keep at the least, as the wire has it.
const COLUMNS: &str = "recipient UInt64, edge_id UInt64, seq UInt64, kind Int32, received_at_ms Int64, \
                       workspace UInt32, message UInt64, link UInt32, user_agent String, client_ip String";

impl KafkaEngine {
    /// Nothing is made yet: every turn makes tables of its own.
    pub fn new(bench: &Rc<Bench>, clickhouse: &Rc<ClickHouse>, feed: &Rc<Feed>) -> KafkaEngine {
        let about = About {
            name: KAFKA_ENGINE.to_owned(),
            does: "ClickHouse's Kafka engine with a materialized view into one table of ten columns; nothing is enriched, \
                   deduplicated or summed up",
            version: clickhouse.version.clone(),
            state: "all rows in the table",
            settings: statements("D", "BROKER", "TOPIC").into(),
        };
        KafkaEngine {
            bench: bench.clone(),
            clickhouse: clickhouse.clone(),
            feed: feed.clone(),
            about,
            turns: 0,
        }
    }
}

fn statements(database: &str, broker: &str, topic: &str) -> [String; 4] {
    [
        format!("CREATE DATABASE {database}"),
        format!(
            "CREATE TABLE {database}.events (recipient UInt64, edge_id UInt64, seq UInt64, kind Int8, \
             received_at DateTime64(3, 'UTC'), workspace UInt32, message UInt64, link UInt32, \
             user_agent LowCardinality(String), client_ip String) ENGINE = MergeTree \
             PARTITION BY toYYYYMM(received_at) ORDER BY (workspace, message, kind, received_at)"
        ),
        format!(
            "CREATE TABLE {database}.queue ({COLUMNS}) ENGINE = Kafka SETTINGS kafka_broker_list = '{broker}', \
             kafka_topic_list = '{topic}', kafka_group_name = '{topic}', kafka_format = 'Protobuf', \
             kafka_schema = 'event:Event', kafka_num_consumers = 1, kafka_thread_per_consumer = 1, \
             kafka_max_block_size = 100000, kafka_poll_max_batch_size = 100000, kafka_flush_interval_ms = 2000"
        ),
        format!(
            "CREATE MATERIALIZED VIEW {database}.taken TO {database}.events AS SELECT recipient, edge_id, seq, kind, \
             fromUnixTimestamp64Milli(received_at_ms, 'UTC') AS received_at, workspace, message, link, user_agent, \
             client_ip FROM {database}.queue"
        ),
    ]
}

impl Side for KafkaEngine {
    fn about(&self) -> &About {
        &self.about
    }

    fn turn(&mut self) -> anyhow::Result<Turn> {
        let KafkaEngine { bench, clickhouse, feed, .. } = self;
        self.turns += 1;
        let name = format!("engine_{}_{}", feed.name, self.turns);
        bench.create_topic(&name, feed.packed.partitions)?;
        for statement in statements(&name, &bench.kafka.bootstrap(), &name) {
            clickhouse.ask(&statement)?;
        }
        clickhouse.stop_merges()?;
        until_every("the Kafka engine to have its partitions", LOOK_EVERY, UP_WAIT, || {
            let assigned = format!(
                "SELECT sum(length(assignments.topic)) FROM system.kafka_consumers WHERE database = '{name}'"
            );
            let owned = clickhouse.number(&assigned)?;
            Ok(if owned == u64::from(feed.packed.partitions) {
                Ok(())
            } else {
                Err(format!("it has {owned}"))
            })
        })?;

        let table = format!("{name}.events");
        feed.produce_lead(bench, &name)?;
        clickhouse.take(&table, LEAD_EVENTS)?;
        clickhouse.engine.suspend()?;
        let fed = feed.produce(bench, &name);
        let (begun, before) = (Begun::now(bench)?, clickhouse.spent()?);
        clickhouse.engine.resume()?;
        fed?;
        clickhouse.take(&table, LEAD_EVENTS + feed.events)?;
        let cpu_seconds = Spent::from([("clickhouse".to_owned(), clickhouse.spent()? - before)]);
        let turn = begun.turn(bench, feed.events, cpu_seconds)?;
        clickhouse.ask(&format!("DROP DATABASE {name} SYNC"))?;
        Ok(turn)
    }
}
