//! `mailbeacon send-time backtest`: what the recommended windows would have been worth in the last weeks, by a
//! workspace's own mails.
//!
//! Everything before a cut is known, as it would have been then: windows are recommended from it, and the usual methods
//! pick their hours from it. What was sent after the cut judges them. Those mails went out in hours that the sender
//! chose, so each one that happened to be in a chosen hour stands for those that were not: see
//! [`send_time::offpolicy`] for the estimator and its source. An open counts when it is a person's, by the estimator's
//! own rule ([`send_time::evidence::act`]); people whose images are fetched ahead are left out, since their opens are
//! not seen. Nobody is looked at for whom there may be no send time.
//!
//! Of a mail that is noted in `explorations`, and went out in the hour noted, the propensity is exact: it explored, so its
//! hour was drawn evenly. (The `propensity` noted with it is for whoever does not know which mails explored: it counts in
//! how likely the hour was to be recommended.)
//!
//! Beside it what was claimed is held to what happened: of each mail, in the hour in which it did go out.

mod held_out;
mod report;

use anyhow::{Context, bail, ensure};
use send_time::offpolicy::{Chosen, HourSet, Judgement, Recipient, judge};
use send_time::resample::{Means, Weighed};
use send_time::{Hours, Window};
use store::HISTORY_MAX;

use self::held_out::{Collected, HeldOut, LeftOut, Span};
use self::report::{Claimed, Report, Way};
use super::advisor::Progress;
use super::workspace::Workspace;
use super::{Asked, free_mail, on_stderr};
use crate::stdout::say;

/// Which weeks are held out.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The last days, which judge what is recommended from what was before.
    #[arg(long, default_value_t = 28, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=400))]
    hold_out: u16,
    /// Hold out from this time on (RFC 3339) instead.
    #[arg(long, conflicts_with = "hold_out", value_name = "TIME")]
    from: Option<jiff::Timestamp>,
}

/// Ways to choose hours, that under test first.
const WAYS: [&str; 4] = ["recommended window", "smoothed histogram", "most frequent hour", "global hour"];
/// Mails at a drawn hour that are told from others, at most: each takes 40 bytes.
const DRAWN_MAX: usize = 5_000_000;
/// All chance in it: the same mails give the same intervals.
const SEED: u64 = 42;
/// Tenths and smaller parts of claimed probability.
const CLAIMS_FROM: [f64; 9] = [0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3];

/// Judges, and says what came of it.
pub async fn run(asked: &Asked, args: &Args, json: bool) -> anyhow::Result<()> {
    let until_ms = asked.at_ms.unwrap_or(asked.now_ms);
    let days_ms = i64::from(args.hold_out) * 86_400_000;
    let from_ms = args.from.map_or(until_ms - days_ms, jiff::Timestamp::as_millisecond);
    ensure!(from_ms < until_ms, "--from: expected a time before the end of what is held out, --at or now");
    let span = Span { from_ms, until_ms, weekday: asked.options.weekday };
    let (store, workspace) = (&asked.store, asked.workspace);
    let drawn = store.explorations(workspace, from_ms, until_ms, DRAWN_MAX + 1).await;
    let drawn = drawn.context("failed to read which mails explored")?;
    if drawn.len() > DRAWN_MAX {
        bail!("more than {DRAWN_MAX} mails explored: expected fewer, hold out less");
    }
    let free = free_mail(&asked.keys, workspace);
    let mut collected = Collected::new(span, &drawn);
    let (is_free, progress) = (|domain| free.contains(&domain), on_stderr());
    let read = |recipients| progress(Progress::Read { recipients });
    let beside = |person: &_, events: &[store::Engagement]| {
        // Of longer histories the begin is missing, which may hold the cut.
        if events.len() < HISTORY_MAX {
            collected.take(person, events);
        }
    };
    let all = Workspace::read_beside(store, workspace, from_ms, is_free, read, beside);
    let all = all.await.context("failed to read what recipients were sent and did")?;
    let report = judged(asked, span, &all, collected);
    say(
        |out| {
            if json { writeln!(out, "{}", serde_json::to_string(&report)?) } else { write!(out, "{report}") }
        },
    )
}

/// Judges what was collected.
fn judged(asked: &Asked, span: Span, all: &Workspace, collected: Collected<'_>) -> Report {
    let Collected { everybody, people, mut left_out, .. } = collected;
    let global = send_time::baselines::most_frequent(&everybody).unwrap_or(0) as u8;
    let mut claims = Claims::new(people.len());
    let mut recipients: Vec<Recipient<{ WAYS.len() }>> = Vec::with_capacity(people.len());
    let mut zones: Vec<String> = Vec::new();
    let mut people = people.into_iter().peekable();
    for place in 0..all.len() {
        // Both are in the order of keys. Whoever withdrew while they were read is no member any more.
        let recipient = all.recipient(place);
        while people.next_if(|held| held.recipient < recipient).is_some() {}
        let Some(held) = people.next_if(|held| held.recipient == recipient) else { continue };
        let answer = all.answer(place, &asked.options);
        let (Ok([window, ..]), Some(by_hour)) = (answer.windows.as_deref(), answer.by_hour) else {
            left_out.not_recommended += held.cells.iter().map(|cell| u64::from(cell.mails)).sum::<u64>();
            continue;
        };
        if all.sends_are_told {
            claims.add(&held, window, &by_hour);
        }
        let zone = zones.iter().position(|name| *name == window.time_zone).unwrap_or_else(|| {
            zones.push(window.time_zone.clone());
            zones.len() - 1
        }) as u32;
        let hour = |own: Option<u8>| HourSet::hour(own.unwrap_or(global));
        let recommended = HourSet::window(window.start_hour, window.end_hour);
        let choices = [recommended, hour(held.smoothed), hour(held.most_frequent), HourSet::hour(global)];
        recipients.push(Recipient { recipient, zone, choices, cells: held.cells });
    }
    let cells = || recipients.iter().flat_map(|one| &one.cells);
    let mails = |drawn: bool| {
        cells().filter(|cell| cell.drawn || !drawn).map(|cell| u64::from(cell.mails)).sum::<u64>()
    };
    let Judgement { as_sent, elsewhere, choices, usual } = judge(&recipients, SEED);
    let ways = [("when it was sent", as_sent), ("outside of the window", elsewhere)];
    let (mails, mails_drawn) = (mails(false), mails(true));
    let opened = cells().fold(0.0, |sum, cell| sum + f64::from(cell.opened));
    let judged_recipients = recipients.len();
    let drawn_only = (mails_drawn > 0).then(|| {
        recipients
            .iter_mut()
            .for_each(|one| one.cells = one.cells.iter().filter(|c| c.drawn).copied().collect());
        recipients.retain(|one| !one.cells.is_empty());
        named(judge(&recipients, SEED).choices).collect()
    });
    Report {
        workspace: asked.workspace,
        from: super::instant(span.from_ms),
        until: super::instant(span.until_ms),
        sends_are_told: all.sends_are_told,
        recipients: judged_recipients,
        mails,
        opened,
        mails_drawn,
        left_out,
        refused: report::refused(&all.refused),
        usual,
        ways: ways.map(|(name, chosen)| Way { name, chosen }).into_iter().chain(named(choices)).collect(),
        drawn_only,
        claims: claims.finish(),
        conclusion: String::new(),
    }
    .concluded()
}

fn named(choices: [Chosen; WAYS.len()]) -> impl Iterator<Item = Way> {
    WAYS.into_iter().zip(choices).rev().map(|(name, chosen)| Way { name, chosen })
}

/// What was claimed of mails in the hours in which they went out, and what happened.
struct Claims {
    means: Means,
    claimed: [f64; CLAIMS_FROM.len() + 1],
}

impl Claims {
    fn new(recipients: usize) -> Claims {
        let claimed = [0.0; CLAIMS_FROM.len() + 1];
        Claims { means: Means::new(claimed.len(), recipients), claimed }
    }

    fn add(&mut self, held: &HeldOut, window: &Window, by_hour: &Hours) {
        let recommended = HourSet::window(window.start_hour, window.end_hour);
        for cell in &held.cells {
            let hour = usize::from(cell.bin) % 24;
            let claimed = by_hour[hour];
            let (mails, acts) = (cell.mails, f64::from(cell.opened));
            let weighed = Weighed { recipient: held.recipient, weight: 1.0, mails, acts };
            let part = CLAIMS_FROM.iter().rposition(|from| claimed >= *from).unwrap_or(0);
            self.means.add(part, weighed);
            self.claimed[part] += claimed * f64::from(mails);
            if recommended.share(hour) > 0.0 {
                self.means.add(CLAIMS_FROM.len(), weighed);
                self.claimed[CLAIMS_FROM.len()] += claimed * f64::from(mails);
            }
        }
    }

    fn finish(&self) -> Vec<Claimed> {
        let drawn = self.means.drawn(SEED);
        let claimed = (0..self.claimed.len()).map(|part| {
            let mean = drawn.mean(part);
            let claimed = self.claimed[part] / mean.mails.max(1) as f64;
            let to = CLAIMS_FROM.get(part + 1).copied().unwrap_or(1.0);
            let span = CLAIMS_FROM.get(part).map(|from| [*from, to]);
            Claimed { span, claimed, happened: mean }
        });
        claimed.filter(|claimed| claimed.happened.mails > 0).collect()
    }
}
