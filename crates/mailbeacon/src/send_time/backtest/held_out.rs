//! The mails after the cut: in which hour each one went out, and whether a person opened it within an hour.

use std::collections::BTreeMap;

use send_time::baselines::{is_counted, most_frequent, over_three_hours};
use send_time::offpolicy::Cell;
use send_time::{Hours, Weekday, zone};
use serde::Serialize;
use store::{Engagement, Exploration};

use super::super::person::{Clock, Person, machines, opened_within_hour, person};

const HOUR_MS: i64 = 3_600_000;

/// What is held out, and which of it is judged.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// The cut: what was before is known, Unix milliseconds.
    pub from_ms: i64,
    /// What is later is not looked at, Unix milliseconds.
    pub until_ms: i64,
    /// The days on which mails are judged.
    pub weekday: Weekday,
}

/// A recipient with mails after the cut.
pub struct HeldOut {
    /// Their key.
    pub recipient: u64,
    /// The hour in which their acts before the cut are most frequent, as recorded; None when there were none.
    pub most_frequent: Option<u8>,
    /// The same over three hours, machines out.
    pub smoothed: Option<u8>,
    /// Their mails.
    pub cells: Box<[Cell]>,
}

/// Mails that are not judged, by the reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// To people whose images are fetched ahead: when they open is not seen.
    pub fetched_ahead: u64,
    /// To people of whom nobody knows what time it is where they are.
    pub time_zone_unknown: u64,
    /// Sent less than an hour before the end.
    pub too_late: u64,
    /// To people for whom nothing was recommended.
    pub not_recommended: u64,
}

/// All mails after the cut.
pub struct Collected<'a> {
    span: Span,
    /// By message and recipient.
    drawn: &'a [Exploration],
    /// Everybody's acts before the cut, as recorded, by local hour.
    pub everybody: Hours,
    /// By recipient key.
    pub people: Vec<HeldOut>,
    /// What is not among them.
    pub left_out: LeftOut,
}

impl<'a> Collected<'a> {
    /// Nothing yet. `drawn` is ordered by message and recipient.
    pub fn new(span: Span, drawn: &'a [Exploration]) -> Collected<'a> {
        Collected { span, drawn, everybody: [0.0; 24], people: Vec::new(), left_out: LeftOut::default() }
    }

    /// Adds a recipient for whom there may be a send time, by all of their events.
    pub fn take(&mut self, known: &Person, events: &[Engagement]) {
        let events = &events[..events.partition_point(|event| event.at_ms < self.span.until_ms)];
        let before = &events[..events.partition_point(|event| event.at_ms < self.span.from_ms)];
        let clock = Clock(known.time_zone.as_deref().and_then(zone::rules));
        let (mut recorded, mut counted) = ([0.0; 24], [0.0; 24]);
        for event in before {
            let (Some((kind, seen)), Some(bin)) = (act(event), clock.bin(event)) else { continue };
            recorded[bin % 24] += 1.0;
            counted[bin % 24] += f64::from(u8::from(is_counted(kind, seen, known.machines.prefetched())));
        }
        self.everybody.iter_mut().zip(recorded).for_each(|(sum, hour)| *sum += hour);
        let mails = opened_within_hour(events, self.span.from_ms);
        // What was found out of their machines since the cut makes earlier opens no person's either.
        if machines(events).prefetched() {
            self.left_out.fetched_ahead += mails.count() as u64;
            return;
        }
        let mut cells: BTreeMap<(u8, bool), Cell> = BTreeMap::new();
        for (sent, opened) in mails {
            if sent.at_ms > self.span.until_ms - HOUR_MS {
                self.left_out.too_late += 1;
                continue;
            }
            // By the clock for which is recommended.
            let Some(bin) = clock.0.as_ref().and_then(|rules| zone::local_bin(sent.at_ms, rules)) else {
                self.left_out.time_zone_unknown += 1;
                continue;
            };
            let judged = match self.span.weekday {
                Weekday::Any => true,
                Weekday::Weekday => bin < 24,
                Weekday::Weekend => bin >= 24,
            };
            if judged {
                let (bin, drawn) = (bin as u8, self.is_drawn(sent, bin % 24));
                let cell = cells.entry((bin, drawn)).or_insert(Cell { bin, drawn, mails: 0, opened: 0.0 });
                cell.mails += 1;
                cell.opened += opened as f32;
            }
        }
        if !cells.is_empty() {
            let hour = |hours: &Hours| most_frequent(hours).map(|hour| hour as u8);
            self.people.push(HeldOut {
                recipient: events[0].recipient,
                most_frequent: hour(&recorded),
                smoothed: hour(&over_three_hours(&counted)),
                cells: cells.into_values().collect(),
            });
        }
    }

    /// Whether a mail went out in the hour that was drawn for it. In another one it went out as the sender chose.
    fn is_drawn(&self, sent: &Engagement, hour: usize) -> bool {
        let name = (sent.message, sent.recipient);
        let place = self.drawn.binary_search_by_key(&name, |drawn| (drawn.message, drawn.recipient));
        place.is_ok_and(|place| usize::from(self.drawn[place].hour) == hour)
    }
}

/// An open, a click or a download, by whomever; who it was when it was a person.
fn act(event: &Engagement) -> Option<(send_time::evidence::Kind, Option<send_time::evidence::Seen>)> {
    use send_time::evidence::Kind;
    let kind = match event.kind {
        2 => Kind::Open,
        3 => Kind::Click,
        4 => Kind::Download,
        _ => return None,
    };
    Some((kind, person(event).map(|(_, seen)| seen)))
}
