//! Three nodes, of which one is killed or paused.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use ifmatch::conformance::history::{Numbering, Workload};
use ifmatch::engine::Deadlines;
use ifmatch::{Commit, Entry, Etcd, Expected, Start, Store};

use super::{etcdctl, member, try_etcdctl, unused};
use crate::faults::{self, Totals, patiently, runs};
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
        let endpoint = |number: usize| format!("127.0.0.1:{}", self.0[(first + number) % 3].port);
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

    let status = etcdctl(cluster.0[asked % 3].port, &["endpoint", "status", "-w", "json"]);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let member = status[0]["Status"]["header"]["member_id"].as_u64().unwrap();
    let member = format!("{member:x}");
    // Etcd wants all nodes to have known each other for 5 seconds before it lets go of one.
    let end = Instant::now() + PATIENCE;
    while try_etcdctl(cluster.0[(asked + 1) % 3].port, &["member", "remove", &member]).is_err() {
        assert!(Instant::now() < end, "the member can't be removed");
        thread::sleep(Duration::from_millis(100));
    }

    let mut written = vec![changes.next().wait().unwrap().changes[0].version];
    for _ in 0..10 {
        written.push(patiently(|| store.commit(put()).wait()).version().unwrap());
    }
    assert!(store.get("a").wait().unwrap().is_some());
    // One whose answer was lost may come in between.
    while changes.next().wait().unwrap().changes[0].version != written[10] {}
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
