//! The answer for one recipient, from their own events and what was learned of everybody before.

use std::sync::Arc;

use anyhow::Context;
use arc_swap::ArcSwap;
use link::Keys;
use send_time::{Counts, Fitted, Options, Own, Refused, Region};
use store::{Near, Store};
use tokio::sync::Mutex;

use super::kept::{Learned, learned};
use super::person::Person;
use super::plan::{Plan, Wish};
pub use super::show::Why;
use super::standing::why_not;
use super::workspace::{Answer, Workspace};
use super::{free_mail, keep_explorations};

/// How long what was learned serves when nobody learns anew; `up` does every day.
const SERVES_MS: i64 = 36 * 3_600_000;
/// A workspace of fewer events is read whole for each answer: that takes no longer than to look.
const SMALL_EVENTS: u64 = 2_000;

/// Knows whom to ask about.
pub struct Advisor {
    store: Arc<Store>,
    keys: Arc<ArcSwap<Keys>>,
    /// One workspace is learned at a time: a second question waits for the same, and for no more memory than that.
    learning: Mutex<()>,
}

impl Advisor {
    /// Asks nothing yet.
    pub fn new(store: Arc<Store>, keys: Arc<ArcSwap<Keys>>) -> Self {
        Advisor { store, keys, learning: Mutex::new(()) }
    }

    /// What there is to say of a recipient today, or why there is nothing.
    pub async fn ask(
        &self,
        workspace: u32,
        recipient: u64,
        options: &Options,
    ) -> anyhow::Result<Result<Answer, Why>> {
        let at_ms = jiff::Timestamp::now().as_millisecond();
        let (events, barred, known_events) = tokio::try_join!(
            self.store.history(workspace, recipient),
            self.store.barred(workspace, Some(recipient)),
            self.store.known_events(workspace)
        )
        .context("failed to read what the recipient was sent and did")?;
        if let Some(why) = why_not(recipient, &events, &barred, at_ms) {
            return Ok(Err(why));
        }
        let person = |sends_are_told| Person::of(&events, at_ms, sends_are_told);
        // Somebody's zone and domain do not depend on what is known of others.
        let Some(home) = person(true) else { return Ok(Err(Why::Refused(Refused::NotEnoughEvents))) };
        let time_zone = home.time_zone.as_deref().unwrap_or_default();
        let free = free_mail(&self.keys.load(), workspace);
        let domain = if free.contains(&home.domain) { 0 } else { home.domain };
        let learned = self.learned(workspace, at_ms, known_events, Near { time_zone, domain }).await?;
        let person = if learned.sends_are_told { Some(home.clone()) } else { person(false) };
        let counts = person.map_or_else(Counts::default, |person| person.counts);
        let own = Own { counts: &counts, machines: home.machines, region: Region::Allowed };
        let fitted: Fitted = learned.habits.fit();
        let near = fitted.near(time_zone, domain);
        let windows = near.recommend(&own, options);
        let by_hour = windows.as_ref().ok().and_then(|_| near.by_hour(&own, options.weekday));
        Ok(Ok(Answer { recipient, windows, by_hour }))
    }

    /// Notes the mails that go out at a drawn hour.
    pub async fn keep_explorations(
        &self,
        workspace: u32,
        wish: &Wish,
        plans: &[(u64, Option<Plan>)],
    ) -> anyhow::Result<()> {
        keep_explorations(&self.store, workspace, wish, plans).await
    }

    async fn learned(
        &self,
        workspace: u32,
        at_ms: i64,
        known_events: u64,
        near: Near<'_>,
    ) -> anyhow::Result<Learned> {
        if let Some(kept) = self.kept(workspace, at_ms, known_events, near).await? {
            return Ok(kept);
        }
        let _alone = self.learning.lock().await;
        if let Some(kept) = self.kept(workspace, at_ms, known_events, near).await? {
            return Ok(kept);
        }
        Ok(refresh(&self.store, &self.keys.load(), workspace, at_ms, |_| {}).await?.learned())
    }

    /// What is kept, unless it is too old, or of a workspace that has grown by half.
    async fn kept(
        &self,
        workspace: u32,
        at_ms: i64,
        known_events: u64,
        near: Near<'_>,
    ) -> anyhow::Result<Option<Learned>> {
        let kept =
            self.store.habits(workspace, near).await.context("failed to read what was learned of others")?;
        let Some((learned_at_ms, rows)) = kept else { return Ok(None) };
        let serves = |learned: &Learned| {
            at_ms - learned_at_ms < SERVES_MS
                && known_events > SMALL_EVENTS
                && known_events / 3 * 2 <= learned.events
        };
        Ok(learned(&rows).filter(serves))
    }
}

/// Send times kept in one insert, at most.
const KEPT_AT_ONCE: usize = 20_000;
/// Groups kept in one insert, at most: some kilobytes each.
const HABITS_AT_ONCE: usize = 1_000;

/// Reads a workspace, and keeps what was learned and what is recommended to each recipient. What was kept before goes
/// when all of it is there.
pub async fn refresh(
    store: &Store,
    keys: &Keys,
    workspace: u32,
    at_ms: i64,
    progress: impl Fn(Progress),
) -> anyhow::Result<Workspace> {
    let free = free_mail(keys, workspace);
    let read = |recipients| progress(Progress::Read { recipients });
    let all = Workspace::read(store, workspace, at_ms, |domain| free.contains(&domain), read)
        .await
        .context("failed to read what recipients were sent and did")?;
    let mut rows = super::kept::rows(&all.learned()).collect::<Vec<_>>().into_iter().peekable();
    while rows.peek().is_some() {
        let some: Vec<_> = rows.by_ref().take(HABITS_AT_ONCE).collect();
        store.keep_habits(workspace, at_ms, &some).await.context("failed to keep what was learned")?;
    }
    let mut kept = Vec::with_capacity(KEPT_AT_ONCE + 3);
    for place in 0..all.len() {
        super::kept::send_times(&all.answer(place, &Options::default()), &mut kept);
        if kept.len() >= KEPT_AT_ONCE || place + 1 == all.len() {
            store.keep_send_times(workspace, at_ms, &kept).await.context("failed to keep send times")?;
            kept.clear();
            progress(Progress::Kept { recipients: place + 1, of: all.len() });
        }
    }
    store.forget_before(workspace, at_ms).await.context("failed to delete older send times")?;
    Ok(all)
}

/// How far a [`refresh`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many were read.
    Read { recipients: usize },
    /// Answers for so many are kept.
    Kept { recipients: usize, of: usize },
}
