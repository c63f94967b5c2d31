//! `mailbeacon api`: the HTTP API over the inlet and the store, and keys for it.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use api::{Access, Advice, Backing, Days, Problem, Refused, Send, Unavailable, Wanted};
use arc_swap::ArcSwap;
use link::Site;
use send_time::policy::Quiet;
use send_time::{Options, Weekday};
use store::Store;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::import::line::{Teller, Wrong};
use crate::inlet::Inlet;
use crate::process::Process;
use crate::programs::{self, Program};
use crate::send_time::advisor::Advisor;
use crate::send_time::plan::{Plan, Wish, plan};
use crate::send_time::{Why, instant};
use crate::settings::Settings;
use crate::stdout::say;

/// For `--help`.
pub const EXAMPLES: &str = "\
  mailbeacon api new-key --workspace 1          prints a key, and the line for api.keys_file
  curl -H 'Authorization: Bearer KEY' -H 'Content-Type: application/json' http://127.0.0.1:8090/v1/links \\
    -d '{\"kind\": \"click\", \"recipient\": \"customer-42\", \"message\": \"spring\", \"target\": \"https://example.com/\"}'
  curl http://127.0.0.1:8090/openapi.json       every path, field and error";

/// What to do beside serving.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a key and print it, once: only its digest is kept, in the line to put into api.keys_file.
    NewKey {
        /// The workspace that the key is for.
        #[arg(long)]
        workspace: u32,
    },
}

/// How often the keys' file is looked at.
const ACCESS_LOOK: Duration = Duration::from_secs(2);
/// How long sends may wait for others to be put in, before they are refused.
const INLET_WAIT: Duration = Duration::from_secs(10);
/// The largest file of keys.
const ACCESS_BYTES_MAX: u64 = 1 << 20;

/// Serves, or makes a key.
pub fn run(settings: &Settings, args: &Args) -> anyhow::Result<()> {
    match &args.command {
        None => serve(settings),
        Some(Command::NewKey { workspace }) => print_key(*workspace, &settings.api.keys_file),
    }
}

fn print_key(workspace: u32, file: &Path) -> anyhow::Result<()> {
    let new = api::new_key();
    say(|out| {
        writeln!(out, "key, shown this once:\n  {}\n", new.key)?;
        writeln!(
            out,
            "line for api.keys_file = {}:\n  {workspace} = [\"{}\"]\n",
            file.display(),
            new.digest
        )?;
        writeln!(out, "If workspace {workspace} has a line there already, put the digest into its list.")
    })
}

fn serve(settings: &Settings) -> anyhow::Result<()> {
    // Everything that can be wrong is looked at before a port is bound.
    settings.keys()?;
    Site::new(&settings.site.base_url).context("site.base_url")?;
    let file = &settings.api.keys_file;
    if read_access(file)?.is_empty() {
        bail!(
            "api.keys_file = {}: holds no key, expected one at least (`mailbeacon api new-key`)",
            file.display()
        );
    }
    let store = Arc::new(settings.store()?);
    let process = Process::start(settings, &["api"], &[api::METRICS])?;
    let listener = bind(settings)?;
    let listen = listener.local_addr()?;
    let ended = CancellationToken::new();
    let program = start(settings, &process, &ended, store, listener)?;
    info!(%listen, admin = %process.admin, "api is up");
    process.wait(&ended);
    let outcome = programs::finish([program]);
    process.end();
    outcome
}

/// Binds the API's listener.
pub fn bind(settings: &Settings) -> anyhow::Result<TcpListener> {
    let listen = settings.api.listen;
    TcpListener::bind(listen).with_context(|| format!("failed to listen on api.listen = {listen}"))
}

/// Starts the API.
pub fn start(
    settings: &Settings,
    process: &Process,
    ended: &CancellationToken,
    store: Arc<Store>,
    listener: TcpListener,
) -> anyhow::Result<Program> {
    let keys = Arc::new(ArcSwap::from_pointee(settings.keys()?));
    process.follow_keys(settings.keys.file.clone(), keys.clone());
    let access = Arc::new(ArcSwap::from_pointee(read_access(&settings.api.keys_file)?));
    process.runtime.spawn(follow_access(settings.api.keys_file.clone(), access.clone()));
    let advisor = Arc::new(Advisor::new(store, keys.clone()));
    let recorder = Recorder {
        settings: settings.clone(),
        places: Semaphore::new(settings.api.requests_max.div_ceil(2)),
        inlet: Mutex::new(None),
    };
    let backing = Backing {
        access,
        keys: keys.clone(),
        site: Site::new(&settings.site.base_url).context("site.base_url")?,
        record: Box::new(move |workspace, sends| {
            let teller = Teller::new(keys.load_full(), workspace, jiff::Timestamp::now().as_millisecond());
            recorder.record(&teller, sends)
        }),
        ask: Box::new(move |workspace, recipients, wanted| {
            Box::pin(ask(advisor.clone(), workspace, recipients, wanted))
        }),
    };
    listener.set_nonblocking(true)?;
    let (config, health, runtime) =
        (settings.api.clone(), process.health.clone(), process.runtime.handle().clone());
    Program::start("api", ended, move |stop| {
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            health.set("api", Ok(()));
            api::serve(config, listener, backing, stop).await;
            Ok(())
        })
    })
}

/// The way onto the path. One at a time: a producer's acknowledgements are for whoever asks for them.
struct Recorder {
    settings: Settings,
    /// Half of the requests at a time: links are minted while Kafka is away and sends wait for it.
    places: Semaphore,
    /// Opened when first needed, so that a Kafka that is away is no reason not to mint links.
    inlet: Mutex<Option<Inlet>>,
}

impl Recorder {
    fn record(&self, teller: &Teller, sends: &[Send]) -> Result<Vec<Option<Problem>>, Unavailable> {
        let (mut events, mut problems) = (Vec::with_capacity(sends.len()), Vec::with_capacity(sends.len()));
        for send in sends {
            let line = serde_json::to_string(send).map_err(|_| Unavailable)?;
            problems.push(match teller.event(&line) {
                Ok(event) => {
                    events.push(event);
                    None
                }
                Err(Wrong::Field { name, expected, .. }) => {
                    Some(Problem { field: name, message: format!("expected {expected}") })
                }
                Err(Wrong::Line(_)) => {
                    Some(Problem { field: "time", message: "expected RFC 3339".to_owned() })
                }
            });
        }
        if !events.is_empty() {
            let _place = self.places.try_acquire().map_err(|_| Unavailable)?;
            let begun = Instant::now();
            let mut place = self.inlet.lock().unwrap_or_else(PoisonError::into_inner);
            if begun.elapsed() > INLET_WAIT {
                // Whoever had it waited in vain, and the next would as well, for clients that have left.
                return Err(Unavailable);
            }
            // Taken out, and put back only when all went well: what an acknowledgement that comes late is for could
            // not be told from the next round's.
            let put = match place.take() {
                Some(inlet) => Ok(inlet),
                None => Inlet::open(&self.settings),
            }
            .and_then(|inlet| inlet.put(&events).map(|()| inlet));
            match put {
                Ok(inlet) => *place = Some(inlet),
                Err(cause) => {
                    error!(cause = format!("{cause:#}"), "sends are not taken, the client was told so");
                    return Err(Unavailable);
                }
            }
        }
        Ok(problems)
    }
}

async fn ask(
    advisor: Arc<Advisor>,
    workspace: u32,
    recipients: Vec<u64>,
    wanted: Wanted,
) -> Result<Vec<Advice>, Unavailable> {
    let unavailable = |cause: anyhow::Error| {
        warn!(cause = format!("{cause:#}"), "send times cannot be worked out");
        Unavailable
    };
    let weekday = match wanted.days {
        Days::Any => Weekday::Any,
        Days::Weekday => Weekday::Weekday,
        Days::Weekend => Weekday::Weekend,
    };
    let quiet = wanted.quiet.map(|[from_hour, until_hour]| Quiet { from_hour, until_hour });
    let options = Options { weekday, quiet };
    let wish = wanted.message.map(|message| Wish {
        message,
        after_ms: wanted.after_ms.unwrap_or_else(|| jiff::Timestamp::now().as_millisecond()),
        quiet,
        explore: wanted.explore,
    });
    let mut all = Vec::with_capacity(recipients.len());
    let mut plans = Vec::new();
    for recipient in recipients {
        let told = advisor.ask(workspace, recipient, &options).await.map_err(unavailable)?;
        let windows = match told {
            Ok(answer) => answer.windows.map_err(Why::Refused),
            Err(why) => Err(why),
        };
        all.push(match windows {
            Ok(windows) => {
                let plan = wish.as_ref().and_then(|wish| plan(recipient, &windows, wish));
                plans.push((recipient, plan));
                let windows = windows.into_iter().map(window).collect();
                Advice { windows, plan: plan.map(planned), refused: None }
            }
            Err(why) => {
                let refused = Refused { reason: why.as_str(), message: why.in_words() };
                Advice { windows: Vec::new(), plan: None, refused: Some(refused) }
            }
        });
    }
    if let Some(wish) = &wish {
        advisor.keep_explorations(workspace, wish, &plans).await.map_err(unavailable)?;
    }
    Ok(all)
}

fn planned(plan: Plan) -> api::Plan {
    let Plan { send_at_ms, explored, propensity, .. } = plan;
    api::Plan { send_at: instant(send_at_ms), explored, propensity }
}

fn window(window: send_time::Window) -> api::Window {
    api::Window {
        weekday: match window.weekday {
            Weekday::Any => None,
            Weekday::Weekday => Some("weekday"),
            Weekday::Weekend => Some("weekend"),
        },
        start_hour: window.start_hour,
        end_hour: window.end_hour,
        time_zone: window.time_zone,
        p_open_1h: window.p_open_1h,
        lift: window.lift,
        confidence: window.confidence,
        beats_hour: window.beats_hour,
        observed: window.observed,
        expected: window.expected,
        level: window.level.as_str(),
        reasons: window.reasons,
    }
}

/// Makes the keys' file, without a key, where there is none.
pub fn create_access(file: &Path) -> anyhow::Result<()> {
    let text =
        "# Who may use the API: `mailbeacon api new-key --workspace N` makes a key and a line for here.\n";
    let made = fs::OpenOptions::new().write(true).create_new(true).open(file);
    match made.and_then(|mut file| file.write_all(text.as_bytes())) {
        Err(cause) if cause.kind() != ErrorKind::AlreadyExists => {
            Err(cause).with_context(|| format!("failed to create api.keys_file = {}", file.display()))
        }
        _ => Ok(()),
    }
}

fn read_access(file: &Path) -> anyhow::Result<Access> {
    let what = || format!("api.keys_file = {} (make a key with `mailbeacon api new-key`)", file.display());
    let mut text = String::new();
    let open = fs::File::open(file).with_context(what)?;
    open.take(ACCESS_BYTES_MAX + 1).read_to_string(&mut text).with_context(what)?;
    if text.len() as u64 > ACCESS_BYTES_MAX {
        bail!("{}: expected at most {ACCESS_BYTES_MAX} bytes", what());
    }
    Access::from_toml(&text).with_context(what)
}

/// Keeps who may ask as the file is: a key that is taken out opens nothing within seconds.
async fn follow_access(file: PathBuf, access: Arc<ArcSwap<Access>>) {
    let look = || -> Option<(SystemTime, u64)> {
        let metadata = fs::metadata(&file).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    // Nothing at first: a change between the start's reading and here is seen.
    let mut seen = None;
    loop {
        let now = look();
        if now.is_some() && now != seen {
            match read_access(&file) {
                Ok(changed) => {
                    access.store(Arc::new(changed));
                    info!("api keys read");
                }
                Err(cause) => warn!(cause = format!("{cause:#}"), "api keys not read, the old ones stay"),
            }
            seen = now;
        }
        tokio::time::sleep(ACCESS_LOOK).await;
    }
}
