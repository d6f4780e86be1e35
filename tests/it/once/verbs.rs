//! The verbs on a collection, and transactions, with a key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ifmatch::history::History;
use ifmatch::http::{self, Answer, Keys, Patch, Preconditions};
use ifmatch::lease::Leases;
use ifmatch::merge::Merge;
use ifmatch::store::{
    Abilities, Changes, Committed, Failure, Listed, Outcome, Page, Refusal, Resolution, Scan, WriteId,
};
use ifmatch::{
    Collection, Commit, Conflict, Database, Error, Expected, Memory, Reply, Retry, Start, Store, Versioned,
};

type Note = Vec<u64>;

struct Office {
    office: Database,
    keys: Keys,
    notes: Collection<Note>,
}

/// What an answer comes to: status, entity tag and value, or status and reason.
type Told = Result<(u16, Option<String>, Option<Note>), (u16, &'static str)>;

fn told(answer: Result<Answer<Note>, Error>) -> Told {
    match answer {
        Ok(answer) => {
            let etag = answer.headers().into_iter().find(|(name, _)| *name == "etag").map(|(_, value)| value);
            Ok((answer.status(), etag, answer.body().cloned()))
        }
        Err(error) => Err((http::status(&error), http::reason(&error))),
    }
}

fn request(header: Option<(&'static str, String)>) -> Preconditions {
    let key = ("Idempotency-Key", "\"k1\"".to_owned());
    Preconditions::from_headers(header.into_iter().chain([key]))
}

impl Office {
    fn new() -> Self {
        Self::over(Database::in_memory())
    }

    fn over(office: Database) -> Self {
        let keys = Keys::new(&office, "keys").unwrap();
        let notes = office.collection("notes").unwrap();
        Self { office, keys, notes }
    }

    fn once<Fut: Future<Output = Result<Answer<Note>, Error>> + Send>(
        &self,
        mut request: Preconditions,
        payload: &str,
        call: impl FnOnce(Collection<Note>, Preconditions) -> Fut + Send,
    ) -> Told {
        let key = request.take_key().unwrap().unwrap().request("ann", "PUT", "/notes/a", payload.as_bytes());
        told(self.keys.once(Some(key), &self.notes, |notes| call(notes, request)).wait())
    }

    fn put(&self, header: Option<(&'static str, String)>, note: &[u64]) -> Told {
        let value = note.to_vec();
        self.once(request(header), &format!("{note:?}"), |notes, request| async move {
            notes.put_if("a", &request, value).await
        })
    }

    fn now(&self) -> Option<(String, Note)> {
        let now = self.notes.get("a").wait().unwrap()?;
        Some((format!("\"{}\"", now.version), Note::clone(&now.value)))
    }
}

#[test]
fn a_put_that_was_applied_is_answered_alike_whatever_stands_there_now() {
    for office in [Office::new(), Office::over(Database::new(Memory::<[u8]>::new()))] {
        let base = office.notes.create("a", vec![1]).wait().unwrap();
        let if_match = || Some(("If-Match", format!("\"{}\"", base.version)));

        let first = office.put(if_match(), &[2]);
        let tag = office.now().unwrap().0;
        assert_eq!(first, Ok((200, Some(tag), Some(vec![2]))));
        assert_eq!(office.put(if_match(), &[2]), first, "and not 412");
        office.notes.put("a", vec![3]).wait().unwrap();
        assert_eq!(office.put(if_match(), &[2]), first);
        office.notes.delete("a", Expected::Present).wait().unwrap();
        assert_eq!(office.put(if_match(), &[2]), first);
        assert_eq!(office.put(None, &[2]), first, "the preconditions are not part of what is asked for");

        assert_eq!(office.put(if_match(), &[4]), Err((422, "key-reused")));
        assert_eq!(office.put(None, &[4]), Err((422, "key-reused")));
        assert_eq!(office.now(), None);
    }
}

#[test]
fn a_blind_put_tells_created_from_replaced_each_time() {
    let [new, old] = [Office::new(), Office::new()];
    old.notes.create("a", vec![1]).wait().unwrap();

    for (office, status) in [(new, 201), (old, 200)] {
        let first = office.put(None, &[2]);
        assert_eq!(first.as_ref().map(|told| told.0), Ok(status));
        assert_eq!(office.put(None, &[2]), first);
    }
}

#[test]
fn a_refusal_is_not_kept_and_the_key_is_free() {
    let office = Office::new();
    let stale = || Some(("If-Match", "\"7\"".to_owned()));

    assert_eq!(office.put(stale(), &[2]), Err((412, "missing")));
    office.notes.create("a", vec![1]).wait().unwrap();
    assert_eq!(office.put(stale(), &[2]), Err((412, "stale")));
    assert_eq!(office.put(None, &[3]).map(|told| told.0), Ok(200));
}

#[test]
fn each_verb_is_applied_once() {
    let office = Office::new();
    let ids = ["x", "y"];

    let created = ids.map(|id| {
        office.once(request(None), "create", |notes, request| async move {
            notes.create_if(id, &request, vec![1]).await
        })
    });
    assert_eq!(created[0], created[1]);
    assert!(office.notes.get("y").wait().unwrap().is_none(), "the repeat drew another id");

    let office = Office::new();
    office.notes.create("a", vec![]).wait().unwrap();
    let push = |note: &mut Note| note.push(7);
    let modify = || {
        office.once(request(None), "modify", |notes, request| async move {
            notes.modify_if("a", &request, push).await
        })
    };
    let first = modify();
    assert_eq!((modify(), modify()), (first.clone(), first));
    assert_eq!(office.now().unwrap().1, [7]);

    let office = Office::new();
    office.notes.create("a", vec![]).wait().unwrap();
    let patch = Patch::parse(Some("application/json-patch+json"), br#"[{"op":"add","path":"/-","value":7}]"#)
        .unwrap();
    let patched = || {
        let patch = patch.clone();
        office.once(request(None), "patch", |notes, request| async move {
            notes.apply_if("a", &request, &patch).await
        })
    };
    let first = patched();
    assert_eq!((patched(), patched()), (first.clone(), first));
    assert_eq!(office.now().unwrap().1, [7]);

    let office = Office::new();
    office.notes.create("a", vec![]).wait().unwrap();
    let delete =
        || {
            office.once(request(None), "delete", |notes, request| async move {
                notes.delete_if("a", &request).await
            })
        };
    let first = delete();
    assert_eq!((&first, delete()), (&Ok((204, None, None)), first.clone()), "and not 404");
    office.notes.create("a", vec![1]).wait().unwrap();
    assert_eq!(delete(), first);
    assert_eq!(office.now().unwrap().1, [1], "what came later stays");
}

#[test]
fn what_changed_nothing_changes_nothing_later_either() {
    let office = Office::new();
    office.notes.create("a", vec![7]).wait().unwrap();
    let only = || {
        office.once(request(None), "only 7", |notes, request| async move {
            notes.modify_if("a", &request, |note| *note = vec![7]).await
        })
    };

    let first = only();
    office.notes.put("a", vec![8]).wait().unwrap();

    assert_eq!(only(), first);
    assert_eq!(first.unwrap().2, Some(vec![7]));
    assert_eq!(office.now().unwrap().1, [8]);
}

#[test]
fn a_round_that_was_lost_before_one_that_wrote_nothing_is_not_taken_for_kept() {
    let office = Office::new();
    office.notes.create("a", vec![1]).wait().unwrap();
    let set = |others: bool| {
        let plain = office.notes.clone();
        office.once(request(None), "set", |notes, request| async move {
            let mut first = others;
            let change = |note: &mut Note| {
                if std::mem::take(&mut first) {
                    plain.put("a", vec![2]).wait().unwrap(); // somebody else is faster, with the same
                }
                *note = vec![2];
            };
            notes.modify_if("a", &request, change).await
        })
    };

    let first = set(true);
    office.notes.put("a", vec![3]).wait().unwrap();

    assert_eq!(set(false), first);
    assert_eq!(office.now().unwrap().1, [3]);
}

#[test]
fn of_many_at_once_one_is_applied_and_all_get_its_answer() {
    for round in 0..50 {
        let office = Office::new();
        office.notes.create("a", vec![]).wait().unwrap();
        let answers: Vec<Told> = thread::scope(|scope| {
            let push = |amount: u64| {
                let office = &office;
                scope.spawn(move || {
                    office.once(request(None), &amount.to_string(), |notes, request| async move {
                        notes.modify_if("a", &request, |note| note.push(amount)).await
                    })
                })
            };
            let threads: Vec<_> = (0..8).map(|at| push(at % 2)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });

        let (tag, note) = office.now().unwrap();
        let [winner] = note[..] else { panic!("round {round}: {note:?}") };
        for (at, answer) in answers.into_iter().enumerate() {
            let expected = match at as u64 % 2 == winner {
                true => Ok((200, Some(tag.clone()), Some(vec![winner]))),
                false => Err((422, "key-reused")),
            };
            assert_eq!(answer, expected, "round {round}");
        }
    }
}

#[test]
fn what_the_call_says_of_the_answer_is_as_little_told_the_first_time() {
    let office = Office::new();
    let headers = || {
        let mut request = request(None);
        let key = request.take_key().unwrap().unwrap().request("ann", "POST", "/", b"");
        let create = |notes: Collection<Note>| async move {
            Ok::<_, Error>(notes.create_if("a", &request, vec![1]).await?.at("/inside").without_etag())
        };
        office.keys.once(Some(key), &office.notes, create).wait().unwrap().at("/notes").headers()
    };

    let first = headers();
    assert_eq!(headers(), first);
    assert!(first.contains(&("location", "/notes/a".to_owned())) && first.len() == 2);
}

#[test]
fn a_second_write_of_one_call_is_refused_and_not_told_as_done() {
    let office = Office::new();
    office.notes.create("ann", vec![10]).wait().unwrap();
    office.notes.create("bob", vec![0]).wait().unwrap();
    let transfer = || {
        office.once(request(None), "3", |notes, request| async move {
            drop(notes.modify_if("ann", &request, |note| note[0] -= 3).await?);
            notes.modify_if("bob", &request, |note| note[0] += 3).await
        })
    };

    assert_eq!(transfer(), Err((500, "bad-collection")));
    let now = ["ann", "bob"].map(|id| office.notes.fetch(id).wait().unwrap().value[0]);
    assert_eq!(now, [7, 0], "the first one was applied, and its answer is kept");
    assert_eq!(transfer().unwrap().2, Some(vec![7]));
}

#[cfg(feature = "conformance")]
#[test]
fn of_two_writes_of_one_call_at_once_none_takes_the_other_for_an_earlier_request() {
    // The second one begins so many polls after the first one.
    for behind in 0..8 {
        let store = crate::later::Later { store: Memory::<[u8]>::new(), entries: usize::MAX };
        let office = Office::over(Database::new(store));

        let both = office.once(request(None), "both", |notes, request| async move {
            let first = notes.put_if("a", &request, vec![1]);
            let second = async {
                for _ in 0..behind {
                    tokio::task::yield_now().await;
                }
                notes.put_if("b", &request, vec![1]).await
            };
            let (first, second) = tokio::join!(first, second);
            drop(first?);
            second
        });

        let (status, reason) = both.unwrap_err();
        assert!(matches!((status, reason), (409, "exists") | (500, "bad-collection")), "{behind}: {reason}");
        assert_eq!(office.notes.list("").next().wait().unwrap().unwrap().items.len(), 1);
    }
}

#[test]
fn an_error_of_the_call_after_its_write_is_told_and_the_repeat_is_answered() {
    let office = Office::new();
    let put = || {
        office.once(request(None), "1", |notes, request| async move {
            drop(notes.put_if("a", &request, vec![1]).await?);
            Err(Conflict::state("a", "mail", "the mail could not be sent").into())
        })
    };

    assert_eq!(put(), Err((409, "state")));
    let (tag, note) = office.now().unwrap();
    assert_eq!(put(), Ok((201, Some(tag), Some(note))));
}

#[test]
fn a_write_that_cannot_keep_its_key_is_a_mistake_of_the_program_and_applies_nothing() {
    let office = Office::new();

    let blind = office.once(request(None), "blind", |notes, _| async move {
        Ok(Answer::changed(notes.put("a", vec![1]).await?))
    });
    let several = office.once(request(None), "several", |notes, _| async move {
        let mut tx = notes.transaction();
        tx.create("a", vec![1])?;
        tx.create("b", vec![1])?;
        tx.commit().await?;
        Ok(Answer::changed(notes.fetch("a").await?))
    });

    assert_eq!([blind, several], [const { Err((500, "bad-collection")) }; 2]);
    assert!(office.notes.list("").next().wait().unwrap().is_none());
}

#[test]
fn rules_leases_and_histories_hold_for_the_first_and_not_for_the_repeat() {
    let office = Database::in_memory();
    let (keys, leases) = (Keys::new(&office, "keys").unwrap(), Leases::new(&office, "leases").unwrap());
    let history = History::<Note>::new(&office, "past").unwrap();
    let notes = office
        .define::<Note>("notes")
        .unwrap()
        .recorded(&history)
        .leased(&leases)
        .rule("grows", "a note only grows", |old, new| {
            old.map_or(0, Vec::len) < new.map_or(usize::MAX, Vec::len)
        })
        .open()
        .unwrap();
    notes.create("a", vec![1]).wait().unwrap();
    let office = Office { office, keys, notes };

    assert_eq!(office.put(None, &[]), Err((409, "state")));
    let lease = leases.acquire("a", "bob").wait().unwrap();
    assert_eq!(office.put(None, &[1, 2]), Err((423, "locked")));
    let held = Office { notes: office.notes.under(&lease).unwrap(), ..Office::over(office.office.clone()) };
    let first = held.put(None, &[1, 2]);
    assert_eq!(first.as_ref().map(|told| told.0), Ok(200));

    assert_eq!(office.put(None, &[1, 2]), first, "neither the rule nor the lease is asked");
    assert_eq!(history.of("a").wait().unwrap().versions().count(), 1);
}

#[test]
fn a_merged_answer_is_told_as_merged_again() {
    let office = Database::in_memory();
    let keys = Keys::new(&office, "keys").unwrap();
    let history = History::<serde_json::Value>::new(&office, "past").unwrap();
    let notes = office.define("notes").unwrap().recorded(&history).open().unwrap();
    let note = |a: u64, b: u64| serde_json::json!({"a": a, "b": b});
    let base = notes.create("n", note(0, 0)).wait().unwrap();
    notes.put("n", note(1, 0)).wait().unwrap();
    let merge = Merge::new();

    let put = || {
        let mut request = request(Some(("Merge-Base", format!("\"{}\"", base.version))));
        let key = request.take_key().unwrap().unwrap().request("ann", "PUT", "/n", b"0 1");
        let (merge, history) = (&merge, &history);
        let once = keys.once::<_, Error, _>(Some(key), &notes, |notes| async move {
            notes.merge_if("n", &request, note(0, 1), merge, history).await
        });
        once.wait().unwrap().at("/notes")
    };
    let first = put();
    notes.put("n", note(5, 5)).wait().unwrap();

    let again = put();
    assert!(first.is_merged());
    assert_eq!((again.headers(), again.body()), (first.headers(), first.body()));
    assert_eq!(again.body(), Some(&note(1, 1)));
}

#[test]
fn a_transaction_that_names_the_key_is_applied_once() {
    let office = Office::new();
    let transfer = |amount: u64| {
        let key = request(None).take_key().unwrap().unwrap();
        let key = key.request("ann", "POST", "/transfers", amount.to_string().as_bytes());
        let done = office
            .office
            .transact(async |mut tx| {
                for id in ["a", "b"] {
                    let mut note =
                        tx.get(&office.notes, id).await?.map_or(Note::new(), |note| Note::clone(&note));
                    note.push(amount);
                    tx.put(&office.notes, id, note);
                }
                office.keys.keep_in(&mut tx, &key, &format!("sent {amount}"))?;
                Ok::<_, Error>((tx, format!("sent {amount}")))
            })
            .wait();
        match done {
            Ok(answer) => Ok::<_, Error>(answer),
            Err(error) => Ok(office.keys.answered::<String>(&key).wait()?.ok_or(error)?.value.to_string()),
        }
    };

    assert_eq!((transfer(1).unwrap(), transfer(1).unwrap()), ("sent 1".to_owned(), "sent 1".to_owned()));
    assert_eq!(http::status(&transfer(2).unwrap_err()), 422);
    assert_eq!(*office.notes.fetch("b").wait().unwrap().value, [1]);
}

#[test]
fn a_key_that_nobody_took_is_refused_by_every_call_that_writes() {
    let notes = Collection::<Note>::in_memory();
    notes.create("a", vec![1]).wait().unwrap();
    let any = request(Some(("If-Match", "*".to_owned())));
    let patch = Patch::parse(Some("application/merge-patch+json"), b"[2]").unwrap();

    let refused = [
        notes.put_if("a", &request(None), vec![2]).wait(),
        notes.put_if("a", &any, vec![2]).wait(),
        notes.create_if("b", &request(None), vec![2]).wait(),
        notes.modify_if("a", &any, |note| note.push(2)).wait(),
        notes.patch_if("a", &any, |_| Ok::<_, Error>(vec![2])).wait(),
        notes.apply_if("a", &any, &patch).wait(),
        notes.delete_if("a", &any).wait(),
    ];

    for answer in refused {
        assert_eq!(told(answer), Err((501, "key-not-kept")));
    }
    assert_eq!(told(notes.get_if("a", &request(None)).wait()).map(|told| told.0), Ok(200));
    let bad = Preconditions::from_headers([("Idempotency-Key", "a b")]);
    assert_eq!(told(notes.put_if("a", &bad, vec![2]).wait()), Err((400, "malformed-precondition")));
    assert_eq!(http::status(&bad.clone().take_key().unwrap_err()), 400);
    assert_eq!(*notes.fetch("a").wait().unwrap().value, [1]);
}

#[test]
fn a_key_that_was_taken_is_refused_by_every_handle_that_does_not_keep_it() {
    let office = Office::new();
    let notes = &office.notes;
    notes.create("a", vec![1]).wait().unwrap();
    let mut any = request(Some(("If-Match", "*".to_owned())));
    // Who drops what was taken has no key to write with.
    drop(any.take_key().unwrap());
    assert!(any.take_key().unwrap().is_none());
    let patch = Patch::parse(Some("application/merge-patch+json"), b"[2]").unwrap();

    let refused = [
        notes.put_if("a", &any, vec![2]).wait(),
        notes.create_if("b", &any, vec![2]).wait(),
        notes.modify_if("a", &any, |note| note.push(2)).wait(),
        notes.patch_if("a", &any, |_| Ok::<_, Error>(vec![2])).wait(),
        notes.apply_if("a", &any, &patch).wait(),
        notes.delete_if("a", &any).wait(),
        office.keys.once(None, notes, |notes| async move { notes.put_if("a", &any, vec![2]).await }).wait(),
    ];
    for answer in refused {
        assert_eq!(told(answer), Err((501, "key-not-kept")));
    }

    // One that keeps no key, in place of the one that does.
    let mut keyed = request(Some(("If-Match", "*".to_owned())));
    let key = keyed.take_key().unwrap().map(|key| key.request("ann", "PUT", "/a", b"2"));
    let other = notes.clone();
    let past = office.keys.once(key, notes, |_| async move { other.put_if("a", &keyed, vec![2]).await });
    assert_eq!(told(past.wait()), Err((501, "key-not-kept")));
    assert_eq!(*notes.fetch("a").wait().unwrap().value, [1]);
    assert_eq!(notes.get("b").wait().unwrap(), None);
}

#[test]
fn one_key_is_another_in_another_collection() {
    let office = Office::new();
    let others = office.office.collection::<Note>("others").unwrap();
    for notes in [&office.notes, &others] {
        let mut request = request(Some(("If-None-Match", "*".to_owned())));
        let key = request.take_key().unwrap().map(|key| key.request("ann", "PUT", "/a", b"1"));
        let put =
            office.keys.once(key, notes, |notes| async move { notes.put_if("a", &request, vec![1]).await });
        assert_eq!(told(put.wait()).map(|told| told.0), Ok(201));
        assert!(notes.get("a").wait().unwrap().is_some());
    }
}

#[test]
fn records_of_another_database_are_refused_and_nothing_is_written() {
    let office = Office { keys: Keys::new(&Database::in_memory(), "keys").unwrap(), ..Office::new() };
    assert_eq!(office.put(None, &[1]), Err((500, "bad-collection")));
    let alone = Office { notes: Collection::in_memory(), ..Office::new() };
    assert_eq!(alone.put(None, &[1]), Err((500, "bad-collection")));
    assert_eq!((office.now(), alone.now()), (None, None));
}

#[test]
fn an_error_of_the_programs_own_is_told_as_it_is() {
    #[derive(Debug)]
    enum Own {
        Full,
        Store(Error),
    }
    impl From<Error> for Own {
        fn from(error: Error) -> Self {
            Self::Store(error)
        }
    }
    let office = Office::new();
    let key = |payload: &str| {
        request(None).take_key().unwrap().map(|key| key.request("ann", "PUT", "/a", payload.as_bytes()))
    };

    let refused =
        office.keys.once(key("1"), &office.notes, |_| async { Err::<Answer<Note>, _>(Own::Full) }).wait();
    assert!(matches!(refused, Err(Own::Full)));
    let put =
        |notes: Collection<Note>| async move { notes.create_if("a", &Preconditions::none(), vec![1]).await };
    drop(office.keys.once::<_, Error, _>(key("2"), &office.notes, put).wait());
    let state = || Error::from(Conflict::state("a", "odd", "it is odd"));
    let known =
        office.keys.once(key("1"), &office.notes, |_| async { Err::<Answer<Note>, _>(Own::Store(state())) });
    assert!(matches!(known.wait(), Err(Own::Store(Error::Refused(Refusal::KeyReused)))));
}

/// A store whose connection is cut with the answer to a commit that it applied.
struct Cut {
    store: Memory<[u8]>,
    /// Whether the next commit is the last that gets through.
    armed: AtomicBool,
    is_cut: AtomicBool,
    /// Whether it can still be asked what became of a commit.
    resolves: bool,
}

impl Cut {
    fn unless_cut<A>(&self) -> Result<(), Reply<'_, A>> {
        match self.is_cut.load(Ordering::Relaxed) {
            true => Err(Reply::ready(Err(Failure::new(Outcome::NotApplied, "no connection").into()))),
            false => Ok(()),
        }
    }
}

impl Store<[u8]> for Cut {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<[u8]>>> {
        self.unless_cut().map_or_else(|cut| cut, |()| self.store.get(id))
    }

    fn commit<'a>(&'a self, commit: Commit<'a, [u8]>) -> Reply<'a, Committed> {
        if let Err(cut) = self.unless_cut() {
            return cut;
        }
        let write = commit.write();
        let committed = self.store.commit(commit);
        if !self.armed.load(Ordering::Relaxed) {
            return committed;
        }
        self.is_cut.store(true, Ordering::Relaxed);
        let write = write.expect("a store that may lose answers gets a write id");
        committed.then(move |_| Err(Failure::new(Outcome::Unknown, "lost").with_write(write).into()))
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        match self.resolves {
            true => self.store.resolve(write),
            false => self.unless_cut().map_or_else(|cut| cut, |()| self.store.resolve(write)),
        }
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<[u8]>>> {
        self.unless_cut().map_or_else(|cut| cut, |()| self.store.scan(scan))
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<[u8]>> {
        self.store.watch(from)
    }

    fn abilities(&self) -> Abilities {
        let mut abilities = self.store.abilities();
        abilities.may_lose_answers = true;
        abilities
    }
}

#[test]
fn a_write_whose_answer_is_cut_off_is_never_told_not_to_have_been_applied() {
    for resolves in [false, true] {
        let flag = AtomicBool::new;
        let cut = Cut { store: Memory::new(), armed: flag(false), is_cut: flag(false), resolves };
        let cut = Arc::new(cut);
        let office = Office::over(Database::new(Arc::clone(&cut)).with_retry(Retry::default().attempts(1)));
        let put = || {
            let mut request = request(Some(("If-None-Match", "*".to_owned())));
            let key = request.take_key().unwrap().map(|key| key.request("ann", "PUT", "/a", b"1"));
            let call = |notes: Collection<Note>| async move { notes.put_if("a", &request, vec![1]).await };
            office.keys.once(key, &office.notes, call).wait()
        };
        cut.armed.store(true, Ordering::Relaxed);

        match put() {
            Ok(answer) => assert!(resolves && answer.status() == 201),
            Err(error) => {
                assert!(!resolves, "{error}");
                assert_eq!((error.outcome(), http::reason(&error)), (Outcome::Unknown, "unknown-outcome"));
            }
        }

        cut.armed.store(false, Ordering::Relaxed);
        cut.is_cut.store(false, Ordering::Relaxed);
        assert_eq!(told(put()).map(|told| told.0), Ok(201));
    }
}

#[test]
fn a_blind_put_under_a_key_has_to_say_what_it_expects_beside_a_rule_too() {
    for office in [Database::in_memory(), Database::new(Memory::<[u8]>::new())] {
        let keys = Keys::new(&office, "keys").unwrap();
        let notes = office.define::<Note>("notes").unwrap().rule("any", "anything goes", |_, _| true);
        let office = Office { notes: notes.open().unwrap(), office, keys };
        office.notes.create("a", vec![1]).wait().unwrap();

        let blind = office.once(request(None), "2", |notes, _| async move {
            notes.put("a", vec![2]).await.map(|_| unreachable!("nobody knows whether it creates"))
        });

        assert_eq!(blind, Err((500, "bad-collection")));
        assert_eq!(*office.notes.fetch("a").wait().unwrap().value, [1]);
    }
}
