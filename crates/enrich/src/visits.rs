//! What single visits do not show: links of one message that are swept, and visitors that followed a trap.
//!
//! A part (partition) has its own [`Visits`]: the latest visits that could still be a person's, or that tell about
//! another. All of a recipient's events are in one part, so a sweep of one copy of a message is seen whole. What is
//! found out about the visit at hand changes its verdict; what is found out about an earlier one is a [`Correction`].
//!
//! Holds no clock: only the visits' own times are compared, in both directions, so the verdicts that stand in the
//! end do not depend on the order in which visits within the bounds arrive. What is held is a function of the visits
//! of the last [`OFFSETS_MAX`] offsets (of traps, [`TRAP_OFFSETS_MAX`]): whoever takes a part over observes those
//! again and holds the same. Only a sweep that reaches back beyond them can then be corrected a second time, to the
//! same verdict.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash, Hasher};
use std::iter;

use event::{Event, Kind};
use foldhash::fast::RandomState;
use foldhash::quality::FixedState;

use crate::verdict::{Confidence, Verdict};

/// Visits held of a part, the latest ones: 1.8 MB.
pub const VISITS_MAX: usize = 20_000;
/// Visits older than this many offsets are forgotten.
pub const OFFSETS_MAX: u64 = 20_000;
/// Trap visits held of a part, the latest ones.
pub const TRAPS_MAX: usize = 1_000;
/// Trap visits older than this many offsets are forgotten.
pub const TRAP_OFFSETS_MAX: u64 = 1_000_000;
/// Visits of one recipient's copy by one source that are looked at for a sweep, the latest ones: one that hammers costs
/// no more than this many. Not of a message: a scanner fetches thousands of its copies at once.
const VISITS_OF_ONE_MAX: usize = 64;

/// How long a trap taints its source for its message, before and after (Paminga: 15 minutes).
pub const TAINT_MS: i64 = 900_000;
/// Different links of one message, from one source, in so many milliseconds: no person reads that fast (Paminga,
/// Customer Minds: three links or more in three seconds; US 12489787). The slower form finds scanners that take
/// turns.
const SWEEPS: [(usize, i64); 2] = [(3, 5_000), (5, 30_000)];
/// An open by the same source this close to a sweep is the scanner's own.
const OPEN_MS: i64 = 5_000;

/// A visit, as far as others depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visit {
    /// Names the event: edge id and sequence.
    pub id: (u64, u64),
    /// Where it stood in its part.
    pub offset: u64,
    /// Workspace.
    pub workspace: u32,
    /// Message.
    pub message: u64,
    /// Recipient key; 0 when it may not be known.
    pub recipient: u64,
    /// Who visited: [`source`].
    pub source: u64,
    /// An open, click or download; others are not held.
    pub kind: Kind,
    /// Number of the link.
    pub link: u32,
    /// No person sees the link.
    pub trap: bool,
    /// When, Unix time in milliseconds.
    pub received_at_ms: i64,
    /// By all that the visit shows itself.
    pub verdict: Verdict,
}

impl Visit {
    /// The visit of an event that stood at `offset`. The address is the one that is stored, since whoever observes the
    /// visit again has no other.
    pub fn of(event: &Event<'_>, verdict: Verdict, address: [u8; 16], offset: u64) -> Visit {
        Visit {
            id: (event.edge_id, event.seq),
            offset,
            workspace: event.workspace,
            message: event.message,
            recipient: event.recipient,
            source: source(address, event.user_agent, event.recipient),
            kind: event.kind,
            link: event.link,
            trap: event.trap,
            received_at_ms: event.received_at_ms,
            verdict,
        }
    }
}

/// A verdict that other visits led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// Who made the visit.
    pub verdict: Verdict,
    /// How sure that is.
    pub confidence: Confidence,
    /// The rule's code.
    pub reason: &'static str,
}

/// What is now known of an earlier visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Correction {
    /// The visit, with the verdict that it had.
    pub visit: Visit,
    /// The one that it has.
    pub finding: Finding,
}

const TAINTED: Finding =
    Finding { verdict: Verdict::Scanner, confidence: Confidence::Certain, reason: "trap-taint" };
const SWEPT: Finding =
    Finding { verdict: Verdict::Scanner, confidence: Confidence::Probable, reason: "link-sweep" };

/// Whether a visit is held and judged. An image proxy's open, or a machine's, says nothing of others, and what is no
/// person's stays as it is.
pub fn concerns(kind: Kind, verdict: Verdict) -> bool {
    match kind {
        Kind::Click | Kind::Download => true,
        Kind::Open => verdict == Verdict::Human,
        Kind::Sent | Kind::Unspecified => false,
    }
}

/// The visitor, from what is stored of a visit: the address as it is kept, and the agent. An unknown address (all
/// zero) tells nobody from anybody: then only visits of the same recipient are taken for one visitor's, and without
/// a recipient none are ([`NOBODY`]).
pub fn source(address: [u8; 16], user_agent: &str, recipient: u64) -> u64 {
    if address == [0; 16] && recipient == 0 {
        return NOBODY;
    }
    // Without keys, and so the same for whoever takes over. Nothing is stored under it.
    let mut hasher = FixedState::default().build_hasher();
    (address, user_agent).hash(&mut hasher);
    if address == [0; 16] {
        recipient.hash(&mut hasher);
    }
    hasher.finish()
}

/// The source of visits that may not be told apart, as in mode anonymous: what one is says nothing of another.
pub const NOBODY: u64 = 0;

/// Workspace, message, source.
type Key = (u32, u64, u64);

fn key(visit: &Visit) -> Key {
    (visit.workspace, visit.message, visit.source)
}

#[derive(Debug)]
struct Held {
    visit: Visit,
    /// The number of the visit before it of the same source to the same copy, which may be forgotten by now.
    before: Option<u64>,
}

/// The latest visits of one part.
#[derive(Debug, Default)]
pub struct Visits {
    held: VecDeque<Held>,
    /// The number of the first one held: numbers go up by one with each.
    first: u64,
    /// The number of a source's latest visit to one recipient's copy.
    latest: HashMap<(Key, u64), u64, RandomState>,
    /// Offset and key, in order.
    traps: VecDeque<(u64, Key)>,
    /// Times, in the same order.
    tainted: HashMap<Key, VecDeque<i64>, RandomState>,
}

impl Visits {
    /// Takes up a visit. Returns what the ones before say of it, and adds to `corrections` what it says of them.
    pub fn observe(&mut self, visit: &Visit, corrections: &mut Vec<Correction>) -> Option<Finding> {
        if visit.source == NOBODY || !concerns(visit.kind, visit.verdict) {
            return None;
        }
        self.forget(visit.offset);
        let key = key(visit);
        let number = self.first + self.held.len() as u64;
        let before = self.latest.insert((key, visit.recipient), number);
        self.held.push_back(Held { visit: *visit, before });
        if visit.trap {
            self.spring(key, visit, corrections);
        }
        self.sweep(visit, corrections);
        let own = &mut self.held.back_mut()?.visit;
        let near = |at: &i64| at.abs_diff(visit.received_at_ms) <= TAINT_MS as u64;
        if own.verdict == Verdict::Human
            && self.tainted.get(&key).is_some_and(|taints| taints.iter().any(near))
        {
            own.verdict = TAINTED.verdict;
            return Some(TAINTED);
        }
        // Its own is no correction: it is not stored yet.
        let is_own = |correction: &Correction| correction.visit.id == visit.id;
        let at = corrections.iter().rposition(is_own)?;
        Some(corrections.remove(at).finding)
    }

    /// A trap taints its source.
    fn spring(&mut self, key: Key, visit: &Visit, corrections: &mut Vec<Correction>) {
        if self.traps.len() == TRAPS_MAX {
            self.forget_trap();
        }
        self.traps.push_back((visit.offset, key));
        self.tainted.entry(key).or_default().push_back(visit.received_at_ms);
        // All of them, of whatever recipient: traps are rare.
        let all = self.held.iter_mut().map(|held| &mut held.visit);
        for earlier in all.filter(|earlier| self::key(earlier) == key) {
            if earlier.received_at_ms.abs_diff(visit.received_at_ms) <= TAINT_MS as u64
                && earlier.id != visit.id
            {
                correct(earlier, TAINTED, corrections);
            }
        }
    }

    /// Where the visits to one copy by the source of the latest one are held, that one first.
    fn of_latest(&self) -> impl Iterator<Item = usize> {
        let before = |index: &usize| Some(self.held[*index].before?.checked_sub(self.first)? as usize);
        iter::successors(self.held.len().checked_sub(1), before).take(VISITS_OF_ONE_MAX)
    }

    /// Finds the sweeps that this visit, the latest one, is part of.
    fn sweep(&mut self, visit: &Visit, corrections: &mut Vec<Correction>) {
        // Without a recipient, two people in one office may be one source.
        if visit.recipient == 0 || self.of_latest().nth(2).is_none() {
            return;
        }
        let longest_ms = SWEEPS.iter().map(|(_, span_ms)| span_ms + OPEN_MS).max().unwrap_or(0);
        let mut near: Vec<(i64, usize)> = self
            .of_latest()
            .map(|index| (self.held[index].visit.received_at_ms, index))
            .filter(|(at, _)| at.abs_diff(visit.received_at_ms) <= longest_ms as u64)
            .collect();
        near.sort_unstable();
        let mut swept: HashSet<usize> = HashSet::new();
        for (links_min, span_ms) in SWEEPS {
            for (start, &(from, _)) in near.iter().enumerate() {
                let window = || near[start..].iter().take_while(|(at, _)| at - from <= span_ms);
                let followed = || window().filter(|(_, index)| self.held[*index].visit.kind != Kind::Open);
                let links: HashSet<u32> = followed().map(|(_, index)| self.held[*index].visit.link).collect();
                if links.len() >= links_min {
                    swept.extend(followed().map(|(_, index)| index));
                }
            }
        }
        if swept.is_empty() {
            return;
        }
        let times: Vec<i64> = swept.iter().map(|&index| self.held[index].visit.received_at_ms).collect();
        let beside = |at: i64| times.iter().any(|swept| swept.abs_diff(at) <= OPEN_MS as u64);
        for (at, index) in near {
            let is_open = self.held[index].visit.kind == Kind::Open;
            if swept.contains(&index) || is_open && beside(at) {
                correct(&mut self.held[index].visit, SWEPT, corrections);
            }
        }
    }

    /// Lets go of what is out of the bounds, before one more is held.
    fn forget(&mut self, offset: u64) {
        while let Some(Held { visit: oldest, .. }) = self.held.front()
            && (self.held.len() >= VISITS_MAX || oldest.offset.saturating_add(OFFSETS_MAX) <= offset)
        {
            let key = (key(oldest), oldest.recipient);
            if let Entry::Occupied(latest) = self.latest.entry(key)
                && *latest.get() == self.first
            {
                latest.remove();
            }
            self.held.pop_front();
            self.first += 1;
        }
        while self.traps.front().is_some_and(|(at, ..)| at.saturating_add(TRAP_OFFSETS_MAX) <= offset) {
            self.forget_trap();
        }
    }

    fn forget_trap(&mut self) {
        let Some((_, key)) = self.traps.pop_front() else { return };
        if let Some(taints) = self.tainted.get_mut(&key) {
            taints.pop_front();
            if taints.is_empty() {
                self.tainted.remove(&key);
            }
        }
    }
}

fn correct(visit: &mut Visit, finding: Finding, corrections: &mut Vec<Correction>) {
    // A machine is a machine already, for a reason of its own.
    if visit.verdict == Verdict::Human {
        corrections.push(Correction { visit: *visit, finding });
        visit.verdict = finding.verdict;
    }
}

#[cfg(test)]
mod tests;
