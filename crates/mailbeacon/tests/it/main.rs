//! The program as its users have it: run as a process, on a real ClickHouse, a real Kafka and a real browser.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod api;
mod assets;
mod backtest;
mod browser;
mod campaign;
mod cli;
mod deploy;
mod every_country;
mod http;
mod import;
mod law;
mod ledger;
mod outage;
mod privacy;
mod program;
mod put_back;
mod questions;
mod rerun;
mod send_time;
mod send_times_kept;
mod services;
mod simulated;
mod up;
mod verdict;
