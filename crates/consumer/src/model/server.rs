//! ClickHouse as far as the protocol sees it: a table and two views, each with its log of tokens. An insert stores
//! one part in each, one after the other; whatever ends it in between leaves the rest out.

use std::collections::HashSet;

use bytes::Bytes;
use store::{Cause, InsertError, StoreError, Traces};

use super::{Answer, Done, ModelRow, Task};

const VIEWS: [&str; 2] = ["all", "some"];

/// One table with its log of tokens.
#[derive(Default)]
struct Table {
    rows: Vec<ModelRow>,
    tokens: Vec<String>,
}

pub struct Server {
    pub started: i64,
    pub poison: HashSet<u64>,
    /// Tokens of inserts that are running.
    pub running: Vec<String>,
    /// The events, then the views.
    tables: [Table; 3],
}

/// Something asked of the server, by an owner that may not wait for it any more (0).
pub struct Request {
    pub owner: u64,
    pub task: Task,
    /// The batch that it is about.
    of: (u64, u64),
    rows: Vec<ModelRow>,
    /// The server has begun with it.
    pub arrived: bool,
    /// How many tables, or reads of a look, are done.
    stage: usize,
    /// What a look has read so far: each read sees the moment.
    traces: Traces,
}

impl Request {
    pub fn new(owner: u64, of: (u64, u64), task: Task) -> Request {
        let rows = match &task {
            Task::Insert(token, bytes) => rows(token.split('/').nth(3).unwrap().parse().unwrap(), bytes),
            // Its month is of no interest.
            Task::Try(bytes) => rows(0, bytes),
            _ => Vec::new(),
        };
        let traces = Traces { rows: 0, lacking: Vec::new(), ahead: false, running: false, started: 0 };
        Request { owner, task, of, rows, arrived: false, stage: 0, traces }
    }
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
        let (from, to) = request.of;
        match &request.task {
            // Opens by machines, all of them: nothing to judge others by.
            Task::Recall(_) => Some(Done::Recalled(Ok(Vec::new()))),
            Task::Ask(question) => {
                let asked: HashSet<(u64, u64)> = question.held.iter().map(|(id, _)| *id).collect();
                let others = self.rows().filter(|(_, off, _)| !(question.from..question.to).contains(off));
                let stored = others.map(|(_, _, seq)| (1, seq)).filter(|id| asked.contains(id)).collect();
                let beyond = question.first && self.rows().any(|(_, off, _)| off >= question.from);
                Some(Done::Asked(Ok(Answer { server_started: self.started, stored, beyond })))
            }
            Task::Look(month, token) => {
                let own = |row: &&ModelRow| row.0 == *month && (from..to).contains(&row.1);
                let has =
                    |view: usize| self.tables[view].rows.iter().any(|row| row.0 == *month && row.1 >= from);
                let traces = &mut request.traces;
                // As `Store::traces` does, one read after the other.
                match request.stage {
                    0 => traces.started = self.started,
                    view @ (1 | 2) => traces.ahead |= has(view),
                    3 => traces.rows = self.tables[0].rows.iter().filter(own).count() as u64,
                    4 => traces.running = self.running.iter().any(|running| running.starts_with(token)),
                    stage @ (5 | 6) => {
                        let view = stage - 4;
                        let expected = self.tables[0].rows.iter().filter(own).any(|row| shows(view, row));
                        if expected && !has(view) {
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
                        traces.ahead &= traces.rows == 0;
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
                    let own = |row: &ModelRow| row.0 == *month && (from..to).contains(&row.1);
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
        match rows.iter().any(|(_, _, seq)| self.poison.contains(seq)) {
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
        let poisoned = request.rows.iter().any(|(_, _, seq)| self.poison.contains(seq));
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
    table < 2 || row.2.is_multiple_of(3)
}

/// The rows of a block. Its last columns are the offset, the edge and the sequence, each of eight bytes a row, behind
/// their names and types.
fn rows(month: u32, block: &Bytes) -> Vec<ModelRow> {
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
    assert!(column(edge_end).iter().all(|&edge_id| edge_id == 1), "the layout of a block has changed");
    column(off_end).into_iter().zip(column(seq_end)).map(|(off, seq)| (month, off, seq)).collect()
}
