//! Our consumer, which works off what waits in a topic of so many partitions.

use std::rc::Rc;

use anyhow::Context;

use crate::compare::bench::Bench;
use crate::compare::consumers::{ClickHouse, INSERTS, Ours};
use crate::compare::feed::Feed;
use crate::compare::side::{About, Side, Turn};

/// What every row of it says.
pub const FIGURES: &[&str] =
    &["consumer_cpu_us", "clickhouse_cpu_us", INSERTS, "rows_per_insert", "events_per_second"];

/// Our consumer with a topic of so many partitions.
pub struct Backlog {
    ours: Ours,
    about: About,
}

impl Backlog {
    /// Every turn starts a consumer of its own.
    pub fn new(
        bench: &Rc<Bench>,
        clickhouse: &Rc<ClickHouse>,
        feed: Feed,
        name: String,
    ) -> anyhow::Result<Backlog> {
        let ours = Ours::new(bench, clickhouse, &Rc::new(feed))?;
        let about = About { name, ..ours.about().clone() };
        Ok(Backlog { ours, about })
    }
}

impl Side for Backlog {
    fn about(&self) -> &About {
        &self.about
    }

    fn turn(&mut self) -> anyhow::Result<Turn> {
        let mut turn = self.ours.turn()?;
        let events = turn.units as f64;
        for (process, figure) in [("consumer", FIGURES[0]), ("clickhouse", FIGURES[1])] {
            let seconds =
                turn.cpu_seconds.get(process).with_context(|| format!("no CPU time of {process}"))?;
            turn.figures.insert(figure, seconds * 1e6 / events);
        }
        let inserts = *turn.figures.get(INSERTS).context("no count of inserts")?;
        turn.figures.insert("rows_per_insert", events / inserts);
        turn.figures.insert("events_per_second", events / turn.seconds);
        Ok(turn)
    }
}
