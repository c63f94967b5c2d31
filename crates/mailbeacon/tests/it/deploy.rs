//! `deploy/`: no container engine runs where this is tested. So all of it that can be read is read, and what is
//! meant for the program is given to the program.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod containers;
mod expressions;
mod settings;
mod units;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_yaml_ng::Value as Yaml;
use toml::Table;

/// Runs the program with `environment` and nothing else in its environment: its output, or what it complained of.
fn mailbeacon(environment: &[(String, String)], args: &[&str]) -> Result<String, String> {
    let environment = environment.iter().map(|(name, value)| (name, value));
    let mut program = Command::new(env!("CARGO_BIN_EXE_mailbeacon"));
    let output = program.env_clear().envs(environment).args(args).output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn path(name: &str) -> PathBuf {
    repository().join("deploy").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|cause| panic!("{name}: {cause}"))
}

fn yaml(name: &str) -> Yaml {
    let mut value: Yaml =
        serde_yaml_ng::from_str(&text(name)).unwrap_or_else(|cause| panic!("{name}: {cause}"));
    value.apply_merge().unwrap();
    value
}

fn defaults() -> Table {
    mailbeacon(&[], &["config"]).unwrap().parse().unwrap()
}

fn default_of(setting: &str) -> u64 {
    let (section, key) = setting.split_once('.').unwrap();
    defaults()[section][key].as_integer().unwrap().try_into().unwrap()
}
