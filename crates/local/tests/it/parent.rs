//! What a killed parent leaves behind: nothing.
//!
//! Each test runs this test binary again, as the parent: the same test, told by the environment to play the other
//! role. The parent says on stdout that it is ready, waits for its death, and gets it.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use local::Cache;
use rustix::process::{Pid, WaitOptions, WaitStatus, set_child_subreaper, waitpid};

const ROLE: &str = "MAILBEACON_TEST_PARENT_DIR";
const READY: &str = "parent is ready:";
const END_WAIT: Duration = Duration::from_secs(30);

#[test]
fn killed_parent_takes_its_parts_along() {
    if env::var_os(ROLE).is_some() {
        let engine = testkit::fresh_clickhouse();
        let kafka = testkit::fresh_kafka(1);
        ready(&format!("{} {}", engine.pid(), kafka.pid(0).unwrap()));
    }
    // Orphans come to us instead of to init, so that their end can be waited for.
    set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let dir = testkit::fresh_dir("parent");
    let (mut parent, pids) = start_parent("parent::killed_parent_takes_its_parts_along", dir.path());
    let pids: Vec<Pid> = pids.split(' ').map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap()).collect();
    assert_eq!(pids.len(), 2);
    parent.kill().unwrap();
    parent.wait().unwrap();
    for pid in pids {
        let status = wait_for(pid);
        assert_eq!(status.terminating_signal(), Some(rustix::process::Signal::KILL.as_raw()), "{status:?}");
    }
}

#[test]
fn killed_fetch_is_not_taken_for_whole() {
    const NAME: &str = "part-1";
    if let Some(dir) = env::var_os(ROLE) {
        let _ = Cache { dir: dir.into() }.item(NAME, |partial| {
            fs::write(partial.join("file"), "ha").unwrap();
            ready("half")
        });
    }
    let dir = testkit::fresh_dir("fetch");
    let cache = Cache { dir: dir.path().to_owned() };
    let (mut parent, _) = start_parent("parent::killed_fetch_is_not_taken_for_whole", dir.path());
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(!dir.path().join(NAME).exists());
    let item = cache.item(NAME, |partial| {
        assert_eq!(fs::read_dir(partial).unwrap().count(), 0, "a fetch starts from nothing");
        fs::write(partial.join("file"), "half and half").unwrap();
        Ok(())
    });
    assert_eq!(fs::read_to_string(item.unwrap().join("file")).unwrap(), "half and half");
    let mut left: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["part-1", "part-1.lock"], "what the killed fetch left is gone");
}

/// As the parent: says so, then waits for the end. Standard input is held by the tester, so the parent ends even
/// when the tester fails first.
fn ready(word: &str) -> ! {
    println!("\n{READY}{word}");
    let _ = io::stdin().read(&mut [0]);
    std::process::exit(1)
}

/// Runs `test` in a process of its own and waits for its word.
fn start_parent(test: &str, dir: &Path) -> (Child, String) {
    let mut parent = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(ROLE, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let word = lines.map_while(Result::ok).find_map(|line| line.strip_prefix(READY).map(str::to_owned));
    (parent, word.expect("the parent becomes ready"))
}

/// Waits, within a bound, for the end of an orphan that came to us.
fn wait_for(pid: Pid) -> WaitStatus {
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || sender.send(waitpid(Some(pid), WaitOptions::empty())));
    let (_, status) = ended.recv_timeout(END_WAIT).expect("the part ends").unwrap().expect("it has a status");
    status
}
