//! [`EntityTag`], the text form of a version in HTTP headers (RFC 9110 §8.8.3).

use std::fmt;
use std::str::FromStr;

use crate::store::Version;

/// An entity tag: the text form of a version in the headers `ETag`, `If-Match` and `If-None-Match`.
///
/// Ours is strong and holds the digits of the version: `"7"`. Other tags, like `"abc"`, `"007"` or one that a proxy
/// made weak, are well-formed too; they are no version of ours.
///
/// A tag keeps bytes past ASCII as they came, in whatever encoding; `Display` replaces those that are not UTF-8.
/// `==` compares the bytes. HTTP's two comparisons are [`strong_eq`](Self::strong_eq) and [`weak_eq`](Self::weak_eq):
///
/// | one | other | strong | weak |
/// |---|---|---|---|
/// | `W/"1"` | `W/"1"` | no | yes |
/// | `W/"1"` | `W/"2"` | no | no |
/// | `W/"1"` | `"1"` | no | yes |
/// | `"1"` | `"1"` | yes | yes |
///
/// ```
/// use ifmatch::Version;
/// use ifmatch::http::EntityTag;
///
/// let version: Version = "7".parse()?;
/// assert_eq!(EntityTag::from(version).to_string(), "\"7\"");
///
/// let weak: EntityTag = "W/\"7\"".parse()?;
/// assert!(weak.weak_eq(&version.into()) && !weak.strong_eq(&version.into()));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EntityTag {
    weak: bool,
    /// Bytes, since a tag may hold bytes past ASCII in no particular encoding.
    opaque: Box<[u8]>,
}

/// How tags of a request are compared with a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    /// Only a strong tag of ours is a version.
    Strong,
    /// A tag of ours is a version, also where it is weak.
    Weak,
    /// A tag of ours is a version, also where a compressing proxy made it weak or gave it a suffix.
    Lenient,
}

/// The text is not one entity tag. Maps to HTTP 400; sending the same text again cannot help.
///
/// ```
/// use ifmatch::http::EntityTag;
///
/// for text in ["7", "\"7", "w/\"7\"", "\"7 8\"", "\"7\", \"8\""] {
///     assert!(text.parse::<EntityTag>().is_err(), "{text}");
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an entity tag: {0}")]
pub struct ParseEntityTagError(&'static str);

impl EntityTag {
    /// Whether it is marked as weak: `W/"…"`.
    ///
    /// ```
    /// # use ifmatch::http::EntityTag;
    /// assert!("W/\"7\"".parse::<EntityTag>()?.is_weak());
    /// # Ok::<_, ifmatch::http::ParseEntityTagError>(())
    /// ```
    pub fn is_weak(&self) -> bool {
        self.weak
    }

    /// The strong comparison, that of `If-Match`: both are strong, and the text is the same.
    ///
    /// ```
    /// # use ifmatch::http::EntityTag;
    /// let [one, weak]: [EntityTag; 2] = ["\"1\"".parse()?, "W/\"1\"".parse()?];
    /// assert!(one.strong_eq(&one) && !weak.strong_eq(&weak));
    /// # Ok::<_, ifmatch::http::ParseEntityTagError>(())
    /// ```
    pub fn strong_eq(&self, other: &Self) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// The weak comparison, that of `If-None-Match`: the text between the quotes is the same.
    ///
    /// ```
    /// # use ifmatch::http::EntityTag;
    /// let [one, weak]: [EntityTag; 2] = ["\"1\"".parse()?, "W/\"1\"".parse()?];
    /// assert!(one.weak_eq(&weak));
    /// # Ok::<_, ifmatch::http::ParseEntityTagError>(())
    /// ```
    pub fn weak_eq(&self, other: &Self) -> bool {
        self.opaque == other.opaque
    }

    /// The version, if this is a strong tag of ours. `None` says that it can't match any version.
    ///
    /// ```
    /// # use ifmatch::http::EntityTag;
    /// assert_eq!("\"7\"".parse::<EntityTag>()?.version(), "7".parse().ok());
    /// assert_eq!("\"007\"".parse::<EntityTag>()?.version(), None);
    /// # Ok::<_, ifmatch::http::ParseEntityTagError>(())
    /// ```
    pub fn version(&self) -> Option<Version> {
        self.version_under(Comparison::Strong)
    }

    /// The version that the tag names under a comparison.
    pub(super) fn version_under(&self, comparison: Comparison) -> Option<Version> {
        let opaque = str::from_utf8(&self.opaque).ok()?;
        match comparison {
            Comparison::Strong if self.weak => None,
            Comparison::Strong | Comparison::Weak => opaque.parse().ok(),
            Comparison::Lenient => without_coding(opaque).parse().ok(),
        }
    }

    /// Reads one tag from the start of a field, and gives what follows it.
    pub(super) fn read(field: &[u8]) -> Result<(Self, &[u8]), ParseEntityTagError> {
        // Case-sensitive: `w/` starts no tag.
        let (weak, quoted) = match field.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, field),
        };
        let Some(body) = quoted.strip_prefix(b"\"") else {
            return Err(ParseEntityTagError(
                "one starts with a double quote, or with `W/` and a double quote",
            ));
        };
        // There are no escapes: a backslash is a character like others.
        let Some(end) = body.iter().position(|byte| *byte == b'"') else {
            return Err(ParseEntityTagError("the closing double quote is missing"));
        };
        let (opaque, rest) = (&body[..end], &body[end + 1..]);
        if !opaque.iter().all(|byte| is_etagc(*byte)) {
            return Err(ParseEntityTagError("there is a space or a control character between the quotes"));
        }
        Ok((Self { weak, opaque: opaque.into() }, rest))
    }
}

/// RFC 9110 §8.8.3: `etagc = %x21 / %x23-7E / obs-text`.
fn is_etagc(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x7E | 0x80..)
}

/// A tag without what a compressing proxy or server appended to it: Apache `-gzip` and `-br`, Jetty `--gzip`, others
/// `;gzip`.
fn without_coding(opaque: &str) -> &str {
    for coding in ["gzip", "br", "deflate", "zstd"] {
        let Some(marked) = opaque.strip_suffix(coding) else { continue };
        for separator in ["--", "-", ";"] {
            if let Some(bare) = marked.strip_suffix(separator) {
                return bare;
            }
        }
    }
    opaque
}

impl From<Version> for EntityTag {
    fn from(version: Version) -> Self {
        Self { weak: false, opaque: version.to_string().into_bytes().into() }
    }
}

impl FromStr for EntityTag {
    type Err = ParseEntityTagError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match Self::read(text.as_bytes())? {
            (tag, []) => Ok(tag),
            _ => Err(ParseEntityTagError("something follows the closing double quote")),
        }
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.weak { "W/" } else { "" };
        write!(f, "{mark}\"{}\"", String::from_utf8_lossy(&self.opaque))
    }
}

// Hand-written: the derived impl would print a list of byte values.
impl fmt::Debug for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.weak { "W/" } else { "" };
        write!(f, "EntityTag({mark}\"{}\")", self.opaque.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(text: &str) -> EntityTag {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn the_comparisons_follow_the_table_of_the_rfc() {
        let rows = [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
            ("\"1\"", "\"2\"", false, false),
        ];

        for (one, other, strong, weak) in rows {
            for (one, other) in [(tag(one), tag(other)), (tag(other), tag(one))] {
                assert_eq!(one.strong_eq(&other), strong, "{one} {other}");
                assert_eq!(one.weak_eq(&other), weak, "{one} {other}");
            }
        }
    }

    #[test]
    fn the_grammar_takes_every_tag_and_nothing_else() {
        for good in ["\"\"", "\"a,b\"", r#""a\b""#, "\"!#~\"", "\"ü\"", "W/\"\"", "\"W/\"", "\"*\""] {
            assert_eq!(tag(good).to_string(), good);
            assert_eq!(tag(good).is_weak(), good.starts_with('W'));
        }
        let bad = [
            "",
            "*",
            "7",
            "'7'",
            "\"",
            "\"7",
            "7\"",
            "w/\"7\"",
            "W\"7\"",
            "W/ \"7\"",
            "W/7",
            "\"7\" ",
            " \"7\"",
            "\"7\"8",
            "\"a b\"",
            "\"a\tb\"",
            "\"a\nb\"",
            "\"\u{7f}\"",
            "\"\0\"",
            r#""a\"b""#,
        ];
        for bad in bad {
            assert!(bad.parse::<EntityTag>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn bytes_past_ascii_are_kept_as_they_are() {
        let (one, rest) = EntityTag::read(b"\"\xff\x80\",").unwrap();
        let (other, _) = EntityTag::read(b"\"\xff\x81\"").unwrap();

        assert_eq!(rest, b",");
        assert!(one.strong_eq(&one) && !one.weak_eq(&other), "a lossy reading would make them equal");
        assert_eq!(one.version_under(Comparison::Lenient), None);
        assert_eq!(format!("{one:?}"), r#"EntityTag("\xff\x80")"#);
    }

    #[test]
    fn only_a_strong_tag_of_ours_is_a_version() {
        let under = |text: &str, comparison| tag(text).version_under(comparison).map(|v| v.to_string());
        let seven = Some("7".to_string());

        for foreign in
            ["\"007\"", "\"abc\"", "\"\"", "\"0\"", "\"+7\"", "\"7.0\"", "\"18446744073709551616\""]
        {
            for comparison in [Comparison::Strong, Comparison::Weak, Comparison::Lenient] {
                assert_eq!(under(foreign, comparison), None, "{foreign}");
            }
        }
        assert_eq!(under("\"7\"", Comparison::Strong), seven);
        assert_eq!(tag("\"7\"").version(), "7".parse().ok());
        assert_eq!(under("W/\"7\"", Comparison::Strong), None);
        assert_eq!(under("W/\"7\"", Comparison::Weak), seven);
    }

    #[test]
    fn what_a_proxy_appended_is_ignored_by_the_lenient_comparison_alone() {
        let marked = ["\"7-gzip\"", "\"7;gzip\"", "\"7--gzip\"", "\"7-br\"", "\"7-deflate\"", "W/\"7-zstd\""];
        for text in marked {
            assert_eq!(tag(text).version_under(Comparison::Lenient), "7".parse().ok(), "{text}");
            assert_eq!(tag(text).version_under(Comparison::Weak), None, "{text}");
            assert_eq!(tag(text).version(), None, "{text}");
        }
        for text in
            ["\"7gzip\"", "\"7-gzip-gzip\"", "\"-gzip\"", "\"7-\"", "\"7-lz4\"", "\"7---gzip\"", "\"7-GZIP\""]
        {
            assert_eq!(tag(text).version_under(Comparison::Lenient), None, "{text}");
        }
    }
}
