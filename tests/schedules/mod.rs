//! The schedules of threads that shuttle explores: the memory store's shards and feed, the cache, and the line for
//! hot ids.
//!
//! Each test runs the crate's own code once a schedule, with a switch of threads possible at every lock and atomic. A
//! schedule that fails is printed, for `shuttle::replay`. What shuttle does not explore is weak memory: that is what
//! the stress tests under ThreadSanitizer are for.

mod cached;
mod feed;
mod gate;
mod shards;

use std::sync::Arc;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

use crate::memory::Memory;
use crate::store::{Commit, Entry, Expected, Store, Version};

/// How many schedules a test explores: half of them random, half with few switches at unlikely places.
const SCHEDULES: usize = 50_000;

/// More switches than any of the bugs looked for needs.
const SWITCHES: usize = 4;

fn explore(model: impl Fn() + Send + Sync + 'static) {
    let model = Arc::new(model);
    let mut config = Config::new();
    // It warns that it takes every atomic for a sequentially consistent one: see above.
    config.silence_warnings = true;
    let random = Arc::clone(&model);
    Runner::new(RandomScheduler::new(SCHEDULES / 2), config.clone()).run(move || random());
    Runner::new(PctScheduler::new(SWITCHES, SCHEDULES / 2), config).run(move || model());
}

fn store() -> Arc<Memory<u64>> {
    Arc::new(Memory::starting_at("1000".parse().unwrap()))
}

/// A blind write of one value to all `ids`; its version.
fn put_all(store: &Memory<u64>, ids: &[&str], value: u64) -> Version {
    let entries = ids.iter().map(|id| Entry::put(id, Expected::Any, value.into()));
    let committed = store.commit(entries.collect::<Commit<'_, u64>>()).wait().unwrap();
    committed.version().unwrap()
}

fn delete(store: &Memory<u64>, id: &str) -> Option<Version> {
    store.commit(Commit::one(Entry::delete(id, Expected::Any))).wait().unwrap().version()
}

fn read(store: &Memory<u64>, id: &str) -> Option<u64> {
    store.get(id).wait().unwrap().map(|found| *found.value)
}
