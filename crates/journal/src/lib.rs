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
//!
//! # What is tested against every crash
//!
//! `crash_tests.rs` runs this very code in random schedules: a few lives of one directory with appends, group
//! commits, reads, seeks, checkpoints and releases; a full, failing or read-only disk; a committer held between
//! two of its steps; death at any operation, in the middle of a write too. `power.rs` says what a power loss
//! leaves: of each page (512 B or 4 KiB) any of the writes since its last sync, any length since then, any subset
//! of the directory's changes. After each death:
//!
//! * [`Sync::Fsync`]: what was acknowledged is read, in order, with its class and payload, unless a checkpoint
//!   that was found again has passed it. [`Sync::PageCache`]: the same after a kill, and after a power loss for
//!   what [`Log::flush`] had flushed.
//! * A name under which a frame was acknowledged or read never names another, whatever was lost.
//! * What was refused is not read, unless it could not be cut off, or its cut was lost with the power.
//! * A checkpoint that returned is found again, or one tried after it; what was found once is not lost later.
//! * What is offered is committed or counted as shed, by class and reason; a class is shed before the next one.
//! * `replay` is set on exactly the frames of earlier lives; a torn tail is cut; a rotten byte costs its frame
//!   alone, which is counted.
//! * A healthy disk always opens.
//!
//! The disk is believed when a sync succeeds, also after one that failed. Reads do not fail there.
//!
//! `cargo test -p journal` runs 2,000 schedules. More, and others, or one again by the seed that a failure names:
//!
//! ```sh
//! MAILBEACON_CRASH_SCHEDULES=100000 MAILBEACON_CRASH_SEED=1 cargo test --release -p journal --lib crash_tests -- --nocapture
//! ```

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
