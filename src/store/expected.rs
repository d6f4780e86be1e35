//! [`Expected`], what a writer believes about a resource, and [`Condition`], that belief and where it came from.

use std::fmt;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::store::version::{Version, Versioned};

/// What a writer believes about a resource at the instant its write is applied.
///
/// No number and no null ever stands for "new" or "anything": each has a name of its own.
///
/// ```
/// use ifmatch::{Expected, Version};
///
/// let seven: Version = "7".parse()?;
/// assert!(Expected::from(seven).admits(Some(seven)));
/// assert!(!Expected::Absent.admits(Some(seven)));
/// # Ok::<_, ifmatch::store::ParseError>(())
/// ```
///
/// A request may carry one in its body: the version as text, or `"absent"`. Nothing else is read, so that a client can't
/// choose a blind write by naming one; where the field may be missing, an `Option` says so. All four are written, as
/// `"any"`, `"present"`, `"absent"` and the version.
///
/// ```
/// # use ifmatch::Expected;
/// assert_eq!(serde_json::from_str::<Expected>(r#""7""#)?, Expected::Version("7".parse()?));
/// assert_eq!(serde_json::from_str::<Expected>(r#""absent""#)?, Expected::Absent);
/// assert!(serde_json::from_str::<Expected>(r#""any""#).is_err());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expected {
    /// Anything, also nothing: a blind write.
    Any,
    /// There is no value: the id was never written, or is deleted.
    Absent,
    /// There is a value, of whatever version.
    Present,
    /// There is a value of exactly this version.
    Version(Version),
}

impl Expected {
    /// Whether the belief is true where `found` is the version of the stored value, `None` where there is none.
    ///
    /// ```
    /// # use ifmatch::Expected;
    /// assert!(Expected::Any.admits(None));
    /// assert!(!Expected::Present.admits(None));
    /// ```
    #[inline]
    pub fn admits(self, found: Option<Version>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => found.is_none(),
            Self::Present => found.is_some(),
            Self::Version(version) => found == Some(version),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::Absent => f.write_str("no value"),
            Self::Present => f.write_str("a value"),
            Self::Version(version) => write!(f, "version {version}"),
        }
    }
}

impl Serialize for Expected {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => serializer.serialize_str("any"),
            Self::Absent => serializer.serialize_str("absent"),
            Self::Present => serializer.serialize_str("present"),
            Self::Version(version) => version.serialize(serializer),
        }
    }
}

// Hand-written: the derived impl would let a client ask for a blind write.
impl<'de> Deserialize<'de> for Expected {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Expected;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a version as text, or `absent`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Expected, E> {
                match text {
                    "absent" => Ok(Expected::Absent),
                    version => version.parse().map(Expected::Version).map_err(E::custom),
                }
            }
        }

        deserializer.deserialize_str(Text).map_err(D::Error::custom)
    }
}

impl From<Version> for Expected {
    fn from(version: Version) -> Self {
        Self::Version(version)
    }
}

impl<T: ?Sized> From<&Versioned<T>> for Expected {
    fn from(base: &Versioned<T>) -> Self {
        Self::Version(base.version)
    }
}

/// Where an expectation came from. It decides the HTTP status of a conflict (RFC 5789 §2.2): one that came in a header
/// failed with 412, a version that came in the body or as an argument conflicts with 409.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Origin {
    /// The program's own code, or the body of a request.
    #[default]
    Argument,
    /// What the protocol of a request has for conditions, as a header of HTTP.
    Protocol,
}

/// An [`Expected`] and the [`Origin`] it came from: what every write takes.
///
/// A [`Version`], an [`Expected`] and a borrowed [`Versioned`] each convert into one, as an argument.
///
/// ```
/// use ifmatch::store::{Condition, Origin};
/// use ifmatch::{Collection, Expected, http};
///
/// let notes = Collection::<String>::in_memory();
/// notes.create("readme", "hello".to_string()).wait()?;
///
/// let error = notes.replace("readme", Expected::Absent, "mine".to_string()).wait().unwrap_err();
/// assert_eq!(http::status(&error), 409);
///
/// let from_header = Condition::from_protocol(Expected::Absent);
/// assert_eq!(from_header.origin, Origin::Protocol);
/// let error = notes.replace("readme", from_header, "mine".to_string()).wait().unwrap_err();
/// assert_eq!(http::status(&error), 412);
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use = "it is what the write has to expect"]
pub struct Condition {
    /// What is believed.
    pub expected: Expected,
    /// Who said so.
    pub origin: Origin,
}

impl Condition {
    /// An expectation that the protocol of a request stated, as `If-Match` does. For adapters of protocols: the calls of
    /// [`http`](crate::http) make it themselves.
    pub fn from_protocol(expected: impl Into<Expected>) -> Self {
        Self { expected: expected.into(), origin: Origin::Protocol }
    }
}

impl From<Expected> for Condition {
    fn from(expected: Expected) -> Self {
        Self { expected, origin: Origin::Argument }
    }
}

impl From<Version> for Condition {
    fn from(version: Version) -> Self {
        Expected::Version(version).into()
    }
}

impl<T: ?Sized> From<&Versioned<T>> for Condition {
    fn from(base: &Versioned<T>) -> Self {
        Expected::from(base).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_can_expect_a_version_or_an_absence_and_nothing_wider() {
        let read = |text: &str| serde_json::from_str::<Expected>(text).ok();

        assert_eq!(read(r#""7""#), Some(Expected::Version("7".parse().unwrap())));
        assert_eq!(read(r#""absent""#), Some(Expected::Absent));
        for wide in ["any", "Any", "present", "Present", "Absent", "*", "", "0", "07", "-1"] {
            assert_eq!(read(&format!("\"{wide}\"")), None, "{wide}");
        }
        for other in ["7", "null", "true", r#"{"Version":"7"}"#, r#"["7"]"#] {
            assert_eq!(read(other), None, "{other}");
        }
        let written = [Expected::Any, Expected::Present, Expected::Absent]
            .map(|all| serde_json::to_string(&all).unwrap());
        assert_eq!(written, [r#""any""#, r#""present""#, r#""absent""#]);
    }

    #[test]
    fn each_expectation_admits_what_it_says_and_nothing_else() {
        let [one, two]: [Version; 2] = ["1", "2"].map(|text| text.parse().unwrap());

        let admitted = |expected: Expected| [None, Some(one), Some(two)].map(|found| expected.admits(found));

        assert_eq!(admitted(Expected::Any), [true, true, true]);
        assert_eq!(admitted(Expected::Absent), [true, false, false]);
        assert_eq!(admitted(Expected::Present), [false, true, true]);
        assert_eq!(admitted(Expected::Version(one)), [false, true, false]);
    }
}
