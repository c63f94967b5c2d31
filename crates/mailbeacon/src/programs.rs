//! The programs that run in a process: edge, shipper, consumer. Each has a thread and a token that ends it.

use std::fs::DirBuilder;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use arc_swap::ArcSwap;
use consumer::{JournalSource, KafkaSource, Source};
use enrich::Tables;
use journal::{Log, Reader};
use link::Keys;
use store::{Store, StoreError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::inlet;
use crate::process::Process;
use crate::send_time;
use crate::settings::{Settings, SyncMode};

/// How soon send times of who withdrew or moved are deleted. Nobody is told them even before that.
const FORGET_INTERVAL: Duration = Duration::from_secs(3_600);
/// How often send times are learned anew where everything runs in one process.
const REFRESH_INTERVAL: Duration = Duration::from_secs(86_400);

/// A program on its thread.
pub struct Program {
    name: &'static str,
    thread: JoinHandle<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Program {
    /// Starts one. `ended` is cancelled when it is over, however it came to that.
    pub fn start(
        name: &'static str,
        ended: &CancellationToken,
        run: impl FnOnce(CancellationToken) -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<Program> {
        let stop = CancellationToken::new();
        let (token, ended) = (stop.clone(), ended.clone().drop_guard());
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _ended = ended;
            run(token).inspect_err(|cause| error!(cause = format!("{cause:#}"), program = name, "failed"))
        })?;
        Ok(Program { name, thread, stop })
    }

    /// Tells it to finish and waits until it has.
    pub fn finish(self) -> anyhow::Result<()> {
        self.stop.cancel();
        let panicked = |_| Err(anyhow!("{} panicked", self.name));
        self.thread.join().unwrap_or_else(panicked).context(self.name)
    }
}

/// The journals of the edge's workers, and of workers that an earlier start had more of.
pub struct Journals {
    pub logs: Vec<Log>,
    pub readers: Vec<Reader>,
}

/// Makes a directory that is missing, for its owner only: what comes into it tells of people.
pub fn private_dir(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens the journals.
pub fn open_journals(settings: &Settings) -> anyhow::Result<Journals> {
    private_dir(&settings.journal.dir)
        .with_context(|| format!("journal.dir = {}", settings.journal.dir.display()))?;
    let workers = settings.edge.workers();
    let dir = |n: usize| settings.journal.dir.join(format!("{n:03}"));
    let mut journals = Journals { logs: Vec::new(), readers: Vec::new() };
    let mut n = 0;
    while n < workers || dir(n).exists() {
        let (log, reader) = journal::open(journal::Options {
            segment_bytes: settings.journal.segment_bytes,
            bytes_max: settings.journal.bytes_max / workers as u64,
            sync: match settings.journal.sync {
                SyncMode::PageCache => journal::Sync::PageCache,
                SyncMode::Fsync => journal::Sync::Fsync,
            },
            ..journal::Options::new(dir(n))
        })
        .with_context(|| format!("journal.dir = {}", settings.journal.dir.display()))?;
        if n < workers {
            journals.logs.push(log);
        }
        journals.readers.push(reader);
        n += 1;
    }
    Ok(journals)
}

/// The largest that the journal of what comes in from elsewhere may become.
const REPLAYS_BYTES_MAX: u64 = 1 << 30;
const REPLAYS_SEGMENT_BYTES: u64 = 4 << 20;

/// Opens the embedded form's journal of what comes in from elsewhere.
fn open_replays(settings: &Settings) -> Result<(Log, Reader), journal::JournalError> {
    journal::open(journal::Options {
        segment_bytes: REPLAYS_SEGMENT_BYTES,
        bytes_max: REPLAYS_BYTES_MAX,
        sync: journal::Sync::Fsync,
        ..journal::Options::new(settings.journal.dir.join("replay"))
    })
}

/// Binds the edge's listeners.
pub fn bind(settings: &Settings) -> anyhow::Result<Vec<TcpListener>> {
    let edge = &settings.edge;
    edge::bind(edge.listen, edge.workers(), Duration::from_millis(edge.write_timeout_ms))
        .with_context(|| format!("failed to listen on edge.listen = {}", edge.listen))
}

/// Starts the edge.
pub fn start_edge(
    settings: &Settings,
    process: &Process,
    ended: &CancellationToken,
    listeners: Vec<TcpListener>,
    logs: Vec<Log>,
) -> anyhow::Result<Program> {
    let keys: Arc<ArcSwap<Keys>> = Arc::new(ArcSwap::from_pointee(settings.keys()?));
    process.follow_keys(settings.keys.file.clone(), keys.clone());
    let (config, health) = (settings.edge.clone(), process.health.clone());
    Program::start("edge", ended, move |stop| Ok(edge::serve(config, listeners, logs, keys, &health, stop)?))
}

/// Starts the shipper.
pub fn start_shipper(
    settings: &Settings,
    ended: &CancellationToken,
    readers: Vec<Reader>,
) -> anyhow::Result<Program> {
    let kafka = settings.kafka();
    let pace = edge::Pace {
        linger: Duration::from_millis(settings.edge.ship_linger_ms),
        stalled_after: edge::Pace::STALLED_AFTER,
        deadline: Duration::from_millis(settings.edge.ship_deadline_ms),
    };
    Program::start("shipper", ended, move |stop| {
        edge::ship(&kafka, readers, pace, &stop);
        Ok(())
    })
}

/// Where the consumer's events come from.
pub enum Origin {
    Kafka,
    Journal(Vec<Reader>),
}

/// Starts the consumer.
pub fn start_consumer(
    settings: &Settings,
    process: &Process,
    ended: &CancellationToken,
    store: Arc<Store>,
    tables: Arc<Tables>,
    origin: Origin,
) -> anyhow::Result<Program> {
    let config = settings.consumer()?;
    let runtime = process.runtime.handle().clone();
    let source: Box<dyn Source> = match origin {
        Origin::Kafka => {
            let first_start = match config.first_deploy {
                true => kafka::FirstStart::Earliest,
                false => kafka::FirstStart::Error,
            };
            Box::new(KafkaSource::new(&settings.kafka(), &config.group, &config.instance, first_start)?)
        }
        Origin::Journal(readers) => {
            let (log, replays) = open_replays(settings)?;
            let (dir, stop) = (inlet::directory(settings), ended.clone());
            // Ends with the consumer, which reads what this writes.
            std::thread::Builder::new().name("inlet".to_owned()).spawn(move || {
                if let Err(cause) = inlet::take(&dir, &log, &stop) {
                    warn!(%cause, "events from elsewhere are not taken in any more");
                }
            })?;
            let source = JournalSource::new(readers, settings.dead_letters_file(), runtime.clone());
            Box::new(source.with_replays(replays))
        }
    };
    runtime.spawn(forget_blocked(store.clone()));
    let (newer, tables) = watch::channel(tables);
    let interval = Duration::from_millis(settings.geo.reload_interval_ms);
    runtime.spawn(consumer::tables::follow(settings.tables(), interval, newer));
    let health = process.health.clone();
    Program::start("consumer", ended, move |stop| {
        Ok(consumer::run(&config, source, store, tables, &runtime, &health, &stop)?)
    })
}

/// Deletes what was recommended to recipients who withdrew since, or turned out to be where no send time may be
/// computed. Nobody is told even before that; this takes it off the disk.
async fn forget_blocked(store: Arc<Store>) {
    loop {
        if let Err(cause) = store.forget_blocked().await {
            warn!(%cause, "failed to delete the send times of blocked recipients, trying again in an hour");
        }
        tokio::time::sleep(FORGET_INTERVAL).await;
    }
}

/// Learns send times every day. The first time a day after the start: until then whoever asks first waits for it.
pub async fn refresh_send_times(store: Arc<Store>, keys: Arc<Keys>) {
    loop {
        tokio::time::sleep(REFRESH_INTERVAL).await;
        if let Err(cause) = send_time::refresh_all(&store, &keys).await {
            warn!(cause = format!("{cause:#}"), "failed to refresh send times, trying again tomorrow");
        }
    }
}

/// Loads places and networks, or says which file is missing or broken.
pub fn tables(settings: &Settings) -> anyhow::Result<Arc<Tables>> {
    let geo = &settings.geo;
    if geo.files.is_empty() && !geo.off {
        bail!(
            "geo.files is empty: name one or two MaxMind DB files, or run without places with geo.off = true"
        );
    }
    let tables = Tables::read(&settings.tables()).context("configuration [geo], [networks]")?;
    Ok(Arc::new(tables))
}

/// How often a ClickHouse that does not answer is asked at the start, and the wait in between: ten minutes in all. An
/// outage is no wrong configuration.
const SCHEMA_TRIES_MAX: u32 = 600;
const SCHEMA_WAIT: Duration = Duration::from_secs(1);

/// Refuses a database whose schema is not the newest. Waits for one that does not answer.
pub fn check_schema(process: &Process, store: &Store) -> anyhow::Result<()> {
    let mut tries = 1;
    let state = loop {
        match process.runtime.block_on(store.schema()) {
            Err(StoreError::Server(cause)) if cause.code.is_none() && tries < SCHEMA_TRIES_MAX => {
                warn!(%cause, "clickhouse does not answer, trying again");
                process.health.set("consumer", Err("clickhouse does not answer"));
                tries += 1;
                let begun = process.runtime.block_on(async {
                    tokio::time::timeout(SCHEMA_WAIT, process.shutdown.wait()).await.is_ok()
                });
                if begun {
                    bail!("told to end before clickhouse answered: {cause}");
                }
            }
            state => break state?,
        }
    };
    for server in &state.servers {
        if !server.pending.is_empty() {
            let pending = server.pending.join(", ");
            bail!("{}: schema lacks {pending} (run `mailbeacon migrate`)", server.server);
        }
    }
    Ok(())
}

/// Finishes all in the order of an event's path, and tells the first that failed.
pub fn finish(programs: impl IntoIterator<Item = Program>) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    for program in programs {
        let name = program.name;
        if let Err(cause) = program.finish() {
            warn!(program = name, "ended with an error");
            outcome = outcome.and(Err(cause));
        }
    }
    outcome
}
