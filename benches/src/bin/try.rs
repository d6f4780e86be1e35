use dashmap::DashMap;
use ifmatch::{Commit, Entry, Expected, Memory, Store};
use ifmatch_benches::article::*;
use ifmatch_benches::peers::*;
use ifmatch_benches::rounds::*;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
fn main() {
    let count: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let all = articles(count);
    let ours = Ours::new();
    for (id, a) in &all {
        ours.create(id, a.clone());
    }
    let mem = Memory::<Article>::new();
    for (id, a) in &all {
        let _ = mem.commit(Commit::one(Entry::put(id, Expected::Any, a.clone()))).wait();
    }
    let hasher = foldhash::fast::RandomState::default();
    let d64: DashMap<Arc<str>, Row, _> =
        DashMap::with_capacity_and_hasher_and_shard_amount(0, hasher.clone(), 64);
    for (id, a) in &all {
        d64.insert(id.as_str().into(), Row { revision: 1, value: a.clone() });
    }
    let d64s: DashMap<String, Row, _> =
        DashMap::with_capacity_and_hasher_and_shard_amount(0, hasher.clone(), 64);
    for (id, a) in &all {
        d64s.insert(id.as_str().into(), Row { revision: 1, value: a.clone() });
    }
    let d8: DashMap<String, Row, _> =
        DashMap::with_capacity_and_hasher_and_shard_amount(0, hasher.clone(), 8);
    for (id, a) in &all {
        d8.insert(id.as_str().into(), Row { revision: 1, value: a.clone() });
    }
    let d8a: DashMap<Arc<str>, Row, _> =
        DashMap::with_capacity_and_hasher_and_shard_amount(0, hasher.clone(), 8);
    for (id, a) in &all {
        d8a.insert(id.as_str().into(), Row { revision: 1, value: a.clone() });
    }
    fn chain(n: usize, read: impl Fn(&str) -> Arc<Article>) {
        let mut a = read(&id(0));
        for _ in 0..n {
            a = read(&a.next);
        }
        black_box(a);
    }
    let m = measure(
        "get",
        15,
        Duration::from_millis(10),
        vec![
            Contender::new("dyn", |n| chain(n, |id| ours.0.get(id).wait().unwrap().unwrap().value)),
            Contender::new("await", |n| {
                let mut f = std::pin::pin!(async {
                    let mut a = ours.0.get(&id(0)).await.unwrap().unwrap().value;
                    for _ in 0..n {
                        a = ours.0.get(&a.next).await.unwrap().unwrap().value;
                    }
                    a
                });
                loop {
                    if let std::task::Poll::Ready(a) = std::future::Future::poll(
                        f.as_mut(),
                        &mut std::task::Context::from_waker(std::task::Waker::noop()),
                    ) {
                        black_box(a);
                        break;
                    }
                }
            }),
            Contender::new("dyn no match", |n| {
                chain(n, |id| ours.0.get(id).wait().ok().flatten().unwrap().value)
            }),
            Contender::new("static", |n| chain(n, |id| mem.get(id).wait().ok().flatten().unwrap().value)),
            Contender::new("d64 Arc<str>", |n| chain(n, |id| d64.get(id).unwrap().value.clone())),
            Contender::new("d64 String", |n| chain(n, |id| d64s.get(id).unwrap().value.clone())),
            Contender::new("d8 Arc<str>", |n| chain(n, |id| d8a.get(id).unwrap().value.clone())),
            Contender::new("d8 String", |n| chain(n, |id| d8.get(id).unwrap().value.clone())),
        ],
    );
    for r in m.results {
        println!("{:30} {:8.1} {:5.2} {:?}", r.name, r.nanoseconds, r.ratio, r.spread);
    }
}
