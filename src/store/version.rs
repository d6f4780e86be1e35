//! [`Version`], the opaque token of one state of one resource, and [`Versioned`], a value beside its version.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::store::parse_error::ParseError;

/// The opaque token of one state of one resource.
///
/// A caller gets it with a value, keeps it, and hands it back with the write that is based on that value. Callers
/// compare versions for equality only; there is no `Ord`, since only the store that issued two versions of one id
/// knows their order. Within one history of a store the versions of an id strictly increase, deletion and
/// re-creation included, so a version never names two states.
///
/// The text form is decimal digits, also in serde: never a JSON number, because JavaScript rounds numbers past
/// 2^53. It is a valid body of an HTTP entity tag (RFC 9110 §8.8.3).
///
/// ```
/// use ifmatch::Version;
///
/// let version: Version = "42".parse()?;
/// assert_eq!(version.to_string(), "42");
/// assert!("042".parse::<Version>().is_err());
/// assert_eq!(size_of::<Option<Version>>(), 8);
/// # Ok::<_, ifmatch::store::ParseError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(NonZeroU64);

const _: () = assert!(size_of::<Option<Version>>() == 8);

impl Version {
    /// The version a store composed into these 64 bits. For store authors.
    ///
    /// ```
    /// # use ifmatch::Version;
    /// assert_eq!(Version::from_bits(7u64.try_into()?).to_string(), "7");
    /// # Ok::<_, std::num::TryFromIntError>(())
    /// ```
    pub const fn from_bits(bits: NonZeroU64) -> Self {
        Self(bits)
    }

    /// The 64 bits the store composed. For store authors; to others they mean nothing.
    ///
    /// ```
    /// # use ifmatch::Version;
    /// assert_eq!("7".parse::<Version>()?.to_bits().get(), 7);
    /// # Ok::<_, ifmatch::store::ParseError>(())
    /// ```
    pub const fn to_bits(self) -> NonZeroU64 {
        self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({})", self.0)
    }
}

impl FromStr for Version {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `u64::from_str` takes a plus sign and leading zeros: one version must have one text.
        if !text.starts_with(|first: char| matches!(first, '1'..='9')) {
            return Err(ParseError::Version);
        }
        text.parse().map(Self).map_err(|_| ParseError::Version)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Version;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a version as text")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Version, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text).map_err(D::Error::custom)
    }
}

/// A value and the version of the state it was read from.
///
/// Cloning clones an [`Arc`]. There is no `Deref`, so that `versioned.version` is never mistaken for a field of the
/// value. `Debug` shows the version only, never the value.
///
/// ```
/// use ifmatch::Versioned;
///
/// let hello = Versioned::<String>::new("7".parse()?, "hello".to_string());
/// assert_eq!(*hello.value, "hello");
/// assert_eq!(format!("{hello:?}"), "Versioned { version: Version(7), .. }");
/// assert_eq!(serde_json::to_string(&hello)?, r#"{"version":"7","value":"hello"}"#);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(bound(serialize = "T: Serialize", deserialize = "Arc<T>: Deserialize<'de>"))]
pub struct Versioned<T: ?Sized> {
    /// Which state of the resource this is.
    pub version: Version,
    /// The value in that state.
    pub value: Arc<T>,
}

impl<T: ?Sized> Versioned<T> {
    /// Puts a value beside its version.
    ///
    /// ```
    /// # use ifmatch::Versioned;
    /// let bytes = Versioned::<[u8]>::new("1".parse()?, *b"abc");
    /// # Ok::<_, ifmatch::store::ParseError>(())
    /// ```
    pub fn new(version: Version, value: impl Into<Arc<T>>) -> Self {
        Self { version, value: value.into() }
    }
}

impl<T: ?Sized> Clone for Versioned<T> {
    fn clone(&self) -> Self {
        Self { version: self.version, value: Arc::clone(&self.value) }
    }
}

// Hand-written: the derived impl would print the user's value.
impl<T: ?Sized> fmt::Debug for Versioned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Versioned").field("version", &self.version).finish_non_exhaustive()
    }
}

impl<T: ?Sized + PartialEq> PartialEq for Versioned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version && self.value == other.value
    }
}

impl<T: ?Sized + Eq> Eq for Versioned<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_serde_refuse_what_is_not_the_one_text_of_a_version() {
        let refused =
            ["", "0", "00", "01", "+1", "-1", " 1", "1 ", "1_0", "0x1", "1e3", "18446744073709551616", "١"];
        for text in refused {
            assert_eq!(text.parse::<Version>(), Err(ParseError::Version), "{text:?}");
            let json = serde_json::to_string(text).unwrap();
            assert!(serde_json::from_str::<Version>(&json).is_err(), "{json}");
        }
        for json in ["1", "null", "[]", "1.0", "{}"] {
            let refused = serde_json::from_str::<Version>(json).unwrap_err().to_string();
            assert!(refused.contains("expected a version as text"), "{json}: {refused}");
        }
    }

    #[test]
    fn every_version_survives_its_text() {
        for bits in [1, 9, 10, (1 << 53) + 1, u64::MAX - 1, u64::MAX] {
            let version = Version::from_bits(NonZeroU64::new(bits).unwrap());

            assert_eq!(version.to_string().parse(), Ok(version));
            let json = serde_json::to_string(&version).unwrap();
            assert_eq!(json, format!("\"{bits}\""));
            assert_eq!(serde_json::from_str::<Version>(&json).unwrap(), version);
        }
    }

    #[test]
    fn a_versioned_value_survives_serde() {
        let before = Versioned::new("9".parse().unwrap(), vec![1, 2, 3]);

        let after: Versioned<Vec<i32>> =
            serde_json::from_str(&serde_json::to_string(&before).unwrap()).unwrap();

        assert_eq!(before, after);
    }

    #[test]
    fn versioned_values_are_equal_where_version_and_value_are() {
        let versioned = |version: &str, value| Versioned::<u64>::new(version.parse().unwrap(), value);

        assert_eq!(versioned("1", 5), versioned("1", 5));
        assert_ne!(versioned("1", 5), versioned("1", 6));
        assert_ne!(versioned("1", 5), versioned("2", 5));
    }

    #[test]
    fn debug_shows_the_version_and_never_the_value() {
        let secret = Versioned::<str>::new("7".parse().unwrap(), "s3cr3t");

        assert_eq!(format!("{secret:?}"), "Versioned { version: Version(7), .. }");
    }
}
