//! The intent: what the owner of a part is about to write, committed beside the offset before the write.
//!
//! Whoever owns the part next finds it and writes exactly that range again, under the same deduplication token:
//! boundaries survive any crash without a table of their own.

use std::fmt;

/// A range of offsets that is about to be written: `from` is the committed offset, `to` is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    /// First offset.
    pub from: u64,
    /// Past the last offset.
    pub to: u64,
    /// When the server to be written to was started, Unix seconds. A server that was started since may have lost
    /// the end of its deduplication log (it is never fsynced): then the token proves nothing.
    pub server_started: i64,
}

impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v1|{}|{}|{}", self.from, self.to, self.server_started)
    }
}

/// A note that says something we do not understand: a newer version's, or another program's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("commit note {0:?}: expected nothing or v1|FROM|TO|SERVER_STARTED")]
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
        let refuse = || NoteError(note.chars().take(80).collect());
        let mut words = note.split('|');
        let (Some("v1"), Some(from), Some(to), Some(started), None) =
            (words.next(), words.next(), words.next(), words.next(), words.next())
        else {
            return Err(refuse());
        };
        let intent = Intent {
            from: from.parse().map_err(|_| refuse())?,
            to: to.parse().map_err(|_| refuse())?,
            server_started: started.parse().map_err(|_| refuse())?,
        };
        if intent.from >= intent.to || committed != Some(intent.from) {
            return Err(refuse());
        }
        Ok(Some(intent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let intent = Intent { from: 7, to: 12, server_started: 1_764_000_000 };
        assert_eq!(Intent::read(&intent.to_string(), Some(7)), Ok(Some(intent)));
        assert_eq!(Intent::read("", Some(7)), Ok(None));
    }

    #[test]
    fn anything_else_is_refused() {
        for (note, committed) in [
            ("v2|7|12|0", Some(7)),
            ("v1|7|12", Some(7)),
            ("v1|7|12|0|x", Some(7)),
            ("v1|12|7|0", Some(12)),
            ("v1|7|12|0", Some(8)),
            ("v1|7|12|0", None),
            ("hello", Some(7)),
        ] {
            assert!(Intent::read(note, committed).is_err(), "{note} {committed:?}");
        }
    }
}
