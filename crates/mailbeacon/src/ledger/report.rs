//! The balance as text.

use std::io::{self, Write};

use super::{Edge, Found, Ledger, Place, Programs};
use crate::table::table;

/// Lines about missing numbers for each edge: the rest is in `--json`.
const LINES_MAX: usize = 30;

/// Prints it, the verdict last.
pub fn print(out: &mut dyn Write, ledger: &Ledger) -> io::Result<()> {
    writeln!(
        out,
        "from {} to {}\n",
        ledger.from,
        ledger.to.as_deref().unwrap_or("now, with what is on its way")
    )?;
    edges(out, ledger)?;
    for edge in &ledger.edges {
        details(out, edge)?;
    }
    kafka(out, ledger)?;
    letters(out, ledger)?;
    counters(out, ledger)?;
    for note in &ledger.notes {
        writeln!(out, "note: {note}")?;
    }
    writeln!(out, "{}", verdict(ledger))
}

fn edges(out: &mut dyn Write, ledger: &Ledger) -> io::Result<()> {
    if ledger.edges.is_empty() {
        writeln!(out, "no edge has an event in this time")?;
        return Ok(());
    }
    let numbers = |edge: &Edge| {
        let of = |is: fn(&Place) -> bool| edge.count(is);
        [
            edge.events,
            edge.duplicates,
            edge.missing,
            of(|place| *place == Place::Journal),
            of(|place| matches!(place, Place::Kafka(_))),
            of(|place| matches!(place, Place::DeadLetter(_) | Place::NamelessLetter)),
            of(|place| *place == Place::Dropped),
            of(|place| *place == Place::Unchecked),
            of(|place| *place == Place::Nowhere),
        ]
    };
    let mut rows = Vec::new();
    let mut total = [0; 9];
    for edge in &ledger.edges {
        let numbers = numbers(edge);
        total.iter_mut().zip(&numbers).for_each(|(sum, number)| *sum += number);
        let mut row = vec![edge.edge.clone(), edge.first.to_string(), edge.last.to_string()];
        row.extend(numbers.iter().map(u64::to_string));
        rows.push(row);
    }
    if rows.len() > 1 {
        let mut row = vec!["all".to_owned(), String::new(), String::new()];
        row.extend(total.iter().map(u64::to_string));
        rows.push(row);
    }
    let headings = [
        "edge",
        ">first",
        ">last",
        ">stored",
        ">twice",
        ">missing:",
        ">journal",
        ">kafka",
        ">dead",
        ">dropped",
        ">unchecked",
        ">LOST",
    ];
    writeln!(out, "{}", table(&headings, &rows))?;
    Ok(())
}

fn details(out: &mut dyn Write, edge: &Edge) -> io::Result<()> {
    if edge.duplicates > 0 {
        let numbers: Vec<String> = edge.duplicated.iter().map(u64::to_string).collect();
        let more = if edge.duplicates > edge.duplicated.len() as u64 { ", ..." } else { "" };
        writeln!(
            out,
            "edge {}: {} rows too many: numbers {}{more}",
            edge.edge,
            edge.duplicates,
            numbers.join(", ")
        )?;
    }
    for found in edge.found.iter().take(LINES_MAX) {
        writeln!(out, "edge {}: {}", edge.edge, line(found))?;
    }
    if edge.found.len() > LINES_MAX {
        writeln!(
            out,
            "edge {}: and {} more such lines (--json has all)",
            edge.edge,
            edge.found.len() - LINES_MAX
        )?;
    }
    Ok(())
}

fn line(found: &Found) -> String {
    let Found { first, last, place } = found;
    let numbers = match first == last {
        true => format!("number {first}"),
        false => format!("numbers {first} to {last} ({})", found.count()),
    };
    let place = match place {
        Place::Journal => "still in its journal".to_owned(),
        Place::Kafka(partition) => format!("in kafka, partition {partition}, not consumed yet"),
        Place::DeadLetter(id) => format!("dead-lettered: mailbeacon dead-letters show {id}"),
        Place::NamelessLetter => "probably dead-lettered: a letter does not say what it held".to_owned(),
        Place::Dropped => "shed by the edge: its disk refused or lost them".to_owned(),
        Place::Unchecked => "not found, where not all could be looked at".to_owned(),
        Place::Nowhere => "LOST: accepted, and nowhere to be found".to_owned(),
    };
    format!("{numbers} {place}")
}

fn kafka(out: &mut dyn Write, ledger: &Ledger) -> io::Result<()> {
    let Some(waiting) = &ledger.waiting else { return Ok(()) };
    let behind: Vec<String> = waiting
        .partitions
        .iter()
        .filter(|p| p.end > p.committed)
        .map(|p| {
            format!(
                "partition {}: {} (offsets {} to {})",
                p.partition,
                p.end - p.committed,
                p.committed,
                p.end
            )
        })
        .collect();
    match behind.is_empty() {
        true => writeln!(out, "kafka: every message is consumed")?,
        false => writeln!(out, "kafka: messages not consumed yet: {}", behind.join(", "))?,
    }
    Ok(())
}

fn letters(out: &mut dyn Write, ledger: &Ledger) -> io::Result<()> {
    match ledger.dead_letters {
        None => Ok(()),
        Some(0) => writeln!(out, "dead letters: none"),
        Some(letters) => {
            writeln!(
                out,
                "dead letters: {letters}, {} of them do not name all that they held",
                ledger.nameless_letters
            )
        }
    }
}

fn counters(out: &mut dyn Write, ledger: &Ledger) -> io::Result<()> {
    let programs = &ledger.programs;
    if programs.asked.is_empty() {
        return Ok(());
    }
    let dropped: Vec<String> =
        programs.dropped.iter().filter(|(_, n)| **n > 0).map(|(reason, n)| format!("{reason} {n}")).collect();
    let dropped = if dropped.is_empty() { "0".to_owned() } else { format!("({})", dropped.join(", ")) };
    let Programs { accepted, stored, duplicate, dead_lettered, journal, consumer, .. } = programs;
    writeln!(
        out,
        "counted since start: accepted {accepted} = stored {stored} + duplicate {duplicate} + dead-lettered \
         {dead_lettered} + dropped {dropped} + in flight {}",
        ledger.on_their_way()
    )?;
    writeln!(out, "  in flight as they see it: {journal} in the journals, {consumer} at the consumers")?;
    match ledger.counters_differ_by {
        None | Some(0) => (),
        Some(n) => writeln!(
            out,
            "  differs by {n}: some started later, events moved meanwhile, came twice or were imported (the numbers above decide)"
        )?,
    }
    Ok(())
}

fn verdict(ledger: &Ledger) -> String {
    let missing: u64 = ledger.edges.iter().map(|edge| edge.missing).sum();
    let far = if ledger.complete { "" } else { " as far as could be looked" };
    match (ledger.lost, ledger.duplicated, ledger.unchecked, missing) {
        (0, 0, 0, 0) => format!("balanced{far}: every event is stored, once"),
        (0, 0, 0, missing) => {
            format!("balanced{far}: {missing} events are not stored, and each was found elsewhere")
        }
        (0, 0, unchecked, _) => format!("balanced{far}: {unchecked} events may be where it could not"),
        (lost, duplicated, ..) => format!("NOT BALANCED{far}: {lost} lost, {duplicated} stored twice"),
    }
}
