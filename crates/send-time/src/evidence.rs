//! Which events say when a person reads, and how much.
//!
//! Machines are left out before: whoever calls passes events whose verdict is a person's, `human` or `proxy`. What
//! remains is what a verdict cannot see. Apple's Mail fetches every image once, read or not, and never again: where
//! one such fetch is known, that person's other opens are of the same making or seen by chance, and only clicks and
//! downloads tell a time. Without this rule a detector that finds 60 % of the fetches loses a fifth of the opens
//! within an hour.

use serde::{Deserialize, Serialize};

/// What happened to a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Its image was fetched.
    Open,
    /// A link was followed.
    Click,
    /// A file was fetched.
    Download,
}

/// Who the verdict says it was. Prefetches, scanners and bots are not passed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// A person's own device.
    Human,
    /// A person, through an image proxy that fetches when the mail is shown (Gmail's, Yahoo's). Their caches hide when
    /// a mail is opened again, but not when it is opened.
    Proxy,
    /// A person as far as is known: an unknown client.
    Unsure,
}

/// What machines are known to do with a recipient's mail, by the verdicts on any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Machines {
    /// Fetches ahead.
    pub prefetches: u64,
    /// Requests of scanners.
    pub scans: u64,
}

impl Machines {
    /// Whether opens tell no time: some mail was fetched ahead.
    pub fn prefetched(self) -> bool {
        self.prefetches >= MACHINES_MIN
    }

    /// Whether acts at delivery tell nothing: some mail was scanned, and a scanner does not always sweep so that it
    /// can be told.
    pub fn scanned(self) -> bool {
        self.scans >= MACHINES_MIN
    }
}

/// Requests of a kind of machine from which on a recipient is known for it.
pub const MACHINES_MIN: u64 = 1;

/// How long after a send an act may be a scanner's, where scanners are known to be.
pub const SCAN_MS: i64 = 120_000;

/// How much an event says: 1 for a person, half for an unknown client; nothing for an open where mail is fetched
/// ahead, and nothing in the two minutes after the send where it is scanned.
pub fn act(kind: Kind, seen: Seen, machines: Machines, age_ms: i64) -> f64 {
    if (kind == Kind::Open && machines.prefetched()) || (age_ms < SCAN_MS && machines.scanned()) {
        return 0.0;
    }
    match seen {
        Seen::Unsure => 0.5,
        Seen::Human | Seen::Proxy => 1.0,
    }
}

/// How much of each mail could have been seen to be read: all, or for a recipient whose mail is fetched ahead the
/// share of opened mails that are clicked, since only those are seen. `clicks_per_open` is the workspace's own, taken
/// where opens can be seen.
pub fn visible(machines: Machines, clicks_per_open: f64) -> f64 {
    if machines.prefetched() { clicks_per_open.clamp(CLICKS_PER_OPEN_MIN, 1.0) } else { 1.0 }
}

/// Clicks for each open, of the mails opened where opens can be seen and those of them clicked.
pub fn clicks_per_open(opened: f64, clicked: f64) -> f64 {
    if opened > 0.0 { clicked / opened } else { CLICKS_PER_OPEN }
}

/// Clicks for each open, where nobody's opens can be seen.
pub const CLICKS_PER_OPEN: f64 = 0.15;

/// Which later acts on a mail count beside its first one, by their place in `at_ms`, which is in order of time.
///
/// A click follows its open in minutes and says nothing new, so a repeat comes an hour or more after the act counted
/// before it. Of one mail at most [`REPEATS_MAX`] count: some programs fetch again and again by themselves.
pub fn repeats(at_ms: &[i64]) -> Vec<usize> {
    let mut found = Vec::new();
    let Some(mut last_ms) = at_ms.first().copied() else { return found };
    for (place, at_ms) in at_ms.iter().enumerate().skip(1) {
        if found.len() < REPEATS_MAX && at_ms - last_ms >= REPEAT_AFTER_MS {
            found.push(place);
            last_ms = *at_ms;
        }
    }
    found
}

/// Most repeats that count of one mail.
pub const REPEATS_MAX: usize = 4;

/// An act that comes sooner after the last one is of the same visit.
pub const REPEAT_AFTER_MS: i64 = 3_600_000;

/// Where nobody clicks, clicks are no channel: taken as one in a hundred.
pub const CLICKS_PER_OPEN_MIN: f64 = 0.01;
