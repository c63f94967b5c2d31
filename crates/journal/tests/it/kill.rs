//! `kill -9`, for real: the test binary runs itself as a child that appends and says what was acknowledged.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Read as _, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use journal::{Class, JournalError, Reader, Sync};

use crate::{block_on, options, read_all};

/// Set for the child, to the directory of its journal.
const CHILD_DIR: &str = "JOURNAL_TEST_CHILD_DIR";
const KILLS: usize = 10;

#[test]
fn kill_nine_loses_nothing_acknowledged_in_page_cache_mode() {
    run("kill::kill_nine_loses_nothing_acknowledged_in_page_cache_mode", Sync::PageCache);
}

#[test]
fn kill_nine_loses_nothing_acknowledged_in_fsync_mode() {
    run("kill::kill_nine_loses_nothing_acknowledged_in_fsync_mode", Sync::Fsync);
}

fn run(test: &str, sync: Sync) {
    match env::var_os(CHILD_DIR) {
        Some(dir) => live(Path::new(&dir), sync),
        None => kill_again_and_again(test, sync),
    }
}

/// Appends, acknowledges, reads and checkpoints until killed.
fn live(dir: &Path, sync: Sync) {
    let (log, reader) = journal::open(options(dir, sync)).unwrap();
    let follower = thread::spawn(move || follow(reader));
    let log = Arc::new(log);
    block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..8 {
            let log = log.clone();
            tasks.spawn(async move {
                for count in 0.. {
                    let text = format!("{}-{task}-{count}-{}", std::process::id(), "p".repeat(count % 200));
                    match log.append(Class::Sent, |_, _, out| out.extend_from_slice(text.as_bytes())) {
                        Ok(at) => {
                            log.committed(at).await.unwrap();
                            say(&format!("ack {} {} {text}\n", at.edge_id, at.seq));
                        }
                        Err(_) => tokio::task::yield_now().await,
                    }
                }
            });
        }
        tasks.join_next().await;
    });
    follower.join().unwrap();
}

/// Says what it read before it declares it done.
fn follow(mut reader: Reader) {
    loop {
        block_on(reader.readable());
        let mut last = None;
        let mut lines = String::new();
        reader
            .read(20_000, |frame| {
                let text = std::str::from_utf8(frame.payload).unwrap();
                lines.push_str(&format!("read {} {} {text}\n", frame.edge_id, frame.seq));
                last = Some(frame.position());
            })
            .unwrap();
        say(&lines);
        if let Some(position) = last {
            reader.checkpoint(position, b"").unwrap();
        }
    }
}

fn say(lines: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(lines.as_bytes()).unwrap();
    out.flush().unwrap();
}

/// A child that does not outlive a failing test.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What all children said.
#[derive(Default)]
struct Record {
    acknowledged: BTreeMap<(u64, u64), String>,
    read: BTreeMap<(u64, u64), String>,
}

impl Record {
    /// Takes a line; what the test harness prints is none.
    fn hear(&mut self, line: &str) -> bool {
        let mut words = line.trim_end().splitn(4, ' ');
        let said = match words.next() {
            Some("ack") => &mut self.acknowledged,
            Some("read") => &mut self.read,
            _ => return false,
        };
        let [edge_id, seq] = [words.next(), words.next()].map(|word| word.unwrap().parse().unwrap());
        let text = words.next().unwrap().to_owned();
        let before = said.insert((edge_id, seq), text.clone());
        assert!(before.is_none_or(|before| before == text), "{edge_id}/{seq} names two frames");
        true
    }
}

fn kill_again_and_again(test: &str, sync: Sync) {
    let dir = tempfile::tempdir().unwrap();
    let mut record = Record::default();
    for round in 0..KILLS {
        let child = Command::new(env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut victim = Victim(child);
        let mut lines = BufReader::new(victim.0.stdout.take().unwrap());
        let (mut line, mut heard) = (String::new(), 0);
        while heard < 100 + round * 397 % 1500 {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "the child ended by itself");
            heard += usize::from(record.hear(&line));
        }
        assert!(matches!(journal::open(options(dir.path(), sync)), Err(JournalError::Locked { .. })));
        drop(victim);
        // What it still said before it died counts; a line that it could not finish does not.
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        for line in rest.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            record.hear(line);
        }
    }
    let (log, mut reader) = journal::open(options(dir.path(), sync)).unwrap();
    for frame in read_all(&mut reader) {
        let Ok(text) = String::from_utf8(frame.payload) else { panic!("{:?} is damaged", frame.position) };
        record.hear(&format!("read {} {} {text}\n", frame.position.edge_id, frame.position.seq));
    }
    assert!(record.acknowledged.len() > 500, "{} acknowledged", record.acknowledged.len());
    for (name, text) in &record.acknowledged {
        assert_eq!(record.read.get(name), Some(text), "acknowledged {name:?}");
    }
    let edges: std::collections::BTreeSet<_> = record.read.keys().map(|(edge_id, _)| edge_id).collect();
    assert!(edges.len() <= KILLS && edges.contains(&log.edge_id()), "{edges:?}");
}
