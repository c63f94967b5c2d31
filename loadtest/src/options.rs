//! The command line.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Args, Parser, Subcommand};

use crate::account::Page;
use crate::campaign::CampaignOptions;
use crate::clickhouse::{ClickHouse, Secret};
use crate::compare::day_edge::DayEdgeOptions;
use crate::compare::options::CompareOptions;
use crate::cpu::Watched;
use crate::drill::options::DrillOptions;
use crate::enrich_cost::EnrichCostOptions;
use crate::freshness::PROBES_MAX;
use crate::grow::options::GrowOptions;
use crate::instructions::InstructionsOptions;
use crate::mix::{Mix, Noise};
use crate::questions::QuestionsOptions;
use crate::schedule::Arrivals;
use crate::send::Target;
use crate::shape::Shape;
use crate::simulate::SimulateOptions;

/// Load for Mailbeacon's edge, and the proof that it was all recorded.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send requests on a fixed schedule and measure the answers.
    ///
    /// The load is open-loop: a request leaves when it is due, whether or not the ones before it are answered, and
    /// its latency counts from that moment. A server that stalls for a second shows a second in the tail.
    ///
    /// If more than 1 % of the requests left over 1 ms late through the generator's own fault, the run is called
    /// invalid: the machine was too busy to measure at this rate.
    #[command(after_long_help = EXAMPLES)]
    Run(Box<RunOptions>),
    /// Prove that this tool leaves nothing out: measure a server that stands still for a second.
    ///
    /// The server is in this process and holds every answer for one second in the middle of the run. How long each
    /// request must have waited follows from when it was due; no percentile of the report may be below that. A tool
    /// that sends the next request only after the last answer would show one slow request and pass over the rest.
    #[command(
        after_long_help = "Exit status:\n  0  the tail is in the report\n  1  it is not, or the run could not be made"
    )]
    SelfCheck(SelfCheckOptions),
    /// Kill and freeze every part under load, and hold ClickHouse to every request that was answered.
    ///
    /// Three Kafka brokers, a ClickHouse, two edges and two consumers run as processes of their own on this machine. In
    /// the end all is mended and drained, and each answered request must be one row.
    #[command(after_long_help = crate::drill::options::EXAMPLES)]
    Drill(DrillOptions),
    /// Measure ours and what a team would run in its place, in turns on this machine, by CPU time to the same state.
    #[command(after_long_help = crate::compare::options::EXAMPLES)]
    Compare(CompareOptions),
    /// Measure how our own figures change as a machine gets more: cores, connections, partitions, Kafka away.
    #[command(after_long_help = crate::grow::options::EXAMPLES)]
    Grow(GrowOptions),
    /// The edge of a day's work that ours is compared with.
    #[command(hide = true)]
    DayEdge(DayEdgeOptions),
    /// Send a campaign whose readers are known, and hold the reported rates to them.
    #[command(after_long_help = crate::campaign::EXAMPLES)]
    Campaign(CampaignOptions),
    /// Measure what an enriched event costs, beside woothee and a decoded city without a memory.
    #[command(after_long_help = crate::enrich_cost::EXAMPLES)]
    EnrichCost(EnrichCostOptions),
    /// Count the instructions of a pixel, a redirect and a consumed event, and refuse that they grow.
    #[command(after_long_help = crate::instructions::EXAMPLES)]
    Instructions(InstructionsOptions),
    /// Ask an analyst's questions over many events: rows read, time, memory, and the size of what is stored.
    #[command(after_long_help = crate::questions::EXAMPLES)]
    Questions(QuestionsOptions),
    /// Write the history of simulated people whose habits are known, or judge recommended send times by them.
    Simulate(SimulateOptions),
}

/// How to check the tool itself.
#[derive(Debug, Clone, Args)]
pub struct SelfCheckOptions {
    /// Requests per second.
    #[arg(long, default_value_t = 500.0)]
    pub rate: f64,
    /// How long the server stands still.
    #[arg(long, default_value_t = 1_000, value_name = "MS")]
    pub stall_ms: u64,
    /// Write the report of the checked run as JSON to this file, or to standard output for `-`.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the report of the checked run as an HTML page to this file.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl SelfCheckOptions {
    /// Refuses what parses but makes no sense.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!((20.0..=20_000.0).contains(&self.rate), "--rate {}: expected 20 to 20000", self.rate);
        ensure!(
            (100..=10_000).contains(&self.stall_ms),
            "--stall-ms {}: expected 100 to 10000",
            self.stall_ms
        );
        Ok(())
    }
}

const EXAMPLES: &str = "\
Exit status:
  0  measured, and the ledger (if asked for) is clean
  1  rows are missing, doubled, unexpected or wrong; no rate was held; or the run could not be made
  2  the command line is wrong
  3  the measurement is invalid

Examples:
  # 5,000 requests a second for half a minute.
  loadtest run --url http://127.0.0.1:8080 --keys keys.toml --rate 5000 --duration 30

  # the same, with CPU per request of two processes, and every answered request held to one row
  loadtest run --url http://127.0.0.1:8080 --keys keys.toml --rate 5000 --duration 30 \\
      --pid edge=$EDGE --pid consumer=$CONSUMER --clickhouse http://127.0.0.1:8123

  # a campaign is sent: 2,000 a second in the mean, 9,000 at the peak, with plots
  loadtest run --url http://127.0.0.1:8080 --keys keys.toml --shape blast --rate 2000 --duration 60 \\
      --warm-up 5 --clickhouse http://127.0.0.1:8123 --metrics http://127.0.0.1:9090 --html report.html

  # that the figures of this tool can be believed on this machine
  loadtest self-check

  # from request to visible row, at half of what the machine holds
  loadtest run --url http://127.0.0.1:8080 --keys keys.toml --rate 2500 --duration 30 \\
      --clickhouse http://127.0.0.1:8123 --freshness

  # the highest rate with a p99 below 10 ms
  loadtest run --url http://127.0.0.1:8080 --keys keys.toml --find-max --rate 2000 --hold 5 --p99-ms 10

  # another server, for comparison: one path, any answer from 200 to 399
  loadtest run --url http://127.0.0.1:8081 --path /pixel.gif --rate 5000";

/// How to send, and what to look at.
#[derive(Debug, Clone, Args)]
pub struct RunOptions {
    /// The server. It should trust 127.0.0.1 as a proxy: client addresses come in X-Forwarded-For.
    #[arg(long, default_value = "http://127.0.0.1:8080", help_heading = "Where")]
    pub url: String,
    /// Send to an address that is not this machine's loopback. Only do this to servers of your own.
    #[arg(long, help_heading = "Where")]
    pub allow_remote: bool,
    /// The keys file from which links are minted, the same that the edge verifies with.
    #[arg(long, value_name = "FILE", required_unless_present = "path", help_heading = "Where")]
    pub keys: Option<PathBuf>,
    /// Ask for this one path instead of minted links; any status from 200 to 399 is a proper answer.
    #[arg(long, conflicts_with_all = ["keys", "clickhouse", "bad_share", "head_share"], help_heading = "Where")]
    pub path: Option<String>,

    /// Requests per second, in the mean; with --find-max, the rate to begin with.
    #[arg(long, default_value_t = 1_000.0, help_heading = "Load")]
    pub rate: f64,
    /// Seconds to send for, besides the warm-up.
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS", help_heading = "Load")]
    pub duration: f64,
    /// Seconds to send for at --rate before anything is measured. No figure counts these requests and the plots
    /// mark them; the ledger holds the database to them all the same.
    #[arg(long, default_value_t = 0.0, value_name = "SECONDS", help_heading = "Load")]
    pub warm_up: f64,
    /// How the rate goes over the duration.
    #[arg(long, value_enum, default_value = "steady", help_heading = "Load")]
    pub shape: Shape,
    /// How requests follow each other: at equal distances, or independently, with bursts.
    #[arg(long, value_enum, default_value = "even", help_heading = "Load")]
    pub arrivals: Arrivals,
    /// Weights of opens, clicks and downloads.
    #[arg(long, default_value = "open=80,click=15,download=5", help_heading = "Load")]
    pub mix: Mix,
    /// Share of the requests with a token that is cut, forged or of a foreign key, 0 to 1: they must be answered and
    /// leave no row. 0 by default, 0.02 for a blast.
    #[arg(long, value_name = "SHARE", help_heading = "Load")]
    pub bad_share: Option<f64>,
    /// Share of the clicks and downloads that are a scanner's HEAD, 0 to 1. 0 by default, 0.05 for a blast.
    #[arg(long, value_name = "SHARE", help_heading = "Load")]
    pub head_share: Option<f64>,
    /// Share of the requests that open a connection of their own, 0 to 1.
    #[arg(long, default_value_t = 0.2, value_name = "SHARE", help_heading = "Load")]
    pub fresh_share: f64,
    /// Recipients of each message.
    #[arg(long, default_value_t = 10_000, help_heading = "Load")]
    pub recipients: u32,
    /// Workspace of the links.
    #[arg(long, default_value_t = 1, help_heading = "Load")]
    pub workspace: u32,
    /// Number of the first message; up to 2^20 from there on are this run's own. From the clock by default.
    #[arg(long, value_name = "NUMBER", help_heading = "Load")]
    pub message: Option<u64>,
    /// The same seed gives the same crowd, mix and schedule.
    #[arg(long, default_value_t = 1, help_heading = "Load")]
    pub seed: u64,

    /// Requests under way at a time. One that finds no place waits; the wait is in its latency.
    #[arg(long, default_value_t = 256, help_heading = "Sending")]
    pub connections: usize,
    /// Threads that send, each with its share of the schedule and of the connections.
    #[arg(long, default_value_t = 1, help_heading = "Sending")]
    pub threads: usize,
    /// For one request to be answered.
    #[arg(long, default_value_t = 5_000, value_name = "MS", help_heading = "Sending")]
    pub timeout_ms: u64,

    /// Report CPU time per request, and memory, of this process. May be given several times.
    #[arg(long, value_name = "NAME=PID", help_heading = "What to look at")]
    pub pid: Vec<Watched>,
    /// Afterwards hold ClickHouse to the answers: one row for each, none besides, and each with the recipient, message,
    /// kind, link, target, method and user agent that were sent.
    #[arg(long, value_name = "URL", help_heading = "What to look at")]
    pub clickhouse: Option<String>,
    /// The database of the rows.
    #[arg(long, default_value = "mailbeacon", requires = "clickhouse", help_heading = "What to look at")]
    pub database: String,
    /// The table of the rows.
    #[arg(long, default_value = "events", requires = "clickhouse", help_heading = "What to look at")]
    pub table: String,
    /// ClickHouse's user.
    #[arg(long, default_value = "", requires = "clickhouse", help_heading = "What to look at")]
    pub clickhouse_user: String,
    /// ClickHouse's password; better given in the environment.
    #[arg(
        long,
        env = "CLICKHOUSE_PASSWORD",
        default_value = "",
        hide_default_value = true,
        hide_env_values = true,
        help_heading = "What to look at"
    )]
    pub clickhouse_password: Secret,
    /// The admin address of an edge or a consumer (with `up`, of both): what their metrics say became of events is
    /// put beside the ledger. May be given several times.
    #[arg(long, value_name = "URL", help_heading = "What to look at")]
    pub metrics: Vec<String>,
    /// How often rows are counted and metrics read during the run, for the plots; 0 for never, as when ClickHouse's CPU
    /// time is what is measured.
    #[arg(long, default_value_t = 250, value_name = "MS", help_heading = "What to look at")]
    pub watch_ms: u64,
    /// How long to wait for the rows at most.
    #[arg(long, default_value_t = 60_000, value_name = "MS", help_heading = "What to look at")]
    pub settle_ms: u64,
    /// Send marked opens beside the load, this many a second, and report how long their rows take to be seen.
    /// Looking for them costs ClickHouse CPU time: leave it out when that is what is measured.
    #[arg(
        long, value_name = "PER_SECOND", num_args = 0..=1, default_missing_value = "5", requires = "clickhouse",
        help_heading = "What to look at"
    )]
    pub freshness: Option<f64>,
    /// Write the report as JSON to this file, or to standard output (and the text to standard error) for `-`.
    #[arg(long, value_name = "FILE", help_heading = "What to look at")]
    pub json: Option<PathBuf>,
    /// Write the report as one HTML page with plots to this file; it needs nothing else to be looked at.
    #[arg(long, value_name = "FILE", conflicts_with = "find_max", help_heading = "What to look at")]
    pub html: Option<PathBuf>,

    /// Search the highest rate that is held: double it until it fails, then bisect. Rows are not checked.
    ///
    /// A rate is held when every request is answered as it should be and the 99th percentile stays below --p99-ms.
    /// A step that the generator could not send on time is made again, up to three times; above a rate that was
    /// held it then bounds the search, since server and generator share the machine.
    #[arg(long, conflicts_with_all = ["clickhouse", "message"], help_heading = "Search")]
    pub find_max: bool,
    /// Seconds to hold each rate.
    #[arg(
        long,
        default_value_t = 5.0,
        value_name = "SECONDS",
        requires = "find_max",
        help_heading = "Search"
    )]
    pub hold: f64,
    /// The rate is held while the 99th percentile stays below this.
    #[arg(long, default_value_t = 10.0, value_name = "MS", requires = "find_max", help_heading = "Search")]
    pub p99_ms: f64,
}

impl RunOptions {
    /// Refuses what parses but makes no sense.
    pub fn check(&self) -> anyhow::Result<()> {
        let within = |name: &str, value: f64, min: f64, max: f64| -> anyhow::Result<()> {
            ensure!((min..=max).contains(&value), "--{name} {value}: expected {min} to {max}");
            Ok(())
        };
        within("rate", self.rate, 0.1, 1e6)?;
        within("duration", self.duration, 0.01, 86_400.0)?;
        within("warm-up", self.warm_up, 0.0, 3_600.0)?;
        within("hold", self.hold, 0.01, 3_600.0)?;
        within("p99-ms", self.p99_ms, 0.001, 60_000.0)?;
        within("bad-share", self.bad_share.unwrap_or(0.0), 0.0, 1.0)?;
        within("head-share", self.head_share.unwrap_or(0.0), 0.0, 1.0)?;
        within("fresh-share", self.fresh_share, 0.0, 1.0)?;
        within("recipients", f64::from(self.recipients), 1.0, 1e6)?;
        within("connections", self.connections as f64, 1.0, 20_000.0)?;
        within("threads", self.threads as f64, 1.0, 64.0)?;
        within("timeout-ms", self.timeout_ms as f64, 1.0, 600_000.0)?;
        within("watch-ms", self.watch_ms as f64, 0.0, 3_600_000.0)?;
        within("settle-ms", self.settle_ms as f64, 0.0, 3_600_000.0)?;
        within("message", self.message.unwrap_or(0) as f64, 0.0, 9e18)?;
        if let Some(per_second) = self.freshness {
            within("freshness", per_second, 0.1, 100.0)?;
            within("freshness times --duration", per_second * self.duration, 1.0, PROBES_MAX as f64)?;
        }
        ensure!(
            !self.find_max || self.shape == Shape::Steady,
            "--find-max holds each rate: expected --shape steady"
        );
        ensure!(self.path.as_ref().is_none_or(|path| path.starts_with('/')), "--path must start with `/`");
        Ok(())
    }

    /// The server, refused when it is not on this machine and nobody said it may be.
    pub fn target(&self) -> anyhow::Result<Target> {
        let (address, host) = resolve(&self.url)?;
        ensure!(
            address.ip().is_loopback() || self.allow_remote,
            "{address} is not this machine: load is sent elsewhere only with --allow-remote"
        );
        Ok(Target {
            address,
            host,
            connections: self.connections,
            timeout: Duration::from_millis(self.timeout_ms),
            any_status: self.path.is_some(),
        })
    }

    /// Bad tokens and HEADs among the requests.
    pub fn noise(&self) -> Noise {
        if self.path.is_some() {
            return Noise::default();
        }
        let blast = match self.shape {
            Shape::Steady => Noise::default(),
            Shape::Blast => Noise { bad_share: 0.02, head_share: 0.05 },
        };
        Noise {
            bad_share: self.bad_share.unwrap_or(blast.bad_share),
            head_share: self.head_share.unwrap_or(blast.head_share),
        }
    }

    /// The pages of metrics.
    pub fn pages(&self) -> anyhow::Result<Vec<Page>> {
        let page = |url: &String| resolve(url).map(|(address, host)| Page { address, host });
        self.metrics.iter().map(page).collect()
    }

    /// ClickHouse, if it is to be asked.
    pub fn clickhouse(&self) -> anyhow::Result<Option<ClickHouse>> {
        let Some(url) = &self.clickhouse else { return Ok(None) };
        let (address, _) = resolve(url)?;
        Ok(Some(ClickHouse {
            address,
            database: self.database.clone(),
            table: self.table.clone(),
            user: self.clickhouse_user.clone(),
            password: self.clickhouse_password.clone(),
        }))
    }
}

/// Address and `Host` header of an `http` URL.
pub(crate) fn resolve(url: &str) -> anyhow::Result<(SocketAddr, String)> {
    let uri: http::Uri = url.parse().with_context(|| format!("`{url}`: expected http://HOST:PORT"))?;
    let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        bail!("`{url}`: expected http://HOST:PORT");
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let mut found = (host, authority.port_u16().unwrap_or(80))
        .to_socket_addrs()
        .with_context(|| format!("failed to resolve `{host}`"))?;
    let address = found.next().with_context(|| format!("`{host}` has no address"))?;
    Ok((address, authority.as_str().to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn options(args: &[&str]) -> anyhow::Result<RunOptions> {
        let cli = Cli::try_parse_from([&["loadtest", "run"], args].concat())?;
        let Command::Run(options) = cli.command else { panic!("not a run") };
        options.check()?;
        Ok(*options)
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        let options =
            options(&["--keys", "k", "--clickhouse", "http://127.0.0.1:8123", "--freshness"]).unwrap();
        assert_eq!(options.freshness, Some(5.0));
        assert!(options.target().unwrap().address.ip().is_loopback());
        assert_eq!(options.clickhouse().unwrap().unwrap().table(), "`mailbeacon`.`events`");
    }

    #[test]
    fn what_is_refused() {
        for (args, expected) in [
            (&["--rate", "10"][..], "--keys"),
            (&["--path", "/", "--rate", "0"], "--rate 0: expected"),
            (&["--path", "/", "--fresh-share", "2"], "--fresh-share 2: expected 0 to 1"),
            (&["--path", "pixel"], "must start with"),
            (&["--path", "/", "--keys", "k"], "cannot be used"),
            (&["--keys", "k", "--freshness", "5"], "--clickhouse"),
            (&["--keys", "k", "--find-max", "--clickhouse", "http://127.0.0.1:8123"], "cannot be used"),
            (&["--path", "/", "--find-max", "--shape", "blast"], "expected --shape steady"),
            (&["--path", "/", "--warm-up", "99999"], "--warm-up 99999: expected"),
            (&["--keys", "k", "--bad-share", "1.5"], "--bad-share 1.5: expected 0 to 1"),
            (&["--keys", "k", "--mix", "open=x"], "not a whole number"),
        ] {
            let error = format!("{:#}", options(args).unwrap_err());
            assert!(error.contains(expected), "{args:?}: {error}");
        }
    }

    #[test]
    fn load_stays_on_this_machine() {
        let there = ["--path", "/", "--url", "http://192.0.2.1:80"];
        assert!(options(&there).unwrap().target().unwrap_err().to_string().contains("--allow-remote"));
        assert!(options(&[&there[..], &["--allow-remote"]].concat()).unwrap().target().is_ok());
        for url in ["https://127.0.0.1", "127.0.0.1:80", "http://"] {
            assert!(options(&["--path", "/", "--url", url]).unwrap().target().is_err(), "{url}");
        }
        let six = options(&["--path", "/", "--url", "http://[::1]:8080"]).unwrap().target().unwrap();
        assert_eq!((six.address.to_string().as_str(), six.host.as_str()), ("[::1]:8080", "[::1]:8080"));
    }
}
