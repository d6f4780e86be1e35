//! How text that comes from elsewhere stands in a message.

use std::fmt::{self, Write as _};

/// The longest that is shown of an id, in bytes. No good id is longer.
const LONGEST: usize = 512;

/// An id: escaped, since one from a request may hold line breaks or terminal sequences, and not endless.
pub(crate) fn shown(id: &str) -> impl fmt::Display + '_ {
    shortened(id).escape_debug()
}

/// As much of an id as a good one can have.
pub(crate) fn shortened(id: &str) -> &str {
    let fits = (0..=id.len().min(LONGEST)).rev().find(|end| id.is_char_boundary(*end));
    &id[..fits.unwrap_or(0)]
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
