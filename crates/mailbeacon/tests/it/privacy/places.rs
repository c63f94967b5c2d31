//! All that a run leaves behind, and the search through it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;

use super::needles::{Needles, What};
use crate::http;
use crate::program::BOUND;

/// Bytes by the name of where they are.
#[derive(Default)]
pub struct Places {
    all: BTreeMap<String, Vec<Vec<u8>>>,
}

impl Places {
    pub fn add(&mut self, name: &str, contents: Vec<Vec<u8>>) {
        assert!(contents.iter().any(|bytes| !bytes.is_empty()), "nothing in {name}");
        self.all.entry(name.to_owned()).or_default().extend(contents);
    }

    /// The places of each part of each request, by its number.
    pub fn search(&self, needles: &Needles) -> BTreeMap<(u16, What), BTreeSet<String>> {
        let (owners, forms): (Vec<(u16, What)>, Vec<Vec<u8>>) = needles
            .all
            .iter()
            .flat_map(|needle| needle.forms().into_iter().map(|(what, form)| ((needle.number, what), form)))
            .unzip();
        let searcher = AhoCorasick::new(&forms).unwrap();
        let mut found: BTreeMap<(u16, What), BTreeSet<String>> = BTreeMap::new();
        for (name, contents) in &self.all {
            for bytes in contents {
                for hit in searcher.find_overlapping_iter(bytes) {
                    // A number inside a longer one is another number.
                    let is_digit =
                        |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
                    let number = forms[hit.pattern().as_usize()].iter().all(u8::is_ascii_digit);
                    if number && (is_digit(hit.start().checked_sub(1)) || is_digit(Some(hit.end()))) {
                        continue;
                    }
                    found.entry(owners[hit.pattern().as_usize()]).or_default().insert(name.clone());
                }
            }
        }
        found
    }

    /// The places that hold these bytes.
    pub fn holding(&self, wanted: &[u8]) -> Vec<&str> {
        let holds = |contents: &Vec<Vec<u8>>| {
            contents.iter().any(|bytes| bytes.windows(wanted.len()).any(|part| part == wanted))
        };
        self.all.iter().filter(|(_, contents)| holds(contents)).map(|(name, _)| name.as_str()).collect()
    }
}

/// Every message of a topic as it came from the broker: key, value and headers.
pub fn topic(name: &str) -> Vec<Vec<u8>> {
    let config = kafka::Config::new(testkit::kafka().bootstrap(), name);
    let mut messages = Vec::new();
    let stretches = kafka::whole(&config, BOUND).unwrap();
    kafka::scan(&config, &stretches, BOUND, |message| {
        let headers = message.headers.iter().flat_map(|(name, value)| [name.as_bytes(), value].concat());
        let mut bytes: Vec<u8> = headers.collect();
        bytes.extend(message.key.unwrap_or_default());
        bytes.extend(message.payload);
        messages.push(bytes);
        ControlFlow::Continue(())
    })
    .unwrap();
    messages
}

/// Every row of every table and view, as text and as the bytes of its columns.
pub fn database(clickhouse: &str, name: &str) -> Vec<Vec<u8>> {
    let system = |column: &str| {
        let sql = format!("SELECT {column} FROM system.tables WHERE database = '{name}'");
        http::query(clickhouse, name, &sql).unwrap()
    };
    let called = "name || if(as_select LIKE '%{workspace:UInt32}%', '(workspace = 1, at = now64(3))', '')";
    let tables = system(called);
    assert!(tables.lines().count() > 8, "{tables}");
    let mut contents = vec![system("create_table_query").into_bytes()];
    for table in tables.lines() {
        for format in ["JSONEachRow", "TSV", "RowBinary"] {
            let query = format!("SELECT * FROM {table} FORMAT {format}").replace(' ', "%20");
            let url = format!("{clickhouse}/?database={name}&wait_end_of_query=1&query={query}");
            let reply = http::get(&url, "").unwrap();
            assert_eq!(reply.status, 200, "{table}: {}", reply.text());
            contents.push(reply.body);
        }
    }
    contents
}

/// Every file below a folder.
pub fn files(dir: &Path) -> Vec<Vec<u8>> {
    paths(dir).iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Every log of a server below its folder.
pub fn logs(dir: &Path) -> Vec<Vec<u8>> {
    let is_log = |path: &&PathBuf| path.extension().is_some_and(|end| end == "log") && !is_data(path);
    paths(dir).iter().filter(is_log).map(|path| std::fs::read(path).unwrap()).collect()
}

/// Kafka calls its data logs: `00000000000000000000.log`.
fn is_data(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
}

fn paths(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        // Files of a running server come and go.
        match std::fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => found.extend(paths(&path)),
            Ok(meta) if meta.is_file() => found.push(path),
            _ => {}
        }
    }
    found
}
