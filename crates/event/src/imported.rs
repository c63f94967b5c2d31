//! Names of events that no edge has numbered: sends, and the history that another tool has kept.
//!
//! They are named by what they say, so the same event told twice is one event, whoever tells it.

/// Edge ids from here on name no edge. An edge draws its id from 64 bits: it has one of these once in 2^56 times.
pub const IMPORTED_FROM: u64 = 0xffff_ffff_ffff_ff00;

/// Whether an event was numbered by an edge, without gaps: then a number that is missing tells something.
pub fn is_numbered(edge_id: u64) -> bool {
    edge_id < IMPORTED_FROM
}

/// The name (edge id, sequence) of an event that says this: 72 bits of a digest of it. A billion events collide with
/// a chance of 1 in 9,000.
pub fn imported_id(digest: &[u8; 32]) -> (u64, u64) {
    let [first, rest @ ..] = digest;
    let mut seq = [0; 8];
    seq.copy_from_slice(&rest[..8]);
    (IMPORTED_FROM | u64::from(*first), u64::from_le_bytes(seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_digest_and_are_no_edges() {
        let mut digest = [7; 32];
        let name = imported_id(&digest);
        assert_eq!(name, imported_id(&digest));
        assert!(!is_numbered(name.0) && is_numbered(u64::MAX >> 1));
        digest[8] ^= 1;
        assert_ne!(name, imported_id(&digest));
        digest[8] ^= 1;
        digest[31] ^= 1;
        assert_eq!(name, imported_id(&digest), "only the first 72 bits are taken");
    }
}
