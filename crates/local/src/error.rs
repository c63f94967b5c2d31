//! What can go wrong, in words for whoever sits at the terminal.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Why a local part could not be found, fetched, started or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// A file operation failed.
    #[error("failed to {action} {}: {source}", path.display())]
    File {
        /// What was tried, as in "create" or "open".
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// None of the environment variables that lead to the cache is set.
    #[error("no place for the cache: set MAILBEACON_CACHE, XDG_CACHE_HOME or HOME")]
    NoCacheDir,
    /// A needed program is not on the PATH.
    #[error(
        "failed to find `{program}`, needed to {purpose}: install it, on Debian with `apt-get install {package}`"
    )]
    MissingTool {
        /// The program as typed.
        program: &'static str,
        /// What it is needed for.
        purpose: String,
        /// The Debian package that carries it.
        package: &'static str,
    },
    /// The program with the hidden subcommand is not where it was said to be.
    #[error("no program at {}: build it with `cargo build -p mailbeacon`, or run `cargo test --workspace`", .0.display())]
    MissingHelper(PathBuf),
    /// A fetching tool ended with an error or took too long.
    #[error("failed to fetch {what}: {reason}; last output:\n{tail}")]
    Fetch {
        /// The package.
        what: String,
        /// Exit status or "timed out".
        reason: String,
        /// The last lines that the tool printed.
        tail: String,
    },
    /// A fetched file is not the pinned one.
    #[error("{what} has sha512 {found}, expected {expected}")]
    Integrity {
        /// The package.
        what: String,
        /// Hexadecimal digest of what was fetched.
        found: String,
        /// Hexadecimal digest that is pinned.
        expected: &'static str,
    },
    /// A fetched archive lacks a file that it must hold.
    #[error("{what} holds no {wanted}")]
    NotInArchive {
        /// The package.
        what: String,
        /// The path in the archive.
        wanted: String,
    },
    /// Every way to a ClickHouse engine failed.
    #[error(
        "no ClickHouse engine found:\n  \
         1. a running server: none was named (give its address with --clickhouse URL)\n  \
         2. a `clickhouse` program on the PATH: none (see https://clickhouse.com/docs/install)\n  \
         3. the cached engine: no {}\n  \
         4. npm: {npm}\n  \
         5. PyPI: {pypi}",
        cached.display()
    )]
    NoEngine {
        /// Where the cached engine would be.
        cached: PathBuf,
        /// Why npm did not give it.
        npm: Box<LocalError>,
        /// Why PyPI did not give it.
        pypi: Box<LocalError>,
    },
    /// No build of the engine exists for this machine.
    #[error("no build for {0}, expected x86_64 or aarch64 Linux")]
    NoBuild(&'static str),
    /// The system refused to start a process.
    #[error("failed to start {program}: {source}")]
    Spawn {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// A part ended by itself while it should run.
    #[error("{program} ended ({status}); last lines of {}:\n{tail}", log.display())]
    Ended {
        /// The part.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// Where its output is.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// A part did not answer in time.
    #[error("{program} was not ready after {waited_s} s: {missing}; last lines of {}:\n{tail}", log.display())]
    NotReady {
        /// The part.
        program: String,
        /// How long it was waited for.
        waited_s: u64,
        /// What it lacked when it was last asked.
        missing: String,
        /// Where its output is.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// No free port was found.
    #[error("no free port on 127.0.0.1 in {tries} tries between {low} and {high}")]
    NoPort {
        /// How many ports were tried.
        tries: usize,
        /// The lowest candidate.
        low: u16,
        /// One above the highest candidate.
        high: u16,
    },
    /// A signal could not be sent.
    #[error("failed to signal {program}: {source}")]
    Signal {
        /// The part.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The engine answered a question with an error, or not at all.
    #[error("failed to query the engine: {0}")]
    Query(String),
    /// The options contradict themselves.
    #[error("{0}")]
    Options(String),
}

/// `map_err` helper: names the action and the path.
pub(crate) fn file<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> LocalError + 'a {
    move |source| LocalError::File { action, path: path.to_owned(), source }
}
