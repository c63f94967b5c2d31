use std::io;
use std::path::{Path, PathBuf};

/// Why the journal could not be opened, read or checkpointed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// An option is out of range.
    #[error("journal option {key} is {value}, expected {expected}")]
    Options {
        /// The option's name.
        key: &'static str,
        /// What it was set to.
        value: u64,
        /// What would do.
        expected: String,
    },
    /// Another process, or this one, has the directory open.
    #[error("journal directory {dir} is in use by another log, expected one directory for each")]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The disk refused.
    #[error("failed to {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A position that cannot be checkpointed or sought.
    #[error("journal position {edge_id:016x}/{seq} is not valid here, expected {expected}")]
    Position {
        /// The position's edge.
        edge_id: u64,
        /// The position's sequence.
        seq: u64,
        /// What would do.
        expected: &'static str,
    },
    /// A checkpoint's note is too long.
    #[error("checkpoint note has {bytes} bytes, expected at most {max}")]
    Note {
        /// Its length.
        bytes: usize,
        /// The bound.
        max: usize,
    },
}

impl JournalError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
        move |source| JournalError::Io { action, path: path.to_owned(), source }
    }
}

/// Why a frame was not taken. Every refusal is counted, by class and reason, in [`crate::Stats`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Shed {
    /// The journal has no room left for this class.
    #[error("journal is full for this class")]
    Full,
    /// The disk refused a write: this frame's own, or one so recent that it is not tried again yet.
    #[error("journal disk refuses writes")]
    Disk,
    /// As much as may wait in memory waits for a sync.
    #[error("journal disk is behind")]
    Behind,
    /// The payload is larger than [`crate::PAYLOAD_BYTES_MAX`], or than a group.
    #[error("frame is too large for the journal")]
    TooLarge,
}

impl Shed {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Shed; 4] = [Shed::Full, Shed::Disk, Shed::Behind, Shed::TooLarge];

    /// The reason's name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Shed::Full => "full",
            Shed::Disk => "disk",
            Shed::Behind => "behind",
            Shed::TooLarge => "too_large",
        }
    }
}

/// Why a frame that was taken is not in the journal after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteError {
    /// The write or the sync of its group failed. The frame is counted as [`Shed::Disk`].
    Failed {
        /// The system's error number; 0 when there was none.
        errno: i32,
    },
    /// This log never gave the position out, or asking came too late to know.
    Unknown,
}

impl WriteError {
    pub(crate) fn failed(error: &io::Error) -> Self {
        WriteError::Failed { errno: error.raw_os_error().unwrap_or(0) }
    }
}

// By hand: the text of an error number comes from the system.
impl std::fmt::Display for WriteError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WriteError::Failed { errno } => {
                write!(f, "failed to write to the journal: {}", io::Error::from_raw_os_error(*errno))
            }
            WriteError::Unknown => f.write_str("position is not known to this journal"),
        }
    }
}

impl std::error::Error for WriteError {}
