//! Messages that wait until it is known which visits were before them.

use event::Batch as Frames;

use crate::source::Payload;

/// Whether the visits before a part's next message are known, and the messages that wait for it.
#[derive(Debug)]
pub struct Past {
    /// They are: nothing waits.
    pub is_known: bool,
    /// No more messages will come.
    pub ended: bool,
    waiting: Vec<(u64, Message)>,
    bytes: usize,
    events: usize,
}

/// A message, kept.
#[derive(Debug)]
pub struct Message {
    bytes: Vec<u8>,
    is_batch: bool,
}

impl Message {
    /// As it came.
    pub fn payload(&self) -> Payload<'_> {
        match self.is_batch {
            true => Payload::Batch(&self.bytes),
            false => Payload::Event(&self.bytes),
        }
    }
}

impl Past {
    /// Nothing waits.
    pub fn new(is_known: bool) -> Self {
        Past { is_known, ended: false, waiting: Vec::new(), bytes: 0, events: 0 }
    }

    /// Keeps a message. How much there is [`Past::bytes`] says: the part takes no more when that is too much.
    pub fn wait(&mut self, offset: u64, payload: Payload<'_>) {
        let (bytes, is_batch) = match payload {
            Payload::Event(bytes) => (bytes, false),
            Payload::Batch(bytes) => (bytes, true),
        };
        self.bytes += bytes.len() + size_of::<(u64, Message)>();
        self.events += if is_batch { Frames::new(bytes).count() } else { 1 };
        self.waiting.push((offset, Message { bytes: bytes.to_vec(), is_batch }));
    }

    /// Whether anything waits.
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty() || self.ended
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Events that wait.
    pub fn events(&self) -> usize {
        self.events
    }

    /// They are known from now on: what has waited, and whether no more will come.
    pub fn known(&mut self) -> (Vec<(u64, Message)>, bool) {
        let Past { waiting, ended, .. } = std::mem::replace(self, Past::new(true));
        (waiting, ended)
    }
}
