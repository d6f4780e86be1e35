//! Entity tags and precondition headers of any bytes, held against a reader that goes byte by byte.

#![no_main]

use std::time::{Duration, SystemTime};

use ifmatch::http::{self, EntityTag, Preconditions, Terms};
use ifmatch::store::{Intent, Origin};
use ifmatch::{Expected, Version, Versioned};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 4] = ["If-Match", "if-none-match", "If-Modified-Since", "if-unmodified-since"];

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
        .map(|(name, value)| (NAMES[usize::from(name % 4)], value))
        .collect();
    for (_, value) in &lines {
        tag(value);
    }

    let of = |name: &str| -> Vec<&[u8]> {
        lines.iter().filter(|(other, _)| *other == name).map(|(_, value)| *value).collect()
    };
    let said = said(&of(NAMES[0])).and_then(|if_match| Some((if_match, said(&of(NAMES[1]))?)));
    let preconditions = Preconditions::from_headers(lines.iter().copied());
    let seven = "7".parse().ok();

    let Some((if_match, if_none_match)) = said else {
        let current = seven.map(|version| Versioned::<u8>::new(version, 0));
        let refused = preconditions.admit("a", Intent::Put, current.as_ref()).unwrap_err();
        assert_eq!(http::status(&refused), 400, "what can't be read is never no precondition");
        return;
    };

    let named = [&if_match, &if_none_match].into_iter().flatten().flat_map(|said| match said {
        Said::Any => Vec::new(),
        Said::Tags(tags) => tags.iter().filter_map(|(_, tag)| version(tag)).collect(),
    });
    let based = if_match.is_some() || matches!(if_none_match, Some(Said::Any));
    let dated = !of(NAMES[3]).is_empty() && !based;
    for found in named.map(Some).chain([seven, None]) {
        let holds = if_match.as_ref().is_none_or(|said| said.matches(found, |weak| !weak));
        let fresh = if_none_match.as_ref().is_none_or(|said| !said.matches(found, |_| true));
        let current = found.map(|version| Versioned::<u8>::new(version, 0));

        if let Some(current) = &current {
            match preconditions.respond("a", current.clone()) {
                Ok(answer) => {
                    assert!(holds && (answer.status() == 200) == fresh);
                    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
                    let dated = answer.modified(|_| changed);
                    let by_date = if_none_match.is_none() && of(NAMES[2]).len() == 1;
                    assert!(dated.status() == 200 || !fresh || by_date);
                }
                Err(_) => assert!(!holds),
            }
        }
        match preconditions.admit("a", Intent::Put, current.as_ref()) {
            Ok(condition) => {
                assert!(holds && fresh && !dated);
                assert_eq!(condition.expected, current.as_ref().map_or(Expected::Absent, Expected::from));
                let bare = if_match.is_none() && if_none_match.is_none();
                assert_eq!(condition.origin == Origin::Argument, bare);
            }
            Err(_) => assert!(dated || !(holds && fresh)),
        }
        let strict = preconditions.clone().under(Terms::new().required());
        assert!(strict.admit("a", Intent::Put, current.as_ref()).is_err() || based);
        let _ =
            preconditions.clone().under(Terms::new().lenient()).admit("a", Intent::Delete, current.as_ref());
    }
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
