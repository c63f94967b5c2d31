//! Mailbeacon: the one binary.

mod api;
mod assets;
mod dead_letters;
mod doctor;
mod import;
mod inlet;
mod keys;
mod layers;
mod ledger;
mod link_command;
mod migrate;
mod process;
mod programs;
mod recipient;
mod send_time;
mod settings;
mod stdout;
mod table;
mod up;
mod verdict;
mod when;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::process::Process;
use crate::programs::Origin;
use crate::settings::Settings;

/// A pipeline for e-mail engagement: pixels, links and downloads, to ClickHouse, each event exactly once.
///
/// Settings come from a file (--config), then from the environment (MAILBEACON_SECTION_KEY, for example
/// MAILBEACON_EDGE_LISTEN), then from flags; the later one wins. `mailbeacon config` prints what came of them.
#[derive(Debug, Parser)]
#[command(name = "mailbeacon", version, max_term_width = 110)]
struct Arguments {
    /// Configuration file (TOML). deploy/mailbeacon.toml has every setting with its default.
    #[arg(long, global = true, env = "MAILBEACON_CONFIG", value_name = "FILE", help_heading = "Settings")]
    config: Option<PathBuf>,
    /// One setting, over the file and the environment. May be given more than once.
    #[arg(long = "set", global = true, value_name = "SECTION.KEY=VALUE", help_heading = "Settings")]
    set: Vec<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on this machine: edge, journal, consumer, a ClickHouse engine, place data.
    Up(up::Args),
    /// Answer pixels, links and downloads, and ship what they say to Kafka.
    Edge,
    /// Take events from Kafka and write them to ClickHouse.
    Consume,
    /// Answer sending applications over HTTP: links, messages, sends, send times. Or make a key for one.
    #[command(after_help = api::EXAMPLES)]
    Api(api::Args),
    /// Create or update topics and tables, and say what was done.
    Migrate,
    /// Check the configuration and everything it points at, and say what is wrong.
    Doctor,
    /// Show the lists and databases that events are enriched from, or fetch newer ones.
    #[command(after_help = assets::EXAMPLES)]
    Assets(assets::Args),
    /// List, show or replay what could not be stored.
    #[command(subcommand, after_help = dead_letters::EXAMPLES)]
    DeadLetters(dead_letters::Command),
    /// Say where every accepted event is, and fail when one is lost or stored twice.
    #[command(after_help = ledger::EXAMPLES)]
    Ledger(ledger::Args),
    /// Print the settings as they come out of file, environment and flags; secrets are not shown.
    Config,
    /// Make or rotate the key ring that signs links.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Mint tracked URLs, or instrument a whole message.
    #[command(subcommand)]
    Link(link_command::Command),
    /// Take in sends and history, as JSON lines.
    #[command(after_help = import::EXAMPLES)]
    Import(import::Args),
    /// When to write to a recipient, or why there is no answer.
    #[command(after_help = send_time::EXAMPLES)]
    SendTime(send_time::Args),
    /// Note that recipients want no send times, or want them again.
    #[command(subcommand, after_help = recipient::EXAMPLES)]
    Recipient(recipient::Command),
    /// Hold the rules for people, machines and devices to visits whose answer is known.
    #[command(subcommand)]
    Verdict(verdict::Command),
}

fn main() -> ExitCode {
    // The hidden form in which the program starts its own ClickHouse and Kafka: see `local::child_main`.
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == local::CHILD_SUBCOMMAND) {
        return local::child_main(args);
    }
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("mailbeacon: {cause:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    if let Command::Verdict(verdict::Command::Score(args)) = &arguments.command {
        // The rules are built in: a configuration that is wrong, or missing, is no concern of theirs.
        return verdict::score(args);
    }
    let settings = Settings::read(arguments.config.as_deref(), &arguments.set)?;
    match &arguments.command {
        Command::Up(args) => up::run(settings, args),
        Command::Edge => run_edge(&settings),
        Command::Consume => run_consumer(&settings),
        Command::Api(args) => api::run(&settings, args),
        Command::Migrate => migrate::run(&settings),
        Command::Doctor => doctor::run(&settings),
        Command::Assets(args) => assets::run(&settings, args),
        Command::DeadLetters(command) => dead_letters::run(&settings, command),
        Command::Ledger(args) => ledger::run(&settings, args),
        Command::Config => {
            print!("{}", toml::to_string(&settings)?);
            Ok(())
        }
        Command::Keys(command) => keys::run(&settings.keys.file, command),
        Command::Link(command) => link_command::run(&settings, command),
        Command::Import(args) => import::run(&settings, args),
        Command::SendTime(args) => send_time::run(&settings, args),
        Command::Recipient(command) => recipient::run(&settings, command),
        Command::Verdict(command) => verdict::run(&settings, command),
    }
}

/// The edge and its shipper. Kafka may be away: events wait in the journal.
fn run_edge(settings: &Settings) -> anyhow::Result<()> {
    if settings.kafka.brokers.is_empty() {
        bail!("kafka.brokers is empty: expected host:port (without Kafka, `mailbeacon up` runs everything)");
    }
    // Everything that can be wrong is looked at before a port is bound.
    settings.keys()?;
    let journals = programs::open_journals(settings)?;
    let process = Process::start(settings, &["edge", "journal"], &[edge::METRICS])?;
    let listeners = programs::bind(settings)?;
    let listen = listeners[0].local_addr()?;
    let ended = CancellationToken::new();
    let edge = programs::start_edge(settings, &process, &ended, listeners, journals.logs)?;
    let shipper = programs::start_shipper(settings, &ended, journals.readers)?;
    info!(%listen, admin = %process.admin, "edge is up");
    process.wait(&ended);
    let outcome = programs::finish([edge, shipper]);
    process.end();
    outcome
}

/// The consumer.
fn run_consumer(settings: &Settings) -> anyhow::Result<()> {
    if settings.kafka.brokers.is_empty() {
        bail!("kafka.brokers is empty: expected host:port (without Kafka, `mailbeacon up` runs everything)");
    }
    if settings.clickhouse.url.is_empty() {
        bail!(
            "clickhouse.url is empty: expected an HTTP or HTTPS URL (`mailbeacon up` runs an engine of its own)"
        );
    }
    settings.consumer()?;
    let tables = programs::tables(settings)?;
    let store = Arc::new(settings.store()?);
    let process = Process::start(settings, &["consumer"], &[consumer::METRICS])?;
    programs::check_schema(&process, &store)?;
    let ended = CancellationToken::new();
    let consumer = programs::start_consumer(settings, &process, &ended, store, tables, Origin::Kafka)?;
    info!(admin = %process.admin, "consumer is up");
    process.wait(&ended);
    let outcome = programs::finish([consumer]);
    process.end();
    outcome
}
