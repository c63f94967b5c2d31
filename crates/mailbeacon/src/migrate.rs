//! `mailbeacon migrate`: topics and tables, as they have to be.

use anyhow::Context;
use kafka::TopicOutcome;
use store::Store;

use crate::settings::Settings;

/// Brings both up to date and says what it did. May be run at any time.
pub fn run(settings: &Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if settings.kafka.brokers.is_empty() {
        println!("kafka: kafka.brokers is empty, nothing to do");
    } else {
        topics(settings)?;
    }
    runtime.block_on(tables(&settings.store()?))
}

/// Creates the topics that are missing.
pub fn topics(settings: &Settings) -> anyhow::Result<()> {
    let outcomes = kafka::create_topics(&settings.kafka(), &settings.topics()).context("kafka")?;
    for outcome in outcomes {
        match outcome {
            TopicOutcome::Created { name } => println!("kafka: created topic {name}"),
            TopicOutcome::Existing { name, differences } => {
                println!("kafka: topic {name} is there");
                for kafka::Difference { setting, is, expected } in differences {
                    println!("kafka: topic {name}: {setting} is {is}, expected {expected} (left as it is)");
                }
            }
        }
    }
    Ok(())
}

/// Applies the migrations that are missing.
pub async fn tables(store: &Store) -> anyhow::Result<()> {
    let applied = store.migrate().await.context("clickhouse")?;
    for store::Applied { server, version, name } in &applied {
        println!("clickhouse: {server}: applied {version:04} {name}");
    }
    if applied.is_empty() {
        println!("clickhouse: schema is up to date");
    }
    Ok(())
}
