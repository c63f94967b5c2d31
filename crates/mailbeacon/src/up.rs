//! `mailbeacon up`: the whole path of an event on one machine, on real parts, with one command.

use std::fs::{self, File, TryLockError};
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use event::{Kind, Mode, Position, Region};
use link::Link;
use local::engine::{self, Engine};
use local::kafka::{self as broker, Kafka};
use local::{Cache, geo};
use tokio_util::sync::CancellationToken;
use toml::Table;
use tracing::warn;

use crate::process::Process;
use crate::programs::{self, Origin, Program};
use crate::settings::{Settings, read_keys};
use crate::{api, keys, migrate};

/// A public address for the printed examples: it stands in the place data of every source.
const EXAMPLE_ADDRESS: &str = "81.2.69.160";

/// Where an analyst looks first; another port when this one is taken.
const CLICKHOUSE_PORT: u16 = 8123;

/// Where the other commands find what runs, in the data directory.
const SETTINGS_FILE: &str = "up.toml";

/// What `up` takes beside the settings.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of all state: keys, journal, ClickHouse, Kafka. A restart goes on from it.
    #[arg(long, default_value = "data", value_name = "DIR")]
    data: PathBuf,
    /// Put Apache Kafka between edge and consumer: one of our own, or the one at HOST:PORT.
    #[arg(long, value_name = "HOST:PORT", num_args = 0..=1, default_missing_value = "")]
    kafka: Option<String>,
    /// Brokers of our own Kafka.
    #[arg(long, default_value_t = 1, value_name = "N", requires = "kafka")]
    brokers: u16,
    /// Run without place data.
    #[arg(long)]
    no_geo: bool,
}

/// Starts everything, prints what to try, and runs until it is told to stop.
pub fn run(mut settings: Settings, args: &Args) -> anyhow::Result<()> {
    programs::private_dir(&args.data).with_context(|| format!("--data {}", args.data.display()))?;
    // Children start in a place of their own.
    let data = fs::canonicalize(&args.data)?;
    let _alone = lock(&data)?;
    at_home(&mut settings, &data)?;
    if args.kafka.is_none() && settings.edge.workers == 0 {
        // Sweeps are found among the visits of one part, and here a worker's journal is a part: with several of them a
        // scanner's visits to one recipient are spread. Kafka's parts are by recipient.
        settings.edge.workers = 1;
    }
    settings.consumer()?;
    let cache = Cache::default_dir()?;
    let helper = std::env::current_exe().context("failed to find the program itself")?;

    let parts: &[&'static str] = &["edge", "journal", "consumer", "api"];
    let process = Process::start(&settings, parts, &[edge::METRICS, consumer::METRICS, ::api::METRICS])?;
    let api_listener = bind_api(&mut settings)?;
    let listeners = programs::bind(&settings)?;
    settings.edge.listen = listeners[0].local_addr()?;
    settings.admin.listen = process.admin;
    if settings.site.base_url == Settings::default().site.base_url {
        settings.site.base_url = format!("http://{}", settings.edge.listen);
    }

    let engine = match settings.clickhouse.url.is_empty() {
        false => None,
        true => {
            let start = |http_port| {
                let options =
                    engine::EngineOptions::new(data.join("clickhouse"), helper.clone(), cache.clone());
                engine::start(engine::EngineOptions { http_port, ..options })
            };
            let port = free(CLICKHOUSE_PORT);
            let engine = start(port).or_else(|cause| match port {
                // Another took it between the look and the start, such as an `up` on another directory.
                Some(_) if free(CLICKHOUSE_PORT).is_none() => start(None),
                _ => Err(cause),
            });
            let engine = engine.context("failed to start ClickHouse")?;
            settings.clickhouse.url = engine.http_url();
            Some(engine)
        }
    };
    let broker = match args.kafka.as_deref() {
        None => None,
        Some("") => {
            let options = broker::KafkaOptions {
                brokers: usize::from(args.brokers),
                ..broker::KafkaOptions::new(data.join("kafka"), helper, cache.clone())
            };
            let broker = broker::start(options).context("failed to start Kafka")?;
            settings.kafka.brokers = broker.bootstrap();
            settings.kafka.replication = args.brokers.min(3);
            // Nobody else reads here, so a start after a kill need not wait until the broker gives the dead one up.
            if settings.consumer.instance.is_empty() {
                settings.consumer.instance = "up".to_owned();
            }
            Some(broker)
        }
        Some(elsewhere) => {
            settings.kafka.brokers = elsewhere.to_owned();
            None
        }
    };
    let with_kafka = args.kafka.is_some();
    if args.no_geo {
        settings.geo.off = true;
    } else if settings.geo.files.is_empty() {
        settings.geo.files = geo::dbip_city(&cache).context("no place data (run without: --no-geo)")?;
    }
    let tables = programs::tables(&settings)?;
    let store = Arc::new(settings.store()?);
    process.runtime.block_on(migrate::tables(&store))?;
    if with_kafka {
        migrate::topics(&settings)?;
    }

    let ended = CancellationToken::new();
    let journals = programs::open_journals(&settings)?;
    let mut running: Vec<Program> = Vec::new();
    running.push(programs::start_edge(&settings, &process, &ended, listeners, journals.logs)?);
    let origin = if with_kafka {
        running.push(programs::start_shipper(&settings, &ended, journals.readers)?);
        Origin::Kafka
    } else {
        Origin::Journal(journals.readers)
    };
    // Finished in this order: the API's sends are safe before the consumer ends.
    running.push(api::start(&settings, &process, &ended, store.clone(), api_listener)?);
    process.runtime.spawn(programs::refresh_send_times(store.clone(), Arc::new(settings.keys()?)));
    running.push(programs::start_consumer(&settings, &process, &ended, store, tables, origin)?);
    let found = leave_settings(&settings, &data)?;
    greet(&settings, with_kafka, &found)?;

    process.wait(&ended);
    let outcome = programs::finish(running);
    // The consumer has written what it had, so nothing needs them any more. Ended cleanly, and not as dropping them
    // would: the next start of a killed broker waits until its cluster has given the dead one up.
    let broker_ended = broker.map_or(Ok(()), Kafka::stop);
    let engine_ended = engine.map_or(Ok(()), Engine::stop);
    for cause in [broker_ended, engine_ended].into_iter().filter_map(Result::err) {
        warn!(%cause, "failed to end a part cleanly, it is killed");
    }
    process.end();
    outcome
}

/// Keeps a second `up` away from the directory, in which it would overwrite what the first one's parts run on. The
/// lock goes with the process.
fn lock(data: &Path) -> anyhow::Result<File> {
    let path = data.join("lock");
    let file = File::create(&path).with_context(|| format!("failed to create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("--data {}: another `mailbeacon up` runs on it", data.display())
        }
        Err(TryLockError::Error(cause)) => {
            Err(cause).with_context(|| format!("failed to lock {}", path.display()))
        }
    }
}

/// The API's usual port; another when this one is taken, such as by an `up` on another directory.
fn bind_api(settings: &mut Settings) -> anyhow::Result<TcpListener> {
    let is_ours_to_choose = settings.api.listen == Settings::default().api.listen;
    let listener = api::bind(settings).or_else(|cause| match is_ours_to_choose {
        true => {
            settings.api.listen.set_port(0);
            api::bind(settings)
        }
        false => Err(cause),
    })?;
    settings.api.listen = listener.local_addr()?;
    Ok(listener)
}

fn free(port: u16) -> Option<u16> {
    TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(port)
}

/// Puts what the settings leave open into the data directory, on this machine.
fn at_home(settings: &mut Settings, data: &Path) -> anyhow::Result<()> {
    let untouched = Settings::default();
    if settings.journal.dir == untouched.journal.dir {
        settings.journal.dir = data.join("journal");
    }
    if settings.keys.file == untouched.keys.file {
        settings.keys.file = data.join("keys.toml");
        if !settings.keys.file.exists() {
            keys::create(&settings.keys.file)?;
        }
    }
    if settings.api.keys_file == untouched.api.keys_file {
        settings.api.keys_file = data.join("api-keys.toml");
        api::create_access(&settings.api.keys_file)?;
    }
    if settings.edge.listen == untouched.edge.listen {
        settings.edge.listen = "127.0.0.1:8080".parse().expect("an address");
    }
    if settings.edge.trusted_proxies.is_empty() {
        // So that the examples, the load test and a proxy on this machine can say who the client is.
        settings.edge.trusted_proxies =
            vec!["127.0.0.0/8".parse().expect("a network"), "::1/128".parse().expect("a network")];
    }
    if settings.kafka.partitions == untouched.kafka.partitions {
        settings.kafka.partitions = 4;
    }
    match settings.kafka.brokers.is_empty() {
        true => Ok(()),
        false => bail!("kafka.brokers is set: say `up --kafka {}`", settings.kafka.brokers),
    }
}

/// Leaves a configuration by which the other commands find what runs here: its ports are new at each start. Secrets
/// are not in it: who set them sets them again.
fn leave_settings(settings: &Settings, data: &Path) -> anyhow::Result<PathBuf> {
    let path = data.join(SETTINGS_FILE);
    let mut table = Table::try_from(settings)?;
    for (section, key) in [("clickhouse", "password"), ("kafka", "properties")] {
        if let Some(section) = table.get_mut(section).and_then(|section| section.as_table_mut()) {
            section.remove(key);
        }
    }
    let text =
        format!("# Written by `mailbeacon up` at each start, so that other commands find it.\n{table}");
    fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
    Ok(path)
}

/// Prints where everything is and three requests and a query to try.
fn greet(settings: &Settings, with_kafka: bool, found: &Path) -> anyhow::Result<()> {
    let keys = read_keys(&settings.keys.file)?;
    let site = link::Site::new(&settings.site.base_url).context("site.base_url")?;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let example = |kind, number, target: &str| -> anyhow::Result<String> {
        let link = Link {
            kind,
            workspace: 1,
            message: keys.message(1, "hello"),
            recipient: keys.recipient(1, "recipient-1"),
            link: number,
            target: target.to_owned(),
            sent_at_ms: now_ms,
            position: if kind == Kind::Open { Position::Top } else { Position::Unspecified },
            mode: Mode::Full,
            region: Region::Other,
            trap: false,
        };
        Ok(site.url(&keys, &link)?)
    };
    let address: IpAddr = EXAMPLE_ADDRESS.parse().expect("an address");
    let agent = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                 Mobile/15E148";
    let curl = format!("curl -si -A '{agent}' -H 'X-Forwarded-For: {address}'");
    let clickhouse = &settings.clickhouse.url;
    let database = &settings.clickhouse.database;
    println!(
        "\nMailbeacon is up{}.\n\
         \x20 edge        {}\n\
         \x20 api         http://{}  /openapi.json\n\
         \x20 admin       http://{}/metrics  /healthz  /readyz\n\
         \x20 clickhouse  {clickhouse}  database {database}\n\
         {}\
         \x20 keys        {}\n\
         \x20 settings    {}  for other commands: --config FILE\n\n\
         An open, a click and a download to try:\n\
         \x20 {curl} {}\n\
         \x20 {curl} {}\n\
         \x20 {curl} {}\n\n\
         What came of them, a second later:\n\
         \x20 curl -s '{clickhouse}/?database={database}' --data-binary \"SELECT received_at, kind, device, client, \
         country, city, verdict, target FROM events ORDER BY received_at DESC LIMIT 10 FORMAT PrettyCompact\"\n\n\
         Ctrl-C drains and ends; the same command goes on from where it was.\n",
        if with_kafka { ", with Kafka" } else { "" },
        settings.site.base_url,
        settings.api.listen,
        settings.admin.listen,
        if with_kafka {
            format!("  kafka       {}  topic {}\n", settings.kafka.brokers, settings.kafka.topic)
        } else {
            String::new()
        },
        settings.keys.file.display(),
        found.display(),
        example(Kind::Open, 0, "")?,
        example(Kind::Click, 1, "https://example.com/offer")?,
        example(Kind::Download, 2, "https://example.com/guide.pdf")?,
    );
    Ok(())
}
