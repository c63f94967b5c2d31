//! Real ClickHouse and Apache Kafka as child processes: find or fetch once, start, watch, end.
//!
//! For `mailbeacon up`, the tests and the drills alike. It is the only crate that spawns processes or loads a
//! library, and it knows nothing of an event. Linux only: the promise that nothing stays behind when the
//! parent dies rests on the kernel's parent-death signal.

pub mod engine;
pub mod geo;
pub mod kafka;
pub mod program;

mod cache;
mod child;
mod download;
mod error;
mod fetch;
mod http;
mod load;
mod ports;
mod process;
mod progress;
mod spawn;
mod tool;

pub use cache::Cache;
pub use child::{CHILD_SUBCOMMAND, child_main};
pub use download::download;
pub use error::LocalError;
pub use ports::free as free_ports;
