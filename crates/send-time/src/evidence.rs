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
    /// A person, through an image proxy that fetches when the mail is shown (Gmail's, Yahoo's). Their caches make
    /// only the first fetch of a mail tell its time, and only the first act of a mail counts anyway.
    Proxy,
    /// A person as far as is known: an unknown client.
    Unsure,
}

/// How much an event says: 1 for a person, half for an unknown client, nothing for an open of a recipient whose mail
/// is fetched ahead.
pub fn act(kind: Kind, seen: Seen, prefetched: bool) -> f64 {
    match (kind, seen) {
        (Kind::Open, _) if prefetched => 0.0,
        (_, Seen::Unsure) => 0.5,
        (_, Seen::Human | Seen::Proxy) => 1.0,
    }
}

/// How much of each mail could have been seen to be read: all, or for a recipient whose mail is fetched ahead the
/// share of opened mails that are clicked, since only those are seen. `clicks_per_open` is the workspace's own, taken
/// where opens can be seen.
pub fn visible(prefetched: bool, clicks_per_open: f64) -> f64 {
    if prefetched { clicks_per_open.clamp(CLICKS_PER_OPEN_MIN, 1.0) } else { 1.0 }
}

/// A recipient is prefetched once this many fetches ahead are known.
pub const PREFETCHES_MIN: u64 = 1;

/// Where nobody clicks, clicks are no channel: taken as one in a hundred.
pub const CLICKS_PER_OPEN_MIN: f64 = 0.01;

/// Whether a recipient's opens tell no time: some of their mail was fetched ahead.
pub fn prefetched(prefetches: u64) -> bool {
    prefetches >= PREFETCHES_MIN
}
