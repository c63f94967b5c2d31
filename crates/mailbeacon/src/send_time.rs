//! `mailbeacon send-time`: when to write to a recipient, or to each, or why there is no answer.
//!
//! Nothing is kept between two questions: each reads the events of the workspace, since what one recipient is to be
//! expected to do is told by the others. What was reclassified, moved or deleted meanwhile is so in the answer. Only the
//! API's [`advisor`] keeps what it has read for some minutes.

pub mod advisor;
mod person;
mod show;
mod workspace;

use std::collections::HashSet;
use std::io::{self, BufWriter, ErrorKind, Write};

use anyhow::Context;
use send_time::{Options, Refused, Weekday, Window};
use store::Store;

use self::show::Why;
use self::workspace::Workspace;
use crate::settings::Settings;
use crate::stdout::say;

/// Whom to ask about.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The recipient, as the sending application names it when it mints links.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    recipient: Option<String>,
    /// All recipients, one a line, as JSON: `recipient` is the key in `events`.
    #[arg(long)]
    all: bool,
    /// The answer as one line of JSON.
    #[arg(long)]
    json: bool,
    /// The sending application's workspace.
    #[arg(long, default_value_t = 1)]
    workspace: u32,
    /// For which days.
    #[arg(long, value_enum, default_value_t = Days::Any)]
    days: Days,
    /// As things stood at this time (RFC 3339): later events are not read. Now, when not given.
    #[arg(long, value_name = "TIME")]
    at: Option<jiff::Timestamp>,
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

fn free_mail(keys: &link::Keys, workspace: u32) -> [u64; FREE_MAIL.len()] {
    FREE_MAIL.map(|domain| keys.domain(workspace, domain))
}

/// Answers.
pub fn run(settings: &Settings, args: &Args) -> anyhow::Result<()> {
    let keys = settings.keys()?;
    let free = free_mail(&keys, args.workspace);
    let asked = Asked {
        workspace: args.workspace,
        at_ms: args.at.unwrap_or_else(jiff::Timestamp::now).as_millisecond(),
        options: Options {
            weekday: match args.days {
                Days::Any => Weekday::Any,
                Days::Weekday => Weekday::Weekday,
                Days::Weekend => Weekday::Weekend,
            },
            quiet: None,
        },
        free: &free,
    };
    let store = settings.store()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match &args.recipient {
        Some(name) => {
            let recipient = keys.recipient(args.workspace, name);
            runtime.block_on(asked.one(&store, recipient, args.json))
        }
        None => {
            let mut out = BufWriter::new(io::stdout().lock());
            match runtime.block_on(asked.all(&store, &mut out)) {
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
struct Asked<'a> {
    workspace: u32,
    at_ms: i64,
    options: Options,
    /// Keys of domains that are no company's.
    free: &'a [u64],
}

impl Asked<'_> {
    async fn read(&self, store: &Store) -> anyhow::Result<Workspace> {
        Workspace::read(store, self.workspace, self.at_ms, |domain| self.free.contains(&domain))
            .await
            .context("failed to read what recipients were sent and did")
    }

    async fn one(&self, store: &Store, recipient: u64, json: bool) -> anyhow::Result<()> {
        let refuse = |why| {
            say(|out| if json { show::line(out, recipient, Err(why)) } else { show::refusal(out, why) })
        };
        if let Some(why) = refusal(store, self.workspace, recipient).await? {
            return refuse(why);
        }
        let all = self.read(store).await?;
        // Known, but by nothing before the time that is asked for.
        let Some(place) = all.place(recipient) else { return refuse(Why::Refused(Refused::NotEnoughEvents)) };
        let answer = all.answer(place, &self.options);
        say(
            |out| {
                if json {
                    show::line(out, recipient, told(&answer.windows))
                } else {
                    show::answer(out, &answer)
                }
            },
        )
    }

    /// Everybody with a key of their own, those who are refused first.
    async fn all(&self, store: &Store, out: &mut dyn Write) -> anyhow::Result<()> {
        let all = self.read(store).await?;
        // Read last: a sign of the EU that came in the meantime counts.
        let mut refused = store.refused_recipients(self.workspace)?;
        let mut left_out = HashSet::new();
        while let Some((recipient, eu)) = refused.next().await? {
            left_out.extend(all.place(recipient));
            let why = if eu { Refused::Eu } else { Refused::RegionUnknown };
            show::line(out, recipient, Err(Why::Refused(why)))?;
        }
        for place in (0..all.len()).filter(|place| !left_out.contains(place)) {
            let answer = all.answer(place, &self.options);
            show::line(out, answer.recipient, told(&answer.windows))?;
        }
        Ok(out.flush()?)
    }
}

/// Why there may be no send time for a recipient, if so: by where they are.
async fn refusal(store: &Store, workspace: u32, recipient: u64) -> anyhow::Result<Option<Why>> {
    Ok(match store.region(workspace, recipient).await?.as_deref() {
        Some("other") => None,
        Some("eu") => Some(Why::Refused(Refused::Eu)),
        Some(_) => Some(Why::Refused(Refused::RegionUnknown)),
        None => Some(Why::UnknownRecipient),
    })
}

fn told(windows: &Result<Vec<Window>, Refused>) -> Result<&[Window], Why> {
    windows.as_deref().map_err(|refused| Why::Refused(*refused))
}
