//! [`Token`], how a version is composed where the engine counts.

use std::num::NonZeroU64;

use crate::backend::engine::tag::TAG_BITS;
use crate::store::Version;

/// The parts of a version where an engine counts: the number it gave, and a tag that it does not choose.
///
/// An engine that lost its newest commits, or was restored from a backup, gives the same numbers again. The tag makes a
/// version of then differ from one of now, except by a chance of one in 16 million. The number stands above it, so that
/// versions increase as the numbers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Token {
    /// The engine's number: 1 to [`Token::LAST`].
    pub(crate) counter: u64,
    /// 24 bits.
    pub(crate) tag: u32,
}

impl Token {
    /// The largest number: 2^40 - 2, so that no version is the largest of all, which a store must never issue.
    pub(crate) const LAST: u64 = (1 << (u64::BITS - TAG_BITS)) - 2;

    /// The version; `None` where the engine's number is 0 or past the last.
    pub(crate) fn version(self) -> Option<Version> {
        if !(1..=Self::LAST).contains(&self.counter) {
            return None;
        }
        NonZeroU64::new(self.counter << TAG_BITS | u64::from(self.tag)).map(Version::from_bits)
    }
}

impl From<Version> for Token {
    fn from(version: Version) -> Self {
        let bits = version.to_bits().get();
        Self { counter: bits >> TAG_BITS, tag: (bits & ((1 << TAG_BITS) - 1)) as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_gives_its_parts_back() {
        for counter in [1, 2, 1 << 33, Token::LAST] {
            for tag in [0, 1, (1 << 24) - 1] {
                let token = Token { counter, tag };
                assert_eq!(Token::from(token.version().unwrap()), token);
            }
        }
    }

    #[test]
    fn versions_increase_with_the_number_whatever_the_tags() {
        let bits = |counter, tag| Token { counter, tag }.version().unwrap().to_bits().get();

        assert!(bits(1, (1 << 24) - 1) < bits(2, 0));
        assert!(bits(Token::LAST, (1 << 24) - 1) < u64::MAX);
    }

    #[test]
    fn numbers_that_no_engine_may_give_are_no_versions() {
        for counter in [0, Token::LAST + 1, u64::MAX] {
            assert_eq!(Token { counter, tag: 1 }.version(), None);
        }
    }
}
