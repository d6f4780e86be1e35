//! Where a value would not read back: looked for only once it is known that it would not.

use serde::Serialize;

use crate::codec::json::written::{Scalar, scalars};

/// The path of what would read back as something else. Empty where no scalar shows it.
pub(super) fn changed<T: Serialize>(value: &T, back: &T) -> String {
    let [mut put, mut read] = [value, back].map(scalars);
    // Maps are walked in an order that changes with each copy.
    put.sort();
    read.sort();
    let same = put.iter().zip(&read).take_while(|(put, read)| put == read).count();
    let path = |scalars: &[Scalar]| scalars.get(same).map(|scalar| scalar.path.clone());
    // Of two the one that sorts first has no counterpart.
    path(&put).into_iter().chain(path(&read)).min().unwrap_or_default()
}

/// The path of what stands in the JSON of `value` where its reader gave up, in this column of its one line. Where that is
/// the end of a list or an object, as after a member that is missing, the path of that. Empty where nothing is found.
pub(super) fn unreadable<T: Serialize>(value: &T, bytes: &[u8], column: usize) -> String {
    let end = column.min(bytes.len());
    let Some(last) = scalars_in(&bytes[..end]).checked_sub(1) else { return String::new() };
    let Some(Scalar { path, .. }) = scalars(value).into_iter().nth(last) else { return String::new() };
    match end.checked_sub(1).map(|at| bytes[at]) {
        Some(b'}' | b']') => path.rfind(['.', '[']).map_or_else(String::new, |at| path[..at].to_owned()),
        _ => path,
    }
}

/// How many scalars begin in this JSON, which may be cut short. The names of members are none.
fn scalars_in(json: &[u8]) -> usize {
    let (mut count, mut at) = (0, 0);
    while let Some(byte) = json.get(at) {
        match byte {
            b'[' | b']' | b'{' | b'}' | b',' | b':' => at += 1,
            b'"' => {
                at += 1;
                while json.get(at).is_some_and(|byte| *byte != b'"') {
                    at += if json[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
                count += usize::from(json.get(at) != Some(&b':'));
            }
            _ => {
                count += 1;
                while json.get(at).is_some_and(|byte| !b",:]}".contains(byte)) {
                    at += 1;
                }
            }
        }
    }
    count
}
