//! Small files that are replaced whole: the reader's checkpoint, and the identity beside it.
//!
//! ```text
//! file        crc32c u32 | body
//! checkpoint  edge_id u64 | seq u64 | note
//! ```

use std::fs;
use std::io;
use std::path::Path;

use crate::disk::Disk;
use crate::frame::{Position, u32_at, u64_at};

const CHECKPOINT: &str = "checkpoint";

/// How far the reader is done, and what it wants to know about it after a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub position: Option<Position>,
    pub note: Vec<u8>,
}

impl Checkpoint {
    pub fn seq(&self) -> u64 {
        self.position.map_or(0, |position| position.seq)
    }

    pub fn load(dir: &Path) -> io::Result<Checkpoint> {
        let Some(body) = load(dir, CHECKPOINT)? else { return Ok(Checkpoint::default()) };
        match (u64_at(&body, 0), u64_at(&body, 8)) {
            (Some(edge_id), Some(seq)) => {
                Ok(Checkpoint { position: Some(Position { edge_id, seq }), note: body[16..].to_vec() })
            }
            _ => Ok(Checkpoint::default()),
        }
    }

    /// Returns once it would survive power loss.
    pub fn store(disk: &Disk, dir: &Path, position: Position, note: &[u8]) -> io::Result<()> {
        let mut body = Vec::with_capacity(16 + note.len());
        body.extend_from_slice(&position.edge_id.to_le_bytes());
        body.extend_from_slice(&position.seq.to_le_bytes());
        body.extend_from_slice(note);
        replace(disk, dir, CHECKPOINT, &body)
    }
}

/// The body of a small file; none when there is no such file or it is damaged. Damage cannot come from a crash,
/// which leaves the old file or the new one: the disk went bad, and whoever needs the file starts afresh.
pub(crate) fn load(dir: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    let path = dir.join(name);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match u32_at(&bytes, 0) {
        Some(crc) if crc32c::crc32c(&bytes[4..]) == crc => Ok(Some(bytes[4..].to_vec())),
        _ => {
            tracing::error!(path = %path.display(), "journal file is damaged, going on without it");
            Ok(None)
        }
    }
}

/// Replaces a small file: a crash or power loss at any moment leaves the old one or the new one, whole.
pub(crate) fn replace(disk: &Disk, dir: &Path, name: &str, body: &[u8]) -> io::Result<()> {
    let (path, next) = (dir.join(name), dir.join(format!("{name}.next")));
    let mut bytes = Vec::with_capacity(4 + body.len());
    bytes.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
    bytes.extend_from_slice(body);
    let file = disk.create(&next)?;
    disk.write_at(&file, &bytes, 0)?;
    disk.sync(&file)?;
    disk.rename(&next, &path)?;
    disk.sync_dir(dir)
}
