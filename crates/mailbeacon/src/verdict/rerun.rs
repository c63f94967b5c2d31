//! `mailbeacon verdict rerun`: today's rules over stored visits, in two passes. The first says what would change; the
//! second, if it is wanted, writes that as corrections. Nothing in `events` is touched.
//!
//! A partition's visits are judged in their order, as the consumer did, so sweeps and traps are found again. What is
//! not stored cannot be judged again: where the network decided, and the address is cleared, cut or hashed so that its
//! network is not known any more, the verdict stays.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use anyhow::Context;
use enrich::visits::{self, Correction, Finding, TAINT_MS, Visit, Visits};
use enrich::{Enricher, Tables, Verdict};
use event::{Event, Kind, Method, Mode};
use serde::Serialize;
use store::{JudgedVisit, NewVerdict, Store, StoreError, StoredPart};
use tokio::runtime::Runtime;

use crate::programs;
use crate::settings::Settings;
use crate::stdout::say;
use crate::table::table;
use crate::when;

/// For `--help`.
pub const EXAMPLES: &str = "\
  mailbeacon verdict rerun --from 30d                 what today's rules would change; writes nothing
  mailbeacon verdict rerun --from 30d --write         and write it

Corrections are rows of their own: events keep the verdict of their arrival (first_verdict), and every view counts the \
one that stands. The same run again changes nothing.";

/// Which visits, and what to do.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Visits received at or after this time: 2026-01-31T12:00:00Z, 2026-01-31, or an age (90m, 12h, 7d).
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    from: i64,
    /// Visits received before this time; up to now by default.
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    to: Option<i64>,
    /// Write the corrections after showing them.
    #[arg(long)]
    write: bool,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// Offsets that are read at a time, at first; then as many as give some [`ROWS_AIM`] rows.
const OFFSETS_FIRST: u64 = 1_000;
/// Rows to be read at a time.
const ROWS_AIM: usize = 10_000;
/// Corrections of one insert.
const WRITTEN_AT_ONCE: usize = 10_000;
/// How often an insert is tried before the run ends; the next run goes on.
const TRIES_MAX: u32 = 5;

/// What a pass comes to.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    ruleset: u16,
    /// Visits that were judged.
    visits: u64,
    /// Of these, those whose verdict stays since their network is not known any more.
    kept: u64,
    /// Events by kind, the verdict that stood, the one that comes, and the rule that decides.
    #[serde(serialize_with = "changes")]
    changes: BTreeMap<(&'static str, &'static str, &'static str, &'static str), u64>,
    written: u64,
}

fn changes<S: serde::Serializer>(
    changes: &BTreeMap<(&'static str, &'static str, &'static str, &'static str), u64>,
    to: S,
) -> Result<S::Ok, S::Error> {
    let row = |(&(kind, was, becomes, reason), &events): (&(_, _, _, _), &u64)| serde_json::json!({"kind": kind, "was": was, "becomes": becomes, "reason": reason, "events": events});
    to.collect_seq(changes.iter().map(row))
}

/// Runs the command.
pub fn run(settings: &Settings, args: &Args) -> anyhow::Result<()> {
    let tables = programs::tables(settings)?;
    let store = settings.store()?;
    let runtime = Runtime::new().context("cannot start a runtime")?;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let times = args.from..args.to.unwrap_or(now_ms);
    let mut outcome = runtime.block_on(pass(&store, &tables, &times, None))?;
    if !args.json {
        show(&outcome)?;
    }
    if args.write && !outcome.changes.is_empty() {
        let version = u64::try_from(now_ms).unwrap_or_default();
        outcome = runtime.block_on(pass(&store, &tables, &times, Some(version)))?;
    }
    if args.json {
        let line = serde_json::to_string(&outcome)?;
        return say(|out| writeln!(out, "{line}"));
    }
    let end = match (args.write, outcome.changes.is_empty()) {
        (_, true) => "nothing changes".to_owned(),
        (true, _) => format!("{} corrections written", outcome.written),
        (false, _) => "nothing was written: with --write these are written as corrections".to_owned(),
    };
    say(|out| writeln!(out, "{end}"))
}

fn show(outcome: &Outcome) -> anyhow::Result<()> {
    let Outcome { ruleset, visits, kept, changes, .. } = outcome;
    let kept = match kept {
        0 => String::new(),
        kept => format!(", {kept} kept: decided by a network that is not known any more"),
    };
    let row = |(&(kind, was, becomes, reason), events): (&(_, _, _, _), &u64)| {
        [kind, was, becomes, reason].map(str::to_owned).into_iter().chain([events.to_string()]).collect()
    };
    let rows: Vec<Vec<String>> = changes.iter().map(row).collect();
    say(|out| {
        writeln!(out, "ruleset {ruleset}: {visits} visits judged{kept}")?;
        match rows.is_empty() {
            true => Ok(()),
            false => write!(out, "{}", table(&["kind", "was", "becomes", "by", ">events"], &rows)),
        }
    })
}

/// Judges all visits of these times again; with a version, writes what has changed.
async fn pass(
    store: &Store,
    tables: &Arc<Tables>,
    times: &Range<i64>,
    version: Option<u64>,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome { ruleset: enrich::RULESET, ..Outcome::default() };
    // What was just before and after may tell about those at the edges.
    let around = times.start.saturating_sub(TAINT_MS)..times.end.saturating_add(TAINT_MS);
    for part in store.stored_parts(&around).await? {
        let mut judge = Judge::new(tables.clone(), times.clone());
        let mut writer = Writer { store, version, part: &part, months: BTreeMap::new(), inserts: 0 };
        let (mut at, mut step) = (part.first..part.last.saturating_add(1), OFFSETS_FIRST);
        while at.start < at.end {
            let to = at.start.saturating_add(step).min(at.end);
            let visits = match store.judged_visits(&part, at.start..to, &around).await {
                Err(StoreError::TooLong { .. }) if step > 1 => {
                    step /= 2;
                    continue;
                }
                visits => visits?,
            };
            at.start = to;
            step = match visits.len() {
                few if few < ROWS_AIM / 2 => step.saturating_mul(2),
                many if many > ROWS_AIM * 2 => (step / 2).max(1),
                _ => step,
            };
            for visit in visits {
                judge.take(visit);
            }
            writer.take(&mut judge, &mut outcome, false).await?;
        }
        judge.end();
        writer.take(&mut judge, &mut outcome, true).await?;
        outcome.visits += judge.visits;
        outcome.kept += judge.kept;
    }
    Ok(outcome)
}

/// A visit, and what the rules say of it so far.
struct Pending {
    visit: JudgedVisit,
    verdict: Verdict,
    confidence: u8,
    reasons: Vec<&'static str>,
}

/// Judges the visits of one part in their order.
struct Judge {
    enricher: Enricher,
    tables: Arc<Tables>,
    times: Range<i64>,
    past: Visits,
    /// Those of which a later one may tell more, in order, and where each of them is.
    open: VecDeque<Pending>,
    first: u64,
    numbers: HashMap<(u64, u64), u64>,
    /// Verdicts that differ from those that stand.
    changed: Vec<NewVerdict>,
    visits: u64,
    kept: u64,
}

/// Rules that go by the network.
const BY_NETWORK: [&str; 5] =
    ["scanner-network", "security-network", "provider-network", "data-centre", "preload-network"];

impl Judge {
    fn new(tables: Arc<Tables>, times: Range<i64>) -> Self {
        Judge {
            enricher: Enricher::new(tables.clone()),
            tables,
            times,
            past: Visits::default(),
            open: VecDeque::new(),
            first: 0,
            numbers: HashMap::new(),
            changed: Vec::new(),
            visits: 0,
            kept: 0,
        }
    }

    fn take(&mut self, visit: JudgedVisit) {
        let counts = self.times.contains(&visit.received_at_ms);
        self.visits += u64::from(counts);
        let address = visit.address.to_canonical();
        // Hashed addresses are in fd00::/8.
        let is_known = !visit.address.is_unspecified() && visit.address.octets()[0] != 0xfd;
        let by_network = visit.first_reasons.iter().any(|reason| BY_NETWORK.contains(&reason.as_str()));
        if by_network && !(is_known && self.tables.networks.find(address).is_some()) {
            self.kept += u64::from(counts);
            return;
        }
        let prefetched = visit.first_reasons.iter().any(|reason| reason == "purpose-header");
        let octets = visit.address.octets();
        let event = Event {
            edge_id: visit.edge_id,
            seq: visit.seq,
            workspace: visit.workspace,
            message: visit.message,
            recipient: visit.recipient,
            link: visit.link,
            kind: Kind::try_from(i32::from(visit.kind)).unwrap_or_default(),
            received_at_ms: visit.received_at_ms,
            sent_at_ms: visit.sent_at_ms,
            mode: Mode::try_from(i32::from(visit.mode)).unwrap_or_default(),
            method: Method::try_from(i32::from(visit.method)).unwrap_or_default(),
            trap: visit.trap,
            user_agent: &visit.user_agent,
            // The header is not stored; what it said is.
            sec_purpose: if prefetched { "prefetch" } else { "" },
            client_ip: if is_known { &octets } else { &[] },
            ..Event::default()
        };
        let found = self.enricher.enrich(&event);
        let (verdict, confidence, reasons) = (found.verdict, found.confidence as u8, found.reasons.to_vec());
        let seen = Visit::of(&event, verdict, octets, visit.k_off);
        let mut pending = Pending { verdict, confidence, reasons, visit };
        if !visits::concerns(seen.kind, verdict) {
            return self.close(pending);
        }
        let mut corrections = Vec::new();
        if let Some(finding) = self.past.observe(&seen, &mut corrections) {
            pending.find(&finding);
        }
        for Correction { visit, finding } in &corrections {
            let open = self.numbers.get(&visit.id).map(|number| (number - self.first) as usize);
            if let Some(earlier) = open.and_then(|index| self.open.get_mut(index)) {
                earlier.find(finding);
            }
        }
        self.numbers.insert(seen.id, self.first + self.open.len() as u64);
        self.open.push_back(pending);
        if self.open.len() > visits::VISITS_MAX {
            self.close_first();
        }
    }

    fn end(&mut self) {
        while !self.open.is_empty() {
            self.close_first();
        }
    }

    fn close_first(&mut self) {
        let Some(pending) = self.open.pop_front() else { return };
        self.numbers.remove(&(pending.visit.edge_id, pending.visit.seq));
        self.first += 1;
        self.close(pending);
    }

    /// Nothing more will be said of it.
    fn close(&mut self, Pending { visit, verdict, confidence, reasons }: Pending) {
        let differs = verdict as u8 != visit.verdict
            || !reasons.iter().copied().eq(visit.reasons.iter().map(String::as_str));
        if differs && self.times.contains(&visit.received_at_ms) {
            let verdict = verdict as u8;
            self.changed.push(NewVerdict { visit, verdict, confidence, reasons, ruleset: enrich::RULESET });
        }
    }
}

impl Pending {
    fn find(&mut self, finding: &Finding) {
        self.verdict = finding.verdict;
        self.confidence = finding.confidence as u8;
        self.reasons = vec![finding.reason];
    }
}

/// Counts what has changed of a part, and writes it.
struct Writer<'a> {
    store: &'a Store,
    version: Option<u64>,
    part: &'a StoredPart,
    months: BTreeMap<u32, Vec<NewVerdict>>,
    inserts: u64,
}

impl Writer<'_> {
    async fn take(&mut self, judge: &mut Judge, outcome: &mut Outcome, all: bool) -> anyhow::Result<()> {
        for changed in judge.changed.drain(..) {
            let kind = Kind::try_from(i32::from(changed.visit.kind)).unwrap_or_default();
            let kind = match kind {
                Kind::Open => "open",
                Kind::Click => "click",
                Kind::Download => "download",
                Kind::Sent | Kind::Unspecified => "other",
            };
            let [was, becomes] =
                [changed.visit.verdict, changed.verdict].map(|code| Verdict::stored(code).as_str());
            let reason = changed.reasons.first().copied().unwrap_or("no rule");
            *outcome.changes.entry((kind, was, becomes, reason)).or_default() += 1;
            if self.version.is_some() {
                self.months.entry(store::month(changed.visit.received_at_ms)).or_default().push(changed);
            }
        }
        let Some(version) = self.version else { return Ok(()) };
        for verdicts in self.months.values_mut() {
            while verdicts.len() >= WRITTEN_AT_ONCE || all && !verdicts.is_empty() {
                let some: Vec<NewVerdict> = verdicts.drain(..verdicts.len().min(WRITTEN_AT_ONCE)).collect();
                let token =
                    format!("rerun/{version}/{}/{}/{}", self.part.source, self.part.part, self.inserts);
                write(self.store, self.part.part, &token, version, &some).await?;
                outcome.written += some.len() as u64;
                self.inserts += 1;
            }
        }
        Ok(())
    }
}

async fn write(
    store: &Store,
    part: u32,
    token: &str,
    version: u64,
    verdicts: &[NewVerdict],
) -> anyhow::Result<()> {
    let shard = part as usize % store.shards();
    let mut tries = 1;
    loop {
        match store.correct(shard, token, version, verdicts).await {
            Ok(()) => return Ok(()),
            Err(store::InsertError::Retry(_)) if tries < TRIES_MAX => {
                tokio::time::sleep(std::time::Duration::from_millis(200 << tries)).await;
                tries += 1;
            }
            Err(cause) => {
                return Err(cause).context("corrections written so far stay; run it again to go on");
            }
        }
    }
}
