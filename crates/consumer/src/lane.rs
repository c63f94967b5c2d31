//! One part (partition): the batch that fills, the one that waits, the one under way, and what to do next about them.
//!
//! A machine without input or output: [`Lane::next`] says what has to be done, one thing at a time, and
//! [`Lane::done`] takes up what it came to. The pipeline does these things on real parts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use enrich::Enricher;
use metrics::{counter, histogram};
use store::InsertError;
use tracing::{error, warn};

use crate::aside::Answer;
use crate::batch::{Batch, Counts, Seen};
use crate::intent::{Group, Intent};
use crate::past::Past;
use crate::source::{CommitError, DeadLetter, Part, Payload};
use crate::task::{Done, Question, Task};
use crate::writer::{self, Backoff, Next, WriteError, Writing};

/// Messages in a row of which nothing can be read before a part stands still: that is no broken message any more
/// but another topic, or a contract that this program does not know, and putting all of it aside helps nobody.
const UNREADABLE_MAX: usize = 1_000;
/// When there is nothing to follow up, a commit acknowledges the last batch after this long.
const IDLE_COMMIT_AFTER: Duration = Duration::from_secs(1);
/// Dead letters that are kept at a time, and their bytes: the source is polled in between.
const LETTERS_AT_ONCE: usize = 500;
const LETTERS_BYTES_AT_ONCE: usize = 4 << 20;

/// One part.
pub struct Lane {
    /// Which ownership of the part this is.
    pub epoch: u64,
    /// The offset of the last commit.
    pub committed: Option<u64>,
    /// An intent of an earlier owner: its range is written again before anything else.
    pub rerun: Option<Intent>,
    /// Fills.
    pub batch: Batch,
    /// Full or old enough, waits for the one under way.
    pub ready: Option<Batch>,
    /// When the last batch was written.
    pub written_at: Instant,
    /// After a failure: not before.
    pub retry_at: Instant,
    /// Why it stands still, if it does.
    pub trouble: Option<String>,
    /// What a batch may have.
    pub bound: Bound,
    /// Others are being written: what it has goes on growing until it is its turn.
    pub waits: bool,
    /// The turn that it has, or had last.
    pub turn: u64,
    /// Others have the same turn: the next batch goes in one insert with theirs.
    pub joins: bool,
    /// The time that the last call told.
    now: Instant,
    flight: Option<Flight>,
    /// What [`Lane::next`] said is being done.
    busy: bool,
    /// Grows with each failure in a row.
    backoff: Backoff,
    /// Past the last offset that is known to be stored.
    written_to: Option<u64>,
    /// Takes nothing: only an operator can tell where to go on.
    halted: bool,
    paused: bool,
    /// Dead letters since the last event that could be stored.
    unreadable: usize,
    seen: Seen,
    past: Past,
}

/// What a batch may have. One message more than that, since a message is never split.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// Events.
    pub rows_max: usize,
    /// Bytes in memory.
    pub bytes_max: usize,
}

/// Where the batch under way stands.
enum Flight {
    /// Its dead letters have to be kept, then the store has to be asked.
    Unread(Batch),
    /// Its rows have to be tried; so far these were rejected.
    Trying { batch: Batch, open: Vec<Vec<usize>>, rejected: BTreeMap<usize, String> },
    /// Its intent has to be committed.
    Intending { batch: Batch, intent: Intent, again: bool },
    /// Is being written.
    Writing(Box<Writing>, Bill),
    /// Was rejected as a whole: back to its start.
    Back(u64),
}

/// What a batch comes to once it is written.
struct Bill {
    counts: Counts,
    since: Instant,
    tried: bool,
}

impl Lane {
    /// A part that was just assigned. The seed is for the jitter of waits.
    pub fn new(
        part: Part,
        epoch: u64,
        committed: Option<u64>,
        rerun: Option<Intent>,
        bound: Bound,
        seed: u64,
    ) -> Self {
        let now = Instant::now();
        let tried = rerun.as_ref().is_some_and(|intent| intent.tried);
        Lane {
            epoch,
            committed,
            rerun,
            batch: Batch::new(part, committed.unwrap_or(0), tried),
            ready: None,
            written_at: now,
            retry_at: now,
            trouble: None,
            bound,
            waits: false,
            turn: 0,
            joins: false,
            now,
            flight: None,
            busy: false,
            backoff: Backoff::new(seed),
            written_to: None,
            halted: false,
            paused: false,
            unreadable: 0,
            seen: Seen::default(),
            // Nothing can be before the first offset.
            past: Past::new(committed.unwrap_or(0) == 0),
        }
    }

    /// Stops for good.
    pub fn halt(&mut self, why: String) {
        (self.halted, self.trouble) = (true, Some(why));
    }

    /// Takes a message. A range that was intended before is cut exactly where it was.
    pub fn take(&mut self, enricher: &mut Enricher, offset: u64, payload: Payload<'_>) {
        if self.halted || matches!(self.flight, Some(Flight::Back(_))) {
            return;
        }
        if !self.past.is_known {
            return self.past.wait(offset, payload);
        }
        if offset < self.batch.to {
            // It is in a batch, or stored. Fetching a partition anew has handed out old messages before.
            counter!("consumer_repeated_messages_total").increment(1);
            return;
        }
        if self.rerun_ahead().is_some_and(|intent| offset >= intent.to) {
            self.seal();
        }
        self.batch.take(enricher, &mut self.seen, offset, payload);
        match self.rerun_ahead() {
            Some(intent) if self.batch.to >= intent.to => self.seal(),
            None if self.batch_is_full() => self.seal(),
            _ => (),
        }
    }

    /// No more messages will come of this part: what was intended of it is no longer than this.
    pub fn end(&mut self) {
        match &self.flight {
            // On the way back there is more to come again.
            Some(Flight::Back(_)) => (),
            _ if !self.past.is_known => self.past.ended = true,
            _ if self.rerun_ahead().is_some() => self.seal(),
            _ => (),
        }
    }

    /// What has to be done now, if anything. Until [`Lane::done`] is told of it, nothing else.
    pub fn next(&mut self, enricher: &mut Enricher, now: Instant, hurry: bool) -> Option<Task> {
        self.now = now;
        if self.busy || self.halted || self.retry_at > now {
            return None;
        }
        let task = self.task(enricher, now, hurry);
        self.busy = task.is_some();
        task
    }

    fn task(&mut self, enricher: &mut Enricher, now: Instant, hurry: bool) -> Option<Task> {
        if self.flight.is_none() && !self.past.is_known && self.past.waits() {
            return Some(Task::Recall(self.batch.from));
        }
        if self.flight.is_none() && !self.waits {
            self.flight = self.ready.take().map(Flight::Unread);
        }
        match self.flight.as_mut() {
            None => {
                let idle = hurry || now.duration_since(self.written_at) >= IDLE_COMMIT_AFTER;
                let offset = self.unacknowledged().filter(|_| idle)?;
                Some(Task::Commit(offset, String::new()))
            }
            Some(Flight::Unread(batch)) if !batch.dead.is_empty() => {
                if batch.rows() + batch.held.len() == 0 && self.unreadable + batch.dead.len() > UNREADABLE_MAX
                {
                    self.failed("too many messages in a row cannot be read".to_owned());
                    return None;
                }
                Some(Task::Keep)
            }
            Some(Flight::Unread(batch)) => {
                let (held, first) = (batch.questions(), self.committed.is_none());
                Some(Task::Ask(Question { from: batch.from, to: batch.to, held, first }))
            }
            Some(Flight::Trying { batch, open, .. }) => {
                open.last().map(|rows| Task::Try(batch.trial(enricher, rows)))
            }
            Some(Flight::Intending { intent, .. }) => Some(Task::Commit(intent.from, intent.to_string())),
            Some(Flight::Writing(writing, bill)) => match writing.next(now) {
                Next::Rename(started) => {
                    let intent = Intent {
                        from: writing.from,
                        to: writing.to,
                        server_started: started,
                        stored: writing.stored.clone(),
                        tried: bill.tried,
                        rows: writing.will_be_rows(),
                        group: writing.group,
                    };
                    Some(Task::Commit(intent.from, intent.to_string()))
                }
                Next::Look(month, tokens) => Some(Task::Look(month, tokens)),
                Next::Join(joining) => Some(Task::Join(joining)),
                Next::Insert(token, bytes) => Some(Task::Insert(token, bytes)),
                Next::Fill(month, view, token) => Some(Task::Fill(month, view, token)),
                Next::Nothing => {
                    self.stored();
                    self.task(enricher, now, hurry)
                }
            },
            Some(Flight::Back(from)) => Some(Task::Rewind(*from)),
        }
    }

    /// Takes up what the task came to that [`Lane::next`] gave out.
    pub fn done(&mut self, enricher: &mut Enricher, done: Done, now: Instant) {
        (self.busy, self.now) = (false, now);
        match done {
            Done::Recalled(Ok(visits)) => {
                self.went_well();
                self.seen.recall(&visits);
                let (messages, ended) = self.past.known();
                for (offset, message) in &messages {
                    self.take(enricher, *offset, message.payload());
                }
                if ended {
                    self.end();
                }
            }
            Done::Recalled(Err(cause)) => {
                self.failed(format!("clickhouse cannot be asked for earlier visits: {cause}"));
            }
            Done::Kept(Ok(())) => self.kept(),
            Done::Kept(Err(cause)) => self.failed(format!("dead letters cannot be kept: {cause}")),
            Done::Asked(Ok(answer)) => self.answered(enricher, answer),
            Done::Asked(Err(cause)) => self.failed(format!("clickhouse cannot be asked: {cause}")),
            Done::Committed(Ok(())) => self.intended(),
            // Being fenced alone drops nothing: while a group is rearranged, commits are refused for parts that stay,
            // too. Nothing is written without the commit, and a part that is gone is lost.
            Done::Committed(Err(cause)) => {
                if let CommitError::Fatal(_) = cause {
                    error!(%cause, partition = self.batch.part.number, "commit refused");
                }
                counter!("consumer_commit_retries_total").increment(1);
                self.failed(format!("commit: {cause}"));
            }
            Done::Rewound(Ok(())) => self.flight = None,
            Done::Rewound(Err(cause)) => self.failed(format!("cannot go back: {cause}")),
            Done::Tried(Err(cause)) if !matches!(cause, InsertError::Reject(_)) => {
                self.failed(format!("rows cannot be tried: {cause}"));
            }
            Done::Tried(result) => self.tried(enricher, result.err()),
            Done::Looked(Ok(traces)) => {
                if let Some(Flight::Writing(writing, _)) = &mut self.flight
                    && writing.looked(traces, now)
                {
                    self.failed("an insert of the batch is still running".to_owned());
                }
                self.reject();
            }
            Done::Looked(Err(cause)) => self.unwritten(&cause.into()),
            Done::Inserted(Ok(())) => self.writing(Writing::inserted),
            Done::Inserted(Err(cause)) => self.unwritten(&cause.into()),
            Done::Filled(Ok(())) => self.writing(|writing| writing.filled(now)),
            Done::Filled(Err(cause)) => self.unwritten(&cause.into()),
        }
    }

    fn kept(&mut self) {
        let count = self.letters().len();
        for letter in self.letters() {
            warn!(
                partition = letter.part.number,
                offset = letter.offset,
                reason = letter.reason,
                "dead letter"
            );
        }
        if let Some(Flight::Unread(batch)) = &mut self.flight {
            batch.dead.drain(..count);
            batch.dead_lettered += count as u64;
            let barren = batch.rows() + batch.held.len() == 0;
            self.unreadable = if barren { self.unreadable + count } else { 0 };
        }
        self.went_well();
    }

    /// The next rows were tried: they would be taken, or there is one among them that is rejected.
    fn tried(&mut self, enricher: &mut Enricher, rejection: Option<InsertError>) {
        let Some(Flight::Trying { mut batch, mut open, mut rejected }) = self.flight.take() else { return };
        if let (Some(mut rows), Some(rejection)) = (open.pop(), rejection) {
            match rows[..] {
                [row] => _ = rejected.insert(row, writer::rejected(rejection.cause())),
                _ => {
                    let half = rows.split_off(rows.len() / 2);
                    open.extend([rows, half]);
                }
            }
        }
        self.flight = Some(if open.is_empty() {
            batch.join(enricher, &mut self.seen, rejected);
            Flight::Unread(batch)
        } else {
            Flight::Trying { batch, open, rejected }
        });
        self.went_well();
    }

    fn answered(&mut self, enricher: &mut Enricher, answer: Answer) {
        let Some(Flight::Unread(mut batch)) = self.flight.take() else { return };
        if answer.beyond {
            self.flight = Some(Flight::Unread(batch));
            return self.halt(
                "clickhouse holds rows of this topic and partition from the first offset on, but there is no commit: \
                 was the topic made anew under its name, or were the group's offsets lost? commit where to go on, or \
                 take another name"
                    .to_owned(),
            );
        }
        if batch.answered(answer.stored) {
            self.flight = Some(Flight::Unread(batch));
            return self.went_well();
        }
        batch.settle(enricher, &mut self.seen);
        if !batch.singles.is_empty() {
            let mut months: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
            for (row, single) in batch.singles.iter().enumerate() {
                months.entry(single.month).or_default().push(row);
            }
            let open = months.into_values().collect();
            self.flight = Some(Flight::Trying { batch, open, rejected: BTreeMap::new() });
            return self.went_well();
        }
        let mut intent = Intent {
            from: batch.from,
            to: batch.to,
            server_started: answer.server_started,
            stored: Vec::new(),
            tried: batch.tried,
            rows: false,
            group: None,
        };
        if std::mem::take(&mut self.joins) {
            // The month that is written first.
            intent.group = batch.blocks.keys().last().map(|&month| Group { id: self.turn, month });
        }
        // A range that was intended before keeps its note: it says which server may have its rows.
        let before = self.rerun.take_if(|intent| intent.to == batch.to);
        let again = before.is_some();
        if let Some(before) = before {
            intent = before;
        }
        self.flight = Some(Flight::Intending { batch, intent, again });
        self.went_well();
    }

    /// A commit went through.
    fn intended(&mut self) {
        match self.flight.take() {
            None => self.committed = self.written_to,
            Some(Flight::Intending { mut batch, intent, again }) => {
                self.committed = Some(intent.from);
                let bill = Bill { counts: batch.counts(), since: batch.since, tried: intent.tried };
                let range = (intent.from, intent.to);
                let mut writing = Writing::new(
                    batch.part.clone(),
                    range,
                    batch.seal(&intent.stored),
                    intent.server_started,
                    again,
                    self.now,
                );
                (writing.stored, writing.rows, writing.group) = (intent.stored, intent.rows, intent.group);
                self.flight = Some(Flight::Writing(Box::new(writing), bill));
            }
            Some(Flight::Writing(mut writing, bill)) => {
                writing.renamed();
                self.flight = Some(Flight::Writing(writing, bill));
            }
            flight => self.flight = flight,
        }
        self.went_well();
    }

    fn writing(&mut self, change: impl FnOnce(&mut Writing)) {
        if let Some(Flight::Writing(writing, _)) = &mut self.flight {
            change(writing);
        }
    }

    /// An attempt of writing failed.
    fn unwritten(&mut self, cause: &WriteError) {
        counter!("consumer_insert_retries_total", "class" => cause.class()).increment(1);
        self.writing(|writing| writing.failed(cause));
        self.failed(cause.to_string());
    }

    /// Takes the range again, if ClickHouse rejected it, to find out which of its rows are at fault: nothing of the
    /// rejected block is stored, and what is stored of other months is noted.
    fn reject(&mut self) {
        let Some(Flight::Writing(writing, _)) = &self.flight else { return };
        let Some(cause) = &writing.refused else { return };
        let (part, from, to) = (self.batch.part.clone(), writing.from, writing.to);
        warn!(partition = part.number, from, to, cause, "rejected, looking for the rows");
        let Writing { server_started, rows, group, .. } = **writing;
        let stored = writing.stored.clone();
        self.rerun = Some(Intent { from, to, server_started, stored, tried: true, rows, group });
        self.ready = None;
        self.batch = Batch::new(part, from, true);
        // Some of the visits are taken again, and some may never be stored.
        self.past = Past::new(false);
        self.flight = Some(Flight::Back(from));
    }

    /// All blocks are stored.
    fn stored(&mut self) {
        let Some(Flight::Writing(writing, bill)) = self.flight.take() else { return };
        counter!("consumer_unverified_batches_total").increment(writing.unverified);
        self.unreadable = if bill.counts.stored > 0 { 0 } else { self.unreadable };
        self.written(&bill, writing.to);
    }

    /// The batch under way is done with.
    fn written(&mut self, bill: &Bill, to: u64) {
        counter!("consumer_stored_events_total").increment(bill.counts.stored);
        counter!("consumer_duplicate_events_total").increment(bill.counts.duplicate);
        counter!("consumer_dead_lettered_events_total").increment(bill.counts.dead);
        counter!("consumer_batches_total").increment(1);
        histogram!("consumer_write_seconds").record(self.now.duration_since(bill.since).as_secs_f64());
        self.written_to = Some(to);
        self.written_at = self.now;
        self.went_well();
    }

    /// Something that had failed works again.
    fn went_well(&mut self) {
        if !self.halted {
            self.trouble = None;
            self.backoff.reset();
        }
    }

    /// Notes a failure: the next attempt waits.
    fn failed(&mut self, why: String) {
        warn!(partition = self.batch.part.number, cause = why, "stands still, trying again");
        self.trouble = Some(why);
        self.retry_at = self.now + self.backoff.next();
    }

    /// The next dead letters to be kept.
    pub fn letters(&self) -> &[DeadLetter] {
        let all = match &self.flight {
            Some(Flight::Unread(batch)) => &batch.dead[..],
            _ => &[],
        };
        let mut bytes = 0;
        let fits = |letter: &&DeadLetter| {
            bytes += letter.bytes.len();
            bytes <= LETTERS_BYTES_AT_ONCE
        };
        let count = all.iter().take(LETTERS_AT_ONCE).take_while(fits).count().max(1);
        &all[..count.min(all.len())]
    }

    /// The batch that is being written, to look and fill by.
    pub fn under_way(&self) -> Option<&Writing> {
        match &self.flight {
            Some(Flight::Writing(writing, _)) => Some(writing),
            _ => None,
        }
    }

    /// Whether the rows under way may be on their way at this moment.
    pub fn is_writing(&self) -> bool {
        self.busy && self.under_way().is_some()
    }

    /// Whether it must not take more: a full batch waits behind one that waits. What is under way is the third.
    pub fn is_full(&self) -> bool {
        self.ready.is_some() && self.batch_is_full() || self.past.bytes() >= self.bound.bytes_max
    }

    /// Whether the part's messages have to be held back, when that has changed.
    pub fn pause(&mut self, stop: bool) -> Option<bool> {
        let paused = stop || self.halted || self.is_full();
        (paused != self.paused).then(|| {
            self.paused = paused;
            paused
        })
    }

    /// Past the last stored offset, when no commit says so yet.
    pub fn unacknowledged(&self) -> Option<u64> {
        self.written_to.filter(|&to| self.committed != Some(to))
    }

    /// Whether what is committed is an intent that is not fulfilled.
    pub fn is_intended(&self) -> bool {
        matches!(self.flight, Some(Flight::Writing(..) | Flight::Back(_)))
    }

    /// Nothing is under way, and everything that is done is committed. A range that was intended before and is not
    /// there in full stays intended.
    pub fn is_settled(&self) -> bool {
        let open = !self.batch.is_empty() && self.rerun_ahead().is_none();
        self.halted
            || !open
                && !self.past.waits()
                && self.ready.is_none()
                && self.flight.is_none()
                && self.unacknowledged().is_none()
    }

    /// Events taken and not yet known to be stored.
    pub fn events(&self) -> usize {
        let under_way = match &self.flight {
            Some(Flight::Unread(batch) | Flight::Trying { batch, .. } | Flight::Intending { batch, .. }) => {
                batch.events()
            }
            Some(Flight::Writing(_, bill)) => bill.counts.stored as usize,
            Some(Flight::Back(_)) | None => 0,
        };
        self.past.events() + self.batch.events() + self.ready.as_ref().map_or(0, Batch::events) + under_way
    }

    /// The intent that the filling batch has to match.
    fn rerun_ahead(&self) -> Option<&Intent> {
        self.rerun.as_ref().filter(|intent| self.batch.from < intent.to)
    }

    fn batch_is_full(&self) -> bool {
        self.batch.events() >= self.bound.rows_max || self.batch.bytes() >= self.bound.bytes_max
    }

    /// While another batch waits the batch just grows, up to [`Lane::is_full`].
    fn seal(&mut self) {
        if self.ready.is_some() {
            return;
        }
        let rerun = self.rerun_ahead().map(|intent| (intent.from, intent.to));
        let (part, to) = (self.batch.part.clone(), rerun.map_or(self.batch.to, |(_, to)| to));
        let mut sealed = std::mem::replace(&mut self.batch, Batch::new(part, to, false));
        if let Some((from, to)) = rerun {
            // Whatever of it is still there: the token names the range as it was intended.
            (sealed.from, sealed.to) = (from, to);
        }
        self.ready = Some(sealed);
    }
}

mod turn;

#[cfg(test)]
mod tests;
