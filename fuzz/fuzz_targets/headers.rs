//! Entity tags and precondition headers of any bytes, held against a reader that goes byte by byte.

#![no_main]

use ifmatch::http::{EntityTag, Freshness, Preconditions};
use ifmatch::{Expected, Reply, Version, Versioned};
use ifmatch::store::{Intent, Origin};
use libfuzzer_sys::fuzz_target;

/// What a header says: any value, or one of these tags, each with whether it is weak.
enum Said {
    Any,
    Tags(Vec<(bool, Vec<u8>)>),
}

// Each line of the input is a field line: its first byte chooses the header.
fuzz_target!(|bytes: &[u8]| {
    let lines: Vec<(&str, &[u8])> = bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split_first())
        .map(|(name, value)| (["If-Match", "if-none-match"][usize::from(name % 2)], value))
        .collect();
    for (_, value) in &lines {
        tag(value);
    }

    let of = |name: &str| -> Vec<&[u8]> {
        lines.iter().filter(|(other, _)| *other == name).map(|(_, value)| *value).collect()
    };
    let said = said(&of("If-Match")).and_then(|if_match| Some((if_match, said(&of("if-none-match"))?)));
    let preconditions = Preconditions::from_headers(lines.iter().copied());

    let Some((if_match, if_none_match)) = said else {
        assert!(preconditions.is_err(), "what can't be read is never no precondition");
        return;
    };
    let preconditions = preconditions.expect("the other reader could read it");
    assert_eq!(preconditions == Preconditions::none(), lines.is_empty());

    let named = [&if_match, &if_none_match].into_iter().flatten().flat_map(|said| match said {
        Said::Any => Vec::new(),
        Said::Tags(tags) => tags.iter().filter_map(|(_, tag)| version(tag)).collect(),
    });
    let seven = "7".parse().ok();
    for found in named.map(Some).chain([seven, None]) {
        let holds = if_match.as_ref().is_none_or(|said| said.matches(found, |weak| !weak));
        let fresh = if_none_match.as_ref().is_none_or(|said| !said.matches(found, |_| true));
        let current = found.map(|version| Versioned::<u8>::new(version, 0));

        if let Some(current) = &current {
            match preconditions.freshness("a", current) {
                Ok(Freshness::Send) => assert!(holds && fresh),
                Ok(Freshness::NotModified) => assert!(holds && !fresh),
                Err(_) => assert!(!holds),
            }
        }
        let read = || Reply::ready(Ok(current.clone()));
        match preconditions.condition(Intent::Put, "a", read).wait() {
            Ok(condition) => {
                assert_eq!(condition.expected.admits(found), holds && fresh);
                assert_eq!(condition.origin == Origin::Argument, lines.is_empty());
                assert_eq!(condition.expected == Expected::Any, lines.is_empty());
            }
            Err(_) => assert!(!(holds && fresh)),
        }
    }
    let _ = preconditions.lenient().required();
});

/// One tag alone.
fn tag(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(tag) = text.parse::<EntityTag>() else { return };
    assert_eq!(tag.to_string(), text);
    assert!(tag.weak_eq(&tag) && tag.strong_eq(&tag) != tag.is_weak());
    if let Some(version) = tag.version() {
        assert_eq!(EntityTag::from(version), tag);
    }
}

fn version(tag: &[u8]) -> Option<Version> {
    str::from_utf8(tag).ok()?.parse().ok()
}

impl Said {
    fn matches(&self, found: Option<Version>, counts: impl Fn(bool) -> bool) -> bool {
        let Some(found) = found else { return false };
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|(weak, tag)| counts(*weak) && version(tag) == Some(found)),
        }
    }
}

/// What the lines of one header say: `None` where they can't be read, `Some(None)` where there are none.
fn said(lines: &[&[u8]]) -> Option<Option<Said>> {
    if lines.is_empty() {
        return Some(None);
    }
    if lines.iter().map(|line| line.len() + 1).sum::<usize>() > 8 * 1024 + 1 {
        return None;
    }
    let space = |byte: &u8| *byte == b' ' || *byte == b'\t';
    if let [line] = lines {
        let star: Vec<u8> = line.iter().copied().skip_while(space).collect();
        if star.first() == Some(&b'*') && star[1..].iter().all(space) {
            return Some(Some(Said::Any));
        }
    }
    let mut tags: Vec<(bool, Vec<u8>)> = Vec::new();
    for line in lines {
        let mut at = At::Between;
        for &byte in *line {
            at = match (at, byte) {
                (At::Between, b' ' | b'\t' | b',') => At::Between,
                (At::Between, b'W') => At::AfterW,
                (At::AfterW, b'/') => At::AfterSlash,
                (At::Between | At::AfterSlash, b'"') => {
                    tags.push((matches!(at, At::AfterSlash), Vec::new()));
                    At::Inside
                }
                (At::Inside, b'"') => At::Behind,
                (At::Inside, 0x21..=0x7e | 0x80..) => {
                    tags.last_mut()?.1.push(byte);
                    At::Inside
                }
                (At::Behind, b' ' | b'\t') => At::Behind,
                (At::Behind, b',') => At::Between,
                _ => return None,
            };
        }
        if !matches!(at, At::Between | At::Behind) {
            return None;
        }
    }
    (1..=64).contains(&tags.len()).then_some(Some(Said::Tags(tags)))
}

/// Where in a field line the reader is.
#[derive(Clone, Copy)]
enum At {
    Between,
    AfterW,
    AfterSlash,
    Inside,
    Behind,
}
