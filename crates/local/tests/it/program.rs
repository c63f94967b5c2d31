//! Our own program as a child.

use std::time::Duration;

use local::program::{self, Program, ProgramOptions};
use tempfile::TempDir;

const BOUND: Duration = Duration::from_secs(60);

fn start(dir: &TempDir, args: &[&str]) -> Program {
    let options = ProgramOptions {
        name: "the program".into(),
        program: testkit::helper(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        dir: dir.path().to_owned(),
        log: dir.path().join("program.log"),
    };
    program::start(options).unwrap()
}

#[test]
fn what_it_says_is_found_start_by_start() {
    let dir = testkit::fresh_dir("program");
    let named = |group: &str| format!("consumer.group={group}");
    let first = start(&dir, &["--set", &named("one"), "config"]);
    assert!(first.line("group = \"one\"", BOUND).unwrap().starts_with("group"));
    first.finish(BOUND).unwrap();
    let second = start(&dir, &["--set", &named("two"), "config"]);
    second.line("group = \"two\"", BOUND).unwrap();
    let missing = second.line("group = \"one\"", BOUND).unwrap_err().to_string();
    assert!(missing.starts_with("the program ended"), "{missing}");
}

#[test]
fn a_bad_end_is_an_error_with_its_last_words() {
    let dir = testkit::fresh_dir("program");
    let program = start(&dir, &["--set", "edge.nonsense=1", "config"]);
    let error = program.finish(BOUND).unwrap_err().to_string();
    assert!(error.contains("nonsense"), "{error}");
    assert!(program.check().is_err() && !program.is_alive());
}
