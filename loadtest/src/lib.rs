//! An open-loop load generator for the edge, and the check that every answered request is one row afterwards.
//!
//! Owns the schedule, the crowd it plays, the sending and the measuring. Never waits for an answer before the
//! next request is due: latency counts from the *intended* send time, so a server that stalls shows the wait of
//! everyone who would have come meanwhile. Says when it could not keep its own schedule and calls such a run
//! invalid. Linux only (`timerfd`, `/proc`).

pub mod account;
pub mod campaign;
pub mod clickhouse;
pub mod compare;
pub mod cpu;
pub mod crowd;
pub mod draw;
pub mod drill;
pub mod enrich_cost;
mod exchange;
pub mod find_max;
pub mod freshness;
pub mod grow;
pub mod html;
pub mod instructions;
pub mod ledger;
pub mod live;
pub mod metrics;
pub mod mint;
pub mod mix;
pub mod options;
pub mod parts;
pub mod plan;
mod plot;
pub mod questions;
pub mod report;
pub mod response;
pub mod run;
pub mod schedule;
pub mod scratch;
pub mod self_check;
pub mod send;
pub mod series;
pub mod shape;
pub mod simulate;
pub mod tally;
mod text;
pub mod timeline;
mod timer;
pub mod watch;
