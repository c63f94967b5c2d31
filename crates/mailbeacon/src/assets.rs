//! `mailbeacon assets`: the lists and databases that events are enriched from, what they are, how old, and newer ones.

mod published;
mod update;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;
use enrich::{Asset, Tables};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::settings::Settings;
use crate::stdout::say;
use crate::table::table;

/// What stands at the end of `--help`.
pub const EXAMPLES: &str = "\
Examples:
  mailbeacon assets                      what events are enriched from, and what of it is too old
  mailbeacon assets --json | jq          the same for programs
  mailbeacon assets update               fetches what its owners publish; a running consumer takes it up by itself
  mailbeacon assets update --dir DIR     the same into a directory, for networks.dir and geo.files to name
  mailbeacon assets update google.txt    one of them";

/// What `assets` takes.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// One JSON array, an object for each.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Fetch newer lists and databases from those who publish them.
    Update(update::Args),
}

/// Shows what is loaded, or fetches newer.
pub fn run(settings: &Settings, args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Some(Command::Update(args)) => update::run(settings, args),
        None => show(settings, args.json),
    }
}

/// The names of those that are older than they may be.
pub fn too_old(assets: &[Asset]) -> Vec<String> {
    let old = |asset: &&Asset| age_days(asset).is_some_and(|days| days > i64::from(asset.days_max().0));
    assets.iter().filter(old).map(|asset| asset.name.clone()).collect()
}

/// An asset as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    origin: &'static str,
    file: Option<String>,
    source: String,
    licence: String,
    date: String,
    age_days: Option<i64>,
    days_max: u32,
    entries: u64,
    bytes: u64,
    sha256: String,
    warnings: Vec<String>,
}

fn show(settings: &Settings, json: bool) -> anyhow::Result<()> {
    let tables = Tables::read(&settings.tables()).context("configuration [geo], [networks]")?;
    let all = tables.assets().into_iter().map(shown).collect::<anyhow::Result<Vec<Shown>>>()?;
    if json {
        let text = serde_json::to_string_pretty(&all)?;
        return say(|out| writeln!(out, "{text}"));
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|asset| {
            vec![
                asset.name.clone(),
                asset.file.clone().unwrap_or_else(|| asset.origin.to_owned()),
                or_dash(&asset.date),
                asset.age_days.map_or_else(|| "-".to_owned(), |days| days.to_string()),
                asset.entries.to_string(),
                asset.bytes.to_string(),
                asset.sha256[..12].to_owned(),
            ]
        })
        .collect();
    let headings = ["asset", "from", "date", ">days", ">entries", ">bytes", "sha256"];
    say(|out| {
        writeln!(out, "{}", table(&headings, &rows))?;
        for asset in &all {
            writeln!(out, "{}: {}; {}", asset.name, or_dash(&asset.source), or_dash(&asset.licence))?;
        }
        for (asset, warning) in all.iter().flat_map(|asset| asset.warnings.iter().map(move |w| (asset, w))) {
            writeln!(out, "WARNING  {}: {warning}", asset.name)?;
        }
        Ok(())
    })
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

fn shown(asset: Asset) -> anyhow::Result<Shown> {
    let sha256 = match &asset.file {
        Some(file) => sha256(file)?,
        None => {
            let text = enrich::built_in_list(&asset.name).unwrap_or_default();
            hex::encode(Sha256::digest(text.as_bytes()))
        }
    };
    Ok(Shown {
        warnings: warnings(&asset),
        age_days: age_days(&asset),
        days_max: asset.days_max().0,
        origin: if asset.file.is_some() { "file" } else { "built in" },
        file: asset.file.map(|file| file.display().to_string()),
        name: asset.name,
        source: asset.source,
        licence: asset.licence,
        date: asset.date,
        entries: asset.entries,
        bytes: asset.bytes,
        sha256,
    })
}

/// What an operator should know of it.
fn warnings(asset: &Asset) -> Vec<String> {
    let mut warnings = Vec::new();
    let (days_max, why) = asset.days_max();
    match age_days(asset) {
        None => {
            warnings.push("it does not say of when it is: expected a line `# date: 2026-08-31`".to_owned())
        }
        Some(days) if days < 0 => {
            warnings.push(format!("it is of {}, which is in the future: is the clock right?", asset.date));
        }
        Some(days) if days > i64::from(days_max) => {
            warnings.push(format!("{days} days old, expected at most {days_max}: {why}"));
        }
        Some(_) => {}
    }
    let built_in = asset.file.as_ref().and_then(|_| enrich::built_in_asset(&asset.name));
    if let Some(built_in) = built_in
        && !asset.date.is_empty()
        && asset.published() < built_in.published()
    {
        warnings.push(format!("older than the built-in list of {}, which it replaces", built_in.date));
    }
    warnings
}

fn age_days(asset: &Asset) -> Option<i64> {
    let published = asset.published()?;
    let days = |duration: std::time::Duration| (duration.as_secs() / 86_400) as i64;
    Some(match SystemTime::now().duration_since(published) {
        Ok(age) => days(age),
        Err(ahead) => -1 - days(ahead.duration()),
    })
}

fn sha256(path: &Path) -> anyhow::Result<String> {
    let read = || -> std::io::Result<String> {
        let (mut file, mut hasher, mut buffer) = (File::open(path)?, Sha256::new(), vec![0; 256 * 1024]);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hex::encode(hasher.finalize())),
                count => hasher.update(&buffer[..count]),
            }
        }
    };
    read().with_context(|| format!("failed to read {}", path.display()))
}
