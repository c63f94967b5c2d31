//! A program as a child: one of ours, the same binary that turns into the other parts, or one that ours is measured
//! against.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::LocalError;
use crate::error::file;
use crate::process::{Process, Spec};

/// What one start of a program may write before a line in it is no longer found.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What to start.
#[derive(Debug, Clone)]
pub struct ProgramOptions {
    /// For messages, as in "edge 1".
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its working directory, which must exist.
    pub dir: PathBuf,
    /// Where its output is appended, start after start.
    pub log: PathBuf,
}

/// A running program, killed when dropped.
pub struct Program {
    process: Process,
    log: PathBuf,
    /// How long the log was at the start.
    log_start: u64,
}

/// Starts one of ours, which has the hidden subcommand ([`crate::child_main`]); it says in its log when it is up, see
/// [`Program::line`].
///
/// # Errors
/// When there is no such program, or it cannot be started.
pub fn start(options: ProgramOptions) -> Result<Program, LocalError> {
    let helper = options.program.clone();
    start_other(&helper, options)
}

/// Starts a program of others, which `helper`, one of ours, turns into.
///
/// # Errors
/// As [`start`]; that there is no such program is seen by its end.
pub fn start_other(helper: &Path, options: ProgramOptions) -> Result<Program, LocalError> {
    let ProgramOptions { name, program, args, dir, log } = options;
    let log_start = fs::metadata(&log).map_or(0, |meta| meta.len());
    let args: Vec<OsString> =
        std::iter::once(program.into()).chain(args.into_iter().map(OsString::from)).collect();
    let spec = Spec { name, helper, form: "exec", args, dir: &dir, log: log.clone() };
    Ok(Program { process: Process::start(spec)?, log, log_start })
}

impl Program {
    /// The process, for measuring.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where its output is.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether the process runs (a suspended one does).
    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    /// The last words of a program that has ended by itself, as an error.
    pub fn check(&self) -> Result<(), LocalError> {
        self.process.check()
    }

    /// Waits for a line since this start that has `part` in it, and returns the line.
    ///
    /// # Errors
    /// When the program ends, or `bound` is over, before it.
    pub fn line(&self, part: &str, bound: Duration) -> Result<String, LocalError> {
        let said = || match self.find(part) {
            Ok(Some(line)) => Ok(line),
            Ok(None) => Err(format!("it has not said {part:?}")),
            Err(error) => Err(error.to_string()),
        };
        let waited = self.process.wait_ready(bound, || said().map(drop));
        // One that ended may have said it with its last words.
        said().or_else(|missing| waited.and(Err(LocalError::Options(missing))))
    }

    /// Waits for a program whose work has an end, which must be a success.
    ///
    /// # Errors
    /// When it ends otherwise, or does not within `bound`.
    pub fn finish(&self, bound: Duration) -> Result<(), LocalError> {
        self.process.finish(bound)
    }

    /// Ends it cleanly (`SIGTERM`); that it takes longer than `bound`, or ends otherwise, is an error.
    ///
    /// # Errors
    /// As [`Program::finish`].
    pub fn stop(&self, bound: Duration) -> Result<(), LocalError> {
        self.process.terminate()?;
        self.process.finish(bound)
    }

    /// Kills it as a crash would (`SIGKILL`) and waits until it is gone.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn kill(&self) -> Result<(), LocalError> {
        self.process.kill()
    }

    /// Freezes it: connections stay open, nothing answers (`SIGSTOP`).
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn suspend(&self) -> Result<(), LocalError> {
        self.process.suspend()
    }

    /// Lets a frozen one go on (`SIGCONT`).
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn resume(&self) -> Result<(), LocalError> {
        self.process.resume()
    }

    fn find(&self, part: &str) -> Result<Option<String>, LocalError> {
        let mut log = File::open(&self.log).map_err(file("open", &self.log))?;
        log.seek(SeekFrom::Start(self.log_start)).map_err(file("read", &self.log))?;
        let mut bytes = Vec::new();
        log.take(LOG_BYTES_MAX).read_to_end(&mut bytes).map_err(file("read", &self.log))?;
        let text = String::from_utf8_lossy(&bytes);
        // A line that is still being written may lack what follows the part.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        Ok(whole.lines().find(|line| line.contains(part)).map(str::to_owned))
    }
}
