//! The edge's journals as a source: the embedded default, without Kafka in between.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use journal::{Position, Reader};
use serde_json::json;
use tokio::runtime::Handle;

use super::{CommitError, DeadLetter, Part, Payload, Polled, Source, SourceError, Taken};

/// Bytes handed over in one poll for each journal.
const READ_BYTES_MAX: usize = 1 << 20;
/// The file of dead letters takes no more than this: past it, parts with unreadable frames stand still.
const DEAD_LETTERS_BYTES_MAX: u64 = 256 << 20;

/// The journals of this process's edge.
///
/// A part is one edge id's stretch of one journal: within it the sequence is the offset. A journal that got a new
/// edge id (after a loss of power) holds two stretches; the second starts when the first is acknowledged.
pub struct JournalSource {
    lanes: Vec<Lane>,
    dead_letters: PathBuf,
    runtime: Handle,
}

struct Lane {
    reader: Reader,
    part: Part,
    edge_id: u64,
    /// The last position of the stretch before this one: what is not after it carries its edge id.
    before: Option<Position>,
    /// The last sequence handed over.
    taken: u64,
    committed: Option<u64>,
    /// What stood beside the checkpoint at the start.
    note: String,
    announced: bool,
    paused: bool,
    /// Frames are batches of events from elsewhere: an offset is no event's own number.
    is_replay: bool,
    /// Frames of the next edge id: they wait until everything before them is acknowledged.
    stash: Vec<(Position, Vec<u8>)>,
}

impl JournalSource {
    /// Reads these journals. What cannot be read goes to a file of JSON lines.
    pub fn new(readers: Vec<Reader>, dead_letters: PathBuf, runtime: Handle) -> Self {
        let lanes = readers.into_iter().zip(0..).map(|(reader, number)| Lane::new(reader, number)).collect();
        JournalSource { lanes, dead_letters, runtime }
    }

    /// Also reads this journal, whose frames are batches of replayed events.
    pub fn with_replays(mut self, reader: Reader) -> Self {
        let number = self.lanes.len() as u32;
        self.lanes.push(Lane { is_replay: true, ..Lane::new(reader, number) });
        self
    }

    fn lane(&mut self, part: &Part) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.part == *part)
    }
}

impl Lane {
    fn new(reader: Reader, number: u32) -> Self {
        let (position, note) = reader.checkpointed();
        let note = String::from_utf8_lossy(note).into_owned();
        let checkpointed = position.map_or(0, |position| position.edge_id);
        let (edge_id, note) = Note::read(&note).unwrap_or((checkpointed, note));
        Lane {
            part: part(edge_id, number),
            edge_id,
            before: position.filter(|position| position.edge_id != edge_id),
            taken: position.map_or(0, |position| position.seq),
            committed: position.map(|position| position.seq + 1),
            note,
            announced: false,
            paused: false,
            is_replay: false,
            stash: Vec::new(),
            reader,
        }
    }

    fn read(&mut self, take: &mut dyn FnMut(Polled<'_>) -> Taken) -> Result<usize, SourceError> {
        if !self.announced && self.edge_id != 0 {
            self.announced = true;
            let note = std::mem::take(&mut self.note);
            take(Polled::Assigned { part: self.part.clone(), committed: self.committed, note });
        }
        if let Some((next, _)) = self.stash.first() {
            if self.is_behind() {
                take(Polled::Ended(&self.part));
                return Ok(0);
            }
            self.enter(next.edge_id, take);
        }
        let Lane { reader, part, edge_id, taken, stash, is_replay, .. } = self;
        let mut hand_over = |position: Position, payload: &[u8], stash: &mut Vec<_>| {
            if position.edge_id == *edge_id && stash.is_empty() {
                *taken = position.seq;
                let payload = if *is_replay { Payload::Batch(payload) } else { Payload::Event(payload) };
                take(Polled::Message { part, offset: position.seq, payload });
            } else {
                stash.push((position, payload.to_vec()));
            }
        };
        let mut read = 0;
        for (position, payload) in std::mem::take(stash) {
            read += 1;
            hand_over(position, &payload, stash);
        }
        if stash.is_empty() {
            read += reader
                .read(READ_BYTES_MAX, |frame| hand_over(frame.position(), frame.payload, stash))
                .map_err(|cause| SourceError {
                    what: format!("journal {}: {cause}", part.number),
                    retry: true,
                })?;
        }
        if !self.stash.is_empty() && !self.is_behind() {
            // Nothing to wait for: a stretch that was just found is not left for a poll that may not come.
            read += self.read(take)?;
        }
        Ok(read)
    }

    /// Whether frames of the current edge id are not acknowledged yet.
    fn is_behind(&self) -> bool {
        self.announced && self.committed.is_none_or(|committed| committed <= self.taken) && self.taken > 0
    }

    /// Goes on with the stretch of another edge id.
    fn enter(&mut self, edge_id: u64, take: &mut dyn FnMut(Polled<'_>) -> Taken) {
        if self.announced {
            take(Polled::Left(vec![self.part.clone()]));
            self.before = Some(Position { edge_id: self.edge_id, seq: self.taken });
        }
        (self.edge_id, self.part) = (edge_id, part(edge_id, self.part.number));
        (self.committed, self.announced, self.paused) = (None, true, false);
        take(Polled::Assigned { part: self.part.clone(), committed: None, note: String::new() });
    }

    /// The position that a commit of `offset` declares done. Sequences start at 1, so there is one before each.
    fn done_before(&self, offset: u64) -> Position {
        // An intended range may be longer than what is left of it: the checkpoint cannot pass what was read.
        let seq = offset.saturating_sub(1).min(self.taken);
        match self.before {
            Some(before) if seq <= before.seq => before,
            _ => Position { edge_id: self.edge_id, seq },
        }
    }
}

fn part(edge_id: u64, number: u32) -> Part {
    Part { topic: Arc::from(format!("journal/{edge_id:016x}")), number }
}

/// The edge id before a note: the position beside it may still be of the stretch before.
struct Note;

impl Note {
    fn write(edge_id: u64, note: &str) -> String {
        format!("{edge_id:016x} {note}")
    }

    fn read(text: &str) -> Option<(u64, String)> {
        let (edge_id, note) = text.split_once(' ')?;
        Some((u64::from_str_radix(edge_id, 16).ok()?, note.to_owned()))
    }
}

impl Source for JournalSource {
    fn poll(&mut self, wait: Duration, take: &mut dyn FnMut(Polled<'_>) -> Taken) -> Result<(), SourceError> {
        let (mut read, mut failed) = (0, None);
        for lane in self.lanes.iter_mut().filter(|lane| !lane.paused) {
            match lane.read(take) {
                Ok(frames) => read += frames,
                // The other journals go on.
                Err(cause) => failed = Some(cause),
            }
        }
        if let Some(cause) = failed {
            return Err(cause);
        }
        if read == 0 {
            let lanes = self.lanes.iter_mut().filter(|lane| !lane.paused && lane.stash.is_empty());
            let mut waits: Vec<Pin<Box<_>>> = lanes.map(|lane| Box::pin(lane.reader.readable())).collect();
            let any = std::future::poll_fn(|cx| {
                match waits.iter_mut().any(|wait| wait.as_mut().poll(cx).is_ready()) {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            });
            let _ = self.runtime.block_on(async { tokio::time::timeout(wait, any).await });
        }
        Ok(())
    }

    fn commit(&mut self, part: &Part, offset: u64, note: &str) -> Result<(), CommitError> {
        let Some(lane) = self.lane(part) else {
            return Err(CommitError::Fenced("the journal has gone on".to_owned()));
        };
        let (position, note) = (lane.done_before(offset), Note::write(lane.edge_id, note));
        lane.reader
            .checkpoint(position, note.as_bytes())
            .map_err(|cause| CommitError::Retry(format!("journal {}: {cause}", part.number)))?;
        lane.committed = Some(offset);
        Ok(())
    }

    fn pause(&mut self, part: &Part, paused: bool) {
        if let Some(lane) = self.lane(part) {
            lane.paused = paused;
        }
    }

    fn rewind(&mut self, part: &Part, offset: u64) -> Result<(), SourceError> {
        let Some(lane) = self.lane(part) else {
            return Err(SourceError { what: "the journal has gone on".to_owned(), retry: true });
        };
        let position = lane.done_before(offset);
        lane.reader.seek(position).map_err(|cause| SourceError {
            what: format!("journal {}: {cause}", part.number),
            retry: true,
        })?;
        // Frames of the next edge id are read again, too.
        lane.stash.clear();
        lane.taken = offset.saturating_sub(1);
        Ok(())
    }

    /// Journals are never revoked: nobody else can read them.
    fn release(&mut self, _: &[Part]) {}

    fn dead_letters(&mut self, letters: &[DeadLetter]) -> Result<(), SourceError> {
        let mut lines = String::new();
        for DeadLetter { part, offset, reason, bytes } in letters {
            let line = json!({
                "origin_topic": &*part.topic, "origin_partition": part.number, "origin_offset": offset,
                "reason": reason, "bytes": hex::encode(bytes),
            });
            lines.push_str(&format!("{line}\n"));
        }
        append(&self.dead_letters, lines).map_err(|cause| SourceError {
            what: format!("{}: {cause}", self.dead_letters.display()),
            retry: true,
        })
    }

    fn drains(&self) -> bool {
        true
    }
}

fn append(path: &Path, mut lines: String) -> std::io::Result<()> {
    let mut file: File = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    let bytes = file.metadata()?.len();
    if bytes + lines.len() as u64 > DEAD_LETTERS_BYTES_MAX {
        return Err(std::io::Error::other(format!(
            "more than {DEAD_LETTERS_BYTES_MAX} bytes of dead letters"
        )));
    }
    if bytes > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            // A crash cut a line short: the next one starts on its own.
            lines.insert(0, '\n');
        }
    }
    file.write_all(lines.as_bytes())?;
    file.sync_data()
}
