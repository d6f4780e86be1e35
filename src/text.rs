//! How text that comes from elsewhere stands in a message.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use crate::error::MAX_ID_BYTES;

/// An id: escaped, since one from a request may hold line breaks or terminal sequences, and not endless.
pub(crate) fn shown(id: &str) -> String {
    shortened(id).escape_debug().to_string()
}

/// A good id as it is; of one that is too long to name a resource, which may be of any length, the beginning.
pub(crate) fn shortened(id: &str) -> Cow<'_, str> {
    if id.len() <= MAX_ID_BYTES {
        return id.into();
    }
    id.chars().take(64).chain(['…']).collect()
}

/// A sentence of the program's own: as it was written, but for what would break the line or steer a terminal.
pub(crate) fn on_one_line(sentence: &str) -> impl fmt::Display + '_ {
    OneLine(sentence)
}

struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '\u{2028}' | '\u{2029}' => write!(f, "{}", character.escape_unicode()),
            _ if character.is_control() => write!(f, "{}", character.escape_unicode()),
            _ => f.write_char(character),
        })
    }
}
