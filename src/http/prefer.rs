//! [`Return`], what a client wants back of a write (RFC 7240).

/// What `Prefer: return=…` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Return {
    /// No body.
    Minimal,
    /// The value.
    Representation,
}

impl Return {
    /// Reads the lines of `Prefer`. The first `return` counts; what is not known is as if absent (RFC 7240 §2).
    pub(crate) fn read<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let lines = lines.into_iter().filter_map(|line| str::from_utf8(line).ok());
        let mut preferences = lines.flat_map(|line| line.split(','));
        preferences.find_map(|preference| {
            let (name, value) = preference.split(';').next()?.split_once('=')?;
            match value.trim().trim_matches('"') {
                _ if !name.trim().eq_ignore_ascii_case("return") => None,
                minimal if minimal.eq_ignore_ascii_case("minimal") => Some(Self::Minimal),
                whole if whole.eq_ignore_ascii_case("representation") => Some(Self::Representation),
                _ => None,
            }
        })
    }

    /// What `Preference-Applied` says.
    pub(crate) fn applied(self) -> &'static str {
        match self {
            Self::Minimal => "return=minimal",
            Self::Representation => "return=representation",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_return_counts_and_what_is_unknown_does_not() {
        for (lines, expected) in [
            (&["return=minimal"][..], Some(Return::Minimal)),
            (&["respond-async, Return = \"Representation\"; x=1"], Some(Return::Representation)),
            (&["wait=10", "return=minimal, return=representation"], Some(Return::Minimal)),
            (&["return=everything, return=minimal"], Some(Return::Minimal)),
            (&["return", "minimal", "returns=minimal", ""], None),
            (&[], None),
        ] {
            assert_eq!(Return::read(lines.iter().map(|line| line.as_bytes())), expected, "{lines:?}");
        }
    }
}
