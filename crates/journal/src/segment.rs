//! The header and the name of a segment.
//!
//! ```text
//! header  magic [8] | version u32 | edge_id u64 | first_seq u64 | crc32c u32
//! ```
//!
//! The file's name says the same as the header, so that damage to either costs nothing.

use std::path::{Path, PathBuf};

use crate::frame::{u32_at, u64_at};

/// Length of a segment's header.
pub(crate) const HEADER_BYTES: u64 = 8 + 4 + 8 + 8 + 4;
const MAGIC: &[u8; 8] = b"MBEACONJ";
const VERSION: u32 = 1;

/// One segment of the journal, as far as it may be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub edge_id: u64,
    /// No frame in it has a lower sequence number, and none in the segments before it has as high a one.
    pub first_seq: u64,
    /// End of what is committed, in bytes from the start of the file.
    pub end: u64,
}

impl Segment {
    pub fn path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{:020}-{:016x}.journal", self.first_seq, self.edge_id))
    }

    /// The segment that a file of this name is, if it is one; `end` is left at 0.
    pub fn from_name(name: &str) -> Option<Segment> {
        let (first_seq, edge_id) = name.strip_suffix(".journal")?.split_once('-')?;
        if first_seq.len() != 20 || edge_id.len() != 16 {
            return None;
        }
        let edge_id = u64::from_str_radix(edge_id, 16).ok()?;
        Some(Segment { edge_id, first_seq: first_seq.parse().ok()?, end: 0 })
    }

    pub fn header(&self) -> [u8; HEADER_BYTES as usize] {
        let mut header = [0; HEADER_BYTES as usize];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..20].copy_from_slice(&self.edge_id.to_le_bytes());
        header[20..28].copy_from_slice(&self.first_seq.to_le_bytes());
        let crc = crc32c::crc32c(&header[..28]);
        header[28..].copy_from_slice(&crc.to_le_bytes());
        header
    }
}

/// What the start of a segment file says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// The edge id and the first sequence number.
    Valid(u64, u64),
    /// Damaged: the file's name has to do.
    Damaged,
    /// Whole, but written by a version that this one cannot read.
    Newer(u32),
}

pub(crate) fn parse_header(bytes: &[u8]) -> Header {
    let whole = bytes.get(..28).filter(|body| body.starts_with(MAGIC)).map(crc32c::crc32c);
    if whole.is_none() || whole != u32_at(bytes, 28) {
        return Header::Damaged;
    }
    match (u32_at(bytes, 8), u64_at(bytes, 12), u64_at(bytes, 20)) {
        (Some(VERSION), Some(edge_id), Some(first_seq)) => Header::Valid(edge_id, first_seq),
        (Some(version), ..) => Header::Newer(version),
        _ => Header::Damaged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_name_say_the_same() {
        let segment = Segment { edge_id: 0xfeed, first_seq: 12, end: 0 };
        assert_eq!(parse_header(&segment.header()), Header::Valid(0xfeed, 12));
        let path = segment.path(Path::new("/j"));
        assert_eq!(path, Path::new("/j/00000000000000000012-000000000000feed.journal"));
        assert_eq!(Segment::from_name(path.file_name().unwrap().to_str().unwrap()), Some(segment));
    }

    #[test]
    fn a_damaged_header_is_seen_and_a_newer_one_is_not_taken_for_damage() {
        let header = Segment { edge_id: 1, first_seq: 1, end: 0 }.header();
        for at in 0..header.len() {
            let mut damaged = header;
            damaged[at] ^= 0x10;
            assert_eq!(parse_header(&damaged), Header::Damaged, "byte {at}");
        }
        let mut newer = header;
        newer[8] = 9;
        let crc = crc32c::crc32c(&newer[..28]);
        newer[28..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(parse_header(&newer), Header::Newer(9));
    }

    #[test]
    fn other_files_are_no_segments() {
        for name in
            ["checkpoint", "1-2.journal", "00000000000000000001-0000000000000001.journal.bak", ".journal"]
        {
            assert_eq!(Segment::from_name(name), None, "{name}");
        }
    }
}
