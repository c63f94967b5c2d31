//! `mailbeacon ledger`: accepted = stored + duplicate + dead-lettered + dropped + in flight, event by event.
//!
//! An edge numbers what it accepts, without gaps and over restarts. So each number up to the last one is in ClickHouse,
//! or it has to be found elsewhere: in the journal, in Kafka, among the dead letters. What is nowhere is lost.
//!
//! The order of looking matters, since events move on meanwhile: first which numbers there are, then along their path.
//! Whatever moves during the look is met again further on, and never missed.

mod find;
mod programs;
mod report;
mod rows;
mod scrape;
mod waiting;

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde::Serialize;
use store::Store;
use tokio::runtime::Runtime;

use self::find::{Evidence, Unnamed, find};
pub use self::find::{Found, Place};
use self::programs::{Journal, Programs};
use self::rows::Span;
use self::waiting::Waiting;
use crate::settings::Settings;
use crate::stdout::say;
use crate::when;

/// What is looked at without `--from`, in ms.
const DEFAULT_SPAN_MS: i64 = 86_400_000;

/// For `--help`.
pub const EXAMPLES: &str = "\
An edge numbers what it accepts, without gaps and over restarts. Each number is in ClickHouse, or it is looked for in \
Kafka, among the dead letters and in the journal. LOST is what is nowhere.

  mailbeacon ledger --from 2h
  mailbeacon ledger --metrics http://edge-1:9090 --metrics http://consumer:9090
  mailbeacon ledger --from 2026-01-30 --to 2026-01-31 --edge 6ddb23a100b0c8d6

Exit status 1: something is lost or twice, or ClickHouse cannot be asked.";

/// What to balance.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Events received at or after this time: 2026-01-31T12:00:00Z, 2026-01-31, or an age (90m, 12h, 7d). A day by
    /// default.
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    from: Option<i64>,
    /// Events received before this time; up to now by default, with what is on its way.
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    to: Option<i64>,
    /// Only this edge, by its id of 16 hexadecimal digits.
    #[arg(long, value_name = "ID", value_parser = edge_id)]
    edge: Option<u64>,
    /// Where a running program shows its metrics; once for each edge and consumer. The one of admin.listen by default.
    #[arg(long, value_name = "URL")]
    metrics: Vec<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

fn edge_id(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no edge: expected up to 16 hexadecimal digits");
    u64::from_str_radix(text, 16).map_err(|_| wrong())
}

/// The whole balance.
#[derive(Debug, Serialize)]
pub struct Ledger {
    pub from: String,
    /// None means up to now, with what is on its way.
    pub to: Option<String>,
    pub edges: Vec<Edge>,
    /// What the running programs have counted since they started.
    pub programs: Programs,
    /// By how much their counts miss the law, with what is on its way; none unless both sides were asked.
    pub counters_differ_by: Option<i64>,
    /// Messages in Kafka that are not consumed; none without Kafka.
    pub waiting: Option<Waiting>,
    pub dead_letters: Option<u64>,
    /// Dead letters that do not name all that they held: it may be among the numbers that are nowhere else.
    pub nameless_letters: u64,
    /// Whether an edge, Kafka and the dead letters could all be asked.
    pub complete: bool,
    /// What could not, and what that leaves open.
    pub notes: Vec<String>,
    pub lost: u64,
    pub duplicated: u64,
    /// Numbers that may be where not all could be looked at.
    pub unchecked: u64,
}

/// One edge's part of it.
#[derive(Debug, Default, Serialize)]
pub struct Edge {
    pub edge: String,
    /// Rows received in the time asked for.
    pub events: u64,
    pub first: u64,
    pub last: u64,
    /// Rows too many.
    pub duplicates: u64,
    /// The first numbers that are there more than once.
    pub duplicated: Vec<u64>,
    /// Numbers that are not in ClickHouse.
    pub missing: u64,
    /// Where they are instead.
    pub found: Vec<Found>,
}

/// Balances and prints.
///
/// # Errors
/// When ClickHouse or Kafka cannot be asked, and when something is lost or duplicated.
pub fn run(settings: &Settings, args: &Args) -> anyhow::Result<()> {
    if settings.clickhouse.url.is_empty() {
        bail!(
            "clickhouse.url is empty: expected an HTTP or HTTPS URL (`up` writes one: --config data/up.toml)"
        );
    }
    let ledger = balance(settings, args)?;
    match args.json {
        true => {
            let json = serde_json::to_string_pretty(&ledger)?;
            say(|out| writeln!(out, "{json}"))?;
        }
        false => say(|out| report::print(out, &ledger))?,
    }
    match (ledger.lost, ledger.duplicated) {
        (0, 0) => Ok(()),
        (lost, duplicated) => bail!("unexplained: {lost} events lost, {duplicated} duplicated"),
    }
}

/// In a line, for `doctor`: the last day.
pub fn summary(settings: &Settings) -> anyhow::Result<String> {
    let args = Args { from: None, to: None, edge: None, metrics: Vec::new(), json: false };
    let ledger = balance(settings, &args)?;
    let sum = |of: fn(&Edge) -> u64| ledger.edges.iter().map(of).sum::<u64>();
    let (events, elsewhere) = (sum(|edge| edge.events), sum(|edge| edge.missing));
    match (ledger.lost, ledger.duplicated) {
        (0, 0) => Ok(format!(
            "{events} events stored in a day, {elsewhere} elsewhere and found, none lost or twice"
        )),
        // They may be in the journal of an edge elsewhere.
        (lost, 0) if !ledger.complete => Ok(format!(
            "{events} events stored in a day, {lost} not found where could be looked (see `mailbeacon ledger`)"
        )),
        (lost, duplicated) => {
            bail!("{lost} events lost, {duplicated} duplicated in a day (see `mailbeacon ledger`)")
        }
    }
}

fn balance(settings: &Settings, args: &Args) -> anyhow::Result<Ledger> {
    let store = settings.store()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let from_ms = args.from.unwrap_or_else(|| args.to.unwrap_or(now_ms) - DEFAULT_SPAN_MS);
    let with_kafka = !settings.kafka.brokers.is_empty();

    let spans = runtime.block_on(rows::spans(&store, from_ms, args.to, args.edge)).context("clickhouse")?;
    let programs = Programs::ask(settings, &args.metrics);
    let mut notes = programs.notes(with_kafka);
    let (mut evidence, waiting) = match with_kafka.then(|| waiting::look(settings)) {
        Some(Ok((evidence, waiting))) => (evidence, Some(waiting)),
        Some(Err(cause)) => {
            notes.push(format!("kafka cannot be asked what waits there: {cause:#}"));
            (Evidence::default(), None)
        }
        None => (Evidence { complete: true, ..Evidence::default() }, None),
    };
    notes.extend(waiting.iter().flat_map(Waiting::notes));
    let mut dead_letters = None;
    // Who does not answer for the one topic does not for the other.
    if waiting.is_some() || !with_kafka {
        match find::dead_letters(settings, from_ms, args.to, &mut evidence) {
            Ok(letters) => dead_letters = Some(letters),
            Err(cause) => {
                notes.push(format!("dead letters cannot be read: {cause:#}"));
                evidence.complete = false;
            }
        }
    }
    let mut ledger = Ledger {
        from: when::text(from_ms),
        to: args.to.map(when::text),
        edges: Vec::new(),
        waiting,
        dead_letters,
        complete: evidence.complete && programs.has_edge && programs.unreached.is_empty(),
        nameless_letters: evidence.nameless_letters,
        notes,
        lost: 0,
        duplicated: 0,
        unchecked: 0,
        counters_differ_by: None,
        programs,
    };
    let looked =
        Looked { store: &store, runtime: &runtime, from_ms, until_now: args.to.is_none(), with_kafka };
    let mut unnamed = Unnamed { dropped: ledger.programs.dropped_with_numbers(), letters: evidence.nameless };
    for (edge_id, span) in all_edges(&spans, &ledger.programs, args) {
        let edge = looked.edge(edge_id, span, &ledger.programs, &evidence, &mut unnamed)?;
        ledger.duplicated += edge.duplicates;
        ledger.lost += edge.count(|place| *place == Place::Nowhere);
        ledger.unchecked += edge.count(|place| *place == Place::Unchecked);
        ledger.edges.push(edge);
    }
    if args.edge.is_none() && args.to.is_none() {
        ledger.counters_differ_by = ledger.programs.difference(ledger.on_their_way());
    }
    Ok(ledger)
}

impl Ledger {
    fn on_their_way(&self) -> u64 {
        let moving = |place: &Place| matches!(place, Place::Journal | Place::Kafka(_));
        self.edges.iter().map(|edge| edge.count(moving)).sum()
    }
}

/// Those with rows and those that run.
fn all_edges<'a>(spans: &'a [Span], programs: &Programs, args: &Args) -> BTreeMap<u64, Option<&'a Span>> {
    let running = programs.journals.keys().map(|edge_id| (*edge_id, None));
    let mut all: BTreeMap<u64, Option<&Span>> = running.collect();
    all.extend(spans.iter().map(|span| (span.edge_id, Some(span))));
    all.retain(|edge_id, _| args.edge.is_none_or(|wanted| wanted == *edge_id));
    all
}

struct Looked<'a> {
    store: &'a Store,
    runtime: &'a Runtime,
    from_ms: i64,
    until_now: bool,
    with_kafka: bool,
}

impl Looked<'_> {
    /// Finds every number of an edge.
    fn edge(
        &self,
        edge_id: u64,
        span: Option<&Span>,
        programs: &Programs,
        evidence: &Evidence,
        unnamed: &mut Unnamed,
    ) -> anyhow::Result<Edge> {
        let name = format!("{edge_id:016x}");
        let asked = programs.journals.get(&edge_id);
        let journal = asked.filter(|_| self.until_now);
        // What is on its way may be older than the first row in this time, or all that there is.
        let on_its_way = match self.until_now {
            true => {
                evidence.first(edge_id).into_iter().chain(journal.and_then(Journal::first_undelivered)).min()
            }
            false => None,
        };
        let Some(first) = span.map(|span| span.first).into_iter().chain(on_its_way).min() else {
            return Ok(Edge { edge: name, ..Edge::default() });
        };
        let span = span.copied().unwrap_or_default();
        // What went to Kafka since the journals were asked is left for the next look.
        let known = journal.map_or_else(|| evidence.last(edge_id), |journal| journal.last);
        let last = if self.until_now { span.last.max(known) } else { span.last };
        let mut edge = Edge { edge: name, events: span.rows, first, last, ..Edge::default() };
        if span.is_whole() && (first, last) == (span.first, span.last) {
            return Ok(edge);
        }
        // Between numbers of before this time there may be rows of before it.
        let from_ms = if first < span.first || span.rows == 0 { 0 } else { self.from_ms };
        let held = self
            .runtime
            .block_on(rows::held(self.store, edge_id, first, last, from_ms))
            .context("clickhouse")?;
        (edge.duplicates, edge.duplicated) = (held.duplicates, held.duplicated);
        let missing = find::gaps(&held.islands, first, last, held.is_cut);
        edge.missing = missing.iter().map(|(first, last)| last - first + 1).sum();
        // Without Kafka the consumer takes a journal in order: what is behind the last row is not written yet.
        let behind = || held.islands.last().map_or(first - 1, |(_, last)| *last);
        let delivered = match self.with_kafka {
            true => asked.and_then(|journal| journal.delivered),
            false => Some(behind()),
        };
        edge.found = find(edge_id, &missing, delivered, evidence, unnamed);
        Ok(edge)
    }
}

impl Edge {
    /// How many of its numbers are in such a place.
    fn count(&self, is: impl Fn(&Place) -> bool) -> u64 {
        self.found.iter().filter(|found| is(&found.place)).map(Found::count).sum()
    }
}
