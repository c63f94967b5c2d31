//! One running part: its signals, its end, the last words in its log.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};

use crate::LocalError;
use crate::child::CHILD_SUBCOMMAND;
use crate::error::file;
use crate::spawn::spawn;

const TAIL_LINES_MAX: usize = 20;
const TAIL_BYTES_MAX: u64 = 16 * 1024;
/// A killed process leaves within milliseconds; longer means that the kernel is stuck on its disk.
const KILL_WAIT: Duration = Duration::from_secs(10);

/// What to run as a child by the hidden subcommand.
pub(crate) struct Spec<'a> {
    /// For messages, as in "kafka broker 1".
    pub name: String,
    /// The program that has the hidden subcommand.
    pub helper: &'a Path,
    /// `engine` or `exec`.
    pub form: &'static str,
    /// The library or program, and its arguments.
    pub args: Vec<OsString>,
    /// Working directory.
    pub dir: &'a Path,
    /// Where stdout and stderr are appended.
    pub log: PathBuf,
}

/// A child process that is watched, and killed when dropped.
pub(crate) struct Process {
    name: String,
    pid: u32,
    /// Signals go by this handle: unlike a number it can never mean another process.
    handle: OwnedFd,
    /// Held open while the part shall run; see [`Process::close_stdin`].
    stdin: Option<ChildStdin>,
    fate: Arc<Fate>,
    log: PathBuf,
}

#[derive(Default)]
struct Fate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    exit: Option<ExitStatus>,
    /// Set before we end it ourselves, so that the watcher keeps quiet.
    ending: bool,
}

impl Fate {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is two plain fields: a panic elsewhere cannot leave it half written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    /// Starts the part and a thread that watches it.
    pub fn start(spec: Spec<'_>) -> Result<Process, LocalError> {
        if !spec.helper.is_file() {
            return Err(LocalError::MissingHelper(spec.helper.to_owned()));
        }
        let open_log =
            || OpenOptions::new().create(true).append(true).open(&spec.log).map_err(file("open", &spec.log));
        let mut command = Command::new(spec.helper);
        command
            .arg(CHILD_SUBCOMMAND)
            .arg(spec.form)
            .arg(std::process::id().to_string())
            .args(&spec.args)
            .current_dir(spec.dir)
            .stdin(Stdio::piped())
            .stdout(open_log()?)
            .stderr(open_log()?)
            // A group of its own: ctrl-c at the terminal is for the parent, which drains first and then ends us.
            .process_group(0);
        let failed = |source| LocalError::Spawn { program: spec.name.clone(), source };
        let mut child = spawn(command).map_err(failed)?;
        let pid = child.id();
        let stdin = child.stdin.take();
        // The child is ours and not yet waited for, so its number cannot have been given to another.
        let handle =
            pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).map_err(|error| failed(error.into()))?;
        let fate = Arc::new(Fate::default());
        let watch = Watch { child, name: spec.name.clone(), log: spec.log.clone(), fate: Arc::clone(&fate) };
        thread::Builder::new().name("local-watch".into()).spawn(move || watch.run()).map_err(failed)?;
        Ok(Process { name: spec.name, pid, handle, stdin, fate, log: spec.log })
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn is_alive(&self) -> bool {
        self.fate.lock().exit.is_none()
    }

    /// Sends a signal; one to a part that has ended is not an error.
    fn signal(&self, signal: Signal) -> Result<(), LocalError> {
        match pidfd_send_signal(&self.handle, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(LocalError::Signal { program: self.name.clone(), source: error.into() }),
        }
    }

    /// Freezes it and waits until it is frozen: a signal returns before it has worked.
    pub fn suspend(&self) -> Result<(), LocalError> {
        self.signal(Signal::STOP)?;
        // NOWAIT leaves the news, and so does not disturb the watcher. One that has ended meanwhile is frozen enough.
        let stopped = WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
        let _ = waitid(WaitId::PidFd(self.handle.as_fd()), stopped);
        Ok(())
    }

    /// Lets it go on.
    pub fn resume(&self) -> Result<(), LocalError> {
        self.signal(Signal::CONT)
    }

    /// Ends the part's standard input, which it may take as the word to end.
    pub fn close_stdin(&mut self) -> Result<(), LocalError> {
        self.fate.lock().ending = true;
        self.stdin = None;
        self.signal(Signal::CONT)
    }

    /// Asks it to end.
    pub fn terminate(&self) -> Result<(), LocalError> {
        self.fate.lock().ending = true;
        self.signal(Signal::TERM)?;
        // A suspended process cannot act on what it was asked.
        self.signal(Signal::CONT)
    }

    /// Kills it and waits until it is gone.
    pub fn kill(&self) -> Result<(), LocalError> {
        self.fate.lock().ending = true;
        self.signal(Signal::KILL)?;
        self.wait(KILL_WAIT);
        Ok(())
    }

    /// Waits until it has ended: `false` when it has not after `bound`.
    pub fn wait(&self, bound: Duration) -> bool {
        let state = self.fate.lock();
        let waited = self.fate.changed.wait_timeout_while(state, bound, |state| state.exit.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.exit.is_some()
    }

    /// Waits for a part whose work has an end, which must be a success.
    pub fn finish(&self, bound: Duration) -> Result<(), LocalError> {
        self.fate.lock().ending = true;
        if !self.wait(bound) {
            return Err(self.not_ready(bound, "still at work".into()));
        }
        let success = self.fate.lock().exit.is_some_and(|status| status.success());
        if success { Ok(()) } else { Err(self.ended()) }
    }

    /// Waits until `ready` finds nothing missing, the part ends, or `bound` is over.
    pub fn wait_ready(
        &self,
        bound: Duration,
        mut ready: impl FnMut() -> Result<(), String>,
    ) -> Result<(), LocalError> {
        const POLL: Duration = Duration::from_millis(25);
        let deadline = Instant::now() + bound;
        loop {
            let Err(missing) = ready() else { return Ok(()) };
            if self.wait(POLL) {
                return Err(self.ended());
            }
            if Instant::now() >= deadline {
                return Err(self.not_ready(bound, missing));
            }
        }
    }

    fn not_ready(&self, waited: Duration, missing: String) -> LocalError {
        LocalError::NotReady {
            program: self.name.clone(),
            waited_s: waited.as_secs(),
            missing,
            log: self.log.clone(),
            tail: tail(&self.log),
        }
    }

    /// The error that tells of its end, with its last words.
    fn ended(&self) -> LocalError {
        LocalError::Ended {
            program: self.name.clone(),
            status: self.fate.lock().exit.unwrap_or_default(),
            log: self.log.clone(),
            tail: tail(&self.log),
        }
    }

    /// `Err` with its last words when it has ended.
    pub fn check(&self) -> Result<(), LocalError> {
        if self.is_alive() { Ok(()) } else { Err(self.ended()) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

struct Watch {
    child: Child,
    name: String,
    log: PathBuf,
    fate: Arc<Fate>,
}

impl Watch {
    fn run(mut self) {
        let Ok(status) = self.child.wait() else { return };
        let mut state = self.fate.lock();
        state.exit = Some(status);
        let unexpected = !state.ending;
        drop(state);
        self.fate.changed.notify_all();
        if unexpected {
            tracing::error!(program = self.name, %status, log = %self.log.display(), tail = tail(&self.log), "part ended");
        }
    }
}

/// The last lines of a log; empty when there is none.
pub(crate) fn tail(log: &Path) -> String {
    let read = || {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES_MAX)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
        std::io::Result::Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty() && !is_frame(line)).collect();
    lines[lines.len().saturating_sub(TAIL_LINES_MAX)..].join("\n")
}

/// Whether a line is a frame of a stack trace, as Java and ClickHouse print them: the reason stands above those.
fn is_frame(line: &str) -> bool {
    let line = line.trim_start();
    let numbered = line.trim_start_matches(|sign: char| sign.is_ascii_digit());
    line.starts_with("at ") || (numbered.len() < line.len() && numbered.starts_with(". "))
}

/// Empties a log before a new start, so that its tail tells of this start only.
pub(crate) fn fresh_log(log: &Path) -> Result<(), LocalError> {
    fs::write(log, "").map_err(file("write", log))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_keeps_the_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        assert_eq!(tail(&log), "");
        let lines: Vec<String> = (0..5000).map(|line| format!("line {line}")).collect();
        let frames = "\n\tat kafka.Kafka.main(Kafka.scala)\n17. main @ 0x1\n\n";
        fs::write(&log, lines.join("\n") + frames).unwrap();
        assert_eq!(tail(&log), lines[5000 - TAIL_LINES_MAX..].join("\n"));
    }
}
