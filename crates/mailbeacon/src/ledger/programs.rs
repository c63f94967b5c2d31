//! What the running programs say of themselves.

use std::collections::BTreeMap;

use serde::Serialize;

use super::scrape::{self, Page};
use crate::settings::Settings;

/// The law's terms, summed over all programs that answered; the counters are of the time since each started.
#[derive(Debug, Default, Serialize)]
pub struct Programs {
    pub asked: Vec<String>,
    pub unreached: Vec<String>,
    pub accepted: u64,
    pub stored: u64,
    pub duplicate: u64,
    pub dead_lettered: u64,
    pub dropped: BTreeMap<String, u64>,
    /// In the edges' journals, and not acknowledged by Kafka.
    pub journal: u64,
    /// Taken by the consumers, and not known to be stored.
    pub consumer: u64,
    /// Frames that journals found damaged.
    pub damaged: u64,
    pub has_edge: bool,
    pub has_consumer: bool,
    /// The journals of the edges that answered, by edge id.
    #[serde(skip)]
    pub journals: BTreeMap<u64, Journal>,
}

/// How far a journal is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Journal {
    pub last: u64,
    /// None without Kafka.
    pub delivered: Option<u64>,
}

impl Journal {
    /// The first number that may not be delivered, if there is one.
    pub fn first_undelivered(&self) -> Option<u64> {
        let first = self.delivered? + 1;
        (first <= self.last).then_some(first)
    }
}

impl Programs {
    /// Asks all of them, or the one of these settings.
    pub fn ask(settings: &Settings, urls: &[String]) -> Programs {
        let own = [scrape::url_of(settings.admin.listen)];
        let urls = if urls.is_empty() { &own } else { urls };
        let mut programs = Programs::default();
        for url in urls {
            match scrape::page(url) {
                Ok(page) => {
                    programs.asked.push(url.clone());
                    programs.take(&page);
                }
                Err(cause) => programs.unreached.push(format!("{url}: {cause:#}")),
            }
        }
        programs
    }

    fn take(&mut self, page: &Page) {
        self.has_edge |= page.has("edge_accepted_events_total");
        self.has_consumer |= page.has("consumer_inflight_events");
        self.accepted += page.sum("edge_accepted_events_total");
        self.stored += page.sum("consumer_stored_events_total");
        self.duplicate += page.sum("consumer_duplicate_events_total");
        self.dead_lettered += page.sum("consumer_dead_lettered_events_total");
        self.journal += page.sum("edge_inflight_events");
        self.consumer += page.sum("consumer_inflight_events");
        self.damaged += page.sum("edge_journal_bad_frames_total");
        for (labels, count) in page.series("edge_dropped_events_total") {
            *self.dropped.entry(labels.get("reason").cloned().unwrap_or_default()).or_default() += count;
        }
        for (metric, delivered) in [("edge_journal_events", false), ("edge_delivered_events", true)] {
            for (labels, count) in page.series(metric) {
                let Some(edge_id) = labels.get("edge").and_then(|id| u64::from_str_radix(id, 16).ok()) else {
                    continue;
                };
                let journal = self.journals.entry(edge_id).or_default();
                match delivered {
                    true => journal.delivered = Some(*count),
                    false => journal.last = *count,
                }
            }
        }
    }

    /// Numbers that the edges gave and could not keep: writes that the disk refused, and frames that went bad there.
    pub fn dropped_with_numbers(&self) -> u64 {
        self.dropped.get("disk").copied().unwrap_or(0) + self.damaged
    }

    /// What accepted is more, or less, than the rest of the law; none unless both sides answered.
    pub fn difference(&self, on_their_way: u64) -> Option<i64> {
        let dropped: u64 = self.dropped.values().sum();
        let rest = self.stored + self.duplicate + self.dead_lettered + dropped + on_their_way;
        (self.has_edge && self.has_consumer).then_some(self.accepted as i64 - rest as i64)
    }

    /// What could not be asked, and what that leaves open.
    pub fn notes(&self, with_kafka: bool) -> Vec<String> {
        let mut notes: Vec<String> =
            self.unreached.iter().map(|what| format!("not reached: {what}")).collect();
        if !self.has_edge && with_kafka {
            notes.push(
                "no edge answered: what is in its journal is not known, and seems lost if later events are stored \
                 (--metrics URL)"
                    .to_owned(),
            );
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_summed_over_programs() {
        let page = "edge_accepted_events_total{kind=\"open\"} 10\nedge_accepted_events_total{kind=\"click\"} 5\n\
                    edge_dropped_events_total{kind=\"open\",reason=\"disk\"} 2\n\
                    edge_dropped_events_total{kind=\"click\",reason=\"full\"} 1\nedge_inflight_events{worker=\"0\"} 3\n\
                    edge_journal_events{worker=\"0\",edge=\"00000000000000ab\"} 40\n\
                    edge_delivered_events{worker=\"0\",edge=\"00000000000000ab\"} 37\n";
        let mut programs = Programs::default();
        programs.take(&Page::read(page));
        assert_eq!(programs.difference(0), None, "no consumer");
        programs.take(&Page::read("consumer_stored_events_total 7\nconsumer_inflight_events 1\n"));
        assert_eq!((programs.accepted, programs.dropped_with_numbers()), (15, 2));
        assert_eq!(programs.difference(4), Some(1));
        assert_eq!(programs.journals[&0xab], Journal { last: 40, delivered: Some(37) });
    }
}
