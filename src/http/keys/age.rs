//! The ids by which records are found by their age.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The id that says since when there is the record of this id: in byte order the oldest comes first.
pub(super) fn of(record: &str, since: SystemTime) -> String {
    let since = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{since:020}.{record}")
}

/// The id of the record, and since when there is one. `None` of an id that is none of these.
pub(super) fn read(id: &str) -> Option<(&str, SystemTime)> {
    let (since, record) = id.split_once('.')?;
    Some((record, UNIX_EPOCH + Duration::from_nanos(since.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_comes_first_and_each_reads_back() {
        let at = |nanos| UNIX_EPOCH + Duration::from_nanos(nanos);
        let ids: Vec<String> = [9, 10, 1_800_000_000_000_000_000].map(|nanos| of("ab", at(nanos))).into();

        assert!(ids.is_sorted());
        assert_eq!(read(&ids[2]), Some(("ab", at(1_800_000_000_000_000_000))));
        assert_eq!((read("ab"), read("x.ab")), (None, None));
    }
}
