//! CRC-32C (Castagnoli): finds every flipped bit, every burst of up to 32, and all else but one in four billion.

/// The polynomial, bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `TABLES[n][byte]` is the checksum of `byte` followed by `n` zeros: eight bytes are taken in one step.
static TABLES: [[u32; 256]; 8] = tables();

/// The checksum of what was added so far, in order, as if it were one piece.
#[derive(Clone, Copy)]
pub(super) struct Checksum(u32);

impl Checksum {
    pub(super) const fn new() -> Self {
        Self(!0)
    }

    pub(super) fn add(self, bytes: &[u8]) -> Self {
        let mut state = self.0;
        let mut eights = bytes.chunks_exact(8);
        for eight in &mut eights {
            let low = u32::from_le_bytes([eight[0], eight[1], eight[2], eight[3]]) ^ state;
            let high = u32::from_le_bytes([eight[4], eight[5], eight[6], eight[7]]);
            state = [low, high]
                .into_iter()
                .flat_map(u32::to_le_bytes)
                .zip(TABLES.iter().rev())
                .fold(0, |sum, (byte, table)| sum ^ table[usize::from(byte)]);
        }
        for byte in eights.remainder() {
            state = TABLES[0][usize::from(state as u8 ^ byte)] ^ state >> 8;
        }
        Self(state)
    }

    pub(super) const fn finish(self) -> u32 {
        !self.0
    }
}

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ POLYNOMIAL } else { sum >> 1 };
            bit += 1;
        }
        tables[0][byte] = sum;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 8 {
        let mut byte = 0;
        while byte < 256 {
            let sum: u32 = tables[zeros - 1][byte];
            tables[zeros][byte] = sum >> 8 ^ tables[0][(sum & 0xff) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
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
