//! What went wrong, by what the caller does next.

use std::error::Error;
use std::fmt;

/// Why an insert did not succeed, by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum InsertError {
    /// The server is away, busy or silent, or its answer is not understood: the rows may be stored or not. Ask
    /// [`crate::Store::stored`], then send the same bytes with the same token.
    #[error("insert must be tried again: {0}")]
    Retry(Cause),
    /// The server cannot take these bytes, now or later. Halve the batch to find the row.
    #[error("insert was rejected: {0}")]
    Reject(Cause),
    /// No insert can succeed until an operator acts: wrong schema, rights, password, a full disk.
    #[error("inserts cannot work: {0}")]
    Fatal(Cause),
}

/// What a server said, or why it said nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Host and port.
    pub server: String,
    /// ClickHouse's error code; none when the server did not answer with one.
    pub code: Option<u32>,
    /// The message, cut to 400 bytes; only the error's name when the message may quote a row.
    pub text: String,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "{}: code {code}: {}", self.server, self.text),
            None => write!(f, "{}: {}", self.server, self.text),
        }
    }
}

/// Why a query or a migration did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A server refused, failed, or did not answer in time.
    #[error("{0}")]
    Server(Cause),
    /// The answer is longer than [`crate::QUERY_BYTES_MAX`].
    #[error("answer is longer than {bytes_max} bytes")]
    TooLong {
        /// The bound.
        bytes_max: usize,
    },
    /// The answer does not have the shape that the query asks for.
    #[error("{server}: answer to {query} cannot be read, expected {expected}")]
    Answer {
        /// Host and port.
        server: String,
        /// What was asked.
        query: &'static str,
        /// What an answer looks like.
        expected: &'static str,
    },
    /// The server was started anew between two questions that belong together.
    #[error("{server} restarted while it was asked")]
    Restarted {
        /// Host and port.
        server: String,
    },
    /// There is no such shard.
    #[error("shard {shard} does not exist, expected less than {shards}")]
    NoShard {
        /// The number given.
        shard: usize,
        /// How many there are.
        shards: usize,
    },
    /// The database was migrated by a newer program, whose tables this one may harm.
    #[error(
        "{server}: schema is newer than this program: version {version} ({name}), expected at most {known}"
    )]
    Newer {
        /// Host and port.
        server: String,
        /// The version found.
        version: u32,
        /// Its name.
        name: String,
        /// The newest version that this program knows.
        known: u32,
    },
    /// A migration was edited after it ran on this server: its tables are not what the text says.
    #[error(
        "{server}: migration {version} ({name}) was edited after it was applied, expected checksum {applied}"
    )]
    Edited {
        /// Host and port.
        server: String,
        /// The migration's version.
        version: u32,
        /// Its name.
        name: String,
        /// The checksum of the text that was applied.
        applied: String,
    },
    /// The tables were made for another layout, and one cannot be turned into the other in place.
    #[error("{server}: tables are laid out as {found}, expected {expected} by the configuration")]
    Layout {
        /// Host and port.
        server: String,
        /// The layout found.
        found: String,
        /// The layout configured.
        expected: &'static str,
    },
}

/// The longest message of a server that is passed on, in bytes: room for what went wrong, not for a row.
const TEXT_BYTES_MAX: usize = 400;

impl Cause {
    pub(crate) fn new(server: &str, error: &clickhouse::error::Error) -> Cause {
        let answer = match error {
            clickhouse::error::Error::BadResponse(answer) => Some(answer.as_str()),
            _ => None,
        };
        let code = answer.and_then(code);
        let text = match (answer, code) {
            (Some(answer), Some(code)) if REJECT.contains(&code) => name(answer).to_owned(),
            (Some(answer), _) => message(answer).to_owned(),
            (None, _) => chain(error),
        };
        Cause { server: server.to_owned(), code, text: cut(text) }
    }

    pub(crate) fn timeout(server: &str, ms: u64) -> Cause {
        Cause { server: server.to_owned(), code: None, text: format!("no answer within {ms} ms") }
    }
}

impl InsertError {
    pub(crate) fn new(server: &str, error: &clickhouse::error::Error) -> InsertError {
        let cause = Cause::new(server, error);
        if matches!(error, clickhouse::error::Error::InvalidParams(_)) {
            return InsertError::Fatal(cause);
        }
        InsertError::of(cause)
    }

    fn of(cause: Cause) -> InsertError {
        match cause.code {
            Some(code) if REJECT.contains(&code) => InsertError::Reject(cause),
            Some(code) if FATAL.contains(&code) => InsertError::Fatal(cause),
            _ => InsertError::Retry(cause),
        }
    }

    /// What the server said, or why it said nothing.
    pub fn cause(&self) -> &Cause {
        match self {
            InsertError::Retry(cause) | InsertError::Reject(cause) | InsertError::Fatal(cause) => cause,
        }
    }
}

impl From<StoreError> for InsertError {
    /// A question on the way to an insert that was not answered.
    fn from(error: StoreError) -> InsertError {
        match error {
            StoreError::Server(cause) => InsertError::of(cause),
            other => InsertError::Fatal(Cause { server: "none".into(), code: None, text: other.to_string() }),
        }
    }
}

/// The bytes are at fault: cannot parse or convert, unknown enum value, wrong column sizes, end inside a column.
const REJECT: [u32; 14] = [6, 27, 32, 33, 41, 53, 69, 70, 72, 117, 131, 349, 469, 691];

/// An operator must act: no such column, table, database or setting, no rights, wrong password, full disk.
const FATAL: [u32; 15] = [8, 10, 16, 47, 60, 62, 81, 115, 164, 192, 193, 194, 243, 497, 516];

/// The number in `Code: 60. DB::Exception: …`.
fn code(answer: &str) -> Option<u32> {
    let digits = &answer[answer.find("Code: ")? + "Code: ".len()..];
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

/// The last word in capitals between brackets: `(UNKNOWN_TABLE)`.
fn name(answer: &str) -> &str {
    let named = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit())
    };
    answer
        .rsplit('(')
        .filter_map(|part| part.split(')').next())
        .find(|part| named(part))
        .unwrap_or("unnamed error")
}

/// The message without the code before it and the version after it.
fn message(answer: &str) -> &str {
    let end = answer.rfind(" (version ").unwrap_or(answer.len());
    let start = answer.find("DB::Exception: ").map_or(0, |at| at + "DB::Exception: ".len());
    answer.get(start..end).unwrap_or(answer).trim()
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        next = source.source();
    }
    text
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clickhouse::error::Error as Client;

    #[test]
    fn a_code_decides_what_to_do_next() {
        let of = |answer: &str| InsertError::new("h:1", &Client::BadResponse(answer.into()));
        let cases = [
            (
                "Code: 60. DB::Exception: Table x.events does not exist. (UNKNOWN_TABLE) (version 26.7)",
                "Fatal",
                "Table x.events does not exist. (UNKNOWN_TABLE)",
            ),
            (
                "Code: 252. DB::Exception: Too many parts. (TOO_MANY_PARTS)",
                "Retry",
                "Too many parts. (TOO_MANY_PARTS)",
            ),
            (
                "Code: 691. DB::Exception: Unexpected value a@b.c in enum. (UNKNOWN_ELEMENT_OF_ENUM) (version 26.7)",
                "Reject",
                "UNKNOWN_ELEMENT_OF_ENUM",
            ),
            ("Code: 123456. DB::Exception: Of next year. (NEW)", "Retry", "Of next year. (NEW)"),
            ("503 Service Unavailable", "Retry", "503 Service Unavailable"),
            ("Code: 69", "Reject", "unnamed error"),
        ];
        for (answer, next, text) in cases {
            let error = of(answer);
            assert!(format!("{error:?}").starts_with(next), "{error:?}");
            assert_eq!(error.cause().text, text);
        }
        assert!(matches!(InsertError::new("h:1", &Client::TimedOut), InsertError::Retry(_)));
        assert_eq!(of(&"é".repeat(900)).cause().text.len(), TEXT_BYTES_MAX);
    }
}
