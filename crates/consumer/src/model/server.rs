//! ClickHouse as far as the protocol sees it: a table and two views, each with its log of tokens. An insert stores
//! one part in each, one after the other; whatever ends it in between leaves the rest out.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use store::{Block, Cause, InsertError, StoreError, Traces};

use super::{Answer, Done, ModelRow, Task, edge};
use crate::batch::EventId;
use crate::turns::{Fate, Joined, Together};

const VIEWS: [&str; 2] = ["all", "some"];

/// One table with its log of tokens.
#[derive(Default)]
struct Table {
    rows: Vec<ModelRow>,
    tokens: Vec<String>,
}

pub struct Server {
    pub started: i64,
    pub poison: HashSet<EventId>,
    /// Tokens of inserts that are running.
    pub running: Vec<String>,
    /// The events, then the views.
    tables: [Table; 3],
}

/// Something asked of the server, by some who may not wait for it any more.
pub struct Request {
    /// Who waits: process and part, in which ownership.
    pub waits: Vec<(u64, usize, u64)>,
    pub task: Task,
    /// Of an insert of several parts.
    pub fate: Option<Fate>,
    /// The part and the batch that it is about.
    part: usize,
    of: (u64, u64),
    rows: Vec<ModelRow>,
    /// The server has begun with it.
    pub arrived: bool,
    /// How many tables, or reads of a look, are done.
    stage: usize,
    /// What a look has read so far: each read sees the moment.
    traces: Traces,
    /// The views in which the look found nothing at first.
    without: Vec<usize>,
}

impl Request {
    pub fn new(waits: (u64, usize, u64), of: (u64, u64), task: Task) -> Request {
        let part = waits.1;
        let rows = match &task {
            Task::Insert(token, block) => rows(month(token), part, &Block::together(&[block])),
            // Its month is of no interest.
            Task::Try(bytes) => rows(0, part, bytes),
            _ => Vec::new(),
        };
        let traces = Traces { rows: 0, lacking: Vec::new(), ahead: false, running: false, started: 0 };
        let waits = vec![waits];
        let without = Vec::new();
        Request { waits, task, fate: None, part, of, rows, arrived: false, stage: 0, traces, without }
    }

    /// What several parts of a process have for one insert.
    pub fn together(process: u64, Together { group, all, fate }: Together) -> Request {
        let who = |one: &Joined| (process, one.part.number as usize, one.epoch);
        let rows = all
            .iter()
            .flat_map(|one| rows(group.month, one.part.number as usize, &Block::together(&[&one.block])));
        Request {
            rows: rows.collect(),
            waits: all.iter().map(who).collect(),
            task: Task::Insert(group.token(), Arc::new(Block::new(group.month))),
            fate: Some(fate),
            ..Request::new((0, 0, 0), (0, 0), Task::Recall(0))
        }
    }
}

/// The month that a token names.
fn month(token: &str) -> u32 {
    let mut words = token.split('/');
    let at = if token.starts_with("group/") { 2 } else { 3 };
    words.nth(at).unwrap().parse().unwrap()
}

impl Server {
    pub fn new() -> Server {
        Server { started: 1_000, poison: HashSet::new(), running: Vec::new(), tables: Default::default() }
    }

    pub fn rows(&self) -> impl Iterator<Item = ModelRow> {
        self.tables[0].rows.iter().copied()
    }

    /// Goes on by one step; the reply when that was the last.
    pub fn progress(&mut self, request: &mut Request) -> Option<Done> {
        if !std::mem::replace(&mut request.arrived, true) {
            return None;
        }
        let ((from, to), part) = (request.of, request.part);
        match &request.task {
            // Opens by machines, all of them: nothing to judge others by.
            Task::Recall(_) => Some(Done::Recalled(Ok(Vec::new()))),
            Task::Ask(question) => {
                let asked: HashSet<(u64, u64)> = question.held.iter().map(|(id, _)| *id).collect();
                let own =
                    |row: &ModelRow| row.part == part && (question.from..question.to).contains(&row.off);
                let others = self.rows().filter(|row| !own(row));
                let stored = others.map(|row| row.id()).filter(|id| asked.contains(id)).collect();
                let beyond =
                    question.first && self.rows().any(|row| row.part == part && row.off >= question.from);
                Some(Done::Asked(Ok(Answer { server_started: self.started, stored, beyond })))
            }
            Task::Look(month, tokens) => {
                let month_of = |row: &ModelRow| row.month == *month && row.part == part;
                let own = |row: &&ModelRow| month_of(row) && (from..to).contains(&row.off);
                let has =
                    |view: usize| self.tables[view].rows.iter().any(|row| month_of(row) && row.off >= from);
                let traces = &mut request.traces;
                // As `Store::traces` does, one read after the other.
                match request.stage {
                    0 => traces.started = self.started,
                    view @ (1 | 2) if has(view) => {}
                    view @ (1 | 2) => request.without.push(view),
                    3 => traces.rows = self.tables[0].rows.iter().filter(own).count() as u64,
                    4 => {
                        let of_it = |its: &String| its.starts_with(&tokens.own) || *its == tokens.group;
                        traces.running = self.running.iter().any(of_it);
                    }
                    stage @ (5 | 6) => {
                        let view = stage - 4;
                        let expected = self.tables[0].rows.iter().filter(own).any(|row| shows(view, row));
                        if request.without.contains(&view) && expected && !has(view) {
                            traces.lacking.push(VIEWS[view - 1].to_owned());
                        }
                    }
                    // Their starts are known to the second.
                    _ if (traces.started - self.started).abs() > 1 => {
                        let restarted =
                            Cause { server: "model".to_owned(), code: None, text: "restarted".to_owned() };
                        return Some(Done::Looked(Err(StoreError::Server(restarted))));
                    }
                    _ => {
                        traces.ahead = traces.rows == 0 && request.without.len() < VIEWS.len();
                        return Some(Done::Looked(Ok(traces.clone())));
                    }
                }
                request.stage += 1;
                None
            }
            Task::Try(_) => Some(Done::Tried(self.check(&request.rows))),
            Task::Insert(token, _) => {
                if let Err(rejected) = self.check(&request.rows) {
                    return Some(Done::Inserted(Err(rejected)));
                }
                let tables = if token.contains("/rows/") { 1 } else { 3 };
                if request.stage < tables {
                    self.add(request.stage, token, &request.rows);
                    request.stage += 1;
                    return None;
                }
                Some(Done::Inserted(Ok(())))
            }
            Task::Fill(month, view, token) => {
                if request.stage == 0 {
                    let own = |row: &ModelRow| {
                        row.month == *month && row.part == part && (from..to).contains(&row.off)
                    };
                    request.rows = self.rows().filter(own).collect();
                    request.stage = 1;
                    return None;
                }
                let table = 1 + VIEWS.iter().position(|known| known == view).unwrap();
                let token = token.clone();
                self.add(table, &token, &request.rows);
                Some(Done::Filled(Ok(())))
            }
            other => panic!("not for the server: {other:?}"),
        }
    }

    fn check(&self, rows: &[ModelRow]) -> Result<(), InsertError> {
        match rows.iter().any(|row| self.poison.contains(&row.id())) {
            true => Err(InsertError::Reject(Cause {
                server: "model".to_owned(),
                code: Some(469),
                text: "poison".to_owned(),
            })),
            false => Ok(()),
        }
    }

    /// A part, once for each token. A part without rows is none.
    fn add(&mut self, table: usize, token: &str, rows: &[ModelRow]) {
        let rows: Vec<ModelRow> = rows.iter().filter(|row| shows(table, row)).copied().collect();
        let Table { rows: parts, tokens } = &mut self.tables[table];
        if !rows.is_empty() && !tokens.iter().any(|known| known == token) {
            tokens.push(token.to_owned());
            parts.extend(rows);
        }
    }

    /// Killed at the worst moment: the next token is noted and its part is not there.
    pub fn burn(&mut self, request: &Request) {
        let (table, token) = match &request.task {
            Task::Insert(token, _)
                if request.stage == 0 || request.stage < 3 && !token.contains("/rows/") =>
            {
                (request.stage, token)
            }
            Task::Fill(_, view, token) if request.stage == 1 => {
                (1 + VIEWS.iter().position(|known| known == view).unwrap(), token)
            }
            _ => return,
        };
        let poisoned = request.rows.iter().any(|row| self.poison.contains(&row.id()));
        let Table { tokens, .. } = &mut self.tables[table];
        if !poisoned && request.rows.iter().any(|row| shows(table, row)) && !tokens.contains(token) {
            tokens.push(token.clone());
        }
    }

    /// The last tokens of each table are gone.
    pub fn forget(&mut self, count: usize) {
        for table in &mut self.tables {
            table.tokens.truncate(table.tokens.len().saturating_sub(count));
        }
    }

    pub fn check_views(&self) {
        for view in 1..3 {
            let mut expected: Vec<ModelRow> = self.rows().filter(|row| shows(view, row)).collect();
            let mut found = self.tables[view].rows.clone();
            expected.sort_unstable();
            found.sort_unstable();
            assert_eq!(found, expected, "view {:?} against a recount", VIEWS[view - 1]);
        }
    }
}

/// Whether a table gets a row: the second view leaves some out.
fn shows(table: usize, row: &ModelRow) -> bool {
    table < 2 || row.seq.is_multiple_of(3)
}

/// The rows of a block. Its last columns are the offset, the edge and the sequence, each of eight bytes a row, behind
/// their names and types.
fn rows(month: u32, part: usize, block: &Bytes) -> Vec<ModelRow> {
    let count = block[1] as usize;
    assert!(count > 0 && count < 128, "a count of one byte");
    let column = |end: usize| -> Vec<u64> {
        let values = &block[end - 8 * count..end];
        values.chunks(8).map(|value| u64::from_le_bytes(value.try_into().unwrap())).collect()
    };
    let head = |name: &str| 2 + name.len() + "UInt64".len();
    let seq_end = block.len();
    let edge_end = seq_end - 8 * count - head("seq");
    let off_end = edge_end - 8 * count - head("edge_id");
    assert!(
        column(edge_end).iter().all(|&edge_id| edge_id == edge(part)),
        "the layout of a block has changed"
    );
    let rows = column(off_end).into_iter().zip(column(seq_end));
    rows.map(|(off, seq)| ModelRow { month, part, off, seq }).collect()
}
