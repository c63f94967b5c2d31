//! Signals end a process, so each case runs in a child: this test binary again, told by an environment
//! variable to play the program.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

const PLAY: &str = "TELEMETRY_TEST_PLAYS_PROGRAM";

/// The program under test. Does nothing when run as an ordinary test.
#[test]
fn program() {
    if std::env::var_os(PLAY).is_none() {
        return;
    }
    let shutdown = telemetry::Shutdown::on_signals().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    println!("\nstarted");
    runtime.block_on(shutdown.wait());
    println!("\ndraining {}", shutdown.begun());
    // A drain that hangs, on a blocked runtime: only the second signal, or the parent's end, gets it out.
    let _ = std::io::stdin().read(&mut [0]);
    println!("\ndrained");
    std::process::exit(0);
}

struct Program {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

fn play() -> Program {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "signals::program", "--nocapture"])
        .env(PLAY, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut program = Program { child, lines };
    program.wait_for("started");
    program
}

impl Program {
    fn wait_for(&mut self, line: &str) {
        assert!(self.lines.any(|said| said.unwrap() == line), "the program ended without saying `{line}`");
    }

    fn send(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

#[test]
fn the_first_signal_drains() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut program = play();
        program.send(signal);
        program.wait_for("draining true");
        drop(program.child.stdin.take());
        program.wait_for("drained");
        assert_eq!(program.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn the_second_signal_leaves_at_once() {
    for (second, status, name) in [(Signal::TERM, 143, "SIGTERM"), (Signal::INT, 130, "SIGINT")] {
        let mut program = play();
        program.send(Signal::TERM);
        program.wait_for("draining true");
        // `wait` closes a pipe that the child still owns, and so would let the drain end.
        let _held = program.child.stdin.take();
        program.send(second);
        assert_eq!(program.child.wait().unwrap().code(), Some(status));
        let mut said = String::new();
        program.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(said.contains(&format!("second signal ({name}): leaving at once")), "{said}");
    }
}
