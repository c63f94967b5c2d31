//! Who this edge is: the half of an event's name that must change when the other half might repeat.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::checkpoint::{load, replace};
use crate::disk::Disk;
use crate::frame::u64_at;
use crate::options::Sync;

const IDENTITY: &str = "identity";

/// The edge id, with what is needed to judge whether its sequence can be continued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub edge_id: u64,
    pub sync: Sync,
    /// The machine's boot under which frames were written.
    pub boot_id: String,
}

/// What recovery found of the sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// There is a segment. One always exists, whatever was released: without it the files were taken away.
    pub segments: bool,
    /// Bytes at the tail that are no frame. They may be one that was read and delivered before it went bad.
    pub torn: bool,
}

impl Identity {
    pub fn load(dir: &Path) -> io::Result<Option<Identity>> {
        let Some(body) = load(dir, IDENTITY)? else { return Ok(None) };
        let sync = match body.get(8) {
            Some(0) => Sync::PageCache,
            Some(1) => Sync::Fsync,
            _ => return Ok(None),
        };
        let boot_id = String::from_utf8_lossy(&body[9..]).into_owned();
        Ok(u64_at(&body, 0).map(|edge_id| Identity { edge_id, sync, boot_id }))
    }

    pub fn store(&self, disk: &Disk, dir: &Path) -> io::Result<()> {
        let mut body = self.edge_id.to_le_bytes().to_vec();
        body.push((self.sync == Sync::Fsync) as u8);
        body.extend_from_slice(self.boot_id.as_bytes());
        replace(disk, dir, IDENTITY, &body)
    }

    /// The identity to go on with. The id is kept when the last sequence number given to a reader is certainly
    /// known, and drawn anew otherwise.
    pub fn succeed(old: Option<Identity>, found: Found, sync: Sync, boot_id: String, drawn: u64) -> Identity {
        let kept = old.filter(|old| {
            // Frames in the page cache were readable, and are gone with the boot that held them.
            let survived = old.sync == Sync::Fsync || (!boot_id.is_empty() && old.boot_id == boot_id);
            found.segments && !found.torn && survived
        });
        Identity { edge_id: kept.map_or(drawn, |old| old.edge_id), sync, boot_id }
    }
}

/// This boot of the machine; empty when the system does not say.
pub(crate) fn boot_id(_disk: &Disk) -> String {
    #[cfg(test)]
    if let Some(power) = &_disk.power {
        return power.boot_id();
    }
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// A random id, never zero.
pub(crate) fn draw(_disk: &Disk) -> io::Result<u64> {
    #[cfg(test)]
    if let Some(power) = &_disk.power {
        return Ok(power.draw());
    }
    let mut raw = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut raw)?;
    Ok(u64::from_le_bytes(raw).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_kept_only_when_the_sequence_is_certain() {
        let sound = Found { segments: true, torn: false };
        let cases = [
            ("same boot", Sync::PageCache, "a", sound, true),
            ("the page cache died with the machine", Sync::PageCache, "b", sound, false),
            ("synced frames outlive the machine", Sync::Fsync, "b", sound, true),
            ("the boot is not known", Sync::PageCache, "", sound, false),
            ("the files are gone", Sync::Fsync, "a", Found { segments: false, torn: false }, false),
            ("the last frame may be lost", Sync::Fsync, "a", Found { segments: true, torn: true }, false),
        ];
        for (case, written_with, boot_now, found, kept) in cases {
            let old = Identity { edge_id: 1, sync: written_with, boot_id: "a".into() };
            let next = Identity::succeed(Some(old), found, Sync::Fsync, boot_now.into(), 2);
            assert_eq!(next.edge_id == 1, kept, "{case}");
            assert_eq!((next.sync, next.boot_id.as_str()), (Sync::Fsync, boot_now), "{case}");
        }
        assert_eq!(Identity::succeed(None, sound, Sync::Fsync, "a".into(), 2).edge_id, 2);
    }

    #[test]
    fn an_unknown_boot_never_equals_another_unknown_one() {
        let old = Identity { edge_id: 1, sync: Sync::PageCache, boot_id: String::new() };
        let found = Found { segments: true, torn: false };
        assert_eq!(Identity::succeed(Some(old), found, Sync::PageCache, String::new(), 2).edge_id, 2);
    }
}
