//! A user whose rights are narrowed while a store is open: Redis does not roll a script back that it stops.

use std::collections::HashMap;

use ifmatch::store::{Outcome, Refusal, Resolution, Scan, WriteId};
use ifmatch::{Commit, Entry, Error, Expected, Redis, Start, Store, Version};

use super::{drawn, say, server};
use crate::server::Server;

/// What a user is left with: a script may be stopped at each command; without a key it does not begin.
fn narrowed() -> Vec<String> {
    let commands = ["hset", "hdel", "hget", "hmget", "hlen", "set", "setrange", "unlink", "zadd", "zrem"];
    let commands = commands.iter().chain(&[
        "zcard",
        "zrangebylex",
        "xadd",
        "xtrim",
        "xrange",
        "zscore",
        "zremrangebylex",
        "info",
    ]);
    let keys = ["meta", "ids", "deleted", "log", "writes", "closed", "v:*"];
    let all_but =
        |key| keys.iter().filter(move |other| **other != key).map(|other| format!(" %RW~*:{other}"));
    let keys = keys.iter().map(|key| format!("%R~*{}", all_but(*key).collect::<String>()));
    commands.map(|command| format!("~* -{command}")).chain(keys).collect()
}

/// A commit, and what it would leave: of each id the first byte of its value, or nothing.
type Step = (Commit<'static, [u8]>, Vec<(&'static str, Option<u8>)>);

/// Creations, changes, deletions, large values, and several of them at once.
fn steps(number: u8) -> Vec<Step> {
    let large = vec![number; 2_000];
    let put = |id, value: &[u8]| Entry::put(id, Expected::Any, value.into());
    let delete = |id| Entry::delete(id, Expected::Any);
    vec![
        (Commit::one(put("a", &[number])), vec![("a", Some(number))]),
        (Commit::one(put("b", &large)).and(delete("c")), vec![("b", Some(number)), ("c", None)]),
        (Commit::one(delete("a")).and(put("c", &[number])), vec![("a", None), ("c", Some(number))]),
        (Commit::one(delete("d")).and(put("e", &large)), vec![("d", None), ("e", Some(number))]),
        (Commit::one(put("d", &[number])).and(delete("e")), vec![("d", Some(number)), ("e", None)]),
    ]
}

/// Gives the user these rights and no others.
fn allow(server: &Server, rights: &str) {
    let acl = format!("ACL SETUSER keeper on >word resetkeys {rights}");
    assert_eq!(say(server.address(), &acl), "+OK");
}

/// A store of the user, with all rights.
fn keeper(server: &Server) -> Redis {
    allow(server, "~* +@all");
    let url = format!("redis://keeper:word@127.0.0.1:{}", server.port);
    Redis::options().history(64).connect(url).wait().unwrap()
}

#[test]
fn a_script_that_is_stopped_by_a_narrowed_right_leaves_nothing_half_done() {
    let server = server(&["--appendonly", "no"]);
    let rights = |rights: &str| allow(&server, rights);
    let store = keeper(&server);
    let mut changes = store.watch(Start::Now).wait().unwrap();
    let (mut values, mut versions) = (HashMap::new(), HashMap::<&str, Option<Version>>::new());
    let (mut refused, mut number) = (0, 0_u8);

    let narrowed = narrowed();
    for left_with in narrowed.iter().cycle().take(3 * narrowed.len()) {
        number += 1;
        for (commit, left) in steps(number) {
            let write = drawn(&store);
            rights(left_with);
            let answer = store.commit(commit.clone().with_write(write)).wait();
            rights("~* +@all");
            let told = match &answer {
                Ok(committed) => Resolution::Applied(committed.clone()),
                Err(error) if error.outcome() == Outcome::NotApplied => Resolution::NotApplied,
                Err(_) => store.resolve(write).wait().unwrap(),
            };
            let applied = match told {
                Resolution::Applied(committed) => Some(committed),
                Resolution::NotApplied => None,
                Resolution::Unknown => panic!("{left_with}: {answer:?}"),
            };
            if let Err(error) = &answer {
                refused += 1;
                assert!(applied.is_none() || error.outcome() == Outcome::Unknown, "{left_with}: {error}");
            }
            // The values, the list, the feed and what was told are of one mind.
            let changed = applied.is_some_and(|committed| {
                for ((id, value), receipt) in left.iter().zip(committed.receipts()) {
                    values.insert(*id, *value);
                    versions.insert(*id, receipt.version);
                }
                committed
                    .receipts()
                    .iter()
                    .any(|receipt| receipt.version.is_some() || receipt.replaced.is_some())
            });
            for (id, value) in &values {
                let current = store.get(id).wait().unwrap();
                assert_eq!(current.as_ref().map(|current| current.value[0]), *value, "{left_with}: {id}");
                if let Some(current) = current {
                    assert_eq!(Some(current.version), versions[id], "{left_with}: {id}");
                }
            }
            let listed = store.scan(Scan::new("", 9)).wait().unwrap().items.len();
            assert_eq!(listed, values.values().flatten().count(), "{left_with}");
            if changed {
                let batch = changes.next().wait().unwrap();
                assert!(batch.changes.iter().all(|change| left.iter().any(|(id, _)| **id == *change.id)));
                assert!(batch.changes.iter().all(|change| change.is_delete()
                    == left.iter().any(|(id, value)| **id == *change.id && value.is_none())));
            }
            let last = Commit::one(Entry::put("z", Expected::Any, (*b"z").into()));
            let next = store.commit(last.with_write(drawn(&store))).wait().unwrap();
            values.insert("z", Some(b'z'));
            versions.insert("z", next.version());
            assert_eq!(Some(changes.next().wait().unwrap().changes[0].version), next.version());
        }
    }

    assert!(refused > narrowed.len(), "{refused} commits were stopped");
}

#[test]
fn a_closed_write_id_stays_shut_out_wherever_a_script_is_stopped() {
    let server = server(&["--appendonly", "no"]);
    let rights = |rights: &str| allow(&server, rights);
    let store = keeper(&server);
    let (narrowed, mut closed) = (narrowed(), Vec::new());

    for number in 0..300 {
        let [asked, written] = [(); 2].map(|()| drawn(&store));
        if number % 2 == 0 {
            rights(&narrowed[number / 2 % narrowed.len()]);
        }
        let resolved = store.resolve(asked).wait();
        // Forgets others now and then.
        let put = Commit::one(Entry::put("a", Expected::Any, (*b"value").into())).with_write(written);
        let _ = store.commit(put).wait();
        rights("~* +@all");
        match resolved {
            Ok(Resolution::NotApplied) => closed.push(asked),
            Ok(resolved) => assert_eq!(resolved, Resolution::Unknown),
            Err(_) => closed.iter().for_each(|write| shut_out(&store, *write)),
        }
    }

    assert!((128..300).contains(&closed.len()), "{} were closed", closed.len());
    closed.iter().for_each(|write| shut_out(&store, *write));
}

fn shut_out(store: &Redis, write: WriteId) {
    let late = Commit::one(Entry::put("a", Expected::Any, (*b"late").into())).with_write(write);
    let refused = store.commit(late).wait();
    assert!(
        matches!(refused, Err(Error::Refused(Refusal::Closed { .. } | Refusal::Outside { .. }))),
        "{refused:?}"
    );
}
