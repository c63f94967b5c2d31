//! A consumer on a thread of its own, with a store and what can be seen of it from outside.

use std::sync::{Arc, LazyLock, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use consumer::{CommitError, Config, DeadLetter, Part, Polled, Source, SourceError, Taken};
use enrich::Tables;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use store::Store;
use telemetry::Health;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// For all stores and consumers of this binary.
pub static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
});

static TABLES: LazyLock<Arc<Tables>> = LazyLock::new(|| Arc::new(Tables::load(&[]).unwrap()));

/// Long enough for a machine that does much else.
const WAIT: Duration = Duration::from_secs(90);

pub struct Running {
    thread: JoinHandle<Result<(), SourceError>>,
    pub stop: CancellationToken,
    pub health: Health,
    metrics: PrometheusHandle,
}

/// Small batches, soon.
pub fn config() -> Config {
    Config { linger_ms: 50, drain_ms: 60_000, ..Config::default() }
}

pub fn start(config: &Config, source: impl Source + 'static, store: &Arc<Store>) -> Running {
    start_with(config, source, store, watch::channel(TABLES.clone()).1)
}

/// With tables that may be replaced while it runs.
pub fn start_with(
    config: &Config,
    source: impl Source + 'static,
    store: &Arc<Store>,
    tables: watch::Receiver<Arc<Tables>>,
) -> Running {
    let recorder = PrometheusBuilder::new().build_recorder();
    let (stop, health, metrics) = (CancellationToken::new(), Health::new(&["consumer"]), recorder.handle());
    let (config, store, token, seen) = (config.clone(), store.clone(), stop.clone(), health.clone());
    let thread = std::thread::spawn(move || {
        metrics::with_local_recorder(&recorder, || {
            let source = Box::new(source);
            consumer::run(&config, source, store, tables, RUNTIME.handle(), &seen, &token)
        })
    });
    Running { thread, stop, health, metrics }
}

impl Running {
    /// A counter or gauge, all its labels together.
    pub fn metric(&self, name: &str) -> u64 {
        value(&self.metrics, name)
    }

    /// Ends it and returns what it had counted.
    pub fn finish(self) -> Counted {
        self.stop.cancel();
        self.thread.join().unwrap().unwrap();
        let of = |name| value(&self.metrics, name);
        Counted {
            stored: of("consumer_stored_events_total"),
            duplicate: of("consumer_duplicate_events_total"),
            dead: of("consumer_dead_lettered_events_total"),
            unverified: of("consumer_unverified_batches_total"),
        }
    }

    pub fn ended_with(self) -> Result<(), SourceError> {
        self.thread.join().unwrap()
    }

    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    pub stored: u64,
    pub duplicate: u64,
    pub dead: u64,
    pub unverified: u64,
}

pub fn value(metrics: &PrometheusHandle, name: &str) -> u64 {
    let page = metrics.render();
    let lines =
        page.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
}

/// Waits for what must come.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !holds() {
        assert!(Instant::now() < deadline, "never came: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

pub fn store_of(config: store::Config) -> Arc<Store> {
    let store = Store::new(config).unwrap();
    RUNTIME.block_on(store.migrate()).unwrap();
    Arc::new(store)
}

/// A database of the test's own.
pub fn store(name: &str) -> Arc<Store> {
    let database = testkit::topic(name).replace('-', "_");
    store_of(store::Config { url: testkit::clickhouse().http_url(), database, ..store::Config::default() })
}

pub fn query(store: &Store, sql: &str) -> String {
    RUNTIME.block_on(store.query(sql)).unwrap_or_else(|e| panic!("{e}\n{sql}")).trim_end().to_owned()
}

pub fn rows(store: &Store) -> u64 {
    RUNTIME
        .block_on(store.query("SELECT count() FROM events"))
        .ok()
        .and_then(|n| n.trim().parse().ok())
        .unwrap_or(0)
}

/// What went over the border between a source and the pipeline.
#[derive(Default)]
pub struct Traffic {
    pub polls: u64,
    pub messages: u64,
    /// Offset and note.
    pub commits: Vec<(u32, u64, String)>,
    pub paused: std::collections::BTreeSet<u32>,
    pub assigned: Vec<u32>,
    /// Set from outside: there is no place for dead letters.
    pub letters_refused: bool,
}

type OnCommit = Box<dyn FnMut(&Part, u64, &str) + Send>;

/// A source that is looked at.
pub struct Watched<S> {
    pub inner: S,
    pub traffic: Arc<Mutex<Traffic>>,
    pub on_commit: OnCommit,
}

impl<S> Watched<S> {
    pub fn new(inner: S) -> (Self, Arc<Mutex<Traffic>>) {
        let traffic = Arc::<Mutex<Traffic>>::default();
        (Watched { inner, traffic: traffic.clone(), on_commit: Box::new(|_, _, _| {}) }, traffic)
    }
}

impl<S: Source> Source for Watched<S> {
    fn poll(&mut self, wait: Duration, take: &mut dyn FnMut(Polled<'_>) -> Taken) -> Result<(), SourceError> {
        let traffic = self.traffic.clone();
        traffic.lock().unwrap().polls += 1;
        self.inner.poll(wait, &mut |polled| {
            let mut traffic = traffic.lock().unwrap();
            match &polled {
                Polled::Message { .. } => traffic.messages += 1,
                Polled::Assigned { part, .. } => traffic.assigned.push(part.number),
                _ => {}
            }
            drop(traffic);
            take(polled)
        })
    }

    fn commit(&mut self, part: &Part, offset: u64, note: &str) -> Result<(), CommitError> {
        (self.on_commit)(part, offset, note);
        self.inner.commit(part, offset, note)?;
        self.traffic.lock().unwrap().commits.push((part.number, offset, note.to_owned()));
        Ok(())
    }

    fn pause(&mut self, part: &Part, paused: bool) {
        let mut traffic = self.traffic.lock().unwrap();
        match paused {
            true => _ = traffic.paused.insert(part.number),
            false => _ = traffic.paused.remove(&part.number),
        }
        drop(traffic);
        self.inner.pause(part, paused);
    }

    fn rewind(&mut self, part: &Part, offset: u64) -> Result<(), SourceError> {
        self.inner.rewind(part, offset)
    }

    fn release(&mut self, parts: &[Part]) {
        self.inner.release(parts);
    }

    fn dead_letters(&mut self, letters: &[DeadLetter]) -> Result<(), SourceError> {
        if self.traffic.lock().unwrap().letters_refused {
            return Err(SourceError { what: "no place".to_owned(), retry: true });
        }
        self.inner.dead_letters(letters)
    }

    fn drains(&self) -> bool {
        self.inner.drains()
    }
}
