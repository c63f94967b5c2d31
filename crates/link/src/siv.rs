//! AES-256-SIV (RFC 5297) with one piece of associated data, which is one of a few.
//!
//! The crate aes-siv works out both key schedules and the first two CMACs anew for every token, and cannot be kept
//! between tokens: its state changes with use, so threads cannot share it. What depends on the key alone is done once
//! here, which leaves 570 instructions of 2,070 for a token. A property test holds this to aes-siv, bit by bit.

use aes::Aes256Enc;
use aes::cipher::consts::U16;
use aes::cipher::{
    Block, BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, KeyInit,
};

/// A key, half for the synthetic IV and half for the cipher.
pub(crate) const KEY_BYTES: usize = 64;
const BLOCK_BYTES: usize = 16;

/// A key at work; the schedules are overwritten when it is dropped.
pub(crate) struct Siv<const N: usize> {
    mac: Aes256Enc,
    /// What CMAC adds to a last block that is whole, and to one that is not.
    last: [u128; 2],
    cipher: Aes256Enc,
    /// S2V of each piece of associated data, before the text.
    associated: [u128; N],
}

impl<const N: usize> Siv<N> {
    /// Of a key, for these pieces of associated data.
    pub fn new<A: AsRef<[u8]>>(key: &[u8; KEY_BYTES], associated: [A; N]) -> Siv<N> {
        let (mac, cipher) = key.split_at(KEY_BYTES / 2);
        let half = |key| Aes256Enc::new_from_slice(key).expect("half a key is a key of AES-256");
        let (mac, cipher) = (half(mac), half(cipher));
        let mut zero = 0;
        with(&mac, |encrypt| zero = encrypt(0));
        let whole = double(zero);
        let mut siv = Siv { mac, last: [whole, double(whole)], cipher, associated: [0; N] };
        let zero = double(siv.cmac(&[0; BLOCK_BYTES]));
        siv.associated = associated.map(|piece| zero ^ siv.cmac(piece.as_ref()));
        siv
    }

    /// Encrypts the text in its place and returns its synthetic IV. `associated` says which piece.
    pub fn seal(&self, associated: usize, text: &mut [u8]) -> [u8; BLOCK_BYTES] {
        let iv = self.s2v(associated, text);
        self.apply_keystream(iv, text);
        iv.to_be_bytes()
    }

    /// Decrypts the text in its place. False when it is not what was sealed: then it is left as it came.
    pub fn open(&self, associated: usize, iv: [u8; BLOCK_BYTES], text: &mut [u8]) -> bool {
        let iv = u128::from_be_bytes(iv);
        self.apply_keystream(iv, text);
        // All bits are compared at once, whatever they are.
        let is_sealed = self.s2v(associated, text) ^ iv == 0;
        if !is_sealed {
            self.apply_keystream(iv, text);
        }
        is_sealed
    }

    /// Leaves the text as it was.
    fn s2v(&self, associated: usize, text: &mut [u8]) -> u128 {
        let state = self.associated[associated];
        let Some(end) = text.len().checked_sub(BLOCK_BYTES) else {
            return self.cmac(&(double(state) ^ padded(text)).to_be_bytes());
        };
        add(&mut text[end..], state);
        let iv = self.cmac(text);
        add(&mut text[end..], state);
        iv
    }

    fn cmac(&self, text: &[u8]) -> u128 {
        // The last block is whole unless the text ends within one, or is empty.
        let before = text.len().saturating_sub(1) / BLOCK_BYTES * BLOCK_BYTES;
        let (before, end) = text.split_at(before);
        let last = if end.len() == BLOCK_BYTES { self.last[0] } else { self.last[1] };
        let mut state = 0;
        with(&self.mac, |encrypt| {
            for chunk in before.chunks_exact(BLOCK_BYTES) {
                state = encrypt(state ^ padded(chunk));
            }
            state = encrypt(state ^ padded(end) ^ last);
        });
        state
    }

    fn apply_keystream(&self, iv: u128, text: &mut [u8]) {
        // Without the top bits of the last two words, so that implementations may count in 32 or 64 bits.
        let mut counter = iv & !(1 << 63 | 1 << 31);
        with(&self.cipher, |encrypt| {
            for chunk in text.chunks_mut(BLOCK_BYTES) {
                add(chunk, encrypt(counter));
                counter = counter.wrapping_add(1);
            }
        });
    }
}

/// Encrypts several blocks in a row: where the processor has wide instructions for AES, the cipher spreads its whole
/// schedule over wide registers each time that it is taken up.
fn with(cipher: &Aes256Enc, blocks: impl FnOnce(&dyn Fn(u128) -> u128)) {
    cipher.encrypt_with_backend(Blocks(blocks));
}

struct Blocks<F>(F);

impl<F> BlockSizeUser for Blocks<F> {
    type BlockSize = U16;
}

impl<F: FnOnce(&dyn Fn(u128) -> u128)> BlockCipherEncClosure for Blocks<F> {
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        (self.0)(&|block| {
            let mut block = Block::<B>::from(block.to_be_bytes());
            backend.encrypt_block((&mut block).into());
            u128::from_be_bytes(block.into())
        });
    }
}

/// A block of up to 16 bytes; a shorter one is followed by a one bit and zeros.
fn padded(bytes: &[u8]) -> u128 {
    let mut block = [0; BLOCK_BYTES];
    block[..bytes.len()].copy_from_slice(bytes);
    if let Some(pad) = block.get_mut(bytes.len()) {
        *pad = 0x80;
    }
    u128::from_be_bytes(block)
}

/// Adds the start of a block to bytes.
fn add(bytes: &mut [u8], block: u128) {
    bytes.iter_mut().zip(block.to_be_bytes()).for_each(|(byte, other)| *byte ^= other);
}

/// Doubles in the field of 2^128 elements, in the same time for all of them.
fn double(block: u128) -> u128 {
    (block << 1) ^ ((block >> 127) * 0x87)
}

#[cfg(test)]
mod tests {
    use aes_siv::aead::inout::InOutBuf;
    use aes_siv::siv::Aes256Siv;
    use proptest::prelude::*;

    use super::*;

    fn theirs(key: &[u8; KEY_BYTES], associated: &[u8], text: &[u8]) -> ([u8; BLOCK_BYTES], Vec<u8>) {
        let mut sealed = text.to_vec();
        let mut siv = <Aes256Siv as aes_siv::KeyInit>::new(key.into());
        let iv = siv.encrypt_inout_detached([associated], InOutBuf::from(sealed.as_mut_slice())).unwrap();
        (iv.into(), sealed)
    }

    proptest! {
        #[test]
        fn is_what_aes_siv_is(
            key in any::<[u8; KEY_BYTES]>(),
            associated in prop::collection::vec(any::<u8>(), 0..40),
            text in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let siv = Siv::new(&key, [&b"other"[..], &associated]);
            let mut sealed = text.clone();
            let iv = siv.seal(1, &mut sealed);
            prop_assert_eq!((iv, sealed.clone()), theirs(&key, &associated, &text));
            prop_assert!(!siv.open(0, iv, &mut sealed.clone()), "of other associated data");
            let mut opened = sealed.clone();
            prop_assert!(siv.open(1, iv, &mut opened));
            prop_assert_eq!(opened, text);
        }

        #[test]
        fn any_bit_matters(
            key in any::<[u8; KEY_BYTES]>(),
            text in prop::collection::vec(any::<u8>(), 0..70),
            bit in any::<prop::sample::Index>(),
        ) {
            let siv = Siv::new(&key, [[1, 2, 3]]);
            let mut sealed = text;
            let mut iv = siv.seal(0, &mut sealed);
            let bit = bit.index(8 * (BLOCK_BYTES + sealed.len()));
            match sealed.get_mut((bit / 8).wrapping_sub(BLOCK_BYTES)) {
                Some(byte) => *byte ^= 1 << (bit % 8),
                None => iv[bit / 8] ^= 1 << (bit % 8),
            }
            let before = sealed.clone();
            prop_assert!(!siv.open(0, iv, &mut sealed));
            prop_assert_eq!(sealed, before, "nothing of it is shown");
        }
    }

    /// RFC 4493, section 4, has its vectors for AES-128; these are of NIST SP 800-38B, appendix D.3, for AES-256.
    #[test]
    fn cmac_is_nists() {
        let mut key = [0; KEY_BYTES];
        key[..32].copy_from_slice(&[
            0x60, 0x3d, 0xeb, 0x10, 0x15, 0xca, 0x71, 0xbe, 0x2b, 0x73, 0xae, 0xf0, 0x85, 0x7d, 0x77, 0x81,
            0x1f, 0x35, 0x2c, 0x07, 0x3b, 0x61, 0x08, 0xd7, 0x2d, 0x98, 0x10, 0xa3, 0x09, 0x14, 0xdf, 0xf4,
        ]);
        let siv = Siv::new(&key, [[0; 0]; 0]);
        assert_eq!(siv.cmac(&[]), 0x028962f61b7bf89efc6b551f4667d983);
        let block = 0x6bc1bee22e409f96e93d7e117393172a_u128.to_be_bytes();
        assert_eq!(siv.cmac(&block), 0x28a7023f452e8f82bd4bf28d8c37c35c);
    }
}
