//! What is known of every request, in three bits each.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Requests by number, in blocks that are made when first needed.
pub struct Bits {
    blocks: Vec<OnceLock<Box<[AtomicU64]>>>,
}

const BLOCK_BITS: u64 = 1 << 20;

impl Bits {
    /// For numbers below `capacity`.
    pub fn new(capacity: u64) -> Bits {
        Bits { blocks: (0..capacity.div_ceil(BLOCK_BITS)).map(|_| OnceLock::new()).collect() }
    }

    /// Sets one and says whether it was set already. One that is past the capacity was not, and stays so.
    pub fn set(&self, number: u64) -> bool {
        let Some(block) = self.blocks.get((number / BLOCK_BITS) as usize) else { return false };
        let block = block.get_or_init(|| (0..BLOCK_BITS / 64).map(|_| AtomicU64::new(0)).collect());
        let bit = 1 << (number % 64);
        block[(number % BLOCK_BITS / 64) as usize].fetch_or(bit, Ordering::Relaxed) & bit != 0
    }

    /// Whether one is set.
    pub fn get(&self, number: u64) -> bool {
        let block = self.blocks.get((number / BLOCK_BITS) as usize).and_then(OnceLock::get);
        block.is_some_and(|block| {
            block[(number % BLOCK_BITS / 64) as usize].load(Ordering::Relaxed) >> (number % 64) & 1 == 1
        })
    }

    /// How many are set.
    pub fn count(&self) -> u64 {
        let words = self.blocks.iter().filter_map(OnceLock::get).flat_map(|block| block.iter());
        words.map(|word| u64::from(word.load(Ordering::Relaxed).count_ones())).sum()
    }
}

/// All requests of a drill.
pub struct Sent {
    /// At least a part of the request has left.
    pub begun: Bits,
    /// The whole answer came.
    pub answered: Bits,
    /// Numbers given out.
    pub next: AtomicU64,
    /// Answers that were not what the link says.
    pub wrong: AtomicU64,
    /// No number at or above it is given out.
    pub capacity: u64,
}

impl Sent {
    /// For numbers below `capacity`.
    pub fn new(capacity: u64) -> Sent {
        Sent {
            begun: Bits::new(capacity),
            answered: Bits::new(capacity),
            next: AtomicU64::new(0),
            wrong: AtomicU64::new(0),
            capacity,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_kept_apart_over_blocks() {
        let capacity = 3 * BLOCK_BITS + 5;
        let bits = Bits::new(capacity);
        let numbers = [0, 1, 63, 64, BLOCK_BITS - 1, BLOCK_BITS, 3 * BLOCK_BITS + 4];
        for number in numbers {
            assert!(!bits.get(number) && !bits.set(number) && bits.set(number) && bits.get(number));
        }
        assert_eq!(bits.count(), numbers.len() as u64);
        assert!(!bits.get(2) && !bits.get(2 * BLOCK_BITS), "the neighbours, and a block that was never made");
        assert!(!bits.set(u64::MAX) && !bits.get(u64::MAX));
    }
}
