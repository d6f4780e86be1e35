//! Instructions an operation takes, for callgrind: `counts <operation> <times>` runs one operation that many times.
//! The difference of two runs cancels the set-up; `counts` alone runs itself under `valgrind` and prints a table.

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;

use ifmatch_benches::article::{Article, articles, id, shuffled};
use ifmatch_benches::peers::{ByHand, InDatabase, InRow, Locked, Moka, Objects, Ours, Peer, Raw};

const IDS: usize = 1_000;
/// So many that what happens once in one run and not in the other, as the allocator tidying up, does not count.
const TIMES: usize = 200_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [operation, times] if times.parse::<usize>().is_ok() => {
            run(operation, times.parse().expect("a number"))
        }
        only => {
            for operation in OPERATIONS {
                if only.is_empty() || only.iter().any(|part| operation.contains(part.as_str())) {
                    let difference = instructions(operation, 2 * TIMES) - instructions(operation, TIMES);
                    println!("{operation:30} {:8.1}", difference as f64 / TIMES as f64);
                }
            }
        }
    }
}

const OPERATIONS: [&str; 29] = [
    "get/ifmatch",
    "get/ifmatch-database",
    "get/dashmap",
    "get/by-hand",
    "get/in-row",
    "get/locked",
    "get/moka",
    "get/object_store",
    "swap/ifmatch",
    "swap/ifmatch-database",
    "swap/dashmap",
    "swap/by-hand",
    "swap/in-row",
    "swap/locked",
    "swap/moka",
    "swap/object_store",
    "pair/ifmatch",
    "pair/ifmatch-watched",
    "pair/dashmap",
    "two/ifmatch",
    "together/ifmatch",
    "together/ifmatch-database",
    "together/two-collections",
    "put/plain",
    "put/leased",
    "put/under-a-lease",
    "put/ruled",
    "put/recorded",
    "put/two-entries",
];

fn run(operation: &str, times: usize) {
    let (what, peer) = operation.split_once('/').expect("an operation/peer");
    match peer {
        "ifmatch" if what == "two" => two(times),
        "ifmatch" if what == "together" => together(&Ours::new().0, times),
        "ifmatch-database" if what == "together" => together(&InDatabase::new().0.0, times),
        "two-collections" => over_two_collections(times),
        how if what == "put" => put(how, times),
        "ifmatch-database" => repeat::<InDatabase>(what, times),
        "ifmatch" => repeat::<Ours>(what, times),
        "ifmatch-watched" => watched(what, times),
        "dashmap" => repeat::<Raw>(what, times),
        "by-hand" => repeat::<ByHand>(what, times),
        "in-row" => repeat::<InRow>(what, times),
        "locked" => repeat::<Locked>(what, times),
        "moka" => repeat::<Moka>(what, times),
        "object_store" => repeat::<Objects>(what, times),
        _ => panic!("no such peer"),
    }
}

fn repeat<P: Peer>(what: &str, times: usize) {
    on(&P::new(), what, times);
}

fn watched(what: &str, times: usize) {
    let ours = Ours::new();
    let changes = ours.0.watch(ifmatch::Start::Now).wait().unwrap();
    on(&ours, what, times);
    drop(changes);
}

/// `what` on prepared ids and values. The few instructions of the loop itself are counted too.
fn on<P: Peer>(peer: &P, what: &str, times: usize) {
    let articles = articles(IDS);
    let value = P::value(&articles[0].1);
    let ids: Vec<P::Id> = (0..2 * IDS).map(|number| P::id(&id(number))).collect();
    let mut stamps: Vec<P::Stamp> = ids[..IDS].iter().map(|id| peer.create(id, value.clone())).collect();
    let order = shuffled(IDS);
    match what {
        "get" => each(&order, times, |at| drop(black_box(peer.read(&ids[at])))),
        "swap" => each(&order, times, |at| {
            stamps[at] = peer.swap(&ids[at], &stamps[at], value.clone()).expect("nobody else writes");
        }),
        "pair" => each(&order, times, |at| {
            let stamp = peer.create(&ids[IDS + at], value.clone());
            peer.delete(&ids[IDS + at], &stamp);
        }),
        _ => panic!("no such operation"),
    }
    black_box(stamps);
}

/// Runs an operation on each place in order, over and over. The loop itself is a few instructions.
#[inline(always)]
fn each(order: &[usize], times: usize, mut operation: impl FnMut(usize)) {
    for _ in 0..times / order.len() {
        order.iter().for_each(|&at| operation(at));
    }
}

fn two(times: usize) {
    use ifmatch::{Commit, Entry};
    let ours = Ours::new();
    let articles = articles(IDS);
    let value = &articles[0].1;
    let mut versions: Vec<_> =
        articles.iter().map(|(id, article)| ours.create(id, article.clone())).collect();
    for turn in 0..times {
        let (a, b) = (turn % IDS, (turn + 7) % IDS);
        let both = Commit::one(Entry::put(&articles[a].0, versions[a], value.clone())).and(Entry::put(
            &articles[b].0,
            versions[b],
            value.clone(),
        ));
        let version = ours.0.commit(both).wait().unwrap().version().unwrap();
        (versions[a], versions[b]) = (version, version);
    }
}

/// A blind put into a collection of a database that was given this.
fn put(how: &str, times: usize) {
    use ifmatch::history::History;
    use ifmatch::lease::Leases;
    use ifmatch::{Commit, Database, Entry, Expected};
    let database = Database::in_memory();
    let leases = Leases::new(&database, "leases").unwrap();
    let defined = database.define::<Article>("articles").unwrap();
    let articles_of = match how {
        "leased" => defined.leased(&leases),
        "ruled" => defined.rule("any", "anything goes", |_, _| true),
        "recorded" => defined.recorded(&History::new(&database, "history").unwrap().keeping(4)),
        _ => defined,
    };
    let mut ours = articles_of.open_in_memory().unwrap();
    let lease = leases.acquire("job", "ann").wait().unwrap();
    if how == "under-a-lease" {
        ours = ours.under(&lease).unwrap();
    }
    let articles = articles(IDS);
    let value = &articles[0].1;
    articles.iter().for_each(|(id, article)| drop(ours.put(id, article.clone()).wait().unwrap()));
    for turn in 0..times {
        let id = &articles[turn % IDS].0;
        match how {
            "two-entries" => {
                let put = Commit::one(Entry::put(id, Expected::Any, value.clone()));
                let both = put.and(Entry::check(&articles[(turn + 7) % IDS].0, Expected::Present));
                drop(ours.commit(both).wait().unwrap());
            }
            _ => drop(ours.put(id, value.clone()).wait().unwrap()),
        }
    }
}

/// A transaction over two ids of one collection.
fn together(ours: &ifmatch::Collection<Article>, times: usize) {
    let articles = articles(IDS);
    let value = &articles[0].1;
    let create =
        |(id, article): &(String, Arc<Article>)| ours.create(id, article.clone()).wait().unwrap().version;
    let mut versions: Vec<_> = articles.iter().map(create).collect();
    for turn in 0..times {
        let (a, b) = (turn % IDS, (turn + 7) % IDS);
        let mut both = ours.transaction();
        for at in [a, b] {
            both.check(&articles[at].0, versions[at]).unwrap();
            both.put(&articles[at].0, value.clone());
        }
        let version = both.commit().wait().unwrap().version().unwrap();
        (versions[a], versions[b]) = (version, version);
    }
}

/// The same over two collections of a database.
fn over_two_collections(times: usize) {
    let database = ifmatch::Database::in_memory();
    let [left, right] =
        ["left", "right"].map(|name| database.define::<Article>(name).unwrap().open_in_memory().unwrap());
    let articles = articles(IDS);
    let value = &articles[0].1;
    let mut versions = Vec::new();
    for (id, article) in &articles {
        let of = |collection: &ifmatch::Collection<Article>| {
            collection.create(id, article.clone()).wait().unwrap().version
        };
        versions.push([of(&left), of(&right)]);
    }
    for turn in 0..times {
        let (a, b) = (turn % IDS, (turn + 7) % IDS);
        let mut both = database.transaction();
        for (collection, at, side) in [(&left, a, 0), (&right, b, 1)] {
            both.check(collection, &articles[at].0, versions[at][side]).unwrap();
            both.put(collection, &articles[at].0, value.clone());
        }
        let version = both.commit().wait().unwrap().version().unwrap();
        (versions[a][0], versions[b][1]) = (version, version);
    }
}

/// Instructions of a whole run of this program.
fn instructions(operation: &str, times: usize) -> u64 {
    let program = std::env::current_exe().expect("a program has a path");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([operation, &times.to_string()])
        .output()
        .expect("valgrind is installed");
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected :"));
    collected.and_then(|(_, number)| number.trim().parse().ok()).unwrap_or_else(|| panic!("{text}"))
}
