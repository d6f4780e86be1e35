//! A namespace on one node of a cluster, found from another node, and while it moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ifmatch::conformance::history::{Numbering, Workload};
use ifmatch::store::{Durability, Outcome};
use ifmatch::{Collection, Commit, Entry, Error, Expected, Redis, Start, Store};

use super::{open, say, server, url};
use crate::faults::{self, Totals, patiently, runs};
use crate::patience::{Ending, until};
use crate::server::{Server, free_port};

/// Two nodes that share the slots of a cluster.
fn cluster() -> [Server; 2] {
    let ports = [free_port(), free_port()].map(|port| port.to_string());
    let node = |port: &str| {
        let settings = ["--cluster-enabled", "yes", "--cluster-port", port, "--appendonly", "no"];
        server(&settings)
    };
    let nodes = [node(&ports[0]), node(&ports[1])];
    for (node, slots) in nodes.iter().zip(["0 8191", "8192 16383"]) {
        assert_eq!(say(node.address(), &format!("CLUSTER ADDSLOTSRANGE {slots}")), "+OK");
    }
    let meet = format!("CLUSTER MEET 127.0.0.1 {} {}", nodes[1].port, ports[1]);
    assert_eq!(say(nodes[0].address(), &meet), "+OK");
    let end = Instant::now() + Duration::from_secs(60);
    for node in &nodes {
        let knows = || {
            let information = say(node.address(), "CLUSTER INFO");
            information.contains("cluster_state:ok") && information.contains("cluster_slots_assigned:16384")
        };
        while !knows() {
            assert!(Instant::now() < end, "the nodes do not meet");
            thread::sleep(Duration::from_millis(10));
        }
    }
    nodes
}

fn put(store: &dyn Store<[u8]>, number: u64) -> Result<(), Error> {
    let put = Entry::put("a", Expected::Any, Arc::from(number.to_be_bytes()));
    store
        .commit(Commit::one(put).and(Entry::put("b", Expected::Any, Arc::from(number.to_be_bytes()))))
        .wait()?;
    Ok(())
}

#[test]
fn a_namespace_is_found_from_any_node_and_followed_when_it_moves() {
    let nodes = cluster();
    let slot = |name: &str| {
        say(nodes[0].address(), &format!("CLUSTER KEYSLOT {{{name}}}"))[1..].parse::<u32>().unwrap()
    };
    for number in 0..6 {
        let name = format!("namespace-{number}");
        let store = open(Redis::options().namespace(&name), nodes[number % 2].port);
        let mut changes = store.watch(Start::Now).wait().unwrap();
        put(&*store, 1).unwrap();
        assert_eq!(changes.next().wait().unwrap().changes.len(), 2);

        let (slot, home) = (slot(&name), usize::from(slot(&name) > 8191));
        let [from, to] = [&nodes[home], &nodes[1 - home]];
        let id = |node: &Server| say(node.address(), "CLUSTER MYID");
        assert_eq!(say(to.address(), &format!("CLUSTER SETSLOT {slot} IMPORTING {}", id(from))), "+OK");
        assert_eq!(say(from.address(), &format!("CLUSTER SETSLOT {slot} MIGRATING {}", id(to))), "+OK");
        let keys = say(from.address(), &format!("CLUSTER GETKEYSINSLOT {slot} 100"));
        for (moved, key) in keys.split(' ').enumerate() {
            assert_eq!(say(from.address(), &format!("MIGRATE 127.0.0.1 {} {key} 0 5000", to.port)), "+OK");
            if moved == 2 {
                let error = put(&*store, 2).unwrap_err();
                assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
            }
        }
        for node in [to, from] {
            assert_eq!(say(node.address(), &format!("CLUSTER SETSLOT {slot} NODE {}", id(to))), "+OK");
        }

        put(&*store, 3).unwrap();
        assert_eq!(changes.next().wait().unwrap().changes.len(), 2);
        for id in ["a", "b"] {
            let value = patiently(|| store.get(id).wait()).unwrap().value;
            assert_eq!(u64::from_be_bytes((*value).try_into().unwrap()), 3);
        }
    }
}

#[test]
fn a_watcher_waits_while_its_namespace_moves() {
    let nodes = cluster();
    let slot: u32 = say(nodes[0].address(), "CLUSTER KEYSLOT {moving}")[1..].parse().unwrap();
    let home = usize::from(slot > 8191);
    let [from, to] = [&nodes[home], &nodes[1 - home]];
    let said = |node: &Server, command: String| assert_eq!(say(node.address(), &command), "+OK", "{command}");
    let migrate = |key: &str| said(from, format!("MIGRATE 127.0.0.1 {} {key} 0 5000", to.port));
    let refused = || {
        let errors = say(from.address(), "INFO errorstats");
        let counts =
            errors.lines().filter_map(|line| line.split_once(":count=")?.1.trim().parse::<u64>().ok());
        counts.sum::<u64>()
    };
    let store = open(Redis::options().namespace("moving"), from.port);
    let mut changes = store.watch(Start::Now).wait().unwrap();
    put(&*store, 1).unwrap();

    let id = |node: &Server| say(node.address(), "CLUSTER MYID");
    said(to, format!("CLUSTER SETSLOT {slot} IMPORTING {}", id(from)));
    said(from, format!("CLUSTER SETSLOT {slot} MIGRATING {}", id(to)));
    // What the watcher's script finds here has lost a value, then nothing is left of it.
    migrate("ifmatch:{moving}:v:a");
    let told = thread::scope(|scope| {
        let before = refused();
        let waiting = scope.spawn(|| changes.next().wait());
        until("the watcher does not meet the move", || refused() > before + 1);
        for key in say(from.address(), &format!("CLUSTER GETKEYSINSLOT {slot} 100")).split(' ') {
            migrate(key);
        }
        let before = refused();
        until("the watcher does not go on", || refused() > before + 1);
        for node in [to, from] {
            said(node, format!("CLUSTER SETSLOT {slot} NODE {}", id(to)));
        }
        waiting.join().unwrap()
    });

    assert_eq!(told.unwrap().changes.len(), 2);
}

#[test]
fn of_a_cluster_the_node_that_keeps_the_namespace_is_looked_at() {
    let nodes = cluster();
    let slot: u32 = say(nodes[0].address(), "CLUSTER KEYSLOT {looked-at}")[1..].parse().unwrap();
    let home = usize::from(slot > 8191);
    let [home, other] = [&nodes[home], &nodes[1 - home]];
    let set = |node: &Server, policy: &str| {
        assert_eq!(
            say(node.address(), &format!("CONFIG SET maxmemory 50mb maxmemory-policy {policy}")),
            "+OK"
        );
    };
    let connect = |node: &Server| Redis::options().namespace("looked-at").connect(url(node.port)).wait();

    // What the node drops that only shows the way is no key of ours.
    set(other, "allkeys-lru");
    let store = connect(other).unwrap();
    put(&store, 1).unwrap();
    set(other, "noeviction");
    set(home, "allkeys-lru");
    assert_eq!(connect(other).unwrap_err().to_string(), "the engine refused to keep every key");
    set(home, "noeviction");
    assert_eq!(say(home.address(), "CONFIG SET appendonly yes appendfsync always"), "+OK");
    assert_eq!(connect(other).unwrap().abilities().durability, Durability::Strict);
}

/// Moves a slot from one node to the other, key by key, as an operator's tools do.
fn move_slot(from: &Server, to: &Server, slot: u32) {
    let said = |node: &Server, command: String| assert_eq!(say(node.address(), &command), "+OK", "{command}");
    let id = |node: &Server| say(node.address(), "CLUSTER MYID");
    said(to, format!("CLUSTER SETSLOT {slot} IMPORTING {}", id(from)));
    said(from, format!("CLUSTER SETSLOT {slot} MIGRATING {}", id(to)));
    // For a while all keys are still there: commits that need no other one go on.
    thread::sleep(Duration::from_millis(20));
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < end, "the slot does not become empty");
        let keys = say(from.address(), &format!("CLUSTER GETKEYSINSLOT {slot} 1"));
        let Some(key) = keys.split(' ').find(|key| !key.is_empty()) else { break };
        let migrated = say(from.address(), &format!("MIGRATE 127.0.0.1 {} {key} 0 5000", to.port));
        assert!(["+OK", "+NOKEY"].contains(&&*migrated), "{migrated}");
    }
    for node in [to, from] {
        said(node, format!("CLUSTER SETSLOT {slot} NODE {}", id(to)));
    }
}

/// Moves it to and fro until the flag is set and back; how often.
fn move_to_and_fro(nodes: &[Server; 2], slot: u32, done: &AtomicBool) -> usize {
    let home = usize::from(slot > 8191);
    let mut moves = 0;
    while moves % 2 == 1 || moves < 4 || !done.load(Ordering::SeqCst) {
        let from = (home + moves) % 2;
        move_slot(&nodes[from], &nodes[1 - from], slot);
        moves += 1;
        thread::sleep(Duration::from_millis(30));
    }
    moves
}

fn slot(nodes: &[Server; 2], name: &str) -> u32 {
    say(nodes[0].address(), &format!("CLUSTER KEYSLOT {{{name}}}"))[1..].parse().unwrap()
}

#[test]
fn one_order_explains_all_answers_while_the_namespace_moves_to_and_fro() {
    let (nodes, mut totals, mut moves) = (cluster(), Totals::default(), 0);

    for seed in 500..500 + runs(3) {
        let name = format!("moving-{seed}");
        let slot = slot(&nodes, &name);
        let store = open(Redis::options().namespace(&name), nodes[seed as usize % 2].port);
        let workload = Workload { threads: 8, calls: 2_500, ..Workload::new(seed) };
        totals.add(&faults::run(store, &workload, Numbering::StoreWide, |done| {
            moves += move_to_and_fro(&nodes, slot, done);
        }));
    }

    println!("{moves} moves: {totals:?}");
    assert!(totals.conflicts > 0 && totals.batches > 100, "{totals:?}");
}

#[test]
fn counters_are_exact_while_the_namespace_moves_to_and_fro() {
    let nodes = cluster();
    let slot = slot(&nodes, "counted");
    let increments = 4 * 500;
    let stores = [0, 1].map(|node| open(Redis::options().namespace("counted"), nodes[node].port));
    let counters = stores.map(Collection::<u64>::json);
    for id in ["left", "right"] {
        counters[0].create(id, 0).wait().unwrap();
    }

    let (done, refused) = (AtomicBool::new(false), AtomicUsize::new(0));
    let moves = thread::scope(|scope| {
        let ending = Ending::new(&done);
        let moving = scope.spawn(|| move_to_and_fro(&nodes, slot, &done));
        let counting = [0, 1, 2, 3].map(|number: usize| {
            let (counters, refused) = (&counters[number % 2], &refused);
            scope.spawn(move || {
                for round in 0..increments / 4 {
                    let id = ["left", "right"][(number / 2 + round) % 2];
                    let end = Instant::now() + Duration::from_secs(60);
                    while let Err(error) = counters.modify(id, |count| *count += 1).wait() {
                        assert!(Instant::now() < end, "{id} is not to be had: {error}");
                        // Nothing that may have been applied is left unsettled, or the count would not be known.
                        assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        });
        counting.into_iter().for_each(|counting| counting.join().unwrap());
        ending.now();
        moving.join().unwrap()
    });

    println!("{increments} increments over {moves} moves, {refused:?} calls refused in between");
    let count = |id| patiently(|| counters[0].fetch(id).wait()).value;
    assert_eq!(*count("left") + *count("right"), increments as u64);
}
