//! [`Tags`], what one precondition header asks for, or what is wrong with it.

use crate::http::etag::{Comparison, EntityTag};
use crate::store::{Error, Refusal, Version};

/// The most tags in one header.
const MOST_TAGS: usize = 64;

/// The most bytes in one header, all its field lines together.
const MOST_BYTES: usize = 8 * 1024;

/// What one of the headers `If-Match` and `If-None-Match` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tags {
    /// `*`: there is a value, of whatever version.
    Any,
    /// At least one tag.
    Listed(Vec<EntityTag>),
}

/// What is wrong with a header. The text shows nothing of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Tag(#[from] crate::http::ParseEntityTagError),
    #[error("it has no entity tag")]
    Empty,
    #[error("`*` stands beside something else")]
    StarAndMore,
    #[error("a comma is missing after an entity tag")]
    NoComma,
    #[error("it has more than {MOST_TAGS} entity tags")]
    TooMany,
    #[error("it is longer than {MOST_BYTES} bytes")]
    TooLong,
}

impl Tags {
    /// Reads the field lines of one header as one list. `None` where there is no line.
    pub(super) fn parse<L: AsRef<[u8]>>(lines: &[L]) -> Result<Option<Self>, Fault> {
        if lines.is_empty() { Ok(None) } else { read(lines).map(Some) }
    }

    /// Whether one of them matches the version found; nothing matches where there is no value.
    pub(super) fn admit(&self, found: Option<Version>, comparison: Comparison) -> bool {
        match self {
            Self::Any => found.is_some(),
            Self::Listed(_) => {
                found.is_some_and(|found| self.versions(comparison).any(|named| named == found))
            }
        }
    }

    /// The versions that the tags name.
    pub(super) fn versions(&self, comparison: Comparison) -> impl Iterator<Item = Version> {
        let tags = match self {
            Self::Any => &[],
            Self::Listed(tags) => tags.as_slice(),
        };
        tags.iter().filter_map(move |tag| tag.version_under(comparison))
    }
}

impl Fault {
    /// The refusal of a write because of it.
    pub(super) fn refuse(self, header: &'static str) -> Error {
        Refusal::MalformedCondition { name: header, problem: self.to_string().into() }.into()
    }
}

fn read<L: AsRef<[u8]>>(lines: &[L]) -> Result<Tags, Fault> {
    // The lines count as joined with a comma between two.
    let bytes: usize = lines.iter().map(|line| line.as_ref().len() + 1).sum();
    if bytes > MOST_BYTES + 1 {
        return Err(Fault::TooLong);
    }
    if let [line] = lines
        && trim(line.as_ref()) == b"*"
    {
        return Ok(Tags::Any);
    }
    let mut tags = Vec::new();
    // Each line by itself: a quote that is open at its end is an error, and never swallows the next line.
    for line in lines {
        read_line(line.as_ref(), &mut tags)?;
    }
    if tags.is_empty() { Err(Fault::Empty) } else { Ok(Tags::Listed(tags)) }
}

/// RFC 9110 §5.6.1.2: `#element => [ element ] *( OWS "," OWS [ element ] )`, so elements may be empty.
fn read_line(line: &[u8], tags: &mut Vec<EntityTag>) -> Result<(), Fault> {
    let mut rest = trim(line);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(b",") {
            rest = trim(after);
            continue;
        }
        if rest.starts_with(b"*") {
            return Err(Fault::StarAndMore);
        }
        let (tag, after) = EntityTag::read(rest)?;
        if tags.len() == MOST_TAGS {
            return Err(Fault::TooMany);
        }
        tags.push(tag);
        rest = trim(after);
        if !rest.is_empty() && !rest.starts_with(b",") {
            return Err(Fault::NoComma);
        }
    }
    Ok(())
}

/// Without OWS at both ends: spaces and tabs, and no other white space.
fn trim(mut field: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = field {
        field = rest;
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &[&str]) -> Result<Option<Tags>, Fault> {
        Tags::parse(lines)
    }

    fn fault(lines: &[&str]) -> Fault {
        read(lines).unwrap_err()
    }

    fn listed(lines: &[&str]) -> Vec<String> {
        match parse(lines) {
            Ok(Some(Tags::Listed(tags))) => tags.iter().map(ToString::to_string).collect(),
            other => panic!("{lines:?}: {other:?}"),
        }
    }

    #[test]
    fn several_field_lines_are_one_list() {
        assert_eq!(listed(&["\"1\""]), ["\"1\""]);
        assert_eq!(listed(&["\"1\",W/\"2\"", "\"3\""]), ["\"1\"", "W/\"2\"", "\"3\""]);
        assert_eq!(listed(&["\t \"1\" \t,\t \"2\" "]), ["\"1\"", "\"2\""]);
        assert_eq!(listed(&["\"a,b\", \"c\""]), ["\"a,b\"", "\"c\""]);
    }

    #[test]
    fn empty_elements_are_skipped_as_a_recipient_must() {
        for lines in [&["\"1\","][..], &[",\"1\""], &[", ,\t,\"1\" , ,"], &["", "\"1\""], &["\"1\"", " "]] {
            assert_eq!(listed(lines), ["\"1\""], "{lines:?}");
        }
    }

    #[test]
    fn a_star_stands_alone() {
        for lines in [["*"], [" *"], ["*\t "]] {
            assert_eq!(parse(&lines).unwrap(), Some(Tags::Any));
        }
        for lines in [
            &["*,"][..],
            &[",*"],
            &["*, \"1\""],
            &["\"1\", *"],
            &["*", "*"],
            &["*", "\"1\""],
            &["\"1\"", "*"],
            &["*", ""],
            &["**"],
            &["*\"1\""],
        ] {
            assert_eq!(fault(lines), Fault::StarAndMore, "{lines:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_never_no_precondition() {
        assert_eq!(parse(&[]).unwrap(), None);
        for lines in [&[""][..], &[" "], &[","], &[" , ,"], &["", ""]] {
            assert_eq!(fault(lines), Fault::Empty, "{lines:?}");
        }
        for lines in [&["\"1\"\"2\""][..], &["\"1\" \"2\""], &["\"1\"x"], &["\"1\";\"2\""], &["\"1\"*"]] {
            assert_eq!(fault(lines), Fault::NoComma, "{lines:?}");
        }
        for lines in
            [&["1"][..], &["\"1"], &["\"1\", \"2"], &["\"1\"", "2"], &["\"a", "b\""], &["\u{a0}\"1\""]]
        {
            assert!(matches!(fault(lines), Fault::Tag(_)), "{lines:?}");
        }
        for lines in [&["\u{b}\"1\""][..], &["\"1\"\n"], &["\r\n\"1\""], &["\"1\"\0"], &["w/\"1\""]] {
            assert!(parse(lines).is_err(), "{lines:?}");
        }
    }

    #[test]
    fn a_header_holds_64_tags_in_8_kib_and_no_more() {
        let tags = |count: usize| vec!["\"1\""; count].join(",");
        assert_eq!(listed(&[&tags(64)]).len(), 64);
        assert_eq!(fault(&[&tags(65)]), Fault::TooMany);
        assert_eq!(fault(&[&tags(64), "\"1\""]), Fault::TooMany);

        let long = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
        assert_eq!(listed(&[&long(8192)]).len(), 1);
        assert_eq!(fault(&[&long(MOST_BYTES + 1)]), Fault::TooLong);
        assert_eq!(fault(&[&long(MOST_BYTES - 3), "\"1\""]), Fault::TooLong);
        assert_eq!(listed(&[&long(MOST_BYTES - 4), "\"1\""]).len(), 2);
        assert_eq!(fault(&[""; MOST_BYTES + 2]), Fault::TooLong);
    }

    #[test]
    fn the_message_names_the_header_and_shows_nothing_of_it() {
        for line in ["s3cr3t", "\"s3cr3t", "\"s3cr3t\" x", "\"s3cr3t\", *", "\"s3 cr3t\""] {
            let malformed = parse(&[line]).unwrap_err().refuse("If-Match");

            assert!(matches!(
                &malformed,
                Error::Refused(Refusal::MalformedCondition { name: "If-Match", .. })
            ));
            assert!(malformed.to_string().starts_with("malformed `If-Match`: "), "{malformed}");
            assert!(!format!("{malformed} {malformed:?}").contains("cr3t"), "{malformed}");
        }
    }

    /// Random fields made of the bytes that matter to the parser.
    fn random_field(state: &mut u64) -> Vec<u8> {
        let mut next = || {
            // splitmix64
            *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 33
        };
        const BYTES: &[u8] = b"\"\"\"\",,WW//**77 \t\\-;gzip\xff\0\n";
        let length = next() % 24;
        (0..length)
            .map(|_| match next() {
                any if any % 16 == 0 => any as u8,
                chosen => BYTES[chosen as usize % BYTES.len()],
            })
            .collect()
    }

    #[test]
    fn random_bytes_never_panic_and_a_weak_tag_never_matches_strongly() {
        let seven: Version = "7".parse().unwrap();
        let (mut state, mut matched, mut weakly) = (1, 0, 0);

        for _ in 0..300_000 {
            let lines = [random_field(&mut state), random_field(&mut state)];
            let lines = if state.is_multiple_of(2) { &lines[..1] } else { &lines[..] };
            let Ok(Some(tags)) = Tags::parse(lines) else { continue };
            // A reader of its own: does the text hold a strong tag "7" at the start of an element?
            let text: Vec<u8> = lines.join(&b","[..]);
            let strong = text.windows(3).enumerate().any(|(at, part)| {
                part == b"\"7\""
                    && !text[..at].ends_with(b"/")
                    && text[..at].iter().filter(|b| **b == b'"').count() % 2 == 0
            });

            if tags.admit(Some(seven), Comparison::Strong) && tags != Tags::Any {
                assert!(strong, "{:?}", text.escape_ascii().to_string());
                matched += 1;
            }
            weakly += usize::from(tags.admit(Some(seven), Comparison::Weak));
        }

        assert!(matched > 10 && weakly > matched, "the generator reaches what is tested: {matched} {weakly}");
    }
}
