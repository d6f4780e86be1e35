//! [`Parameters`], a commit as the parameters of its statement, and [`Verdict`], the rows that come back.

use tokio_postgres::Row;

use super::session::Parameter;
use super::sql::{Sql, Statement};
use super::stored::{Stored, bytes, checksum, column, key, version};
use crate::backend::engine::draw_tag;
use crate::store::{Action, Commit, Committed, Conflict, Corrupt, Entry, Expected, Found, Receipt, Version};

/// A commit as the parameters of its statement.
pub(super) struct Parameters<'c> {
    namespace: &'c str,
    entries: &'c [Entry<'c, [u8]>],
    write: Option<Vec<u8>>,
    fingerprint: Option<i64>,
    key: Option<i64>,
    history: i64,
    tag: i64,
    ids: Vec<&'c str>,
    deeds: Vec<i8>,
    expected: Vec<i8>,
    versions: Vec<i64>,
    checksums: Vec<i32>,
    values: Vec<Option<&'c [u8]>>,
}

/// What the engine made of a commit.
pub(super) enum Verdict {
    /// It was applied, now or under the same write id before.
    Applied(Committed),
    /// Its write id was resolved as not applied.
    Closed,
    /// Another commit was applied under its write id.
    Reused,
    /// What became of its write id can't be told. Now nothing was applied.
    Outside {
        newest: Option<Version>,
    },
    Conflict(Conflict),
    /// What stands there can't be read, and was not named.
    Corrupt(Corrupt),
    /// Somebody who takes no locks changed the rows in between.
    Disturbed,
    /// The rows were carried here from another cluster, and the namespace is to be entered anew. Nothing was applied.
    Moved,
}

impl<'c> Parameters<'c> {
    /// `history` is how many closed write ids may be kept.
    pub(super) fn new(namespace: &'c str, commit: &'c Commit<'c, [u8]>, history: i64) -> Self {
        let (entries, write) = (commit.entries(), commit.remembered_write());
        let value = |entry: &'c Entry<'c, [u8]>| match &entry.action {
            Action::Put(value) => Some(&**value),
            Action::Check | Action::Delete => None,
        };
        Self {
            namespace,
            entries,
            write: write.map(|write| bytes(write).to_vec()),
            fingerprint: write.map(|_| commit.fingerprint() as i64),
            key: write.map(key),
            history,
            tag: i64::from(draw_tag()),
            ids: entries.iter().map(|entry| entry.id).collect(),
            deeds: entries.iter().map(|entry| letter(deed(&entry.action))).collect(),
            expected: entries.iter().map(|entry| letter(condition(entry.condition.expected))).collect(),
            versions: entries.iter().map(|entry| named(entry.condition.expected)).collect(),
            checksums: entries
                .iter()
                .map(|entry| value(entry).map_or(0, |value| checksum(namespace, entry.id, value)))
                .collect(),
            values: entries.iter().map(value).collect(),
        }
    }

    /// The statement and its parameters. `again` where it may have been sent before; `patience` for the locks of others.
    pub(super) fn statement<'p>(
        &'p self,
        sql: &'p Sql,
        again: &'p bool,
        patience: &'p i32,
    ) -> (&'p Statement, Vec<Parameter<'p>>) {
        let mut parameters: Vec<Parameter<'p>> = vec![
            &self.namespace,
            &self.write,
            &self.fingerprint,
            &self.key,
            again,
            &self.history,
            &self.tag,
            patience,
        ];
        if let ([id], [value]) = (&self.ids[..], &self.values[..]) {
            let entry: [Parameter<'p>; 6] =
                [id, &self.deeds[0], &self.expected[0], &self.versions[0], &self.checksums[0], value];
            parameters.extend(entry);
            return (&sql.commit_one, parameters);
        }
        let entries: [Parameter<'p>; 6] =
            [&self.ids, &self.deeds, &self.expected, &self.versions, &self.checksums, &self.values];
        parameters.extend(entries);
        (&sql.commit_many, parameters)
    }

    /// The parameters of a commit that only checks.
    pub(super) fn checks(&self) -> [Parameter<'_>; 4] {
        [&self.namespace, &self.ids, &self.expected, &self.versions]
    }

    /// What the rows say.
    pub(super) fn verdict(&self, rows: &[Row]) -> Result<Verdict, tokio_postgres::Error> {
        let Some(first) = rows.first() else { return Ok(Verdict::Disturbed) };
        Ok(match first.try_get::<_, i8>(0)? as u8 {
            b'a' | b'r' => Verdict::Applied(receipts(rows)?),
            b'x' => Verdict::Closed,
            b'w' => Verdict::Moved,
            b'o' => Verdict::Reused,
            b'u' => Verdict::Outside { newest: first.try_get::<_, Option<i64>>(2)?.map(version) },
            b'f' => {
                let entry = self.entry(first, 1)?;
                let stored =
                    Stored { version: first.try_get(2)?, format: first.try_get(5)?, checksum: 0, value: &[] };
                match stored.decode(self.namespace, entry.id) {
                    Err(corrupt) => Verdict::Corrupt(corrupt),
                    Ok(_) => Verdict::Disturbed,
                }
            }
            _ => {
                let mut mismatches = Vec::with_capacity(rows.len());
                for row in rows {
                    let entry = self.entry(row, 1)?;
                    let stored = row.try_get::<_, Option<i64>>(2)?.map(|version| {
                        Ok::<_, tokio_postgres::Error>(Stored {
                            version,
                            format: row.try_get(5)?,
                            checksum: row.try_get(6)?,
                            value: row.try_get::<_, Option<&[u8]>>(7)?.unwrap_or_default(),
                        })
                    });
                    let found = match self.found(entry, stored.transpose()?, row.try_get(4)?) {
                        Ok(found) => found,
                        Err(corrupt) => return Ok(Verdict::Corrupt(corrupt)),
                    };
                    mismatches.extend(entry.judge(found).err());
                }
                Conflict::new(mismatches).map_or(Verdict::Disturbed, Verdict::Conflict)
            }
        })
    }

    /// What the rows of a commit that only checks say.
    pub(super) fn verdict_of_checks(&self, rows: &[Row]) -> Result<Verdict, tokio_postgres::Error> {
        if rows.len() != self.entries.len() {
            return Ok(Verdict::Disturbed);
        }
        let (mut mismatches, mut receipts) = (Vec::new(), Vec::with_capacity(rows.len()));
        for row in rows {
            let entry = self.entry(row, 0)?;
            let stored = Stored::at(row, 1)?;
            let version = stored.map(Stored::version);
            if entry.condition.expected.admits(version) {
                receipts.push(Receipt { version, replaced: version });
                continue;
            }
            match self.found(entry, stored, row.try_get(5)?) {
                Ok(found) => mismatches.extend(entry.judge(found).err()),
                Err(corrupt) => return Ok(Verdict::Corrupt(corrupt)),
            }
        }
        Ok(match Conflict::new(mismatches) {
            None => Verdict::Applied(receipts.into_iter().collect()),
            Some(conflict) => Verdict::Conflict(conflict),
        })
    }

    fn found(
        &self,
        entry: &Entry<'_, [u8]>,
        stored: Option<Stored<'_>>,
        deleted: Option<i64>,
    ) -> Result<Found<[u8]>, Corrupt> {
        Ok(match (stored, deleted) {
            (Some(stored), _) => Found::Value(stored.decode(self.namespace, entry.id)?),
            (None, Some(deleted)) => Found::Deleted(version(deleted)),
            (None, None) => Found::Nothing,
        })
    }

    fn entry(&self, row: &Row, column: usize) -> Result<&'c Entry<'c, [u8]>, tokio_postgres::Error> {
        let place: i32 = row.try_get(column)?;
        Ok(&self.entries[place as usize - 1])
    }
}

/// The receipts in rows of verdict, place, version and replaced version.
pub(super) fn receipts(rows: &[Row]) -> Result<Committed, tokio_postgres::Error> {
    let receipt = |row: &Row| {
        let [now, replaced] = [row.try_get::<_, Option<i64>>(2)?, row.try_get(3)?];
        Ok(Receipt { version: now.map(version), replaced: replaced.map(version) })
    };
    rows.iter().map(receipt).collect()
}

/// Whether a commit changes nothing, whatever it finds.
pub(super) fn only_checks(commit: &Commit<'_, [u8]>) -> bool {
    commit.entries().iter().all(|entry| matches!(entry.action, Action::Check))
}

/// Whether what was applied is in the feed.
pub(super) fn changed(commit: &Commit<'_, [u8]>, committed: &Committed) -> bool {
    let deeds = commit.entries().iter().zip(committed.receipts());
    deeds.into_iter().any(|(entry, receipt)| match entry.action {
        Action::Check => false,
        Action::Put(_) | Action::Delete => receipt.version.is_some(),
    })
}

/// PostgreSQL's one-byte type.
fn letter(letter: u8) -> i8 {
    letter as i8
}

fn deed(action: &Action<[u8]>) -> u8 {
    match action {
        Action::Check => b'c',
        Action::Put(_) => b'p',
        Action::Delete => b'd',
    }
}

fn condition(expected: Expected) -> u8 {
    match expected {
        Expected::Any => b'a',
        Expected::Absent => b'n',
        Expected::Present => b'p',
        Expected::Version(_) => b'v',
    }
}

fn named(expected: Expected) -> i64 {
    match expected {
        Expected::Version(version) => column(version),
        Expected::Any | Expected::Absent | Expected::Present => 0,
    }
}
