//! Where the numbers are that are not in ClickHouse. Plain arithmetic over what was seen.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::dead_letters::{Contents, Keep, name_at_head};
use crate::inlet::EventId;
use crate::settings::Settings;

/// Events and messages elsewhere than in ClickHouse.
#[derive(Debug, Default)]
pub struct Evidence {
    /// In Kafka and not consumed: the partition.
    pub in_kafka: BTreeMap<EventId, u32>,
    /// Dead-lettered: the letter.
    pub in_letters: BTreeMap<EventId, String>,
    /// Dead letters that do not name all that they held.
    pub nameless_letters: u64,
    /// How many events they may have held.
    pub nameless: u64,
    /// Whether all of Kafka and of the dead letters was looked at.
    pub complete: bool,
}

/// Length, edge id, number, kind and time: no event takes fewer bytes in a message.
const EVENT_BYTES_MIN: u64 = 20;

impl Evidence {
    /// The first number of an edge that waits in Kafka.
    pub fn first(&self, edge_id: u64) -> Option<u64> {
        self.in_kafka.range((edge_id, 0)..=(edge_id, u64::MAX)).next().map(|((_, seq), _)| *seq)
    }

    /// The last one, or 0.
    pub fn last(&self, edge_id: u64) -> u64 {
        self.in_kafka.range((edge_id, 0)..=(edge_id, u64::MAX)).next_back().map_or(0, |((_, seq), _)| *seq)
    }
}

/// Numbers in a row that are in one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    pub first: u64,
    pub last: u64,
    pub place: Place,
}

impl Found {
    pub fn count(&self) -> u64 {
        self.last - self.first + 1
    }
}

/// A place on an event's path, or off it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Not delivered yet.
    Journal,
    /// In this partition, behind the committed offset.
    Kafka(u32),
    /// Kept aside, as this letter.
    DeadLetter(String),
    /// Kept aside, it may be: as many letters name no event.
    NamelessLetter,
    /// Given a number and then refused by the disk.
    Dropped,
    /// Not all of Kafka or of the dead letters could be looked at.
    Unchecked,
    /// Lost.
    Nowhere,
}

/// What lies between islands, and before and behind them. When there were more islands than could be asked for, what
/// is behind the last one is not known and left out.
pub fn gaps(islands: &[(u64, u64)], first: u64, last: u64, is_cut: bool) -> Vec<(u64, u64)> {
    let mut gaps = Vec::new();
    let mut next = first;
    for (start, end) in islands {
        if *start > next {
            gaps.push((next, start - 1));
        }
        next = end + 1;
    }
    if next <= last && !is_cut {
        gaps.push((next, last));
    }
    gaps
}

/// Events that are known to be missing and not by their numbers. Used up as numbers are missing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unnamed {
    /// Given numbers by an edge and then refused by its disk.
    pub dropped: u64,
    /// At the most: in dead letters.
    pub letters: u64,
}

/// Looks for missing numbers: where they were seen first, and else among what is known to be missing.
pub fn find(
    edge_id: u64,
    missing: &[(u64, u64)],
    delivered: Option<u64>,
    evidence: &Evidence,
    unnamed: &mut Unnamed,
) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for &(first, last) in missing {
        let ids = (edge_id, first)..=(edge_id, last);
        let mut seen: BTreeMap<u64, Place> = evidence
            .in_letters
            .range(ids.clone())
            .map(|((_, seq), id)| (*seq, Place::DeadLetter(id.clone())))
            .collect();
        seen.extend(
            evidence.in_kafka.range(ids).map(|((_, seq), partition)| (*seq, Place::Kafka(*partition))),
        );
        let mut next = first;
        for (seq, place) in seen {
            rest(&mut found, next, seq, delivered);
            put(&mut found, Found { first: seq, last: seq, place });
            next = seq + 1;
        }
        rest(&mut found, next, last + 1, delivered);
    }
    // What is nowhere may be where it cannot be named.
    let mut settled = Vec::with_capacity(found.len());
    for run in found {
        if run.place != Place::Nowhere {
            put(&mut settled, run);
            continue;
        }
        let mut first = run.first;
        let Unnamed { dropped, letters } = &mut *unnamed;
        for (left, place) in [(dropped, Place::Dropped), (letters, Place::NamelessLetter)] {
            let count = (run.last + 1 - first).min(*left);
            if count > 0 {
                *left -= count;
                put(&mut settled, Found { first, last: first + count - 1, place });
                first += count;
            }
        }
        if first <= run.last {
            let place = if evidence.complete { Place::Nowhere } else { Place::Unchecked };
            put(&mut settled, Found { first, last: run.last, place });
        }
    }
    settled
}

/// Numbers `first..end` that nobody has seen: not delivered, or lost.
fn rest(found: &mut Vec<Found>, first: u64, end: u64, delivered: Option<u64>) {
    let border = delivered.map_or(end, |delivered| (delivered + 1).clamp(first, end));
    for (first, end, place) in [(first, border, Place::Nowhere), (border, end, Place::Journal)] {
        if first < end {
            put(found, Found { first, last: end - 1, place });
        }
    }
}

/// Adds to the run before it where it can.
fn put(found: &mut Vec<Found>, next: Found) {
    match found.last_mut() {
        Some(run) if run.place == next.place && run.last + 1 == next.first => run.last = next.last,
        _ => found.push(next),
    }
}

/// Takes up what the dead letters name. Returns how many letters of this time there are; one that is there twice counts
/// once.
pub fn dead_letters(
    settings: &Settings,
    from_ms: i64,
    to_ms: Option<i64>,
    evidence: &mut Evidence,
) -> anyhow::Result<u64> {
    let mut keys = BTreeSet::new();
    Keep::of(settings).each(&mut |letter| {
        // What was received before the end may have been kept after it.
        let before = letter.at_ms.is_some_and(|at_ms| at_ms < from_ms);
        if before || !keys.insert(letter.key()) {
            return Ok(());
        }
        let contents = Contents::of(&letter);
        let mut names = contents.ids();
        // The embedded form's offsets are the numbers themselves.
        let origin = letter.topic.strip_prefix("journal/").and_then(|id| u64::from_str_radix(id, 16).ok());
        let mut nameless = 0;
        for part in &contents.unreadable {
            let name = match (origin, contents.is_message) {
                (Some(edge_id), _) => Some((edge_id, letter.offset)),
                (None, false) => name_at_head(part.bytes),
                (None, true) => None,
            };
            if name.is_none() {
                nameless += (part.bytes.len() as u64 / EVENT_BYTES_MIN).max(1);
            }
            names.extend(name);
        }
        // A letter of after the end explains what it names and nothing else.
        if to_ms.is_none_or(|to_ms| letter.at_ms.is_none_or(|at_ms| at_ms < to_ms)) {
            evidence.nameless += nameless;
            evidence.nameless_letters += u64::from(nameless > 0);
        }
        let id = letter.id();
        evidence.in_letters.extend(names.into_iter().map(|name| (name, id.clone())));
        Ok(())
    })?;
    Ok(keys.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(found: &[Found]) -> Vec<(u64, u64, &Place)> {
        found.iter().map(|found| (found.first, found.last, &found.place)).collect()
    }

    #[test]
    fn gaps_are_what_no_island_covers() {
        assert_eq!(gaps(&[(3, 5), (8, 8)], 1, 10, false), [(1, 2), (6, 7), (9, 10)]);
        assert_eq!(gaps(&[(1, 10)], 1, 10, false), []);
        assert_eq!(gaps(&[], 4, 6, false), [(4, 6)]);
        assert_eq!(gaps(&[(1, 2), (4, 5)], 1, 9, true), [(3, 3)]);
    }

    #[test]
    fn every_number_is_in_one_place() {
        let evidence = Evidence {
            in_kafka: [((7, 12), 3), ((7, 13), 3), ((7, 21), 0), ((8, 11), 0)].into(),
            in_letters: [((7, 11), "0-1-ab".to_owned())].into(),
            complete: true,
            ..Evidence::default()
        };
        let found = find(7, &[(5, 5), (10, 14), (20, 30)], Some(25), &evidence, &mut Unnamed::default());
        let letter = Place::DeadLetter("0-1-ab".to_owned());
        assert_eq!(
            places(&found),
            [
                (5, 5, &Place::Nowhere),
                (10, 10, &Place::Nowhere),
                (11, 11, &letter),
                (12, 13, &Place::Kafka(3)),
                (14, 14, &Place::Nowhere),
                (20, 20, &Place::Nowhere),
                (21, 21, &Place::Kafka(0)),
                (22, 25, &Place::Nowhere),
                (26, 30, &Place::Journal),
            ]
        );
    }

    #[test]
    fn what_is_nowhere_may_be_where_it_cannot_be_named() {
        let evidence = Evidence { complete: true, ..Evidence::default() };
        let mut unnamed = Unnamed { dropped: 3, letters: 2 };
        let found = find(7, &[(1, 2), (5, 8)], None, &evidence, &mut unnamed);
        assert_eq!(
            places(&found),
            [
                (1, 2, &Place::Dropped),
                (5, 5, &Place::Dropped),
                (6, 7, &Place::NamelessLetter),
                (8, 8, &Place::Nowhere)
            ]
        );
        assert_eq!(unnamed, Unnamed::default());
        let partial = Evidence::default();
        assert_eq!(places(&find(7, &[(1, 2)], None, &partial, &mut unnamed)), [(1, 2, &Place::Unchecked)]);
        assert_eq!(places(&find(7, &[(1, 2)], Some(0), &partial, &mut unnamed)), [(1, 2, &Place::Journal)]);
    }
}
