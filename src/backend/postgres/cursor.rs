//! [`Spot`], a place in the log of a namespace, and its text.

use std::fmt::Write as _;

use tokio_postgres::Row;

use crate::store::{Cursor, Refusal};

/// How long the text of the transactions that were under way may be: a cursor has at most 1 KiB.
const LONGEST: usize = 940;

/// A place in the log of a namespace: what a watcher there has seen.
///
/// It has seen every commit whose transaction has a number up to that of `last`, except those that were under way when
/// it looked. A transaction gets its number once it has all its locks, so the commits of one id are in the order of their
/// numbers, and whoever reads in that order never sees an id's second write without its first.
///
/// The last commit is named by its version too: in a database that was restored to an older state another one has its
/// number, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) epoch: i64,
    pub(super) last: Mark,
    /// Ascending, all below the last.
    pub(super) running: Vec<u64>,
}

/// One commit of the log; of none, zeros.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) xid: u64,
    pub(super) version: i64,
}

impl Spot {
    /// The place after `last`, as a snapshot shows it.
    pub(super) fn new(epoch: i64, last: Mark, snapshot: &Snapshot) -> Self {
        let running = snapshot.running.iter().copied().filter(|xid| *xid < last.xid).collect();
        Self { epoch, last, running }
    }

    /// The text. `None` where so many transactions were under way that it would be too long.
    pub(super) fn cursor(&self) -> Option<Cursor> {
        let Self { epoch, last, running } = self;
        let mut text = format!("p{:x}.{:x}.{:x}", *epoch as u64, last.version, last.xid);
        let head = text.len();
        let mut above = last.xid;
        for xid in running.iter().rev() {
            let _ = write!(text, ".{:x}", above - xid);
            above = *xid;
        }
        (text.len() - head <= LONGEST)
            .then(|| text.parse().expect("letters, digits and full stops make a cursor"))
    }

    pub(super) fn parse(cursor: &Cursor) -> Result<Self, Refusal> {
        let text = cursor.as_str().strip_prefix('p').ok_or(Refusal::Cursor)?;
        let mut numbers = text.split('.').map(|number| {
            let plain = number.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            plain.then(|| u64::from_str_radix(number, 16).ok()).flatten().ok_or(Refusal::Cursor)
        });
        let mut next = || numbers.next().ok_or(Refusal::Cursor)?;
        let (epoch, version, xid) = (next()? as i64, next()? as i64, next()?);
        let (mut running, mut above) = (Vec::new(), xid);
        for distance in numbers {
            above = above.checked_sub(distance?).filter(|below| *below < above).ok_or(Refusal::Cursor)?;
            running.push(above);
        }
        running.reverse();
        Ok(Self { epoch, last: Mark { xid, version }, running })
    }
}

/// The transactions that were under way at one instant, of those that had a number. What is not among them, and below
/// the number that comes next, had ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) running: Vec<u64>,
}

impl Snapshot {
    /// Reads what `pg_current_snapshot` shows: the oldest that runs, the next one, and the list.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let list = text.splitn(3, ':').nth(2)?;
        let numbers = list.split(',').filter(|number| !number.is_empty());
        let mut running = numbers.map(|number| number.parse().ok()).collect::<Option<Vec<u64>>>()?;
        running.sort_unstable();
        Some(Self { running })
    }
}

/// The place that a row of epoch, transaction, version and snapshot names. None where it has no epoch: the rows are of
/// another cluster.
pub(super) fn spot_of(row: &Row) -> Result<Option<Spot>, tokio_postgres::Error> {
    let Some(epoch) = row.try_get(0)? else { return Ok(None) };
    let snapshot = Snapshot::parse(row.try_get(3)?).unwrap_or_default();
    Ok(Some(Spot::new(epoch, mark_of(row, 1)?.unwrap_or_default(), &snapshot)))
}

/// The mark in two columns of a row; none where there is no commit.
pub(super) fn mark_of(row: &Row, column: usize) -> Result<Option<Mark>, tokio_postgres::Error> {
    let Some(xid) = row.try_get::<_, Option<&str>>(column)? else { return Ok(None) };
    let version = row.try_get(column + 1)?;
    Ok(Some(Mark { xid: xid.parse().unwrap_or_default(), version }))
}

/// The numbers of transactions as parameters of a statement.
pub(super) fn numbers(running: &[u64]) -> Vec<String> {
    running.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(running: Vec<u64>) -> Spot {
        Spot { epoch: -5, last: Mark { xid: 1 << 40, version: i64::MAX }, running }
    }

    #[test]
    fn a_place_survives_its_text() {
        let places = [
            spot(vec![]),
            spot(vec![1]),
            spot(vec![3, 4, 5, 1 << 39, (1 << 40) - 1]),
            Spot { epoch: 0, last: Mark::default(), running: vec![] },
        ];
        for place in places {
            assert_eq!(Spot::parse(&place.cursor().unwrap()).unwrap(), place);
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in
            ["p", "p1", "p1.2", "p1.2.3.", "x1.2.3", "p1.2.3.0", "p1.2.3.4", "p1.2.+3", "p1.2.3~", "P1.2.3"]
        {
            assert!(Spot::parse(&text.parse().unwrap()).is_err(), "{text}");
        }
    }

    #[test]
    fn three_hundred_writers_fit_into_a_cursor_and_thousands_are_told() {
        let running = |many: u64| (1 << 40) - 10 * many;
        let fits: Vec<u64> = (0..300).map(|nth| running(300) + 10 * nth).collect();
        let far: Vec<u64> = (0..3_000).map(|nth| running(3_000) + 10 * nth).collect();

        assert!(spot(fits).cursor().unwrap().as_str().len() <= 1024);
        assert_eq!(spot(far).cursor(), None);
    }

    #[test]
    fn a_snapshot_tells_who_was_under_way() {
        assert_eq!(Snapshot::parse("10:20:10,14,15").unwrap().running, [10, 14, 15]);
        assert_eq!(Snapshot::parse("10:10:").unwrap(), Snapshot::default());
        assert_eq!(Snapshot::parse("10"), None);
    }
}
