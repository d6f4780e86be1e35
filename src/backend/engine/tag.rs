//! The tag in a version, which no engine chooses.

/// The bits of a tag.
pub(super) const TAG_BITS: u32 = 24;

/// A tag for the versions of one commit: drawn, since a write id may be one that its caller made up.
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(crate) fn draw_tag() -> u32 {
    crate::base::random() as u32 & ((1 << TAG_BITS) - 1)
}

#[cfg(all(test, any(feature = "postgres", feature = "redis")))]
mod tests {
    use super::*;

    #[test]
    fn tags_have_24_bits() {
        assert!((0..1_000).all(|_| draw_tag() < 1 << 24));
    }
}
