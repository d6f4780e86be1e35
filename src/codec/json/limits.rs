//! How deep JSON may nest and how many values it may hold, checked before anything is built from it.

use std::{mem, slice};

/// The most arrays and objects inside one another.
const DEPTH: usize = 64;

/// The most values: arrays, objects, strings, numbers, literals. The keys of an object are not counted beside its
/// values.
const NODES: usize = 100_000;

/// JSON that would build too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TooBig {
    #[error("the JSON nests deeper than {DEPTH} levels")]
    Deep,
    #[error("the JSON has more than {NODES} values")]
    Many,
}

/// What is known of JSON within the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Within {
    /// Whether it has a `null` in it, that of a text not counted.
    pub(super) has_null: bool,
}

/// Refuses JSON past the limits: a few bytes a value are easily a hundred times that in memory.
///
/// One pass over the bytes, without an allocation. It counts right in every beginning that is valid JSON, which is as
/// far as a parser builds anything; whether the text is JSON at all is for the parser to say.
pub(crate) fn check(json: &[u8]) -> Result<Within, TooBig> {
    let mut depth = 0usize;
    let mut nodes = 0usize;
    let mut in_literal = false;
    let mut has_null = false;
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        let was_in_literal = mem::replace(&mut in_literal, false);
        match byte {
            b'"' => {
                skip_string(&mut bytes);
                nodes += 1;
            }
            b'[' | b'{' => {
                depth += 1;
                nodes += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            // The string before it was a key, not a value.
            b':' => nodes = nodes.saturating_sub(1),
            b',' | b' ' | b'\t' | b'\n' | b'\r' => {}
            _ => {
                in_literal = true;
                has_null |= !was_in_literal && *byte == b'n';
                nodes += usize::from(!was_in_literal);
            }
        }
        if depth > DEPTH {
            return Err(TooBig::Deep);
        }
        if nodes > NODES {
            return Err(TooBig::Many);
        }
    }
    Ok(Within { has_null })
}

/// Goes past the closing quote of a string whose opening one was just taken.
fn skip_string(bytes: &mut slice::Iter<'_, u8>) {
    loop {
        // Most of JSON is plain text: 16 bytes of it take one comparison.
        while let Some(chunk) = bytes.as_slice().first_chunk::<16>() {
            if chunk.iter().fold(false, |ends, byte| ends | (*byte == b'"') | (*byte == b'\\')) {
                break;
            }
            *bytes = bytes.as_slice()[chunk.len()..].iter();
        }
        match bytes.find(|byte| matches!(byte, b'"' | b'\\')) {
            Some(b'\\') => drop(bytes.next()),
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &[u8]) -> Result<(), TooBig> {
        super::check(json).map(drop)
    }

    fn nested(depth: usize, open: &str, inner: &str, close: &str) -> String {
        open.repeat(depth) + inner + &close.repeat(depth)
    }

    fn list(values: usize, value: &str) -> String {
        format!("[{}]", vec![value; values].join(","))
    }

    #[test]
    fn the_deepest_nesting_allowed_is_sixty_four() {
        for (open, inner, close) in [("[", "1", "]"), ("{\"k\":", "\"v\"", "}"), ("[ ", "", " ]")] {
            assert_eq!(check(nested(64, open, inner, close).as_bytes()), Ok(()));
            assert_eq!(check(nested(65, open, inner, close).as_bytes()), Err(TooBig::Deep));
        }
        assert_eq!(
            check(list(1000, "[[]]").as_bytes()),
            Ok(()),
            "beside one another is not inside one another"
        );
    }

    #[test]
    fn every_value_counts_once_and_keys_do_not() {
        // One of the values is the list itself.
        for value in ["0", "-1.5e+3", "null", "\"text\"", "[]", "{}", " true "] {
            assert_eq!(check(list(99_999, value).as_bytes()), Ok(()), "{value}");
            assert_eq!(check(list(100_000, value).as_bytes()), Err(TooBig::Many), "{value}");
        }
        for (pair, values) in [("{\"\":0}", 2), ("{\"a\" : \"b\"}", 2), ("{\"a\":[1,2],\"b\":{}}", 5)] {
            assert_eq!(check(list(99_999 / values, pair).as_bytes()), Ok(()), "{pair}");
            assert_eq!(check(list(99_999 / values + 1, pair).as_bytes()), Err(TooBig::Many), "{pair}");
        }
        let members = vec!["\"k\":0"; 99_999].join(",");
        assert_eq!(check(format!("{{{members}}}").as_bytes()), Ok(()), "a key counts not even for a moment");
    }

    #[test]
    fn what_looks_like_structure_inside_a_string_does_not_count() {
        let brackets = "[{,:".repeat(100_000);

        for text in [&brackets, &format!("\\\"{brackets}"), &format!("\\\\\\\"{brackets}\\\\")] {
            assert_eq!(check(format!("\"{text}\"").as_bytes()), Ok(()));
        }
        // An escaped backslash does not escape the quote after it.
        assert_eq!(check(format!("[\"\\\\\",{}]", "[".repeat(64)).as_bytes()), Err(TooBig::Deep));
    }

    #[test]
    fn a_flood_after_closing_brackets_or_colons_is_still_found() {
        assert_eq!(check(nested(70, "]", "", "").as_bytes()), Ok(()), "for the parser to refuse");
        assert_eq!(check((nested(70, "]", "", "") + &"[".repeat(65)).as_bytes()), Err(TooBig::Deep));
        assert_eq!(check(b":,:"), Ok(()), "for the parser to refuse");
        assert_eq!(check((":".repeat(70) + &list(100_000, "0")).as_bytes()), Err(TooBig::Many));
    }

    #[test]
    fn text_that_ends_anywhere_is_no_panic() {
        let json = r#"{"a\\\"b":[1,"\u0041",{}]}"#;

        for end in 0..=json.len() {
            assert_eq!(check(&json.as_bytes()[..end]), Ok(()));
        }
    }

    #[test]
    fn a_null_is_told_from_a_text_that_has_the_word_in_it() {
        for with in ["null", "[1, null]", r#"{"a":null}"#, r#"["a text of more than 16 bytes\"", null]"#] {
            assert!(super::check(with.as_bytes()).unwrap().has_null, "{with}");
        }
        for without in ["1", r#""null""#, r#"{"null":[true,false]}"#, r#"["0123456789abcde\" null ",-1e5]"#] {
            assert!(!super::check(without.as_bytes()).unwrap().has_null, "{without}");
        }
    }

    #[test]
    fn a_text_of_any_length_ends_at_its_quote() {
        for length in 0..70 {
            for special in ["", "\\\"", "\\\\"] {
                let text = format!("[\"{}{special}\",{}]", "x".repeat(length), "[".repeat(64));
                assert_eq!(check(text.as_bytes()), Err(TooBig::Deep), "{text}");
            }
        }
    }
}
