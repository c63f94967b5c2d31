//! A `mailbeacon up` of the run's own, and the commands that users give it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use local::program::{self, Program, ProgramOptions};
use tokio::runtime::Runtime;

use crate::clickhouse::{ClickHouse, Secret};
use crate::exchange;
use crate::metrics::Page;
use crate::options::resolve;

/// The first start on a machine fetches a ClickHouse engine.
const UP_WAIT: Duration = Duration::from_secs(600);
/// For the instance to end.
const END_WAIT: Duration = Duration::from_secs(120);
/// How long no row may come before the run is given up.
const STILL_MAX: Duration = Duration::from_secs(120);
/// How often rows are counted until all are there.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// For one page of metrics.
const METRICS_WAIT: Duration = Duration::from_secs(10);

/// A running instance; killed when dropped.
pub struct Instance {
    /// All that it has, and the histories.
    pub dir: PathBuf,
    /// Its key ring.
    pub keys: PathBuf,
    program: PathBuf,
    up: Program,
    clickhouse: ClickHouse,
    admin: SocketAddr,
    /// Where its API listens.
    pub api: SocketAddr,
    runtime: Runtime,
}

impl Instance {
    /// Starts one in an empty folder and waits until it is up.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(program: &Path, dir: &Path) -> anyhow::Result<Instance> {
        // They would lead elsewhere, such as to a ClickHouse that is somebody's.
        let foreign = |name: &String| name.starts_with("MAILBEACON_") && name != "MAILBEACON_CACHE";
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        if let Some(name) = names.into_iter().find(foreign) {
            bail!("{name} is set: the run has an instance of its own, unset it");
        }
        // Addresses of the history are anybody's: it says itself in which zones people are.
        let args = ["edge.listen=127.0.0.1:0", "admin.listen=127.0.0.1:0", "api.listen=127.0.0.1:0"];
        let args = args.iter().flat_map(|setting| ["--set", setting]).chain(["up", "--no-geo"]);
        let up = program::start(ProgramOptions {
            name: "mailbeacon up".to_owned(),
            program: program.to_owned(),
            args: args.map(str::to_owned).collect(),
            dir: dir.to_owned(),
            log: dir.join("up.log"),
        })?;
        up.line("Ctrl-C drains", UP_WAIT)?;
        let value = |name: &str| -> anyhow::Result<String> {
            let line = up.line(&format!("  {name} "), UP_WAIT)?;
            let value = line.split_whitespace().nth(1);
            value.map(str::to_owned).with_context(|| format!("nothing after {name} in {line:?}"))
        };
        let admin = value("admin")?;
        let admin = resolve(admin.strip_suffix("/metrics").unwrap_or(&admin))?.0;
        let api = resolve(&value("api")?)?.0;
        let clickhouse = ClickHouse {
            address: resolve(&value("clickhouse")?)?.0,
            database: "mailbeacon".to_owned(),
            table: "events".to_owned(),
            user: String::new(),
            password: Secret::default(),
        };
        Ok(Instance {
            dir: dir.to_owned(),
            keys: value("keys")?.into(),
            program: program.to_owned(),
            up,
            clickhouse,
            admin,
            api,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("failed to start a runtime")?,
        })
    }

    /// Runs a command on a workspace of the instance, and returns what it says.
    ///
    /// # Errors
    /// When it fails, with its complaint.
    pub fn command(&self, args: &[&str], workspace: u32) -> anyhow::Result<String> {
        let output = Command::new(&self.program)
            .args(["--config", "data/up.toml"])
            .args(args)
            .args(["--workspace", &workspace.to_string()])
            .current_dir(&self.dir)
            .output()
            .with_context(|| format!("failed to run {}", self.program.display()))?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "mailbeacon {}: {}", args.join(" "), complaint.trim());
        String::from_utf8(output.stdout).context("what it says is no text")
    }

    /// Imports a history of so many events.
    ///
    /// # Errors
    /// When not every line is taken.
    pub fn import(&self, workspace: u32, history: &Path, events: u64) -> anyhow::Result<()> {
        let history = history.to_str().context("the folder's name is no text")?;
        let said = self.command(&["import", history], workspace)?;
        ensure!(said.contains(&format!("{events} events of {events} lines ")), "import: {}", said.trim());
        Ok(())
    }

    /// Waits until so many events of a workspace are rows, and what they correct is written.
    ///
    /// # Errors
    /// When nothing moves any more before that.
    pub fn settle(&self, workspace: u32, events: u64) -> anyhow::Result<()> {
        let sql = format!("SELECT count() FROM {} WHERE workspace = {workspace}", self.clickhouse.table());
        let host = self.admin.to_string();
        let (mut moved, mut before) = (Instant::now(), 0);
        loop {
            self.up.check()?;
            let rows: u64 = self.query(&sql)?.trim().parse().context("expected a number of rows")?;
            let page = self.runtime.block_on(Page::read(self.admin, &host, METRICS_WAIT))?;
            let under_way = page.sum("consumer_inflight_events");
            if rows == events && under_way == 0 {
                return Ok(());
            }
            if rows != before {
                (before, moved) = (rows, Instant::now());
            }
            ensure!(
                moved.elapsed() < STILL_MAX && rows <= events,
                "{events} events were imported and {rows} are rows, {under_way} are under way"
            );
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    /// Asks its ClickHouse.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub fn query(&self, sql: &str) -> anyhow::Result<String> {
        self.runtime.block_on(self.clickhouse.query(sql))
    }

    /// Runs one or two at once in its database, for what takes longer.
    ///
    /// # Errors
    /// When one is refused or not answered in time; the other is left to itself then.
    pub fn together(&self, one: &str, other: Option<&str>, bound: Duration) -> anyhow::Result<()> {
        let one = self.clickhouse.ask(one, bound);
        self.runtime.block_on(async {
            match other {
                Some(other) => tokio::try_join!(one, self.clickhouse.ask(other, bound)).map(drop),
                None => one.await.map(drop),
            }
        })
    }

    /// What the server says a query took, as JSON.
    ///
    /// # Errors
    /// When it does not answer in time, or refuses.
    pub fn summary_within(&self, sql: &str, bound: Duration) -> anyhow::Result<String> {
        let answer = self.runtime.block_on(self.clickhouse.ask(sql, bound))?;
        answer.summary.context("ClickHouse sent no summary of the query")
    }

    /// Makes a key for the API's first workspace, which takes it up within seconds.
    ///
    /// # Errors
    /// When it does not.
    pub fn api_key(&self) -> anyhow::Result<String> {
        let said = self.command(&["api", "new-key"], 1)?;
        let mut lines = said.lines().map(str::trim);
        let key = lines.find(|line| line.starts_with("mbk_")).context("no key was made")?;
        let line = lines.find(|line| line.contains(" = [")).context("no line for the file of keys")?;
        let file = self.dir.join("data/api-keys.toml");
        std::fs::write(&file, format!("{line}\n")).context("failed to write the API's keys")?;
        let request = format!(
            "GET /v1/recipients/nobody/send-time HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {key}\r\n\
             Connection: close\r\n\r\n"
        );
        let begun = Instant::now();
        while self.block_on(exchange::ask(self.api, request.as_bytes()))?.0 != 200 {
            ensure!(begun.elapsed() < STILL_MAX, "the API does not take up a new key");
            std::thread::park_timeout(LOOK_EVERY);
        }
        Ok(key.to_owned())
    }

    /// Waits for an answer.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// The database of its events.
    pub fn database(&self) -> &str {
        &self.clickhouse.database
    }

    /// Ends it cleanly.
    ///
    /// # Errors
    /// When it does not end so.
    pub fn stop(self) -> anyhow::Result<()> {
        Ok(self.up.stop(END_WAIT)?)
    }
}
