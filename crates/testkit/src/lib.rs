//! For tests only: a real ClickHouse and a real Kafka per test binary, and fresh ones for drills.
//!
//! Everything lives below the target folder and ends with the test binary, however that ends. Nothing here ships.

pub mod proxy;

use std::env;
use std::fs::{self, File};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use local::engine::{self, Engine, EngineOptions};
use local::kafka::{self, Kafka, KafkaOptions};
use local::{Cache, LocalError};
use tempfile::TempDir;

/// The ClickHouse of this test binary, started when first asked for.
///
/// Shared by all tests of the binary: work in a [`database`] of your own, and take a [`fresh_clickhouse`] to kill.
pub fn clickhouse() -> &'static Engine {
    static ENGINE: OnceLock<Fresh<Engine>> = OnceLock::new();
    ENGINE.get_or_init(fresh_clickhouse)
}

/// Makes a database of a new name in [`clickhouse`] and returns the name.
pub fn database(prefix: &str) -> String {
    let name = unique(prefix, '_');
    clickhouse().query(&format!("CREATE DATABASE {name}")).expect("a database can be created");
    name
}

/// Asks [`clickhouse`] over plain HTTP, past the code under test; the answer is tab-separated text.
pub fn query(sql: &str) -> String {
    clickhouse().query(sql).expect("ClickHouse answers")
}

/// A ClickHouse of one's own, to kill, suspend and restart.
pub fn fresh_clickhouse() -> Fresh<Engine> {
    clickhouse_with(|_| {})
}

/// As [`fresh_clickhouse`], with options changed, such as more server configuration or given ports.
pub fn clickhouse_with(change: impl FnOnce(&mut EngineOptions)) -> Fresh<Engine> {
    let dir = fresh_dir("clickhouse");
    let mut options = EngineOptions::new(dir.path().to_owned(), helper(), cache());
    change(&mut options);
    Fresh { part: started(engine::start(options)), _dir: dir }
}

/// The Kafka of this test binary, a single broker, started when first asked for; see [`topic`].
pub fn kafka() -> &'static Kafka {
    static KAFKA: OnceLock<Fresh<Kafka>> = OnceLock::new();
    KAFKA.get_or_init(|| fresh_kafka(1))
}

/// A topic name that no other test uses. The topic is not made: [`Kafka::create_topic`] or the code under test do.
pub fn topic(prefix: &str) -> String {
    unique(prefix, '-')
}

/// A Kafka of one's own, to kill, suspend and restart.
pub fn fresh_kafka(brokers: usize) -> Fresh<Kafka> {
    kafka_with(|options| options.brokers = brokers)
}

/// As [`fresh_kafka`], with options changed, such as more lines for `server.properties`.
pub fn kafka_with(change: impl FnOnce(&mut KafkaOptions)) -> Fresh<Kafka> {
    const HEAP_MB: u32 = 256;
    let dir = fresh_dir("kafka");
    let mut options = KafkaOptions::new(dir.path().to_owned(), helper(), cache());
    options.heap_mb = HEAP_MB;
    change(&mut options);
    Fresh { part: started(kafka::start(options)), _dir: dir }
}

/// A part in a folder of its own; both go when it is dropped.
pub struct Fresh<T> {
    // Before the folder, so that it has ended when its files go.
    part: T,
    _dir: TempDir,
}

impl<T> Deref for Fresh<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.part
    }
}

impl<T> DerefMut for Fresh<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.part
    }
}

/// What was started; in a test, what a part said in place of starting is read by a person.
fn started<T>(start: Result<T, LocalError>) -> T {
    start.unwrap_or_else(|error| panic!("{error}"))
}

/// The `mailbeacon` program beside this test binary: it has the hidden subcommand that parts are run by.
pub fn helper() -> PathBuf {
    let program = target_dir().join("mailbeacon");
    assert!(
        program.is_file(),
        "no program at {}: build it with `cargo build -p mailbeacon`, or run `cargo test --workspace`",
        program.display()
    );
    program
}

/// The user's cache of fetched parts.
pub fn cache() -> Cache {
    Cache::default_dir().expect("the environment names a cache folder")
}

/// An empty folder below the target folder, removed when dropped, or by a later test run if this one is killed.
pub fn fresh_dir(prefix: &str) -> TempDir {
    tempfile::Builder::new()
        .prefix(&format!("{prefix}-"))
        .tempdir_in(root())
        .expect("a folder can be created")
}

/// A name that no other test of this run uses.
fn unique(prefix: &str, separator: char) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}{separator}{}{separator}{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// `target/<profile>`: test binaries are in `deps` below it.
fn target_dir() -> PathBuf {
    let test = env::current_exe().expect("a test binary knows its path");
    test.ancestors().nth(2).expect("test binaries are two levels deep").to_owned()
}

/// The folder of this test binary. It holds a lock as long as it runs, so that the next one knows what to clear.
fn root() -> &'static Path {
    static ROOT: OnceLock<(PathBuf, File)> = OnceLock::new();
    let (root, _) = ROOT.get_or_init(|| {
        let all = target_dir().join("testkit");
        let root = all.join(std::process::id().to_string());
        fs::create_dir_all(&all).expect("a folder below target can be created");
        // One at a time, or a lock made but not yet taken would look abandoned to another binary.
        let setup = File::create(all.join("setup.lock")).expect("a file below target can be created");
        setup.lock().expect("a file below target can be locked");
        remove_abandoned(&all);
        let lock = File::create(root.with_extension("lock")).expect("a file below target can be created");
        lock.lock().expect("a file below target can be locked");
        fs::create_dir_all(&root).expect("a folder below target can be created");
        (root, lock)
    });
    root
}

/// Removes the folders of test binaries that have ended: their locks are free.
fn remove_abandoned(all: &Path) {
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let lock = entry.path();
        if lock.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        if File::open(&lock).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(lock.with_extension(""));
            let _ = fs::remove_file(&lock);
        }
    }
}
