//! `mailbeacon keys`: make and rotate the key ring.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;

/// What can be done with the key ring's file.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Write a new key ring. Refuses to replace one: links minted with it would all stop to work.
    New,
    /// Add a key that signs from now on. Links minted before stay good. Give the file to every edge first.
    Rotate,
}

/// Does it.
pub fn run(file: &Path, command: &Command) -> anyhow::Result<()> {
    match command {
        Command::New => create(file)?,
        Command::Rotate => {
            let text = fs::read_to_string(file).with_context(|| format!("keys.file = {}", file.display()))?;
            let rotated = link::Keys::add_signing_key(&text)
                .with_context(|| format!("keys.file = {}", file.display()))?;
            replace(file, &rotated)?;
        }
    }
    println!("wrote {}", file.display());
    Ok(())
}

/// Writes a new key ring, readable by its owner only.
pub fn create(file: &Path) -> anyhow::Result<()> {
    let mut new = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .with_context(|| format!("failed to create keys.file = {}", file.display()))?;
    new.write_all(link::Keys::generate().as_bytes())?;
    Ok(new.sync_all()?)
}

/// Whoever reads the file sees the old one or the new one, whole.
fn replace(file: &Path, text: &str) -> anyhow::Result<()> {
    let beside = file.with_extension("new");
    let mut new = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    new.write_all(text.as_bytes())?;
    new.sync_all()?;
    fs::rename(&beside, file).with_context(|| format!("failed to replace {}", file.display()))
}
