//! Finds frame after frame in a file, over whatever damage lies between them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::frame::{Class, FRAME_BYTES_MAX, Parsed, parse};

/// How much is read at once. At least the largest frame, so that any frame can be judged in one piece.
const READ_BYTES: usize = 256 << 10;
const _: () = assert!(READ_BYTES >= FRAME_BYTES_MAX);

/// A place in a segment, and the bytes read ahead there.
#[derive(Default)]
pub(crate) struct Scan {
    /// Where the next frame is looked for.
    pub offset: u64,
    /// The frame before it; the next one has a higher sequence number.
    pub last_seq: u64,
    /// Bytes that are no frame were skipped since the last frame. Zeros count: a damaged length can be one.
    pub damaged: bool,
    buf: Vec<u8>,
    buf_at: u64,
}

/// A frame in the buffer of a [`Scan`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub seq: u64,
    pub class: Class,
    /// Length of the whole frame.
    pub bytes: usize,
}

impl Scan {
    /// Goes to a place in another file, or back in this one.
    pub fn place(&mut self, offset: u64, last_seq: u64) {
        self.offset = offset;
        self.last_seq = last_seq;
        self.damaged = false;
        self.buf.clear();
    }

    /// Goes to the start of the next file; damage at the end of this one is not forgotten.
    pub fn enter(&mut self, offset: u64) {
        self.offset = offset;
        self.buf.clear();
    }

    /// The next valid frame before `end`; none when there is none, and then all up to `end` is passed.
    pub fn peek(&mut self, file: &File, seed: u32, end: u64) -> io::Result<Option<Found>> {
        let mut end_found = end;
        while self.offset < end_found {
            match parse(self.ahead(), seed, self.last_seq) {
                Parsed::Frame { seq, class, bytes } => return Ok(Some(Found { seq, class, bytes })),
                Parsed::Short if (self.ahead().len() as u64) < end_found - self.offset => {
                    if self.fill(file, end_found)? {
                        end_found = self.buf_at + self.buf.len() as u64;
                    }
                }
                Parsed::Zero => self.skip_zeros(),
                Parsed::Short | Parsed::Bad => self.skip(1),
            }
        }
        if self.offset < end {
            self.damaged = true;
            self.offset = end;
        }
        Ok(None)
    }

    /// Passes the frame that was peeked at.
    pub fn pass(&mut self, found: &Found) {
        self.offset += found.bytes as u64;
        self.last_seq = found.seq;
        self.damaged = false;
    }

    /// All of a frame that was peeked at and not yet passed.
    pub fn bytes(&self, found: &Found) -> &[u8] {
        &self.ahead()[..found.bytes]
    }

    /// What is in the buffer from the offset on.
    fn ahead(&self) -> &[u8] {
        let skip = self.offset.saturating_sub(self.buf_at) as usize;
        self.buf.get(skip..).unwrap_or_default()
    }

    fn skip(&mut self, bytes: usize) {
        self.damaged = true;
        self.offset += bytes as u64;
    }

    fn skip_zeros(&mut self) {
        let ahead = self.ahead();
        let zeros = ahead.iter().position(|byte| *byte != 0).unwrap_or(ahead.len());
        // The first bytes of a frame's length may be zero themselves.
        self.skip(zeros.saturating_sub(3).max(1));
    }

    /// Reads on from the offset, up to `end`; true if the file ended before.
    fn fill(&mut self, file: &File, end: u64) -> io::Result<bool> {
        let want = (end - self.offset).min(READ_BYTES as u64) as usize;
        self.buf.resize(want, 0);
        self.buf_at = self.offset;
        let mut have = 0;
        while have < want {
            match file.read_at(&mut self.buf[have..], self.offset + have as u64) {
                Ok(0) => break,
                Ok(bytes) => have += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.buf.clear();
                    return Err(error);
                }
            }
        }
        self.buf.truncate(have);
        Ok(have < want)
    }
}

/// Where the last byte that is not zero ends, at or after `from`.
pub(crate) fn written_end(file: &File, from: u64) -> io::Result<u64> {
    let (mut at, mut written) = (from, from);
    let mut buf = vec![0; READ_BYTES];
    loop {
        match file.read_at(&mut buf, at) {
            Ok(0) => return Ok(written),
            Ok(bytes) => {
                if let Some(last) = buf[..bytes].iter().rposition(|byte| *byte != 0) {
                    written = at + last as u64 + 1;
                }
                at += bytes as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::frame::{encode, seed};

    /// Sequence numbers found in `bytes`, and whether damage was seen at the end.
    fn scan(bytes: &[u8], end: u64) -> (Vec<u64>, bool) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let (mut scan, mut seqs) = (Scan::default(), Vec::new());
        while let Some(found) = scan.peek(&file, seed(1), end).unwrap() {
            seqs.push(found.seq);
            scan.pass(&found);
        }
        assert_eq!(scan.offset, end.max(scan.offset));
        (seqs, scan.damaged)
    }

    #[test]
    fn a_file_shorter_than_it_should_be_ends_and_is_damaged() {
        let mut bytes = Vec::new();
        encode(&mut bytes, seed(1), 1, Class::Open, b"one");
        assert_eq!(scan(&bytes, bytes.len() as u64 + 1000), (vec![1], true));
        assert_eq!(scan(&[], 1000), (vec![], true));
    }

    #[test]
    fn a_length_that_begins_with_zeros_is_found_behind_zeros() {
        for (payload, zeros) in
            [247, 65_527].into_iter().flat_map(|size| (1..6).map(move |zeros| (size, zeros)))
        {
            let mut bytes = vec![0; zeros];
            encode(&mut bytes, seed(1), 1, Class::Open, &vec![1; payload]);
            assert_eq!(bytes[zeros], 0, "the first byte of the length");
            assert_eq!(scan(&bytes, bytes.len() as u64), (vec![1], false), "{payload} behind {zeros}");
        }
    }

    #[test]
    fn frames_across_the_read_buffer_are_whole() {
        let mut bytes = Vec::new();
        for seq in 1..=40 {
            encode(&mut bytes, seed(1), seq, Class::Click, &vec![seq as u8; 65_000 - seq as usize]);
        }
        assert_eq!(scan(&bytes, bytes.len() as u64), ((1..=40).collect(), false));
    }

    proptest! {
        /// Junk between frames, zeros included, costs no frame.
        #[test]
        fn any_junk_between_frames_is_skipped(
            junk in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..400), 1..12),
            payload in prop::collection::vec(any::<u8>(), 0..700),
        ) {
            let mut bytes = Vec::new();
            for (index, junk) in junk.iter().enumerate() {
                bytes.extend_from_slice(junk);
                encode(&mut bytes, seed(1), index as u64 + 1, Class::Sent, &payload);
            }
            let (seqs, damaged) = scan(&bytes, bytes.len() as u64);
            prop_assert_eq!(seqs, (1..=junk.len() as u64).collect::<Vec<_>>());
            prop_assert!(!damaged);
        }
    }
}
