//! The lazy user: for each call, the laziest program that its documentation allows, against a second writer.
//!
//! Each program adds one to a number, takes one of something, or writes a line, as a user would who read the example and
//! nothing else. A second writer comes between, at the one place where it hurts or from other threads. What must hold
//! after it: nobody who was told that a write was applied finds it gone without having been shown what replaced it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ifmatch::codec::Codec;
use ifmatch::http::{self, Preconditions, Problem};
use ifmatch::{
    Cached, Collection, Commit, Database, Encoded, Entry, Error, Expected, Guarded, Json, Memory, Observed,
    Schema, Start, Store,
};

const WRITERS: u64 = 4;
const EACH: u64 = 50;

fn counter() -> Collection<u64> {
    let counters = Collection::in_memory();
    counters.create("a", 0).wait().unwrap();
    counters
}

fn count(counters: &Collection<u64>) -> u64 {
    *counters.fetch("a").wait().unwrap().value
}

/// Runs `add` from several threads, and counts the calls that said they had added one.
fn race(add: impl Fn() -> bool + Sync) -> u64 {
    let added = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                for _ in 0..EACH {
                    added.fetch_add(u64::from(add()), Ordering::Relaxed);
                }
            });
        }
    });
    added.into_inner()
}

/// A collection over each layer, and over none.
fn layered() -> Vec<(&'static str, Collection<u64>)> {
    let memory = || Arc::new(Memory::<u64>::new());
    let layered = vec![
        ("none", Collection::new(memory())),
        ("Cached", Collection::new(Cached::new(memory()))),
        ("Cached, alone", Collection::new(Cached::alone(memory()))),
        ("Guarded", Collection::new(Guarded::new(memory()))),
        ("Observed", Collection::new(Observed::new(memory(), |event| _ = event.duration))),
    ];
    layered.iter().for_each(|(_, counters)| drop(counters.create("a", 0).wait().unwrap()));
    layered
}

#[test]
fn fetch_and_replace_loses_nothing_over_any_layer() {
    for (layer, counters) in layered() {
        let added = race(|| {
            let read = counters.fetch("a").wait().unwrap();
            counters.replace("a", &read, *read.value + 1).wait().is_ok()
        });

        assert_eq!(count(&counters), added, "{layer}");
    }
}

#[test]
fn modify_counts_every_call_over_any_layer() {
    for (layer, counters) in layered() {
        let added = race(|| counters.modify("a", |count| *count += 1).wait().is_ok());

        assert_eq!((count(&counters), added), (WRITERS * EACH, WRITERS * EACH), "{layer}");
    }
}

#[test]
fn try_modify_sells_no_more_than_there_is() {
    let stock = counter();
    stock.put("a", 30).wait().unwrap();

    let sold = race(|| {
        let sale = stock.try_modify("a", |left| {
            *left = left.checked_sub(1).ok_or_else(|| Error::from(ifmatch::store::NotFound::new("a")))?;
            Ok::<_, Error>(())
        });
        sale.wait().is_ok()
    });

    assert_eq!((count(&stock), sold), (0, 30));
}

#[test]
fn modify_async_counts_every_call() {
    let counters = counter();

    let added = race(|| counters.modify_async("a", |n| async move { Ok::<_, Error>(n + 1) }).wait().is_ok());

    assert_eq!((count(&counters), added), (WRITERS * EACH, WRITERS * EACH));
}

#[test]
fn of_many_who_create_one_does() {
    let notes = Collection::<u64>::in_memory();

    let created = race(|| notes.create("a", 1).wait().is_ok());

    assert_eq!(created, 1);
}

/// Whoever sees nothing, and creates: the one who was faster is not written over.
#[test]
fn get_and_else_create_does_not_write_over_who_was_faster() {
    let notes = Collection::<u64>::in_memory();
    let seen = notes.get("a").wait().unwrap();
    notes.create("a", 1).wait().unwrap();

    let mine = match seen {
        Some(found) => notes.replace("a", &found, *found.value + 1).wait(),
        None => notes.create("a", 2).wait(),
    };

    assert!(mine.is_err() && count(&notes) == 1);
}

#[test]
fn a_draft_does_not_write_over_what_came_since_also_when_it_is_committed_again() {
    let counters = counter();
    let mut draft = counters.edit("a").wait().unwrap();
    *draft += 1;
    counters.put("a", 10).wait().unwrap();

    // The laziest answer to an error: once more.
    assert!((0..3).all(|_| draft.commit().wait().is_err()));
    assert_eq!(count(&counters), 10);

    // And the next: base it on what the conflict carries. That is to give the other's value up, and says so.
    let conflict = draft.commit().wait().unwrap_err();
    draft.rebase(conflict.conflict().unwrap().current().unwrap());
    counters.put("a", 20).wait().unwrap();
    assert!(draft.commit().wait().is_err() && count(&counters) == 20);
}

#[test]
fn drafts_from_many_threads_lose_nothing() {
    let counters = counter();

    let added = race(|| {
        let mut draft = counters.edit("a").wait().unwrap();
        *draft += 1;
        draft.commit().wait().is_ok()
    });

    assert_eq!(count(&counters), added);
}

#[test]
fn a_delete_of_what_was_read_does_not_take_what_came_since() {
    let counters = counter();
    let read = counters.fetch("a").wait().unwrap();
    counters.put("a", 7).wait().unwrap();

    assert!(counters.delete("a", &read).wait().is_err());

    assert_eq!(count(&counters), 7);
}

#[test]
fn a_transaction_that_read_moves_no_more_than_there_is() {
    let accounts = counter();
    accounts.put("a", 1_000).wait().unwrap();
    accounts.create("b", 0).wait().unwrap();

    race(|| {
        let mut transfer = accounts.transaction();
        let a = transfer.get("a").wait().unwrap().unwrap();
        let b = transfer.get("b").wait().unwrap().unwrap();
        transfer.put("a", *a - 1);
        transfer.put("b", *b + 1);
        transfer.commit().wait().is_ok()
    });

    assert_eq!(count(&accounts) + *accounts.fetch("b").wait().unwrap().value, 1_000);
}

/// Each takes the last place for itself if the other has not: together they must not take both.
#[test]
fn transact_that_only_reads_one_id_and_writes_another_keeps_what_it_decided_on() {
    let rounds = Collection::<u64>::in_memory();
    for round in 0..EACH {
        let [one, other] = ["one", "other"].map(|name| format!("{round}/{name}"));
        let take = |mine: &str, others: &str| {
            let mut transaction = rounds.transaction();
            let free = transaction.get(others).wait().unwrap().is_none();
            if free {
                transaction.put(mine, 1);
            }
            free && transaction.commit().wait().is_ok()
        };
        let (first, second) = thread::scope(|scope| {
            let second = scope.spawn(|| take(&other, &one));
            (take(&one, &other), second.join().unwrap())
        });

        assert!(!(first && second), "round {round}");
    }
}

#[test]
fn transact_counts_every_call() {
    let counters = counter();

    let added = race(|| {
        let add = counters.transact(|mut transaction| async move {
            let now = transaction.get("a").await?.map_or(0, |now| *now);
            transaction.put("a", now + 1);
            Ok::<_, Error>((transaction, ()))
        });
        add.wait().is_ok()
    });

    assert_eq!(count(&counters), added);
    assert!(added > 0);
}

#[test]
fn a_commit_of_what_a_page_showed_writes_over_nothing_that_came_since() {
    let counters = counter();
    counters.create("b", 0).wait().unwrap();
    let page = counters.scan("", None, 10).wait().unwrap();
    counters.put("b", 7).wait().unwrap();

    let all = page.items.iter().map(|(id, found)| Entry::put(id, found, Arc::new(*found.value + 1)));

    assert!(counters.commit(all.collect::<Commit<'_, u64>>()).wait().is_err());
    assert_eq!((count(&counters), *counters.fetch("b").wait().unwrap().value), (0, 7));
}

/// A mirror: list, then follow. What changed in between is in the one or in the other.
#[test]
fn a_watch_that_begins_before_the_list_misses_nothing() {
    let counters = counter();
    let mut changes = counters.watch(Start::Now).wait().unwrap();
    counters.put("a", 1).wait().unwrap();
    let page = counters.scan("", None, 10).wait().unwrap();
    let mut mirror = page.items[0].1.clone();
    counters.put("a", 2).wait().unwrap();

    while mirror.version != counters.fetch("a").wait().unwrap().version {
        let batch = changes.next().wait().unwrap();
        let change = &batch.changes[0];
        if let Some(value) = change.value() {
            mirror = ifmatch::Versioned { version: change.version, value: Arc::clone(value) };
        }
    }

    assert_eq!(*mirror.value, 2);
}

/// A value read from a cache that thinks it is alone is old, as others write past it: what is based on it is refused, and the
/// second try, which reads again, is not.
#[test]
fn a_write_based_on_what_a_cache_held_is_refused_and_the_next_read_is_fresh() {
    let memory = Arc::new(Memory::<u64>::new());
    let [behind, counters] =
        [Collection::new(Cached::alone(Arc::clone(&memory))), Collection::<u64>::new(Arc::clone(&memory))];
    behind.create("a", 0).wait().unwrap();
    let held = behind.fetch("a").wait().unwrap();
    counters.put("a", 7).wait().unwrap();

    assert!(behind.replace("a", &held, *held.value + 1).wait().is_err());

    let again = behind.fetch("a").wait().unwrap();
    behind.replace("a", &again, *again.value + 1).wait().unwrap();
    assert_eq!(count(&counters), 8);
}

/// The obvious cache, where somebody else writes to the same store: another handle, another process.
#[test]
fn a_cache_answers_with_what_others_have_written() {
    let counters = Collection::<u64>::in_memory();
    let cached = counters.clone().layer(Cached::new);
    let store = Arc::new(Memory::<[u8]>::new());
    let [ours, theirs] = [0, 1].map(|_| {
        let database = Database::new(Arc::clone(&store));
        database.define::<u64>("counters").unwrap().layer(Cached::new).open().unwrap()
    });
    for (others, cached) in [(&counters, &cached), (&theirs, &ours)] {
        others.create("a", 1).wait().unwrap();
        for written in 2..9 {
            assert_eq!(count(cached), written - 1);

            others.put("a", written).wait().unwrap();

            assert_eq!([count(cached), count(cached)], [written; 2]);
        }
    }
}

/// A rolling deploy: a client takes what the new release has shown it, tag and all, to an instance of the old one.
#[test]
fn an_instance_of_the_release_before_drops_nothing_that_its_successor_has_written() {
    let bytes = Arc::new(Memory::<[u8]>::new());
    let instance = |release: u32| {
        let schema = Schema::new(release, Json, |_, bytes| Json.decode(bytes));
        Collection::<Vec<String>>::new(Encoded::new(Arc::clone(&bytes), schema))
    };
    let (new, old) = (instance(2), instance(1));
    let text = |text: &str| vec![text.to_owned()];
    let first = new.create("a", text("tagged")).wait().unwrap();
    let tag = format!("\"{}\"", first.version);
    let headers = [("If-Match", tag.as_str()), ("If-Match", "*"), ("X-None", "")];

    for header in headers {
        let request = Preconditions::from_headers([header]);
        let error = old.put_if("a", &request, text("plain")).wait().unwrap_err();
        assert_eq!((http::status(&error), http::reason(&error)), (503, "newer-schema"), "{error}");
        assert!(Problem::new(error).current_etag().is_none());
    }

    let error = old.get_if("a", &Preconditions::none()).wait().unwrap_err();
    assert_eq!(http::reason(&error), "newer-schema");
    assert!(Problem::new(error).current_etag().is_none());
    assert_eq!(new.fetch("a").wait().unwrap(), first);
}

/// What a cache holds does not keep a database open.
#[test]
fn a_cached_collection_that_is_dropped_lets_go_of_its_store() {
    let store = Arc::new(Memory::<[u8]>::new());
    let open = Arc::downgrade(&store);
    let database = Database::new(store);
    let cached = database.define::<u64>("counters").unwrap().layer(Cached::new).open().unwrap();
    cached.create("a", 1).wait().unwrap();
    assert_eq!([count(&cached), count(&cached)], [1; 2]);

    drop((database, cached));

    assert!(open.upgrade().is_none());
}

/// A version that went out to a client and comes back as text, days later.
#[test]
fn a_version_that_was_sent_as_text_and_comes_back_late_writes_over_nothing() {
    let counters = counter();
    let sent = counters.fetch("a").wait().unwrap().version.to_string();
    counters.delete("a", Expected::Any).wait().unwrap();
    counters.create("a", 0).wait().unwrap();

    let version: ifmatch::Version = sent.parse().unwrap();

    assert!(counters.replace("a", version, 1).wait().is_err());
    assert_eq!(count(&counters), 0);
}

/// `put` says that it writes over whatever is there, and its receipt tells what that was.
#[test]
fn a_put_tells_what_it_replaced_so_that_nothing_goes_unseen() {
    let memory = Arc::new(Memory::<u64>::new());

    let mut replaced = Vec::new();
    thread::scope(|scope| {
        let put = |value| Commit::one(Entry::put("a", Expected::Any, Arc::new(value)));
        let writers = [1, 2, 3].map(|value| {
            let memory = &memory;
            scope.spawn(move || memory.commit(put(value)).wait().unwrap().receipts()[0])
        });
        replaced.extend(writers.map(|writer| writer.join().unwrap()));
    });

    let last = memory.get("a").wait().unwrap().unwrap().version;
    let mut gone: Vec<_> = replaced.iter().filter_map(|receipt| receipt.replaced).collect();
    gone.push(last);
    gone.sort_by_key(|version| version.to_bits());
    let mut made: Vec<_> = replaced.iter().filter_map(|receipt| receipt.version).collect();
    made.sort_by_key(|version| version.to_bits());
    assert_eq!(gone, made);
}

/// The handlers of the README, word for word, and clients that send back the `ETag` they were given.
#[cfg(feature = "axum")]
mod handlers {
    use axum::extract::{Json, Path, State};
    use axum::http::StatusCode;
    use axum::response::IntoResponse;
    use ifmatch::http::{Answer, Preconditions, Required};
    use ifmatch::{Collection, Error};

    use super::{EACH, WRITERS, race};

    type Notes = Collection<String>;
    type Answered = Result<Answer<String>, Error>;

    async fn read(notes: State<Notes>, id: Path<String>, known: Preconditions) -> Answered {
        notes.get_if(&id, &known).await
    }

    async fn write(notes: State<Notes>, id: Path<String>, basis: Required, text: Json<String>) -> Answered {
        notes.put_if(&id, &basis, text.0).await
    }

    /// The laziest `PATCH`: what the documentation of `modify_if` shows, without asking for a header.
    async fn append(notes: State<Notes>, id: Path<String>, known: Preconditions, more: String) -> Answered {
        notes.modify_if(&id, &known, |text| text.push_str(&more)).await
    }

    /// The same by the call that tries once.
    async fn append_once(
        notes: State<Notes>,
        id: Path<String>,
        known: Preconditions,
        more: String,
    ) -> Answered {
        notes.patch_if(&id, &known, |text| Ok(text.clone() + &more)).await
    }

    async fn delete(notes: State<Notes>, id: Path<String>, basis: Required) -> Answered {
        notes.delete_if(&id, &basis).await
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn a() -> Path<String> {
        Path("a".to_string())
    }

    fn request(headers: &[(&str, &str)]) -> Preconditions {
        Preconditions::from_headers(headers.iter().copied())
    }

    fn required(header: (&str, &str)) -> Required {
        Required::of(request(&[header]))
    }

    /// The `ETag` of a note, and its text.
    fn get(notes: &Notes) -> (String, String) {
        block_on(async {
            let response = read(State(notes.clone()), a(), Preconditions::none()).await.into_response();
            let tag = response.headers()["etag"].to_str().unwrap().to_owned();
            let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
            (tag, serde_json::from_slice(&body).unwrap())
        })
    }

    fn put(notes: &Notes, header: (&str, &str), text: String) -> StatusCode {
        block_on(write(State(notes.clone()), a(), required(header), Json(text))).into_response().status()
    }

    #[test]
    fn a_put_of_what_was_read_keeps_every_line_that_was_acknowledged() {
        let notes = Notes::in_memory();
        assert_eq!(put(&notes, ("if-none-match", "*"), String::new()), StatusCode::CREATED);

        let added = race(|| {
            let (tag, text) = get(&notes);
            match put(&notes, ("if-match", &tag), text + "x") {
                StatusCode::OK => true,
                refused => {
                    assert_eq!(refused, StatusCode::PRECONDITION_FAILED);
                    false
                }
            }
        });

        assert_eq!(get(&notes).1.len() as u64, added);
        assert!(added > 0);
    }

    #[test]
    fn a_put_based_on_one_of_two_versions_writes_over_no_third_one() {
        let notes = Notes::in_memory();
        put(&notes, ("if-none-match", "*"), String::new());
        let (first, _) = get(&notes);

        let added = race(|| {
            let (tag, text) = get(&notes);
            put(&notes, ("if-match", &format!("{first}, {tag}")), text + "x") == StatusCode::OK
        });

        assert_eq!(get(&notes).1.len() as u64, added);
    }

    #[test]
    fn of_many_who_create_one_note_one_does() {
        let notes = Notes::in_memory();

        let created = race(|| put(&notes, ("if-none-match", "*"), "mine".to_string()) == StatusCode::CREATED);

        assert_eq!(created, 1, "of {}", WRITERS * EACH);
    }

    /// Every client of a `PATCH` that says no more than `*`, or nothing, or a list of what it may be: whoever was told 200
    /// finds what it added.
    #[test]
    fn a_patch_keeps_every_line_that_was_acknowledged_whatever_header_it_came_with() {
        for once in [false, true] {
            let star: &[_] = &[("if-match", "*")];
            for headers in [&[][..], star, &[("if-none-match", "\"1\"")]] {
                let notes = Notes::in_memory();
                put(&notes, ("if-none-match", "*"), String::new());

                let added = race(|| {
                    let (notes, known) = (State(notes.clone()), request(headers));
                    block_on(async {
                        match once {
                            true => append_once(notes, a(), known, "x".to_string()).await.is_ok(),
                            false => append(notes, a(), known, "x".to_string()).await.is_ok(),
                        }
                    })
                });

                assert_eq!(get(&notes).1.len() as u64, added, "{headers:?}");
                assert!(once || added == WRITERS * EACH, "{added} with {headers:?}");
            }
        }
    }

    #[test]
    fn a_patch_based_on_one_of_two_versions_changes_no_third_one() {
        let notes = Notes::in_memory();
        put(&notes, ("if-none-match", "*"), String::new());
        let (first, _) = get(&notes);

        let added = race(|| {
            let (tag, text) = get(&notes);
            let list = format!("{first}, {tag}");
            // Who bases a patch on a text knows how long it is.
            let known = request(&[("if-match", &list)]);
            let patched = block_on(append(State(notes.clone()), a(), known, "x".to_string()));
            patched.is_ok_and(|now| {
                assert_eq!(now.body().unwrap().len(), text.len() + 1);
                true
            })
        });

        assert_eq!(get(&notes).1.len() as u64, added);
    }

    #[test]
    fn a_delete_of_what_was_read_takes_nothing_that_came_since() {
        let notes = Notes::in_memory();
        put(&notes, ("if-none-match", "*"), String::new());
        let (tag, _) = get(&notes);
        put(&notes, ("if-match", &tag), "newer".to_string());

        for condition in [tag.clone(), format!("\"1\", {tag}"), format!("W/{tag}"), "\"odd\"".to_string()] {
            let deleted = block_on(delete(State(notes.clone()), a(), required(("if-match", &condition))));
            assert_eq!(ifmatch::http::status(&deleted.unwrap_err()), 412, "{condition}");
        }

        assert_eq!(get(&notes).1, "newer");
    }

    /// What the page of `admit` shows: fetched by hand, judged, and committed as what was judged.
    #[test]
    fn a_patch_by_hand_keeps_every_line_that_was_acknowledged() {
        for headers in [&[][..], &[("if-match", "*")]] {
            let notes = Notes::in_memory();
            put(&notes, ("if-none-match", "*"), String::new());

            let added = race(|| {
                let found = notes.fetch("a").wait().unwrap();
                let condition =
                    request(headers).admit("a", ifmatch::store::Intent::Put, Some(&found)).unwrap();
                notes.replace("a", condition, format!("{}x", found.value)).wait().is_ok()
            });

            assert_eq!(get(&notes).1.len() as u64, added, "{headers:?}");
        }
    }
}
