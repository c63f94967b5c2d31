//! `mailbeacon send-time`: when to write to a recipient, or to each, or why there is no answer.
//!
//! One recipient is answered for from their own events of this moment, and from what was learned of the others: every
//! day by `up`, else by `--refresh`, or here when that is too old. What was reclassified, moved or withdrawn meanwhile
//! is so in the answer.

pub mod advisor;
mod backtest;
mod kept;
mod person;
pub mod plan;
mod show;
mod standing;
mod workspace;

use std::cell::Cell;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use link::Keys;
use send_time::{Options, Refused, Weekday, Window};
use store::{Exploration, Store};

use self::advisor::{Advisor, Progress, refresh};
use self::plan::{Plan, QuietHours, Wish, explore_share, plan};
pub use self::show::{Why, instant};
use self::workspace::Workspace;
use crate::settings::Settings;
use crate::stdout::say;

/// For `--help`.
pub const EXAMPLES: &str = r#"A window is of the recipient's own clock, with its evidence. For one mail of a campaign, the instant
at which to send it:

  mailbeacon send-time customer-42
  mailbeacon send-time customer-42 --message spring --quiet 21-8 --explore 0.05
  mailbeacon send-time --all --message spring --quiet 21-8 > spring.jsonl

With --message each answer has `send_at`, spread over the window and the same each time. A share of
--explore goes out at an hour drawn evenly of those that are not quiet, so that other hours are
seen too: `explored` says which, `propensity` how likely this mail was to go out in its hour, and
both are kept in the table `explorations`.

  mailbeacon send-time --refresh

learns what people share and writes the table behind recommended_send_times anew, for all
recipients; `up` does so every day. Nobody is answered for who is in the EU, the EEA or the UK, of
whom nobody knows where they are, or who withdrew (mailbeacon recipient withdraw).

  mailbeacon send-time backtest
  mailbeacon send-time backtest --hold-out 56 --json

recommends from what was before the last weeks, and judges by the mails that were sent in them. A
recipient of that name is asked about by mailbeacon send-time -- backtest."#;

/// Whom to ask about.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("whom").required(true))]
#[command(subcommand_negates_reqs = true, disable_help_subcommand = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The recipient, as the sending application names it when it mints links.
    #[arg(group = "whom")]
    recipient: Option<String>,
    /// All recipients, one a line, as JSON: `recipient` is the key in `events`.
    #[arg(long, group = "whom")]
    all: bool,
    /// Learn from all recipients, and keep the send time of each in `recommended_send_times`.
    #[arg(long, group = "whom", conflicts_with_all = ["json", "days", "at", "quiet", "message"])]
    refresh: bool,
    /// The answer as one line of JSON.
    #[arg(long, global = true)]
    json: bool,
    /// The sending application's workspace: 1 when not given, and all of them with --refresh.
    #[arg(long, global = true)]
    workspace: Option<u32>,
    /// For which days.
    #[arg(long, global = true, value_enum, default_value_t = Days::Any)]
    days: Days,
    /// As things stood at this time (RFC 3339): later events are not read. Now, when not given.
    #[arg(long, global = true, value_name = "TIME")]
    at: Option<jiff::Timestamp>,
    /// Hours of the recipient's clock in which nothing is sent, such as 21-8.
    #[arg(long, global = true, value_name = "FROM-UNTIL")]
    quiet: Option<QuietHours>,
    /// Say when to send a mail of this message.
    #[arg(long, value_name = "NAME")]
    message: Option<String>,
    /// Share of the mails that go out at an hour drawn evenly: 0 to 0.5.
    #[arg(long, requires = "message", default_value = "0", value_parser = explore_share, value_name = "SHARE")]
    explore: f64,
    /// Not before this time (RFC 3339); now, or --at, when not given.
    #[arg(long, requires = "message", value_name = "TIME")]
    after: Option<jiff::Timestamp>,
}

/// What else to ask.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// What the recommended windows would have been worth in the last weeks, by the mails that were sent.
    Backtest(backtest::Args),
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Days {
    Any,
    Weekday,
    Weekend,
}

/// Providers whose users are no company, and share no habits.
const FREE_MAIL: [&str; 40] = [
    "gmail.com",
    "googlemail.com",
    "yahoo.com",
    "yahoo.ca",
    "yahoo.co.in",
    "yahoo.co.jp",
    "yahoo.com.au",
    "yahoo.com.br",
    "yahoo.com.mx",
    "ymail.com",
    "rocketmail.com",
    "outlook.com",
    "outlook.com.br",
    "outlook.jp",
    "hotmail.com",
    "hotmail.ca",
    "hotmail.com.br",
    "hotmail.co.jp",
    "live.com",
    "live.com.au",
    "live.com.mx",
    "msn.com",
    "icloud.com",
    "me.com",
    "mac.com",
    "aol.com",
    "proton.me",
    "protonmail.com",
    "pm.me",
    "mail.com",
    "gmx.com",
    "fastmail.com",
    "zoho.com",
    "yandex.com",
    "qq.com",
    "163.com",
    "126.com",
    "naver.com",
    "rediffmail.com",
    "uol.com.br",
];

fn free_mail(keys: &Keys, workspace: u32) -> [u64; FREE_MAIL.len()] {
    FREE_MAIL.map(|domain| keys.domain(workspace, domain))
}

/// Answers.
pub fn run(settings: &Settings, args: &Args) -> anyhow::Result<()> {
    let keys = settings.keys()?;
    let workspace = args.workspace.unwrap_or(1);
    let now = jiff::Timestamp::now();
    let quiet = args.quiet.map(|QuietHours(quiet)| quiet);
    let after = args.after.or(args.at).unwrap_or(now);
    let wish = args.message.as_ref().map(|message| Wish {
        message: keys.message(workspace, message),
        after_ms: after.as_millisecond(),
        quiet,
        explore: args.explore,
    });
    let weekday = match args.days {
        Days::Any => Weekday::Any,
        Days::Weekday => Weekday::Weekday,
        Days::Weekend => Weekday::Weekend,
    };
    let asked = Asked {
        store: Arc::new(settings.store()?),
        workspace,
        at_ms: args.at.map(jiff::Timestamp::as_millisecond),
        now_ms: now.as_millisecond(),
        options: Options { weekday, quiet },
        wish,
        keys: Arc::new(keys),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Some(Command::Backtest(held_out)) = &args.command {
        if args.recipient.is_some() || args.all || args.refresh || args.message.is_some() {
            bail!("backtest is of all recipients: expected no recipient, --all, --refresh or --message");
        }
        return runtime.block_on(backtest::run(&asked, held_out, args.json));
    }
    if args.refresh {
        return runtime.block_on(asked.refresh(args.workspace));
    }
    match &args.recipient {
        Some(name) => {
            let recipient = asked.keys.recipient(workspace, name);
            runtime.block_on(asked.one(recipient, args.json))
        }
        None => {
            let mut out = BufWriter::new(io::stdout().lock());
            match runtime.block_on(asked.all(&mut out)) {
                Err(cause) if is_left(&cause) => Ok(()),
                outcome => outcome,
            }
        }
    }
}

/// Whether the reader of our output has seen enough.
fn is_left(cause: &anyhow::Error) -> bool {
    cause.downcast_ref::<io::Error>().is_some_and(|cause| cause.kind() == ErrorKind::BrokenPipe)
}

/// What is asked, whoever it is about.
struct Asked {
    store: Arc<Store>,
    keys: Arc<Keys>,
    workspace: u32,
    /// None for now.
    at_ms: Option<i64>,
    now_ms: i64,
    options: Options,
    wish: Option<Wish>,
}

impl Asked {
    async fn read(&self) -> anyhow::Result<Workspace> {
        let free = free_mail(&self.keys, self.workspace);
        let at_ms = self.at_ms.unwrap_or(self.now_ms);
        Workspace::read(&self.store, self.workspace, at_ms, |domain| free.contains(&domain), |_| {})
            .await
            .context("failed to read what recipients were sent and did")
    }

    async fn one(&self, recipient: u64, json: bool) -> anyhow::Result<()> {
        let answer = match self.at_ms {
            None => {
                let keys = Arc::new(ArcSwap::new(self.keys.clone()));
                let advisor = Advisor::new(self.store.clone(), keys);
                advisor.ask(self.workspace, recipient, &self.options).await?
            }
            // As things stood then, so from what others did until then.
            Some(_) => self.read().await?.of(recipient, &self.options),
        };
        let plan = answer.as_ref().ok().and_then(|answer| self.plan(recipient, &answer.windows));
        say(|out| match &answer {
            Err(why) if json => show::line(out, recipient, Err(*why), None),
            Err(why) => show::refusal(out, *why),
            Ok(answer) if json => show::line(out, recipient, told(&answer.windows), plan),
            Ok(answer) => show::answer(out, answer, plan),
        })?;
        self.keep(&[(recipient, plan)]).await
    }

    /// Everybody with a key of their own, those who are refused first.
    async fn all(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let all = self.read().await?;
        for (recipient, why) in &all.refused {
            show::line(out, *recipient, Err(*why), None)?;
        }
        let mut plans = Vec::new();
        for place in 0..all.len() {
            let answer = all.answer(place, &self.options);
            let plan = self.plan(answer.recipient, &answer.windows);
            show::line(out, answer.recipient, told(&answer.windows), plan)?;
            plans.push((answer.recipient, plan));
            if plans.len() == PLANS_AT_ONCE || place + 1 == all.len() {
                self.keep(&plans).await?;
                plans.clear();
            }
        }
        Ok(out.flush()?)
    }

    fn plan(&self, recipient: u64, windows: &Result<Vec<Window>, Refused>) -> Option<Plan> {
        plan(recipient, windows.as_ref().ok()?, self.wish.as_ref()?)
    }

    async fn keep(&self, plans: &[(u64, Option<Plan>)]) -> anyhow::Result<()> {
        let Some(wish) = &self.wish else { return Ok(()) };
        keep_explorations(&self.store, self.workspace, wish, plans).await
    }

    /// Learns one workspace anew, or all of them.
    async fn refresh(&self, only: Option<u32>) -> anyhow::Result<()> {
        let progress = on_stderr();
        let workspaces = match only {
            Some(workspace) => vec![workspace],
            None => self.store.workspaces().await.context("failed to read which workspaces there are")?,
        };
        for workspace in workspaces {
            let begun = Instant::now();
            let all = refresh(&self.store, &self.keys, workspace, self.now_ms, &progress).await?;
            let (seconds, recipients) = (begun.elapsed().as_secs_f64(), all.len());
            let (refused, events) = (all.refused.len(), all.events);
            say(|out| {
                writeln!(
                    out,
                    "workspace {workspace}: {recipients} recipients, {refused} refused, from {events} events, \
                     in {seconds:.1} s"
                )
            })?;
        }
        Ok(())
    }
}

/// Shows progress now and then.
fn on_stderr() -> impl Fn(Progress) {
    let to_terminal = io::stderr().is_terminal();
    let shown = Cell::new(Instant::now());
    move |progress| {
        if shown.get().elapsed() >= SHOW_EVERY {
            shown.set(Instant::now());
            let end = if to_terminal { "\r" } else { "\n" };
            match progress {
                Progress::Read { recipients } => eprint!("{recipients} recipients read{end}"),
                Progress::Kept { recipients, of } => eprint!("{recipients} of {of} send times kept{end}"),
            }
        }
    }
}

/// How often progress is shown.
const SHOW_EVERY: Duration = Duration::from_secs(2);
/// Plans looked through at once.
const PLANS_AT_ONCE: usize = 10_000;

/// Notes the mails that go out at a drawn hour.
pub async fn keep_explorations(
    store: &Store,
    workspace: u32,
    wish: &Wish,
    plans: &[(u64, Option<Plan>)],
) -> anyhow::Result<()> {
    let explored = plans.iter().filter_map(|(recipient, plan)| {
        let Plan { send_at_ms, hour, explored: true, propensity } = (*plan)? else { return None };
        Some(Exploration { recipient: *recipient, message: wish.message, send_at_ms, hour, propensity })
    });
    let explored: Vec<Exploration> = explored.collect();
    if explored.is_empty() {
        return Ok(());
    }
    store.keep_explorations(workspace, &explored).await.context("failed to note which mails explore")
}

/// Learns every workspace, one after the other.
pub async fn refresh_all(store: &Store, keys: &Keys) -> anyhow::Result<()> {
    for workspace in store.workspaces().await.context("failed to read which workspaces there are")? {
        let at_ms = jiff::Timestamp::now().as_millisecond();
        let all = refresh(store, keys, workspace, at_ms, |_| {}).await?;
        tracing::info!(
            workspace,
            recipients = all.len(),
            refused = all.refused.len(),
            "send times refreshed"
        );
    }
    Ok(())
}

fn told(windows: &Result<Vec<Window>, Refused>) -> Result<&[Window], Why> {
    windows.as_deref().map_err(|refused| Why::Refused(*refused))
}
