//! `dead-letters list`: how many there are and why, and the newest or oldest of them.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use anyhow::bail;
use serde::Serialize;

use super::{Contents, Keep, Letter, Which};
use crate::stdout::say;
use crate::table::table;
use crate::when;

/// Letters that are told apart: each costs some 30 bytes.
const LETTERS_MAX: usize = 2_000_000;
/// Letters that may be listed at a time.
const LIMIT_MAX: usize = 100_000;
/// Different reasons that are counted; numbers in them do not tell them apart.
const REASONS_MAX: usize = 1_000;

/// How to list.
pub struct Shape {
    pub limit: usize,
    pub oldest: bool,
    pub json: bool,
}

#[derive(Serialize)]
struct Listing {
    kept_in: String,
    letters: u64,
    /// More than `letters`, when a crash kept some twice.
    copies: u64,
    reasons: Vec<Count>,
    listed: Vec<Entry>,
}

/// Letters of one reason. Numbers in it are left out.
#[derive(Serialize)]
struct Count {
    reason: String,
    letters: u64,
    /// Of them: with an event that can be read now.
    readable: u64,
    bytes: u64,
    first_at: Option<String>,
    last_at: Option<String>,
}

#[derive(Serialize)]
struct Entry {
    id: String,
    kept_at: Option<String>,
    topic: String,
    partition: u32,
    offset: u64,
    bytes: u64,
    copies: u64,
    readable_events: u64,
    unreadable_parts: u64,
    now: String,
    reason: String,
}

/// Prints the list.
pub fn run(keep: &Keep, which: &Which, shape: &Shape) -> anyhow::Result<()> {
    if shape.limit > LIMIT_MAX {
        bail!("--limit {}: expected at most {LIMIT_MAX}", shape.limit);
    }
    let listing = read(keep, which, shape)?;
    match shape.json {
        true => {
            let json = serde_json::to_string_pretty(&listing)?;
            say(|out| writeln!(out, "{json}"))
        }
        false => say(|out| print(out, &listing, shape)),
    }
}

fn read(keep: &Keep, which: &Which, shape: &Shape) -> anyhow::Result<Listing> {
    let mut counts: BTreeMap<String, (Count, Option<i64>, Option<i64>)> = BTreeMap::new();
    // What comes first in the list comes first in this order; the place in it breaks ties.
    let mut listed: BTreeMap<(i64, u64), Entry> = BTreeMap::new();
    let mut places: HashMap<[u8; 16], (i64, u64)> = HashMap::new();
    let (mut letters, mut copies) = (0, 0);
    keep.each(&mut |letter| {
        if !which.takes(&letter) {
            return Ok(());
        }
        copies += 1;
        let key = letter.key();
        if let Some(place) = places.get(&key) {
            listed.entry(*place).and_modify(|entry| entry.copies += 1);
            return Ok(());
        }
        if places.len() == LETTERS_MAX {
            bail!(
                "{}: more than {LETTERS_MAX} letters, narrow it with --from, --to or --partition",
                keep.name()
            );
        }
        let (at_ms, number) = (letter.at_ms.unwrap_or(0), letters as i64);
        let place = match shape.oldest {
            true => (at_ms, number as u64),
            false => (-at_ms, u64::MAX - number as u64),
        };
        places.insert(key, place);
        letters += 1;
        let entry = entry(&letter);
        count(&mut counts, &letter, &entry);
        listed.insert(place, entry);
        if listed.len() > shape.limit {
            listed.pop_last();
        }
        Ok(())
    })?;
    let mut reasons: Vec<Count> = counts
        .into_values()
        .map(|(count, first, last)| Count {
            first_at: first.map(when::text),
            last_at: last.map(when::text),
            ..count
        })
        .collect();
    reasons.sort_by_key(|count| std::cmp::Reverse(count.letters));
    Ok(Listing { kept_in: keep.name(), letters, copies, reasons, listed: listed.into_values().collect() })
}

fn entry(letter: &Letter) -> Entry {
    let contents = Contents::of(letter);
    Entry {
        id: letter.id(),
        kept_at: letter.at_ms.map(when::text),
        topic: letter.topic.clone(),
        partition: letter.partition,
        offset: letter.offset,
        bytes: letter.bytes.len() as u64,
        copies: 1,
        readable_events: contents.events.len() as u64,
        unreadable_parts: contents.unreadable.len() as u64,
        now: contents.summary(),
        reason: letter.reason.clone(),
    }
}

fn count(counts: &mut BTreeMap<String, (Count, Option<i64>, Option<i64>)>, letter: &Letter, entry: &Entry) {
    let mut reason = without_numbers(&letter.reason);
    if counts.len() == REASONS_MAX && !counts.contains_key(&reason) {
        reason = "other".to_owned();
    }
    let (count, first, last) = counts.entry(reason.clone()).or_insert_with(|| {
        let none = Count { reason, letters: 0, readable: 0, bytes: 0, first_at: None, last_at: None };
        (none, None, None)
    });
    count.letters += 1;
    count.readable += u64::from(entry.readable_events > 0);
    count.bytes += entry.bytes;
    *first = first.iter().copied().chain(letter.at_ms).min();
    *last = last.iter().copied().chain(letter.at_ms).max();
}

fn print(out: &mut dyn Write, listing: &Listing, shape: &Shape) -> io::Result<()> {
    let Listing { kept_in, letters, copies, reasons, listed } = listing;
    let twice = if copies > letters { format!(" ({copies} copies)") } else { String::new() };
    writeln!(out, "{letters} dead letters in {kept_in}{twice}")?;
    if *letters == 0 {
        return Ok(());
    }
    let time = |at: &Option<String>| at.clone().unwrap_or_else(|| "-".to_owned());
    let rows: Vec<Vec<String>> = reasons
        .iter()
        .map(|c| {
            let Count { reason, letters, readable, bytes, first_at, last_at } = c;
            vec![
                letters.to_string(),
                readable.to_string(),
                bytes.to_string(),
                time(first_at),
                time(last_at),
                reason.clone(),
            ]
        })
        .collect();
    writeln!(out, "\n{}", table(&[">letters", ">readable", ">bytes", "first", "last", "reason"], &rows))?;
    let rows: Vec<Vec<String>> = listed
        .iter()
        .map(|e| {
            let origin = format!("{}/{}@{}", e.topic, e.partition, e.offset);
            vec![e.id.clone(), time(&e.kept_at), origin, e.bytes.to_string(), e.now.clone(), e.reason.clone()]
        })
        .collect();
    write!(out, "{}", table(&["id", "kept", "from", ">bytes", "now", "reason"], &rows))?;
    if (listed.len() as u64) < *letters {
        let which = if shape.oldest { "oldest" } else { "newest" };
        writeln!(out, "the {} {which} of {letters}: --limit N shows more", listed.len())?;
    }
    Ok(())
}

/// `truncated at byte 5 of 9` and `... 7 of 8` are one reason.
fn without_numbers(reason: &str) -> String {
    let is_number = |word: &str| word.bytes().all(|b| b.is_ascii_digit()) && !word.is_empty();
    let words: Vec<&str> = reason.split(' ').map(|word| if is_number(word) { "#" } else { word }).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_do_not_tell_reasons_apart() {
        assert_eq!(super::without_numbers("truncated at byte 15 of 9"), "truncated at byte # of #");
        assert_eq!(super::without_numbers("field 16 is not UTF-8"), "field # is not UTF-8");
    }
}
