//! The one thread that starts child processes.
//!
//! The parent-death signal fires when the *thread* that spawned the child ends, not the process. A child started
//! on a short-lived thread (a test, a blocking pool) would be killed at random, so every spawn goes through one
//! thread that lives as long as the process.

use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

type Request = (Command, Sender<io::Result<Child>>);

/// Starts `command` from the spawner thread.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, receiver) = mpsc::channel();
        thread::Builder::new()
            .name("local-spawner".into())
            .spawn(move || serve(&receiver))
            .expect("a thread can be started");
        sender
    });
    let (sender, receiver) = mpsc::channel();
    let gone = || io::Error::other("the local-spawner thread is gone");
    spawner.send((command, sender)).map_err(|_| gone())?;
    receiver.recv().map_err(|_| gone())?
}

fn serve(requests: &Receiver<Request>) {
    // The sender is a static, so this loop ends with the process only.
    for (mut command, answer) in requests {
        let _ = answer.send(command.spawn());
    }
}
