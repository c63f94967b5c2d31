//! Real ClickHouse and Apache Kafka as child processes: find or fetch once, start, watch, end.
//!
//! For `mailbeacon up`, the tests and the drills alike. It is the only crate that spawns processes or loads a
//! library, and it knows nothing of an event. Linux only: the promise that nothing stays behind when the
//! parent dies rests on the kernel's parent-death signal.

mod child;
mod load;

pub use child::{CHILD_SUBCOMMAND, child_main};
