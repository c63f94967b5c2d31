//! Which partition an event belongs to.

/// The partition of an event, of `partitions` in all.
///
/// All events of a recipient go to one partition, so that the consumer sees a recipient's events in order and a
/// replay lands beside its original. An event without a recipient is spread by its own id. The recipient key is
/// already a keyed hash: its value is uniform, and no further hashing is needed.
///
/// # Panics
/// When `partitions` is 0.
pub fn partition(recipient: u64, edge_id: u64, seq: u64, partitions: u32) -> u32 {
    let key = if recipient != 0 { recipient } else { mix(edge_id ^ seq) };
    (key % u64::from(partitions)) as u32
}

/// Reads the recipient key of an encoded event without decoding the rest: 0 when there is none.
///
/// The recipient is the first field and of fixed size, and a zero value is not written.
pub fn recipient_of(event: &[u8]) -> u64 {
    match event.split_first_chunk::<9>() {
        Some(([TAG_RECIPIENT, key @ ..], _)) => u64::from_le_bytes(*key),
        _ => 0,
    }
}

/// Field 1, wire type 1 (64-bit).
const TAG_RECIPIENT: u8 = 0x09;

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): neighbouring sequence numbers spread evenly.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_without_a_recipient_spread() {
        let mut counts = [0u32; 12];
        for seq in 0..12_000 {
            counts[partition(0, 7, seq, 12) as usize] += 1;
        }
        assert!(counts.iter().all(|&n| (800..1200).contains(&n)), "{counts:?}");
    }

    #[test]
    fn a_recipient_has_one_partition() {
        assert_eq!(partition(42, 1, 1, 12), partition(42, 2, 99, 12));
    }
}
