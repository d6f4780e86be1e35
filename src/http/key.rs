//! [`Key`], what the header `Idempotency-Key` of a request says.

use std::fmt;

use crate::store::{Error, Refusal, Version};

/// The name of the header.
pub(super) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// The most bytes in a key.
const MOST_BYTES: usize = 255;

/// What the header `Idempotency-Key` of a request says: that the write is to apply once, however often it is sent.
///
/// From [`Preconditions::take_key`](crate::http::Preconditions::take_key). Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(not(feature = "idempotency"), allow(unreachable_pub, reason = "nobody can take it then"))]
pub struct Key {
    pub(super) text: Box<str>,
    /// The state that the value of a `PUT` was made of, where it asks to be merged.
    pub(super) merge_base: Option<Version>,
}

/// What is wrong with the header. The text shows nothing of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyFault {
    #[error("it is there twice")]
    Twice,
    #[error("it is empty")]
    Empty,
    #[error("it is longer than {MOST_BYTES} bytes")]
    TooLong,
    #[error(
        "it is neither a string in quotes nor one of printable ASCII without spaces, quotes, commas and semicolons"
    )]
    Unreadable,
}

impl Key {
    /// Reads the field lines of the header; `None` where there is none. By the draft of the IETF it is a string in quotes
    /// (RFC 9651 §3.3.3); that without quotes is what most clients send, and is the same key.
    pub(super) fn parse<L: AsRef<[u8]>>(lines: &[L]) -> Result<Option<Self>, KeyFault> {
        let line = match lines {
            [] => return Ok(None),
            [line] => str::from_utf8(line.as_ref()).map_err(|_| KeyFault::Unreadable)?,
            _ => return Err(KeyFault::Twice),
        };
        let line = line.trim_matches([' ', '\t']);
        let text = match line.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None if line.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\,;".contains(&byte)) => {
                line.into()
            }
            None => return Err(KeyFault::Unreadable),
        };
        match text.len() {
            0 => Err(KeyFault::Empty),
            1..=MOST_BYTES => Ok(Some(Self { text: text.into(), merge_base: None })),
            _ => Err(KeyFault::TooLong),
        }
    }
}

/// The string behind an opening quote.
fn unquoted(quoted: &str) -> Result<String, KeyFault> {
    let (mut text, mut bytes) = (String::new(), quoted.bytes());
    loop {
        let byte = match bytes.next() {
            // No parameters: what they would mean is not known.
            Some(b'"') if bytes.len() == 0 => return Ok(text),
            Some(b'\\') => bytes.next().filter(|escaped| b"\"\\".contains(escaped)),
            other => other.filter(|byte| (b' '..=b'~').contains(byte) && *byte != b'"'),
        };
        text.push(byte.ok_or(KeyFault::Unreadable)?.into());
    }
}

impl KeyFault {
    /// The refusal of a write because of it.
    pub(super) fn refuse(self) -> Error {
        Refusal::MalformedCondition { name: IDEMPOTENCY_KEY, problem: self.to_string().into() }.into()
    }
}

// Hand-written: whoever knows a key may be told what its request was answered.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &[&str]) -> Result<Option<String>, KeyFault> {
        Key::parse(lines).map(|key| key.map(|key| key.text.into()))
    }

    #[test]
    fn a_key_is_the_same_with_quotes_and_without() {
        assert_eq!(parse(&[]), Ok(None));
        for line in ["8e03978e-40d5", "\"8e03978e-40d5\"", " \"8e03978e-40d5\"\t"] {
            assert_eq!(parse(&[line]), Ok(Some("8e03978e-40d5".to_owned())), "{line}");
        }
        assert_eq!(parse(&[r#""a \"b\", \\c;""#]), Ok(Some(r#"a "b", \c;"#.to_owned())));
    }

    #[test]
    fn what_can_not_be_read_is_an_error_and_never_no_key() {
        for line in
            ["a b", "a,b", "a;b", "\"a", "a\"", "\"a\"b", "\"a\";b=1", "\"a\\b\"", "\"a\0\"", "ä", "\"ä\""]
        {
            assert_eq!(parse(&[line]), Err(KeyFault::Unreadable), "{line}");
        }
        for line in ["", " ", "\"\""] {
            assert_eq!(parse(&[line]), Err(KeyFault::Empty), "{line}");
        }
        assert_eq!(parse(&["a", "a"]), Err(KeyFault::Twice));
        assert_eq!(parse(&[&"x".repeat(256)]), Err(KeyFault::TooLong));
        assert!(parse(&[&"x".repeat(255)]).is_ok());
    }
}
