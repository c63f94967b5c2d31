//! What all sides share: the machine's cores, the folder, Kafka, and how a program is started.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use event::Batch;
use kafka::{Stretch, TopicSpec};
use link::Keys;
use local::Cache;
use local::kafka::{Kafka, KafkaOptions};
use local::program::{self, Program, ProgramOptions};

use super::cores::Cores;
use super::report::Machine;
use super::spent::{Spent, spent};
use crate::mint::Mint;

/// Partitions of every topic: the product's default.
pub const PARTITIONS: u32 = 12;
/// For a program to be up.
pub const UP_WAIT: Duration = Duration::from_secs(60);
/// For a state to be reached after the last request.
pub const STATE_WAIT: Duration = Duration::from_secs(60);
/// For a program to end cleanly.
const END_WAIT: Duration = Duration::from_secs(30);
/// For what asks or changes something and ends.
const COMMAND_WAIT: Duration = Duration::from_secs(60);
const KAFKA_WAIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
const RETENTION_MS: u64 = 7 * 86_400_000;

/// What all sides share.
pub struct Bench {
    /// Where everything goes.
    pub dir: PathBuf,
    /// Our program.
    pub mailbeacon: PathBuf,
    /// The one broker, of which nobody's CPU time is counted.
    pub kafka: Kafka,
    /// Which core whose is; `None` when there is one core or no `taskset`.
    pub cores: Option<Cores>,
    /// The machine, as it was before any thread was bound.
    pub machine: Machine,
}

/// A program that is ended, not killed, so that nothing which it started stays behind.
pub struct Running(Program);

impl Running {
    /// The process.
    pub fn program(&self) -> &Program {
        &self.0
    }

    /// Its admin listener, once it is up, as it says by itself with `up`.
    pub fn admin(&self, up: &str) -> anyhow::Result<SocketAddr> {
        let line = self.0.line(up, UP_WAIT)?;
        let admin = line.split("admin=").nth(1).and_then(|rest| rest.split_whitespace().next());
        admin.and_then(|admin| admin.parse().ok()).with_context(|| format!("no admin= in {line:?}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended, or will not: what is left of it is killed with the drop of the program.
        let _ = self.0.stop(END_WAIT);
    }
}

impl Bench {
    /// Starts Kafka in an empty folder.
    pub fn start(dir: &Path, mailbeacon: &Path) -> anyhow::Result<Bench> {
        let options = KafkaOptions::new(dir.join("kafka"), mailbeacon.to_owned(), Cache::default_dir()?);
        let kafka = local::kafka::start(options)?;
        let cores = Cores::here().filter(|_| find("taskset").is_ok());
        if let (Some(cores), Some(broker)) = (&cores, kafka.pid(0)) {
            cores.leave_the_side(broker)?;
        }
        Ok(Bench {
            dir: dir.to_owned(),
            mailbeacon: mailbeacon.to_owned(),
            kafka,
            cores,
            machine: Machine::here(),
        })
    }

    /// Writes new keys for our edges, and mints with them.
    pub fn mint(&self) -> anyhow::Result<Mint> {
        let keys = Keys::generate();
        fs::write(self.dir.join("keys.toml"), &keys).context("failed to write the keys")?;
        Mint::links(Keys::from_toml(&keys)?, "http://mail.example", 1)
    }

    /// Starts our program, on the first so many cores if that is said.
    pub fn ours(
        &self,
        name: &str,
        command: &[&str],
        settings: &[String],
        cores: Option<usize>,
    ) -> anyhow::Result<Running> {
        let program = self.mailbeacon.to_string_lossy();
        let settings = settings.iter().flat_map(|setting| ["--set", setting]);
        let line: Vec<&str> =
            [&*program].into_iter().chain(settings).chain(command.iter().copied()).collect();
        self.run(name, &line, cores)
    }

    /// Starts a program of others on the side's core.
    pub fn peer(&self, name: &str, line: &[&str]) -> anyhow::Result<Running> {
        self.run(name, line, Some(1))
    }

    fn run(&self, name: &str, line: &[&str], cores: Option<usize>) -> anyhow::Result<Running> {
        let first = self.cores.as_ref().zip(cores).map(|(all, cores)| all.first(cores));
        let line: Vec<&str> = match &first {
            Some(first) => ["taskset", "-c", first].iter().chain(line).copied().collect(),
            None => line.to_vec(),
        };
        let options = ProgramOptions {
            name: name.to_owned(),
            program: line[0].into(),
            args: line[1..].iter().map(|arg| (*arg).to_owned()).collect(),
            dir: self.dir.clone(),
            log: self.dir.join(format!("{name}.log")),
        };
        Ok(Running(program::start_other(&self.mailbeacon, options)?))
    }

    /// Runs a program to its end, which must be good, and returns what it said.
    pub fn said(&self, name: &str, line: &[&str]) -> anyhow::Result<String> {
        // A log goes on where it was.
        let _ = fs::remove_file(self.dir.join(format!("{name}.log")));
        let running = self.run(name, line, None)?;
        running.program().finish(COMMAND_WAIT)?;
        let log = running.program().log();
        fs::read_to_string(log).with_context(|| format!("failed to read {}", log.display()))
    }

    /// How to reach the broker, for our own use of it.
    pub fn topic_config(&self, topic: &str) -> kafka::Config {
        kafka::Config::new(self.kafka.bootstrap(), topic)
    }

    /// Makes a topic of events and those that go with it.
    pub fn create_topic(&self, topic: &str, partitions: u32) -> anyhow::Result<()> {
        let config = self.topic_config(topic);
        let specs = [
            TopicSpec::events(&config, partitions, 1, RETENTION_MS),
            TopicSpec::dead_letters(&config, partitions, 1),
            TopicSpec::withdrawals(&config, partitions, 1),
        ];
        kafka::create_topics(&config, &specs)?;
        Ok(())
    }

    /// What a topic holds.
    pub fn stretches(&self, topic: &str) -> anyhow::Result<Vec<Stretch>> {
        let config = self.topic_config(topic);
        let mut stretches = Vec::new();
        // A topic that was made a moment ago may have no leaders yet.
        until("kafka to say what it holds", KAFKA_WAIT, || match kafka::whole(&config, KAFKA_WAIT) {
            Ok(whole) => {
                stretches = whole;
                Ok(Ok(()))
            }
            Err(error) if error.is_retry() => Ok(Err(error.to_string())),
            Err(error) => Err(error.into()),
        })?;
        Ok(stretches)
    }

    /// The events in these stretches of a topic whose messages are batches of ours.
    pub fn events(&self, topic: &str, stretches: &[Stretch]) -> anyhow::Result<u64> {
        let mut events = 0;
        self.each_event(topic, stretches, |_| {
            events += 1;
            Ok(())
        })?;
        Ok(events)
    }

    /// Shows each of them, as it is encoded.
    pub fn each_event(
        &self,
        topic: &str,
        stretches: &[Stretch],
        mut each: impl FnMut(&[u8]) -> Result<(), event::DecodeError>,
    ) -> anyhow::Result<()> {
        let mut broken = None;
        kafka::scan(&self.topic_config(topic), stretches, KAFKA_WAIT, |message| {
            for event in Batch::new(&message.payload) {
                if let Err(error) = event.and_then(&mut each) {
                    broken = Some(error);
                }
            }
            ControlFlow::Continue(())
        })?;
        match broken {
            Some(error) => {
                Err(error).with_context(|| format!("topic {topic} has a message that is no batch"))
            }
            None => Ok(()),
        }
    }

    /// What this process and the broker have spent: of the machine's time, what is nobody's else.
    pub fn own(&self) -> anyhow::Result<Spent> {
        // Of this process only itself: what it started has a side of its own.
        let mut own = Spent::new();
        own.insert("loadtest".to_owned(), crate::cpu::used(std::process::id())?.cpu_seconds);
        if let Some(broker) = self.kafka.pid(0) {
            own.extend(spent([broker])?);
        }
        Ok(own)
    }
}

/// Waits for a condition within a bound, and says what was seen last when it does not come.
pub fn until(
    what: &str,
    bound: Duration,
    seen: impl FnMut() -> anyhow::Result<Result<(), String>>,
) -> anyhow::Result<()> {
    until_every(what, POLL, bound, seen)
}

/// The same, for what costs something to look at.
pub fn until_every(
    what: &str,
    every: Duration,
    bound: Duration,
    mut seen: impl FnMut() -> anyhow::Result<Result<(), String>>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + bound;
    loop {
        let Err(missing) = seen()? else { return Ok(()) };
        if Instant::now() >= deadline {
            bail!("waited {} s in vain for {what}: {missing}", bound.as_secs());
        }
        std::thread::park_timeout(every);
    }
}

/// The path of a program; servers are where a user's PATH may not look.
pub fn find(program: &str) -> anyhow::Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let runs = |path: &Path| {
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    dirs.map(|dir| dir.join(program))
        .find(|path| runs(path))
        .with_context(|| format!("there is no `{program}` on this machine"))
}
