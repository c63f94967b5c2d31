//! A consumed event: our consumer, from a topic of a real Kafka to the answer of a real ClickHouse.
//!
//! Counted is all that the consumer's process does for an event: librdkafka, decoding, looking for sweeps, verdict,
//! device, network, place and region, the columns of the block, its compression and the request. Not counted is what
//! Kafka and ClickHouse do, which are processes of their own beside it. All batches have the same size, since how many
//! there are would else depend on the pace.

use std::fs;
use std::time::Duration;

use anyhow::{Context, ensure};
use local::Cache;
use local::engine::{self, Engine, EngineOptions};

use super::callgrind::{Observed, UP_WAIT};
use super::feed::{self, PER_MESSAGE};
use super::record::Count;
use crate::compare::bench::{Bench, PARTITIONS, until};
use crate::crowd::Crowd;

/// Rows of every batch.
const BATCH_ROWS: usize = 2_000;
/// Batches of each partition that the longer run has more.
const MORE: usize = 5;
/// Longer than a batch of each partition takes to fill, so that only rows end one. The first message of each partition
/// waits for it.
const LINGER_MS: u64 = 10_000;
/// For a run to be in the table.
const STORED_WAIT: Duration = Duration::from_secs(180);

/// The ClickHouse of all runs.
pub struct ClickHouse(Engine);

impl ClickHouse {
    /// Starts it.
    pub fn start(bench: &Bench) -> anyhow::Result<ClickHouse> {
        let dir = bench.dir.join("clickhouse");
        fs::create_dir_all(&dir).context("failed to make a folder for ClickHouse")?;
        Ok(ClickHouse(engine::start(EngineOptions::new(
            dir,
            bench.mailbeacon.clone(),
            Cache::default_dir()?,
        ))?))
    }

    fn ask(&self, sql: &str) -> anyhow::Result<String> {
        let answer = self.0.query(sql).with_context(|| format!("failed to ask {sql:?}"))?;
        Ok(answer.trim().to_owned())
    }
}

/// What it costs.
pub fn count(bench: &Bench, clickhouse: &ClickHouse, round: u32) -> anyhow::Result<Count> {
    let crowd = Crowd::load()?;
    let run = |name: &str, batches| {
        observe(bench, clickhouse, &crowd, &format!("consumer_{name}_{round}"), batches)
    };
    let (shorter, longer) = (run("base", 0)?, run("longer", MORE)?);
    let more = MORE * BATCH_ROWS * PARTITIONS as usize;
    Ok(Count::between("event", shorter, longer, more as u64))
}

/// All instructions of a consumer that takes a message and then so many batches of each partition. Of an edge that it
/// does not know it looks for every event in ClickHouse, until one was not there: that is what the message is for.
fn observe(
    bench: &Bench,
    clickhouse: &ClickHouse,
    crowd: &Crowd,
    name: &str,
    batches: usize,
) -> anyhow::Result<u64> {
    bench.create_topic(name, PARTITIONS)?;
    let files = local::geo::dbip_city(&Cache::default_dir()?)?;
    let files: Vec<String> = files.iter().map(|file| format!("{:?}", file.to_string_lossy())).collect();
    let database =
        [format!("clickhouse.url={}", clickhouse.0.http_url()), format!("clickhouse.database={name}")];
    bench.ours(&format!("migrate_{name}"), &["migrate"], &database, None)?.program().finish(UP_WAIT)?;
    let settings = [
        format!("kafka.brokers={}", bench.kafka.bootstrap()),
        format!("kafka.topic={name}"),
        format!("consumer.group={name}"),
        format!("consumer.batch_rows_max={BATCH_ROWS}"),
        format!("consumer.linger_ms={LINGER_MS}"),
        format!("geo.files=[{}]", files.join(",")),
        "admin.listen=127.0.0.1:0".to_owned(),
    ];
    let consumer = Observed::start(bench, name, "consume", &[&database[..], &settings].concat())?;
    consumer.line("consumer is up")?;
    let mut next = 1;
    for messages in [1, batches * BATCH_ROWS / PER_MESSAGE] {
        next = feed::produce(bench, crowd, name, next, messages)?;
        let events = next - 1;
        until("all rows in the table", STORED_WAIT, || {
            consumer.check()?;
            let rows = clickhouse.ask(&format!("SELECT count() FROM {name}.events"))?;
            let rows: u64 = rows.parse().with_context(|| format!("ClickHouse counts {rows:?}"))?;
            ensure!(rows <= events, "{rows} rows for {events} events");
            Ok(if rows == events { Ok(()) } else { Err(format!("{rows} of {events}")) })
        })?;
    }
    let instructions = consumer.end(None)?;
    clickhouse.ask(&format!("DROP DATABASE {name} SYNC"))?;
    Ok(instructions)
}
