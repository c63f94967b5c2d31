//! The consumer between a real Kafka or a real journal and a real ClickHouse. Every test ends with the law.
#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

mod away;
mod cluster;
mod crash;
mod group;
mod journal;
mod kafka;
mod last_opens;
mod law;
mod regions;
mod rejected;
mod replay;
mod running;
mod scripted;
mod sweeps;
mod tables;
mod together;
mod topic;
mod unreadable;
