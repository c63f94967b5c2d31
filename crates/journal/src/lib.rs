//! The durable local log of an edge core: what was appended and acknowledged survives the process.
//!
//! Owns the files of one directory: segments of frames, the edge's identity and the reader's checkpoint. It
//! knows no Kafka and no event: a frame is bytes, a class that says what to shed first, and the name
//! `(edge_id, seq)`, which never names two frames. It never deletes a frame before a durable checkpoint has
//! passed it, never shows the reader a frame that is not committed, and never panics on what it finds on disk.
//!
//! One [`Log`] appends, on the runtime of one core; one [`Reader`] follows it elsewhere in the same process.
//!
//! A directory holds `lock` (flock), `identity` (edge id, boot, mode), `checkpoint` (position and note), their `.next` twins, and
//! `<first seq>-<edge id>.journal` segments; see `frame.rs` for their bytes.

mod checkpoint;
mod committer;
mod disk;
mod error;
mod frame;
mod identity;
mod log;
mod options;
mod reader;
mod recover;
mod scan;
mod segment;
mod shared;
mod stats;
mod writer;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod power;
#[cfg(test)]
mod power_tests;

pub use error::{JournalError, Shed, WriteError};
pub use frame::{Class, Frame, PAYLOAD_BYTES_MAX, Position};
pub use log::Log;
pub use options::{Options, Sync};
pub use reader::{NOTE_BYTES_MAX, Reader};
pub use stats::Stats;

/// Opens the journal in `options.dir`, creating or recovering it, and locks it against a second opening.
///
/// Recovery reads the last segment only: it finds where the sequence continues, cuts a torn tail off and counts
/// its bytes. Damage further back is skipped and counted by the [`Reader`] when it gets there. Blocks on disk.
pub fn open(options: Options) -> Result<(Log, Reader), JournalError> {
    recover::open(options, disk::Disk::default())
}
