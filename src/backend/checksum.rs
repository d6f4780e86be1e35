//! CRC-32C (Castagnoli): finds every flipped bit, every burst of up to 32, and all else but one in four billion.

/// The checksum of what was added so far, in order, as if it were one piece.
#[derive(Clone, Copy)]
pub(super) struct Checksum(u32);

impl Checksum {
    pub(super) const fn new() -> Self {
        Self(0)
    }

    pub(super) fn add(self, bytes: &[u8]) -> Self {
        Self(crc32c::crc32c_append(self.0, bytes))
    }

    pub(super) const fn finish(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Checksum;

    /// The check value of the CRC catalogue, and two of RFC 3720 (iSCSI), appendix B.4.
    #[test]
    fn it_is_the_castagnoli_checksum() {
        let of = |bytes: &[u8]| Checksum::new().add(bytes).finish();

        assert_eq!(of(b"123456789"), 0xe306_9283);
        assert_eq!(of(&[0; 32]), 0x8a91_36aa);
        assert_eq!(of(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn pieces_add_up() {
        let bytes: Vec<u8> = (0..100).collect();
        let whole = Checksum::new().add(&bytes).finish();

        for cut in 0..=bytes.len() {
            let (first, second) = bytes.split_at(cut);
            assert_eq!(Checksum::new().add(first).add(second).finish(), whole, "cut at {cut}");
        }
    }
}
