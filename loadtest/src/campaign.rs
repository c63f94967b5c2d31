//! `loadtest campaign`: a campaign whose readers are known, through the real pipeline, and the rates it reports.

mod inbox;

use std::fmt;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use clap::Args;
use event::{Kind, Mode, Position};
use link::{Keys, Link, Site};
use serde::Serialize;
use tokio::time::Instant;

use self::inbox::{Inbox, Visit};
use crate::clickhouse::{ClickHouse, Secret};
use crate::exchange;
use crate::options::resolve;
use crate::plan::{RequestParts, write_request};

/// For `--help`.
pub const EXAMPLES: &str = "\
Apple's and Gmail's prefetch, image proxies, three mail security vendors and others without a name that follow every \
link in seconds, link previews, and people at last: a fixed share of them reads, and some of those click. Of Apple's \
readers nothing is seen that tells them from those who do not read.

  mailbeacon up --data data &
  loadtest campaign --keys data/keys.toml --clickhouse http://127.0.0.1:8123

Exit status: 0 when open and click rate are within 2 points of the truth; 1 when one is not.";

/// How far a rate may be from the truth.
const POINTS_MAX: f64 = 0.02;
/// Workspace of the links.
const WORKSPACE: u32 = 1;
/// Visits under way at a time. Those of one scanner follow each other, in seconds.
const AT_ONCE: usize = 32;
/// How long rows may take to be there.
const SETTLE: Duration = Duration::from_secs(60);
/// How often they are counted until then.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What to send, and where.
#[derive(Debug, Args)]
pub struct CampaignOptions {
    /// The edge. It should trust 127.0.0.1 as a proxy: client addresses come in X-Forwarded-For.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// The keys file from which links are minted, the same that the edge verifies with.
    #[arg(long, value_name = "FILE")]
    pub keys: PathBuf,
    /// Where the rows go.
    #[arg(long, value_name = "URL")]
    pub clickhouse: String,
    /// The database of the rows.
    #[arg(long, default_value = "mailbeacon")]
    pub database: String,
    /// ClickHouse's user.
    #[arg(long, default_value = "")]
    pub clickhouse_user: String,
    /// ClickHouse's password; better given in the environment.
    #[arg(long, env = "CLICKHOUSE_PASSWORD", hide_env_values = true, default_value = "")]
    pub clickhouse_password: String,
    /// Recipients.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    pub recipients: u32,
    /// The same seed gives the same people.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Write the outcome as JSON to this file, or to standard output for `-`.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// A share of the recipients, three times.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rate {
    /// As the campaign was made.
    pub truth: f64,
    /// As `message_totals` says.
    pub reported: f64,
    /// As a counter says that takes everyone for a person.
    pub raw: f64,
}

/// What was sent, and what came of it.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The message.
    pub message: u64,
    /// Recipients.
    pub recipients: u64,
    /// Requests, each answered.
    pub visits: u64,
    /// Corrections that sweeps led to.
    pub corrections: u64,
    /// Recipients of whom it cannot be known whether they read: in truth, and as reported.
    pub hidden: [u64; 2],
    /// Of those of whom it can be known.
    pub open_rate: Rate,
    /// Of all.
    pub click_rate: Rate,
}

impl Outcome {
    /// Whether both rates are right.
    pub fn is_close(&self) -> bool {
        [self.open_rate, self.click_rate].iter().all(|rate| (rate.truth - rate.reported).abs() <= POINTS_MAX)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { recipients, visits, corrections, hidden, open_rate, click_rate, .. } = self;
        writeln!(
            f,
            "{recipients} recipients, {visits} visits, {corrections} verdicts corrected by later visits"
        )?;
        writeln!(f, "hidden readers: {} in truth, {} reported\n", hidden[0], hidden[1])?;
        writeln!(f, "            truth  reported     raw")?;
        for (name, rate) in [("open rate ", open_rate), ("click rate", click_rate)] {
            let [truth, reported, raw] = [rate.truth, rate.reported, rate.raw].map(|share| share * 100.0);
            writeln!(f, "{name}  {truth:5.1} %   {reported:5.1} %  {raw:5.1} %")?;
        }
        let verdict = if self.is_close() { "within" } else { "NOT within" };
        writeln!(f, "{verdict} {} points of the truth", POINTS_MAX * 100.0)
    }
}

/// Sends a campaign and reads what is reported of it.
///
/// # Errors
/// When the edge or ClickHouse does not answer as it should, or rows are missing after a minute.
pub async fn run(options: &CampaignOptions) -> anyhow::Result<Outcome> {
    let (edge, host) = resolve(&options.url)?;
    let clickhouse = ClickHouse {
        address: resolve(&options.clickhouse)?.0,
        database: options.database.clone(),
        table: "events".to_owned(),
        user: options.clickhouse_user.clone(),
        password: Secret(options.clickhouse_password.clone()),
    };
    let keys = fs::read_to_string(&options.keys)
        .with_context(|| format!("failed to read keys from {}", options.keys.display()))?;
    let keys =
        Keys::from_toml(&keys).with_context(|| format!("failed to read {}", options.keys.display()))?;
    let site = Site::new(options.url.trim_end_matches('/')).context("failed to mint links for --url")?;
    let now_ms =
        SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_millis() as i64;
    let message = now_ms as u64;

    let inboxes = inbox::inboxes(options.seed, options.recipients);
    let mut requests = Vec::new();
    for (recipient, inbox) in (1..).zip(&inboxes) {
        let mut one_after_the_other = Vec::new();
        for visit in &inbox.visits {
            let path = path(&keys, &site, message, recipient, now_ms, visit)?;
            let mut request = Vec::new();
            let Visit { kind, user_agent, address, .. } = visit;
            let (head, address) = (false, Ipv4Addr::from_bits(*address));
            let parts = RequestParts {
                path: &path,
                host: &host,
                kind: *kind,
                head,
                user_agent,
                address,
                close: true,
            };
            write_request(&mut request, &parts);
            one_after_the_other.push((*kind, request));
        }
        requests.push(one_after_the_other);
    }
    let visits = requests.iter().map(Vec::len).sum::<usize>() as u64;
    send(edge, requests).await?;
    settle(&clickhouse, message, visits).await?;
    report(&clickhouse, options.seed, message, &inboxes, visits).await
}

fn path(
    keys: &Keys,
    site: &Site,
    message: u64,
    recipient: u64,
    now_ms: i64,
    visit: &Visit,
) -> anyhow::Result<String> {
    let link = Link {
        kind: visit.kind,
        workspace: WORKSPACE,
        message,
        recipient,
        link: visit.link,
        target: if visit.link == 0 { String::new() } else { format!("https://shop.example/{}", visit.link) },
        // The visit is now: what differs is how long ago the message was sent.
        sent_at_ms: now_ms - visit.after_ms,
        position: if visit.kind == Kind::Open { Position::Top } else { Position::Unspecified },
        mode: Mode::Full,
        ..Link::default()
    };
    let url = site.url(keys, &link).context("failed to mint a link")?;
    Ok(url.strip_prefix(site.base_url()).context("a link does not begin with its site")?.to_owned())
}

async fn send(edge: std::net::SocketAddr, requests: Vec<Vec<(Kind, Vec<u8>)>>) -> anyhow::Result<()> {
    let mut under_way = tokio::task::JoinSet::new();
    for requests in requests {
        if under_way.len() >= AT_ONCE
            && let Some(ended) = under_way.join_next().await
        {
            ended??;
        }
        under_way.spawn(async move {
            for (kind, request) in requests {
                let (status, _) =
                    exchange::ask_bytes(edge, &request).await.context("the edge did not answer")?;
                let wanted = if kind == Kind::Open { 200 } else { 302 };
                ensure!(status == wanted, "the edge answered {status}, expected {wanted}: other keys?");
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = under_way.join_next().await {
        ended??;
    }
    Ok(())
}

async fn settle(clickhouse: &ClickHouse, message: u64, visits: u64) -> anyhow::Result<()> {
    let database = &clickhouse.database;
    let of = format!("WHERE workspace = {WORKSPACE} AND message = {message}");
    let sql = format!(
        "SELECT (SELECT count() FROM {} {of}), (SELECT sum(events) FROM `{database}`.message_hourly {of}), \
         (SELECT count() FROM `{database}`.corrections {of})",
        clickhouse.table()
    );
    let deadline = Instant::now() + SETTLE;
    let (wanted, mut before) = (visits.to_string(), String::new());
    loop {
        let seen = clickhouse.query(&sql).await?;
        let rows: Vec<&str> = seen.trim().split('\t').take(2).collect();
        // The views are filled a moment after the rows are there, the corrections among the last.
        if rows == [wanted.as_str(); 2] && seen == before {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let rows = rows.join(", of which in message_hourly ");
            bail!("{visits} visits were answered and rows are {rows} after {} s", SETTLE.as_secs());
        }
        before = seen;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn report(
    clickhouse: &ClickHouse,
    seed: u64,
    message: u64,
    inboxes: &[Inbox],
    visits: u64,
) -> anyhow::Result<Outcome> {
    let database = &clickhouse.database;
    let sql = format!(
        "SELECT openers, openers_all, hidden, clickers, clickers_all, \
         (SELECT count() FROM `{database}`.corrections WHERE message = {message}) \
         FROM `{database}`.message_totals WHERE workspace = {WORKSPACE} AND message = {message}"
    );
    let answer = clickhouse.query(&sql).await?;
    let numbers: Option<Vec<u64>> = answer.trim().split('\t').map(|number| number.parse().ok()).collect();
    let [openers, openers_all, hidden, clickers, clickers_all, corrections] = numbers.unwrap_or_default()[..]
    else {
        bail!("message_totals: expected six numbers, found {answer:?}");
    };
    let count = |holds: fn(&Inbox) -> bool| inboxes.iter().filter(|inbox| holds(inbox)).count() as u64;
    let recipients = inboxes.len() as u64;
    let truly_hidden = count(|inbox| inbox.is_hidden);
    let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    Ok(Outcome {
        seed,
        message,
        recipients,
        visits,
        corrections,
        hidden: [truly_hidden, hidden],
        open_rate: Rate {
            truth: share(count(|inbox| inbox.reads && !inbox.is_hidden), recipients - truly_hidden),
            reported: share(openers, recipients.saturating_sub(hidden)),
            raw: share(openers_all, recipients),
        },
        click_rate: Rate {
            truth: share(count(|inbox| inbox.clicks), recipients),
            reported: share(clickers, recipients),
            raw: share(clickers_all, recipients),
        },
    })
}
