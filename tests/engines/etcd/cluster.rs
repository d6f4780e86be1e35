//! Three nodes, of which one is killed or paused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ifmatch::conformance::history::{Numbering, Workload};
use ifmatch::engine::Deadlines;
use ifmatch::store::{Outcome, Scan};
use ifmatch::{Commit, Entry, Etcd, Expected, Start, Store};

use super::{etcdctl, member, try_etcdctl, unused};
use crate::faults::{self, Totals, patiently, runs};
use crate::patience::Ending;
use crate::proxy::Proxy;
use crate::server::{Server, free_port};

/// How long a cluster may take to choose a leader.
const PATIENCE: Duration = Duration::from_secs(60);

struct Cluster(Vec<Server>);

impl Cluster {
    fn start() -> Self {
        let peers: Vec<(String, String)> = ["one", "two", "three"]
            .map(|name| (name.to_owned(), format!("http://127.0.0.1:{}", free_port())))
            .into();
        let cluster: Vec<String> = peers.iter().map(|(name, peer)| format!("{name}={peer}")).collect();
        let cluster = cluster.join(",");
        // Together: none of them serves before there are two.
        let cluster = thread::scope(|scope| {
            let cluster = &*cluster;
            let start = |(name, peer): &'_ (String, String)| {
                let (name, peer) = (name.clone(), peer.clone());
                scope.spawn(move || member(&name, &peer, cluster, &[]))
            };
            let starting: Vec<_> = peers.iter().map(start).collect();
            Self(starting.into_iter().map(|starting| starting.join().unwrap()).collect())
        });
        cluster.leader();
        cluster
    }

    /// The number of the node that leads. All of them must run.
    fn leader(&self) -> usize {
        let end = Instant::now() + PATIENCE;
        loop {
            let leads = |server: &Server| {
                let status = etcdctl(server.port, &["endpoint", "status", "-w", "json"]);
                let status: serde_json::Value = serde_json::from_str(&status).unwrap();
                let status = &status[0]["Status"];
                status["leader"] == status["header"]["member_id"]
            };
            if let Some(leader) = self.0.iter().position(leads) {
                return leader;
            }
            assert!(Instant::now() < end, "no leader");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// A store that asks this node first.
    fn store(&self, first: usize) -> Arc<Etcd> {
        Self::store_at(std::array::from_fn(|number| self.0[(first + number) % 3].port))
    }

    /// A store that asks these in turn.
    fn store_at(ports: [u16; 3]) -> Arc<Etcd> {
        let endpoint = |number: usize| format!("127.0.0.1:{}", ports[number]);
        let url = format!("etcd://{},{},{}/tests", endpoint(0), endpoint(1), endpoint(2));
        let second = Duration::from_secs(1);
        let deadlines = Deadlines { connect: second, read: second, commit: second };
        let options = Etcd::options().namespace(unused("cluster")).deadlines(deadlines);
        Arc::new(options.connect(&url).wait().unwrap())
    }
}

fn workload(seed: u64) -> Workload {
    Workload { threads: 8, calls: 625, ..Workload::new(seed) }
}

fn wait_for(done: &std::sync::atomic::AtomicBool) {
    while !done.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_leader_that_is_killed_loses_nothing() {
    let mut cluster = Cluster::start();
    let mut totals = Totals::default();
    let mut kills = 0;
    for seed in 200..200 + runs(6) {
        let leader = cluster.leader();
        let store = cluster.store(leader + seed as usize % 3);
        totals.add(&faults::run(store, &workload(seed), Numbering::StoreWide, |done| {
            thread::sleep(Duration::from_millis(400));
            kills += u64::from(!done.load(Ordering::SeqCst));
            cluster.0[leader].kill();
            thread::sleep(Duration::from_millis(800));
            cluster.0[leader].start_again();
            wait_for(done);
        }));
    }

    println!("{totals:?}, {kills} leaders killed");
    assert!(totals.unknown > 0 && kills == runs(6), "{totals:?}, {kills} leaders killed");
}

#[test]
fn a_node_that_is_paused_loses_nothing() {
    let cluster = Cluster::start();
    let mut totals = Totals::default();
    let mut pauses = 0;
    for seed in 300..300 + runs(3) {
        let leader = cluster.leader();
        // The leader while clients ask it or another node, and a follower that clients ask.
        let (paused, first) =
            [(leader, leader), (leader, leader + 1), (leader + 1, leader + 1)][seed as usize % 3];
        let store = cluster.store(first);
        totals.add(&faults::run(store, &workload(seed), Numbering::StoreWide, |done| {
            thread::sleep(Duration::from_millis(400));
            pauses += u64::from(!done.load(Ordering::SeqCst));
            cluster.0[paused % 3].pause();
            thread::sleep(Duration::from_millis(2_500));
            cluster.0[paused % 3].go_on();
            wait_for(done);
        }));
    }

    println!("{totals:?}, {pauses} nodes paused");
    assert!(totals.unknown > 0 && pauses == runs(3), "{totals:?}, {pauses} nodes paused");
}

#[test]
fn a_member_that_is_removed_is_passed_over() {
    let cluster = Cluster::start();
    let asked = cluster.leader() + 1;
    let store = cluster.store(asked);
    let mut changes = store.watch(Start::Now).wait().unwrap();
    let put = || Commit::one(Entry::put("a", Expected::Any, (*b"x").into()));
    store.commit(put()).wait().unwrap();

    remove(&member_id(&cluster.0[asked % 3]), &cluster.0[(asked + 1) % 3]);

    let mut written = vec![changes.next().wait().unwrap().changes[0].version];
    for _ in 0..10 {
        written.push(patiently(|| store.commit(put()).wait()).version().unwrap());
    }
    assert!(store.get("a").wait().unwrap().is_some());
    // One whose answer was lost may come in between.
    while changes.next().wait().unwrap().changes[0].version != written[10] {}
}

/// What the members call a node.
fn member_id(node: &Server) -> String {
    let status = etcdctl(node.port, &["endpoint", "status", "-w", "json"]);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    format!("{:x}", status[0]["Status"]["header"]["member_id"].as_u64().unwrap())
}

/// Lets another node remove a member.
fn remove(member: &str, through: &Server) {
    // Etcd wants all nodes to have known each other for 5 seconds before it lets go of one.
    let end = Instant::now() + PATIENCE;
    while let Err(problem) = try_etcdctl(through.port, &["member", "remove", member]) {
        assert!(Instant::now() < end, "the member can't be removed: {problem}");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_member_that_is_replaced_loses_nothing() {
    let mut cluster = Cluster::start();
    // What stands at the address of a node changes, and the address stays.
    let networks = [0, 1, 2].map(|number| Proxy::new(cluster.0[number].address()));
    let replaced = cluster.leader();
    let ports = std::array::from_fn(|number| networks[(replaced + number) % 3].port());
    let store = Cluster::store_at(ports);
    let rounds = Workload { calls: 2_000, ..workload(500) };
    let mut under_way = Vec::new();

    let totals = faults::run(store, &rounds, Numbering::StoreWide, |done| {
        let [second, third] = [1, 2].map(|number| (replaced + number) % 3);
        let gone = member_id(&cluster.0[replaced]);
        cluster.0[replaced].kill();
        networks[replaced].cut_all();
        remove(&gone, &cluster.0[second]);
        let peer = format!("http://127.0.0.1:{}", free_port());
        etcdctl(cluster.0[second].port, &["member", "add", "four", "--peer-urls", &peer]);
        let peer_of = |number: usize| {
            let node = &cluster.0[number];
            format!("{}={}", node.argument("--name"), node.argument("--initial-advertise-peer-urls"))
        };
        let members = format!("four={peer},{},{}", peer_of(second), peer_of(third));
        cluster.0[replaced] = member("four", &peer, &members, &["--initial-cluster-state", "existing"]);
        networks[replaced].redirect(cluster.0[replaced].address());
        under_way.push(!done.load(Ordering::SeqCst));
        cluster.leader();
        // Of the two old ones each vote counts now: the new one makes the majority.
        cluster.0[second].kill();
        under_way.push(!done.load(Ordering::SeqCst));
        thread::sleep(Duration::from_millis(500));
        cluster.0[second].start_again();
        wait_for(done);
    });

    println!("{totals:?}");
    assert!(under_way == [true; 2] && totals.unknown > 0, "{under_way:?}, {totals:?}");
}

#[test]
fn a_list_is_whole_and_never_goes_back_where_leaders_are_killed_in_its_midst() {
    const IDS: usize = 1_500;
    let mut cluster = Cluster::start();
    let store = cluster.store(cluster.leader());
    let id = |number: usize| format!("listed/{number:04}");
    let value: Arc<[u8]> = vec![7; 4_000].into();
    for some in (0..IDS).collect::<Vec<_>>().chunks(100) {
        let ids: Vec<String> = some.iter().map(|number| id(*number)).collect();
        let put = |id| Entry::put(id, Expected::Any, Arc::clone(&value));
        patiently(|| store.commit(ids.iter().map(|id| put(&**id)).collect()).wait());
    }

    // Of the id that is written meanwhile, the newest version that was acknowledged.
    let (acknowledged, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let (lists, failed, kills) = thread::scope(|scope| {
        let (store, acknowledged, done) = (&store, &acknowledged, &done);
        let ending = Ending::new(done);
        scope.spawn(move || {
            while !done.load(Ordering::SeqCst) {
                let put = Entry::put("listed/0700", Expected::Any, (*b"new").into());
                if let Ok(committed) = store.commit(Commit::one(put)).wait() {
                    acknowledged.store(committed.version().unwrap().to_bits().get(), Ordering::SeqCst);
                }
            }
        });
        let listing = scope.spawn(move || {
            let (mut lists, mut failed) = (0, 0);
            while !done.load(Ordering::SeqCst) {
                let before = acknowledged.load(Ordering::SeqCst);
                match store.scan(Scan::new("listed/", 2 * IDS)).wait() {
                    Ok(page) => {
                        assert!(!page.more && page.items.len() == IDS, "{} of {IDS}", page.items.len());
                        let whole =
                            page.items.iter().enumerate().all(|(number, item)| *item.0 == *id(number));
                        assert!(whole, "an id is missing or comes twice");
                        let written = page.items[700].1.version.to_bits().get();
                        assert!(written >= before, "it went back from {before} to {written}");
                        lists += 1;
                    }
                    Err(error) => {
                        assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
                        failed += 1;
                    }
                }
            }
            (lists, failed)
        });
        let mut kills = 0;
        for _ in 0..5 {
            let leader = cluster.leader();
            thread::sleep(Duration::from_millis(300));
            cluster.0[leader].kill();
            kills += 1;
            thread::sleep(Duration::from_millis(700));
            cluster.0[leader].start_again();
        }
        ending.now();
        let (lists, failed) = listing.join().unwrap();
        (lists, failed, kills)
    });

    println!("{lists} lists of {IDS} ids, {failed} failed, {kills} leaders killed");
    assert!(lists > 2 * kills, "{lists} lists, {failed} failed");
}

#[test]
fn a_watch_goes_on_where_its_node_has_ended() {
    let mut cluster = Cluster::start();
    let leader = cluster.leader();
    let store = cluster.store(leader + 1);
    let mut changes = store.watch(Start::Now).wait().unwrap();
    let put = |number: u64| {
        let put = || Commit::one(Entry::put("a", Expected::Any, number.to_be_bytes().into()));
        patiently(|| store.commit(put()).wait()).version().unwrap()
    };

    for killed in [leader + 1, leader + 2] {
        let mut written: Vec<_> = (0..10).map(put).collect();
        assert_eq!(changes.next().wait().unwrap().changes[0].version, written.remove(0));
        cluster.0[killed % 3].kill();
        written.extend((10..20).map(put));

        for version in written {
            assert_eq!(changes.next().wait().unwrap().changes[0].version, version);
        }
        cluster.0[killed % 3].start_again();
        cluster.leader();
    }
}
