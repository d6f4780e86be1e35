//! [`Postgres`], a store in a PostgreSQL database.

mod alarm;
mod cursor;
mod news;
mod open;
mod options;
mod order;
mod place;
mod session;
mod sql;
mod stored;
#[cfg(feature = "postgres-tls")]
mod tls;
mod trim;
mod trouble;
mod watch;
mod watchers;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::engine::{ConnectError, Deadlines, Runtime};
use crate::backend::limits::Limits;
use crate::store::{
    Abilities, Changes, Commit, Committed, Durability, Error, Failure, Listed, Outcome, Page, Refusal, Reply,
    Resolution, Scan, Start, Store, Versioned, WriteId, check_id,
};
use order::{Order, Verdict, changed, only_checks, receipts};
use place::Place;
use session::{Budget, Engine};
use sql::Sql;
use stored::{Head, Stored, bytes, key};
use trim::Trimming;
use trouble::{Cause, Trouble};
use watchers::Watchers;

pub use options::Options;

/// The most entries one commit may have: each takes a lock, and the server has room for some 6,400.
const ENTRIES: usize = 1_000;

/// The most bytes the values of one commit may have.
const COMMIT_BYTES: usize = 64 << 20;

/// How long a trim of the history may take.
const LONGEST_TRIM: Duration = Duration::from_secs(60);

/// What is wrong where the row of a collection is gone.
const EMPTIED: &str = "the tables of the store were emptied or replaced";

/// A store in a PostgreSQL database, 13 or later.
///
/// A store of bytes: [`Collection::json`](crate::Collection::json) keeps a program's own types in it. Any number of
/// processes may have the same collection open. It makes its own tables; see [`options`](Self::options) for their names,
/// for several collections in one place, and for limits.
///
/// # Cost
///
/// A read, a commit of any size, and a conflict with the value that stood there are one round trip each. A commit calls
/// a function that takes its locks first, so that each of its statements sees what was committed before: no retries, no
/// open transaction that somebody may leave behind, and the conflict tells the truth. A conflict writes nothing. A page is
/// one statement, and one without values reads none of those that stand outside of their rows.
///
/// A commit writes its row, and a row of the log for the feed and its write id. Calls under way have a connection each.
/// While somebody watches, the store asks the server for commits of other processes every 20 to 50 milliseconds, once
/// for all watchers; its own commits reach them at once.
///
/// # Versions
///
/// One sequence serves all collections of a place, and starts at a random number. A version has 24 random bits of its commit
/// beside it, so that a number that is issued again, after the server lost its newest commits or was restored from a
/// backup, matches an old version with a chance of one in 16 million. All entries of a commit share a version.
///
/// # Limits
///
/// - Ids have 1 to 512 bytes and no U+0000. Values have at most 1 MiB, see [`Options::value_limit`]; a commit at most 1,000
///   entries and 64 MiB.
/// - The feed, write ids and deletions reach back 100,000 commits, see [`Options::history`]. A cursor from before that
///   is [`Expired`](crate::store::Expired), and a write id from before that is refused, and [`Resolution::Unknown`]. Of the
///   ids that were resolved as not applied it keeps as many; while these are not yet outdated, further ones are
///   [`Resolution::Unknown`].
/// - A record whose format is unknown gives way only to a write that names its version. One whose bytes are damaged and
///   whose columns are whole is told to whoever reads it, and gives way to a put or a delete that expects
///   [`Any`](crate::Expected::Any) or [`Present`](crate::Expected::Present) too: before release 18 a server has no function
///   for our checksum, and to have the client compare it first would be another round trip of each such write. The
///   server's own `data_checksums` finds damage on its disk before that.
/// - A transaction of anybody that stays open for long keeps the log from being trimmed, as it keeps PostgreSQL from
///   cleaning up its tables.
/// - Each transaction must see the latest state: the default isolation level has to be `read committed`, which
///   connections of our own set by themselves, and replicas are refused.
/// - A proxy that pools transactions, as PgBouncer does, needs [`Options::unprepared`]; without it, opening fails.
///
/// # Durability
///
/// The settings of the server are read once, when the store is opened. With `fsync`, `full_page_writes` and
/// `synchronous_commit` on, as they are by default, an acknowledged commit survives a crash of the server and of its
/// machine. A failover to a replica that is not synchronous (`synchronous_standby_names`) may lose the newest commits;
/// what was lost then is lost, and no old version or cursor matches what is written in its place.
///
/// # Failures
///
/// A commit whose connection broke is sent again under its write id, which the store recognises, until its deadline
/// passes; then it comes back with [`Outcome::Unknown`], and [`resolve`](Store::resolve) tells what became of it. Without
/// a write id it is unknown at once. So is one whose id was outdated when it was sent again, or that conflicted then and
/// whose id could not be closed. A commit that waits too long for the locks of others, and one that the server refuses,
/// come back with [`Outcome::NotApplied`]. Connections are made anew as they are needed.
///
/// ```no_run
/// use ifmatch::{Collection, Postgres};
///
/// let store = Postgres::connect("postgres://app@localhost/app").wait()?;
/// let notes = Collection::<String>::json(store);
/// notes.create("readme", "hello".to_string()).wait()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Postgres {
    shared: Arc<Shared>,
}

/// What the calls, the feeds and the tasks of a store share.
struct Shared {
    engine: Engine,
    sql: Sql,
    place: Place,
    deadlines: Deadlines,
    durability: Durability,
    value_limit: usize,
    watchers: Watchers,
    trimming: Trimming,
    // Last, so that everything above is dropped while it is there.
    runtime: Runtime,
}

impl Postgres {
    /// Opens the collection `default` in the database of this URL, with the options that nothing else was said for.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], which shows neither the URL nor the login.
    pub fn connect(url: &str) -> Reply<'static, Self, ConnectError> {
        Self::options().connect(url)
    }

    /// The options to open a store with.
    ///
    /// ```no_run
    /// use ifmatch::Postgres;
    ///
    /// let store = Postgres::options().collection("drafts").connect("postgres://app@localhost/app").wait()?;
    /// # Ok::<_, ifmatch::engine::ConnectError>(())
    /// ```
    pub fn options() -> Options {
        Options::new()
    }
}

impl From<Shared> for Postgres {
    fn from(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("place", &self.shared.place).finish_non_exhaustive()
    }
}

impl Shared {
    fn new(options: Options, engine: Engine, sql: Sql, durability: Durability, runtime: Runtime) -> Self {
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

    async fn get(&self, id: &str) -> Result<Option<Versioned<[u8]>>, Error> {
        let collection = &self.place.collection;
        let budget = Budget::new(self.deadlines.read);
        let rows = self.engine.ask(budget, &self.sql.get, &[collection, &id]).await;
        let rows = rows.map_err(|trouble| self.read_failure(trouble))?;
        let Some(row) = rows.first() else { return Ok(None) };
        let stored = Stored::at(row, 0).map_err(|error| self.misread(&error))?;
        Ok(stored.map(|stored| stored.decode(collection, id)).transpose()?)
    }

    async fn scan(&self, scan: Scan<'_>) -> Result<Page<Listed<[u8]>>, Error> {
        let Scan { prefix, after, limit, values } = scan;
        let collection = &self.place.collection;
        let Some(range) = Range::new(prefix, after) else {
            return Ok(Page { items: Vec::new(), more: false });
        };
        let most = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let budget = Budget::new(self.deadlines.read);
        let parameters: [session::Parameter<'_>; 5] =
            [collection, &range.from, &range.without, &range.before, &most];
        let statement = if values { &self.sql.scan } else { &self.sql.scan_ids };
        let rows = self.engine.ask(budget, statement, &parameters).await;
        let rows = rows.map_err(|trouble| self.read_failure(trouble))?;
        let mut page = Page { items: Vec::with_capacity(rows.len().min(limit)), more: rows.len() > limit };
        for row in rows.iter().take(limit) {
            let id: &str = row.try_get(0).map_err(|error| self.misread(&error))?;
            let listed = match values {
                true => {
                    Stored::at(row, 1).map(|row| row.map(|row| row.decode(collection, id).map(Listed::from)))
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

    async fn commit(self: &Arc<Self>, commit: &Commit<'_, [u8]>) -> Result<Committed, Error> {
        let order = Order::new(&self.place.collection, commit, self.trimming.most());
        let write = commit.remembered_write();
        let budget = Budget::new(self.deadlines.commit);
        // Whether it may have reached the engine before. Then only its write id tells what became of it.
        let mut sent = false;
        let mut tried = 0;
        loop {
            let share = if write.is_some() { budget.share() } else { budget.left() };
            let answer = self.send(&order, write, sent, share).await;
            let trouble = match answer {
                Ok(committed) => {
                    if changed(commit, &committed) {
                        self.watchers.hint();
                    }
                    self.count_commit();
                    return Ok(committed);
                }
                Err(Answer::Error(error)) => return Err(error),
                Err(Answer::Trouble(trouble)) => trouble,
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
        order: &Order<'_>,
        write: Option<WriteId>,
        sent: bool,
        share: Duration,
    ) -> Result<Committed, Answer> {
        let patience = lock_patience(share);
        let (statement, parameters) = order.statement(&self.sql, &sent, &patience);
        let rows = self.engine.send(share, statement, &parameters).await.map_err(Answer::Trouble)?;
        let verdict = order.verdict(&rows).map_err(|error| Answer::Trouble(Trouble::of_answer(&error)))?;
        self.answer(verdict, write, sent)
    }

    /// What a verdict means to the caller of a commit. `sent` where it may have been sent before.
    fn answer(&self, verdict: Verdict, write: Option<WriteId>, sent: bool) -> Result<Committed, Answer> {
        let error = match (verdict, write) {
            (Verdict::Applied(committed), _) => return Ok(committed),
            (Verdict::Conflict(conflict), _) => conflict.into(),
            (Verdict::Corrupt(corrupt), _) => corrupt.into(),
            (Verdict::Disturbed, _) => return Err(Answer::Trouble(Trouble::disturbed())),
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
        Err(Answer::Error(error))
    }

    /// A commit that only checks: what stands there at one instant. It can be sent any number of times.
    async fn check(&self, commit: &Commit<'_, [u8]>) -> Result<Committed, Error> {
        let order = Order::new(&self.place.collection, commit, self.trimming.most());
        let budget = Budget::new(self.deadlines.commit);
        let rows = self.engine.ask(budget, &self.sql.check, &order.checks()).await;
        let rows = rows.map_err(|trouble| self.read_failure(trouble))?;
        if rows.is_empty() {
            return Err(self.failure(EMPTIED));
        }
        let verdict = order.verdict_of_checks(&rows).map_err(|error| self.misread(&error))?;
        self.answer(verdict, None, false).map_err(|answer| match answer {
            Answer::Error(error) => error,
            Answer::Trouble(trouble) => self.read_failure(trouble),
        })
    }

    async fn resolve(self: &Arc<Self>, write: WriteId) -> Result<Resolution, Error> {
        let budget = Budget::new(self.deadlines.read);
        let (bytes, key, most) = (bytes(write).to_vec(), key(write), self.trimming.most());
        let patience = lock_patience(budget.share());
        let parameters: [session::Parameter<'_>; 5] =
            [&self.place.collection, &bytes, &key, &most, &patience];
        let rows = self.engine.ask(budget, &self.sql.resolve, &parameters).await;
        let rows = rows.map_err(|trouble| self.read_failure(trouble))?;
        let (first, entries) = rows.split_first().ok_or_else(|| self.failure("an answer without rows"))?;
        Ok(match first.try_get::<_, i8>(0).map_err(|error| self.misread(&error))? as u8 {
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
            let _ = engine
                .ask(Budget::new(LONGEST_TRIM), &sql.trim, &[&place.collection, &trimming.most()])
                .await;
            trimming.done();
        });
    }

    /// Refuses what the store can't hold, before anything is sent.
    fn admit(&self, commit: &Commit<'_, [u8]>) -> Result<(), Refusal> {
        Limits { entries: ENTRIES, value: self.value_limit, commit: COMMIT_BYTES }.admit(commit)?;
        for entry in commit.entries() {
            check_id(entry.id)?;
        }
        Ok(())
    }

    fn read_failure(&self, trouble: Trouble) -> Error {
        Failure::new(Outcome::NotApplied, trouble.into_cause()).into()
    }

    fn misread(&self, error: &tokio_postgres::Error) -> Error {
        Failure::new(Outcome::NotApplied, Cause::from(error)).into()
    }

    fn failure(&self, text: impl Into<String>) -> Error {
        Failure::new(Outcome::NotApplied, Cause::new(text)).into()
    }
}

/// What comes of one try to commit, other than success.
enum Answer {
    Error(Error),
    Trouble(Trouble),
}

/// How many milliseconds the engine may wait for locks: it gives up before we do, so that the answer is certain.
fn lock_patience(share: Duration) -> i32 {
    i32::try_from((share * 9 / 10).as_millis()).unwrap_or(i32::MAX).max(1)
}

fn failed(outcome: Outcome, write: Option<WriteId>, cause: Cause) -> Error {
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
fn end_of(prefix: &str) -> String {
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

impl Store<[u8]> for Postgres {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<[u8]>>> {
        // What can't be there need not be asked for.
        if check_id(id).is_err() {
            return Reply::ready(Ok(None));
        }
        self.shared.runtime.reply(self.shared.get(id))
    }

    fn commit<'a>(&'a self, commit: Commit<'a, [u8]>) -> Reply<'a, Committed> {
        if let Err(refusal) = self.shared.admit(&commit) {
            return Reply::ready(Err(refusal.into()));
        }
        if commit.entries().is_empty() {
            return Reply::ready(Ok(Committed::from_iter([])));
        }
        self.shared.runtime.commit(commit.remembered_write(), async move {
            match only_checks(&commit) {
                true => self.shared.check(&commit).await,
                false => self.shared.commit(&commit).await,
            }
        })
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.shared.runtime.reply(self.shared.resolve(write))
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<[u8]>>> {
        if scan.limit == 0 {
            return Reply::ready(Err(Refusal::EmptyPage.into()));
        }
        self.shared.runtime.reply(self.shared.scan(scan))
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<[u8]>> {
        self.shared.runtime.reply(watch::watch(&self.shared, from))
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            entries: ENTRIES,
            watch: true,
            tombstones: true,
            durability: self.shared.durability,
            window: self.shared.trimming.history(),
            may_lose_answers: true,
            detects_restore: true,
        }
    }
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
