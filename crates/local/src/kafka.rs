//! Apache Kafka itself, one broker or a cluster, in KRaft mode on the JVM.

mod config;
mod find;
mod wire;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::file;
use crate::process::{Process, Spec, fresh_log};
use crate::tool::JAVA;
use crate::{Cache, LocalError, ports};

/// Seen: 3 s on two idle cores, 10 s for three brokers at once. Loaded machines take their time.
const READY_WAIT: Duration = Duration::from_secs(120);
const FORMAT_WAIT: Duration = Duration::from_secs(60);
/// A controlled shutdown moves leaders away first; with the quorum already gone it would wait for ever.
const STOP_WAIT: Duration = Duration::from_secs(15);
const ASK_WAIT: Duration = Duration::from_secs(5);
/// How often ports lost to another process are replaced by new ones.
const START_TRIES_MAX: usize = 5;
const PORT_TAKEN: &str = "Address already in use";
/// More brokers than any drill needs would only fill the memory.
const BROKERS_MAX: usize = 9;

/// What to start.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// Where data, configuration and logs live; made when absent, kept when the brokers end.
    pub dir: PathBuf,
    /// The program that has the hidden subcommand ([`crate::child_main`]).
    pub helper: PathBuf,
    /// Where a fetched Kafka is kept; `$KAFKA_HOME/libs` is used instead when set.
    pub cache: Cache,
    /// How many brokers, 1 to 9; a folder keeps the number it was made with.
    pub brokers: usize,
    /// One client port on 127.0.0.1 for each broker; free ones when `None`.
    pub ports: Option<Vec<u16>>,
    /// The limit of each broker's heap.
    pub heap_mb: u32,
    /// More lines for `server.properties`, which win over ours.
    pub properties: Vec<(String, String)>,
}

impl KafkaOptions {
    /// A single broker with free ports.
    pub fn new(dir: PathBuf, helper: PathBuf, cache: Cache) -> KafkaOptions {
        KafkaOptions { dir, helper, cache, brokers: 1, ports: None, heap_mb: 512, properties: Vec::new() }
    }
}

/// A running Kafka, killed when dropped.
///
/// Brokers are counted from 0. Of one or two, broker 0 is the controller; of three and more, the first three are,
/// so that any one of them may go.
pub struct Kafka {
    options: KafkaOptions,
    cluster: Cluster,
    class_path: OsString,
    brokers: Vec<Broker>,
}

/// What all brokers must agree on.
struct Cluster {
    id: String,
    /// Of the broker with that index.
    ports: Vec<u16>,
    /// Of the controller in the broker with that index; there may be fewer of them than brokers.
    controller_ports: Vec<u16>,
}

struct Broker {
    dir: PathBuf,
    /// `None` before the first start.
    process: Option<Process>,
}

/// Finds or fetches Kafka, starts it and waits until every broker sees all others.
pub fn start(mut options: KafkaOptions) -> Result<Kafka, LocalError> {
    check(&options)?;
    fs::create_dir_all(&options.dir).map_err(file("create", &options.dir))?;
    options.dir = options.dir.canonicalize().map_err(file("resolve", &options.dir))?;
    JAVA.find("run Kafka")?;
    let class_path = find::class_path(&options.cache)?;
    let id = config::cluster_id(&options.dir, options.brokers)?;
    let brokers = (0..options.brokers)
        .map(|index| Broker { dir: options.dir.join(format!("broker-{index}")), process: None })
        .collect();
    let mut kafka = Kafka { cluster: Cluster::on_free_ports(id, &options)?, options, class_path, brokers };
    let mut tries = 1;
    loop {
        match kafka.launch_all() {
            Err(LocalError::Ended { tail, .. }) if tries < START_TRIES_MAX && tail.contains(PORT_TAKEN) => {
                tries += 1
            }
            outcome => return outcome.map(|()| kafka),
        }
        // The data folders are free again only when all have ended.
        kafka.brokers.iter_mut().for_each(|broker| broker.process = None);
        kafka.cluster = Cluster::on_free_ports(kafka.cluster.id, &kafka.options)?;
    }
}

fn check(options: &KafkaOptions) -> Result<(), LocalError> {
    let brokers = options.brokers;
    if !(1..=BROKERS_MAX).contains(&brokers) {
        return Err(LocalError::Options(format!(
            "{brokers} kafka brokers asked for, expected 1 to {BROKERS_MAX}"
        )));
    }
    match &options.ports {
        Some(ports) if ports.len() != brokers => Err(LocalError::Options(format!(
            "{} ports given for {brokers} kafka brokers, expected one each",
            ports.len()
        ))),
        _ => Ok(()),
    }
}

impl Cluster {
    fn on_free_ports(id: String, options: &KafkaOptions) -> Result<Cluster, LocalError> {
        let mut ports = ports::free(options.brokers + config::controllers(options.brokers))?;
        let controller_ports = ports.split_off(options.brokers);
        Ok(Cluster { id, ports: options.ports.clone().unwrap_or(ports), controller_ports })
    }
}

impl Kafka {
    /// The `bootstrap.servers` of clients: all brokers.
    pub fn bootstrap(&self) -> String {
        let hosts: Vec<String> = self.cluster.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        hosts.join(",")
    }

    /// The client port of broker `index`.
    pub fn port(&self, index: usize) -> u16 {
        self.cluster.ports[index]
    }

    /// The process of broker `index`, for measuring.
    pub fn pid(&self, index: usize) -> Option<u32> {
        self.brokers[index].process.as_ref().map(Process::pid)
    }

    /// Where data and logs are.
    pub fn dir(&self) -> &Path {
        &self.options.dir
    }

    /// Whether the process of broker `index` runs (a suspended one does).
    pub fn is_alive(&self, index: usize) -> bool {
        self.brokers[index].process.as_ref().is_some_and(Process::is_alive)
    }

    /// The last words of the first broker that has ended, as an error.
    pub fn check(&self) -> Result<(), LocalError> {
        self.brokers.iter().filter_map(|broker| broker.process.as_ref()).try_for_each(Process::check)
    }

    /// Makes a topic with as many replicas as three brokers or fewer can hold; one that exists is an error.
    pub fn create_topic(&self, name: &str, partitions: u32) -> Result<(), LocalError> {
        let port = (0..self.brokers.len())
            .find(|index| self.is_alive(*index))
            .map_or(self.port(0), |index| self.port(index));
        wire::create_topic(port, name, partitions, config::replicas(self.brokers.len()), ASK_WAIT)
    }

    /// How many copies the partition of `topics` with the fewest has that are in sync; 0 when it has no leader.
    pub fn copies_in_sync(&self, topics: &[&str]) -> Result<usize, LocalError> {
        let mut cause = None;
        for index in (0..self.brokers.len()).filter(|index| self.is_alive(*index)) {
            match wire::copies_in_sync(self.port(index), topics, ASK_WAIT) {
                Ok(copies) => return Ok(copies),
                Err(error) => cause = Some(error.to_string()),
            }
        }
        let cause = cause.unwrap_or_else(|| "no broker runs".into());
        Err(LocalError::Query(format!("failed to ask kafka for the copies in sync: {cause}")))
    }

    /// Kills broker `index` as a crash would (`SIGKILL`) and waits until it is gone.
    pub fn kill(&mut self, index: usize) -> Result<(), LocalError> {
        self.brokers[index].process.as_ref().map_or(Ok(()), Process::kill)
    }

    /// Ends broker `index` cleanly; one that takes too long is killed.
    pub fn stop_broker(&mut self, index: usize) -> Result<(), LocalError> {
        self.terminate(index)?;
        self.await_end(index)
    }

    /// Starts broker `index` again on the same data and ports and waits until the cluster counts it in.
    pub fn start_broker(&mut self, index: usize) -> Result<(), LocalError> {
        if !self.is_alive(index) {
            self.launch(index)?;
        }
        self.await_ready(index, |alive| alive.contains(&index))
    }

    /// Freezes broker `index`: connections stay open, nothing answers (`SIGSTOP`).
    pub fn suspend(&self, index: usize) -> Result<(), LocalError> {
        self.brokers[index].process.as_ref().map_or(Ok(()), Process::suspend)
    }

    /// Lets a frozen broker go on (`SIGCONT`).
    pub fn resume(&self, index: usize) -> Result<(), LocalError> {
        self.brokers[index].process.as_ref().map_or(Ok(()), Process::resume)
    }

    /// Ends all brokers cleanly.
    pub fn stop(self) -> Result<(), LocalError> {
        (0..self.brokers.len()).try_for_each(|index| self.terminate(index))?;
        (0..self.brokers.len()).try_for_each(|index| self.await_end(index))
    }

    fn terminate(&self, index: usize) -> Result<(), LocalError> {
        self.brokers[index].process.as_ref().map_or(Ok(()), Process::terminate)
    }

    fn await_end(&self, index: usize) -> Result<(), LocalError> {
        match &self.brokers[index].process {
            Some(process) if !process.wait(STOP_WAIT) => process.kill(),
            _ => Ok(()),
        }
    }

    fn launch_all(&mut self) -> Result<(), LocalError> {
        let all = 0..self.brokers.len();
        all.clone().try_for_each(|index| self.write_properties(index))?;
        self.format()?;
        all.clone().try_for_each(|index| self.launch(index))?;
        let count = self.brokers.len();
        all.clone().try_for_each(|index| self.await_ready(index, |alive| alive.len() == count))
    }

    fn write_properties(&self, index: usize) -> Result<(), LocalError> {
        let dir = &self.brokers[index].dir;
        fs::create_dir_all(dir.join("tmp")).map_err(file("create", dir))?;
        let path = dir.join(config::FILE);
        let text = config::render(&self.cluster, index, &self.options.properties);
        fs::write(&path, text).map_err(file("write", &path))
    }

    /// Prepares the data folders that are not yet; all at once, as each takes the start of a JVM.
    fn format(&self) -> Result<(), LocalError> {
        const FORMATTED: &str = "formatted";
        let mut running = Vec::new();
        for (index, broker) in self.brokers.iter().enumerate() {
            if broker.dir.join(FORMATTED).exists() {
                continue;
            }
            // Whatever is there is half a format: without the mark no broker was ever started on it.
            let data = broker.dir.join(config::DATA_DIR);
            match fs::remove_dir_all(&data) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(file("remove", &data)(error));
                }
                _ => {}
            }
            let args = [
                "kafka.tools.StorageTool",
                "format",
                "--cluster-id",
                &self.cluster.id,
                "--config",
                config::FILE,
            ];
            running.push((broker, self.java(index, "format.log", &args)?));
        }
        for (broker, process) in running {
            process.finish(FORMAT_WAIT)?;
            let mark = broker.dir.join(FORMATTED);
            fs::write(&mark, "").map_err(file("write", &mark))?;
        }
        Ok(())
    }

    fn launch(&mut self, index: usize) -> Result<(), LocalError> {
        let process = self.java(index, "output.log", &["kafka.Kafka", config::FILE])?;
        self.brokers[index].process = Some(process);
        Ok(())
    }

    /// Waits until broker `index` says that the brokers alive are as `expected`.
    fn await_ready(&self, index: usize, expected: impl Fn(&[usize]) -> bool) -> Result<(), LocalError> {
        let Some(process) = &self.brokers[index].process else { return Ok(()) };
        let port = self.port(index);
        process.wait_ready(READY_WAIT, || match wire::brokers(port, ASK_WAIT) {
            Ok(alive) if expected(&alive) => Ok(()),
            Ok(alive) => Err(format!("it sees the brokers {alive:?} alive")),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Runs a class of Kafka in the folder of broker `index`.
    fn java(&self, index: usize, log: &str, class_and_args: &[&str]) -> Result<Process, LocalError> {
        let dir = &self.brokers[index].dir;
        let log = dir.join(log);
        fresh_log(&log)?;
        // Serial collection and the quick compiler: a small resident size and a fast start matter more here than
        // throughput. Native parts of the compressors are unpacked into the broker's folder, and no performance
        // file is left in the system's.
        let heap = format!("-Xmx{}m", self.options.heap_mb);
        let fixed = [
            heap.as_str(),
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:-UsePerfData",
            "-Djava.io.tmpdir=tmp",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
        ];
        let mut args: Vec<OsString> = vec![JAVA.program.into()];
        args.extend(fixed.map(OsString::from));
        args.extend(["-cp".into(), self.class_path.clone()]);
        args.extend(class_and_args.iter().map(OsString::from));
        Process::start(Spec {
            name: format!("kafka broker {index}"),
            helper: &self.options.helper,
            form: "exec",
            args,
            dir,
            log,
        })
    }
}
