//! A running `mailbeacon`: what it says, how it is told to end, and that nothing of it stays behind.

use std::fmt::Display;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The first start on a machine fetches an engine, a Kafka and place data.
pub const START: Duration = Duration::from_secs(600);
/// For anything that a loaded machine may take its time for.
pub const BOUND: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(25);

/// Asks until there is an answer; `what` names what was waited for in vain.
pub fn until<T>(what: &str, bound: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    until_ok(what, bound, || ask().ok_or("nothing"))
}

/// Asks until all is well; what was seen instead stands in the failure.
pub fn until_ok<T, E: Display>(what: &str, bound: Duration, mut ask: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + bound;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(seen) => {
                assert!(Instant::now() < deadline, "waited {} s in vain: {what}: {seen}", bound.as_secs());
            }
        }
        std::thread::park_timeout(POLL);
    }
}

/// `mailbeacon` with these arguments, in `dir`, with no settings from the environment of the test.
pub fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailbeacon"));
    let ours = |name: &str| name.starts_with("MAILBEACON_") && name != "MAILBEACON_CACHE";
    for (name, _) in std::env::vars().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    command.args(args).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs to the end with `stdin` as its input.
pub fn run_with_input(dir: &Path, args: &[&str], stdin: &str) -> Output {
    let mut child = command(dir, args).stdin(Stdio::piped()).spawn().unwrap();
    // The input of a message is below what a pipe holds, or is read before anything is written.
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// What it prints when all is well.
pub fn says(dir: &Path, args: &[&str]) -> String {
    let output = command(dir, args).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

/// What it complains of, as one that fails.
pub fn refuses(dir: &Path, args: &[&str]) -> String {
    let output = command(dir, args).output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{args:?}: {complaint}");
    complaint
}

/// One that runs until it is told to end; killed when dropped.
pub struct Program {
    child: Child,
    /// All that it has written so far, to either stream.
    said: Arc<Mutex<String>>,
}

impl Program {
    pub fn start(dir: &Path, args: &[&str]) -> Program {
        let mut child = command(dir, args).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        listen(child.stdout.take().unwrap(), said.clone());
        listen(child.stderr.take().unwrap(), said.clone());
        Program { child, said }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits for a line that has `part` in it, and returns the line.
    pub fn line(&mut self, part: &str, bound: Duration) -> String {
        let deadline = Instant::now() + bound;
        loop {
            // Asked before the output is looked at: what an ended program has said is complete soon after.
            let ended = self.child.try_wait().unwrap();
            if let Some(line) = self.said().lines().find(|line| line.contains(part)) {
                return line.to_owned();
            }
            assert!(ended.is_none(), "ended with {ended:?} and never said {part:?}: {}", self.said());
            assert!(Instant::now() < deadline, "did not say {part:?}: {}", self.said());
            std::thread::park_timeout(POLL);
        }
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        let (child, said) = (&mut self.child, &self.said);
        let what = "the program ends";
        let deadline = Instant::now() + BOUND;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "{what}: {}", said.lock().unwrap());
            std::thread::park_timeout(POLL);
        }
    }

    /// Its child processes, each by number and start time: a number alone may be given to another.
    pub fn children(&self) -> Vec<(u32, String)> {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let found = numbers.filter_map(|pid| Some((pid, stat(pid)?)));
        let ours = found.filter(|(_, stat)| stat[PARENT] == self.pid().to_string());
        ours.map(|(pid, stat)| (pid, stat[STARTED].clone())).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("mailbeacon {}:\n{}", self.child.id(), self.said());
        }
    }
}

/// Waits until none of these processes runs any more.
pub fn all_gone(children: &[(u32, String)]) {
    until(&format!("the end of {children:?}"), BOUND, || {
        let runs = |(pid, started): &(u32, String)| {
            stat(*pid).is_some_and(|stat| stat[STARTED] == *started && !matches!(&*stat[STATE], "Z" | "X"))
        };
        (!children.iter().any(runs)).then_some(())
    });
}

/// Fields of `/proc/PID/stat` behind the name, which may hold anything: proc_pid_stat(5).
const STATE: usize = 0;
const PARENT: usize = 1;
const STARTED: usize = 19;

fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind) = text.rsplit_once(") ")?;
    Some(behind.split_whitespace().map(str::to_owned).collect())
}

fn listen(stream: impl Read + Send + 'static, said: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let mut said = said.lock().unwrap();
            said.push_str(&String::from_utf8_lossy(&line));
            said.push('\n');
        }
    });
}
