//! The bytes of a frame. All numbers are little-endian.
//!
//! ```text
//! frame  length u32 | crc32c u32 | seq u64 | class u8 | payload
//! ```
//!
//! `length` counts seq, class and payload, so it is never zero: a zero is the end of the written part of a
//! pre-allocated segment. The CRC covers the same bytes and starts from the edge id, which nobody outside knows:
//! a payload cannot carry bytes that a search for the next frame would take for one.

/// What kind of event a frame carries, which is all the journal knows of it. Shed in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// An open: the most frequent, the least certain, the first to go.
    Open,
    /// A click.
    Click,
    /// A download.
    Download,
    /// A message was sent: every rate is counted against it, so it goes last.
    Sent,
}

impl Class {
    /// Every class, in the order in which they are shed.
    pub const ALL: [Class; 4] = [Class::Open, Class::Click, Class::Download, Class::Sent];

    /// The class's name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Open => "open",
            Class::Click => "click",
            Class::Download => "download",
            Class::Sent => "sent",
        }
    }

    /// How full the journal may be before this class is shed.
    pub(crate) fn percent_max(self) -> u64 {
        match self {
            Class::Open => 90,
            Class::Click => 95,
            Class::Download => 98,
            Class::Sent => 100,
        }
    }

    fn code(self) -> u8 {
        self as u8 + 1
    }

    fn from_code(code: u8) -> Option<Class> {
        Class::ALL.into_iter().find(|class| class.code() == code)
    }
}

/// The name of a frame. `seq` starts at 1 and grows through the whole journal, across edge ids too; gaps are
/// frames that were lost and counted. As a place, it means just after that frame: `seq` 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// Which run of sequence numbers.
    pub edge_id: u64,
    /// Which frame of it.
    pub seq: u64,
}

/// One frame as the reader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The edge id under which it was appended; not always the current one.
    pub edge_id: u64,
    /// Its sequence number.
    pub seq: u64,
    /// Its class.
    pub class: Class,
    /// It was in the journal before this process opened it, so it may have been delivered before.
    pub replay: bool,
    /// What was appended.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// The frame's name.
    pub fn position(&self) -> Position {
        Position { edge_id: self.edge_id, seq: self.seq }
    }
}

/// The most bytes that one payload may have: eight times the longest event. It bounds what a damaged length
/// can make a reader look at.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 10;
/// Length, CRC, sequence and class.
pub(crate) const FRAME_HEADER_BYTES: usize = 4 + 4 + NAME_BYTES;
/// The largest frame on disk.
pub(crate) const FRAME_BYTES_MAX: usize = FRAME_HEADER_BYTES + PAYLOAD_BYTES_MAX;
/// Sequence and class: what the length counts beside the payload.
const NAME_BYTES: usize = 8 + 1;

/// Where the CRC of every frame of this edge starts.
pub(crate) fn seed(edge_id: u64) -> u32 {
    crc32c::crc32c(&edge_id.to_le_bytes())
}

/// Appends one frame to `out`.
pub(crate) fn encode(out: &mut Vec<u8>, seed: u32, seq: u64, class: Class, payload: &[u8]) {
    let length = (NAME_BYTES + payload.len()) as u32;
    let mut name = [class.code(); NAME_BYTES];
    name[..8].copy_from_slice(&seq.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(seed, &name), payload);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&name);
    out.extend_from_slice(payload);
}

/// What stands at the start of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A whole, valid frame of `bytes` bytes.
    Frame { seq: u64, class: Class, bytes: usize },
    /// Perhaps a frame: more bytes would tell.
    Short,
    /// The end of the written part, or damage that looks like it.
    Zero,
    /// No frame that could stand here.
    Bad,
}

/// Reads the frame at the start of `bytes`. A sequence number not above `last_seq` is a leftover, not a frame.
pub(crate) fn parse(bytes: &[u8], seed: u32, last_seq: u64) -> Parsed {
    let Some(length) = u32_at(bytes, 0) else { return Parsed::Short };
    if length == 0 {
        return Parsed::Zero;
    }
    let length = length as usize;
    if !(NAME_BYTES..=NAME_BYTES + PAYLOAD_BYTES_MAX).contains(&length) {
        return Parsed::Bad;
    }
    let Some(frame) = bytes.get(..8 + length) else { return Parsed::Short };
    let (Some(crc), Some(seq)) = (u32_at(frame, 4), u64_at(frame, 8)) else { return Parsed::Bad };
    if seq <= last_seq || crc32c::crc32c_append(seed, &frame[8..]) != crc {
        return Parsed::Bad;
    }
    match Class::from_code(frame[16]) {
        Some(class) => Parsed::Frame { seq, class, bytes: frame.len() },
        None => Parsed::Bad,
    }
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|raw| u32::from_le_bytes(*raw))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|raw| u64::from_le_bytes(*raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reads_back_and_no_other_edge_takes_it() {
        let mut out = Vec::new();
        encode(&mut out, seed(7), 42, Class::Download, b"payload");
        assert_eq!(
            parse(&out, seed(7), 41),
            Parsed::Frame { seq: 42, class: Class::Download, bytes: out.len() }
        );
        assert_eq!(parse(&out, seed(8), 41), Parsed::Bad);
        assert_eq!(parse(&out, seed(7), 42), Parsed::Bad, "a leftover of an earlier write");
        for cut in 0..out.len() {
            assert_eq!(parse(&out[..cut], seed(7), 41), Parsed::Short, "cut at {cut}");
        }
    }

    #[test]
    fn the_bytes_on_disk_do_not_change() {
        let mut out = Vec::new();
        encode(&mut out, seed(1), 2, Class::Open, b"x");
        // The CRC was computed apart from this crate (bitwise, polynomial 0x1EDC6F41 reflected).
        assert_eq!(out[..4], [10, 0, 0, 0]);
        assert_eq!(out[8..], [2, 0, 0, 0, 0, 0, 0, 0, 1, b'x']);
        assert_eq!(out[4..8], bitwise_crc(&[&1u64.to_le_bytes()[..], &out[8..]].concat()).to_le_bytes());
    }

    fn bitwise_crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82F6_3B78 * (crc & 1)))
        })
    }
}
