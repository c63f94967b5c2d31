//! Against a real Apache Kafka, and librdkafka's mock cluster where an error must be injected.
#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

mod broker;
mod consume;
mod errors;
mod follow;
mod outage;
mod produce;
mod scan;
mod topics;
