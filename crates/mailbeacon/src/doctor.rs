//! `mailbeacon doctor`: looks at everything a configuration needs and says what is wrong.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use enrich::{AddressPolicy, Tables};

use crate::settings::Settings;

const REACH: Duration = Duration::from_secs(5);

/// Runs every check, prints a line for each, and fails when one failed. Changes nothing.
pub fn run(settings: &Settings) -> anyhow::Result<()> {
    let checks: [(&str, anyhow::Result<String>); 6] = [
        ("keys", keys(settings)),
        ("privacy", privacy(settings)),
        ("journal", journal(&settings.journal.dir)),
        ("geo", geo(settings)),
        ("clickhouse", clickhouse(settings)),
        ("kafka", kafka(settings)),
    ];
    let mut failed = Vec::new();
    println!("ok    configuration");
    for (part, outcome) in checks {
        tell(part, outcome, &mut failed);
    }
    // The law is asked of both, and their own lines say what is wrong with them.
    match failed.iter().any(|part| ["clickhouse", "kafka"].contains(part)) {
        true => println!("skip  law: who would have to be asked is not well"),
        false => tell("law", crate::ledger::summary(settings), &mut failed),
    }
    match failed.len() {
        0 => Ok(()),
        failed => bail!("{failed} of 7 checks failed"),
    }
}

fn tell(part: &'static str, outcome: anyhow::Result<String>, failed: &mut Vec<&str>) {
    match outcome {
        Ok(found) => println!("ok    {part}: {found}"),
        Err(cause) => {
            failed.push(part);
            println!("FAIL  {part}: {cause:#}");
        }
    }
}

fn keys(settings: &Settings) -> anyhow::Result<String> {
    let keys = settings.keys()?;
    Ok(format!(
        "{}, events up to {} days after sending",
        settings.keys.file.display(),
        keys.event_max_age_days()
    ))
}

fn privacy(settings: &Settings) -> anyhow::Result<String> {
    let stored = match settings.consumer()?.address {
        AddressPolicy::Drop => "none is stored",
        AddressPolicy::Truncate => "/24 or /48 are stored",
        AddressPolicy::Hash(_) => "a hash is stored, another one each day",
        AddressPolicy::Keep => "all of them are stored",
    };
    Ok(format!("addresses: {stored}"))
}

fn journal(dir: &Path) -> anyhow::Result<String> {
    let exists = dir.exists();
    // The nearest directory that is there tells about the disk.
    let there = dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("."));
    let disk = rustix::fs::statvfs(there).with_context(|| format!("journal.dir = {}", dir.display()))?;
    rustix::fs::access(there, rustix::fs::Access::WRITE_OK)
        .with_context(|| format!("journal.dir = {}: no right to write", dir.display()))?;
    let free_mb = disk.f_bavail.saturating_mul(disk.f_frsize) >> 20;
    let state = if exists { "" } else { ", not there yet" };
    Ok(format!("{}, {free_mb} MiB free{state}", dir.display()))
}

/// Places and networks, read as a consumer reads them.
fn geo(settings: &Settings) -> anyhow::Result<String> {
    let geo = &settings.geo;
    if geo.files.is_empty() && !geo.off {
        bail!("geo.files is empty (only `up` fetches place data by itself)");
    }
    let tables = Tables::read(&settings.tables())?;
    let places = match geo.off {
        true => "off: every place is unknown".to_owned(),
        false => format!("{} readable", geo.files.len()),
    };
    let old = crate::assets::too_old(&tables.assets());
    match old.is_empty() {
        true => Ok(places),
        false => Ok(format!("{places}; too old: {} (`mailbeacon assets`)", old.join(", "))),
    }
}

fn clickhouse(settings: &Settings) -> anyhow::Result<String> {
    let store = settings.store()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let version = tokio::time::timeout(REACH, store.ping()).await.context("no answer in 5 s")??;
        let schema = store.schema().await?;
        for server in &schema.servers {
            if !server.pending.is_empty() {
                bail!(
                    "{}: schema lacks {} (run `mailbeacon migrate`)",
                    server.server,
                    server.pending.join(", ")
                );
            }
        }
        Ok(format!("version {version}, schema {} on {} server(s)", schema.latest, schema.servers.len()))
    })
}

fn kafka(settings: &Settings) -> anyhow::Result<String> {
    if settings.kafka.brokers.is_empty() {
        return Ok("not configured: the consumer reads the journal (`up`)".to_owned());
    }
    let config = settings.kafka();
    let info = kafka::probe(&config, REACH)?;
    let Some(partitions) = info.partitions else {
        bail!("topic {} is not there (run `mailbeacon migrate`)", config.topic);
    };
    let leaderless = partitions.iter().filter(|partition| !partition.has_leader).count();
    if leaderless > 0 {
        bail!("topic {}: {leaderless} of {} partitions have no leader", config.topic, partitions.len());
    }
    if partitions.len() != settings.kafka.partitions as usize {
        bail!(
            "topic {} has {} partitions, kafka.partitions = {}",
            config.topic,
            partitions.len(),
            settings.kafka.partitions
        );
    }
    Ok(format!(
        "{} broker(s), topic {} with {} partitions",
        info.brokers.len(),
        config.topic,
        partitions.len()
    ))
}
