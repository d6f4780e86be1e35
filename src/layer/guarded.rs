//! [`Guarded`], a layer that refuses what a policy does not allow.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::collection::{Along, Exit, Part, Step};
use crate::store::{
    Abilities, Action, Batch, Changes, Commit, Committed, Cursor, Entry, Error, Expected, Feed, Listed, Page,
    Refusal, Reply, Resolution, Resource, Scan, Start, Store, Versioned, WriteId,
};

/// A layer that refuses what a policy does not allow, before anything is sent. It allows everything at first; each
/// method adds a rule.
///
/// A commit is refused as a whole where any of its entries breaks a rule.
///
/// ```
/// use ifmatch::{Commit, Entry, Error, Expected, Guarded, Memory, Store};
/// use ifmatch::store::Refusal;
///
/// let store = Guarded::new(Memory::<str>::new()).require_expectation().max_bytes(100, str::len);
///
/// let blind = Commit::one(Entry::put("a", Expected::Any, "text".into()));
/// let error = store.commit(blind).wait().unwrap_err();
/// assert!(matches!(error, Error::Refused(Refusal::ExpectationRequired { .. })));
/// ```
pub struct Guarded<S, T: ?Sized> {
    store: S,
    expectation_required: bool,
    size: Option<SizeLimit<T>>,
    allowed: Option<Allowed>,
}

struct SizeLimit<T: ?Sized> {
    bytes: usize,
    measure: fn(&T) -> usize,
}

/// Which ids there are, for those who use the layer. Shared with feeds, which outlive the borrow of the store.
type Allowed = Arc<dyn Fn(&str) -> bool + Send + Sync>;

impl<T: Resource + ?Sized, S: Store<T>> Guarded<S, T> {
    /// `store`, with everything allowed.
    pub fn new(store: S) -> Self {
        Self { store, expectation_required: false, size: None, allowed: None }
    }

    /// Every put and delete must say what it expects: [`Expected::Any`] is refused with
    /// [`Refusal::ExpectationRequired`], HTTP status 428.
    ///
    /// ```
    /// use ifmatch::{Commit, Entry, Expected, Guarded, Memory, Store};
    ///
    /// let store = Guarded::new(Memory::<str>::new()).require_expectation();
    ///
    /// assert!(store.commit(Commit::one(Entry::delete("a", Expected::Any))).wait().is_err());
    /// assert!(store.commit(Commit::one(Entry::delete("a", Expected::Absent))).wait().is_ok());
    /// ```
    pub fn require_expectation(self) -> Self {
        Self { expectation_required: true, ..self }
    }

    /// A value that `measure` finds to have more than `limit` bytes is refused with [`Refusal::TooLarge`], HTTP
    /// status 413.
    ///
    /// ```
    /// use ifmatch::{Commit, Entry, Expected, Guarded, Memory, Store};
    ///
    /// let store = Guarded::new(Memory::<str>::new()).max_bytes(4, |text| text.len());
    ///
    /// assert!(store.commit(Commit::one(Entry::put("a", Expected::Any, "abcd".into()))).wait().is_ok());
    /// assert!(store.commit(Commit::one(Entry::put("a", Expected::Any, "abcde".into()))).wait().is_err());
    /// ```
    pub fn max_bytes(self, limit: usize, measure: fn(&T) -> usize) -> Self {
        Self { size: Some(SizeLimit { bytes: limit, measure }), ..self }
    }

    /// Only ids for which `allowed` holds can be read, checked, written or seen. Called again, it narrows further:
    /// all predicates must hold.
    ///
    /// - `get` and `commit` refuse another id with [`Refusal::NotAllowed`], HTTP status 403, whether it exists or not.
    /// - `scan` leaves other ids out. It reads on until its page is full or the store's end is reached: where few ids
    ///   are allowed, give it a prefix that they share.
    /// - `watch` leaves other ids out. A commit without a change that is allowed still delivers its batch, an empty
    ///   one, so that the cursor moves on; it tells that something was written, and not what.
    ///
    /// The predicate runs for every id, outside every lock. It must say the same of an id for as long as the store
    /// is used, or a feed shows some of its changes and not others.
    ///
    /// ```
    /// use ifmatch::{Error, Guarded, Memory, Store};
    /// use ifmatch::store::Refusal;
    ///
    /// let store = Guarded::new(Memory::<str>::new()).allow_ids(|id| id.starts_with("public/"));
    ///
    /// assert!(store.get("public/a").wait()?.is_none());
    /// assert!(matches!(store.get("secret").wait(), Err(Error::Refused(Refusal::NotAllowed { .. }))));
    /// # Ok::<_, Error>(())
    /// ```
    pub fn allow_ids(self, allowed: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        let allowed: Allowed = match self.allowed {
            Some(before) => Arc::new(move |id: &str| before(id) && allowed(id)),
            None => Arc::new(allowed),
        };
        Self { allowed: Some(allowed), ..self }
    }

    fn check_id(&self, id: &str) -> Result<(), Refusal> {
        match &self.allowed {
            Some(allowed) if !allowed(id) => Err(Refusal::NotAllowed { id: id.into() }),
            _ => Ok(()),
        }
    }

    fn check_all(&self, commit: &Commit<'_, T>) -> Result<(), Refusal> {
        commit.entries().iter().try_for_each(|entry| self.check(entry))
    }

    fn check(&self, entry: &Entry<'_, T>) -> Result<(), Refusal> {
        let id = entry.id;
        self.check_id(id)?;
        let writes = !matches!(entry.action, Action::Check);
        if self.expectation_required && writes && entry.condition.expected == Expected::Any {
            return Err(Refusal::ExpectationRequired { id: id.into() });
        }
        if let (Some(limit), Action::Put(value)) = (&self.size, &entry.action) {
            let bytes = (limit.measure)(value);
            if bytes > limit.bytes {
                return Err(Refusal::TooLarge { id: id.into(), bytes, limit: limit.bytes });
            }
        }
        Ok(())
    }
}

/// In a [`Database`](crate::Database) its rules hold for every commit of the collection.
impl<T: Resource + ?Sized, S: Store<T>> Step<T> for Guarded<S, T> {
    fn enter(&self, part: &Part<'_, T>, _: &mut Along<'_>) -> Result<Exit, Error> {
        self.check_all(part.commit())?;
        Ok(Exit::silent())
    }
}

impl<T: Resource + ?Sized, S: Store<T>> Store<T> for Guarded<S, T> {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<T>>> {
        match self.check_id(id) {
            Ok(()) => self.store.get(id),
            Err(refusal) => Reply::ready(Err(refusal.into())),
        }
    }

    fn commit<'a>(&'a self, commit: Commit<'a, T>) -> Reply<'a, Committed> {
        match self.check_all(&commit) {
            Ok(()) => self.store.commit(commit),
            Err(refusal) => Reply::ready(Err(refusal.into())),
        }
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.store.resolve(write)
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<T>>> {
        let Some(allowed) = &self.allowed else { return self.store.scan(scan) };
        let mut filling = Filling { allowed: &**allowed, scan, items: Vec::new(), after: None };
        let mut answer = match self.store.scan(scan).into_ready() {
            Ok(answer) => answer,
            Err(pending) => {
                return Reply::pending(async move {
                    match filling.add(pending.await) {
                        Some(page) => page,
                        None => filling.fill(&self.store).await,
                    }
                });
            }
        };
        loop {
            if let Some(page) = filling.add(answer) {
                return Reply::ready(page);
            }
            // A pending reply is dropped and asked for again: it borrows from what has to move into the future.
            let ready = self.store.scan(filling.next()).into_ready().ok();
            answer = match ready {
                Some(answer) => answer,
                None => return Reply::pending(filling.fill(&self.store)),
            };
        }
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<T>> {
        let changes = self.store.watch(from);
        let Some(allowed) = &self.allowed else { return changes };
        changes.map(|changes| {
            let cursor = changes.cursor().clone();
            Changes::new(cursor, Filtered { changes, allowed: Arc::clone(allowed), batch: None })
        })
    }

    fn abilities(&self) -> Abilities {
        self.store.abilities()
    }
}

impl<S: Clone, T: ?Sized> Clone for Guarded<S, T> {
    fn clone(&self) -> Self {
        let size = self.size.as_ref().map(|size| SizeLimit { ..*size });
        Self { store: self.store.clone(), size, allowed: self.allowed.clone(), ..*self }
    }
}

impl<S: fmt::Debug, T: ?Sized> fmt::Debug for Guarded<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded")
            .field("store", &self.store)
            .field("expectation_required", &self.expectation_required)
            .field("max_bytes", &self.size.as_ref().map(|size| size.bytes))
            .finish_non_exhaustive()
    }
}

/// A page that is being filled with the allowed ones among the resources of the store's pages.
struct Filling<'a, T: ?Sized> {
    allowed: &'a (dyn Fn(&str) -> bool + Send + Sync),
    /// What the caller asked for.
    scan: Scan<'a>,
    items: Vec<(Arc<str>, Listed<T>)>,
    /// Where the store's next page begins.
    after: Option<Arc<str>>,
}

impl<T: Resource + ?Sized> Filling<'_, T> {
    /// Takes one of the store's pages, and gives the whole answer once it is complete.
    fn add(&mut self, answer: Result<Page<Listed<T>>, Error>) -> Option<Result<Page<Listed<T>>, Error>> {
        let page = match answer {
            Ok(page) => page,
            // What stands there is none of the caller's business, and must not end the scan either.
            Err(Error::Corrupt(corrupt)) if !(self.allowed)(corrupt.id()) => {
                self.after = Some(corrupt.id().into());
                return None;
            }
            // The next page begins with it, and says so.
            Err(Error::Corrupt(_)) if !self.items.is_empty() => return Some(Ok(self.take(true))),
            Err(error) => return Some(Err(error)),
        };
        self.after = page.next().map(Arc::from);
        let more = page.more;
        for (id, listed) in page.items.into_iter().filter(|(id, _)| (self.allowed)(id)) {
            if self.items.len() == self.scan.limit {
                return Some(Ok(self.take(true)));
            }
            self.items.push((id, listed));
        }
        // Without a place to go on from, there is nothing to go on to.
        if self.items.len() < self.scan.limit && self.after.is_some() {
            return None;
        }
        Some(Ok(self.take(more)))
    }

    fn take(&mut self, more: bool) -> Page<Listed<T>> {
        Page { items: std::mem::take(&mut self.items), more }
    }

    /// What the store is asked for next.
    fn next(&self) -> Scan<'_> {
        self.scan.after(self.after.as_deref())
    }

    async fn fill(mut self, store: &impl Store<T>) -> Result<Page<Listed<T>>, Error> {
        loop {
            let answer = store.scan(self.next()).await;
            if let Some(page) = self.add(answer) {
                return page;
            }
        }
    }
}

/// The feed of the store below, without the ids that are not allowed.
struct Filtered<T: ?Sized> {
    changes: Changes<T>,
    allowed: Allowed,
    /// Taken from below and not delivered yet: a predicate that panics must not make a gap.
    batch: Option<Batch<T>>,
}

impl<T: Resource + ?Sized> Feed<T> for Filtered<T> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch<T>, Error>> {
        let batch = match self.batch.take() {
            Some(batch) => batch,
            None => ready!(self.changes.poll_next(context))?,
        };
        self.batch.insert(batch).changes.retain(|change| (self.allowed)(&change.id));
        Poll::Ready(Ok(self.batch.take().expect("it was put there just now")))
    }

    fn is_idle(&self) -> bool {
        self.batch.is_none() && self.changes.is_idle()
    }

    fn passed(&self) -> Option<&Cursor> {
        self.batch.is_none().then(|| self.changes.cursor())
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::codec::Codec;
    use crate::codec::encoded::Encoded;
    use crate::layer::probe::{Probe, at_once, is_pending, next_of};
    use crate::memory::Memory;
    use crate::store::Corrupt;

    fn refusal<A: fmt::Debug>(answer: Result<A, Error>) -> Refusal {
        match answer {
            Err(Error::Refused(refusal)) => refusal,
            other => panic!("expected a refusal: {other:?}"),
        }
    }

    fn put(id: &str, expected: Expected) -> Commit<'_, str> {
        Commit::one(Entry::put(id, expected, "text".into()))
    }

    /// Allows what begins with `ok`.
    fn only_ok(probe: &Probe<str>) -> Guarded<Probe<str>, str> {
        Guarded::new(probe.clone()).allow_ids(|id| id.starts_with("ok"))
    }

    fn ids<I>(page: &Page<I>) -> Vec<&str> {
        page.items.iter().map(|(id, _)| &**id).collect()
    }

    #[test]
    fn everything_is_allowed_at_first() {
        let probe = Probe::prompt();
        let store = Guarded::new(probe.clone());

        at_once(store.commit(put("a", Expected::Any))).unwrap();
        at_once(store.commit(Commit::one(Entry::delete("b", Expected::Any)))).unwrap();

        assert_eq!(at_once(store.get("a")).unwrap(), probe.peek("a"));
        assert_eq!(ids(&at_once(store.scan(Scan::new("", 9))).unwrap()), ["a"]);
        let _ = at_once(store.watch(Start::Now)).unwrap();
        assert_eq!(store.abilities(), probe.abilities());
    }

    #[test]
    fn a_write_that_expects_nothing_is_refused_where_an_expectation_is_required() {
        let probe = Probe::prompt();
        let store = Guarded::new(probe.clone()).require_expectation();
        let version = probe.set("a", "old");

        let blind = put("b", Expected::Absent).and(Entry::delete("a", Expected::Any));
        for blind in [put("a", Expected::Any), blind] {
            let refusal = refusal(store.commit(blind).wait());
            assert!(matches!(refusal, Refusal::ExpectationRequired { id } if &*id == "a"));
        }
        assert_eq!(probe.calls(), [""; 0]);
        assert!(probe.peek("b").is_none());

        let stated = put("a", Expected::Present)
            .and(Entry::delete("b", Expected::Absent))
            .and(Entry::check("c", Expected::Any));
        store.commit(stated).wait().unwrap();
        assert!(store.commit(put("a", version.into())).wait().unwrap_err().conflict().is_some());
    }

    #[test]
    fn a_value_that_measures_too_much_is_refused_before_anything_is_sent() {
        let probe = Probe::<str>::prompt();
        let store = Guarded::new(probe.clone()).max_bytes(3, |text| text.len());

        let three = Commit::one(Entry::put("a", Expected::Any, "abc".into()));
        let four = three.clone().and(Entry::put("b", Expected::Any, "abcd".into()));

        let refusal = refusal(store.commit(four).wait());
        assert!(matches!(refusal, Refusal::TooLarge { id, bytes: 4, limit: 3 } if &*id == "b"));
        assert_eq!(probe.calls(), [""; 0]);
        store.commit(three).wait().unwrap();
    }

    #[test]
    fn an_id_that_is_not_allowed_is_neither_read_nor_checked_nor_written() {
        let probe = Probe::prompt();
        let store = only_ok(&probe);
        probe.set("no", "s3cr3t");

        let not_allowed = [
            refusal(store.get("no").wait().map(drop)),
            refusal(store.get("no such").wait().map(drop)),
            refusal(store.commit(put("no", Expected::Any)).wait().map(drop)),
            refusal(store.commit(Commit::one(Entry::check("no", Expected::Absent))).wait().map(drop)),
            refusal(
                store
                    .commit(put("ok", Expected::Any).and(Entry::delete("no", Expected::Any)))
                    .wait()
                    .map(drop),
            ),
        ];

        for refusal in not_allowed {
            assert!(matches!(refusal, Refusal::NotAllowed { id } if id.starts_with("no")));
        }
        assert_eq!(probe.calls(), [""; 0]);
        assert!(probe.peek("ok").is_none());
        store.commit(put("ok", Expected::Any)).wait().unwrap();
        assert!(store.get("ok").wait().unwrap().is_some());
    }

    #[test]
    fn all_predicates_must_hold() {
        let store = only_ok(&Probe::prompt()).allow_ids(|id| id.ends_with('!'));

        assert!(store.get("ok!").wait().is_ok());
        for id in ["ok", "no!", "no"] {
            assert!(store.get(id).wait().is_err());
        }
    }

    #[test]
    fn a_scan_shows_allowed_ids_only_and_fills_its_pages() {
        for probe in [Probe::prompt(), Probe::late()] {
            let store = only_ok(&probe);
            for number in 0..10 {
                probe.set(&format!("no{number}"), "s3cr3t");
            }
            for id in ["a", "ok1", "ok2", "ok3", "ok5", "z1", "z2", "z3"] {
                probe.set(id, "text");
            }

            let first = store.scan(Scan::new("", 2)).wait().unwrap();
            let second = store.scan(Scan::new("", 2).after(first.next())).wait().unwrap();

            assert_eq!((ids(&first), first.more), (vec!["ok1", "ok2"], true));
            assert_eq!(ids(&second), ["ok3", "ok5"]);
            if let Some(next) = second.next() {
                let third = store.scan(Scan::new("", 2).after(Some(next))).wait().unwrap();
                assert_eq!((ids(&third), third.more), (vec![], false));
            }
            assert_eq!(first.items[0].1, probe.peek("ok1").unwrap().into());
            let of_ids = store.scan(Scan::new("", 2).without_values()).wait().unwrap();
            assert!(of_ids.items.iter().all(|(_, listed)| listed.value.is_none()));
            assert_eq!(of_ids.without_values(), first.clone().without_values());
            let all = store.scan(Scan::new("", 99)).wait().unwrap();
            assert_eq!((ids(&all), all.more), (vec!["ok1", "ok2", "ok3", "ok5"], false));
            let none = store.scan(Scan::new("no", 3)).wait().unwrap();
            assert_eq!((ids(&none), none.more), (vec![], false));
            assert!(matches!(refusal(store.scan(Scan::new("", 0)).wait()), Refusal::EmptyPage));
        }
    }

    #[test]
    fn a_page_cut_short_says_that_there_is_more() {
        let probe = Probe::prompt();
        for id in ["no", "ok1", "ok2", "ok3"] {
            probe.set(id, "text");
        }

        // The store's second page has one resource that fits and one that does not.
        let page = only_ok(&probe).scan(Scan::new("", 2)).wait().unwrap();

        assert_eq!((ids(&page), page.more), (vec!["ok1", "ok2"], true));
    }

    #[test]
    fn ready_stays_ready_over_many_pages_and_pending_pending() {
        let prompt = Probe::prompt();
        let late = Probe::late();
        for number in 0..1000 {
            prompt.set(&format!("no{number}"), "text");
            late.set(&format!("no{number}"), "text");
        }

        assert!(at_once(only_ok(&prompt).scan(Scan::new("", 1))).unwrap().items.is_empty());
        assert!(is_pending(only_ok(&late).scan(Scan::new("", 1))));
        assert!(only_ok(&late).scan(Scan::new("", 1)).wait().unwrap().items.is_empty());
    }

    /// Decodes nothing that contains `?`.
    struct Text;

    impl Codec<String> for Text {
        fn encode(&self, value: &String) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
            Ok(value.clone().into_bytes())
        }

        fn decode(&self, bytes: &[u8]) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
            let text = std::str::from_utf8(bytes)?;
            if text.contains('?') { Err("not text".into()) } else { Ok(text.to_owned()) }
        }
    }

    #[test]
    fn corrupt_bytes_of_another_id_neither_show_nor_end_a_scan() {
        for probe in [Probe::prompt(), Probe::late()] {
            for (id, text) in [("a", "?"), ("m", "?"), ("n", "?"), ("ok1", "1"), ("ok2", "?"), ("ok3", "3")] {
                probe.set(id, text.as_bytes());
            }
            let store: &dyn Store<String> =
                &Guarded::new(Encoded::new(probe, Text)).allow_ids(|id| id.starts_with("ok"));

            let first = store.scan(Scan::new("", 9)).wait().unwrap();
            let corrupt = store.scan(Scan::new("", 9).after(first.next())).wait().unwrap_err();
            let rest = store.scan(Scan::new("", 9).after(Some("ok2"))).wait().unwrap();

            assert_eq!((ids(&first), first.more), (vec!["ok1"], true));
            assert!(matches!(corrupt, Error::Corrupt(corrupt) if corrupt.id() == "ok2"));
            assert_eq!((ids(&rest), rest.more), (vec!["ok3"], false));
        }
    }

    #[test]
    fn a_failure_ends_a_scan() {
        let probe = Probe::<str>::prompt();
        let allowed = |_: &str| true;
        let scan = Scan::new("", 1);
        let mut filling = Filling::<str> { allowed: &allowed, scan, items: Vec::new(), after: None };
        let corrupt = || Corrupt::new("ok", probe.set("ok", "text"), "odd");

        assert!(matches!(filling.add(Err(corrupt().into())), Some(Err(Error::Corrupt(_)))));
        assert!(matches!(filling.add(Err(Refusal::Cursor.into())), Some(Err(Error::Refused(_)))));
    }

    #[test]
    fn a_feed_shows_allowed_ids_only_and_every_cursor() {
        let probe = Probe::prompt();
        let store = only_ok(&probe);
        let mut all = probe.watch(Start::Now).wait().unwrap();
        let mut changes = store.watch(Start::Now).wait().unwrap();
        assert_eq!(all.cursor(), changes.cursor());
        let began = changes.cursor().clone();

        probe.set("no", "s3cr3t");
        probe
            .commit(put("no way", Expected::Any).and(Entry::put("ok", Expected::Any, "text".into())))
            .wait()
            .unwrap();

        let hidden = next_of(&mut changes).unwrap();
        let seen = next_of(&mut changes).unwrap();
        assert_eq!(hidden.cursor, next_of(&mut all).unwrap().cursor);
        assert!(hidden.changes.is_empty());
        assert_eq!(seen.cursor, next_of(&mut all).unwrap().cursor);
        assert_eq!(seen.changes.iter().map(|change| &*change.id).collect::<Vec<_>>(), ["ok"]);
        let mut again = store.watch(Start::After(began)).wait().unwrap();
        assert!(next_of(&mut again).unwrap().changes.is_empty());
    }

    #[test]
    fn a_panic_in_the_predicate_makes_no_gap_in_a_feed() {
        let probe = Probe::<str>::prompt();
        let calm = Arc::new(AtomicBool::new(false));
        let calmed = Arc::clone(&calm);
        let store =
            Guarded::new(probe.clone()).allow_ids(move |id| id == "a" || calmed.load(Ordering::Relaxed));
        let mut changes = store.watch(Start::Now).wait().unwrap();
        let mut panicky = store
            .allow_ids(|id| id != "b" || panic!("the predicate's own"))
            .watch(Start::Now)
            .wait()
            .unwrap();
        let both = Commit::one(Entry::put("a", Expected::Any, "text".into()));
        probe.commit(both.and(Entry::put("b", Expected::Any, "text".into()))).wait().unwrap();

        calm.store(true, Ordering::Relaxed);
        assert!(catch_unwind(AssertUnwindSafe(|| next_of(&mut panicky))).is_err());
        calm.store(false, Ordering::Relaxed);

        let expected = next_of(&mut changes).unwrap();
        let delivered = next_of(&mut panicky).unwrap();
        assert_eq!(delivered.cursor, expected.cursor);
        assert_eq!(delivered.changes.iter().map(|change| &*change.id).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn a_store_that_is_late_only_at_times_is_scanned_to_its_end() {
        for prompt_calls in 0..5 {
            let probe = Probe::prompt_for(prompt_calls);
            for id in ["no1", "no2", "no3", "ok1", "ok2"] {
                probe.set(id, "text");
            }

            let page = only_ok(&probe).scan(Scan::new("", 1)).wait().unwrap();

            assert_eq!((ids(&page), page.more), (vec!["ok1"], true));
        }
    }

    #[test]
    fn a_clone_has_the_same_rules() {
        let store = only_ok(&Probe::prompt()).require_expectation().max_bytes(3, str::len).clone();

        assert!(matches!(refusal(store.get("no").wait()), Refusal::NotAllowed { .. }));
        let blind = store.commit(put("ok", Expected::Any)).wait();
        assert!(matches!(refusal(blind), Refusal::ExpectationRequired { .. }));
        let large = store.commit(put("ok", Expected::Absent)).wait();
        assert!(matches!(refusal(large), Refusal::TooLarge { .. }));
    }

    #[test]
    fn the_type_of_values_is_inferred_also_behind_a_pointer() {
        fn layered<T: Resource + ?Sized, S: Store<T>>(
            store: Arc<dyn Store<T>>,
            layer: impl FnOnce(Arc<dyn Store<T>>) -> S,
        ) -> Arc<dyn Store<T>> {
            Arc::new(layer(store))
        }

        let store: Arc<dyn Store<String>> = Arc::new(Memory::new());
        let store = layered(store, |store| Guarded::new(store).require_expectation());
        let store = layered(store, |store| Guarded::new(store).max_bytes(3, |text| text.len()));
        let store = layered(store, Guarded::new);

        assert!(store.get("a").wait().unwrap().is_none());
    }
}
