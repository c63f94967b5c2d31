//! What of a letter can be read now.

use consumer::BROKEN_BATCH;
use event::{Batch, Event};

use super::Letter;
use crate::inlet::EventId;

/// The events in a letter, and the rest.
#[derive(Debug, Default, PartialEq)]
pub struct Contents<'a> {
    /// Events that the consumer would store, encoded.
    pub events: Vec<&'a [u8]>,
    /// What it would not: encoded events, or the rest of a message behind the place where its framing breaks.
    pub unreadable: Vec<Unreadable<'a>>,
    /// Whether it is a whole message.
    pub is_message: bool,
}

/// A part that cannot be read, and why.
#[derive(Debug, PartialEq)]
pub struct Unreadable<'a> {
    /// The part.
    pub bytes: &'a [u8],
    /// What is wrong with it.
    pub why: String,
}

impl<'a> Contents<'a> {
    /// Reads a letter with what this program knows: a newer one may read what an older one could not.
    pub fn of(letter: &'a Letter) -> Contents<'a> {
        let mut contents =
            Contents { is_message: letter.reason.starts_with(BROKEN_BATCH), ..Contents::default() };
        if !contents.is_message {
            contents.take(&letter.bytes);
            return contents;
        }
        let mut behind = 0;
        for frame in Batch::new(&letter.bytes) {
            match frame {
                Ok(event) => {
                    // A frame is a slice of the message.
                    behind = event.as_ptr() as usize - letter.bytes.as_ptr() as usize + event.len();
                    contents.take(event);
                }
                Err(broken) => contents
                    .unreadable
                    .push(Unreadable { bytes: &letter.bytes[behind..], why: format!("framing: {broken}") }),
            }
        }
        contents
    }

    fn take(&mut self, bytes: &'a [u8]) {
        match check(bytes) {
            Ok(_) => self.events.push(bytes),
            Err(why) => self.unreadable.push(Unreadable { bytes, why }),
        }
    }

    /// The names of its events.
    pub fn ids(&self) -> Vec<EventId> {
        self.events
            .iter()
            .filter_map(|bytes| check(bytes).ok())
            .map(|event| (event.edge_id, event.seq))
            .collect()
    }

    /// In a word or two.
    pub fn summary(&self) -> String {
        match (self.events.len(), self.unreadable.len()) {
            (0, _) => "unreadable".to_owned(),
            (1, 0) => "readable".to_owned(),
            (events, 0) => format!("{events} readable"),
            (events, parts) => format!("{events} readable, {parts} not"),
        }
    }
}

/// Whether the consumer would store these bytes as an event, and whether it could tell that it already has.
pub fn check(bytes: &[u8]) -> Result<Event<'_>, String> {
    let event = consumer::readable(bytes)?;
    // Without a name it would be taken for any other event without one.
    if event.edge_id == 0 || event.seq == 0 {
        return Err("no edge id or number".to_owned());
    }
    Ok(event)
}

#[cfg(test)]
mod tests {
    use event::Kind;

    use super::*;

    fn event(seq: u64) -> Vec<u8> {
        let event = Event { edge_id: 7, seq, kind: Kind::Open, received_at_ms: 1, ..Event::default() };
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        bytes
    }

    fn letter(reason: &str, bytes: Vec<u8>) -> Letter {
        let (topic, reason) = ("t".to_owned(), reason.to_owned());
        Letter { topic, partition: 1, offset: 2, reason, at_ms: None, bytes, copies: 1 }
    }

    #[test]
    fn of_a_broken_message_the_events_before_the_break_are_read() {
        let mut bytes = Vec::new();
        Batch::push(&mut bytes, &event(1));
        Batch::push(&mut bytes, b"\xff");
        Batch::push(&mut bytes, &event(2));
        bytes.extend([200, 1, 2, 3]);
        let letter = letter("broken batch: truncated at byte 40 of 42", bytes);
        let contents = Contents::of(&letter);
        assert_eq!(contents.ids(), [(7, 1), (7, 2)]);
        let rest: Vec<&[u8]> = contents.unreadable.iter().map(|part| part.bytes).collect();
        assert_eq!(rest, [&b"\xff"[..], &[200, 1, 2, 3]]);
        assert_eq!(contents.summary(), "2 readable, 2 not");
    }

    #[test]
    fn one_event_is_read_or_not() {
        let good = letter("no kind", event(3));
        assert_eq!(Contents::of(&good).ids(), [(7, 3)]);
        let nameless = letter("no kind", event(0));
        assert_eq!(Contents::of(&nameless).unreadable[0].why, "no edge id or number");
        assert_eq!(Contents::of(&letter("no kind", Vec::new())).summary(), "unreadable");
    }

    #[test]
    fn a_letter_is_named_by_its_origin_and_bytes() {
        let (a, b) = (letter("x", vec![1]), letter("y", vec![1]));
        assert_eq!(a.id(), b.id(), "the reason may be worded anew");
        assert_ne!(a.id(), letter("x", vec![2]).id());
        assert!(a.id().starts_with("1-2-"), "{}", a.id());
    }
}
