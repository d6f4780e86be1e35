//! [`Shared`], what a [`Postgres`](super::Postgres), its calls and its watchers have in common.

use std::sync::Arc;
use std::time::Duration;

use super::options::Options;
use super::parameters::{Parameters, Verdict, changed, receipts};
use super::place::Place;
use super::session;
use super::session::{Budget, Engine};
use super::sql::Sql;
use super::stored::{Head, Stored, bytes, key};
use super::trim::Trimming;
use super::trouble::{Cause, Trouble};
use super::watchers::Watchers;
use crate::backend::engine::{Deadlines, Runtime};
use crate::backend::limits::Limits;
use crate::base::random;
use crate::store::{
    Commit, Committed, Durability, Error, Failure, Listed, Outcome, Page, Refusal, Resolution, Scan,
    Versioned, WriteId, check_id,
};

/// The most entries one commit may have.
pub(super) const ENTRIES: usize = 1_000;

/// The most bytes the values of one commit may have.
const COMMIT_BYTES: usize = 64 << 20;

/// How long a trim of the history may take.
const LONGEST_TRIM: Duration = Duration::from_secs(60);

/// What is wrong where the row of a namespace is gone.
pub(super) const EMPTIED: &str = "the tables of the store were emptied or replaced";

/// What the calls, the feeds and the tasks of a store share.
pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) sql: Sql,
    pub(super) place: Place,
    pub(super) deadlines: Deadlines,
    pub(super) durability: Durability,
    pub(super) value_limit: usize,
    pub(super) watchers: Watchers,
    pub(super) trimming: Trimming,
    // Last, so that everything above is dropped while it is there.
    pub(super) runtime: Runtime,
}

impl Shared {
    pub(super) fn new(
        options: Options,
        engine: Engine,
        sql: Sql,
        durability: Durability,
        runtime: Runtime,
    ) -> Self {
        Self {
            engine,
            sql,
            place: options.place,
            deadlines: options.deadlines,
            durability,
            value_limit: options.value_limit,
            watchers: Watchers::default(),
            trimming: Trimming::new(options.history),
            runtime,
        }
    }

    pub(super) async fn get(&self, id: &str) -> Result<Option<Versioned<[u8]>>, Error> {
        let namespace = &self.place.namespace;
        let budget = Budget::new(self.deadlines.read);
        let rows = self.engine.ask(budget, &self.sql.get, &[namespace, &id]).await;
        let rows = rows.map_err(|trouble| self.read_failure(trouble))?;
        let Some(row) = rows.first() else { return Ok(None) };
        let stored = Stored::at(row, 0).map_err(|error| self.misread(&error))?;
        Ok(stored.map(|stored| stored.decode(namespace, id)).transpose()?)
    }

    pub(super) async fn scan(&self, scan: Scan<'_>) -> Result<Page<Listed<[u8]>>, Error> {
        let Scan { prefix, after, limit, values } = scan;
        let namespace = &self.place.namespace;
        let Some(range) = Range::new(prefix, after) else {
            return Ok(Page { items: Vec::new(), more: false });
        };
        let most = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let budget = Budget::new(self.deadlines.read);
        let parameters: [session::Parameter<'_>; 5] =
            [namespace, &range.from, &range.without, &range.before, &most];
        let statement = if values { &self.sql.scan } else { &self.sql.scan_ids };
        let rows = self.engine.ask(budget, statement, &parameters).await;
        let rows = rows.map_err(|trouble| self.read_failure(trouble))?;
        let mut page = Page { items: Vec::with_capacity(rows.len().min(limit)), more: rows.len() > limit };
        for row in rows.iter().take(limit) {
            let id: &str = row.try_get(0).map_err(|error| self.misread(&error))?;
            let listed = match values {
                true => {
                    Stored::at(row, 1).map(|row| row.map(|row| row.decode(namespace, id).map(Listed::from)))
                }
                false => Head::at(row, 1).map(|row| row.map(|row| row.decode(id).map(Listed::from))),
            };
            let Some(listed) = listed.map_err(|error| self.misread(&error))? else { continue };
            if !page.add(id.into(), listed)? {
                break;
            }
        }
        Ok(page)
    }

    pub(super) async fn commit(self: &Arc<Self>, commit: &Commit<'_, [u8]>) -> Result<Committed, Error> {
        if let Some(hindered) = self.trimming.hindered() {
            self.count_commit();
            return Err(self.failure(hindered));
        }
        let given = Parameters::new(&self.place.namespace, commit, self.trimming.most());
        let write = commit.remembered_write();
        let budget = Budget::new(self.deadlines.commit);
        // Whether it may have reached the engine before. Then only its write id tells what became of it.
        let mut sent = false;
        let mut tried = 0;
        loop {
            let share = if write.is_some() { budget.share() } else { budget.left() };
            let answer = self.send(&given, write, sent, share).await;
            let trouble = match answer {
                Ok(committed) => {
                    if changed(commit, &committed) {
                        self.watchers.hint();
                    }
                    self.count_commit();
                    return Ok(committed);
                }
                Err(Setback::Error(error)) => return Err(error),
                Err(Setback::Trouble(trouble)) => trouble,
                Err(Setback::Moved) => match self.enter(budget).await {
                    // Once more, and nothing was applied. Whoever moves again and again is told at the end of the time.
                    Ok(()) if budget.pause(tried).await => {
                        tried += 1;
                        continue;
                    }
                    Ok(()) => Trouble::NotSent(Cause::new("the rows of the store are moved again and again")),
                    // Whatever became of that: the commit was not applied.
                    Err(Trouble::Lost(cause)) => Trouble::NotSent(cause),
                    Err(trouble) => trouble,
                },
            };
            let again = match &trouble {
                Trouble::NotSent(_) => sent || tried == 0,
                Trouble::Starting(_) => true,
                Trouble::Lost(_) => {
                    sent = true;
                    write.is_some()
                }
                Trouble::Refused(..) => trouble.is_collision() || trouble.is_wait(),
            };
            if !again || !budget.pause(tried).await {
                if trouble.is_exhaustion() && !sent {
                    return Err(Refusal::VersionsExhausted.into());
                }
                let outcome = if sent { Outcome::Unknown } else { Outcome::NotApplied };
                return Err(failed(outcome, write, trouble.into_cause()));
            }
            tried += 1;
        }
    }

    /// Sends a commit once.
    async fn send(
        &self,
        given: &Parameters<'_>,
        write: Option<WriteId>,
        sent: bool,
        share: Duration,
    ) -> Result<Committed, Setback> {
        let patience = lock_patience(share);
        let (statement, parameters) = given.statement(&self.sql, &sent, &patience);
        let rows = self.engine.send(share, statement, &parameters).await.map_err(Setback::Trouble)?;
        let verdict = given.verdict(&rows).map_err(|error| Setback::Trouble(Trouble::of_answer(&error)))?;
        self.answer(verdict, write, sent)
    }

    /// What a verdict means to the caller of a commit. `sent` where it may have been sent before.
    fn answer(&self, verdict: Verdict, write: Option<WriteId>, sent: bool) -> Result<Committed, Setback> {
        let error = match (verdict, write) {
            (Verdict::Applied(committed), _) => return Ok(committed),
            (Verdict::Conflict(conflict), _) => conflict.into(),
            (Verdict::Corrupt(corrupt), _) => corrupt.into(),
            (Verdict::Disturbed, _) => return Err(Setback::Trouble(Trouble::disturbed())),
            (Verdict::Moved, _) => return Err(Setback::Moved),
            (Verdict::Closed, Some(write)) => Refusal::Closed { write }.into(),
            (Verdict::Reused, Some(write)) => Refusal::Reused { write }.into(),
            // The refusal says that this sending was the first: who draws anew would write twice.
            (Verdict::Outside { .. }, Some(_)) if sent => failed(
                Outcome::Unknown,
                write,
                Cause::new("it was sent before, and whether that came can't be told"),
            ),
            (Verdict::Outside { newest }, Some(write)) => Refusal::Outside { write, newest }.into(),
            (Verdict::Closed | Verdict::Reused | Verdict::Outside { .. }, None) => {
                self.failure("an answer about another write")
            }
        };
        Err(Setback::Error(error))
    }

    /// A commit that only checks: what stands there at one instant. It can be sent any number of times.
    pub(super) async fn check(&self, commit: &Commit<'_, [u8]>) -> Result<Committed, Error> {
        let given = Parameters::new(&self.place.namespace, commit, self.trimming.most());
        let budget = Budget::new(self.deadlines.commit);
        let rows = self.engine.ask(budget, &self.sql.check, &given.checks()).await;
        let rows = rows.map_err(|trouble| self.read_failure(trouble))?;
        if rows.is_empty() {
            return Err(self.failure(EMPTIED));
        }
        let verdict = given.verdict_of_checks(&rows).map_err(|error| self.misread(&error))?;
        self.answer(verdict, None, false).map_err(|answer| match answer {
            Setback::Error(error) => error,
            Setback::Trouble(trouble) => self.read_failure(trouble),
            Setback::Moved => self.failure("an answer about another statement"),
        })
    }

    pub(super) async fn resolve(self: &Arc<Self>, write: WriteId) -> Result<Resolution, Error> {
        let budget = Budget::new(self.deadlines.read);
        let (bytes, key, most) = (bytes(write).to_vec(), key(write), self.trimming.most());
        let patience = lock_patience(budget.share());
        let parameters: [session::Parameter<'_>; 5] = [&self.place.namespace, &bytes, &key, &most, &patience];
        let (rows, verdict) = loop {
            let rows = self.engine.ask(budget, &self.sql.resolve, &parameters).await;
            let rows = rows.map_err(|trouble| self.read_failure(trouble))?;
            let first = rows.first().ok_or_else(|| self.failure("an answer without rows"))?;
            match first.try_get::<_, i8>(0).map_err(|error| self.misread(&error))? as u8 {
                b'w' => self.enter(budget).await.map_err(|trouble| self.read_failure(trouble))?,
                verdict => break (rows, verdict),
            }
        };
        let entries = &rows[1..];
        Ok(match verdict {
            b'r' => Resolution::Applied(receipts(entries).map_err(|error| self.misread(&error))?),
            b'x' => {
                self.count_commit();
                Resolution::NotApplied
            }
            _ => Resolution::Unknown,
        })
    }

    /// Counts a commit, and trims the history where there were many, in a task of its own: no commit waits for it.
    fn count_commit(self: &Arc<Self>) {
        if !self.trimming.count() {
            return;
        }
        let shared = Arc::clone(self);
        self.runtime.handle().spawn(async move {
            let Self { engine, sql, place, trimming, .. } = &*shared;
            // What can't be trimmed now is trimmed the next time.
            let trimmed =
                engine.ask(Budget::new(LONGEST_TRIM), &sql.trim, &[&place.namespace, &trimming.most()]).await;
            trimming.done(trimmed.map(drop));
        });
    }

    /// Begins the history of the namespace anew, where its rows were carried here from another cluster.
    pub(super) async fn enter(&self, budget: Budget) -> Result<(), Trouble> {
        let epoch = random() as i64;
        self.engine.ask(budget, &self.sql.enter, &[&self.place.namespace, &epoch]).await?;
        Ok(())
    }

    /// Refuses what the store can't hold, before anything is sent.
    pub(super) fn admit(&self, commit: &Commit<'_, [u8]>) -> Result<(), Refusal> {
        Limits { entries: ENTRIES, value: self.value_limit, commit: COMMIT_BYTES }.admit(commit)?;
        for entry in commit.entries() {
            check_id(entry.id)?;
        }
        Ok(())
    }

    pub(super) fn read_failure(&self, trouble: Trouble) -> Error {
        Failure::new(Outcome::NotApplied, trouble.into_cause()).into()
    }

    fn misread(&self, error: &tokio_postgres::Error) -> Error {
        Failure::new(Outcome::NotApplied, Cause::from(error)).into()
    }

    pub(super) fn failure(&self, text: impl Into<String>) -> Error {
        Failure::new(Outcome::NotApplied, Cause::new(text)).into()
    }
}

/// What comes of one try to commit, other than success.
enum Setback {
    Error(Error),
    Trouble(Trouble),
    /// The rows are not of this cluster. Nothing was applied.
    Moved,
}

/// How many milliseconds the engine may wait for locks: it gives up before we do, so that the answer is certain.
pub(super) fn lock_patience(share: Duration) -> i32 {
    i32::try_from((share * 9 / 10).as_millis()).unwrap_or(i32::MAX).max(1)
}

pub(super) fn failed(outcome: Outcome, write: Option<WriteId>, cause: Cause) -> Error {
    let failure = Failure::new(outcome, cause);
    match write {
        Some(write) if outcome == Outcome::Unknown => failure.with_write(write).into(),
        _ => failure.into(),
    }
}

/// Which ids a scan wants: from one on, without another, to before a third.
struct Range<'s> {
    from: &'s str,
    without: &'s str,
    before: String,
}

impl<'s> Range<'s> {
    /// `None` where no id can be in it.
    fn new(prefix: &'s str, after: Option<&'s str>) -> Option<Self> {
        if prefix.contains('\0') {
            return None;
        }
        let before = end_of(prefix);
        Some(match after {
            // No id has a U+0000: what comes after such a text comes after its part before it.
            Some(after) if after >= prefix => {
                let after = after.split('\0').next().unwrap_or_default();
                Self { from: after, without: after, before }
            }
            _ => Self { from: prefix, without: "", before },
        })
    }
}

/// The first text after all that begin with `prefix`, in byte order, which is the order of code points.
pub(super) fn end_of(prefix: &str) -> String {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            characters.push(next);
            return characters.into_iter().collect();
        }
    }
    // Longer than any id of the last characters there are.
    char::MAX.to_string().repeat(129)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_right_after_the_last_id_with_its_prefix() {
        let ends = [
            ("a", "b"),
            ("a/", "a0"),
            ("a\u{d7ff}", "a\u{e000}"),
            ("a\u{10ffff}", "b"),
            ("a\u{10ffff}\u{10ffff}", "b"),
            ("\u{7f}", "\u{80}"),
        ];
        for (prefix, end) in ends {
            assert_eq!(end_of(prefix), end);
        }
        for everything in ["", "\u{10ffff}"] {
            assert!(end_of(everything) > "\u{10ffff}".repeat(128));
        }
    }

    #[test]
    fn a_range_begins_at_its_prefix_or_after_what_was_told() {
        let range = |prefix, after| Range::new(prefix, after).map(|range| (range.from, range.without));

        assert_eq!(range("b", None), Some(("b", "")));
        assert_eq!(range("b", Some("a")), Some(("b", "")));
        assert_eq!(range("b", Some("ba")), Some(("ba", "ba")));
        assert_eq!(range("b", Some("ba\0c")), Some(("ba", "ba")));
        assert_eq!(range("b\0", None), None);
    }
}
