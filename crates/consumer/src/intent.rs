//! The intent: what the owner of a part is about to write, committed beside the offset before the write.
//!
//! Whoever owns the part next finds it and writes exactly that range again, under the same deduplication token:
//! boundaries survive any crash without a table of their own.

use std::fmt;

/// A range of offsets that is about to be written: `from` is the committed offset, `to` is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// First offset.
    pub from: u64,
    /// Past the last offset.
    pub to: u64,
    /// When the server to be written to was started, Unix seconds. A server that was started since may have lost
    /// the end of its deduplication log (it is never fsynced): then the token proves nothing.
    pub server_started: i64,
    /// Months of which every row of the range is stored already.
    pub stored: Vec<u32>,
    /// The server rejected it: its rows are tried before they are written, and those at fault are left out.
    pub tried: bool,
    /// The server has said yes to the range without having its rows: they go under tokens that fill no views.
    pub rows: bool,
    /// Rows of one month go in one insert with those of other parts, under the token of them all.
    pub group: Option<Group>,
}

/// One insert for the rows of several parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Drawn at random, never used twice.
    pub id: u64,
    /// The month of its rows.
    pub month: u32,
}

impl Group {
    /// The token of the insert.
    pub fn token(&self) -> String {
        format!("group/{:016x}/{}", self.id, self.month)
    }
}

/// The last words of an intent.
const TRIED: &str = "tried";
const ROWS: &str = "rows";
/// What the last of them begins with.
const GROUP: &str = "group=";

/// Months that a note names at most. A range has one, or two around midnight of the first; more after an outage.
pub const STORED_MAX: usize = 300;

impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v1|{}|{}|{}", self.from, self.to, self.server_started)?;
        if !self.stored.is_empty() || self.tried || self.rows || self.group.is_some() {
            let months: Vec<String> = self.stored.iter().take(STORED_MAX).map(u32::to_string).collect();
            write!(f, "|{}", months.join(","))?;
        }
        for (word, _) in [(TRIED, self.tried), (ROWS, self.rows)].iter().filter(|(_, said)| *said) {
            write!(f, "|{word}")?;
        }
        if let Some(Group { id, month }) = self.group {
            write!(f, "|{GROUP}{id:016x}/{month}")?;
        }
        Ok(())
    }
}

/// A note that says something we do not understand: a newer version's, or another program's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "commit note {0:?}: expected nothing or v1|FROM|TO|SERVER_STARTED[|STORED_MONTHS[|tried][|rows][|group=ID/MONTH]]"
)]
pub struct NoteError(String);

impl Intent {
    /// Reads the note beside a commit at `committed`. `None` when nothing was under way.
    ///
    /// # Errors
    /// When the note is not ours, or names a range that does not start at the commit.
    pub fn read(note: &str, committed: Option<u64>) -> Result<Option<Intent>, NoteError> {
        if note.is_empty() {
            return Ok(None);
        }
        let intent = parse(note).filter(|intent| intent.from < intent.to && committed == Some(intent.from));
        intent.map(Some).ok_or_else(|| NoteError(note.chars().take(80).collect()))
    }
}

fn parse(note: &str) -> Option<Intent> {
    let mut words = note.split('|');
    if words.next()? != "v1" {
        return None;
    }
    let mut intent = Intent {
        from: words.next()?.parse().ok()?,
        to: words.next()?.parse().ok()?,
        server_started: words.next()?.parse().ok()?,
        stored: Vec::new(),
        tried: false,
        rows: false,
        group: None,
    };
    if let Some(months) = words.next() {
        let months = months.split(',').filter(|month| !month.is_empty());
        intent.stored = months.map(|month| month.parse().ok()).collect::<Option<_>>()?;
    }
    let mut words = words.peekable();
    intent.tried = words.next_if_eq(&TRIED).is_some();
    intent.rows = words.next_if_eq(&ROWS).is_some();
    if let Some(group) = words.next_if(|word| word.starts_with(GROUP)) {
        let (id, month) = group[GROUP.len()..].split_once('/')?;
        intent.group = Some(Group { id: u64::from_str_radix(id, 16).ok()?, month: month.parse().ok()? });
    }
    words.next().is_none().then_some(intent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let some = Some(Group { id: 0xabc, month: 202_611 });
        for (stored, tried, rows, group) in [
            (vec![], false, false, None),
            (vec![202_611], false, false, None),
            (vec![], true, false, None),
            (vec![], false, true, None),
            (vec![], false, false, some),
            (vec![202_610, 202_611], true, true, some),
        ] {
            let intent =
                Intent { from: 7, to: 12, server_started: 1_764_000_000, stored, tried, rows, group };
            assert_eq!(Intent::read(&intent.to_string(), Some(7)), Ok(Some(intent)));
        }
        assert_eq!(Intent::read("", Some(7)), Ok(None));
        let long = Intent {
            from: u64::MAX - 1,
            to: u64::MAX,
            server_started: i64::MAX,
            stored: vec![202_611; STORED_MAX + 9],
            tried: true,
            rows: true,
            group: Some(Group { id: u64::MAX, month: u32::MAX }),
        };
        assert!(
            long.to_string().len() < 4_000,
            "a broker takes 4096 bytes, and a journal puts its edge id before"
        );
    }

    #[test]
    fn anything_else_is_refused() {
        for (note, committed) in [
            ("v2|7|12|0", Some(7)),
            ("v1|7|12", Some(7)),
            ("v1|7|12|0|x", Some(7)),
            ("v1|7|12|0|202611|", Some(7)),
            ("v1|7|12|0||tired", Some(7)),
            ("v1|7|12|0||tried|", Some(7)),
            ("v1|7|12|0||rows|tried", Some(7)),
            ("v1|7|12|0|rows", Some(7)),
            ("v1|7|12|0||group=1", Some(7)),
            ("v1|7|12|0||group=x/202611", Some(7)),
            ("v1|7|12|0||group=1/202611|rows", Some(7)),
            ("v1|12|7|0", Some(12)),
            ("v1|7|12|0", Some(8)),
            ("v1|7|12|0", None),
            ("hello", Some(7)),
        ] {
            assert!(Intent::read(note, committed).is_err(), "{note} {committed:?}");
        }
    }
}
