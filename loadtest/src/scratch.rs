//! What a run that starts our program by itself begins with and leaves behind: the program, and a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;

/// What such a run is told on its command line.
#[derive(Debug, Clone, Default, Args)]
pub struct Scratch {
    /// Our program; by default the `mailbeacon` beside this one.
    #[arg(long, value_name = "PATH")]
    pub mailbeacon: Option<PathBuf>,
    /// Where data and logs go, which must be new or empty (or, for `questions`, kept by such a run before); by default a
    /// folder of the run's own beside this program, which is removed when all is well.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Keep data and logs even when all is well.
    #[arg(long)]
    pub keep: bool,
}

impl Scratch {
    /// The program under test: as named, or the one beside this.
    pub fn program(&self) -> anyhow::Result<PathBuf> {
        let beside = || Some(std::env::current_exe().ok()?.with_file_name("mailbeacon"));
        let program =
            self.mailbeacon.clone().or_else(beside).context("failed to find this program's folder")?;
        ensure!(
            program.is_file(),
            "no program at {}: build it with `cargo build --release`, or name it with --mailbeacon",
            program.display()
        );
        program.canonicalize().with_context(|| format!("failed to resolve {}", program.display()))
    }

    /// Where everything goes: as named, or a folder of its own below `kind` beside this program. New or empty.
    pub fn folder(&self, kind: &str, name: &str) -> anyhow::Result<PathBuf> {
        let dir = match &self.dir {
            Some(dir) => dir.clone(),
            None => {
                let program = std::env::current_exe().context("failed to find this program's folder")?;
                program.with_file_name(kind).join(format!("{name}-{}", std::process::id()))
            }
        };
        fs::create_dir_all(&dir).with_context(|| format!("failed to create {}", dir.display()))?;
        let mut entries = fs::read_dir(&dir).with_context(|| format!("failed to read {}", dir.display()))?;
        ensure!(entries.next().is_none(), "{} is not empty: a run begins with nothing", dir.display());
        dir.canonicalize().with_context(|| format!("failed to resolve {}", dir.display()))
    }

    /// Removes the folder when all is well and nobody asked to keep it, or says where what is in it stays.
    pub fn leave(&self, dir: &Path, is_well: bool) -> anyhow::Result<()> {
        if is_well && !self.keep {
            fs::remove_dir_all(dir).with_context(|| format!("failed to remove {}", dir.display()))?;
        } else {
            eprintln!("data and logs are kept in {}", dir.display());
        }
        Ok(())
    }
}
