//! Small files that are replaced whole: the reader's checkpoint, and the identity beside it.
//!
//! ```text
//! file        crc32c u32 | length u32 | body | zeros up to 8 KiB
//! checkpoint  edge_id u64 | seq u64 | note; or nothing before the first one
//! ```
//!
//! Each has a twin, `<name>.next`, that is written in place and then changes places with it. Blocks that are
//! there already need no room: a checkpoint must succeed on a full disk, or nothing would ever be deleted on it.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::disk::Disk;
use crate::frame::{Position, u32_at, u64_at};
use crate::reader::NOTE_BYTES_MAX;

const CHECKPOINT: &str = "checkpoint";
/// Size of a small file: the longest note and what goes with it, in whole blocks.
const SLOT_BYTES: u64 = 8 << 10;
const _: () = assert!((16 + NOTE_BYTES_MAX + 8) as u64 <= SLOT_BYTES);

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

    /// The checkpoint in the directory; an empty one is put there when there is none.
    pub fn load(disk: &Disk, dir: &Path) -> io::Result<Checkpoint> {
        let Some(body) = load(dir, CHECKPOINT)? else {
            replace(disk, dir, CHECKPOINT, &[])?;
            return Ok(Checkpoint::default());
        };
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
    let length = u32_at(&bytes, 4).unwrap_or(u32::MAX) as usize;
    match (u32_at(&bytes, 0), bytes.get(4..).and_then(|rest| rest.get(..length.checked_add(4)?))) {
        (Some(crc), Some(body)) if crc32c::crc32c(body) == crc => Ok(Some(body[4..].to_vec())),
        _ => {
            tracing::error!(path = %path.display(), "journal file is damaged, going on without it");
            Ok(None)
        }
    }
}

/// Replaces a small file: a crash or power loss at any moment leaves the old one or the new one, whole.
pub(crate) fn replace(disk: &Disk, dir: &Path, name: &str, body: &[u8]) -> io::Result<()> {
    let next = dir.join(format!("{name}.next"));
    let mut bytes = vec![0; 4];
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(body);
    let crc = crc32c::crc32c(&bytes[4..]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    let file = slot(disk, &next)?;
    disk.write_at(&file, &bytes, 0)?;
    disk.sync(&file)?;
    disk.swap(&next, &dir.join(name))?;
    disk.sync_dir(dir)?;
    // Only now and then there is none: after the first replacement, and where files cannot change places.
    if !next.exists()
        && let Err(error) = slot(disk, &next)
    {
        tracing::warn!(path = %next.display(), %error, "failed to reserve room for the next journal checkpoint");
    }
    Ok(())
}

/// Opens a twin, with all its blocks.
fn slot(disk: &Disk, path: &Path) -> io::Result<File> {
    let file = disk.open_or_create(path)?;
    if file.metadata()?.len() != SLOT_BYTES {
        disk.allocate(&file, SLOT_BYTES)?;
    }
    Ok(file)
}
