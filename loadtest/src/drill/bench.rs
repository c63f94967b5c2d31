//! Everything that a drill breaks, as processes of their own: brokers, ClickHouse, edges, consumers.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use local::Cache;
use local::engine::{self, Engine, EngineOptions};
use local::kafka::{self, Kafka, KafkaOptions};
use local::program::{self, Program, ProgramOptions};
use testkit::proxy::Proxy;
use tokio::runtime::Handle;

use super::Stop;
use super::plan::{BROKERS, CONSUMERS, EDGES};
use crate::metrics::Page;

/// The topic of the events.
pub const TOPIC: &str = "mailbeacon.events";
/// For a program to be up, with whatever else is down at that moment coming back.
const UP_WAIT: Duration = Duration::from_secs(120);
/// For a program to end cleanly: longer than it gives itself.
pub const END_WAIT: Duration = Duration::from_secs(60);
/// For what asks or changes something and ends.
const COMMAND_WAIT: Duration = Duration::from_secs(120);
/// For a page of metrics: a machine on which brokers start answers late.
const METRICS_WAIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
/// Three brokers share two cores and the memory with all else.
const HEAP_MB: u32 = 256;

/// What runs.
pub struct Bench {
    dir: PathBuf,
    program: PathBuf,
    settings: Vec<String>,
    runtime: Handle,
    /// The brokers.
    pub kafka: Mutex<Kafka>,
    /// The only ClickHouse.
    pub clickhouse: Mutex<Engine>,
    /// Its own address, past the proxy.
    pub clickhouse_url: String,
    /// What the consumers take for ClickHouse.
    pub proxy: Proxy,
    /// The edges.
    pub edges: Vec<Mutex<Running>>,
    /// Those that are there all the time.
    pub consumers: Vec<Mutex<Running>>,
    /// Where each edge listens.
    pub listen: Vec<SocketAddr>,
}

/// A program that is up.
pub struct Running {
    /// The process.
    pub program: Program,
    /// Its admin listener.
    pub admin: SocketAddr,
}

impl Bench {
    /// Starts everything in an empty folder; `program` is `mailbeacon`.
    pub fn start(dir: &Path, program: &Path, runtime: &Handle) -> anyhow::Result<Bench> {
        let program = program.to_owned();
        let cache = Cache::default_dir()?;
        let (kafka, clickhouse) = std::thread::scope(|scope| {
            let mut options = KafkaOptions::new(dir.join("kafka"), program.clone(), cache.clone());
            options.brokers = BROKERS;
            options.heap_mb = HEAP_MB;
            let kafka = scope.spawn(|| kafka::start(options));
            let clickhouse =
                engine::start(EngineOptions::new(dir.join("clickhouse"), program.clone(), cache.clone()));
            (kafka.join(), clickhouse)
        });
        let kafka = kafka.ok().context("the thread that started kafka panicked")??;
        let clickhouse = clickhouse?;
        let clickhouse_url = clickhouse.http_url();
        let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, clickhouse.http_port()));
        let proxy = runtime.block_on(Proxy::start(upstream)).context("failed to start the proxy")?;
        let ports = local::free_ports(EDGES)?;
        let settings = [
            &format!("kafka.brokers={}", kafka.bootstrap()),
            &format!("kafka.topic={TOPIC}"),
            "kafka.partitions=12",
            "kafka.replication=3",
            // The least that a broker takes: partitions of a consumer that was killed wait so long.
            "kafka.session_timeout_ms=6000",
            // A reply that never comes is given up soon: a drill is full of them.
            "clickhouse.request_timeout_ms=5000",
            "keys.file=keys.toml",
            "geo.off=true",
            "admin.listen=127.0.0.1:0",
        ];
        let mut bench = Bench {
            dir: dir.to_owned(),
            program,
            settings: settings.map(str::to_owned).into(),
            runtime: runtime.clone(),
            kafka: Mutex::new(kafka),
            clickhouse: Mutex::new(clickhouse),
            clickhouse_url,
            proxy,
            edges: Vec::new(),
            consumers: Vec::new(),
            listen: ports.into_iter().map(|port| (Ipv4Addr::LOCALHOST, port).into()).collect(),
        };
        bench.command(&["keys", "new"], &[])?;
        let direct = format!("clickhouse.url={}", bench.clickhouse_url);
        bench.command(&["migrate"], &[&direct])?;
        for index in 0..EDGES {
            bench.edges.push(Mutex::new(bench.edge(index, &[])?));
        }
        for index in 0..CONSUMERS {
            bench.consumers.push(Mutex::new(bench.consumer(index)?));
        }
        Ok(bench)
    }

    /// The key ring of the edges.
    pub fn keys(&self) -> PathBuf {
        self.dir.join("keys.toml")
    }

    /// Starts edge `index` on its journal, with settings that win over the usual ones, and waits until it is up.
    pub fn edge(&self, index: usize, more: &[&str]) -> anyhow::Result<Running> {
        let own = [
            &format!("edge.listen={}", self.listen[index]),
            "edge.trusted_proxies=[\"127.0.0.0/8\"]",
            "edge.workers=1",
            &format!("journal.dir=journal-{index}"),
            // Small, so that there are many of them.
            "journal.segment_bytes=2097152",
        ];
        self.up(&format!("edge-{index}"), "edge", &[&own, more].concat())
    }

    /// Starts consumer `index` and waits until it is up.
    pub fn consumer(&self, index: usize) -> anyhow::Result<Running> {
        self.up(&format!("consumer-{index}"), "consume", &[&self.through_proxy()])
    }

    /// Starts a consumer more: others get its partitions when it leaves.
    pub fn guest(&self) -> anyhow::Result<Running> {
        self.up("consumer-guest", "consume", &[&self.through_proxy()])
    }

    fn through_proxy(&self) -> String {
        format!("clickhouse.url=http://{}", self.proxy.address())
    }

    /// Starts a program that must come up, whatever else is down: what it needs will be back.
    fn up(&self, name: &str, command: &str, more: &[&str]) -> anyhow::Result<Running> {
        let program = self.spawn(name, &[command], more)?;
        let line = program.line(" is up", UP_WAIT)?;
        let admin = line.split("admin=").nth(1).and_then(|rest| rest.split_whitespace().next());
        let admin = admin.and_then(|admin| admin.parse().ok());
        let admin = admin.with_context(|| format!("no address after admin= in {line:?}"))?;
        Ok(Running { program, admin })
    }

    fn spawn(&self, name: &str, command: &[&str], more: &[&str]) -> anyhow::Result<Program> {
        let settings = self.settings.iter().map(String::as_str).chain(more.iter().copied());
        let args = settings.flat_map(|setting| ["--set", setting]).chain(command.iter().copied());
        Ok(program::start(ProgramOptions {
            name: name.to_owned(),
            program: self.program.clone(),
            args: args.map(str::to_owned).collect(),
            dir: self.dir.clone(),
            log: self.dir.join(format!("{name}.log")),
        })?)
    }

    /// Runs a command of `mailbeacon` to its end, which must be good.
    fn command(&self, command: &[&str], more: &[&str]) -> anyhow::Result<()> {
        Ok(self.spawn(command[0], command, more)?.finish(COMMAND_WAIT)?)
    }

    /// What `mailbeacon ledger` says of it all, good or bad.
    pub fn ledger(&self) -> anyhow::Result<String> {
        const NAME: &str = "ledger";
        let urls: Vec<String> = self.admins().iter().map(|admin| format!("http://{admin}")).collect();
        let mut command = vec![NAME, "--json", "--from", "7d"];
        command.extend(urls.iter().flat_map(|url| ["--metrics", url]));
        let log = self.dir.join(format!("{NAME}.log"));
        File::create(&log).with_context(|| format!("failed to create {}", log.display()))?;
        let direct = format!("clickhouse.url={}", self.clickhouse_url);
        // Its exit status is a verdict, which the answer has in words.
        let _ = self.spawn(NAME, &command, &[&direct])?.finish(COMMAND_WAIT);
        fs::read_to_string(&log).with_context(|| format!("failed to read {}", log.display()))
    }

    /// The admin listeners of all edges and consumers.
    pub fn admins(&self) -> Vec<SocketAddr> {
        let all = self.edges.iter().chain(&self.consumers);
        all.map(|running| super::lock(running).admin).collect()
    }

    /// Starts ClickHouse again whenever it ended by itself, until `stop`, and returns how often.
    pub fn keep_clickhouse(&self, stop: &Stop) -> anyhow::Result<u64> {
        let mut restarts = 0;
        while !stop.wait(POLL) {
            // Held by whoever ended it on purpose.
            restarts += u64::from(super::lock(&self.clickhouse).revive()?);
        }
        Ok(restarts)
    }

    /// Whether all programs run, and all brokers: one that ended by itself is an error with its last words.
    pub fn check(&self) -> anyhow::Result<()> {
        super::lock(&self.kafka).check()?;
        let mut programs = self.edges.iter().chain(&self.consumers);
        Ok(programs.try_for_each(|running| super::lock(running).program.check())?)
    }

    /// The metrics of a program.
    pub fn page(&self, admin: SocketAddr) -> anyhow::Result<Page> {
        self.runtime.block_on(Page::read(admin, &admin.to_string(), METRICS_WAIT))
    }

    /// Waits for a condition within a bound, and says what was seen last when it does not come.
    pub fn until(
        &self,
        what: &str,
        bound: Duration,
        stop: &Stop,
        mut seen: impl FnMut() -> Result<(), String>,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + bound;
        loop {
            let Err(missing) = seen() else { return Ok(()) };
            if Instant::now() >= deadline {
                bail!("waited {} s in vain for {what}: {missing}", bound.as_secs());
            }
            ensure!(!stop.wait(POLL), "the drill is over before {what}: {missing}");
        }
    }

    /// Lets an async part of the drill run to its end.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
}
