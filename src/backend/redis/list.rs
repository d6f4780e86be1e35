//! How a namespace is listed.

use super::answer::ScriptAnswer;
use super::order;
use super::script::SCAN;
use super::shared::Shared;
use super::trouble::Trouble;
use crate::backend::record::HEAD;
use crate::store::{Error, Listed, Page, Scan};

/// The most ids of one page, so that a long list does not stop Redis for long.
const MOST: usize = 10_000;

/// The bytes of values after which a page has enough.
const ENOUGH: usize = 4 << 20;

/// What one run of the script gives.
struct Part {
    page: Page<Listed<[u8]>>,
    /// The last id it told of, with a value or without.
    last: Option<Vec<u8>>,
}

/// The ids that begin with a prefix and sort after one, with their values or their versions alone.
pub(super) async fn list(shared: &Shared, scan: Scan<'_>) -> Result<Page<Listed<[u8]>>, Error> {
    let Scan { prefix, after, limit, values } = scan;
    // The last byte that is wanted of each record; a negative one is counted from its end.
    let last_byte = if values { -1 } else { HEAD as i64 - 1 };
    let end = match successor(prefix) {
        Some(end) => [b"(", &end[..]].concat(),
        None => b"+".to_vec(),
    };
    let mut start = match after {
        Some(after) if after >= prefix => [b"(", after.as_bytes()].concat(),
        _ if prefix.is_empty() => b"-".to_vec(),
        _ => [b"[", prefix.as_bytes()].concat(),
    };
    loop {
        let call = SCAN
            .call(&[&shared.keys.meta, &shared.keys.ids], start.len() + end.len() + 16)
            .argument(&start)
            .argument(&end)
            .argument(limit.min(MOST).to_string())
            .argument(ENOUGH.to_string())
            .argument(last_byte.to_string())
            .repeatable();
        let Part { page, last } = read_part(shared.read(&call).await?, values)?;
        match last {
            // Somebody removed all of these values by hand; there may be more behind them.
            Some(last) if page.items.is_empty() && page.more => start = [b"(", &last[..]].concat(),
            _ => return Ok(page),
        }
    }
}

fn read_part(mut answer: ScriptAnswer, values: bool) -> Result<Part, Error> {
    if answer.word() != "page" {
        return Err(Trouble::Unexpected.of_read());
    }
    let parts = (|| Ok::<_, Trouble>((answer.number()? > 0, answer.list()?, answer.list()?)))();
    let (more, mut ids, mut records) = parts.map_err(Trouble::of_read)?;
    let (mut page, mut last) = (Page { items: Vec::new(), more }, None);
    while !ids.is_empty() {
        let id = ids.bytes().map_err(Trouble::of_read)?;
        let stored = records.bytes().map_err(Trouble::of_read)?;
        let text = str::from_utf8(&id).map_err(|_| Trouble::Unexpected.of_read())?;
        let listed = match values {
            true => order::value(text, &stored).map(|found| found.map(Listed::from)),
            false => order::version_of(text, &stored).map(|found| found.map(Listed::from)),
        };
        if let Some(listed) = listed.transpose()
            && !page.add(text.into(), listed)?
        {
            break;
        }
        last = Some(id);
    }
    Ok(Part { page, last })
}

/// The first text behind all that begin with `prefix`; `None` where there is none.
fn successor(prefix: &str) -> Option<Vec<u8>> {
    let mut end = prefix.as_bytes().to_vec();
    // No byte of UTF-8 is the last one there is.
    *end.last_mut()? += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_successor_of_a_prefix_is_behind_all_that_begin_with_it() {
        assert_eq!(successor(""), None);
        for prefix in ["a", "a/", "\u{7f}", "ü", "\u{10ffff}"] {
            let end = successor(prefix).unwrap();
            assert!(end.as_slice() > prefix.as_bytes());
            assert!(end.as_slice() > format!("{prefix}\u{10ffff}\u{10ffff}").as_bytes());
            assert!(!end.starts_with(prefix.as_bytes()));
        }
    }
}
