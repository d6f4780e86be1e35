//! Promise 6: a commit applies all or nothing, at one instant.

use std::sync::Arc;

use crate::conformance::ground::Ground;
use crate::conformance::sample::Sample;
use crate::store::{Commit, Committed, Entry, Error, Expected, Receipt, Refusal, Store, Version, block_on};

/// A commit without entries succeeds, has no receipts, and changes nothing.
pub async fn an_empty_commit_changes_nothing<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("an_empty_commit_changes_nothing", store);
    let committed = ground.commit(Commit::from_iter([])).await;

    let committed =
        committed.unwrap_or_else(|error| panic!("{}: an empty commit failed: {error}", ground.prefix()));
    assert_eq!(committed.receipts(), [], "{}: an empty commit has no receipts", ground.prefix());
    ground.clear().await;
}

/// Where one expectation of a commit fails, none of its entries is applied.
pub async fn a_commit_is_all_or_nothing<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_commit_is_all_or_nothing", store);
    if ground.abilities().entries < 4 {
        return;
    }
    let ids = ["a", "b", "c", "d"].map(|name| ground.id(name));
    let [a, b, c, d] = &ids;
    let of_a = ground.put(a, Expected::Absent, 1).await;
    let of_b = ground.put(b, Expected::Absent, 2).await;

    for (failing, id) in ids.iter().enumerate() {
        let entries = [
            Entry::put(a, of_a, T::sample(9)),
            Entry::delete(b, of_b),
            Entry::put(c, Expected::Absent, T::sample(9)),
            Entry::check(d, Expected::Absent),
        ];
        let commit = entries.into_iter().enumerate().map(|(at, entry)| match at == failing {
            true => Entry { condition: wrong(at).into(), ..entry },
            false => entry,
        });
        let conflict =
            ground.conflict(ground.commit(commit.collect()).await, "a commit with a failing entry");

        assert_eq!(conflict.id(), id, "the conflict names another id than the failing one");
        ground.assert_state(a, Some((of_a, 1)), "a commit that failed").await;
        ground.assert_state(b, Some((of_b, 2)), "a commit that failed").await;
        ground.assert_state(c, None, "a commit that failed").await;
        ground.assert_state(d, None, "a commit that failed").await;
    }
    ground.clear().await;
}

/// The receipts of a commit come in the order of its entries, whatever the order of the ids.
pub async fn receipts_follow_the_order_of_entries<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("receipts_follow_the_order_of_entries", store);
    if ground.abilities().entries < 4 {
        return;
    }
    let [d, c, b, a] = ["d", "c", "b", "a"].map(|name| ground.id(name));
    let of_b = ground.put(&b, Expected::Absent, 1).await;
    let of_c = ground.put(&c, Expected::Absent, 2).await;

    let commit = Commit::one(Entry::put(&d, Expected::Absent, T::sample(3)))
        .and(Entry::delete(&c, of_c))
        .and(Entry::check(&b, of_b))
        .and(Entry::put(&a, Expected::Absent, T::sample(4)));
    let committed = applied(&ground, ground.commit(commit).await);

    let [put_d, deleted_c, checked_b, put_a] = committed.receipts() else {
        panic!("{}: four entries have four receipts", ground.prefix());
    };
    assert_eq!(ground.read(&d).await, put_d.version.map(|version| (version, 3)), "`{d}`");
    assert_eq!((deleted_c.replaced, ground.read(&c).await), (Some(of_c), None), "`{c}`");
    assert_eq!(checked_b.version, Some(of_b), "`{b}`");
    assert_eq!(ground.read(&a).await, put_a.version.map(|version| (version, 4)), "`{a}`");
    ground.clear().await;
}

/// All writes of one commit share one version, deletions included; its checks have the versions they found.
pub async fn all_writes_of_a_commit_share_one_version<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("all_writes_of_a_commit_share_one_version", store);
    if ground.abilities().entries < 5 {
        return;
    }
    let [new, replaced, deleted, checked, never] =
        ["new", "replaced", "deleted", "checked", "never"].map(|name| ground.id(name));
    // A write of its own each, so that the ids have versions that differ.
    for id in [&replaced, &deleted, &checked] {
        ground.put(id, Expected::Absent, 1).await;
    }
    let found = ground.read(&checked).await.map(|(version, _)| version);

    let commit = Commit::one(Entry::put(&new, Expected::Absent, T::sample(2)))
        .and(Entry::delete(&deleted, Expected::Present))
        .and(Entry::check(&checked, Expected::Present))
        .and(Entry::delete(&never, Expected::Any))
        .and(Entry::put(&replaced, Expected::Any, T::sample(2)));
    let committed = applied(&ground, ground.commit(commit).await);

    let versions: Vec<_> = committed.receipts().iter().map(|receipt| receipt.version).collect();
    let shared = committed.version();
    assert!(shared.is_some() && shared != found, "{}: a commit that writes has a version", ground.prefix());
    assert_eq!(
        versions,
        [shared, shared, found, None, shared],
        "{}: the versions that a commit made and found",
        ground.prefix()
    );
    for id in [&new, &replaced] {
        ground.assert_state(id, shared.map(|version| (version, 2)), "a commit over several ids").await;
    }
    ground.clear().await;
}

/// A reader that sees one part of a commit sees every other part of it from then on.
pub async fn a_commit_is_never_seen_torn<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_commit_is_never_seen_torn", store);
    if ground.abilities().entries < 2 {
        return;
    }
    let ids = Arc::new(["a", "b"].map(|name| ground.id(name)));
    for id in &*ids {
        ground.put(id, Expected::Absent, 0).await;
    }

    let targets = Arc::clone(&ids);
    ground.observe_writes(
        move |ground, number| {
            let both = ids.iter().map(|id| Entry::put(id, Expected::Present, T::sample(number)));
            applied(ground, block_on(ground.commit(both.collect())));
        },
        // Now the one, now the other: what one of them shows, the other must not fall behind.
        move |ground, turn| {
            block_on(ground.read(&targets[turn as usize % 2])).map_or(0, |(_, number)| number)
        },
    );
    ground.clear().await;
}

/// Checks of absent ids stop two writers from each creating what the other saw missing.
pub async fn checks_of_absent_ids_stop_write_skew<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("checks_of_absent_ids_stop_write_skew", store);
    if ground.abilities().entries < 2 {
        return;
    }
    for round in 0..30 {
        let ids = ["a", "b"].map(|name| ground.id(format_args!("{round}{name}")));
        let answers = ground.race(2, move |ground, writer| {
            let commit = Commit::one(Entry::check(&ids[1 - writer], Expected::Absent)).and(Entry::put(
                &ids[writer],
                Expected::Absent,
                T::sample(1),
            ));
            block_on(ground.commit(commit)).is_ok()
        });

        assert_ne!(
            answers,
            [true, true],
            "{}: each writer created what the other saw missing",
            ground.prefix()
        );
    }
    ground.clear().await;
}

/// Checks of versions that were read stop two writers from each changing what the other relied on.
pub async fn checks_of_versions_stop_write_skew<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("checks_of_versions_stop_write_skew", store);
    if ground.abilities().entries < 2 {
        return;
    }
    for round in 0..30 {
        let ids = ["a", "b"].map(|name| ground.id(format_args!("{round}{name}")));
        let mut versions: Vec<Version> = Vec::new();
        for id in &ids {
            versions.push(ground.put(id, Expected::Absent, 1).await);
        }
        let answers = ground.race(2, move |ground, writer| {
            let (own, other) = (writer, 1 - writer);
            let commit = Commit::one(Entry::put(&ids[own], versions[own], T::sample(0)))
                .and(Entry::check(&ids[other], versions[other]));
            block_on(ground.commit(commit)).is_ok()
        });

        assert_ne!(
            answers,
            [true, true],
            "{}: each writer changed what the other relied on",
            ground.prefix()
        );
    }
    ground.clear().await;
}

/// Transfers between ids by racing writers keep the sum, also for one who checks what was read at one instant.
pub async fn transfers_keep_the_sum<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    const ACCOUNTS: usize = 4;
    const TRANSFERS: usize = 40;
    let ground = Ground::new("transfers_keep_the_sum", store);
    if ground.abilities().entries < ACCOUNTS {
        return;
    }
    let ids: Arc<Vec<String>> = Arc::new((0..ACCOUNTS).map(|account| ground.id(account)).collect());
    for id in &*ids {
        ground.put(id, Expected::Absent, 100).await;
    }

    let accounts = Arc::clone(&ids);
    ground.race(4, move |ground, thread| {
        for nth in 0..TRANSFERS {
            let read: Vec<_> = accounts
                .iter()
                .map(|id| block_on(ground.read(id)).unwrap_or_else(|| panic!("`{id}` is gone")))
                .collect();
            if thread == 0 {
                let checks = accounts.iter().zip(&read).map(|(id, (version, _))| Entry::check(id, *version));
                let sum: u64 = read.iter().map(|(_, number)| number).sum();
                let steady = block_on(ground.commit(checks.collect())).is_ok();
                assert!(
                    !steady || sum == 100 * ACCOUNTS as u64,
                    "{}: one instant shows the sum {sum}",
                    ground.prefix()
                );
                continue;
            }
            let (from, to) = ((nth + thread) % ACCOUNTS, (nth * thread + 1) % ACCOUNTS);
            if from == to || read[from].1 == 0 {
                continue;
            }
            let commit = Commit::one(Entry::put(&accounts[from], read[from].0, T::sample(read[from].1 - 1)))
                .and(Entry::put(&accounts[to], read[to].0, T::sample(read[to].1 + 1)));
            let _ = block_on(ground.commit(commit));
        }
    });

    let mut sum = 0;
    for id in &*ids {
        sum += ground.read(id).await.map_or(0, |(_, number)| number);
    }
    assert_eq!(sum, 100 * ACCOUNTS as u64, "{}: the sum after all transfers", ground.prefix());
    ground.clear().await;
}

/// Commits over the same ids in opposite orders do not block each other for ever.
pub async fn crossed_commits_do_not_deadlock<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("crossed_commits_do_not_deadlock", store);
    if ground.abilities().entries < 3 {
        return;
    }
    let ids = ["a", "b", "c"].map(|name| ground.id(name));
    ground.race(4, move |ground, thread| {
        for nth in 0..60 {
            let mut order = ids.each_ref();
            order.rotate_left((thread + nth) % 3);
            if thread % 2 == 0 {
                order.reverse();
            }
            let entries = order.map(|id| Entry::put(id, Expected::Any, T::sample(nth as u64)));
            applied(ground, block_on(ground.commit(entries.into_iter().collect())));
        }
    });
    ground.clear().await;
}

/// A commit that names an id twice is refused with that id, and changes nothing.
pub async fn a_repeated_id_is_refused<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_repeated_id_is_refused", store);
    let [a, b] = ["a", "b"].map(|name| ground.id(name));
    let version = ground.put(&b, Expected::Absent, 1).await;
    let again =
        [Entry::put(&b, Expected::Any, T::sample(3)), Entry::delete(&b, version), Entry::check(&b, version)];

    for again in again {
        let commit = Commit::one(Entry::put(&a, Expected::Any, T::sample(2)))
            .and(Entry::put(&b, version, T::sample(2)))
            .and(again);
        let refused = ground.commit(commit).await;

        let several = ground.abilities().entries >= 3;
        match refused {
            Err(Error::Refused(Refusal::Duplicate { id })) => {
                assert_eq!(&*id, b, "the refusal names another id")
            }
            Err(Error::Refused(Refusal::TooMany { .. })) if !several => {}
            other => panic!("`{b}` appears twice, and the commit was not refused for it: {other:?}"),
        }
        ground.assert_state(&a, None, "a commit that was refused").await;
        ground.assert_state(&b, Some((version, 1)), "a commit that was refused").await;
    }
    ground.clear().await;
}

/// A commit of checks alone tells the versions found and changes nothing, as often as it is sent.
pub async fn a_commit_of_checks_changes_nothing<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_commit_of_checks_changes_nothing", store);
    let [a, b] = ["a", "b"].map(|name| ground.id(name));
    let version = ground.put(&a, Expected::Absent, 1).await;

    for _ in 0..3 {
        for expected in [Expected::Any, Expected::Present, Expected::Version(version)] {
            let receipt = ground.send(Entry::check(&a, expected)).await;
            let receipt = receipt.unwrap_or_else(|error| panic!("a check of `{a}` failed: {error}"));
            assert_eq!(receipt.version, Some(version), "`{a}`: a check tells the version found");
        }
        for expected in [Expected::Any, Expected::Absent] {
            let receipt = ground.send(Entry::check(&b, expected)).await;
            let receipt = receipt.unwrap_or_else(|error| panic!("a check of `{b}` failed: {error}"));
            assert_eq!(receipt, Receipt { version: None, replaced: None }, "`{b}`: there is nothing to find");
        }
    }

    ground.assert_state(&a, Some((version, 1)), "checks").await;
    ground.assert_state(&b, None, "checks").await;
    ground.clear().await;
}

/// A delete of nothing, where nothing speaks against it, succeeds and makes no version.
pub async fn a_delete_of_nothing_changes_nothing<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_delete_of_nothing_changes_nothing", store);
    let [never, deleted] = ["never", "deleted"].map(|name| ground.id(name));
    let old = ground.put(&deleted, Expected::Absent, 1).await;
    ground.delete(&deleted, old).await;

    for id in [&never, &deleted] {
        for expected in [Expected::Any, Expected::Absent] {
            let receipt = ground.send(Entry::delete(id, expected)).await;
            let receipt =
                receipt.unwrap_or_else(|error| panic!("a delete of `{id}` expecting {expected}: {error}"));
            assert_eq!(receipt, Receipt { version: None, replaced: None }, "`{id}`: nothing was deleted");
        }
        ground.conflict(
            ground.send(Entry::delete(id, Expected::Present)).await,
            "a delete of a value that is not there",
        );
        ground.assert_state(id, None, "deletes of nothing").await;
    }
    ground.clear().await;
}

/// A commit has as many entries as the abilities say; one of more is refused and changes nothing.
pub async fn a_commit_is_as_large_as_declared<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    const MOST_TRIED: usize = 200;
    let ground = Ground::new("a_commit_is_as_large_as_declared", store);
    let limit = ground.abilities().entries;
    assert!(limit > 0, "{}: a store takes commits of at least one entry", ground.prefix());
    let largest = limit.min(MOST_TRIED);
    let ids: Vec<String> = (0..=largest).map(|nth| ground.id(nth)).collect();
    let create = async |ids: &[String]| {
        let entries = ids.iter().map(|id| Entry::put(id, Expected::Absent, T::sample(1)));
        ground.commit(entries.collect()).await
    };

    if limit <= MOST_TRIED {
        match create(&ids).await {
            Err(Error::Refused(Refusal::TooMany { entries, limit: told })) => {
                assert_eq!(
                    (entries, told),
                    (ids.len(), limit),
                    "{}: what the refusal tells",
                    ground.prefix()
                );
            }
            other => panic!("{}: {} entries must be refused, not {other:?}", ground.prefix(), ids.len()),
        }
        for id in &ids {
            ground.assert_state(id, None, "a commit that was refused").await;
        }
    }
    let committed = applied(&ground, create(&ids[..largest]).await);
    assert_eq!(committed.receipts().len(), largest, "{}: one receipt an entry", ground.prefix());
    for (id, receipt) in ids.iter().zip(committed.receipts()) {
        ground.assert_state(id, receipt.version.map(|version| (version, 1)), "a large commit").await;
    }
    ground.clear().await;
}

/// An expectation that fails for the entry at this place of the commit of `a_commit_is_all_or_nothing`.
fn wrong(at: usize) -> Expected {
    match at {
        0 | 1 => Expected::Absent,
        _ => Expected::Present,
    }
}

fn applied<T: Sample + ?Sized>(ground: &Ground<T>, answer: Result<Committed, Error>) -> Committed {
    answer.unwrap_or_else(|error| {
        panic!("{}: a commit that nothing speaks against failed: {error}", ground.prefix())
    })
}
